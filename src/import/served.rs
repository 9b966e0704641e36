//! The routes of the ports that are opened, each with its host and its edits of headers.

use super::headers;
use super::listeners::{Listener, names};
use super::notes::Notes;
use super::page::{Page, accepted};
use super::routes::{Route, routes};
use super::servers::{Server, View};
use super::tree::Directive;

/// A route for the names of its host; no name is every other name.
pub struct Served<'a> {
    /// Its server.
    pub view: View<'a>,
    /// Its names.
    pub hosts: Vec<String>,
    /// With TLS or without; `None` is both.
    pub tls: Option<bool>,
    /// The route.
    pub route: Route<'a>,
    /// Edits of requests.
    pub request: Vec<(&'a Directive, String)>,
    /// Edits of answers.
    pub response: Vec<(&'a Directive, String)>,
    /// What sets `X-Forwarded-Proto` to the scheme of the port, for which there is a switch.
    pub proto: Option<&'a Directive>,
}

/// The routes of a port. Its first host also answers to names that no other has.
pub fn served<'a>(listener: &Listener<'a>, notes: &mut Notes) -> Vec<Served<'a>> {
    let mut found = Vec::new();
    for (index, view) in listener.views.iter().enumerate() {
        let hosts = view.host.filter(|_| index > 0).map(names).unwrap_or_default();
        if index > 0 && hosts.is_empty() {
            if let Some(opened) = view.host.and_then(|host| host.opened.as_ref()) {
                notes.differs(opened, "has no ServerName, so nobody asks for it");
            }
            continue;
        }
        let before = found.len();
        for route in routes(*view, notes) {
            let (mut request, response) = if route.targets.is_empty() {
                (Vec::new(), Vec::new())
            } else {
                (edits_of(*view, "RequestHeader", &route, notes), edits_of(*view, "Header", &route, notes))
            };
            let scheme = if listener.tls { "https" } else { "http" };
            let is_proto = |edit: &str| edit.eq_ignore_ascii_case(&format!("set X-Forwarded-Proto {scheme}"));
            let proto = request.iter().find(|(_, edit)| is_proto(edit)).map(|(directive, _)| *directive);
            request.retain(|(_, edit)| !is_proto(edit));
            let (view, hosts, tls) = (*view, hosts.clone(), Some(listener.tls));
            found.push(Served { view, hosts, tls, route, request, response, proto });
        }
        let opened = view.host.and_then(|host| host.opened.as_ref()).filter(|_| index > 0);
        let own = &found[before..];
        if let (Some(origin), true) = (opened, before > 0 && !own.is_empty())
            && own.iter().all(|one| one.route.path != "/")
        {
            // What this host has no route for must not fall to the first one.
            let rest = Served {
                view: *view,
                hosts,
                tls: Some(listener.tls),
                route: Route::excluded(origin, "/"),
                request: Vec::new(),
                response: Vec::new(),
                proto: None,
            };
            found.push(rest);
        }
    }
    found
}

/// The edits that count for a route, in httpd's order.
fn edits_of<'a>(
    view: View<'a>,
    name: &str,
    route: &Route<'a>,
    notes: &mut Notes,
) -> Vec<(&'a Directive, String)> {
    let of = |server: &'a Server| View { main: server, host: None }.all(name).collect::<Vec<_>>();
    let general = of(view.main).into_iter().chain(view.host.map(of).unwrap_or_default());
    let mut found = Vec::new();
    for directive in general.chain(view.at(name, &route.path)) {
        match headers::edit(directive) {
            Ok(edit) => found.push((directive, edit)),
            Err(why) => notes.lost(directive, why),
        }
    }
    found
}

/// The routes of both ports; what both have is there once.
pub fn merged<'a>(chosen: Vec<(Listener<'a>, Vec<Served<'a>>)>) -> Vec<Served<'a>> {
    let ports = chosen.len();
    let mut merged: Vec<Served<'a>> = Vec::new();
    for mut one in chosen.into_iter().flat_map(|(_, served)| served) {
        if let Some(other) = merged.iter_mut().find(|other| other.tls != one.tls && other.same(&one)) {
            other.tls = None;
        } else {
            one.tls = one.tls.filter(|_| ports > 1);
            merged.push(one);
        }
    }
    merged
}

impl Served<'_> {
    /// Whether it is the same route, wherever it is written.
    fn same(&self, other: &Self) -> bool {
        let texts =
            |list: &[(&Directive, String)]| list.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
        self.hosts == other.hosts
            && Route { origin: other.route.origin, ..self.route.clone() } == other.route
            && texts(&self.request) == texts(&other.request)
            && texts(&self.response) == texts(&other.response)
    }

    /// Writes the route; not one that our own reader would not take.
    pub fn write(&self, index: usize, page: &mut Page<'_>) -> bool {
        let Route { origin, path, targets, .. } = &self.route;
        let target = if targets.is_empty() { "!".to_owned() } else { targets.join(",") };
        for (name, value) in [("path", path), ("target", &target)] {
            if let Err(what) = accepted(&format!("proxy.reverse.routes[{index}].{name}"), value) {
                page.notes.lost(origin, format!("the {name} {value} {what}"));
                return false;
            }
        }
        page.heading(&format!("{} {} {}", origin.place, origin.name, origin.text));
        let mut row = |name: &str, value: &str| {
            page.row(&format!("proxy.reverse.routes[{index}].{name}"), value, origin);
        };
        row("path", path);
        row("target", &target);
        if !self.hosts.is_empty() {
            row("host", &self.hosts.join(","));
        }
        if let Some(tls) = self.tls {
            row("listener", if tls { "ssl" } else { "plain" });
        }
        if self.route.preserve_host {
            row("preserve-host", "true");
        }
        for (name, value) in
            [("connect-timeout", &self.route.connect), ("socket-timeout", &self.route.socket)]
        {
            if let Some(value) = value {
                row(name, value);
            }
        }
        for (name, pairs) in
            [("cookie-domain", &self.route.cookie_domains), ("cookie-path", &self.route.cookie_paths)]
        {
            if !pairs.is_empty() {
                let pairs: Vec<String> = pairs.iter().map(|(from, to)| format!("{from} {to}")).collect();
                row(name, &pairs.join(","));
            }
        }
        match self.route.pass_reverse.as_deref() {
            None => {}
            Some([]) => row("pass-reverse", "off"),
            Some(urls) => row("pass-reverse", &urls.join(",")),
        }
        true
    }
}
