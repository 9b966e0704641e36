//! The routes of a server, in the order httpd would try them.

use super::notes::Notes;
use super::pass::Pass;
use super::servers::{Item, Scope, View, within};
use super::tree::Directive;

/// httpd's and our own default, in seconds.
const SECONDS: &str = "60";

/// A path and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// The directive it was made of.
    pub origin: &'a Directive,
    /// Prefix of the requests' paths.
    pub path: String,
    /// The targets; none passes nothing.
    pub targets: Vec<String>,
    /// Seconds, where they are not the default.
    pub connect: Option<String>,
    /// Seconds, where they are not the default.
    pub socket: Option<String>,
    /// `ProxyPreserveHost`.
    pub preserve_host: bool,
    /// Seconds until a target that failed is tried again, where they are not the default.
    pub retry: Option<String>,
    /// What `ProxyPassReverse` says for the path; `None`: the targets' own URLs.
    pub pass_reverse: Option<Vec<String>>,
    /// `ProxyPassReverseCookieDomain`, in pairs.
    pub cookie_domains: Vec<(String, String)>,
    /// `ProxyPassReverseCookiePath`, in pairs.
    pub cookie_paths: Vec<(String, String)>,
}

impl<'a> Route<'a> {
    /// A path that leads nowhere.
    pub fn excluded(origin: &'a Directive, path: &str) -> Self {
        Self {
            origin,
            path: path.to_owned(),
            targets: Vec::new(),
            connect: None,
            socket: None,
            retry: None,
            pass_reverse: None,
            preserve_host: false,
            cookie_domains: Vec::new(),
            cookie_paths: Vec::new(),
        }
    }
}

/// The routes of a server; longest paths need not come first.
pub fn routes<'a>(view: View<'a>, notes: &mut Notes) -> Vec<Route<'a>> {
    let mut routes: Vec<Route<'a>> = Vec::new();
    let mut paths = Vec::new();
    for (directive, location) in passes(view) {
        let pass = match Pass::read(directive, location) {
            Ok(pass) => pass,
            Err(why) => {
                notes.lost(directive, why);
                continue;
            }
        };
        paths.push(pass.path.clone());
        if let Some(first) = routes.iter().find(|route| within(&pass.path, &route.path)) {
            let what = format!(
                "never counted, because {} comes first and takes all its requests",
                first.origin.place
            );
            notes.differs(directive, what);
            continue;
        }
        if pass.narrower {
            let what = format!("the route takes {0} and {0}/…, not other paths that begin so", pass.path);
            notes.differs(directive, what);
        }
        let mut route = Route {
            preserve_host: view
                .last_at("ProxyPreserveHost", &pass.path)
                .is_some_and(|found| found.word(0).eq_ignore_ascii_case("on")),
            cookie_domains: pairs(view, "ProxyPassReverseCookieDomain", &pass.path),
            cookie_paths: pairs(view, "ProxyPassReverseCookiePath", &pass.path),
            ..Route::excluded(directive, &pass.path)
        };
        if pass.url != "!" {
            // A path whose target is lost passes nothing: a shorter path must not take its requests elsewhere.
            targets(view, &pass, &mut route, notes);
            route.pass_reverse = pass_reverse(view, &route);
        }
        routes.push(route);
    }
    left_over(view, &routes, &paths, notes);
    routes
}

/// Every `ProxyPass` in the order httpd tries them: of `<Location>` sections the last counts, and the virtual host's
/// before the main server's; then come the main server's others in their order, then the virtual host's.
fn passes(view: View<'_>) -> Vec<(&Directive, Option<&str>)> {
    let is_pass = |item: &&Item| item.directive.is("ProxyPass") || item.directive.is("ProxyPassMatch");
    let servers = view.host.into_iter().chain([view.main]);
    let sections = servers.flat_map(|server| server.items.iter().rev()).filter(is_pass);
    let sections = sections.filter_map(|item| match &item.scope {
        Scope::Location(location) => Some((&item.directive, Some(location.as_str()))),
        Scope::Server | Scope::Proxy(_) => None,
    });
    let servers = std::iter::once(view.main).chain(view.host);
    let listed =
        servers.flat_map(|server| &server.items).filter(is_pass).filter(|item| item.scope == Scope::Server);
    sections.chain(listed.map(|item| (&item.directive, None))).collect()
}

/// What a worker's parameters say.
#[derive(Default)]
struct Times {
    connect: Option<String>,
    socket: Option<String>,
    retry: Option<String>,
}

/// Sets the route's targets and times.
fn targets(view: View<'_>, pass: &Pass, route: &mut Route<'_>, notes: &mut Notes) {
    let mut times = Times::default();
    let mut urls: Vec<(String, &Directive)> = Vec::new();
    let mut odd;
    if let Some(rest) = pass.url.strip_prefix("balancer://") {
        let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let balancer = format!("balancer://{name}");
        // A balancer's own timeout is how long to wait for a member.
        let unused = &mut Times::default();
        odd = judge(&pass.parameters, route.origin, unused, notes);
        let outside =
            view.all("ProxySet").filter(|set| same_as_any(std::slice::from_ref(&balancer), set.word(0)));
        for set in view.of_proxy("ProxySet", &balancer).into_iter().chain(outside) {
            odd |= judge(&parameters(&set.words), set, unused, notes);
        }
        for (member, words) in members(view, &balancer) {
            let found = parameters(words.get(1..).unwrap_or_default());
            let disabled =
                found.iter().any(|(key, value)| key == "status" && value.contains(['d', 'D', 's', 'S']));
            if disabled {
                notes.differs(member, "is switched off and left out");
                continue;
            }
            odd |= judge(&found, member, &mut times, notes);
            let url = words.first().map_or("", String::as_str);
            // httpd puts one slash between the member and the rest.
            urls.push((format!("{}{path}", url.trim_end_matches('/')), member));
        }
        if urls.is_empty() {
            notes.lost(route.origin, format!("{balancer} has no member"));
            return;
        }
    } else {
        odd = judge(&pass.parameters, route.origin, &mut times, notes);
        urls.push((pass.url.clone(), route.origin));
    }
    for (url, directive) in urls {
        match target(&url) {
            Some(target) => route.targets.push(target),
            None => notes.lost(
                directive,
                "only http and https targets are spoken to; let such a program listen with HTTP",
            ),
        }
    }
    if odd || (times.retry.is_some() && route.targets.len() < 2) {
        notes.differs(
            route.origin,
            "connections are pooled, a target that fails is left out for a while, and of several the one with the fewest \
             requests is taken; parameters for that are left out",
        );
    }
    let seconds = |name: &str| view.last(name).map(|directive| directive.word(0).to_owned());
    let general = || seconds("ProxyTimeout").or_else(|| seconds("Timeout"));
    let socket = times.socket.or_else(general);
    let other = |text: &String| text != SECONDS;
    route.connect = times.connect.or_else(|| socket.clone()).filter(other);
    route.retry = times.retry.filter(other).filter(|_| route.targets.len() > 1);
    route.socket = socket.filter(other);
}

/// A balancer's members with their words after the balancer's name.
fn members<'a>(view: View<'a>, balancer: &str) -> Vec<(&'a Directive, &'a [String])> {
    let inside =
        view.of_proxy("BalancerMember", balancer).into_iter().map(|member| (member, member.words.as_slice()));
    let outside = view
        .all("BalancerMember")
        .filter(|member| member.word(0).trim_end_matches('/').eq_ignore_ascii_case(balancer));
    inside.chain(outside.map(|member| (member, member.words.get(1..).unwrap_or_default()))).collect()
}

fn parameters(words: &[String]) -> Vec<(String, String)> {
    let pair =
        |word: &String| word.split_once('=').map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()));
    words.iter().filter_map(pair).collect()
}

/// Takes the times from `parameters` and notes what is missed; whether some have no meaning here.
fn judge(
    parameters: &[(String, String)],
    directive: &Directive,
    times: &mut Times,
    notes: &mut Notes,
) -> bool {
    let mut odd = false;
    for (key, value) in parameters {
        match key.as_str() {
            "timeout" => times.socket = times.socket.take().or_else(|| duration(value)),
            "connectiontimeout" => times.connect = times.connect.take().or_else(|| duration(value)),
            // Our 0 is never, httpd's is at once.
            "retry" if value != "0" => times.retry = times.retry.take().or_else(|| duration(value)),
            "nocanon" | "noquery" | "upgrade" => {}
            "stickysession" | "stickysessionsep" | "scolonpathdelim" | "nofailover" => notes.lost(
                directive,
                format!("{key}: requests of one session may go to different targets; share sessions between them"),
            ),
            "secret" | "interpolate" => notes.lost(directive, format!("{key} has no equal here")),
            "status" if value.contains(['h', 'H', 'r', 'R']) => {
                notes.lost(directive, "is not kept in reserve; it gets its share of the requests");
            }
            "max" => notes.lost(
                directive,
                format!("max={value} was for each process of httpd; proxy.targets[N].max-connections is for all together"),
            ),
            _ => odd = true,
        }
    }
    odd
}

/// httpd's time as ours: a plain number is seconds; `mi` and `min` are minutes.
fn duration(text: &str) -> Option<String> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "s" => "",
        "ms" => "ms",
        "mi" | "min" => "m",
        "h" => "h",
        _ => return None,
    };
    (!digits.is_empty()).then(|| format!("{digits}{unit}"))
}

/// A URL we can send to: `ws` is `http` with `Upgrade`.
fn target(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => "http",
        "https" | "wss" => "https",
        _ => return None,
    };
    (!rest.is_empty()).then(|| format!("{scheme}://{rest}"))
}

/// Pairs of words that count for `path`.
fn pairs(view: View<'_>, name: &str, path: &str) -> Vec<(String, String)> {
    let pair = |found: &&Directive| (found.word(0).to_owned(), found.word(1).to_owned());
    view.at(name, path).iter().chain(&view.nearest(name)).map(pair).collect()
}

/// Every `ProxyPassReverse`: path, URL, directive.
fn reverses(view: View<'_>) -> impl Iterator<Item = (&str, &str, &Directive)> {
    view.items().filter(|item| item.directive.is("ProxyPassReverse")).filter_map(|item| match &item.scope {
        Scope::Server => Some((item.directive.word(0), item.directive.word(1), &item.directive)),
        Scope::Location(location) => Some((location.as_str(), item.directive.word(0), &item.directive)),
        Scope::Proxy(_) => None,
    })
}

/// The URLs that `ProxyPassReverse` names for a route's path; `None` where they are its targets.
fn pass_reverse(view: View<'_>, route: &Route<'_>) -> Option<Vec<String>> {
    let mut urls: Vec<String> = Vec::new();
    for (_, url, _) in reverses(view).filter(|(path, ..)| *path == route.path) {
        if url.to_ascii_lowercase().starts_with("balancer://") {
            urls.extend(route.targets.iter().cloned());
        } else {
            urls.push(url.to_owned());
        }
    }
    let own = route.targets.iter().all(|target| same_as_any(&urls, target));
    (!own || urls.iter().any(|url| !same_as_any(&route.targets, url))).then_some(urls)
}

fn same_as_any(urls: &[String], url: &str) -> bool {
    urls.iter().any(|one| one.trim_end_matches('/').eq_ignore_ascii_case(url.trim_end_matches('/')))
}

/// What was written for a part of the paths only, or for no route at all.
fn left_over(view: View<'_>, routes: &[Route<'_>], paths: &[String], notes: &mut Notes) {
    const PLACED: [&str; 6] = [
        "Header",
        "RequestHeader",
        "ProxyPreserveHost",
        "ProxyAddHeaders",
        "ProxyPassReverseCookieDomain",
        "ProxyPassReverseCookiePath",
    ];
    for item in view.items() {
        let directive = &item.directive;
        match &item.scope {
            Scope::Location(location) if PLACED.iter().any(|name| directive.is(name)) => {
                if routes.iter().any(|route| within(&route.path, location)) {
                    continue;
                }
                match routes.iter().find(|route| within(location, &route.path)) {
                    Some(route) => notes.lost(
                        directive,
                        format!(
                            "counts for {location} only, a part of the route {}; write a route of its own for {location}",
                            route.path
                        ),
                    ),
                    None => notes.idle(directive, "what is written for paths that no route names"),
                }
            }
            Scope::Proxy(_) if !directive.is("BalancerMember") && !directive.is("ProxySet") => {
                notes.lost(directive, "within <Proxy> it is not read; write it for the whole server");
            }
            _ => {}
        }
    }
    for (path, _, directive) in reverses(view) {
        if !paths.iter().any(|known| known == path) {
            notes.lost(
                directive,
                "no route has this path; write the URL into pass-reverse of the route whose answers name it",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_httpd() {
        for (text, ours) in [
            ("30", Some("30")),
            ("500ms", Some("500ms")),
            ("2min", Some("2m")),
            ("5s", Some("5")),
            ("", None),
            ("x", None),
            ("5 parsecs", None),
        ] {
            assert_eq!(duration(text).as_deref(), ours, "{text}");
        }
    }

    #[test]
    fn only_http_is_spoken() {
        assert_eq!(target("HTTP://h:1/a").as_deref(), Some("http://h:1/a"));
        assert_eq!(target("wss://h/").as_deref(), Some("https://h/"));
        for url in ["ajp://h:8009/", "fcgi://h/", "h:80", "http://", "unix:/x|http://h"] {
            assert_eq!(target(url), None, "{url}");
        }
    }
}
