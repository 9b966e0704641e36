//! Every setting there is, in groups as people read them; the README's table and the shipped file are made from it.
//!
//! A new setting is one row: in the list of its own file, or here.

use std::fmt::Write as _;
use std::sync::LazyLock;

use crate::config::later::{logging, proxy, spring};
use crate::config::spring::Names;
use crate::credentials::{reverse, settings as tls, targets};
use crate::policy::egress;
use crate::setting::{AnySetting, Standing};
use crate::{
    access, crowd, engine, listener, logging as log, permits, policy, request_log, resolve, server, wait,
};

/// A heading and its settings.
pub struct Group {
    /// What the settings are about.
    pub title: &'static str,
    /// The settings, in lists so that a file can bring its own.
    pub lists: &'static [&'static [&'static dyn AnySetting]],
}

/// Every setting, in groups.
pub static GROUPS: &[Group] = &[
    Group { title: "Listener", lists: &[LISTENER] },
    Group { title: "Clients", lists: &[CLIENTS] },
    Group { title: "Targets", lists: &[TARGETS, resolve::ALL] },
    Group {
        title: "Who may enter, where they may go",
        lists: &[POLICY, egress::ALL, GROUPS_OF_CLIENTS, egress::OF_GROUPS, proxy::ALL],
    },
    Group { title: "TLS", lists: &[tls::ALL, targets::ALL] },
    Group {
        title: "Reverse proxy",
        lists: &[REVERSE, policy::routes::reading::ALL, reverse::ALL, access::OF_REVERSE],
    },
    Group { title: "Logging", lists: &[log::settings::ALL, access::ALL, request_log::ALL, logging::ALL] },
    Group { title: "Spring and Tomcat", lists: &[spring::ALL] },
];

const LISTENER: &[&dyn AnySetting] = &[
    &listener::PORT,
    &listener::ADDRESS,
    &listener::BACKLOG,
    &listener::SHARE,
    &server::maxima::WORKERS,
    &server::SHUTDOWN,
    &server::SHUTDOWN_PHASE,
    &server::PID_FILE,
    &server::READY_FILE,
];

const REVERSE: &[&dyn AnySetting] = &[
    &listener::REVERSE_PORT,
    &listener::REVERSE_SSL_PORT,
    &listener::REVERSE_ADDRESS,
    &policy::client_address::REVERSE_ALLOW,
    &engine::REVERSE_PROTOCOL,
];

const CLIENTS: &[&dyn AnySetting] = &[
    &server::maxima::CLIENTS_MAX,
    &engine::HEAD_BYTES_MAX,
    &engine::REQUESTS_MAX,
    &wait::HANDSHAKE,
    &wait::HEAD,
    &wait::IDLE,
    &wait::BODY,
    &wait::CLIENT_SEND,
    &wait::LINGER,
    &server::maxima::BUFFER_BYTES_MAX,
    &engine::ERROR_COMPAT,
];

const TARGETS: &[&dyn AnySetting] = &[
    &wait::CONNECT,
    &wait::UPSTREAM_HANDSHAKE,
    &wait::QUEUE,
    &wait::RESPONSE,
    &wait::UPSTREAM_IDLE,
    &wait::TUNNEL_IDLE,
    &engine::HTTPS_ONLY,
    &engine::HANDSHAKES_MAX,
    &engine::SPLICE_MIN,
    &permits::PER_ROUTE_MAX,
    &permits::TOTAL_MAX,
];

const POLICY: &[&dyn AnySetting] = &[
    &policy::forms::FORMS,
    &policy::forms::CONNECT_PORTS,
    &policy::proxy_auth::AUTH_FILE,
    &wait::VERIFY,
    &policy::client_address::ALLOW,
    &policy::trusted_proxies::TRUSTED_PROXIES,
    &engine::PROXY_PROTOCOL,
    &wait::PREFACE,
    &policy::subject_rule::ALLOW_SUBJECTS,
    &crowd::CONNECTIONS_MAX,
    &policy::header_filter::HEADER_FILTER,
    &policy::reload_clients::RELOAD_ALLOW,
    &wait::RELOAD,
];

const GROUPS_OF_CLIENTS: &[&dyn AnySetting] =
    &[&policy::groups::NAME, &policy::groups::ADDRESSES, &policy::groups::SUBJECTS];

/// Keys that the shipped file sets rather than only shows.
const SHIPPED: &[(&str, &str)] = &[
    ("server.port", "9000"),
    ("proxy.forward.forms", "header,absolute,connect"),
    ("proxy.log.file", "../log/access.log"),
];

/// Every setting.
pub fn all() -> impl Iterator<Item = &'static dyn AnySetting> {
    GROUPS.iter().flat_map(Group::settings)
}

/// Every setting by any of its names.
pub fn names() -> &'static Names {
    static NAMES: LazyLock<Names> = LazyLock::new(|| Names::new(all()));
    &NAMES
}

impl Group {
    /// The group's settings in order.
    pub fn settings(&self) -> impl Iterator<Item = &'static dyn AnySetting> + use<> {
        self.lists.iter().flat_map(|list| list.iter().copied())
    }
}

/// The settings as Markdown tables, one a group: what `apim-proxy settings` prints and README holds.
pub fn markdown() -> String {
    let mut out = String::new();
    for group in GROUPS {
        let _ = writeln!(out, "### {}\n\n| key | default | meaning |\n| --- | --- | --- |", group.title);
        for setting in group.settings() {
            let default = match setting.default() {
                "" => String::new(),
                text => format!("`{text}`"),
            };
            let standing = match setting.standing() {
                Standing::Active => "",
                Standing::NotYet => " *Not active yet.*",
                Standing::Refused(_) => " *Not in this build: any other value ends the start.*",
                Standing::NoEffect => " *No effect.*",
            };
            let doc = setting.doc().replace('|', "\\|");
            let _ = writeln!(out, "| `{}` | {default} | {doc}{standing} |", setting.key());
        }
        out.push('\n');
    }
    out
}

/// The shipped `conf/application.properties`: every active setting with its meaning and default, but for those that
/// say where the file is.
pub fn shipped() -> String {
    let mut out = String::from(
        "# apim-proxy. Every active setting with its default; `apim-proxy settings` lists the others.\n\
         # `apim-proxy check` prints what counts and where it comes from.\n",
    );
    for group in GROUPS {
        let belongs = |setting: &&'static dyn AnySetting| {
            setting.standing() == Standing::Active && !setting.key().starts_with("spring.config.")
        };
        let mut active = group.settings().filter(belongs).peekable();
        if active.peek().is_some() {
            let _ = writeln!(out, "\n## {}", group.title);
        }
        for setting in active {
            let _ = writeln!(out, "\n# {}", setting.doc());
            let _ = match SHIPPED.iter().find(|(key, _)| *key == setting.key()) {
                Some((key, value)) => writeln!(out, "{key}={value}"),
                None => writeln!(out, "#{}={}", setting.key().replace(".*", ".root"), setting.default()),
            };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_name_means_one_setting_in_every_spelling() {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for setting in all() {
            for name in setting.aliases().iter().chain([&setting.key()]) {
                let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
                let family = if name.ends_with('*') { "*" } else { "" };
                let earlier = seen.insert(letters.to_ascii_lowercase() + family, setting.key());
                assert_eq!(
                    earlier, None,
                    "{name} is defined twice: drop the one in provisional.rs or later/"
                );
            }
        }
    }

    #[test]
    fn every_default_is_a_value_and_every_doc_a_sentence() {
        for setting in all() {
            assert_eq!(setting.check(setting.default()), Ok(()), "{}", setting.key());
            assert!(setting.doc().ends_with('.'), "{}", setting.key());
            assert!(!setting.secret() || setting.default().is_empty(), "{}", setting.key());
        }
    }
}
