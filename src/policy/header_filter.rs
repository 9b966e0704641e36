//! Which request headers stay behind: `proxy.header.filter`. Whole names in any case; never a part of a name.

use crate::http::header;
use crate::setting::Setting;

/// `proxy.header.filter`.
pub const HEADER_FILTER: Setting<HeaderFilter> = Setting::new(
    "proxy.header.filter",
    "host,x-target-host",
    HeaderFilter::parse,
    "Request headers that are not forwarded: a comma list of whole names, in any case.",
);

/// The names not forwarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderFilter {
    names: Box<[Box<[u8]>]>,
    /// One bit a length that occurs, so that most names are let through without a comparison.
    lengths: u64,
}

impl HeaderFilter {
    /// Reads a comma list; blanks and empty elements do not count, and an empty list drops nothing.
    ///
    /// # Errors
    /// The element that cannot be the name of a header.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let mut lengths = 0;
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if !header::is_token(name.as_bytes()) {
                return Err(format!(
                    "`{name}` cannot be the name of a header; expected a comma list of names"
                ));
            }
            names.push(name.as_bytes().into());
            lengths |= length_bit(name.len());
        }
        Ok(Self { names: names.into(), lengths })
    }

    /// Whether a header called `name` is dropped.
    pub fn drops(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name.len()) != 0 && self.names.iter().any(|n| n.eq_ignore_ascii_case(name))
    }
}

/// The bit of a length; the long ones share the last.
const fn length_bit(length: usize) -> u64 {
    1 << (if length < 63 { length } else { 63 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_in_any_case_are_dropped() {
        let filter = HeaderFilter::parse(" Host, x-target-host ,,User-Agent").unwrap();
        for name in ["host", "HOST", "X-Target-Host", "user-agent"] {
            assert!(filter.drops(name.as_bytes()), "{name}");
        }
        for name in ["age", "agent", "hosts", "most", "x-target", "", "user_agent"] {
            assert!(!filter.drops(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn long_names_share_a_bit_but_not_a_verdict() {
        let (long, other) = ("a".repeat(70), "a".repeat(71));
        let filter = HeaderFilter::parse(&long).unwrap();
        assert!(filter.drops(long.as_bytes()));
        assert!(!filter.drops(other.as_bytes()));
    }

    #[test]
    fn an_empty_list_drops_nothing_and_a_bad_name_is_named() {
        assert_eq!(HeaderFilter::parse(""), Ok(HeaderFilter::default()));
        assert_eq!(
            HeaderFilter::parse("host, x y"),
            Err("`x y` cannot be the name of a header; expected a comma list of names".into())
        );
    }

    #[test]
    fn the_default_is_the_legacy_one() {
        let filter = (HEADER_FILTER.parse)(HEADER_FILTER.default).unwrap();
        assert!(filter.drops(b"host") && filter.drops(b"x-target-host") && !filter.drops(b"cookie"));
    }
}
