//! Which headers the lines of a listener show: only those are copied from heads.

use crate::access::mask::Secrecy;
use crate::http::header;

/// Most headers that the formats of one listener name.
pub const HEADERS_MAX: usize = 24;

/// Whose header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The request's.
    Request,
    /// The answer's.
    Answer,
}

/// A name in its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    whose: Whose,
    text: Box<[u8]>,
    /// How much of its value is secret: said once, because that takes many comparisons.
    secrecy: Secrecy,
}

impl Name {
    fn is(&self, whose: Whose, name: &[u8]) -> bool {
        // Most send a name as formats write it, and equal bytes are found faster.
        self.whose == whose && (*self.text == *name || self.text.eq_ignore_ascii_case(name))
    }
}

/// The names, a slot each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    names: Vec<Name>,
    /// One bit a length that occurs in requests, and one in answers, so that most lines cost no comparison.
    lengths: [u64; 2],
}

impl Wanted {
    /// The slot of a header.
    ///
    /// # Errors
    /// A name that is none, or too many names.
    pub fn slot(&mut self, whose: Whose, name: &str) -> Result<u8, String> {
        let text = name.as_bytes();
        if let Some(slot) = self.names.iter().position(|known| known.is(whose, text)) {
            return Ok(slot as u8);
        }
        if !header::is_token(text) {
            return Err(format!("`{name}` cannot be the name of a header"));
        }
        if self.names.len() == HEADERS_MAX {
            return Err(format!("names more than {HEADERS_MAX} headers"));
        }
        self.names.push(Name { whose, text: text.into(), secrecy: Secrecy::of(text) });
        self.lengths[whose as usize] |= length_bit(name.len());
        Ok((self.names.len() - 1) as u8)
    }

    /// The slot of the header line called `name`, if it is wanted.
    pub fn find(&self, whose: Whose, name: &[u8]) -> Option<u8> {
        if self.lengths[whose as usize] & length_bit(name.len()) == 0 {
            return None;
        }
        self.names.iter().position(|known| known.is(whose, name)).map(|slot| slot as u8)
    }

    /// Whether answers have any.
    pub fn has_answers(&self) -> bool {
        self.lengths[Whose::Answer as usize] != 0
    }

    /// How much of the header in a slot is secret.
    pub fn secrecy(&self, slot: u8) -> Secrecy {
        self.names.get(usize::from(slot)).map_or(Secrecy::Whole, |name| name.secrecy)
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
    fn a_name_has_one_slot_in_any_case() {
        let mut wanted = Wanted::default();
        assert_eq!(wanted.slot(Whose::Request, "User-Agent"), Ok(0));
        assert_eq!(wanted.slot(Whose::Answer, "user-agent"), Ok(1));
        assert_eq!(wanted.slot(Whose::Request, "USER-AGENT"), Ok(0));
        assert_eq!(wanted.find(Whose::Request, b"user-Agent"), Some(0));
        assert_eq!(wanted.find(Whose::Request, b"user-Agens"), None);
        assert_eq!(wanted.find(Whose::Request, b"x"), None);
        assert_eq!(wanted.secrecy(1), Secrecy::None);
        assert!(wanted.slot(Whose::Request, "a b").is_err());
        for n in 2..HEADERS_MAX {
            assert_eq!(wanted.slot(Whose::Request, &format!("h{n}")), Ok(n as u8));
        }
        assert_eq!(wanted.slot(Whose::Request, "more"), Err("names more than 24 headers".to_owned()));
    }
}
