//! Follows a body to its end and judges its bytes in place (RFC 9112 §6, §7.1).
//!
//! ```text
//!            +------------------------------+
//!            v                              |
//! chunked: Size --n--> Data --all--> DataEnd
//!            |
//!            +--0--> Tail --empty line--> Done
//! ```
//! A canonical body passes untouched. Chunk extensions and forbidden trailers are cut out by moving what
//! follows them, each byte at most once a call. Refused: everything outside the grammar, sizes over 64 bits,
//! size lines over [`SIZE_LINE_BYTES_MAX`] and trailers over [`TRAILER_BYTES_MAX`].
//!
//! Whatever ends the message (the last chunk, the trailers, the empty line) is passed as one piece when all
//! of it is there and in order, so that a fault in it never comes after something a careless reader takes for
//! the end.

use std::ops::Range;

use memchr::{memchr, memchr_iter};

use super::framing::Framing;
use super::header;
use crate::fault::What;

/// The longest chunk-size line, its extensions and line end included.
pub const SIZE_LINE_BYTES_MAX: usize = 256;

/// The most bytes of all trailer lines together, their line ends included.
pub const TRAILER_BYTES_MAX: usize = 8192;

/// How much room `judge` may need before it takes anything: a last chunk, its trailers and the empty line.
pub const HELD_BYTES_MAX: usize = SIZE_LINE_BYTES_MAX + TRAILER_BYTES_MAX + 2;

const _: () = assert!(HELD_BYTES_MAX <= u16::MAX as usize, "offsets into the tail are u16");

/// Where a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framer {
    /// So many bytes are still to come; 0 is the end.
    Length(u64),
    /// In the chunked coding.
    Chunked(Chunked),
    /// Up to the end of the connection.
    UntilClose {
        /// Whether that has come.
        closed: bool,
    },
}

/// What [`Framer::judge`] found, as offsets into the bytes it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Bytes done with; those behind are needed again, with more behind them, or belong to the next message.
    pub taken: usize,
    /// Bytes to be passed on, from the start; at most `taken`.
    pub kept: usize,
    /// Whether the body ended at `taken`.
    pub done: bool,
}

impl Framer {
    /// At the start of a body. `unchunk`: only the data of chunks is kept, for clients that know no chunks.
    pub fn new(framing: Framing, unchunk: bool) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked { at: At::Size, total: 0, unchunk }),
            Framing::UntilClose => Self::UntilClose { closed: false },
        }
    }

    /// Judges `bytes` in place: `bytes[..kept]` are to be passed on, `bytes[kept..taken]` are gone,
    /// `bytes[taken..]` are not judged yet.
    ///
    /// Less than all is taken when a line is not complete, [`HELD_BYTES_MAX`] at the most, and after the end.
    ///
    /// # Errors
    /// `BadChunk`: nothing of `bytes` may be passed on, and the body can never be completed.
    pub fn judge(&mut self, bytes: &mut [u8]) -> Result<Judged, What> {
        match self {
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok(Judged { taken, kept: taken, done: *left == 0 })
            }
            Self::Chunked(chunked) => chunked.judge(bytes),
            Self::UntilClose { closed } => {
                Ok(Judged { taken: bytes.len(), kept: bytes.len(), done: *closed })
            }
        }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.at == At::Done,
            Self::UntilClose { closed } => *closed,
        }
    }

    /// How many bytes are known to be still to come: 0 when only the bytes themselves will tell.
    pub fn left(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(_) | Self::UntilClose { .. } => 0,
        }
    }

    /// Bytes of data in the chunks so far, where there are chunks.
    pub fn chunk_data(&self) -> Option<u64> {
        match self {
            Self::Chunked(Chunked { at: At::Data(left), total, .. }) => Some(total - left),
            Self::Chunked(chunked) => Some(chunked.total),
            Self::Length(_) | Self::UntilClose { .. } => None,
        }
    }

    /// How many bytes, at least, pass as they are whatever they are.
    pub fn unseen(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::UntilClose { closed: false } => u64::MAX,
            Self::Chunked(_) | Self::UntilClose { closed: true } => 0,
        }
    }

    /// `n` of the [`Framer::unseen`] bytes passed without having been judged.
    pub fn advance(&mut self, n: usize) {
        assert!(n as u64 <= self.unseen(), "only what is known to be the body's passes unseen");
        if let Self::Length(left) = self {
            *left -= n as u64;
        }
    }

    /// The peer closed and nothing is left to judge.
    ///
    /// # Errors
    /// `Truncated` when the body had to go on.
    pub fn end(&mut self) -> Result<(), What> {
        if let Self::UntilClose { closed } = self {
            *closed = true;
        }
        if self.is_done() { Ok(()) } else { Err(What::Truncated) }
    }
}

/// Where a chunked body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunked {
    at: At,
    /// The sizes so far: a body longer than 64 bits can count is refused.
    total: u64,
    unchunk: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before a size line.
    Size,
    /// In the data of a chunk, with so many bytes to come.
    Data(u64),
    /// Before the line end after the data.
    DataEnd,
    /// At a last-chunk line of `first` bytes; the line under way begins at `line`, and `seen` bytes were
    /// searched for its end.
    Tail { first: u16, line: u16, seen: u16 },
    /// After the empty line.
    Done,
}

impl Chunked {
    fn judge(&mut self, bytes: &mut [u8]) -> Result<Judged, What> {
        let mut cut = Cut { bytes, taken: 0, kept: 0 };
        loop {
            match self.at {
                At::Size => match size_line(cut.rest())? {
                    None => break,
                    Some(SizeLine { size: 0, bytes, .. }) => {
                        self.at = At::Tail { first: bytes as u16, line: bytes as u16, seen: bytes as u16 };
                    }
                    Some(SizeLine { size, digits, bytes }) => {
                        self.total = self.total.checked_add(size).ok_or(What::BadChunk)?;
                        self.at = At::Data(size);
                        self.pass_size_line(&mut cut, digits, bytes);
                    }
                },
                At::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(cut.rest().len());
                    cut.keep(here);
                    let left = left - here as u64;
                    if left > 0 {
                        self.at = At::Data(left);
                        break;
                    }
                    self.at = At::DataEnd;
                }
                At::DataEnd => match cut.rest() {
                    [b'\r', b'\n', ..] => {
                        self.pass(&mut cut, 2);
                        self.at = At::Size;
                    }
                    [] | [b'\r'] => break,
                    _ => return Err(What::BadChunk),
                },
                At::Tail { first, line, seen } => {
                    let Some(end) = self.tail(cut.rest(), first.into(), line.into(), seen.into())? else {
                        break;
                    };
                    self.pass_tail(&mut cut, first.into(), end);
                    self.at = At::Done;
                }
                At::Done => break,
            }
        }
        Ok(Judged { taken: cut.taken, kept: cut.kept, done: self.at == At::Done })
    }

    /// Judges the lines of `tail` that are complete; where it ends, once it does.
    fn tail(&mut self, tail: &[u8], first: usize, line: usize, seen: usize) -> Result<Option<usize>, What> {
        let Some(fresh) = tail.get(seen..) else { return Ok(None) };
        let mut line = line;
        for lf in memchr_iter(b'\n', fresh) {
            let lf = seen + lf;
            let text = tail[line..lf].strip_suffix(b"\r").ok_or(What::BadChunk)?;
            if text.is_empty() {
                return if line - first <= TRAILER_BYTES_MAX {
                    Ok(Some(lf + 1))
                } else {
                    Err(What::BadChunk)
                };
            }
            if !is_trailer(text) {
                return Err(What::BadChunk);
            }
            line = lf + 1;
        }
        if tail.len() - first >= TRAILER_BYTES_MAX + 2 {
            return Err(What::BadChunk);
        }
        self.at = At::Tail { first: first as u16, line: line as u16, seen: tail.len() as u16 };
        Ok(None)
    }

    /// Passes a size line of `bytes` bytes without its extensions.
    fn pass_size_line(&self, cut: &mut Cut<'_>, digits: usize, bytes: usize) {
        self.pass(cut, digits);
        cut.lose(bytes - digits - 2);
        self.pass(cut, 2);
    }

    /// Passes a complete tail of `end` bytes without extensions and forbidden trailers.
    fn pass_tail(&self, cut: &mut Cut<'_>, first: usize, end: usize) {
        let end = cut.taken + end;
        let zeros = cut.rest().iter().take_while(|&&b| b == b'0').count();
        self.pass_size_line(cut, zeros, first);
        while cut.taken < end {
            let line = memchr(b'\n', cut.rest()).map_or(end - cut.taken, |lf| lf + 1);
            let name = memchr(b':', &cut.rest()[..line]).map(|colon| &cut.rest()[..colon]);
            if name.is_some_and(header::is_forbidden_trailer) {
                cut.lose(line);
            } else {
                self.pass(cut, line);
            }
        }
    }

    /// Passes `n` bytes of framing, unless only data is wanted.
    fn pass(&self, cut: &mut Cut<'_>, n: usize) {
        if self.unchunk { cut.lose(n) } else { cut.keep(n) }
    }
}

/// A read and a write cursor over the same bytes.
struct Cut<'a> {
    bytes: &'a mut [u8],
    taken: usize,
    kept: usize,
}

impl Cut<'_> {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    fn next(&mut self, n: usize) -> Range<usize> {
        let range = self.taken..self.taken + n;
        self.taken = range.end;
        range
    }

    fn keep(&mut self, n: usize) {
        let range = self.next(n);
        if range.start != self.kept {
            self.bytes.copy_within(range, self.kept);
        }
        self.kept += n;
    }

    fn lose(&mut self, n: usize) {
        self.next(n);
    }
}

/// A complete chunk-size line.
struct SizeLine {
    size: u64,
    /// How many digits it has.
    digits: usize,
    /// How long it is, its line end included.
    bytes: usize,
}

/// Reads the size line at the start of `bytes`; `None` when it is in order so far but not complete (RFC 9112
/// §7.1).
fn size_line(bytes: &[u8]) -> Result<Option<SizeLine>, What> {
    let digits = bytes.iter().take_while(|b| b.is_ascii_hexdigit()).take(17).count();
    if digits > 16 || (digits == 0 && !bytes.is_empty()) {
        return Err(What::BadChunk);
    }
    let value = |digit: u8| u64::from((digit as char).to_digit(16).unwrap_or(0));
    let size = bytes[..digits].iter().fold(0, |size, &digit| size << 4 | value(digit));
    let mut place = Place::End;
    for (at, &byte) in bytes.iter().enumerate().skip(digits) {
        if at == SIZE_LINE_BYTES_MAX {
            return Err(What::BadChunk);
        }
        if place == Place::Cr {
            let line = SizeLine { size, digits, bytes: at + 1 };
            return if byte == b'\n' { Ok(Some(line)) } else { Err(What::BadChunk) };
        }
        place = place.step(byte).ok_or(What::BadChunk)?;
    }
    Ok(None)
}

/// A place in the extensions of a size line: `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ]
/// )` (RFC 9112 §7.1.1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// After the size or a quoted value: the line may end.
    End,
    /// After blanks that only a semicolon may follow.
    Gap,
    /// Before a name.
    NameStart,
    Name,
    /// After blanks behind a name.
    NameGap,
    /// Before a value.
    ValueStart,
    Value,
    Quoted,
    /// After a backslash.
    Escaped,
    /// After the CR.
    Cr,
}

impl Place {
    /// The place after `byte`; `None` when it may not stand here.
    fn step(self, byte: u8) -> Option<Self> {
        let blank = matches!(byte, b' ' | b'\t');
        Some(match self {
            Self::End | Self::Name | Self::Value if byte == b'\r' => Self::Cr,
            Self::End | Self::Gap | Self::Name | Self::NameGap | Self::Value if byte == b';' => {
                Self::NameStart
            }
            Self::End | Self::Gap | Self::Value if blank => Self::Gap,
            Self::Name | Self::NameGap if byte == b'=' => Self::ValueStart,
            Self::Name | Self::NameGap if blank => Self::NameGap,
            Self::NameStart | Self::ValueStart if blank => self,
            Self::NameStart | Self::Name if header::is_tchar(byte) => Self::Name,
            Self::ValueStart if byte == b'"' => Self::Quoted,
            Self::ValueStart | Self::Value if header::is_tchar(byte) => Self::Value,
            Self::Quoted if byte == b'"' => Self::End,
            Self::Quoted if byte == b'\\' => Self::Escaped,
            Self::Quoted | Self::Escaped if header::is_value_byte(byte) => Self::Quoted,
            _ => return None,
        })
    }
}

/// Whether `line`, without its line end, is a field line: token, colon, and no control bytes (RFC 9112 §5).
fn is_trailer(line: &[u8]) -> bool {
    memchr(b':', line).is_some_and(|colon| {
        header::is_token(&line[..colon]) && line[colon + 1..].iter().all(|&b| header::is_value_byte(b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `body` in pieces of `piece` bytes, as a buffer would: what is not taken comes again. What was
    /// kept, what was left over, done.
    fn feed(body: &[u8], piece: usize, unchunk: bool) -> Result<(Vec<u8>, Vec<u8>, bool), What> {
        let mut framer = Framer::new(Framing::Chunked, unchunk);
        let (mut buffer, mut kept) = (Vec::new(), Vec::new());
        for piece in body.chunks(piece.max(1)) {
            buffer.extend_from_slice(piece);
            let judged = framer.judge(&mut buffer)?;
            assert!(judged.kept <= judged.taken && judged.done == framer.is_done());
            kept.extend_from_slice(&buffer[..judged.kept]);
            buffer.drain(..judged.taken);
            assert!(judged.done || buffer.len() < HELD_BYTES_MAX);
        }
        Ok((kept, buffer, framer.is_done()))
    }

    fn all(body: &[u8]) -> Result<(Vec<u8>, Vec<u8>, bool), What> {
        let whole = feed(body, body.len(), false);
        for piece in 1..body.len().min(20) {
            assert_eq!(feed(body, piece, false), whole, "pieces of {piece}");
        }
        whole
    }

    #[test]
    fn canonical_bodies_pass_untouched() {
        for body in [
            &b"0\r\n\r\n"[..],
            b"5\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\r\n00a\r\n\r\n0\r\n\r\n\r\n\r\r\n000\r\n\r\n",
            b"000000000000000F\r\n012345678901234\r\n0\r\nX-Sum: a b\tc\xe9\r\nEtag:\r\n\r\n",
        ] {
            assert_eq!(all(body), Ok((body.to_vec(), vec![], true)), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn nothing_behind_the_end_is_taken() {
        assert_eq!(
            feed(b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1", 4096, false),
            Ok((b"1\r\na\r\n0\r\n\r\n".to_vec(), b"GET / HTTP/1.1".to_vec(), true))
        );
    }

    #[test]
    fn extensions_are_dropped() {
        for extension in [
            ";a",
            ";a=b",
            " ; a = b",
            "\t;\ta\t=\tb",
            ";a;b=c;d",
            ";a=\"q \\\" \\\\ ;,\u{e9}\";b",
            ";a=\"\"",
            ";a ;b=\"x\" ;c",
        ] {
            let body = format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n");
            let plain = b"5\r\nhello\r\n0\r\n\r\n".to_vec();
            assert_eq!(all(body.as_bytes()), Ok((plain, vec![], true)), "{extension:?}");
        }
    }

    #[test]
    fn only_data_is_kept_unchunked() {
        let body = b"5;x\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nX: y\r\n\r\n";
        for piece in 1..=body.len() {
            assert_eq!(feed(body, piece, true), Ok((b"hello world".to_vec(), vec![], true)));
        }
    }

    #[test]
    fn trailers_that_steer_are_dropped_silently() {
        let body = b"0;x\r\nA: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nB: 2\r\n\
            proxy-x: 3\r\nx-forwarded-for: 4\r\n\r\n";
        assert_eq!(all(body), Ok((b"0\r\nA: 1\r\nB: 2\r\n\r\n".to_vec(), vec![], true)));
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for body in [
            &b"\r\n"[..],
            b"\n",
            b"g\r\n",
            b"0x5\r\n",
            b"+5\r\n",
            b"-5\r\n",
            b" 5\r\n",
            b"5 \r\nhello\r\n",
            b"5\t\r\nhello\r\n",
            b"5\nhello\r\n",
            b"5\rhello\r\n",
            b"5\r\r\nhello",
            b"5\r\nhello\n",
            b"5\r\nhello\r0",
            b"5\r\nhello!\r\n",
            b"5\r\nhello0\r\n\r\n",
            b"5_0\r\n",
            b"5,5\r\n",
            b"10000000000000000\r\n",
            b"00000000000000005\r\nhello",
            b"ffffffffffffffff0\r\n",
            b";a\r\n",
            b"5;\r\n",
            b"5;a=\r\n",
            b"5;a b\r\n",
            b"5;a \r\n",
            b"5;a=b \r\n",
            b"5;a=b c\r\n",
            b"5;=b\r\n",
            b"5;a==b\r\n",
            b"5;a=\"b\r\n",
            b"5;a=\"b\"c\r\n",
            b"5;a=\"\x01\"\r\n",
            b"5;a=\"\\\r\n",
            b"5;a\x00\r\n",
            b"5;a=b\nhello",
            b"5;a\rb\r\n",
            b"0\r\n\n",
            b"0\r\n\rX",
            b"0\n\r\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\nA : b\r\n\r\n",
            b"0\r\n A: b\r\n\r\n",
            b"0\r\nA: b\r\n c\r\n\r\n",
            b"0\r\nA\r\n\r\n",
            b"0\r\n: b\r\n\r\n",
            b"0\r\nA: b\x00\r\n\r\n",
            b"0\r\nA: b\rc\r\n\r\n",
            b"0\r\nGET / HTTP/1.1\r\n\r\n",
        ] {
            // A byte more, because a fault may show only in what follows it.
            let body = [body, b"\n"].concat();
            assert_eq!(all(&body), Err(What::BadChunk), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn sizes_beyond_64_bits_are_refused_in_sum_too() {
        let mut framer = Framer::new(Framing::Chunked, false);
        let mut line = *b"ffffffffffffffff\r\n";
        assert_eq!(framer.judge(&mut line), Ok(Judged { taken: 18, kept: 18, done: false }));
        let mut one = Framer::Chunked(Chunked { at: At::Size, total: u64::MAX, unchunk: false });
        assert_eq!(one.judge(&mut b"1\r\n".to_vec()), Err(What::BadChunk));
    }

    #[test]
    fn the_limits_of_lines_are_exact() {
        let line = |n: usize| [b"1;", &vec![b'a'; n - 4][..], b"\r\nx"].concat();
        assert_eq!(feed(&line(SIZE_LINE_BYTES_MAX), 4096, false), Ok((b"1\r\nx".to_vec(), vec![], false)));
        assert_eq!(feed(&line(SIZE_LINE_BYTES_MAX + 1), 4096, false), Err(What::BadChunk));

        let trailers = |n: usize| [b"0\r\nA:", &vec![b'a'; n - 4][..], b"\r\n\r\n"].concat();
        let longest = trailers(TRAILER_BYTES_MAX);
        for piece in [1, 7, 4096, 1 << 20] {
            assert_eq!(feed(&longest, piece, false), Ok((longest.clone(), vec![], true)));
            assert_eq!(feed(&trailers(TRAILER_BYTES_MAX + 1), piece, false), Err(What::BadChunk));
        }
        let endless = [b"0\r\n", &[b'a'; TRAILER_BYTES_MAX + 2][..]].concat();
        assert_eq!(feed(&endless[..endless.len() - 1], 4096, false).map(|fed| fed.2), Ok(false));
        assert_eq!(feed(&endless, 4096, false), Err(What::BadChunk));
    }

    #[test]
    fn the_end_of_a_message_passes_whole_or_not_at_all() {
        let mut framer = Framer::new(Framing::Chunked, false);
        let mut body = b"1\r\na\r\n0\r\nA: b\r\n".to_vec();
        assert_eq!(framer.judge(&mut body), Ok(Judged { taken: 6, kept: 6, done: false }));
        assert_eq!(framer.end(), Err(What::Truncated));
    }

    #[test]
    fn lengths_count_down_and_close_ends_only_what_it_may() {
        let mut framer = Framer::new(Framing::Length(5), false);
        assert_eq!(framer.judge(&mut [0; 3]), Ok(Judged { taken: 3, kept: 3, done: false }));
        assert_eq!(framer.clone().end(), Err(What::Truncated));
        assert_eq!(framer.judge(&mut [0; 3]), Ok(Judged { taken: 2, kept: 2, done: true }));
        assert_eq!(framer.end(), Ok(()));

        let mut framer = Framer::new(Framing::None, false);
        assert_eq!(framer.judge(&mut [0; 3]), Ok(Judged { taken: 0, kept: 0, done: true }));

        let mut framer = Framer::new(Framing::UntilClose, false);
        assert_eq!(framer.judge(&mut [0; 3]), Ok(Judged { taken: 3, kept: 3, done: false }));
        assert_eq!((framer.end(), framer.is_done()), (Ok(()), true));
    }

    #[test]
    fn a_framer_is_small() {
        assert!(size_of::<Framer>() <= 40, "{}", size_of::<Framer>());
    }
}
