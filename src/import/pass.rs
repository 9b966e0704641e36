//! One `ProxyPass`: the path, where it leads, and its parameters.

use super::tree::Directive;

/// A `ProxyPass` or `ProxyPassMatch` in the form of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Prefix of the requests' paths.
    pub path: String,
    /// URL the prefix is replaced by; `!` passes nothing.
    pub url: String,
    /// `key=value` and bare words after the URL.
    pub parameters: Vec<(String, String)>,
    /// How the route differs from the expression it was made of.
    pub narrower: bool,
}

impl Pass {
    /// Reads the directive; `location` is the `<Location>` it stands in.
    ///
    /// # Errors
    /// Why it cannot be a route.
    pub fn read(directive: &Directive, location: Option<&str>) -> Result<Self, String> {
        let mut words = directive.words.iter();
        let path = match location {
            Some(location) => location.to_owned(),
            None => words.next().cloned().unwrap_or_default(),
        };
        let url = words.next().cloned().unwrap_or_default();
        let parameters = words.map(|word| match word.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), value.to_owned()),
            None => (word.to_ascii_lowercase(), String::new()),
        });
        let parameters = parameters.collect();
        if url.is_empty() {
            return Err("names no target".to_owned());
        }
        let (path, url, narrower) = if directive.is("ProxyPassMatch") {
            if location.is_some() {
                return Err("an expression within <Location> cannot be a route; write ProxyPass".to_owned());
            }
            plain(&path, &url).ok_or_else(|| {
                "only expressions like ^/path(/.*)?$ with $1 at the target's end can be routes; write one route for each \
                 path it is for"
                    .to_owned()
            })?
        } else {
            (path, url, false)
        };
        if !path.starts_with('/') {
            return Err("its path does not begin with a slash".to_owned());
        }
        if url != "!" && url.contains(['$', '%', '|']) {
            return Err(
                "its target holds variables or names a socket; write http://host:port/path".to_owned()
            );
        }
        Ok(Self { path, url, parameters, narrower })
    }
}

/// A simple expression as a path, its target, and whether the expression also took in what follows the path without a
/// slash (`/apple` for `^/app(.*)`).
fn plain(expression: &str, target: &str) -> Option<(String, String, bool)> {
    let body = expression.strip_prefix('^')?;
    let (body, ended) = match body.strip_suffix('$') {
        Some(body) => (body, true),
        None => (body, false),
    };
    let (grouped, body) = match body.strip_prefix('(').and_then(|body| body.strip_suffix(".*)")) {
        Some(inner) => (true, format!("{inner}.*")),
        None => (false, body.to_owned()),
    };
    let (path, tail) = literal(&body)?;
    // What httpd appends to the target: all of the path, or what the group matched; without `$1` it is all.
    let (base, group) = match target.strip_suffix("$1") {
        Some(base) => (base, true),
        None => (target, false),
    };
    if base.contains('$') {
        return None;
    }
    let (path, whole) = match (tail, group) {
        (".*", true) if grouped => (path, true),
        ("(/.*)?", true) if ended => return Some((path, base.to_owned(), false)),
        ("(.*)", true) => (path, false),
        ("(/.*)", true) => return Some((format!("{path}/"), format!("{base}/"), false)),
        (".*" | "(.*)" | "(/.*)?" | "(/|$)", false) => (path, true),
        ("", false) if !ended => (path, true),
        ("/.*" | "(/.*)", false) => (format!("{path}/"), true),
        _ => return None,
    };
    let narrower = !path.ends_with('/') && !matches!(tail, "(/.*)?" | "(/|$)");
    let target = match base {
        "!" => base.to_owned(),
        base if whole => format!("{base}{path}"),
        base => base.to_owned(),
    };
    Some((path, target, narrower))
}

/// The plain characters an expression begins with, and what follows them.
fn literal(expression: &str) -> Option<(String, &str)> {
    let mut path = String::new();
    let mut rest = expression;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '/' | '-' | '_' | '~' => &rest[1..],
            c if c.is_ascii_alphanumeric() => &rest[1..],
            '\\' if rest[1..].starts_with(['.', '/', '-']) => {
                path.push_str(&rest[1..2]);
                rest = &rest[2..];
                continue;
            }
            _ => break,
        };
        path.push(c);
    }
    // A slash that belongs to the tail is the path's own: `/a/.*` is `/a/` and `.*`.
    if rest.starts_with('?') || rest.starts_with('*') || rest.starts_with('+') || rest.starts_with('{') {
        return None;
    }
    path.starts_with('/').then_some((path, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_expressions_are_routes() {
        for (expression, target, route) in [
            ("^/app(/.*)?$", "http://h/a$1", Some(("/app", "http://h/a", false))),
            ("^/app/(.*)$", "http://h/a/$1", Some(("/app/", "http://h/a/", false))),
            ("^/(.*)", "http://h/$1", Some(("/", "http://h/", false))),
            ("^/app(.*)$", "http://h$1", Some(("/app", "http://h", true))),
            ("^/app(/.*)$", "http://h$1", Some(("/app/", "http://h/", false))),
            ("^(/.*)$", "http://h$1", Some(("/", "http://h/", false))),
            ("^(/v1\\.0/.*)$", "http://h$1", Some(("/v1.0/", "http://h/v1.0/", false))),
            ("^/app/.*$", "http://h", Some(("/app/", "http://h/app/", false))),
            ("^/app", "http://h", Some(("/app", "http://h/app", true))),
            ("^/static(/|$)", "!", Some(("/static", "!", false))),
            ("^/static/", "!", Some(("/static/", "!", false))),
            ("^/app$", "http://h", None),
            ("^/(a|b)/(.*)$", "http://h/$1/$2", None),
            ("\\.gif$", "http://h", None),
            ("^/app/?(.*)$", "http://h/$1", None),
            ("^/app(/.*)?", "http://h$1", None),
            ("^.*$", "http://h", None),
            ("^", "!", None),
            ("", "", None),
        ] {
            let found = plain(expression, target);
            let expected = route.map(|(path, url, narrower)| (path.to_owned(), url.to_owned(), narrower));
            assert_eq!(found, expected, "{expression} {target}");
        }
    }
}
