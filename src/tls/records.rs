//! The record layer of one direction: contents sealed into records and opened out of them, in place of rustls's, which
//! allocates and copies once a record (RFC 8446 §5, RFC 5246 §6.2, RFC 5288, RFC 7905).
//!
//! ```text
//! TLS 1.3            | header 5 |                     | content, its type, padding | tag 16 |    header says "data"
//! TLS 1.2 AES-GCM    | header 5 | explicit nonce 8    | content                    | tag 16 |
//! TLS 1.2 ChaCha20   | header 5 |                     | content                    | tag 16 |
//!                      authenticated                    sealed
//! ```
//! It knows keys, numbers and lengths; what a content means is [`super::traffic`]'s business. Keys come from the handshake,
//! which is rustls's.

use crate::buf::Lease;
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{
    AlertDescription, ConnectionTrafficSecrets, ContentType, Error, InvalidMessage, PeerMisbehaved,
    SupportedCipherSuite,
};
use std::fmt;

/// Bytes of a record's header.
pub const HEADER: usize = 5;
/// Most plain bytes in a record (RFC 8446 §5.1).
pub const PLAIN_MAX: usize = 16 * 1024;
/// The longest record: header, plain bytes and what sealing may add (RFC 8446 §5.2).
pub const RECORD_MAX: usize = HEADER + PLAIN_MAX + 256;
/// The most that sealing adds: header, explicit nonce or content type, tag.
pub(super) const SEAL_MAX: usize = HEADER + EXPLICIT + TAG;

/// Content types (RFC 8446 §5.1).
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const DATA: u8 = 23;

const TAG: usize = 16;
const NONCE: usize = 12;
/// The part of a nonce that TLS 1.2 sends along with AES-GCM (RFC 5288 §3).
const EXPLICIT: usize = 8;
/// No key seals more records than this, so that there are numbers left to say so with: they must not wrap (RFC 8446 §5.3).
const NUMBERS_MAX: u64 = u64::MAX - (1 << 16);

/// The sealed bytes of a leg on their way in and out; leased while they hold something.
#[derive(Debug, Default)]
pub struct Sealed {
    /// Received, not opened yet.
    pub inbound: Option<Lease>,
    /// Sealed, not sent yet.
    pub out: Option<Lease>,
}

/// The length of the record at the front of `bytes`, if it has arrived whole. What is too long or no record at all is
/// taken as it is, to be refused: where the next one begins would be a guess.
pub(super) fn next(bytes: &[u8]) -> Option<usize> {
    match length(bytes) {
        Some(len) if len > RECORD_MAX || !is_record(bytes) => Some(bytes.len()),
        Some(len) if len <= bytes.len() => Some(len),
        _ => None,
    }
}

/// Length of the record that begins `bytes`, header included; `None` while the header is not there.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let length: [u8; 2] = bytes.get(3..HEADER)?.try_into().ok()?;
    Some(HEADER + usize::from(u16::from_be_bytes(length)))
}

/// Whether `bytes` may begin a record: a content type from change_cipher_spec to heartbeat, and version 3.x.
pub(super) fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes, [CHANGE_CIPHER_SPEC..=24, 3, ..])
}

/// What a peer has done against the protocol, and the alert that answers it; none to what is itself an alert.
#[derive(Debug)]
pub(super) struct Breach {
    pub(super) alert: Option<AlertDescription>,
    pub(super) error: Error,
}

impl Breach {
    pub(super) fn new(alert: AlertDescription, error: impl Into<Error>) -> Self {
        Self { alert: Some(alert), error: error.into() }
    }

    /// A record of a type that has no business here.
    pub(super) fn unexpected(kind: u8) -> Self {
        let expect_types = vec![ContentType::ApplicationData, ContentType::Handshake, ContentType::Alert];
        let error = Error::InappropriateMessage { expect_types, got_type: ContentType::from(kind) };
        Self::new(AlertDescription::UnexpectedMessage, error)
    }
}

/// How a record is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Tls13,
    Gcm12,
    ChaCha12,
}

/// One direction of a connection: its key, and the number of its next record.
pub(super) struct Lane {
    key: LessSafeKey,
    iv: [u8; NONCE],
    form: Form,
    number: u64,
    records_max: u64,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("form", &self.form).field("number", &self.number).finish_non_exhaustive()
    }
}

impl Lane {
    /// A direction whose next record has this number. rustls knows how many records a key of the suite may seal (RFC 8446
    /// §5.5).
    ///
    /// # Errors
    /// When the secrets are of no suite that is spoken here.
    pub(super) fn new(
        suite: SupportedCipherSuite,
        (number, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Self, Error> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(Error::General("the suite has no record layer here".to_owned())),
        };
        let (form, limit) = match suite {
            SupportedCipherSuite::Tls13(suite) => (Form::Tls13, suite.common.confidentiality_limit),
            SupportedCipherSuite::Tls12(suite) if *algorithm == CHACHA20_POLY1305 => {
                (Form::ChaCha12, suite.common.confidentiality_limit)
            }
            SupportedCipherSuite::Tls12(suite) => (Form::Gcm12, suite.common.confidentiality_limit),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Error::EncryptError)?;
        let iv = iv.as_ref().try_into().map_err(|_| Error::EncryptError)?;
        Ok(Self { key: LessSafeKey::new(key), iv, form, number, records_max: limit.min(NUMBERS_MAX) })
    }

    /// Whether the key has sealed all that it may.
    pub(super) fn is_worn(&self) -> bool {
        self.number >= self.records_max
    }

    /// Whether the key has sealed half of what it may.
    pub(super) fn is_aging(&self) -> bool {
        self.number >= self.records_max / 2
    }

    /// Seals `parts`, one behind the other, as the content of one record at the front of `out`; how long it is. Nothing is
    /// sealed without room, or when the numbers have run out: one that came twice would give the key away.
    pub(super) fn seal(&mut self, kind: u8, parts: [&[u8]; 2], out: &mut [u8]) -> Option<usize> {
        let [first, second] = parts;
        let content = first.len() + second.len();
        assert!(content <= PLAIN_MAX, "contents are cut to a record's length");
        let number = self.number;
        let nonce = self.nonce();
        let (explicit, inner): (&[u8], &[u8]) = match self.form {
            Form::Tls13 => (&[], &[kind]),
            Form::Gcm12 => (&nonce[NONCE - EXPLICIT..], &[]),
            Form::ChaCha12 => (&[], &[]),
        };
        let len = explicit.len() + content + inner.len() + TAG;
        let outer = if self.form == Form::Tls13 { DATA } else { kind };
        let [high, low] = u16::try_from(len).ok()?.to_be_bytes();
        let header = [outer, 3, 3, high, low];
        let aad = self.authenticated(number, header, content);
        let (head, rest) = out.get_mut(..HEADER + len)?.split_at_mut(HEADER);
        head.copy_from_slice(&header);
        let (begin, rest) = rest.split_at_mut(explicit.len());
        begin.copy_from_slice(explicit);
        let (body, end) = rest.split_at_mut(content);
        // Burnt before it is used, whatever comes of it.
        self.number = number.checked_add(1)?;
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(aad.as_slice()));
        let sealed = if first.is_empty() || second.is_empty() {
            let whole = if first.is_empty() { second } else { first };
            self.key.seal_out_of_place_scatter(nonce, aad, whole, body, inner, end)
        } else {
            // A head and the beginning of its body share a record.
            body[..first.len()].copy_from_slice(first);
            body[first.len()..].copy_from_slice(second);
            self.key.seal_in_place_scatter(nonce, aad, body, inner, end)
        };
        sealed.is_ok().then_some(HEADER + len)
    }

    /// Opens `record`, header included, into the front of `plain`, which is as long; the type and the length of its
    /// content. What lies in `plain` behind that, or after a breach, is nothing.
    ///
    /// # Errors
    /// What is wrong with the record.
    pub(super) fn open(&mut self, record: &[u8], plain: &mut [u8]) -> Result<(u8, usize), Breach> {
        let unsealed = || Breach::new(AlertDescription::BadRecordMac, Error::DecryptError);
        let too_long = || Breach::new(AlertDescription::RecordOverflow, Error::PeerSentOversizedRecord);
        if !is_record(record) {
            return Err(Breach::new(AlertDescription::DecodeError, InvalidMessage::InvalidContentType));
        }
        if length(record) != Some(record.len()) {
            return Err(too_long());
        }
        let (header, rest) = record.split_first_chunk::<HEADER>().ok_or_else(unsealed)?;
        // Behind the handshake all is sealed, and in TLS 1.3 its type with it (RFC 8446 §5, §5.2).
        if header[0] == CHANGE_CIPHER_SPEC || (self.form == Form::Tls13 && header[0] != DATA) {
            return Err(Breach::unexpected(header[0]));
        }
        let explicit = if self.form == Form::Gcm12 { EXPLICIT } else { 0 };
        let (explicit, rest) = rest.split_at_checked(explicit).ok_or_else(unsealed)?;
        let (sealed, tag) = rest.split_last_chunk::<TAG>().ok_or_else(unsealed)?;
        // The content type counts in TLS 1.3 (RFC 8446 §5.2), even where padding follows it.
        let inner = usize::from(self.form == Form::Tls13);
        if sealed.len() > PLAIN_MAX + inner {
            return Err(too_long());
        }
        let mut nonce = self.nonce();
        if !explicit.is_empty() {
            nonce[NONCE - EXPLICIT..].copy_from_slice(explicit);
        }
        let aad = self.authenticated(self.number, *header, sealed.len());
        let plain = plain.get_mut(..sealed.len()).ok_or_else(unsealed)?;
        let number = self.number.checked_add(1).ok_or_else(unsealed)?;
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(aad.as_slice()));
        self.key.open_separate_gather(nonce, aad, sealed, tag, plain).map_err(|_| unsealed())?;
        self.number = number;
        if self.form != Form::Tls13 {
            return Ok((header[0], plain.len()));
        }
        // The type is the last byte that is not padding (RFC 8446 §5.4).
        let end = plain.iter().rposition(|byte| *byte != 0);
        end.map(|end| (plain[end], end)).ok_or_else(|| {
            Breach::new(AlertDescription::UnexpectedMessage, PeerMisbehaved::IllegalTlsInnerPlaintext)
        })
    }

    /// The nonce of the next record (RFC 8446 §5.3, RFC 7905 §2); for AES-GCM in TLS 1.2 a choice as good as any.
    fn nonce(&self) -> [u8; NONCE] {
        let mut nonce = self.iv;
        let number = self.number.to_be_bytes();
        nonce[NONCE - number.len()..].iter_mut().zip(number).for_each(|(byte, number)| *byte ^= number);
        nonce
    }

    /// What is authenticated beside the content (RFC 8446 §5.2, RFC 5246 §6.2.3.3).
    fn authenticated(&self, number: u64, header: [u8; HEADER], content: usize) -> Authenticated {
        let mut bytes = [0; 8 + HEADER];
        bytes[8..].copy_from_slice(&header);
        if self.form == Form::Tls13 {
            return Authenticated { bytes, from: 8 };
        }
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        // Both callers have bounded it by a record's length.
        bytes[8 + 3..].copy_from_slice(&(content as u16).to_be_bytes());
        Authenticated { bytes, from: 0 }
    }
}

struct Authenticated {
    bytes: [u8; 8 + HEADER],
    from: usize,
}

impl Authenticated {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[self.from..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::aead::Algorithm;

    fn lane(algorithm: &'static Algorithm, form: Form, key: &[u8], iv: [u8; NONCE]) -> Lane {
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).expect("a key"));
        Lane { key, iv, form, number: 0, records_max: 8 }
    }

    /// The two ends of every kind of direction.
    fn ends() -> [[Lane; 2]; 5] {
        let pair = |algorithm: &'static Algorithm, form| {
            let key = vec![7; algorithm.key_len()];
            [lane(algorithm, form, &key, [9; NONCE]), lane(algorithm, form, &key, [9; NONCE])]
        };
        [
            pair(&AES_128_GCM, Form::Tls13),
            pair(&AES_256_GCM, Form::Tls13),
            pair(&CHACHA20_POLY1305, Form::Tls13),
            pair(&AES_256_GCM, Form::Gcm12),
            pair(&CHACHA20_POLY1305, Form::ChaCha12),
        ]
    }

    fn opened(lane: &mut Lane, record: &[u8]) -> Result<(u8, Vec<u8>), u8> {
        let mut plain = vec![0xee; RECORD_MAX];
        match lane.open(record, &mut plain) {
            Ok((kind, len)) => Ok((kind, plain[..len].to_vec())),
            Err(breach) => Err(breach.alert.map_or(0, u8::from)),
        }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |word| u8::from_str_radix(word, 16).expect("hexadecimal");
        hex.split_whitespace().map(byte).collect()
    }

    #[test]
    fn the_record_of_rfc_8448_comes_out() {
        let key = bytes("17 42 2d da 59 6e d5 d9 ac d8 90 e3 c6 3f 50 51");
        let iv = bytes("5b 78 92 3d ee 08 57 90 33 e5 23 d9").try_into().expect("12 bytes");
        let text: Vec<u8> = (0..50).collect();
        let record = bytes(
            "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8
             a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4",
        );
        let lane = || lane(&AES_128_GCM, Form::Tls13, &key, iv);
        let mut out = [0; 100];
        let len = lane().seal(DATA, [&text[..20], &text[20..]], &mut out).expect("room");
        assert_eq!(out[..len], record);
        assert_eq!(opened(&mut lane(), &record), Ok((DATA, text)));
    }

    #[test]
    fn what_is_sealed_is_opened_once_and_in_order() {
        let text: Vec<u8> = (0..=255).cycle().take(PLAIN_MAX).collect();
        for [mut ours, mut theirs] in ends() {
            let mut records = Vec::new();
            for (kind, cut, len) in [(DATA, 0, 1), (ALERT, 2, 2), (DATA, 700, 1000), (DATA, 1, PLAIN_MAX)] {
                let mut out = vec![0; len + SEAL_MAX];
                let n = ours.seal(kind, [&text[..cut], &text[cut..len]], &mut out).expect("room");
                out.truncate(n);
                records.push(out.clone());
                assert_eq!(opened(&mut theirs, &out), Ok((kind, text[..len].to_vec())), "{ours:?}");
                assert_eq!(opened(&mut theirs, &out), Err(20), "the same again: {ours:?}");
            }
            assert!(records[0][HEADER..] != records[1][HEADER..], "every record has its own nonce");
            assert_eq!((ours.number, theirs.number), (4, 4));
        }
    }

    #[test]
    fn a_key_wears_and_numbers_never_wrap() {
        for [mut ours, mut theirs] in ends() {
            let mut out = [0; 100];
            for number in 0..10 {
                assert_eq!((ours.is_aging(), ours.is_worn()), (number >= 4, number >= 8));
                assert!(ours.seal(DATA, [b"x", b""], &mut out).is_some());
            }
            (ours.number, theirs.number) = (u64::MAX - 1, u64::MAX - 1);
            let last = ours.seal(ALERT, [b"\x01\0", b""], &mut out).expect("the last number");
            assert_eq!(ours.seal(DATA, [b"x", b""], &mut [0; 100]), None);
            assert!(opened(&mut theirs, &out[..last]).is_ok());
            assert_eq!(opened(&mut theirs, &out[..last]), Err(20));
            assert_eq!((ours.number, theirs.number), (u64::MAX, u64::MAX));
        }
    }

    #[test]
    fn a_record_without_room_burns_no_number() {
        for [mut ours, _] in ends() {
            let len = ours.seal(DATA, [b"abc", b"def"], &mut [0; 100]).expect("room");
            for short in 0..len {
                assert_eq!(ours.seal(DATA, [b"abc", b"def"], &mut vec![0; short]), None);
            }
            assert_eq!(ours.number, 1);
        }
    }

    #[test]
    fn records_of_every_length_are_judged() {
        for [_, mut theirs] in ends() {
            for len in (0..60).chain(PLAIN_MAX - 2..PLAIN_MAX + 300) {
                let [high, low] = u16::try_from(len).expect("a length").to_be_bytes();
                let record = [&[DATA, 3, 3, high, low][..], &vec![0; len]].concat();
                let expected = if len > PLAIN_MAX + 40 { Err(22) } else { Err(20) };
                let got = opened(&mut theirs, &record);
                assert!(got == expected || len > PLAIN_MAX && got == Err(22), "{len}: {got:?}");
                assert_eq!(next(&record), Some(record.len()));
                assert_eq!(next(&record[..record.len() - 1]).is_some(), len > RECORD_MAX - HEADER);
            }
        }
    }

    #[test]
    fn what_is_no_record_is_not_waited_for() {
        assert_eq!(next(b"SSH-2.0-x"), Some(9));
        assert_eq!(next(b"\x17\x03\x03\xff\xff"), Some(5));
        assert_eq!(next(b"\x17\x03\x03\x00\x01"), None);
        assert_eq!(next(b"\x17\x03\x03\x00"), None);
        let [[_, mut theirs], ..] = ends();
        assert_eq!(opened(&mut theirs, b"SSH-2.0-x"), Err(50));
        assert_eq!(opened(&mut theirs, b"\x17\x03\x03\xff\xff"), Err(22));
        assert_eq!(opened(&mut theirs, b"\x16\x03\x03\x00\x01x"), Err(10));
    }
}
