//! A line: the values of one exchange, written as its format has them.

use crate::access::escape;
use crate::access::format::{Format, Part, Port, Unit, Value};
use crate::access::mask::{Secrecy, Url, unescape};
use crate::access::pen::{Pen, View};
use crate::access::stamp::Stamp;

/// Writes the line of an exchange, its end included.
pub fn write(format: &Format, view: &View<'_>, stamp: &mut Stamp, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    let mut pen = Pen { out, json: format.json, stamp, scratch };
    for part in &format.parts {
        match part {
            Part::Text(text) => pen.out.extend_from_slice(text),
            Part::Value(_, Some(when)) if !when.holds(view.record.status) => pen.nothing(),
            Part::Value(value, _) => write_value(value, view, &mut pen),
        }
    }
    out.push(b'\n');
}

// A flat table.
fn write_value(value: &Value, view: &View<'_>, pen: &mut Pen<'_>) {
    let record = view.record;
    match value {
        Value::Field(field) => field.write(view, pen),
        Value::Client => pen.address(view.closing.client.ip()),
        Value::Local => match view.closing.local {
            Some(local) => pen.address(local.ip().to_canonical()),
            None => pen.nothing(),
        },
        Value::Body { dash: true } if record.body == 0 => pen.nothing(),
        Value::Body { .. } => pen.number(record.body),
        Value::Cookie(name, slot) => pen.cookie(record.header(*slot), name, view.mask.on),
        Value::Took(unit) => {
            let micros = view.closing.ended.micros_since(record.began);
            pen.number(match unit {
                Unit::Seconds => micros / 1_000_000,
                Unit::Millis => micros / 1000,
                Unit::Micros => micros,
            });
        }
        Value::Protocol => pen.text(record.protocol().map(str::as_bytes)),
        Value::Header(slot) => match record.header(*slot) {
            Some(value) => match view.wanted.secrecy(*slot) {
                Secrecy::None => pen.text(Some(value)),
                secrecy => pen.masked(|out| view.mask.value(secrecy, value, out)),
            },
            None => pen.nothing(),
        },
        Value::Nothing => pen.nothing(),
        Value::Method => pen.text(record.method()),
        Value::Port(port) => match port_of(*port, view) {
            Some(port) => pen.number(port.into()),
            None => pen.nothing(),
        },
        Value::Process => pen.number(view.process.into()),
        Value::Thread => pen.number(view.closing.worker as u64),
        Value::Query => {
            let url = record.target().map(Url::of).unwrap_or_default();
            pen.maybe_empty(|out| view.mask.query(url.query, out));
        }
        Value::Request => write_request(view, pen),
        Value::Status if record.status == 0 => pen.nothing(),
        Value::Status => pen.number(record.status.into()),
        Value::Time(format) => {
            let at = if format.end { view.closing.ended } else { record.began };
            format.write(pen.stamp, at, pen.out);
        }
        Value::User => pen.text(record.user()),
        Value::Path => match record.target().map(Url::of) {
            Some(url) => pen.masked(|out| {
                view.mask.path(url.path, out);
                decode(out);
            }),
            None => pen.nothing(),
        },
        Value::Server => pen.text(record.host().map(without_port)),
        Value::Fate if record.aborted => pen.word("X"),
        Value::Fate => pen.word(if view.closing.keeps { "+" } else { "-" }),
        Value::KeepAlives => pen.number(view.closing.requests.saturating_sub(1).into()),
        Value::Received => pen.number(record.received),
        Value::Sent => pen.number(record.sent),
        Value::Transferred => pen.number(record.received + record.sent),
        Value::SslProtocol => pen.tls(view.closing.client_tls.as_ref(), |tls| tls.version),
        Value::SslCipher => pen.tls(view.closing.client_tls.as_ref(), |tls| tls.suite),
        Value::SslResumed => {
            pen.tls(view.closing.client_tls.as_ref(), |tls| if tls.resumed { "Resumed" } else { "Initial" });
        }
    }
}

fn port_of(port: Port, view: &View<'_>) -> Option<u16> {
    let local = view.closing.local.map(|local| local.port());
    match port {
        Port::Remote => Some(view.closing.client.port()),
        Port::Local => local,
        Port::Named => {
            let host = view.record.host()?;
            let digits = host.get(without_port(host).len() + 1..);
            let named = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            named.or(local)
        }
    }
}

/// The host of `host:port`.
fn without_port(host: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', host) {
        Some(colon) if !host.ends_with(b"]") => &host[..colon],
        _ => host,
    }
}

/// `GET /path HTTP/1.1`, or the first line of what could not be read.
fn write_request(view: &View<'_>, pen: &mut Pen<'_>) {
    let record = view.record;
    let known = record.method().zip(record.target()).zip(record.protocol());
    if let Some(((method, target), protocol)) = known {
        escape::log(method, pen.out);
        pen.out.push(b' ');
        pen.masked(|out| view.mask.url(target, out));
        pen.out.push(b' ');
        pen.out.extend_from_slice(protocol.as_bytes());
        return;
    }
    match record.garbage() {
        Some(line) => pen.masked(|out| {
            // Whatever word of it is the target.
            for (at, word) in line.split(|byte| *byte == b' ').enumerate() {
                if at > 0 {
                    out.push(b' ');
                }
                view.mask.url(word, out);
            }
        }),
        None => pen.nothing(),
    }
}

/// Replaces escapes (RFC 3986 §2.1) by what they stand for, as `%U` has it.
fn decode(text: &mut Vec<u8>) {
    let (mut read, mut written) = (0, 0);
    while let Some((byte, rest)) = unescape(text.get(read..).unwrap_or_default()) {
        read = text.len() - rest.len();
        text[written] = byte;
        written += 1;
    }
    text.truncate(written);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::mask::{MASK_PATHS, Mask};
    use crate::access::pen::Closing;
    use crate::access::record::{Door, Phase, Record, Reuse, TargetTls, Tls};
    use crate::access::stamp::Wall;
    use crate::access::{Sheet, Stream};
    use crate::fault::What;
    use crate::http::head::{header_space, parse_request, parse_response};
    use crate::time::Now;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    const HEAD: &str = "GET /cards/45%201?a=b%22 HTTP/1.1\r\nHost: api.example:8080\r\nUser-Agent: a \"b\" \\ \u{e9}\r\n\
        Referer: http://u:p@r/x?y=z\r\nCookie: k=v; s=1\r\nx-api-tran-id: T\"1\r\nAuthorization: Bearer x\r\n\r\n";

    const CLOSING: Closing<'static> = Closing {
        client: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 40_000),
        local: None,
        client_tls: None,
        worker: 1,
        route: Some("https://bank.example:443"),
        fault: None,
        requests: 3,
        keeps: true,
        ended: Now(2_345_678),
    };

    fn record(format: &str) -> (Sheet, Record) {
        let sheet = Sheet::of(&[(Stream::Transactions, format)]).expect(format);
        let mut record = Record::default();
        record.renew(Door::Forward, Now(1_000_000));
        let mut space = header_space();
        let request = parse_request(HEAD.as_bytes(), &mut space).expect("a request");
        record.take_request(&request, HEAD.len(), &sheet.wanted, Now(1_000_100));
        (sheet, record)
    }

    fn answered(format: &str) -> (Sheet, Record) {
        let (sheet, mut record) = record(format);
        let mut space = header_space();
        let head = b"HTTP/1.1 200 OK\r\nServer: s\r\n\r\n";
        let response = parse_response(head, &mut space).expect("an answer");
        record.take_answer(&response, &sheet.wanted, Now(1_300_100));
        (record.sent, record.body) = (1234, 1000);
        (sheet, record)
    }

    fn line(sheet: &Sheet, record: &Record, closing: &Closing<'_>, masked: bool) -> String {
        let patterns = (MASK_PATHS.parse)(MASK_PATHS.default).expect("the default");
        let mask = Mask { on: masked, patterns };
        let mut stamp = Stamp::default();
        stamp.sync(Now(0), || Wall { origin: 1_764_046_800_123_456, zone: 9 * 3600 });
        let view = View { record, closing, mask: &mask, wanted: &sheet.wanted, process: 77 };
        let (mut scratch, mut out) = (Vec::new(), Vec::new());
        write(&sheet.lines[0].1, &view, &mut stamp, &mut scratch, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    fn shown(format: &str, masked: bool) -> String {
        let (sheet, record) = answered(format);
        line(&sheet, &record, &CLOSING, masked)
    }

    #[test]
    fn a_combined_line_is_httpds() {
        assert_eq!(
            shown("combined", false),
            "10.0.0.1 - - [25/Nov/2025:14:00:01 +0900] \"GET /cards/45%201?a=b%22 HTTP/1.1\" 200 1000 \
             \"http://r/x?y=z\" \"a \\\"b\\\" \\\\ \\xc3\\xa9\"\n"
                .replace("http://r", "http://u:p@r")
        );
        assert_eq!(
            shown("combined", true),
            "10.0.0.1 - - [25/Nov/2025:14:00:01 +0900] \"GET /cards/***?a=*** HTTP/1.1\" 200 1000 \
             \"http://r/x?y=***\" \"a \\\"b\\\" \\\\ \\xc3\\xa9\"\n"
        );
    }

    #[test]
    fn every_directive_has_its_value() {
        for (format, expected) in [
            ("%a %h %l %u %m %H %s %>s", "10.0.0.1 10.0.0.1 - - GET HTTP/1.1 200 200"),
            ("%B %b %I %O %S", "1000 1000 177 1234 1411"),
            ("%D %T %{ms}T %{us}T %{s}T", "1345678 1 1345 1345678 1"),
            ("%U %q", "/cards/45 1 ?a=b%22"),
            ("%v %V %p %{remote}p %{local}p %A", "api.example api.example 8080 40000 - -"),
            ("%P %{tid}P %k %X %L", "77 1 2 + -"),
            ("%{Server}o %{X-None}i %{k}C %{none}C", "s - v -"),
            ("%400{User-agent}i %!400{Authorization}i", "- Bearer x"),
            ("%{end:usec_frac}t", "469134"),
            ("%{SSL_PROTOCOL}x %{SSL_CIPHER}x", "- -"),
            ("%{target}x %{first_byte_ms}x %{tran_id}x", "https://bank.example:443 300.000 T\\\"1"),
        ] {
            assert_eq!(shown(format, false), format!("{expected}\n"), "{format}");
        }
        assert_eq!(shown("%{Authorization}i %{k}C %U%q %{Cookie}i", true), "*** *** /cards/***?a=*** ***\n");
    }

    #[test]
    fn a_json_line_says_everything_it_knows() {
        let (sheet, mut record) = answered("json");
        for (phase, now) in [
            (Phase::Dns, 1_000_200),
            (Phase::Connect, 1_001_700),
            (Phase::Tls, 1_003_200),
            (Phase::Other, 1_010_000),
        ] {
            record.enter(phase, Now(now));
        }
        let tls = Tls { version: "TLSv1.3", suite: "TLS_AES_128_GCM_SHA256", resumed: true };
        let address = "[2001:db8::1]:443".parse().expect("an address");
        record.take_link(Reuse::New, address, Some(&TargetTls { tls, serial: Some("123-45".to_owned()) }));
        assert_eq!(
            line(&sheet, &record, &CLOSING, true),
            "{\"time\":\"2025-11-25T14:00:01.123+09:00\",\"client\":\"10.0.0.1\",\"listener\":\"forward\",\"worker\":1,\
             \"method\":\"GET\",\"target\":\"https://bank.example:443\",\"address\":\"[2001:db8::1]:443\",\
             \"path\":\"/cards/***?a=***\",\"status\":200,\"bytes_in\":177,\"bytes_out\":1234,\"total_ms\":1345.678,\
             \"queue_ms\":0,\"dns_ms\":1.500,\"connect_ms\":1.500,\"tls_ms\":6.800,\"first_byte_ms\":300.000,\
             \"connection\":\"new\",\"tls\":\"TLSv1.3\",\"session\":\"resumed\",\"serial\":\"123-45\",\"retries\":0,\
             \"code\":null,\"by\":null,\"tran_id\":\"T\\\"1\",\"api_type\":null}\n"
        );
    }

    #[test]
    fn what_was_no_request_has_a_line_as_well() {
        let sheet = Sheet::of(&[(Stream::Transactions, "\"%r\" %m %U %>s %b %X %{code}x %{by}x %v")])
            .expect("a format");
        let closing = Closing { fault: Some(What::BadRequestLine), keeps: false, route: None, ..CLOSING };
        let mut record = Record::default();
        record.take_garbage(b"G/T http://u:p@h/a?b=c \x16\"\r\nAuthorization: x\r\n");
        record.answer_ourselves(400, 30, Now(5));
        assert_eq!(
            line(&sheet, &record, &closing, true),
            "\"G/T http://h/a?b=*** \\x16\\\"\" - - 400 30 - bad_request client -\n"
        );
        record.renew(Door::Forward, Now(0));
        record.aborted = true;
        assert_eq!(line(&sheet, &record, &closing, true), "\"-\" - - - - X bad_request client -\n");
    }
}
