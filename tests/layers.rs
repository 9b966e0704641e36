//! The layers of `lib.rs`, enforced: a file imports its own layer or a lower one, files do not import each other in
//! a circle, and nothing below the shell touches the real world.

#[allow(dead_code)] // each of the two tests uses its half
mod source;

use source::{File, files};
use std::collections::{BTreeMap, BTreeSet};

/// Files that need each other, each group with its reason. Nothing else may go round in a circle.
const CIRCLES: &[&[&str]] = &[
    // The effective configuration is what a reading and its rules make of themselves.
    &["config::reading", "config::rules", "config::sources"],
];

/// What only the shell may name: clocks, threads, files, sockets, and maps whose order differs from run to run are
/// what the simulator could not replay.
const SHELL_ONLY: &[&str] = &[
    "Instant",
    "SystemTime",
    "std::thread",
    "thread_local",
    "std::fs",
    "std::env",
    "std::process",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "mio",
    "socket2",
    "rustix",
    "signal_hook",
    "simplelog",
];

/// The blocks of `mod` lines in `lib.rs`, lowest first.
fn layers() -> Vec<Vec<String>> {
    let lib = include_str!("../src/lib.rs");
    let (_, mods) = lib.split_once("#![forbid(unsafe_code)]\n").expect("the library forbids unsafe code");
    let block = |block: &str| {
        block
            .lines()
            .filter_map(|line| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned()))
            .collect()
    };
    mods.split("\n\n").map(block).filter(|names: &Vec<String>| !names.is_empty()).collect()
}

fn layer_of(layers: &[Vec<String>], module: &str) -> usize {
    let top = module.split("::").next().unwrap_or(module);
    layers
        .iter()
        .position(|layer| layer.iter().any(|name| name == top))
        .unwrap_or_else(|| panic!("{module} has no layer"))
}

/// Every path that follows `start` in `code`, groups taken apart: `crate::a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(code: &str, start: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(start) {
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            tree(&code[at + start.len()..], "", &mut found);
        }
    }
    found
}

/// Reads one use tree; returns what follows it.
fn tree<'a>(code: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = tree(rest, prefix, found).trim_start();
            if let Some(after) = rest.strip_prefix(',') {
                rest = after.trim_start();
            }
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            assert!(!rest.is_empty(), "a group is closed");
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(code.len());
    let path = if prefix.is_empty() { code[..end].to_owned() } else { format!("{prefix}::{}", &code[..end]) };
    let rest = &code[end..];
    if let Some(below) = rest.strip_prefix("::") {
        return tree(below, &path, found);
    }
    found.push(path);
    // `as name` belongs to the leaf.
    match rest.trim_start().strip_prefix("as ") {
        Some(name) => name.trim_start().trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
        None => rest,
    }
}

/// Which files each file names.
fn imports(files: &[File]) -> BTreeMap<&str, BTreeSet<&str>> {
    // The longest prefix that is a file; the crate's own root holds nothing to import.
    let resolve = |path: &str| {
        let owner = |file: &&File| path == file.module || path.starts_with(&format!("{}::", file.module));
        files.iter().filter(owner).max_by_key(|file| file.module.len()).map(|file| file.module.as_str())
    };
    let mut imports = BTreeMap::new();
    for file in files.iter().filter(|file| file.module != "lib" && file.module != "main") {
        let module = file.module.as_str();
        let mut named = paths(&file.code, "crate::");
        let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
        named.extend(paths(&file.code, "super::").iter().map(|path| format!("{parent}::{path}")));
        for child in files.iter().filter_map(|child| child.module.strip_prefix(&format!("{module}::"))) {
            if !child.contains("::") && !paths(&file.code, &format!("{child}::")).is_empty() {
                named.push(format!("{module}::{child}"));
            }
        }
        let found = named.iter().filter_map(|path| resolve(path)).filter(|found| *found != module).collect();
        imports.insert(module, found);
    }
    imports
}

#[test]
fn a_file_imports_its_own_layer_or_a_lower_one() {
    let (files, layers) = (files(), layers());
    let mut upward = Vec::new();
    let mut count = 0;
    for (module, named) in imports(&files) {
        count += named.len();
        let climbs = named.iter().filter(|named| layer_of(&layers, named) > layer_of(&layers, module));
        upward.extend(climbs.map(|named| format!("{module} -> {named}")));
    }
    assert_eq!(upward, Vec::<String>::new());
    assert!(count > 100, "imports are recognised: {count}");
}

#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let files = files();
    let imports = imports(&files);
    let mut reach = imports.clone();
    // Warshall: after this, `reach` holds whatever can be got to by any number of imports.
    for middle in imports.keys() {
        for from in imports.keys() {
            if reach[from].contains(middle) {
                let further = reach[middle].clone();
                reach.get_mut(from).expect("every file is a key").extend(further);
            }
        }
    }
    let circle = |module: &str| -> Vec<&str> {
        let both = |other: &&&str| reach[module].contains(**other) && reach[**other].contains(module);
        imports.keys().filter(both).copied().collect()
    };
    let circles: BTreeSet<Vec<&str>> =
        imports.keys().map(|module| circle(module)).filter(|circle| circle.len() > 1).collect();
    let known: BTreeSet<Vec<&str>> = CIRCLES.iter().map(|circle| circle.to_vec()).collect();
    assert_eq!(circles, known);
}

#[test]
fn below_the_shell_there_is_no_real_world() {
    let layers = layers();
    let shell = layers.len() - 1;
    let below = files();
    let below = below.iter().filter(|file| file.module != "lib" && file.module != "main");
    let below: Vec<&File> = below.filter(|file| layer_of(&layers, &file.module) < shell).collect();
    let named: Vec<_> = below
        .iter()
        .flat_map(|file| {
            SHELL_ONLY.iter().filter(|word| file.says(word)).map(|word| format!("{}: {word}", file.module))
        })
        .collect();
    assert_eq!(named, Vec::<String>::new());
    assert!(below.len() > 15);
}

#[test]
fn groups_are_taken_apart() {
    let code = "use crate::{a, b::{self, c as d, e::F},\n}; x(crate::g::h()); use mycrate::z; y::crate::q";
    assert_eq!(paths(code, "crate::"), ["a", "b::self", "b::c", "b::e::F", "g::h"]);
}
