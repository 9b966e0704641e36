//! A line: the values of one exchange, written as its format has them.

use crate::access::escape;
use crate::access::format::{Format, Part, Port, Unit, Value};
use crate::access::mask::{Url, unescape};
use crate::access::pen::{Pen, View};
use crate::access::stamp::Stamp;

/// Writes the line of an exchange, its end included.
pub fn write(
    format: &Format,
    view: &View<'_>,
    stamp: &mut Stamp,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) {
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
            Some(value) => pen.masked(|out| view.mask.header(view.wanted.name(*slot), value, out)),
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
        Value::Query => match record.target().map(Url::of) {
            Some(url) => pen.maybe_empty(|out| view.mask.query(url.query, out)),
            None => {}
        },
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
        Value::SslResumed => pen.tls(view.closing.client_tls.as_ref(), |tls| if tls.resumed { "Resumed" } else { "Initial" }),
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

