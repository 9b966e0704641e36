//! The directives of a configuration as a tree: what `Include` brings is in its place, what `IfModule`, `IfDefine`,
//! `IfVersion` and `IfFile` leave out is gone, variables are replaced.
//!
//! As in httpd these are decided while reading, in the order of the lines. A file closes the sections it opens. What
//! httpd would refuse to start with is a [`Failure`]; a file that cannot be read is a [`Problem`], and the rest is read.

use super::disk::Disk;
use super::lexer::{self, Line, Variables};
use super::modules::{Modules, version_is};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How deep sections and included files may stand in each other.
const DEEP_MAX: usize = 64;
/// How many files are read.
const FILES_MAX: usize = 4096;
/// How many lines are read in all.
const LINES_MAX: usize = 1 << 20;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's path.
    pub file: Rc<str>,
    /// The line the directive begins on, from 1; 0 is the file as a whole.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// A directive, or the line that opens a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Where it stands.
    pub place: Place,
    /// Its name as written.
    pub name: String,
    /// What follows the name, variables replaced.
    pub text: String,
    /// The same in words.
    pub words: Vec<String>,
}

impl Directive {
    /// Whether it is called that; case does not count.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// A word, empty where there is none.
    pub fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }
}

/// A directive, or a section with what stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// One line.
    Directive(Directive),
    /// `<Name words>` to `</Name>`.
    Section(Directive, Vec<Node>),
}

/// What httpd would not start with, or what goes beyond our limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub place: Place,
    /// A sentence without the place.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// An `Include` that led nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The directive; the line is 0 for a file named on the command line.
    pub directive: Directive,
    /// What is wrong.
    pub what: String,
}

/// Everything that was read.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// In order.
    pub nodes: Vec<Node>,
    /// Every file, in the order they were begun.
    pub files: Vec<PathBuf>,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// What relative paths are relative to.
    pub server_root: PathBuf,
}

impl Tree {
    /// Reads `files` in order as one configuration, with `defines` as `httpd -D` would set them.
    ///
    /// # Errors
    /// What httpd would not start with; and a first file that cannot be read.
    pub fn read(disk: &Disk, files: &[PathBuf], defines: &[String]) -> Result<Self, Failure> {
        let first = files.first().map_or(Path::new(""), PathBuf::as_path);
        let mut reading = Reading {
            disk,
            variables: envvars(disk, first),
            defines: defines.iter().cloned().collect(),
            modules: Modules::built_in(),
            open: Vec::new(),
            lines: 0,
            tree: Tree { server_root: default_root(first), ..Tree::default() },
        };
        for file in files {
            let place = Place { file: file.to_string_lossy().into(), line: 0 };
            if reading.tree.files.contains(file) {
                continue;
            }
            if file == first && !disk.is_folder(first) {
                // Without it there is nothing to print.
                disk.read(first).map_err(|what| Failure { place: place.clone(), what })?;
            }
            let name = "Include".to_owned();
            let text = file.to_string_lossy().into_owned();
            let directive = Directive { place, name, words: vec![text.clone()], text };
            let mut nodes = Vec::new();
            reading.path(&directive, file, 0, &mut nodes)?;
            reading.tree.nodes.append(&mut nodes);
        }
        Ok(reading.tree)
    }
}

/// httpd's compiled-in root, told by where its file lies: Debian's is the folder of `apache2.conf`, elsewhere it is
/// the folder above `conf`.
fn default_root(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new("/"));
    match folder.parent() {
        Some(above) if folder.file_name().is_some_and(|name| name == "conf") => above.to_path_buf(),
        _ => folder.to_path_buf(),
    }
}

/// What Debian's `envvars` beside the file exports: `[export] NAME=value` with `$OTHER`; the shell's rest is passed
/// over, and a variable nobody set is empty.
fn envvars(disk: &Disk, file: &Path) -> Variables {
    let mut variables = Variables::new();
    let Ok(bytes) = disk.read(&file.with_file_name("envvars")) else { return variables };
    for line in lexer::decode(&bytes).lines() {
        let line = line.trim();
        let Some((name, value)) = line.strip_prefix("export ").unwrap_or(line).trim().split_once('=') else {
            continue;
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.is_empty() && name.chars().all(plain) {
            let mut parts = value.trim_matches(['"', '\'']).split('$');
            let mut text = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let part = part.strip_prefix('{').unwrap_or(part);
                let (other, rest) = part.split_at(part.find(|c| !plain(c)).unwrap_or(part.len()));
                text.push_str(variables.get(other).map_or("", String::as_str));
                text.push_str(rest.strip_prefix('}').unwrap_or(rest));
            }
            variables.insert(name.to_owned(), text);
        }
    }
    variables
}

struct Reading<'a> {
    disk: &'a Disk,
    variables: Variables,
    defines: BTreeSet<String>,
    modules: Modules,
    /// The files being read, the outermost first.
    open: Vec<PathBuf>,
    lines: usize,
    tree: Tree,
}

/// The lines of one file that are still to be read.
struct Lines {
    file: Rc<str>,
    rest: std::vec::IntoIter<Line>,
}

impl Reading<'_> {
    /// Reads a file, every file of a folder, or every match of a pattern.
    fn path(
        &mut self,
        from: &Directive,
        path: &Path,
        deep: usize,
        nodes: &mut Vec<Node>,
    ) -> Result<(), Failure> {
        let found = if self.disk.is_folder(path) {
            self.disk.below(path)
        } else if path.to_string_lossy().contains(['*', '?', '[']) {
            self.disk.matching(path)
        } else {
            return self.file(from, path, deep, nodes);
        };
        match found {
            Ok(found) if found.is_empty() && from.is("Include") && from.place.line > 0 => {
                self.problem(from, "no file matches it");
                Ok(())
            }
            Ok(found) => found.iter().try_for_each(|file| self.file(from, file, deep, nodes)),
            Err(_) if from.is("IncludeOptional") => Ok(()),
            Err(what) => {
                self.problem(from, &what);
                Ok(())
            }
        }
    }

    fn problem(&mut self, from: &Directive, what: &str) {
        self.tree.problems.push(Problem { directive: from.clone(), what: what.to_owned() });
    }

    fn file(
        &mut self,
        from: &Directive,
        path: &Path,
        deep: usize,
        nodes: &mut Vec<Node>,
    ) -> Result<(), Failure> {
        let fail = |what: String| Err(Failure { place: from.place.clone(), what });
        if self.open.iter().any(|open| open == path) {
            return fail(format!("{} includes itself", path.display()));
        }
        if deep > DEEP_MAX || self.tree.files.len() >= FILES_MAX {
            return fail(format!(
                "more than {DEEP_MAX} sections and files stand in each other, or more than {FILES_MAX} files are read"
            ));
        }
        let bytes = match self.disk.read(path) {
            Ok(bytes) => bytes,
            Err(_) if from.is("IncludeOptional") && !self.disk.exists(path) => return Ok(()),
            Err(what) => {
                self.problem(from, &format!("{} {what}", path.display()));
                return Ok(());
            }
        };
        self.tree.files.push(path.to_path_buf());
        self.open.push(path.to_path_buf());
        let lines = lexer::lines(&lexer::decode(&bytes));
        self.lines += lines.len();
        if self.lines > LINES_MAX {
            return fail(format!("more than {LINES_MAX} lines are read"));
        }
        let mut lines = Lines { file: path.to_string_lossy().into(), rest: lines.into_iter() };
        self.block(&mut lines, None, deep, true, nodes)?;
        self.open.pop();
        Ok(())
    }

    /// Reads up to the end of the section `open`, or of the file; `live` is false where a condition failed. `deep` is
    /// how many sections and files this stands in.
    fn block(
        &mut self,
        lines: &mut Lines,
        open: Option<&Directive>,
        deep: usize,
        live: bool,
        nodes: &mut Vec<Node>,
    ) -> Result<(), Failure> {
        if let (true, Some(open)) = (deep > DEEP_MAX, open) {
            let what = format!("more than {DEEP_MAX} sections and files stand in each other");
            return Err(Failure { place: open.place.clone(), what });
        }
        while let Some(line) = lines.rest.next() {
            let place = Place { file: Rc::clone(&lines.file), line: line.number };
            let fail = |what: String| Failure { place: place.clone(), what };
            let text =
                if live { lexer::expand(&line.text, &self.variables).map_err(fail)? } else { line.text };
            let (name, rest) = lexer::word(&text);
            if let Some(closed) = name.strip_prefix("</") {
                let closed = closed.trim_end_matches('>');
                return match open {
                    Some(open) if open.is(closed) => Ok(()),
                    Some(open) => Err(fail(format!(
                        "</{closed}> closes nothing; <{}> of line {} is open",
                        open.name, open.place.line
                    ))),
                    None => Err(fail(format!("</{closed}> closes nothing"))),
                };
            }
            let Some(opened) = name.strip_prefix('<') else {
                let directive = Directive { place, name, text: rest.to_owned(), words: lexer::words(rest) };
                if live {
                    self.directive(directive, deep, nodes)?;
                }
                continue;
            };
            let (name, rest) = match (opened.strip_suffix('>'), rest.rsplit_once('>')) {
                (Some(name), _) => (name, ""),
                (None, Some((rest, _))) => (opened, rest.trim_end()),
                (None, None) => return Err(fail(format!("<{opened} is not ended by >"))),
            };
            let directive = Directive {
                place: place.clone(),
                name: name.to_owned(),
                text: rest.to_owned(),
                words: lexer::words(rest),
            };
            if let Some(holds) = self.condition(&directive) {
                self.block(lines, Some(&directive), deep + 1, live && holds, nodes)?;
                continue;
            }
            let mut inner = Vec::new();
            self.block(lines, Some(&directive), deep + 1, live, &mut inner)?;
            if live {
                nodes.push(Node::Section(directive, inner));
            }
        }
        match open {
            None => Ok(()),
            Some(open) => {
                Err(Failure { place: open.place.clone(), what: format!("<{}> is not closed", open.name) })
            }
        }
    }

    /// Whether a conditional section counts; `None` is another section.
    fn condition(&self, section: &Directive) -> Option<bool> {
        let text = section.text.trim().trim_matches('"');
        let (wanted, text) = match text.strip_prefix('!') {
            Some(text) => (false, text.trim_start()),
            None => (true, text),
        };
        let holds = match section.name.to_ascii_lowercase().as_str() {
            "ifmodule" => self.modules.has(text),
            "ifdefine" => self.defines.contains(text),
            "ifversion" => version_is(text),
            "iffile" => self.disk.exists(&self.tree.server_root.join(text)),
            _ => return None,
        };
        Some(holds == wanted)
    }

    /// Acts on a directive that counts while reading, keeps any other.
    fn directive(&mut self, directive: Directive, deep: usize, nodes: &mut Vec<Node>) -> Result<(), Failure> {
        match directive.name.to_ascii_lowercase().as_str() {
            "include" | "includeoptional" => {
                let path = self.tree.server_root.join(directive.word(0));
                self.path(&directive, &path, deep + 1, nodes)?;
            }
            "define" => {
                self.defines.insert(directive.word(0).to_owned());
                let value = directive.word(1).to_owned();
                self.variables.insert(directive.word(0).to_owned(), value);
            }
            "undefine" => {
                self.defines.remove(directive.word(0));
                self.variables.remove(directive.word(0));
            }
            "loadmodule" => self.modules.load(directive.word(0), directive.word(1)),
            "serverroot" => self.tree.server_root = PathBuf::from(directive.word(0)),
            _ => nodes.push(Node::Directive(directive)),
        }
        Ok(())
    }
}
