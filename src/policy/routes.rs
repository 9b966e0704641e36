//! The routes of the reverse listeners: which target serves a path, and how an answer names us instead of it.
//!
//! ```text
//! of the routes for the host, then of those for any host: the longest path that takes the request's
//!     found     -> the target's path, then what the route's path does not take, then the query
//!     excluded  -> 404        (`.target=!`, httpd's `ProxyPass /x !`)
//!     none      -> 404
//! ```
//! Answers: `Location`, `Content-Location`, `URI` and `Destination` that begin with a target's URL name us
//! (`ProxyPassReverse`), as do the domain and path of cookies where that is asked for.

pub mod path;
pub mod reading;

use crate::http::edits::HeaderEdits;
use crate::http::header;
use crate::http::reverse::Pieces;
use crate::time::Millis;

/// The most targets of a route: those tried are remembered as bits.
pub const TARGETS_MAX: usize = 32;

/// Every route, and what holds for all of them.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// In the order in which they are tried.
    list: Vec<Route>,
    /// The lines added to requests.
    pub forwarded: Forwarded,
    /// What becomes of `Via`.
    pub via: Via,
    /// Edits of requests' headers.
    pub request_edits: HeaderEdits,
    /// Edits of answers' headers.
    pub response_edits: HeaderEdits,
}

/// Which lines tell a target where a request came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// `X-Forwarded-For`: the client's address.
    pub address: bool,
    /// `X-Forwarded-Host`: the `Host` the client asked for.
    pub host: bool,
    /// `X-Forwarded-Server`: our name.
    pub server: bool,
    /// `X-Forwarded-Proto`: the scheme the client came by.
    pub proto: bool,
}

/// What becomes of `Via`, as httpd's `ProxyVia` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// Left alone.
    #[default]
    Off,
    /// We add ourselves.
    On,
    /// The same with what we are.
    Full,
    /// Requests leave without any.
    Block,
}

/// A path and whom it leads to.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Lower case; empty: any host.
    hosts: Vec<HostName>,
    /// Only through the listener with (or without) TLS; `None`: through both.
    tls: Option<bool>,
    path: Box<[u8]>,
    /// The URLs of its targets; empty: excluded.
    targets: Vec<Box<[u8]>>,
    /// The path of all targets, as written.
    base: Box<[u8]>,
    /// What `Location` begins with when it names one of them.
    reverses: Vec<Box<[u8]>>,
    cookie_domains: Pairs,
    cookie_paths: Pairs,
    /// The target sees the client's `Host`.
    pub preserve_host: bool,
    /// How long a connection may take, if it has its own time.
    pub connect: Option<Millis>,
    /// How long a target may be silent, if it has its own time.
    pub response: Option<Millis>,
    /// Failures in a row that put a target out.
    pub fails_max: u32,
    /// For how long.
    pub retry: Millis,
    /// Our name towards its targets and in `Via`.
    pub server: Box<[u8]>,
}

/// What targets call something, and what clients do.
pub type Pairs = Vec<(Box<[u8]>, Box<[u8]>)>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostName {
    Exactly(Box<[u8]>),
    /// Every name below this one, which begins with a dot.
    Below(Box<[u8]>),
}

impl HostName {
    fn names(&self, host: &[u8]) -> bool {
        match self {
            Self::Exactly(name) => host.eq_ignore_ascii_case(name),
            Self::Below(suffix) => {
                let tail =
                    host.len().checked_sub(suffix.len()).filter(|at| *at > 0).and_then(|at| host.get(at..));
                tail.is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
            }
        }
    }
}

/// Where a request leads.
#[derive(Clone, Copy, Debug)]
pub struct Found<'r> {
    /// The route's number, for as long as we run.
    pub number: u16,
    /// The route.
    pub route: &'r Route,
    /// How many bytes of the path it takes.
    pub taken: usize,
}

/// Who the client thinks it talks to.
#[derive(Clone, Copy, Debug)]
pub struct Public<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// `host[:port]` as it asked for, in lower case.
    pub authority: &'a [u8],
}

impl Routes {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The route of this number.
    pub fn at(&self, number: u16) -> &Route {
        &self.list[usize::from(number)]
    }

    /// How many targets each route has, by number.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        self.list.iter().map(|route| route.targets.len())
    }

    /// The route for a normal path on `host` (`host[:port]`, or nothing) through the listener with or without TLS; `None`:
    /// there is none, or it is excluded.
    pub fn find(&self, tls: bool, host: &[u8], path: &[u8]) -> Option<Found<'_>> {
        let host = host_of(host);
        let mut routes = self.list.iter().enumerate().filter(|(_, route)| route.serves(tls, host));
        let (number, route, taken) =
            routes.find_map(|(at, route)| Some((at as u16, route, path::taken(&route.path, path)?)))?;
        (!route.targets.is_empty()).then_some(Found { number, route, taken })
    }

    /// The pieces of the new value of an answer's line on the route `number`; `None`: it stays.
    pub fn revise<'v>(
        &'v self,
        number: u16,
        public: &Public<'v>,
        name: &[u8],
        value: &'v [u8],
    ) -> Option<Pieces<'v>> {
        const PLACES: [&[u8]; 4] = [b"location", b"content-location", b"uri", b"destination"];
        let route = self.at(number);
        if PLACES.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            // As in httpd, an answer may name what another route leads to.
            let alike = |other: &&Route| {
                (other.hosts.is_empty() || other.hosts == route.hosts)
                    && (other.tls.is_none() || other.tls == route.tls)
            };
            return self.list.iter().filter(alike).find_map(|route| route.place(public, value));
        }
        if name.eq_ignore_ascii_case(b"set-cookie") { route.cookie(value) } else { None }
    }
}

impl Route {
    fn serves(&self, tls: bool, host: &[u8]) -> bool {
        if self.tls.is_some_and(|only| only != tls) {
            return false;
        }
        self.hosts.is_empty() || self.hosts.iter().any(|name| name.names(host))
    }

    /// The URL of the target `member`: a key of the pool's cache.
    pub fn target(&self, member: u8) -> &[u8] {
        &self.targets[usize::from(member)]
    }

    /// The pieces of the outgoing path: `rest` is what the route did not take.
    pub fn join<'a>(&'a self, rest: &'a [u8], query: &'a [u8]) -> [&'a [u8]; 4] {
        let first = self.base.first().or(rest.first());
        let slash: &[u8] = if first == Some(&b'/') { b"" } else { b"/" };
        [slash, &self.base, rest, query]
    }

    /// A `Location` that begins with the URL of a target, as clients see the place.
    fn place<'v>(&'v self, public: &Public<'v>, value: &'v [u8]) -> Option<Pieces<'v>> {
        let begins = |url: &[u8]| value.get(..url.len()).is_some_and(|start| start.eq_ignore_ascii_case(url));
        let rest = self.reverses.iter().filter(|url| begins(url)).find_map(|url| {
            let rest = &value[url.len()..];
            // `http://h:80` does not begin `http://h:8080`; httpd thinks so.
            (url.ends_with(b"/") || matches!(rest.first(), None | Some(b'/' | b'?' | b'#'))).then_some(rest)
        })?;
        let rest = if self.path.ends_with(b"/") { rest.strip_prefix(b"/").unwrap_or(rest) } else { rest };
        Some([public.scheme.as_bytes(), b"://", public.authority, &self.path, rest])
    }

    /// A cookie whose domain or path is one of the target's.
    fn cookie<'v>(&'v self, value: &'v [u8]) -> Option<Pieces<'v>> {
        if self.cookie_domains.is_empty() && self.cookie_paths.is_empty() {
            return None;
        }
        let mut cuts: [Option<(usize, usize, &[u8])>; 2] = [None; 2];
        let mut at = value.iter().position(|&byte| byte == b';')?;
        while at < value.len() {
            let start = at + 1;
            let end =
                value[start..].iter().position(|&byte| byte == b';').map_or(value.len(), |len| start + len);
            at = end;
            let attribute = &value[start..end];
            let Some(equals) = attribute.iter().position(|&byte| byte == b'=') else { continue };
            let (name, own) = (header::trim(&attribute[..equals]), header::trim(&attribute[equals + 1..]));
            let (slot, new) = if name.eq_ignore_ascii_case(b"domain") {
                let found = self.cookie_domains.iter().find(|(inner, _)| own.eq_ignore_ascii_case(inner));
                (0, found)
            } else if name.eq_ignore_ascii_case(b"path") {
                (1, self.cookie_paths.iter().find(|(inner, _)| own.starts_with(inner)))
            } else {
                continue;
            };
            let lead = attribute[equals + 1..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            let from = start + equals + 1 + lead;
            if let Some((_, outer)) = new {
                cuts[slot] = Some((from, from + own.len(), outer));
            }
        }
        cuts.sort_by_key(|cut| cut.map_or(usize::MAX, |(from, ..)| from));
        match cuts {
            [None, _] => None,
            [Some((from, to, new)), None] => Some([&value[..from], new, &value[to..], b"", b""]),
            [Some((from, to, new)), Some((second, end, newer))] => {
                Some([&value[..from], new, &value[to..second], newer, &value[end..]])
            }
        }
    }
}

/// The host of `host[:port]`, without brackets and the dot that ends an absolute name.
fn host_of(authority: &[u8]) -> &[u8] {
    let host = match authority.strip_prefix(b"[") {
        Some(rest) => rest.split(|&byte| byte == b']').next(),
        None => authority.split(|&byte| byte == b':').next(),
    };
    let host = host.unwrap_or_default();
    host.strip_suffix(b".").unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Source;

    struct Texts(Vec<(&'static str, &'static str)>);

    impl Source for Texts {
        fn text(&self, key: &'static str) -> Option<&str> {
            self.0.iter().find(|(known, _)| *known == key).map(|(_, text)| *text)
        }
        fn indexed(&self, key: &'static str) -> Vec<(usize, &str)> {
            let (before, after) = key.split_once('N').expect("an index");
            let index = |full: &str| full.strip_prefix(before)?.strip_suffix(after)?.parse().ok();
            self.0.iter().filter_map(|(full, text)| Some((index(full)?, *text))).collect()
        }
    }

    macro_rules! routes {
        ($($key:literal = $text:literal),* $(,)?) => {
            Routes::read(&Texts(vec![$((concat!("proxy.reverse.", $key), $text)),*]), "front.test").expect("routes")
        };
    }

    fn led(routes: &Routes, host: &str, path: &str) -> String {
        routes.find(false, host.as_bytes(), path.as_bytes()).map_or_else(
            || "404".to_owned(),
            |found| {
                let rest = &path.as_bytes()[found.taken..];
                let target = String::from_utf8_lossy(found.route.target(0));
                format!("{target} {}", String::from_utf8_lossy(&found.route.join(rest, b"?q").concat()))
            },
        )
    }

    #[test]
    fn the_longest_path_of_the_host_wins() {
        let routes = routes! {
            "routes[0].path" = "/", "routes[0].target" = "http://any/",
            "routes[1].path" = "/foo", "routes[1].target" = "http://foo/bar",
            "routes[2].path" = "/foo/private", "routes[2].target" = "!",
            "routes[3].path" = "/", "routes[3].target" = "http://own", "routes[3].host" = "a.test, *.b.test",
            "routes[4].path" = "/sl/", "routes[4].target" = "http://sl/sl",
            "routes[5].path" = "/api", "routes[5].target" = "http://api/v1/", "routes[5].host" = "a.test",
        };
        for (host, path, expected) in [
            ("x", "/", "http://any/ /?q"),
            ("x", "/p", "http://any/ /p?q"),
            ("", "/foobar", "http://any/ /foobar?q"),
            ("x:8080", "/foo", "http://foo/bar /bar?q"),
            ("x", "/foo/", "http://foo/bar /bar/?q"),
            ("x", "/foo/a", "http://foo/bar /bar/a?q"),
            ("x", "/foo/private", "404"),
            ("x", "/foo/private/a", "404"),
            ("x", "/foo/privateer", "http://foo/bar /bar/privateer?q"),
            ("x", "/sl/a", "http://sl/sl /sla?q"),
            ("A.test.", "/foo", "http://own /foo?q"),
            ("a.test:81", "/api/x", "http://api/v1/ /v1//x?q"),
            ("c.B.test", "/api", "http://own /api?q"),
            ("b.test", "/api", "http://any/ /api?q"),
            ("[::1]:80", "/", "http://any/ /?q"),
        ] {
            assert_eq!(led(&routes, host, path), expected, "{host} {path}");
        }
    }

    #[test]
    fn a_listener_of_its_own_comes_first() {
        let routes = routes! {
            "routes[0].path" = "/", "routes[0].target" = "http://both/",
            "routes[1].path" = "/", "routes[1].target" = "http://ssl/", "routes[1].listener" = "ssl",
            "routes[2].path" = "/a", "routes[2].target" = "!", "routes[2].listener" = "plain",
        };
        let target = |tls, path: &[u8]| routes.find(tls, b"", path).map(|found| found.route.target(0));
        assert_eq!(target(false, b"/x"), Some(&b"http://both/"[..]));
        assert_eq!(target(true, b"/x"), Some(&b"http://ssl/"[..]));
        assert_eq!(target(true, b"/a"), Some(&b"http://ssl/"[..]));
        assert_eq!(target(false, b"/a"), None);
    }

    #[test]
    fn answers_name_us() {
        let routes = routes! {
            "routes[0].path" = "/foo", "routes[0].target" = "http://in.test:81/bar,http://two.test:81/bar",
            "routes[0].cookie-domain" = "in.test out.test", "routes[0].cookie-path" = "/bar /foo",
            "routes[1].path" = "/", "routes[1].target" = "http://in.test:82",
            "routes[2].path" = "/off", "routes[2].target" = "http://in.test:83", "routes[2].pass-reverse" = "off",
            "routes[3].path" = "/own", "routes[3].target" = "http://in.test:84",
            "routes[3].pass-reverse" = "https://old.test/x",
        };
        let number = routes.find(false, b"", b"/foo").expect("a route").number;
        let public = Public { scheme: "https", authority: b"pub.test:8443" };
        let revised = |name: &str, value: &'static str| {
            let pieces = routes.revise(number, &public, name.as_bytes(), value.as_bytes());
            pieces.map(|pieces| String::from_utf8_lossy(&pieces.concat()).into_owned())
        };
        for (value, expected) in [
            ("http://in.test:81/bar/x", Some("https://pub.test:8443/foo/x")),
            ("http://two.test:81/bar", Some("https://pub.test:8443/foo")),
            ("HTTP://IN.test:81/BAR?x", Some("https://pub.test:8443/foo?x")),
            ("http://in.test:81/barx", None),
            ("http://in.test:82/x", Some("https://pub.test:8443/x")),
            ("http://in.test:82", Some("https://pub.test:8443/")),
            ("http://in.test:8200/x", None),
            ("http://in.test:83/x", None),
            ("https://old.test/x/y", Some("https://pub.test:8443/own/y")),
            ("http://in.test:84/x", None),
            ("/bar/x", None),
            ("", None),
        ] {
            assert_eq!(revised("Location", value).as_deref(), expected, "{value}");
        }
        for (value, expected) in [
            ("a=b; Path=/bar; Domain=in.test", Some("a=b; Path=/foo; Domain=out.test")),
            ("a=b;domain=IN.TEST;path=/bar/x;Secure", Some("a=b;domain=out.test;path=/foo;Secure")),
            ("a=b; Domain=.in.test; Path=/x", None),
            ("path=/bar; Secure", None),
            ("a=b; Path = /bar ; x", Some("a=b; Path = /foo ; x")),
            ("a=b; Path=/bar; Path=/bar", Some("a=b; Path=/bar; Path=/foo")),
            ("a=b", None),
            ("", None),
            (";", None),
            ("a;=;path;path=", None),
        ] {
            assert_eq!(revised("set-cookie", value).as_deref(), expected, "{value}");
        }
        assert_eq!(revised("X-Location", "http://in.test:81/bar"), None);
    }
}
