//! What people see of the configuration: the start banner and the report of `check`.

use std::fmt::Write as _;

use crate::config::registry;
use crate::config::sources::Effective;
use crate::setting::Standing;
use crate::value;

/// Every maximum the server computed from the configuration and the system; the server fills it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maxima {
    /// Each listener as `kind address:port`.
    pub listeners: Vec<String>,
    /// Worker threads.
    pub workers: usize,
    /// Client connections, all workers together.
    pub clients: usize,
    /// Buffers, all workers together.
    pub buffers: usize,
    /// Size of one buffer in bytes.
    pub buffer_bytes: usize,
    /// Upstream connections to one target.
    pub pool_per_route: usize,
    /// Upstream connections to all targets.
    pub pool_total: usize,
    /// Descriptors the process may open.
    pub open_files: usize,
}

/// A value that people should know they run with.
struct Risk {
    key: &'static str,
    /// Whether the value, empty when unset, is risky.
    when: fn(&str) -> bool,
    sentence: &'static str,
}

const RISKS: [Risk; 6] = [
    Risk {
        key: "proxy.ip.allow",
        when: |text| text.trim().is_empty(),
        sentence: "is unset: every client that reaches this port may use the proxy",
    },
    Risk {
        key: "proxy.target.allow",
        when: |text| text.split(',').any(|rule| matches!(rule.trim(), "*" | "0.0.0.0/0" | "::/0")),
        sentence: "allows everything: loopback and metadata addresses can be reached through the proxy",
    },
    Risk {
        key: "proxy.ssl.client.validateCertificate",
        when: |text| value::boolean(text) == Ok(false),
        sentence: "is off: targets are not verified",
    },
    Risk {
        key: "proxy.ssl.client.verifyHostname",
        when: |text| value::boolean(text) == Ok(false),
        sentence: "is off: any trusted certificate passes for any target",
    },
    Risk {
        key: "proxy.logging.mask",
        when: |text| value::boolean(text) == Ok(false),
        sentence: "is off: request logs hold credentials",
    },
    Risk {
        key: "proxy.error.compat",
        when: |text| value::boolean(text) == Ok(true),
        sentence: "is on: clients cannot tell our failures (500) from the targets'",
    },
];

/// The start banner, one line an item: version, listeners, maxima, risky settings, keys without effect yet, unknown keys.
pub fn banner(maxima: &Maxima, effective: &Effective) -> Vec<String> {
    let mut lines = vec![format!("apim-proxy {}", env!("CARGO_PKG_VERSION"))];
    lines.extend(maxima.listeners.iter().map(|listener| format!("listener {listener}")));
    lines.push(format!(
        "maxima: {} workers, {} clients, {} buffers of {} bytes, {} connections a target, {} to all targets, {} open files",
        maxima.workers,
        maxima.clients,
        maxima.buffers,
        maxima.buffer_bytes,
        maxima.pool_per_route,
        maxima.pool_total,
        maxima.open_files
    ));
    lines.extend(remarks(effective));
    lines
}

/// Risky settings, keys without effect yet, and unknown keys, one sentence each.
fn remarks(effective: &Effective) -> Vec<String> {
    let mut lines: Vec<String> = RISKS
        .iter()
        .filter(|risk| (risk.when)(shown(effective, risk.key)))
        .map(|risk| format!("risk: {} {}", risk.key, risk.sentence))
        .collect();
    let waiting: Vec<&str> = effective.not_active_yet().collect();
    if !waiting.is_empty() {
        lines.push(format!("not active yet: {}", waiting.join(", ")));
    }
    for unknown in &effective.unknown {
        let near = unknown.nearest.map(|key| format!(" (nearest known: {key})")).unwrap_or_default();
        lines.push(format!("unknown key: {}: {}{near}", unknown.origin, unknown.key));
    }
    lines
}

/// The text that counts for `key`.
fn shown<'a>(effective: &'a Effective, key: &str) -> &'a str {
    let default =
        || registry::all().find(|setting| setting.key() == key).map_or("", |setting| setting.default());
    effective.entry(key).map_or_else(default, |entry| &entry.text)
}

/// What `check` prints: files, what is set and where, defaults, remarks, and every problem.
pub fn report(effective: &Effective) -> String {
    let mut out = String::new();
    for file in &effective.files {
        let _ = writeln!(out, "# file {}", file.display());
    }
    let _ = writeln!(out, "# set");
    for (key, entry) in effective.entries() {
        let standing = match entry.setting.standing() {
            Standing::Active | Standing::Refused(_) => "",
            Standing::NotYet => " (not active yet)",
            Standing::NoEffect => " (no effect)",
        };
        let _ = writeln!(out, "{key} = {} [{}]{standing}", entry.shown(), entry.origin);
    }
    let _ = writeln!(out, "\n# defaults");
    for setting in registry::all() {
        let pattern = setting.key().ends_with(".*") || setting.key().contains("[N]");
        if setting.standing() == Standing::Active && !pattern && effective.entry(setting.key()).is_none() {
            let _ = writeln!(out, "{} = {} [default]", setting.key(), setting.default());
        }
    }
    let _ = writeln!(out, "\n# remarks");
    for line in remarks(effective) {
        let _ = writeln!(out, "{line}");
    }
    let _ = writeln!(out, "\n# problems");
    for problem in &effective.problems {
        let _ = writeln!(out, "{problem}");
    }
    if effective.problems.is_empty() {
        out.push_str("none\n");
    }
    out
}
