//! The pen that writes values, in JSON or as httpd does, and what it can be asked to write.

use crate::access::escape;
use crate::access::mask::{HIDDEN, Mask};
use crate::access::record::{Record, Tls};
use crate::access::stamp::{Stamp, three, two};
use crate::access::wanted::Wanted;
use crate::fault::What;
use crate::time::Now;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

/// What the worker adds to a record when its exchange is over.
#[derive(Clone, Copy, Debug)]
pub struct Closing<'a> {
    /// The client.
    pub client: SocketAddr,
    /// Our end of the client's connection, if a format shows it.
    pub local: Option<SocketAddr>,
    /// The client's TLS, if a format shows it.
    pub client_tls: Option<Tls>,
    /// The worker.
    pub worker: usize,
    /// Where the request was to go.
    pub route: Option<&'a str>,
    /// What went wrong.
    pub fault: Option<What>,
    /// Requests of the client's connection, this one included.
    pub requests: u32,
    /// The client's connection can carry another request.
    pub keeps: bool,
    /// When the exchange was over.
    pub ended: Now,
}

/// Everything a line can show.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The exchange.
    pub record: &'a Record,
    /// How it ended.
    pub closing: &'a Closing<'a>,
    /// What is not shown of it.
    pub mask: &'a Mask,
    /// The names of its headers.
    pub wanted: &'a Wanted,
    /// The process.
    pub process: u32,
}

/// The two digits of each number below a hundred.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = two(n as u8);
        n += 1;
    }
    pairs
};

/// Writes values.
pub struct Pen<'a> {
    /// The line.
    pub out: &'a mut Vec<u8>,
    /// In JSON.
    pub json: bool,
    /// The time.
    pub stamp: &'a mut Stamp,
    /// For what is masked before it is escaped.
    pub scratch: &'a mut Vec<u8>,
}

impl Pen<'_> {
    /// What is not known.
    pub fn nothing(&mut self) {
        self.out.extend_from_slice(if self.json { b"null" } else { b"-" });
    }

    /// A text of ours, which needs no escapes.
    pub fn word(&mut self, word: &str) {
        self.quoted(|out| out.extend_from_slice(word.as_bytes()));
    }

    /// A text of a peer.
    pub fn text(&mut self, text: Option<&[u8]>) {
        match text {
            Some(text) if self.json => self.quoted(|out| escape::json(text, out)),
            Some(text) => escape::log(text, self.out),
            None => self.nothing(),
        }
    }

    fn quoted(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.json {
            self.out.push(b'"');
        }
        write(self.out);
        if self.json {
            self.out.push(b'"');
        }
    }

    /// A text of a peer that `write` masks; nothing is `-`.
    pub fn masked(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut scratch = std::mem::take(self.scratch);
        scratch.clear();
        write(&mut scratch);
        self.text(Some(scratch.as_slice()).filter(|text| !text.is_empty()));
        *self.scratch = scratch;
    }

    /// The same, where nothing is nothing.
    pub fn maybe_empty(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut scratch = std::mem::take(self.scratch);
        scratch.clear();
        write(&mut scratch);
        self.text(Some(&scratch));
        *self.scratch = scratch;
    }

    /// A number.
    pub fn number(&mut self, n: u64) {
        if n < 10 {
            self.out.push(b'0' + n as u8);
            return;
        }
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = n;
        while rest >= 10 {
            at -= 2;
            digits[at..at + 2].copy_from_slice(&PAIRS[(rest % 100) as usize]);
            rest /= 100;
        }
        if rest > 0 {
            at -= 1;
            digits[at] = b'0' + rest as u8;
        }
        self.out.extend_from_slice(&digits[at..]);
    }

    /// Microseconds as milliseconds.
    pub fn millis(&mut self, micros: u64) {
        if micros == 0 {
            self.out.push(b'0');
            return;
        }
        self.number(micros / 1000);
        self.out.push(b'.');
        self.out.extend_from_slice(&three((micros % 1000) as u16));
    }

    /// A time with milliseconds and offset.
    pub fn time(&mut self, at: Now) {
        if self.json {
            self.out.push(b'"');
        }
        self.stamp.iso(at, self.out);
        if self.json {
            self.out.push(b'"');
        }
    }

    fn ip(&mut self, address: IpAddr, bracketed: bool) {
        match address {
            IpAddr::V4(address) => {
                let (mut text, mut len) = ([b'.'; 16], 0);
                for octet in address.octets() {
                    let digits = three(octet.into());
                    let zeros = usize::from(octet < 100) + usize::from(octet < 10);
                    for digit in &digits[zeros..] {
                        text[len] = *digit;
                        len += 1;
                    }
                    len += 1;
                }
                self.out.extend_from_slice(&text[..len - 1]);
            }
            // A vector takes everything.
            IpAddr::V6(address) if bracketed => drop(write!(self.out, "[{address}]")),
            IpAddr::V6(address) => drop(write!(self.out, "{address}")),
        }
    }

    /// An address.
    pub fn address(&mut self, address: IpAddr) {
        if self.json {
            self.out.push(b'"');
        }
        self.ip(address, false);
        if self.json {
            self.out.push(b'"');
        }
    }

    /// An address and a port.
    pub fn socket(&mut self, socket: SocketAddr) {
        if self.json {
            self.out.push(b'"');
        }
        self.ip(socket.ip(), true);
        self.out.push(b':');
        self.number(socket.port().into());
        if self.json {
            self.out.push(b'"');
        }
    }

    /// Something of a TLS session.
    pub fn tls(&mut self, tls: Option<&Tls>, show: impl Fn(&Tls) -> &'static str) {
        match tls {
            Some(tls) => self.word(show(tls)),
            None => self.nothing(),
        }
    }

    /// The first cookie called `name` in the value of `Cookie`.
    pub fn cookie(&mut self, cookies: Option<&[u8]>, name: &[u8], masked: bool) {
        let found =
            cookies.into_iter().flat_map(|cookies| cookies.split(|byte| *byte == b';')).find_map(|pair| {
                let at = memchr::memchr(b'=', pair)?;
                (pair[..at].trim_ascii() == name).then(|| pair[at + 1..].trim_ascii())
            });
        self.text(found.map(|value| if masked { HIDDEN } else { value }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Pen<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Pen {
            out: &mut out,
            json: false,
            stamp: &mut Stamp::default(),
            scratch: &mut Vec::new(),
        });
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn numbers_are_written_as_the_library_writes_them() {
        let powers = (0..20).map(|exponent| 10_u64.pow(exponent));
        for n in (0..=1001).chain(powers.flat_map(|n| [n - 1, n, n + 1, n / 10 * 11])).chain([u64::MAX]) {
            assert_eq!(text(|pen| pen.number(n)), n.to_string());
        }
        for (micros, expected) in [(0, "0"), (7, "0.007"), (1000, "1.000"), (12_345_678, "12345.678")] {
            assert_eq!(text(|pen| pen.millis(micros)), expected);
        }
    }

    #[test]
    fn addresses_are_written_as_the_library_writes_them() {
        for socket in ["0.0.0.0:0", "10.1.99.255:65535", "127.0.0.1:80", "[::1]:443", "[2001:db8::1]:8080"] {
            let socket: SocketAddr = socket.parse().expect("an address");
            assert_eq!(text(|pen| pen.socket(socket)), socket.to_string());
            assert_eq!(text(|pen| pen.address(socket.ip())), socket.ip().to_string());
        }
    }
}
