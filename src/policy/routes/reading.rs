//! `proxy.reverse.*`: the settings of routes, and how routes are read from them.

use super::{Forwarded, HostName, Pairs, Route, Routes, TARGETS_MAX, Via};
use crate::http::edits::{HeaderEdits, Rule};
use crate::http::target::{Scheme, Target};
use crate::setting::{AnySetting, Setting, Source};
use crate::time::Millis;
use crate::value;
use std::collections::BTreeMap;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[
    &PATH,
    &TARGET,
    &HOST,
    &LISTENER,
    &PRESERVE_HOST,
    &PASS_REVERSE,
    &COOKIE_DOMAIN,
    &COOKIE_PATH,
    &CONNECT_TIMEOUT,
    &SOCKET_TIMEOUT,
    &FAILS_MAX,
    &RETRY,
    &SERVER_NAME,
    &X_FORWARDED,
    &VIA,
    &REQUEST_HEADERS,
    &RESPONSE_HEADERS,
];

/// What the keys of a route begin with.
const ROUTES: &str = "proxy.reverse.routes[";
/// The most routes: numbers are kept with exchanges.
const ROUTES_MAX: usize = 4096;

/// The path of a route.
pub static PATH: Setting<String> = Setting::new(
    "proxy.reverse.routes[N].path",
    "",
    path,
    "Path this route takes, whole segments (httpd's first word of ProxyPass); the longest that fits wins.",
);
/// Where it leads.
pub static TARGET: Setting<Vec<Box<[u8]>>> = Setting::new(
    "proxy.reverse.routes[N].target",
    "",
    targets,
    "Where it leads, `http://host:port/path` or https; several, as a comma list, share its requests, the one with fewest in \
     progress first. `!` excludes the path (404).",
);
/// For which hosts.
pub static HOST: Setting<Vec<HostPattern>> = Setting::new(
    "proxy.reverse.routes[N].host",
    "",
    |text| value::list(text)?.iter().map(|name| HostPattern::parse(name)).collect(),
    "Hosts the route is for, as a comma list of names and `*.suffix` (httpd's ServerName and ServerAlias); empty: any host, \
     after the routes that name it.",
);
/// Through which listener.
pub static LISTENER: Setting<Option<bool>> = Setting::new(
    "proxy.reverse.routes[N].listener",
    "",
    |text| match text.trim().to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "plain" => Ok(Some(false)),
        "ssl" => Ok(Some(true)),
        _ => Err("is not one of plain, ssl".to_owned()),
    },
    "Which reverse listener the route is for: `plain` (proxy.reverse.port) or `ssl` (proxy.reverse.ssl.port); empty: both.",
);
/// Whether the target sees the client's `Host`.
pub static PRESERVE_HOST: Setting<bool> = Setting::new(
    "proxy.reverse.routes[N].preserve-host",
    "false",
    value::boolean,
    "Whether the target sees the client's `Host` instead of its own (httpd's ProxyPreserveHost).",
);
/// Which URLs of answers are rewritten.
pub static PASS_REVERSE: Setting<Vec<Box<[u8]>>> = Setting::new(
    "proxy.reverse.routes[N].pass-reverse",
    "",
    pass_reverse,
    "URLs that Location, Content-Location and URI of answers are rewritten from (httpd's ProxyPassReverse), as a comma list; \
     empty: those of the route's targets, `off`: none.",
);
/// How cookies' domains change.
pub static COOKIE_DOMAIN: Setting<Pairs> = Setting::new(
    "proxy.reverse.routes[N].cookie-domain",
    "",
    pairs,
    "`internal public` pairs, as a comma list: how the Domain of cookies changes (httpd's ProxyPassReverseCookieDomain).",
);
/// How cookies' paths change.
pub static COOKIE_PATH: Setting<Pairs> = Setting::new(
    "proxy.reverse.routes[N].cookie-path",
    "",
    pairs,
    "`internal public` pairs, as a comma list: a cookie's Path that begins with the one becomes the other (httpd's \
     ProxyPassReverseCookiePath).",
);
/// How long a connection to its targets may take.
pub static CONNECT_TIMEOUT: Setting<Millis> = Setting::new(
    "proxy.reverse.routes[N].connect-timeout",
    "60",
    value::seconds,
    "Connect timeout towards its targets in seconds; unset: as for all targets.",
);
/// How long they may be silent.
pub static SOCKET_TIMEOUT: Setting<Millis> = Setting::new(
    "proxy.reverse.routes[N].socket-timeout",
    "60",
    value::seconds,
    "Read timeout towards its targets in seconds; unset: as for all targets.",
);
/// When a target is out.
pub static FAILS_MAX: Setting<u32> = Setting::new(
    "proxy.reverse.routes[N].max-fails",
    "1",
    |text| value::whole(text, 1..=1000).map(|n| n as u32),
    "Failures in a row (no connection, no answer in time) after which a target of several is left alone for a while; when \
     all are, all are tried.",
);
/// For how long.
pub static RETRY: Setting<Millis> = Setting::new(
    "proxy.reverse.routes[N].retry",
    "60",
    value::seconds,
    "Seconds after which a target that was left alone is tried again (httpd's retry).",
);
/// Our name.
pub static SERVER_NAME: Setting<String> = Setting::new(
    "proxy.reverse.server-name",
    "",
    |text| match text.trim() {
        "" => Ok(String::new()),
        name => HostPattern::parse(name).map(|_| name.to_owned()),
    },
    "Our name in X-Forwarded-Server and Via, and in rewritten locations where a client names none (httpd's ServerName); a \
     route's first host counts before it; unset: the machine's name.",
);
/// Which lines say where a request came from.
pub static X_FORWARDED: Setting<Forwarded> = Setting::new(
    "proxy.reverse.x-forwarded",
    "for,host,server",
    forwarded,
    "Which of X-Forwarded-For, -Host, -Server and -Proto targets get, as a comma list of for, host, server, proto; httpd sends \
     the first three, merged with what the client sent; -Proto replaces it. Empty: none (ProxyAddHeaders Off).",
);
/// What becomes of `Via`.
pub static VIA: Setting<Via> = Setting::new(
    "proxy.reverse.via",
    "off",
    |text| match text.trim().to_ascii_lowercase().as_str() {
        "off" => Ok(Via::Off),
        "on" => Ok(Via::On),
        "full" => Ok(Via::Full),
        "block" => Ok(Via::Block),
        _ => Err("is not one of off, on, full, block".to_owned()),
    },
    "Whether we add ourselves to Via, both ways, as httpd's ProxyVia: off, on, full (with what we are) or block (requests \
     leave without any).",
);
/// Edits of requests' headers.
pub static REQUEST_HEADERS: Setting<Option<Rule>> = Setting::new(
    "proxy.reverse.request-headers[N]",
    "",
    rule,
    "Edits of the headers that targets get, in order: `set|add|append Name value` or `unset Name` (httpd's RequestHeader).",
);
/// Edits of answers' headers.
pub static RESPONSE_HEADERS: Setting<Option<Rule>> = Setting::new(
    "proxy.reverse.response-headers[N]",
    "",
    rule,
    "Edits of the headers that clients get with targets' answers, in order, as in request-headers (httpd's Header).",
);

/// What is wrong with a key: the key and the rest of the sentence.
pub type Complaint = (String, String);
/// A name of a host, or `*.suffix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern(HostName);

impl HostPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let (suffix, below) = text.strip_prefix("*.").map_or((text, false), |suffix| (suffix, true));
        let name = suffix.strip_suffix('.').unwrap_or(suffix);
        let authority = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
        match crate::http::target::host_port(authority.as_bytes()) {
            Some((_, None)) if below => Ok(Self(HostName::Below(format!(".{name}").into_bytes().into()))),
            Some((_, None)) => Ok(Self(HostName::Exactly(name.as_bytes().into()))),
            _ => Err(format!("holds {text}, which is no name of a host, without a port, or *.suffix")),
        }
    }
}

fn rule(text: &str) -> Result<Option<Rule>, String> {
    if text.trim().is_empty() { Ok(None) } else { Rule::parse(text).map(Some) }
}

fn path(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(String::new());
    }
    let visible = text.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'%' | b'?' | b'#'));
    if !text.starts_with('/') || !visible {
        return Err(
            "is no path: it begins with a slash and is written without escapes, query and blanks".to_owned()
        );
    }
    match super::path::normal(text.as_bytes()) {
        Ok(normal) if *normal == *text.as_bytes() => Ok(text.to_owned()),
        _ => Err("holds empty or dot segments, which no request's path has once it is judged".to_owned()),
    }
}

fn targets(text: &str) -> Result<Vec<Box<[u8]>>, String> {
    if matches!(text.trim(), "!" | "") {
        return Ok(Vec::new());
    }
    let urls = value::list(text)?;
    if urls.is_empty() || urls.len() > TARGETS_MAX {
        return Err(format!("is no list of 1 to {TARGETS_MAX} URLs, and not `!`"));
    }
    let bases: Vec<&[u8]> = urls.iter().map(|url| judged(url)).collect::<Result<_, _>>()?;
    if bases.iter().any(|base| base != &bases[0]) {
        return Err("holds targets with different paths; one route leads to one path".to_owned());
    }
    Ok(urls.iter().map(|url| url.as_bytes().into()).collect())
}

/// The path of a target's URL, as written.
fn judged(url: &str) -> Result<&[u8], String> {
    let lower = url.to_ascii_lowercase();
    let scheme = ["http://", "https://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let rest = scheme.map(|scheme| &url[scheme.len()..]);
    match rest.filter(|rest| !rest.contains('@') && Target::parse(url.as_bytes(), Scheme::Http).is_ok()) {
        Some(rest) => Ok(rest.find('/').map_or(&[][..], |at| &rest.as_bytes()[at..])),
        None => Err(format!("holds {url}, which is no http or https URL without user, query and fragment")),
    }
}

fn pass_reverse(text: &str) -> Result<Vec<Box<[u8]>>, String> {
    if text.trim().eq_ignore_ascii_case("off") {
        return Ok(Vec::new());
    }
    let urls = value::list(text)?;
    for url in &urls {
        judged(url)?;
    }
    Ok(urls.iter().map(|url| url.as_bytes().into()).collect())
}

fn pairs(text: &str) -> Result<Pairs, String> {
    let pair = |pair: &String| {
        let words: Vec<&str> = pair.split_whitespace().collect();
        match words[..] {
            [inner, outer] if outer.bytes().all(|byte| matches!(byte, 0x21..=0x7e) && byte != b';') => {
                Ok((inner.as_bytes().into(), outer.as_bytes().into()))
            }
            _ => Err(format!("holds {pair}, which is not `internal public`")),
        }
    };
    value::list(text)?.iter().map(pair).collect()
}

fn forwarded(text: &str) -> Result<Forwarded, String> {
    let mut forwarded = Forwarded::default();
    for name in value::list(text)? {
        match name.to_ascii_lowercase().as_str() {
            "for" => forwarded.address = true,
            "host" => forwarded.host = true,
            "server" => forwarded.server = true,
            "proto" => forwarded.proto = true,
            _ => return Err(format!("holds {name}, which is not one of for, host, server, proto")),
        }
    }
    Ok(forwarded)
}

impl Routes {
    /// Reads the routes; `machine` is our name where none is configured. What does not parse by itself has its sentence
    /// elsewhere.
    ///
    /// # Errors
    /// Everything else that is wrong, each with its key.
    pub fn read(source: &impl Source, machine: &str) -> Result<Self, Vec<Complaint>> {
        let mut complaints = Vec::new();
        let mut by_index: BTreeMap<usize, BTreeMap<&str, &str>> = BTreeMap::new();
        for setting in ALL.iter().filter(|setting| setting.key().starts_with(ROUTES)) {
            let name = setting.key().rsplit_once('.').map_or("", |(_, name)| name);
            for (index, text) in source.indexed(setting.key()) {
                by_index.entry(index).or_default().insert(name, text);
            }
        }
        let own_name = source.value(&SERVER_NAME).unwrap_or_default();
        let own_name = if own_name.is_empty() { machine } else { &own_name };
        let mut list: Vec<Route> = Vec::new();
        for (index, texts) in &by_index {
            let key = |name: &str| format!("{ROUTES}{index}].{name}");
            for name in ["path", "target"] {
                if texts.get(name).is_none_or(|text| text.trim().is_empty()) {
                    complaints.push((key(name), "is missing: a route has a path and a target".to_owned()));
                }
            }
            let route = Route::read(texts, own_name);
            if list
                .iter()
                .any(|known| known.path == route.path && known.hosts == route.hosts && known.tls == route.tls)
            {
                complaints.push((
                    key("path"),
                    "stands in another route for the same hosts and listener already".to_owned(),
                ));
            }
            list.push(route);
        }
        if list.len() > ROUTES_MAX {
            complaints.push((format!("{ROUTES}N]"), format!("has more than {ROUTES_MAX} routes")));
        }
        if !complaints.is_empty() {
            return Err(complaints);
        }
        list.sort_by_key(|route| {
            (route.hosts.is_empty(), std::cmp::Reverse(route.path.len()), route.tls.is_none())
        });
        Ok(Self {
            list,
            forwarded: source.value(&X_FORWARDED).unwrap_or_default(),
            via: source.value(&VIA).unwrap_or_default(),
            request_edits: edits(source, &REQUEST_HEADERS),
            response_edits: edits(source, &RESPONSE_HEADERS),
        })
    }
}

/// The edits of an indexed setting, in the order of their numbers.
fn edits(source: &impl Source, setting: &Setting<Option<Rule>>) -> HeaderEdits {
    let parsed = |(number, text): (usize, &str)| Some((number, (setting.parse)(text).ok()??));
    let rules: BTreeMap<usize, Rule> = source.indexed(setting.key).into_iter().filter_map(parsed).collect();
    HeaderEdits::of(rules.values())
}

impl Route {
    fn read(texts: &BTreeMap<&str, &str>, own_name: &str) -> Self {
        fn of<T>(texts: &BTreeMap<&str, &str>, setting: &Setting<T>) -> Option<T> {
            let name = setting.key.rsplit_once('.').map_or("", |(_, name)| name);
            texts.get(name).filter(|text| !text.trim().is_empty()).and_then(|text| (setting.parse)(text).ok())
        }
        let targets = of(texts, &TARGET).unwrap_or_default();
        let base = targets.first().and_then(|url| judged(std::str::from_utf8(url).ok()?).ok());
        let patterns = of(texts, &HOST).unwrap_or_default();
        let hosts: Vec<HostName> = patterns.into_iter().map(|pattern| pattern.0).collect();
        let server = hosts.iter().find_map(|host| match host {
            HostName::Exactly(name) => Some(name.clone()),
            HostName::Below(_) => None,
        });
        Self {
            path: of(texts, &PATH).unwrap_or_default().into_bytes().into(),
            base: base.unwrap_or_default().into(),
            reverses: of(texts, &PASS_REVERSE).unwrap_or_else(|| targets.clone()),
            cookie_domains: of(texts, &COOKIE_DOMAIN).unwrap_or_default(),
            cookie_paths: of(texts, &COOKIE_PATH).unwrap_or_default(),
            tls: of(texts, &LISTENER).flatten(),
            preserve_host: of(texts, &PRESERVE_HOST).unwrap_or_default(),
            connect: of(texts, &CONNECT_TIMEOUT),
            response: of(texts, &SOCKET_TIMEOUT),
            fails_max: of(texts, &FAILS_MAX).unwrap_or(1),
            retry: of(texts, &RETRY).unwrap_or(Millis::from_secs(60)),
            server: server.unwrap_or_else(|| own_name.as_bytes().into()),
            hosts,
            targets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_route_is_refused() {
        for text in ["x", "/a//b", "/a/../b", "/a b", "/%41", "/a?b", "/a#b"] {
            assert!(path(text).is_err(), "{text}");
        }
        for text in [
            ",",
            "h",
            "ftp://h",
            "http://",
            "http://h/?q",
            "http://u@h",
            "http://h/a,http://i/b",
            "!,http://h",
        ] {
            assert!(targets(text).is_err(), "{text}");
        }
        for text in ["a", "a b c", "a b;c"] {
            assert!(pairs(text).is_err(), "{text}");
        }
        for text in ["h:80", "*", "*.", "a*b", "http://h"] {
            assert!((HOST.parse)(text).is_err(), "{text}");
        }
        assert!(pass_reverse("off").is_ok_and(|urls| urls.is_empty()));
        assert!(forwarded("For, proto").is_ok_and(|forwarded| forwarded.address && forwarded.proto));
        assert!(forwarded("by").is_err());
    }
}
