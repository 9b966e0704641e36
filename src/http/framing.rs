//! How long is this message: the only place that decides it, and so the only smuggling surface (RFC 9112 §6).
//!
//! One rule: where two readers could disagree, nobody reads. A message has at most one `Content-Length` line of plain
//! digits, or at most one `Transfer-Encoding` line that says `chunked`, never both. Nothing is repaired.

use super::head::{Fields, Request, Response, Seen, Version};
use super::header;
use crate::fault::What;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// This many bytes, more than 0.
    Length(u64),
    /// The chunked coding (RFC 9112 §7.1).
    Chunked,
    /// Responses only: the body ends with the connection.
    UntilClose,
}

/// The framing of a request.
///
/// # Errors
/// `UnknownCoding` for a single plainly foreign coding, or a list of codings that ends in `chunked`; `BadFraming` for
/// everything else that is not beyond doubt.
pub fn request(request: &Request<'_, '_>) -> Result<Framing, What> {
    Ok(declared(&request.fields, request.version)?.unwrap_or(Framing::None))
}

/// The framing of a response; `to_head_request` says that it answers a HEAD.
///
/// The fields must be beyond doubt even where they do not count (1xx, 204, 304, HEAD): the client sees them too.
///
/// # Errors
/// `BadResponse`.
pub fn response(response: &Response<'_, '_>, to_head_request: bool) -> Result<Framing, What> {
    let declared = declared(&response.fields, response.version).map_err(|_| What::BadResponse)?;
    if to_head_request || is_bodyless(response.status) {
        return Ok(Framing::None);
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}

/// Whether a response of this status never has a body (RFC 9112 §6.3).
pub const fn is_bodyless(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

/// What the fields declare; `None` when they are silent.
fn declared(fields: &Fields<'_>, version: Version) -> Result<Option<Framing>, What> {
    match (fields.transfer_encoding, fields.content_length) {
        (Seen::Never, Seen::Never) => Ok(None),
        (Seen::Never, Seen::Once(length)) => match header::decimal(length) {
            Some(0) => Ok(Some(Framing::None)),
            Some(length) => Ok(Some(Framing::Length(length))),
            None => Err(What::BadFraming),
        },
        (Seen::Once(coding), Seen::Never) if version == Version::Http11 => chunked(coding).map(Some),
        _ => Err(What::BadFraming),
    }
}

/// `Chunked` for exactly `chunked`, in any case.
fn chunked(coding: &[u8]) -> Result<Framing, What> {
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    Err(if is_foreign(coding) { What::UnknownCoding } else { What::BadFraming })
}

/// Whether a list of codings is well formed and merely beyond us: tokens only, none of them `identity`, and either alone or with
/// one `chunked`, at the end.
fn is_foreign(codings: &[u8]) -> bool {
    let count = codings.split(|&b| b == b',').count();
    codings.split(|&b| b == b',').map(header::trim).enumerate().all(|(at, coding)| {
        let is_last = at + 1 == count;
        let ends_list = is_last && count > 1;
        header::is_token(coding)
            && !coding.eq_ignore_ascii_case(b"identity")
            && coding.eq_ignore_ascii_case(b"chunked") == ends_list
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{header_space, parse_request, parse_response};

    fn of_request(version: &str, lines: &str) -> Result<Framing, What> {
        let head = format!("POST / {version}\r\nHost: h\r\n{lines}\r\n");
        let mut space = header_space();
        request(&parse_request(head.as_bytes(), &mut space)?)
    }

    fn of_response(status: &str, lines: &str, to_head: bool) -> Result<Framing, What> {
        let head = format!("{status}\r\n{lines}\r\n");
        let mut space = header_space();
        response(&parse_response(head.as_bytes(), &mut space)?, to_head)
    }

    /// Shapes no reader agrees on, for requests and responses alike.
    const AMBIGUOUS: [&str; 42] = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nX: y\r\ncontent-length: 0\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nX: y\r\nCONTENT-LENGTH: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5a\r\n",
        "Content-Length: a\r\n",
        "Content-Length: 1 2\r\n",
        "Content-Length: 1\t2\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 1_000\r\n",
        "Content-Length: \"5\"\r\n",
        "Content-Length:\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 00000000000000000005\r\n",
        "Content-Length: \u{661}\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: gzip, deflate\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: ,\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: , chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: 'chunked';\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: chunk ed\r\n",
        "Transfer-Encoding: chunked\u{a0}\r\n",
    ];

    #[test]
    fn ambiguous_requests_are_refused() {
        for lines in AMBIGUOUS {
            assert_eq!(of_request("HTTP/1.1", lines), Err(What::BadFraming), "{lines:?}");
        }
    }

    #[test]
    fn ambiguous_responses_are_refused_even_without_a_body() {
        for lines in AMBIGUOUS {
            for (status, to_head) in
                [("HTTP/1.1 200 OK", false), ("HTTP/1.1 200 OK", true), ("HTTP/1.1 304 No", false)]
            {
                assert_eq!(of_response(status, lines, to_head), Err(What::BadResponse), "{lines:?}");
            }
        }
    }

    #[test]
    fn foreign_codings_are_unknown_in_requests_and_bad_in_responses() {
        for coding in ["gzip", "x-gzip", "compress", "xchunked", "gzip, chunked", "GZIP,deflate ,Chunked"] {
            let lines = format!("Transfer-Encoding: {coding}\r\n");
            assert_eq!(of_request("HTTP/1.1", &lines), Err(What::UnknownCoding), "{coding}");
            assert_eq!(of_response("HTTP/1.1 200 OK", &lines, false), Err(What::BadResponse), "{coding}");
        }
    }

    #[test]
    fn control_bytes_never_get_this_far() {
        for lines in [
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: chunked\x00\r\n",
            "Content-Length: 5\x0c\r\n",
        ] {
            assert_eq!(of_request("HTTP/1.1", lines), Err(What::BadHeader), "{lines:?}");
        }
    }

    #[test]
    fn chunked_on_http_1_0_is_refused() {
        let lines = "Transfer-Encoding: chunked\r\n";
        assert_eq!(of_request("HTTP/1.0", lines), Err(What::BadFraming));
        assert_eq!(of_request("HTTP/1.0", "Transfer-Encoding: gzip\r\n"), Err(What::BadFraming));
        assert_eq!(of_response("HTTP/1.0 200 OK", lines, false), Err(What::BadResponse));
    }

    #[test]
    fn plain_requests_have_their_length() {
        for (lines, framing) in [
            ("", Framing::None),
            ("Content-Length: 0\r\n", Framing::None),
            ("Content-Length: 000\r\n", Framing::None),
            ("Content-Length:  42 \r\n", Framing::Length(42)),
            ("content-length: 9999999999999999999\r\n", Framing::Length(9_999_999_999_999_999_999)),
            ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
            ("transfer-ENCODING: \tChunKed \r\n", Framing::Chunked),
        ] {
            assert_eq!(of_request("HTTP/1.1", lines), Ok(framing), "{lines:?}");
        }
    }

    #[test]
    fn responses_end_as_their_status_says() {
        let cl = "Content-Length: 7\r\n";
        let te = "Transfer-Encoding: chunked\r\n";
        for (status, lines, to_head, framing) in [
            ("HTTP/1.1 200 OK", "", false, Framing::UntilClose),
            ("HTTP/1.0 200 OK", "", false, Framing::UntilClose),
            ("HTTP/1.1 200 OK", cl, false, Framing::Length(7)),
            ("HTTP/1.0 200 OK", cl, false, Framing::Length(7)),
            ("HTTP/1.1 200 OK", te, false, Framing::Chunked),
            ("HTTP/1.1 200 OK", cl, true, Framing::None),
            ("HTTP/1.1 200 OK", te, true, Framing::None),
            ("HTTP/1.1 200 OK", "", true, Framing::None),
            ("HTTP/1.1 100 Continue", cl, false, Framing::None),
            ("HTTP/1.1 101 Switching", "", false, Framing::None),
            ("HTTP/1.1 204 No Content", cl, false, Framing::None),
            ("HTTP/1.1 304 Not Modified", cl, false, Framing::None),
            ("HTTP/1.1 205 Reset", "Content-Length: 0\r\n", false, Framing::None),
        ] {
            assert_eq!(of_response(status, lines, to_head), Ok(framing), "{status} {lines:?}");
        }
    }
}
