//! DER (X.690) as far as stores need it: elements with short tags and definite lengths, read without copying, written
//! from parts. What is not DER is `None`; nothing is allocated while reading.

/// `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// `OCTET STRING`.
pub const OCTETS: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub const OID: u8 = 0x06;
/// `BMPString`: UTF-16, big end first.
pub const BMP: u8 = 0x1e;
/// `SEQUENCE`.
pub const SEQUENCE: u8 = 0x30;
/// `SET`.
pub const SET: u8 = 0x31;
/// `[0]`, constructed.
pub const TAG_0: u8 = 0xa0;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its tag.
    pub tag: u8,
    /// What is inside.
    pub content: &'a [u8],
    /// Tag, length and content.
    pub whole: &'a [u8],
}

/// Elements one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a>(pub &'a [u8]);

impl<'a> Elements<'a> {
    /// The next element.
    pub fn element(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first >= 0x80 {
            // More than four octets of length would be more than any file; none is BER's indefinite form.
            let count = usize::from(first & 0x7f);
            if !(1..=4).contains(&count) || tag & 0x1f == 0x1f {
                return None;
            }
            let (octets, after) = rest.split_at_checked(count)?;
            length = octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        let (whole, _) = self.0.split_at(self.0.len() - after.len());
        self.0 = after;
        Some(Element { tag, content, whole })
    }

    /// The content of the next element, which has to have `tag`.
    pub fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element().filter(|element| element.tag == tag).map(|element| element.content)
    }

    /// The elements inside the next one, which has to have `tag`.
    pub fn inside(&mut self, tag: u8) -> Option<Self> {
        self.take(tag).map(Self)
    }

    /// The next element, a number that fits.
    pub fn number(&mut self) -> Option<u32> {
        let octets = self.take(INTEGER)?;
        let negative = octets.first().is_none_or(|first| *first >= 0x80);
        let octets = octets.strip_prefix(&[0]).unwrap_or(octets);
        if negative || octets.len() > 4 {
            return None;
        }
        Some(octets.iter().fold(0, |number, octet| number << 8 | u32::from(*octet)))
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether `bytes` are one whole `SEQUENCE`: what certificates and keys are.
pub fn is_sequence(bytes: &[u8]) -> bool {
    let mut elements = Elements(bytes);
    elements.take(SEQUENCE).is_some() && elements.is_empty()
}

/// An element of `tag` around `parts`.
pub fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(length + 6);
    bytes.push(tag);
    if length < 0x80 {
        bytes.push(length as u8);
    } else {
        let octets = length.to_be_bytes();
        let octets = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
        bytes.push(0x80 | octets.len() as u8);
        bytes.extend_from_slice(octets);
    }
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x1_0000] {
            let content = vec![7; length];
            let bytes = [element(OCTETS, &[&content]), element(SEQUENCE, &[])].concat();
            let mut elements = Elements(&bytes);
            let first = elements.element().expect("an element");
            assert_eq!((first.tag, first.content), (OCTETS, &content[..]));
            assert_eq!([first.whole, &[SEQUENCE, 0]].concat(), bytes);
            assert_eq!(elements.take(SEQUENCE), Some(&[][..]));
            assert!(elements.is_empty() && elements.element().is_none());
        }
    }

    #[test]
    fn lengths_are_held_against_the_slice() {
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 1],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x82, 1],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 1, 0],
        ] {
            assert_eq!(Elements(bytes).element(), None, "{bytes:x?}");
        }
    }

    #[test]
    fn numbers() {
        for (bytes, number) in [
            (&[2, 1, 3][..], Some(3)),
            (&[2, 2, 0x27, 0x10], Some(10_000)),
            (&[2, 5, 0, 0xff, 0xff, 0xff, 0xff], Some(u32::MAX)),
            (&[2, 1, 0x80], None),
            (&[2, 5, 1, 0, 0, 0, 0], None),
            (&[2, 0], None),
        ] {
            assert_eq!(Elements(bytes).number(), number, "{bytes:x?}");
        }
    }
}
