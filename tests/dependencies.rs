//! What the product is made of: every dependency on Linux has a licence that `.deny.toml` allows, comes from crates.io
//! with a checksum, and is there in one version. Works without a network, on what Cargo has fetched for the build.

use std::collections::BTreeMap;
use std::process::Command;

/// Name, version and licence of each crate that is linked or runs in the build.
fn dependencies() -> Vec<(String, String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none"])
        .args(["--no-dedupe", "--format", "{p}|{l}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let row = |line: &str| {
        let (package, licence) = line.split_once('|').expect("the format has two columns");
        let mut words = package.split(' ');
        let (name, version) = (words.next().expect("a name"), words.next().expect("a version"));
        (name.to_owned(), version.to_owned(), licence.to_owned())
    };
    let mut rows: Vec<_> = text.lines().filter(|line| !line.is_empty()).map(row).collect();
    rows.sort();
    rows.dedup();
    rows
}

/// The licences `.deny.toml` allows.
fn allowed() -> Vec<&'static str> {
    let (_, list) = include_str!("../.deny.toml").split_once("allow = [").expect(".deny.toml lists licences");
    let (list, _) = list.split_once(']').expect("the list ends");
    list.split('"').skip(1).step_by(2).collect()
}

/// Whether an SPDX expression can be met with the allowed licences.
fn permits(allowed: &[&str], expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], " ").replace('/', " OR ");
    // Without brackets every AND part is wanted of some OR part; with brackets this asks for no less.
    let met = |part: &str| part.split(" OR ").any(|licence| allowed.contains(&licence.trim()));
    expression.split(" AND ").all(met)
}

#[test]
fn every_licence_is_allowed() {
    let allowed = allowed();
    let rows = dependencies();
    assert!(rows.len() > 10, "{rows:?}");
    let refused: Vec<_> = rows.iter().filter(|(.., licence)| !permits(&allowed, licence)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// What only compiles other crates, in two versions while its users move from one to the other: `skip` in `.deny.toml`.
const TWICE: [&str; 1] = ["syn"];

#[test]
fn each_is_there_once() {
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for (name, version, _) in dependencies() {
        versions.entry(name).or_default().push(version);
    }
    versions.retain(|name, versions| versions.len() > 1 && !TWICE.contains(&name.as_str()));
    assert!(versions.is_empty(), "{versions:?}");
}

#[test]
fn each_comes_from_the_registry_with_a_checksum() {
    let lock = include_str!("../Cargo.lock");
    let packages: Vec<&str> = lock.split("[[package]]").skip(1).collect();
    let foreign = |package: &&&str| {
        !(package.contains("\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n")
            && package.contains("\nchecksum = \""))
    };
    let foreign: Vec<&&str> = packages.iter().filter(foreign).collect();
    assert_eq!(foreign.len(), 1, "only the product itself: {foreign:?}");
    assert!(foreign[0].contains("name = \"apim-proxy\""));
}

#[test]
fn expressions_are_understood() {
    let allowed = ["MIT", "Apache-2.0"];
    for met in ["MIT", "MIT OR GPL-3.0", "MIT/Apache-2.0", "(MIT OR ISC) AND Apache-2.0"] {
        assert!(permits(&allowed, met), "{met}");
    }
    for unmet in ["", "GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR ISC) AND MIT", "Apache-2.0 WITH X"] {
        assert!(!permits(&allowed, unmet), "{unmet}");
    }
}
