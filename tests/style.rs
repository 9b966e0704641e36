//! The rules of the house that a program can check. Each failure names the file and the rule; a rule that makes the
//! code worse is broken here, by name and with the reason.

#[allow(dead_code)] // each of the two tests uses its half
mod source;

use source::files;

/// Longest file without its tests.
const FILE_LINES_MAX: usize = 500;
/// Files that are longer, with their limit and the reason: none.
const LONGER: &[(&str, usize)] = &[];
/// Longest function; one that is a flat table says so in the line above it.
const FUNCTION_LINES_MAX: usize = 70;
const TABLE: &str = "// A flat table.";

/// Words that say nothing, and words for which the house has others (client, upstream).
const VAGUE: &[&str] = &["Manager", "Helper", "Util", "Utils", "Handler"];
const FOREIGN: &[&str] = &["frontend", "backend", "downstream"];

/// Crates and the modules that may name them.
const CRATES: &[(&str, &[&str])] = &[
    ("mio", &["net", "listener", "server", "run"]),
    ("socket2", &["net", "listener"]),
    ("rustix", &["net", "listener", "server", "run", "renewal", "logging"]),
    ("flate2", &["logging"]),
    ("httparse", &["http::head"]),
    ("serde_ini", &["value"]),
    ("slab", &["key"]),
    ("bytes", &["buf"]),
    ("simplelog", &["logging"]),
    ("signal_hook", &["run"]),
    ("signal_hook_mio", &["run"]),
    ("rustls", &["tls", "keystore", "credentials"]),
    ("aws_lc_rs", &["tls", "keystore", "credentials", "policy::proxy_auth"]),
    ("bcrypt", &["policy::proxy_auth"]),
    ("md5", &["policy::proxy_auth"]),
    ("p12_keystore", &["keystore"]),
    ("pkcs5", &["keystore"]),
    ("base64ct", &["keystore", "policy::proxy_auth"]),
    ("x509_parser", &["tls", "keystore"]),
    ("webpki", &["tls"]),
];

fn complaints(check: impl Fn(&source::File) -> Vec<String>) -> Vec<String> {
    let name = |file: &source::File| file.module.clone();
    files()
        .iter()
        .flat_map(|file| check(file).into_iter().map(move |what| format!("{}: {what}", name(file))))
        .collect()
}

fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn a_file_says_first_what_it_is_for() {
    none(&complaints(|file| {
        if file.text.starts_with("//! ") { vec![] } else { vec!["no `//!` in the first line".into()] }
    }));
}

#[test]
fn a_file_can_be_read_in_one_go() {
    none(&complaints(|file| {
        let lines = file.text.lines().count();
        let most =
            LONGER.iter().find(|(name, _)| *name == file.module).map_or(FILE_LINES_MAX, |(_, most)| *most);
        if lines <= most { vec![] } else { vec![format!("{lines} lines")] }
    }));
}

#[test]
fn a_function_fits_a_screen() {
    none(&complaints(|file| {
        let lines: Vec<&str> = file.code.lines().collect();
        let text: Vec<&str> = file.text.lines().collect();
        let mut long = Vec::new();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("fn ")) {
            let indent = line.len() - line.trim_start().len();
            let starts = line.trim_start().split("fn ").next().unwrap_or_default();
            let is_function = starts.split_whitespace().all(|word| {
                matches!(word, "const" | "async" | "unsafe" | "extern") || word.starts_with("pub")
            }) && !line.trim_end().ends_with([';', '}']);
            let close = format!("{}}}", " ".repeat(indent));
            let end = lines[at..].iter().position(|line| line.trim_end() == close);
            let length = end.map_or(0, |end| end + 1);
            let table = at > 0 && text[at - 1].trim() == TABLE;
            if is_function && length > FUNCTION_LINES_MAX && !table {
                long.push(format!("{length} lines: {}", text[at].trim()));
            }
        }
        long
    }));
}

#[test]
fn a_crate_is_named_where_it_belongs() {
    none(&complaints(|file| {
        let stray = |(name, places): &&(&str, &[&str])| {
            file.says(name)
                && file.code.contains(&format!("{name}::"))
                && !places.iter().any(|place| file.is_in(place))
        };
        CRATES.iter().filter(stray).map(|(name, _)| format!("names {name}")).collect()
    }));
}

#[test]
fn names_say_what_things_are() {
    none(&complaints(|file| {
        let words: Vec<&str> = file
            .code
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .collect();
        let vague = |pair: &&[&str]| match pair[0] {
            "fn" => pair[1].starts_with("get_"),
            "struct" | "enum" | "trait" | "type" => VAGUE.iter().any(|end| pair[1].ends_with(end)),
            "mod" => VAGUE.iter().any(|end| pair[1].ends_with(&end.to_lowercase())),
            _ => FOREIGN.contains(&pair[0].to_lowercase().as_str()),
        };
        words.windows(2).filter(vague).map(|pair| pair.join(" ")).collect()
    }));
}

#[test]
fn nothing_is_left_unfinished_or_unchecked() {
    none(&complaints(|file| {
        let code = ["todo!", "unimplemented!", "dbg!", ".unwrap()", "print!", "println!", "eprintln!"];
        let text = ["TODO", "FIXME"];
        let found = code.iter().filter(|word| file.code.contains(**word));
        found.chain(text.iter().filter(|word| file.text.contains(**word))).map(ToString::to_string).collect()
    }));
}
