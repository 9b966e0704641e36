//! What is left when the properties are written: directives that another one overrides, and those of hosts and of TLS
//! that nobody reaches.

use super::notes::Notes;
use super::servers::{Scope, Server, Servers, View};
use super::tree::Directive;

/// Directives of which every one counts, not only the nearest.
const ADDING: [&str; 12] = [
    "balancermember",
    "header",
    "listen",
    "logformat",
    "proxypass",
    "proxypassmatch",
    "proxypassreverse",
    "proxypassreversecookiedomain",
    "proxypassreversecookiepath",
    "proxyset",
    "requestheader",
    "serveralias",
];

/// Who is reached.
pub struct Reached<'a> {
    /// The servers of the ports that are opened.
    pub views: &'a [View<'a>],
    /// Whether one of the ports speaks TLS.
    pub tls: bool,
    /// Whether a target does.
    pub tls_targets: bool,
}

/// Notes them.
pub fn sweep(servers: &Servers, reached: &Reached<'_>, notes: &mut Notes) {
    for host in &servers.hosts {
        let opened = reached.views.iter().any(|view| view.host.is_some_and(|one| std::ptr::eq(one, host)));
        if opened {
            overridden(host, reached, notes);
            continue;
        }
        let marks = host.opened.iter().chain(host.items.iter().map(|item| &item.directive));
        for directive in marks {
            notes.idle(directive, "virtual hosts that nothing is carried over from");
        }
    }
    overridden(&servers.main, reached, notes);
}

fn overridden(server: &Server, reached: &Reached<'_>, notes: &mut Notes) {
    for item in server.items.iter().filter(|item| item.scope == Scope::Server) {
        let directive = &item.directive;
        let name = directive.name.to_ascii_lowercase();
        let unused = |prefix: &str, used: bool| name.starts_with(prefix) && !used;
        if unused("sslproxy", reached.tls_targets)
            || (!name.starts_with("sslproxy") && unused("ssl", reached.tls))
        {
            notes.idle(directive, "TLS where no port or target speaks it");
        } else if !ADDING.contains(&name.as_str())
            && !reached.views.iter().any(|view| counts(*view, directive))
        {
            notes.idle(directive, "what virtual hosts override or do not have");
        }
    }
}

fn counts(view: View<'_>, directive: &Directive) -> bool {
    view.nearest(&directive.name).iter().any(|one| std::ptr::eq(*one, directive))
}
