//! What people see of the configuration: the start banner and the report of `check`.

use std::fmt::Write as _;

use crate::config::registry;
use crate::config::sources::Effective;
use crate::credentials::load::Credentials;
use crate::logging::streams;
use crate::policy::client_address::ALLOW;
use crate::policy::forms::FORMS;
use crate::policy::proxy_auth::AUTH_FILE;
use crate::setting::{Source as _, Standing};
use crate::value;

/// A value that people should know they run with.
struct Risk {
    key: &'static str,
    /// Whether the value, empty when unset, is risky.
    when: fn(&str) -> bool,
    sentence: &'static str,
}

const RISKS: [Risk; 7] = [
    Risk {
        key: "proxy.ip.allow",
        when: |text| text.trim().is_empty(),
        sentence: "is unset: every client that reaches this port may use the proxy",
    },
    Risk {
        key: "proxy.target.allow",
        when: |text| {
            text.split([',', ';', ' ']).any(|rule| matches!(rule.trim(), "*" | "0.0.0.0/0" | "::/0"))
        },
        sentence: "allows everything: loopback and metadata addresses can be reached through the proxy",
    },
    Risk {
        key: "proxy.target.mode",
        when: |text| text.trim().eq_ignore_ascii_case("report"),
        sentence: "is report: no target is denied but metadata services and our own ports",
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
        sentence: "is off: logs hold credentials and query values",
    },
    Risk {
        key: "proxy.error.compat",
        when: |text| value::boolean(text) == Ok(true),
        sentence: "is on: clients cannot tell our failures (500) from the targets'",
    },
];

/// The start banner, one line an item: version, listeners, maxima, risky settings, keys without effect yet, unknown
/// keys.
pub fn banner(
    listeners: Vec<String>,
    maxima: &str,
    effective: &Effective,
    credentials: &Credentials,
) -> Vec<String> {
    let mut lines = vec![format!("apim-proxy {}", env!("CARGO_PKG_VERSION"))];
    lines.extend(listeners.into_iter().map(|listener| format!("listener {listener}")));
    lines.push(maxima.to_owned());
    lines.extend(identities(credentials));
    // Every text was checked when the configuration was read.
    lines.extend(streams::remark(effective).ok());
    lines.extend(streams::reverse_remark(effective).ok().flatten());
    lines.extend(remarks(effective));
    lines.extend(credentials.remarks.iter().cloned());
    lines
}

/// A line for each certificate of ours.
pub fn identities(credentials: &Credentials) -> impl Iterator<Item = String> {
    credentials.own.iter().map(|own| {
        let until = time::OffsetDateTime::from_unix_timestamp(own.not_after).map(time::OffsetDateTime::date);
        let until = until.map_or_else(|_| "an unknown day".to_owned(), |day| day.to_string());
        format!("certificate {} of {}: {}, until {until}", own.alias, own.key, own.subject)
    })
}

/// Risky settings, keys without effect yet, and unknown keys, one sentence each.
fn remarks(effective: &Effective) -> Vec<String> {
    let mut lines: Vec<String> = RISKS
        .iter()
        .filter(|risk| (risk.when)(shown(effective, risk.key)))
        .map(|risk| format!("risk: {} {}", risk.key, risk.sentence))
        .collect();
    lines.extend(open_forms(effective));
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

/// Forms that browsers and scanners know are on, and nothing says who may use them.
fn open_forms(effective: &Effective) -> Option<String> {
    let forms = effective.value(&FORMS).ok().filter(|forms| forms.absolute || forms.connect)?;
    let open = [ALLOW.key, AUTH_FILE.key].iter().all(|key| shown(effective, key).trim().is_empty());
    let which = match (forms.absolute, forms.connect) {
        (true, true) => "absolute and connect",
        (true, false) => "absolute",
        _ => "connect",
    };
    open.then(|| {
        format!(
            "risk: {} has {which} on without {} or {}: an open proxy for everyone who reaches this port",
            FORMS.key, ALLOW.key, AUTH_FILE.key
        )
    })
}

/// The text that counts for `key`.
fn shown<'a>(effective: &'a Effective, key: &str) -> &'a str {
    let default =
        || registry::all().find(|setting| setting.key() == key).map_or("", |setting| setting.default());
    effective.entry(key).map_or_else(default, |entry| &entry.text)
}

/// What `check` prints: files, what is set and where, defaults, remarks, and every problem.
pub fn report(effective: &Effective, credentials: Option<&Credentials>) -> String {
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
    for line in credentials.iter().flat_map(|credentials| &credentials.remarks) {
        let _ = writeln!(out, "{line}");
    }
    if let Some(credentials) = credentials.filter(|credentials| !credentials.own.is_empty()) {
        let _ = writeln!(out, "\n# certificates");
        for line in identities(credentials) {
            let _ = writeln!(out, "{line}");
        }
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
