//! `apim-proxy import-httpd`: an Apache httpd configuration in, properties for the reverse listeners out, with a list
//! of what has no equal here.
//!
//! ```text
//! files --lexer--> words --tree--> what counts --servers, table--> hosts --listeners, routes--> properties
//!                                                             \                          \
//!                                                              `----------- notes -------'
//! ```
//!
//! A directive ends as a property or in a note; of a virtual host or a section that is noted, what stands in it is not
//! told again. A property is printed only if our own reader takes it.

pub mod certificates;
pub mod disk;
pub mod headers;
pub mod lexer;
pub mod listeners;
pub mod logs;
pub mod modules;
pub mod notes;
pub mod page;
pub mod pass;
pub mod properties;
pub mod routes;
pub mod served;
pub mod servers;
pub mod sweep;
pub mod table;
pub mod tree;

use disk::Disk;
use notes::{Notes, plain};
use servers::Servers;
use std::path::PathBuf;
use tree::Tree;

/// What to import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// httpd's main file, then files and folders it does not include itself.
    pub files: Vec<String>,
    /// What `httpd -D` defines.
    pub defines: Vec<String>,
    /// The folder absolute paths are read below; `None` is `/`.
    pub root: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The properties and, as comments, what is to be told.
    pub text: String,
    /// How many directives that matter were left behind.
    pub lost: usize,
}

/// Reads the files and writes the properties.
///
/// # Errors
/// A sentence with file and line: what httpd would not start with, or a first file that cannot be read.
pub fn import(import: &Import) -> Result<Imported, String> {
    let disk = Disk::new(import.root.as_deref().unwrap_or("/"));
    let files: Vec<PathBuf> = import
        .files
        .iter()
        .map(|file| match &import.root {
            Some(_) => Ok(PathBuf::from("/").join(file)),
            None => std::path::absolute(file).map_err(|error| format!("{file}: {error}")),
        })
        .collect::<Result<_, _>>()?;
    let mut tree = Tree::read(&disk, &files, &import.defines).map_err(|failure| failure.to_string())?;
    let mut notes = Notes::default();
    for problem in &tree.problems {
        notes.lost(&problem.directive, format!("not read: {}", problem.what));
    }
    let servers = Servers::of(std::mem::take(&mut tree.nodes), &mut notes);
    let properties =
        properties::properties(&tree, &servers, &mut notes).map_err(|failure| failure.to_string())?;
    let main = files.first().map(|file| plain(&file.to_string_lossy())).unwrap_or_default();
    let text = format!(
        "# Made of {main} and what it includes, {} files in all, by apim-proxy import-httpd.\n\
         # Add these lines to conf/application.properties, then look at them with apim-proxy check.\n{properties}{}",
        tree.files.len(),
        notes.text()
    );
    Ok(Imported { text, lost: notes.count_lost() })
}
