//! The path of a request as routes are judged by it, and what of it a route takes.
//!
//! A request must not reach what its route hides: no dot segment and no escape may lead out of the target's path. So
//! empty and dot segments are resolved before anything is matched, escaped or not, as httpd does; escapes are read for
//! matching and otherwise sent on byte for byte, which httpd does not: signatures are made over them.
//!
//! ```text
//! /a//b  /a/./b  /a/%2e/b    -> /a/b       /a/x/../b  /a/x/%2E%2e/b -> /a/b
//! /../a                      -> 400        %2F, %00 -> 404, as httpd with AllowEncodedSlashes Off
//! %zz, #                     -> 400        /a/..;x/b, /a/..\b       -> 400, which httpd lets pass: servlet containers
//!                                                                      and Windows take them for dot segments
//! ```

use crate::fault::What;
use std::borrow::Cow;

/// The path without its empty and dot segments; borrowed when it has none. `raw` is visible ASCII without a query.
///
/// # Errors
/// [`What::BadPath`] and [`What::NoRoute`].
pub fn normal(raw: &[u8]) -> Result<Cow<'_, [u8]>, What> {
    judge_bytes(raw)?;
    let segments = || raw.strip_prefix(b"/").unwrap_or(raw).split(|&byte| byte == b'/');
    let count = segments().count();
    let mut plain = true;
    for (at, segment) in segments().enumerate() {
        let empty = segment.is_empty() && at + 1 < count;
        plain &= dots(segment)? == 0 && !empty;
    }
    if plain {
        return Ok(if raw.is_empty() { Cow::Borrowed(b"/") } else { Cow::Borrowed(raw) });
    }
    let mut path = Vec::with_capacity(raw.len());
    for (at, segment) in segments().enumerate() {
        let last = at + 1 == count;
        match dots(segment)? {
            0 if segment.is_empty() && !last => continue,
            0 => {
                path.push(b'/');
                path.extend_from_slice(segment);
                continue;
            }
            1 => {}
            _ => {
                let parent = path.iter().rposition(|&byte| byte == b'/').ok_or(What::BadPath)?;
                path.truncate(parent);
            }
        }
        if last {
            path.push(b'/');
        }
    }
    Ok(Cow::Owned(path))
}

/// Refuses escapes that are none, and those that would be taken for what they hide.
fn judge_bytes(raw: &[u8]) -> Result<(), What> {
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'%' | b'#')) {
        match rest.get(at..at + 3).and_then(escape) {
            Some(0 | b'/') => return Err(What::NoRoute),
            Some(_) => rest = &rest[at + 3..],
            None => return Err(What::BadPath),
        }
    }
    Ok(())
}

/// The byte that `%XX` stands for.
fn escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// The first byte of `bytes`, unescaped, and how many bytes spell it.
fn first(bytes: &[u8]) -> Option<(u8, usize)> {
    escape(bytes).map(|byte| (byte, 3)).or_else(|| bytes.first().map(|byte| (*byte, 1)))
}

/// How many dots the segment is: 1 or 2 for a dot segment, else 0.
///
/// # Errors
/// [`What::BadPath`] for what is a dot segment only to some: with parameters, or between backslashes.
fn dots(segment: &[u8]) -> Result<usize, What> {
    if !segment.iter().any(|byte| matches!(byte, b'.' | b'%')) {
        return Ok(0);
    }
    let (mut rest, mut count, mut found) = (segment, Some(0), 0);
    let (mut parameters, mut odd) = (false, false);
    while let Some((byte, len)) = first(rest) {
        rest = &rest[len..];
        match byte {
            b'\\' => {
                found = found.max(dot_count(count));
                (count, parameters, odd) = (Some(0), false, true);
            }
            b';' => (parameters, odd) = (true, true),
            _ if parameters => {}
            b'.' => count = count.map(|count| count + 1),
            _ => count = None,
        }
    }
    match found.max(dot_count(count)) {
        0 => Ok(0),
        _ if odd => Err(What::BadPath),
        found => Ok(found),
    }
}

/// `count` dots and nothing else are a dot segment when they are one or two.
fn dot_count(count: Option<usize>) -> usize {
    count.filter(|count| *count <= 2).unwrap_or(0)
}

/// How many bytes of the normal path `path` the route path `route` takes, as httpd's `ProxyPass` does: whole segments
/// only, unless the route's path ends in a slash.
pub fn taken(route: &[u8], path: &[u8]) -> Option<usize> {
    let mut at = 0;
    for &wanted in route {
        let (byte, len) = first(path.get(at..)?)?;
        if byte != wanted {
            return None;
        }
        at += len;
    }
    (route.ends_with(b"/") || matches!(path.get(at), None | Some(b'/'))).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_and_empty_ones_are_resolved() {
        for (raw, path) in [
            ("/", "/"),
            ("", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("//", "/"),
            ("/a//b", "/a/b"),
            ("//a///b//", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../c", "/a/c"),
            ("/a/%2e%2E/c", "/c"),
            ("/a/.%2e/c", "/c"),
            ("/a/%2e/c", "/a/c"),
            ("/a/...", "/a/..."),
            ("/a/.b/..c/d..", "/a/.b/..c/d.."),
            ("/a/%252e%252e/c", "/a/%252e%252e/c"),
            ("/a/%41%ec%20;x=1/b\\c", "/a/%41%ec%20;x=1/b\\c"),
        ] {
            assert_eq!(normal(raw.as_bytes()).as_deref(), Ok(path.as_bytes()), "{raw}");
        }
        assert!(matches!(normal(b"/a/b.c/%41"), Ok(Cow::Borrowed(_))), "nothing is copied");
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_refused() {
        for raw in [
            "/..",
            "/../a",
            "/a/../../b",
            "/%2e%2e/a",
            "/a/%",
            "/a/%4",
            "/a/%zz",
            "/a#b",
            "/a/..;/b",
            "/a/..;x=1/b",
            "/a/.;/b",
            "/a/%2e%2e%3b/b",
            "/a/..\\b",
            "/a/b\\..",
            "/a/b%5c..%5cc",
            "/a/x\\..;y\\z",
        ] {
            assert_eq!(normal(raw.as_bytes()), Err(What::BadPath), "{raw}");
        }
        for raw in ["/a%2Fb", "/a/%2f..%2f", "/a%00"] {
            assert_eq!(normal(raw.as_bytes()), Err(What::NoRoute), "{raw}");
        }
    }

    #[test]
    fn a_route_takes_whole_segments() {
        for (route, path, len) in [
            ("/", "/", Some(1)),
            ("/", "/x", Some(1)),
            ("/foo", "/foo", Some(4)),
            ("/foo", "/foo/x", Some(4)),
            ("/foo", "/foobar", None),
            ("/foo", "/fo", None),
            ("/foo/", "/foo", None),
            ("/foo/", "/foo/", Some(5)),
            ("/foo/", "/foo/x", Some(5)),
            ("/foo", "/%66o%6f/x", Some(8)),
            ("/foo", "/FOO", None),
        ] {
            assert_eq!(taken(route.as_bytes(), path.as_bytes()), len, "{route} {path}");
        }
    }
}
