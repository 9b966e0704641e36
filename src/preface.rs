//! The PROXY protocol, versions 1 and 2, as a load balancer writes it before everything else (the specification of
//! HAProxy's `doc/proxy-protocol.txt`): who the client behind it is.
//!
//! ```text
//! v1  PROXY TCP4 203.0.113.9 192.0.2.1 51234 443 CRLF      or TCP6, or UNKNOWN; at most 107 bytes
//! v2  signature:12  version and command:1  family:1  length:2  addresses and TLVs:length
//! ```
//! Exactly its bytes are read and none behind them, so nothing has to be kept for what follows: a version 2 takes three
//! receives or a few more, a version 1, which does not say how long it is, one for every two bytes. Anything else is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest version 1, its line end included.
const LINE_BYTES_MAX: usize = 107;
/// The shortest header there is, `PROXY UNKNOWN` and a line end: one byte less than the fixed part of version 2.
const SHORTEST: usize = 15;
/// The fixed part of version 2.
const FIXED: usize = 16;
/// The most that version 2 may announce: the addresses and, with room to spare, what load balancers add.
const REST_BYTES_MAX: usize = 4096;

/// Who is behind a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The load balancer itself (its health check), or somebody it does not tell of.
    Peer,
    /// A client with this address.
    Client(IpAddr),
}

/// What arrived is no PROXY protocol header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Junk;

/// A header that is arriving.
#[derive(Debug)]
pub struct Preface {
    bytes: [u8; LINE_BYTES_MAX],
    len: usize,
    /// What is left of version 2 once `bytes` is full.
    skip: usize,
}

impl Default for Preface {
    fn default() -> Self {
        Self { bytes: [0; LINE_BYTES_MAX], len: 0, skip: 0 }
    }
}

impl Preface {
    /// Where the next bytes are to be received: never more than belong to the header, and at least one.
    pub fn room(&mut self) -> &mut [u8] {
        let wanted = self.wanted();
        // What is skipped is received over what was understood before: the addresses stand at the front.
        let from = if self.len + wanted > LINE_BYTES_MAX { LINE_BYTES_MAX - wanted } else { self.len };
        &mut self.bytes[from..from + wanted]
    }

    /// How many bytes surely belong to the header.
    fn wanted(&self) -> usize {
        if self.is_binary() {
            let whole = FIXED + self.announced();
            let left = (if self.len < FIXED { FIXED } else { whole }).saturating_sub(self.len + self.skip);
            // The space behind the addresses of IPv6 takes what is skipped, piece by piece.
            left.min(if self.len < LINE_BYTES_MAX { LINE_BYTES_MAX - self.len } else { 32 }).max(1)
        } else if self.len < SHORTEST {
            SHORTEST - self.len
        } else if self.bytes[..self.len].ends_with(b"\r") {
            1
        } else {
            2.min(LINE_BYTES_MAX - self.len).max(1)
        }
    }

    fn is_binary(&self) -> bool {
        self.len >= SIGNATURE.len() && self.bytes.starts_with(SIGNATURE)
    }

    /// What version 2 says of the length of the rest.
    fn announced(&self) -> usize {
        if self.len < FIXED { 0 } else { usize::from(u16::from_be_bytes([self.bytes[14], self.bytes[15]])) }
    }

    /// `n` bytes were received into the room. `Ok(None)`: there is more to come.
    ///
    /// # Errors
    /// [`Junk`] as soon as it cannot be a header.
    pub fn received(&mut self, n: usize) -> Result<Option<Told>, Junk> {
        if self.len == LINE_BYTES_MAX {
            self.skip += n;
        } else {
            self.len += n;
        }
        let seen = &self.bytes[..self.len.min(SIGNATURE.len())];
        if SIGNATURE.starts_with(seen) {
            return self.binary();
        }
        let line = &self.bytes[..self.len];
        let known = line.len().min(6);
        if line[..known] != b"PROXY "[..known] {
            return Err(Junk);
        }
        match line.strip_suffix(b"\r\n") {
            Some(line) => text(line).map(Some),
            None if line.len() == LINE_BYTES_MAX || line.contains(&b'\n') => Err(Junk),
            None => Ok(None),
        }
    }

    fn binary(&self) -> Result<Option<Told>, Junk> {
        if self.len < FIXED {
            return Ok(None);
        }
        let (command, family, rest) = (self.bytes[12], self.bytes[13], self.announced());
        // LOCAL says nothing; of PROXY only streams over IP concern us, the rest is not told of (UNIX, datagrams, UNSPEC).
        let needed = match (command, family) {
            (0x20, _) | (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => 0,
            (0x21, 0x11) => 12,
            (0x21, 0x21) => 36,
            _ => return Err(Junk),
        };
        if rest < needed || rest > REST_BYTES_MAX {
            return Err(Junk);
        }
        if self.len + self.skip < FIXED + rest {
            return Ok(None);
        }
        Ok(Some(match (needed, &self.bytes[FIXED..]) {
            (12, [a, b, c, d, ..]) => Told::Client(Ipv4Addr::new(*a, *b, *c, *d).into()),
            (36, addresses) => {
                let source: [u8; 16] = addresses[..16].try_into().expect("sixteen bytes");
                Told::Client(Ipv6Addr::from(source).to_canonical())
            }
            _ => Told::Peer,
        }))
    }
}

/// A version 1 line without its end.
fn text(line: &[u8]) -> Result<Told, Junk> {
    let line = std::str::from_utf8(line).map_err(|_| Junk)?;
    let mut words = line.split(' ');
    let (Some("PROXY"), Some(family)) = (words.next(), words.next()) else { return Err(Junk) };
    if family == "UNKNOWN" {
        return Ok(Told::Peer);
    }
    let [Some(source), Some(target), Some(from), Some(to), None] = [(); 5].map(|()| words.next()) else {
        return Err(Junk);
    };
    let is_port = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit())
            && text.parse::<u16>().is_ok()
            && (text == "0" || !text.starts_with('0'))
    };
    if !is_port(from) || !is_port(to) {
        return Err(Junk);
    }
    let source: IpAddr = match family {
        "TCP4" if target.parse::<Ipv4Addr>().is_ok() => source.parse::<Ipv4Addr>().map_err(|_| Junk)?.into(),
        "TCP6" if target.parse::<Ipv6Addr>().is_ok() => source.parse::<Ipv6Addr>().map_err(|_| Junk)?.into(),
        _ => return Err(Junk),
    };
    Ok(Told::Client(source.to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `piece`; what is told, and how many bytes were taken.
    fn fed(bytes: &[u8], piece: usize) -> (Result<Option<Told>, Junk>, usize) {
        let mut preface = Preface::default();
        let mut taken = 0;
        while taken < bytes.len() {
            let room = preface.room();
            assert!(!room.is_empty(), "there is always room");
            let n = room.len().min(piece).min(bytes.len() - taken);
            room[..n].copy_from_slice(&bytes[taken..taken + n]);
            taken += n;
            match preface.received(n) {
                Ok(None) => {}
                told => return (told, taken),
            }
        }
        (Ok(None), taken)
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend_from_slice(rest);
        bytes
    }

    fn v6(tlvs: usize) -> Vec<u8> {
        let source: Ipv6Addr = "2001:db8::9".parse().expect("an address");
        [&source.octets()[..], &[0x20; 16], &[1, 2, 3, 4], &vec![0x99; tlvs]].concat()
    }

    #[test]
    fn headers_are_read_to_their_end_and_not_further() {
        let client = |text: &str| Told::Client(text.parse().expect("an address"));
        let v4 = [203, 0, 113, 9, 192, 0, 2, 1, 1, 2, 3, 4];
        let long: String = "x".repeat(107 - 16);
        for (header, told) in [
            (b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\r\n".to_vec(), client("203.0.113.9")),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 0 65535\r\n".to_vec(), client("1.1.1.1")),
            (b"PROXY TCP6 2001:db8::9 ::1 51234 443\r\n".to_vec(), client("2001:db8::9")),
            (b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n".to_vec(), client("1.2.3.4")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Told::Peer),
            (format!("PROXY UNKNOWN {long}\r\n").into_bytes(), Told::Peer),
            (b"PROXY UNKNOWN ffff:f:f:f:f:f:f:f ffff:f:f:f:f:f:f:f 65535 65535\r\n".to_vec(), Told::Peer),
            (v2(0x21, 0x11, &v4), client("203.0.113.9")),
            (v2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), client("203.0.113.9")),
            (v2(0x21, 0x21, &v6(0)), client("2001:db8::9")),
            (v2(0x21, 0x21, &v6(4060)), client("2001:db8::9")),
            (v2(0x20, 0x00, &[]), Told::Peer),
            (v2(0x20, 0x11, &v4), Told::Peer),
            (v2(0x21, 0x00, &[]), Told::Peer),
            (v2(0x21, 0x31, &[7; 216]), Told::Peer),
        ] {
            for piece in [1, 2, 3, 7, 16, 100, 10_000] {
                let behind = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
                assert_eq!(fed(&behind, piece), (Ok(Some(told)), header.len()), "{header:?} by {piece}");
                for cut in 0..header.len() {
                    assert_eq!(fed(&header[..cut], piece).0, Ok(None), "{header:?} cut at {cut} by {piece}");
                }
            }
        }
    }

    #[test]
    fn anything_else_is_junk() {
        let v4 = [203, 0, 113, 9, 192, 0, 2, 1, 1, 2, 3, 4];
        let long: String = "x".repeat(107 - 14);
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: p\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 51234\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443 1\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9  192.0.2.1 51234 443\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::9 ::1 51234 443\r\n".to_vec(),
            b"PROXY TCP6 203.0.113.9 192.0.2.1 51234 443\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 ::1 51234 443\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.09 192.0.2.1 51234 443\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 99999\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 +1 443\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 01 443\r\n".to_vec(),
            b"PROXY TCP5 203.0.113.9 192.0.2.1 51234 443\r\n".to_vec(),
            b"PROXY tcp4 203.0.113.9 192.0.2.1 51234 443\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\n\n".to_vec(),
            b"PROXYTCP4 203.0.113.9 192.0.2.1 51234 443\r\n".to_vec(),
            b"PROXY \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\r\n".to_vec(),
            format!("PROXY UNKNOWN{long}\r\n").into_bytes(),
            v2(0x22, 0x11, &v4),
            v2(0x11, 0x11, &v4),
            v2(0x21, 0x41, &v4),
            v2(0x21, 0x11, &v4[..11]),
            v2(0x21, 0x21, &v4),
            v2(0x21, 0x11, &[0; 4097]),
        ] {
            for piece in [1, 2, 16, 10_000] {
                assert_eq!(fed(&bytes, piece).0, Err(Junk), "{bytes:?} by {piece}");
            }
        }
    }
}
