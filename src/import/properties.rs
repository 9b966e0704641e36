//! The properties that mean what a configuration means, as text.

use super::certificates;
use super::listeners::{Listener, host_name, listeners, names};
use super::logs::logs;
use super::notes::Notes;
use super::page::Page;
use super::served::{Served, merged, served};
use super::servers::{Servers, View};
use super::sweep::{Reached, sweep};
use super::tree::{Directive, Failure, Place, Tree};

/// The configuration of `tree` as properties; what is no property is noted.
///
/// # Errors
/// A configuration without any port.
pub fn properties(tree: &Tree, servers: &Servers, notes: &mut Notes) -> Result<String, Failure> {
    let all = listeners(servers, notes);
    if all.is_empty() {
        let file = tree.files.first().map(|file| file.to_string_lossy().into()).unwrap_or_default();
        let what = "no Listen names a port that can be opened".to_owned();
        return Err(Failure { place: Place { file, line: 0 }, what });
    }
    let chosen = choose(all, notes);
    let views: Vec<View<'_>> = chosen.iter().flat_map(|(listener, _)| listener.views.clone()).collect();
    let tls = chosen.iter().any(|(listener, _)| listener.tls);
    let path = |text: &str| tree.server_root.join(text).to_string_lossy().into_owned();
    let mut page = Page { text: String::new(), notes };
    ports(&mut page, &chosen, path);
    let served = merged(chosen);
    let proto = served.iter().find_map(|one| one.proto);
    let passing: Vec<View<'_>> = served.iter().map(|one| one.view).collect();
    switches(&mut page, &passing, proto);
    edits(&mut page, &served, &views);
    let mut index = 0;
    for one in &served {
        index += usize::from(one.write(index, &mut page));
    }
    targets(&mut page, &served, path);
    let logs = logs(&views, path, page.notes);
    if logs.folder.is_some() {
        page.heading("Logs");
    }
    if let Some((folder, origin)) = logs.folder {
        page.row("proxy.reverse.log.dir", &folder, origin);
    }
    if let Some((format, origin)) = logs.format {
        page.row("proxy.reverse.log.format", &format, origin);
    }
    let tls_targets =
        served.iter().flat_map(|one| &one.route.targets).any(|target| target.starts_with("https:"));
    sweep(servers, &Reached { views: &views, tls, tls_targets }, page.notes);
    Ok(page.text)
}

/// The port without and the port with TLS that are opened, with their routes; the others are noted.
fn choose<'a>(all: Vec<Listener<'a>>, notes: &mut Notes) -> Vec<(Listener<'a>, Vec<Served<'a>>)> {
    let all: Vec<_> = all
        .into_iter()
        .map(|listener| {
            let served = served(&listener, notes);
            (listener, served)
        })
        .collect();
    let any = all.iter().any(|(_, served)| !served.is_empty());
    let mut chosen: Vec<(Listener<'a>, Vec<Served<'a>>)> = Vec::new();
    for (listener, served) in all {
        if any && served.is_empty() {
            notes.differs(listener.origin, "is not opened, because nothing is passed on there");
        } else if let Some((other, _)) = chosen.iter().find(|(other, _)| other.tls == listener.tls) {
            let what = format!(
                "one port with TLS and one without can be opened; that of {} is, and another needs an installation of its own",
                other.origin.place
            );
            notes.lost(listener.origin, what);
        } else {
            chosen.push((listener, served));
        }
    }
    chosen
}

/// The ports, the address, and the certificates of the one with TLS.
fn ports(
    page: &mut Page<'_>,
    chosen: &[(Listener<'_>, Vec<Served<'_>>)],
    path: impl Fn(&str) -> String + Copy,
) {
    page.heading("Listeners");
    for (listener, _) in chosen {
        let key = if listener.tls { "proxy.reverse.ssl.port" } else { "proxy.reverse.port" };
        page.row(key, &listener.port.to_string(), listener.origin);
    }
    if let Some((first, _)) = chosen.first() {
        match first.address {
            Some(address) if chosen.iter().all(|(other, _)| other.address == first.address) => {
                page.row("proxy.reverse.address", &address.to_string(), first.origin);
            }
            _ => {
                for (listener, _) in chosen.iter().filter(|(listener, _)| listener.address.is_some()) {
                    page.notes
                        .lost(listener.origin, "both ports have one address or all; all of them are opened");
                }
            }
        }
    }
    for (listener, _) in chosen.iter().filter(|(listener, _)| listener.tls) {
        for (key, value, origin) in certificates::listener(&listener.views, path, page.notes) {
            page.row(&format!("proxy.reverse.ssl.{key}"), &value, origin);
        }
    }
}

/// Switches of mod_proxy that count for every route.
fn switches<'a>(page: &mut Page<'_>, views: &[View<'a>], proto: Option<&Directive>) {
    let mut one = |name: &str| {
        let found = |view: &View<'a>| view.last(name);
        let first = views.iter().find_map(found)?;
        for view in views.iter().filter(|view| found(view).map(|other| &other.words) != Some(&first.words)) {
            let what = "counts for every host here, and in httpd it does not";
            page.notes.lost(found(view).unwrap_or(first), what);
        }
        Some(first)
    };
    let off = |directive: &&Directive| directive.word(0).eq_ignore_ascii_case("off");
    let via = one("ProxyVia").filter(|via| !off(via));
    let bare = one("ProxyAddHeaders").filter(off);
    let name = views
        .first()
        .and_then(|view| Some((view.last("ServerName")?, names(view.host.unwrap_or(view.main)))));
    if via.is_some() || bare.is_some() || proto.is_some() || name.is_some() {
        page.heading("What targets are told");
    }
    if let Some((directive, names)) = name {
        // A host without a name of its own has the main server's.
        let main = || host_name(directive.word(0));
        page.row("proxy.reverse.server-name", &names.first().cloned().unwrap_or_else(main), directive);
    }
    if let Some(via) = via {
        page.row("proxy.reverse.via", &via.word(0).to_ascii_lowercase(), via);
    }
    match (bare, proto) {
        (None, None) => {}
        (Some(bare), None) => page.row("proxy.reverse.x-forwarded", "", bare),
        (Some(_), Some(proto)) => page.row("proxy.reverse.x-forwarded", "proto", proto),
        (None, Some(proto)) => page.row("proxy.reverse.x-forwarded", "for,host,server,proto", proto),
    }
}

/// The edits of headers: what every route begins with counts for all, the rest for its route.
fn edits(page: &mut Page<'_>, served: &[Served<'_>], views: &[View<'_>]) {
    let passing: Vec<&Served<'_>> = served.iter().filter(|one| !one.route.targets.is_empty()).collect();
    if passing.is_empty() {
        for directive in views.iter().flat_map(|view| view.all("Header").chain(view.all("RequestHeader"))) {
            page.notes.idle(directive, "headers of answers that are not passed on");
        }
    }
    for (key, of) in [
        (
            "request-headers",
            (|one| &one.request) as for<'a, 'b> fn(&'a Served<'b>) -> &'a Vec<(&'b Directive, String)>,
        ),
        ("response-headers", |one| &one.response),
    ] {
        let Some(first) = passing.first().map(|one| of(one)) else { return };
        let common =
            (0..first.len()).take_while(|&at| passing.iter().all(|one| of(one).get(at) == first.get(at)));
        let common = common.count();
        if common > 0 {
            page.heading(if key == "request-headers" { "Headers of requests" } else { "Headers of answers" });
        }
        for (index, (directive, edit)) in first.iter().take(common).enumerate() {
            page.row(&format!("proxy.reverse.{key}[{index}]"), edit, directive);
        }
        for (directive, _) in passing.iter().flat_map(|one| of(one).iter().skip(common)) {
            page.notes.lost(directive, format!("proxy.reverse.{key} counts for every route, and this does not; write it by hand if it may"));
        }
    }
}

/// How `https` targets are verified and what they are shown.
fn targets(page: &mut Page<'_>, served: &[Served<'_>], path: impl Fn(&str) -> String + Copy) {
    let mut known: Vec<String> = Vec::new();
    let mut index = 0;
    for one in served {
        for target in one.route.targets.iter().filter_map(|target| target.strip_prefix("https://")) {
            let authority = target.split('/').next().unwrap_or_default();
            let has_port = authority
                .rsplit_once(':')
                .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
            let name = if has_port { authority.to_owned() } else { format!("{authority}:443") };
            if known.contains(&name) {
                continue;
            }
            known.push(name.clone());
            let rows = certificates::target(one.view, path, one.route.origin, page.notes);
            if rows.is_empty() {
                continue;
            }
            page.heading(&format!("Target {name}"));
            page.row(&format!("proxy.targets[{index}].match"), &name, one.route.origin);
            for (key, value, origin) in rows {
                page.row(&format!("proxy.targets[{index}].{key}"), &value, origin);
            }
            index += 1;
        }
    }
}
