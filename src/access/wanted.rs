//! Which headers the lines of a listener show: only those are copied from heads.

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

/// The names, a slot each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    names: Vec<(Whose, Box<[u8]>)>,
    /// One bit a length that occurs in requests, and one in answers, so that most lines cost no comparison.
    lengths: [u64; 2],
}

impl Wanted {
    /// The slot of a header.
    ///
    /// # Errors
    /// A name that is none, or too many names.
    pub fn slot(&mut self, whose: Whose, name: &str) -> Result<u8, String> {
        let known = |(other, text): &(Whose, Box<[u8]>)| {
            *other == whose && text.eq_ignore_ascii_case(name.as_bytes())
        };
        if let Some(slot) = self.names.iter().position(known) {
            return Ok(slot as u8);
        }
        if !header::is_token(name.as_bytes()) {
            return Err(format!("`{name}` cannot be the name of a header"));
        }
        if self.names.len() == HEADERS_MAX {
            return Err(format!("names more than {HEADERS_MAX} headers"));
        }
        self.names.push((whose, name.as_bytes().into()));
        self.lengths[whose as usize] |= length_bit(name.len());
        Ok((self.names.len() - 1) as u8)
    }

    /// The slot of the header line called `name`, if it is wanted.
    pub fn find(&self, whose: Whose, name: &[u8]) -> Option<u8> {
        if self.lengths[whose as usize] & length_bit(name.len()) == 0 {
            return None;
        }
        let is = |(other, text): &(Whose, Box<[u8]>)| *other == whose && text.eq_ignore_ascii_case(name);
        self.names.iter().position(is).map(|slot| slot as u8)
    }

    /// Whether answers have any.
    pub fn has_answers(&self) -> bool {
        self.lengths[Whose::Answer as usize] != 0
    }

    /// The name of a slot.
    pub fn name(&self, slot: u8) -> &[u8] {
        self.names.get(usize::from(slot)).map_or(&[], |(_, name)| name)
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
        assert_eq!(wanted.name(1), b"user-agent");
        assert!(wanted.slot(Whose::Request, "a b").is_err());
        for n in 2..HEADERS_MAX {
            assert_eq!(wanted.slot(Whose::Request, &format!("h{n}")), Ok(n as u8));
        }
        assert_eq!(wanted.slot(Whose::Request, "more"), Err("names more than 24 headers".to_owned()));
    }
}
