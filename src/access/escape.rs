//! Bytes of peers in a line: nobody can end it, begin another, or break out of its quotes.

/// Bytes that are looked at together: a constant, so that the compiler compares them in one register.
const CHUNK: usize = 8;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// As httpd escapes them (`ap_escape_logitem`): `\"`, `\\`, `\n` and the like, and `\xhh`.
pub fn log(bytes: &[u8], out: &mut Vec<u8>) {
    escape(bytes, out, |byte, out| match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        0x08 => out.extend_from_slice(b"\\b"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0x0b => out.extend_from_slice(b"\\v"),
        _ => out.extend_from_slice(&[b'\\', b'x', hex(byte >> 4), hex(byte & 15)]),
    });
}

/// As JSON has it; a byte outside of ASCII becomes the character of that number, so that none is lost.
pub fn json(bytes: &[u8], out: &mut Vec<u8>) {
    escape(bytes, out, |byte, out| match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        _ => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]),
    });
}

const fn hex(digit: u8) -> u8 {
    HEX[digit as usize]
}

/// Whether it stands for itself in both kinds of lines: visible ASCII and the blank, but for quote and backslash.
// Without branches, so that many are compared at once.
#[allow(clippy::needless_bitwise_bool)]
const fn is_plain(byte: u8) -> bool {
    (byte.wrapping_sub(0x20) < 0x5f) & (byte != b'"') & (byte != b'\\')
}

/// The first byte that does not stand for itself.
fn special_at(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<CHUNK>();
    let plain = |chunk: &[u8; CHUNK]| chunk.iter().fold(true, |plain, byte| plain & is_plain(*byte));
    let clean = chunks.iter().take_while(|chunk| plain(chunk)).count() * CHUNK;
    // The end is looked at together with what stands before it.
    if clean + rest.len() == bytes.len() && bytes.last_chunk().is_some_and(plain) {
        return None;
    }
    bytes[clean..].iter().position(|byte| !is_plain(*byte)).map(|at| clean + at)
}

fn escape(mut bytes: &[u8], out: &mut Vec<u8>, special: impl Fn(u8, &mut Vec<u8>)) {
    while let Some(at) = special_at(bytes) {
        out.extend_from_slice(&bytes[..at]);
        special(bytes[at], out);
        bytes = &bytes[at + 1..];
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(escape: fn(&[u8], &mut Vec<u8>), bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(bytes, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn nothing_breaks_out_of_a_line() {
        let hostile = b"a \"b\" \\ \r\n\t\x08\x0b\x00\x1b\x7f\xea\xb0\x80~";
        assert_eq!(text(log, hostile), r#"a \"b\" \\ \r\n\t\b\v\x00\x1b\x7f\xea\xb0\x80~"#);
        assert_eq!(
            text(json, hostile),
            r#"a \"b\" \\ \u000d\u000a\u0009\u0008\u000b\u0000\u001b\u007f\u00ea\u00b0\u0080~"#
        );
        for byte in 0..=255 {
            // Wherever it stands.
            for at in 0..20 {
                let mut bytes = [b'x'; 20];
                bytes[at] = byte;
                let whole = text(json, &bytes);
                assert_eq!(whole, ["x".repeat(at), text(json, &[byte]), "x".repeat(19 - at)].concat());
            }
            for escape in [log, json] {
                let text = text(escape, &[byte]);
                assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{byte}");
                assert!(!text.contains('"') || text == "\\\"", "{byte}");
            }
        }
    }
}
