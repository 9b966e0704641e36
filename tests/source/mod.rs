//! The library's own source as data, for the tests that keep its layers and its style.

use std::fs;
use std::path::{Path, PathBuf};

/// A file below `src`, without its tests.
pub struct File {
    /// Its module path, `config::later::tls`; `lib` and `main` for the roots.
    pub module: String,
    /// Everything above the tests.
    pub text: String,
    /// The same lines with comments and literals blanked.
    pub code: String,
}

impl File {
    fn read(root: &Path, path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a source file is readable");
        let text = text.split("\n#[cfg(test)]\n").next().unwrap_or_default().to_owned();
        let below = path.strip_prefix(root).expect("found below the root").with_extension("");
        let module = below.to_string_lossy().replace('/', "::");
        let code = blank(&text);
        Self { module, text, code }
    }

    /// Whether the module is `name` or inside it.
    pub fn is_in(&self, name: &str) -> bool {
        self.module.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    }

    /// Whether `word` stands in the code, bounded by what is not part of a name.
    pub fn says(&self, word: &str) -> bool {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        self.code.match_indices(word).any(|(at, _)| {
            !self.code[..at].ends_with(part) && !self.code[at + word.len()..].starts_with(part)
        })
    }
}

/// Every file of the library and its binary.
pub fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    assert!(paths.len() > 30, "the sources were found");
    paths.iter().map(|path| File::read(&root, path)).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder is readable") {
        let path = entry.expect("a source folder is readable").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Replaces comments and literals by blanks; lines stay where they are.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after_name = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest, '"'),
            'r' if !after_name && rest.trim_start_matches('r').trim_start_matches('#').starts_with('"') => {
                raw(rest)
            }
            // A character; a lifetime has no closing quote.
            '\'' if rest[1..].starts_with('\\') => quoted(rest, '\''),
            '\'' if rest.chars().nth(2) == Some('\'') => quoted(rest, '\''),
            _ => {
                code.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

/// The length of a literal in quotes, escapes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let close = format!("\"{}", "#".repeat(hashes));
    let open = 2 + hashes;
    text[open..].find(&close).map_or(text.len(), |end| open + end + close.len())
}

#[test]
fn literals_and_comments_are_blanked() {
    let cases = [
        ("a(\"crate::x\\\"\") // crate::y\n;", "a( ) ;"),
        ("a(r#\"crate::\"z\"#) /* \" */ b", "a( ) b"),
        ("a(&'b u8, b'\\'', '\"', 'r')", "a(&'b u8, b , , )"),
    ];
    for (text, code) in cases {
        let blanked = blank(text);
        assert_eq!(blanked.len(), text.len());
        assert_eq!(blanked.split_whitespace().collect::<Vec<_>>().join(" "), code);
    }
}
