//! What lines do not show: query values, credentials in URLs and headers, and the path segments that
//! `proxy.log.mask-paths` names.

use crate::setting::Setting;
use crate::value;

/// Whether secrets are masked.
pub const MASK: Setting<bool> = Setting::new(
    "proxy.logging.mask",
    "true",
    value::boolean,
    "Whether logs mask credentials, cookies, query values and the segments of `proxy.log.mask-paths`.",
);

/// Which segments of paths are masked.
pub const MASK_PATHS: Setting<Vec<Pattern>> = Setting::new(
    "proxy.log.mask-paths",
    "/cards/*",
    patterns,
    "Path segments that access lines mask: a comma list of runs of segments, wherever they stand in a path, in which `*` \
     (or `{name}`) stands for what is masked.",
);

/// What stands in place of a secret.
pub const HIDDEN: &[u8] = b"***";

/// A run of segments, some of which are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// A text, or `None` for any segment, which is masked.
    segments: Box<[Option<Box<[u8]>>]>,
    /// A bit for each segment that is masked, the first is the lowest.
    hidden: u64,
}

/// Most segments of a pattern: a bit each.
const SEGMENTS_MAX: usize = 64;

fn patterns(text: &str) -> Result<Vec<Pattern>, String> {
    value::list(text)?.iter().map(|pattern| Pattern::parse(pattern)).collect()
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || {
            format!("`{text}` does not begin with a slash and name segments of which one is `*`: `/cards/*`")
        };
        let path = text.strip_prefix('/').ok_or_else(expected)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let segment = |segment: &str| {
            let masked = segment == "*" || (segment.starts_with('{') && segment.ends_with('}'));
            (!masked).then(|| segment.as_bytes().into())
        };
        let segments: Box<[Option<Box<[u8]>>]> = path.split('/').map(segment).collect();
        let bits = segments.iter().enumerate().filter(|(_, segment)| segment.is_none());
        let hidden = bits.fold(0, |bits, (at, _)| bits | 1_u64.checked_shl(at as u32).unwrap_or(0));
        let sound = segments.len() <= SEGMENTS_MAX && !path.split('/').any(str::is_empty) && hidden != 0;
        if sound { Ok(Self { segments, hidden }) } else { Err(expected()) }
    }

    /// Whether `path`, which begins with a segment, begins with this run.
    fn begins(&self, path: &[u8]) -> bool {
        // Most differ in their first byte.
        let first = self.segments.first().and_then(|text| text.as_deref()?.first());
        if first.is_some() && first != path.first() && path.first() != Some(&b'%') {
            return false;
        }
        let mut found = path.split(|byte| *byte == b'/');
        self.segments.iter().all(|wanted| match (found.next(), wanted) {
            (Some(segment), Some(text)) => is_same(segment, text),
            (Some(segment), None) => !segment.is_empty(),
            (None, _) => false,
        })
    }
}

/// Whether a segment says `text`, escapes (RFC 3986 §2.1) and parameters (`;…`) aside: both mean the same to an origin.
fn is_same(segment: &[u8], text: &[u8]) -> bool {
    let mut rest = segment.split(|byte| *byte == b';').next().unwrap_or_default();
    let decoded = std::iter::from_fn(|| {
        let (byte, tail) = unescape(rest)?;
        rest = tail;
        Some(byte)
    });
    decoded.eq(text.iter().copied())
}

/// The first byte that `text` stands for, and what follows it. What is no escape stands for itself.
pub fn unescape(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    match text {
        [] => None,
        [b'%', high, low, rest @ ..] => match (digit(high), digit(low)) {
            (Some(high), Some(low)) => Some((high << 4 | low, rest)),
            _ => Some((b'%', &text[1..])),
        },
        [byte, rest @ ..] => Some((*byte, rest)),
    }
}

/// What to mask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// Nothing when masking is off.
    pub on: bool,
    /// The segments of paths.
    pub patterns: Vec<Pattern>,
}

/// A request target or another URL in its parts; what a part begins with belongs to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Url<'a> {
    /// `scheme://`, or nothing.
    pub scheme: &'a [u8],
    /// `host:port` without userinfo, or nothing.
    pub authority: &'a [u8],
    /// The path, or what stands in its place: `*`, the authority of CONNECT.
    pub path: &'a [u8],
    /// `?query` and what follows.
    pub query: &'a [u8],
}

impl<'a> Url<'a> {
    /// Takes `text` apart, whatever it is.
    pub fn of(text: &'a [u8]) -> Self {
        let end = memchr::memchr(b'?', text).unwrap_or(text.len());
        let (rest, query) = text.split_at(end);
        // The first slash is the one of `://`, or there is no scheme.
        let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(0);
        let Some(colon) = slash.checked_sub(1).filter(|at| rest[*at..].starts_with(b"://")) else {
            return Self { path: rest, query, ..Self::default() };
        };
        let (scheme, rest) = rest.split_at(colon + 3);
        let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let userinfo = memchr::memrchr(b'@', authority).map_or(0, |at| at + 1);
        Self { scheme, authority: &authority[userinfo..], path, query }
    }
}

impl Mask {
    /// Writes a URL as lines may show it; userinfo never is.
    pub fn url(&self, text: &[u8], out: &mut Vec<u8>) {
        let Url { scheme, authority, path, query } = Url::of(text);
        out.extend_from_slice(scheme);
        out.extend_from_slice(authority);
        self.path(path, out);
        self.query(query, out);
    }

    /// Writes a path.
    pub fn path(&self, path: &[u8], out: &mut Vec<u8>) {
        if !self.on || self.patterns.is_empty() {
            out.extend_from_slice(path);
            return;
        }
        // Where a segment begins, and what is not written yet.
        let (mut at, mut kept) = (0, 0);
        // A bit for each segment to come: the lowest is the next one's.
        let mut hidden = 0;
        loop {
            for pattern in &self.patterns {
                if pattern.begins(&path[at..]) {
                    hidden |= pattern.hidden;
                }
            }
            let end = path[at..].iter().position(|byte| *byte == b'/').map_or(path.len(), |len| at + len);
            if hidden & 1 == 1 {
                out.extend_from_slice(&path[kept..at]);
                out.extend_from_slice(HIDDEN);
                kept = end;
            }
            hidden >>= 1;
            if end == path.len() {
                break;
            }
            at = end + 1;
        }
        out.extend_from_slice(&path[kept..]);
    }

    /// Writes `?query`: names stay, values do not, nor what is no pair.
    pub fn query(&self, query: &[u8], out: &mut Vec<u8>) {
        let Some(pairs) = query.strip_prefix(b"?").filter(|_| self.on) else {
            out.extend_from_slice(query);
            return;
        };
        let mut before = b'?';
        for pair in pairs.split(|byte| *byte == b'&') {
            out.push(before);
            before = b'&';
            match memchr::memchr(b'=', pair) {
                Some(at) => out.extend_from_slice(&pair[..=at]),
                None if pair.is_empty() => continue,
                None => {}
            }
            out.extend_from_slice(HIDDEN);
        }
    }

    /// Writes the value of the header called `name`: credentials do not show, URLs as [`Mask::url`] has them.
    pub fn header(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.value(Secrecy::of(name), value, out);
    }

    /// The same for one whose name is known.
    pub fn value(&self, secrecy: Secrecy, value: &[u8], out: &mut Vec<u8>) {
        match secrecy {
            Secrecy::Whole if self.on => out.extend_from_slice(HIDDEN),
            Secrecy::Url if self.on => self.url(value, out),
            Secrecy::None | Secrecy::Whole | Secrecy::Url => out.extend_from_slice(value),
        }
    }
}

/// How much of a header is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Nothing.
    None,
    /// All of it.
    Whole,
    /// What a URL hides.
    Url,
}

impl Secrecy {
    /// That of the header called `name`.
    pub fn of(name: &[u8]) -> Self {
        const WHOLE: [&[u8]; 6] =
            [b"authorization", b"proxy-authorization", b"cookie", b"cookie2", b"set-cookie", b"set-cookie2"];
        const URLS: [&[u8]; 5] = [b"referer", b"location", b"content-location", b"uri", b"link"];
        // Tokens and keys go by many names.
        const PARTS: [&[u8]; 5] = [b"token", b"secret", b"passw", b"api-key", b"apikey"];
        let is = |known: &&[u8]| name.eq_ignore_ascii_case(known);
        let has = |part: &&[u8]| name.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part));
        if WHOLE.iter().any(is) || PARTS.iter().any(has) {
            Self::Whole
        } else if URLS.iter().any(is) {
            Self::Url
        } else {
            Self::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(text: &str) -> Mask {
        Mask { on: true, patterns: patterns(text).expect("patterns") }
    }

    fn shown(mask: &Mask, url: &str) -> String {
        let mut out = Vec::new();
        mask.url(url.as_bytes(), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn query_values_and_userinfo_do_not_show() {
        let mask = mask("");
        for (url, expected) in [
            ("/a?limit=500&token=x=y&&flag&=v#f", "/a?limit=***&token=***&&***&=***"),
            ("/a?", "/a?"),
            ("/a", "/a"),
            ("*", "*"),
            ("", ""),
            ("host:443", "host:443"),
            ("http://u:p@w@h:80/a?b=c", "http://h:80/a?b=***"),
            ("http://u@h", "http://h"),
            ("http://u@h?b=c@d", "http://h?b=***"),
            ("/p?to=http://u:p@h/", "/p?to=***"),
            ("/p@q", "/p@q"),
        ] {
            assert_eq!(shown(&mask, url), expected);
        }
        let open = Mask::default();
        assert_eq!(shown(&open, "http://u:p@h/cards/1?b=c"), "http://h/cards/1?b=c");
    }

    #[test]
    fn segments_are_masked_wherever_their_run_stands() {
        let mask = mask("/cards/*, /loans/{id}/x/*/");
        for (path, expected) in [
            ("/v1/card/cards/4512/approval-domestic", "/v1/card/cards/***/approval-domestic"),
            ("/cards/cards/1", "/cards/***/***"),
            ("/cards", "/cards"),
            ("/cards/", "/cards/"),
            ("/cards//1", "/cards//1"),
            ("/%63ards;v=1/4%2F5", "/%63ards;v=1/***"),
            ("/loans/7/x/8/9", "/loans/***/x/***/9"),
            ("/loans/7/y/8", "/loans/7/y/8"),
            ("/xcards/1", "/xcards/1"),
        ] {
            assert_eq!(shown(&mask, path), expected);
        }
    }

    #[test]
    fn a_pattern_masks_something() {
        for text in ["cards/*", "/cards", "/", "//*", "/a//*"] {
            let error = patterns(text).expect_err(text);
            assert!(error.starts_with(&format!("`{text}` does not begin with")), "{error}");
        }
        assert!(patterns(&format!("{}/*", "/a".repeat(64))).is_err());
        assert!(patterns(&format!("{}/*", "/a".repeat(63))).is_ok());
    }

    #[test]
    fn headers_show_no_credentials() {
        let mask = mask("");
        for (name, value, expected) in [
            ("Authorization", "Bearer x", "***"),
            ("COOKIE", "a=b", "***"),
            ("X-Access-Token", "t", "***"),
            ("x-api-key", "k", "***"),
            ("Referer", "https://u:p@h/a?b=c", "https://h/a?b=***"),
            ("User-Agent", "curl/8", "curl/8"),
            ("x-api-tran-id", "1", "1"),
        ] {
            let mut out = Vec::new();
            mask.header(name.as_bytes(), value.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).expect("UTF-8"), expected, "{name}");
        }
    }
}
