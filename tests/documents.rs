//! The documents people read, held against the program: what they name exists, and what must be named is.
//!
//! The settings table and the shipped file are the business of `tests/settings.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use apim_proxy::access::field::Field;
use apim_proxy::config::registry;
use apim_proxy::fault::What;
use apim_proxy::stats::Counter;

/// The same pages in two languages.
const READMES: [&str; 2] = ["README.md", "conf/README.ko.md"];
/// Every document whose links are followed.
const LINKING: [&str; 4] = ["README.md", "conf/README.ko.md", "CHANGELOG.md", "bench/README.md"];
/// How words in backticks begin that name a setting.
const KEY_PREFIXES: [&str; 6] =
    ["server.", "proxy.", "logging.", "spring.", "management.", "networkaddress."];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The lines outside of fenced examples.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// What stands between backticks outside of examples.
fn spans(text: &str) -> Vec<&str> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The (status, code) of every row of the table of error codes: ``| 400 | `bad_request` | …``.
fn code_rows(text: &str) -> Vec<(u16, &str)> {
    prose(text).filter_map(code_row).collect()
}

fn code_row(line: &str) -> Option<(u16, &str)> {
    let (status, rest) = line.strip_prefix("| ")?.split_once(" | `")?;
    Some((status.parse().ok()?, rest.split_once("` |")?.0))
}

#[test]
fn every_error_code_is_explained_once_with_its_status() {
    let codes: BTreeSet<(u16, &str)> = What::ALL.iter().map(|what| (what.status(), what.code())).collect();
    for document in READMES {
        let text = read(document);
        let rows = code_rows(&text);
        assert_eq!(rows.iter().copied().collect::<BTreeSet<_>>(), codes, "{document}");
        assert_eq!(rows.len(), codes.len(), "{document} explains a code twice");
    }
}

#[test]
fn every_field_of_the_transaction_log_is_explained() {
    for document in READMES {
        let text = read(document);
        for field in Field::ALL {
            let rows = prose(&text).filter(|line| line.starts_with(&format!("| `{}` | ", field.name())));
            assert_eq!(rows.count(), 1, "{document}: {}", field.name());
        }
    }
    let english = read("README.md");
    for field in Field::ALL {
        let row = format!("| `{}` | {} |", field.name(), field.help());
        assert!(english.contains(&row), "README.md: {row}");
    }
}

#[test]
fn every_setting_and_counter_that_is_named_exists() {
    let counters: BTreeSet<&str> = Counter::ALL.iter().map(|counter| counter.name()).collect();
    for document in READMES {
        let text = read(document);
        // The generated table cannot err, and speaks of other things as well.
        let written = text.split("<!-- settings -->").next().unwrap_or_default();
        for span in spans(written) {
            let key = span.trim_start_matches("--").split(['=', ' ']).next().unwrap_or_default();
            // `server.ssl.*` stands for all that begins so.
            let key = key.trim_end_matches(".*");
            let family = || registry::all().any(|setting| setting.key().starts_with(&format!("{key}.")));
            let known = registry::names().find(key).is_some() || family();
            assert!(
                !KEY_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) || known,
                "{document}: `{span}`"
            );
            let counted = ["timeouts_", "clients_", "upstreams_", "requests_", "exchanges_"];
            let counter = counted.iter().any(|prefix| span.starts_with(prefix)) && !span.ends_with('*');
            assert!(!counter || counters.contains(span), "{document}: `{span}`");
        }
    }
}

/// How a heading is linked to: lower case, blanks to hyphens, punctuation gone.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    for document in LINKING {
        let text = read(document);
        let anchors: BTreeSet<String> = prose(&text)
            .filter(|line| line.starts_with('#'))
            .map(|line| anchor(line.trim_start_matches('#')))
            .collect();
        for link in prose(&text).flat_map(|line| line.split("](").skip(1)) {
            let link = link.split(')').next().unwrap_or_default();
            if let Some(name) = link.strip_prefix('#') {
                assert!(anchors.contains(name), "{document}: no heading #{name}");
            } else if !link.starts_with("https://") {
                let path = root().join(document).with_file_name(link.split('#').next().unwrap_or_default());
                assert!(path.exists(), "{document}: {link} does not exist");
            }
        }
    }
}

#[test]
fn the_two_commands_exist() {
    use std::os::unix::fs::PermissionsExt as _;
    for document in READMES {
        let text = read(document);
        let commands: Vec<&str> =
            text.lines().filter_map(|line| line.split_once("  #")).map(|(c, _)| c.trim_end()).collect();
        assert_eq!(commands, ["cargo run --release", "scripts/test"], "{document}");
    }
    assert!(read("Cargo.toml").contains("default-run = \"apim-proxy\""), "cargo run has to know what to run");
    assert!(root().join("conf/application.properties").is_file());
    let script = fs::metadata(root().join("scripts/test")).expect("scripts/test exists");
    assert_ne!(script.permissions().mode() & 0o111, 0, "scripts/test can be run");
}
