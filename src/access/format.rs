//! What a line says: `json`, one of httpd's named formats, or a `LogFormat` string, compiled once into parts.
//!
//! The directives are httpd's (mod_log_config, mod_logio, and the `%{…}x` of mod_ssl); `%{field}x` shows any field of the
//! JSON line as well. What is not known here is an error that names it: a column that silently stays empty is worse.

use crate::access::field::Field;
use crate::access::time_format::TimeFormat;
use crate::access::wanted::{Wanted, Whose};

/// A compiled format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Its parts in order.
    pub parts: Vec<Part>,
    /// Values are written as JSON has them.
    pub json: bool,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Itself.
    Text(Box<[u8]>),
    /// A value.
    Value(Value, Option<When>),
}

/// The statuses that a directive is for: `%400,501{…}i`, `%!200…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    statuses: Box<[u16]>,
    /// For all but those.
    negated: bool,
}

impl When {
    /// Whether a line with `status` has the value.
    pub fn holds(&self, status: u16) -> bool {
        self.statuses.contains(&status) != self.negated
    }
}

/// A unit of `%{…}T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Whole seconds.
    Seconds,
    /// Whole milliseconds.
    Millis,
    /// Microseconds.
    Micros,
}

/// A port of `%{…}p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The one the client named, or else ours.
    Named,
    /// Ours.
    Local,
    /// The client's.
    Remote,
}

/// What a directive shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A field of the JSON line.
    Field(Field),
    /// `%a %h`: the client's address.
    Client,
    /// `%A`: our address.
    Local,
    /// `%B`, and `%b` when nothing is `-`.
    Body {
        /// Nothing is `-`.
        dash: bool,
    },
    /// `%{name}C`: a cookie of the request header in that slot.
    Cookie(Box<[u8]>, u8),
    /// `%D`, `%T`.
    Took(Unit),
    /// `%H`.
    Protocol,
    /// `%{name}i`, `%{name}o`: the header in that slot.
    Header(u8),
    /// `%l %L`: what we never know.
    Nothing,
    /// `%m`.
    Method,
    /// `%p`.
    Port(Port),
    /// `%P`.
    Process,
    /// `%{tid}P`: the worker.
    Thread,
    /// `%q`.
    Query,
    /// `%r`.
    Request,
    /// `%s`, `%>s`.
    Status,
    /// `%t`.
    Time(TimeFormat),
    /// `%u`.
    User,
    /// `%U`.
    Path,
    /// `%v %V`: the name the client asked for.
    Server,
    /// `%X`: how the connection stands.
    Fate,
    /// `%k`: requests before this one.
    KeepAlives,
    /// `%I`.
    Received,
    /// `%O`.
    Sent,
    /// `%S`.
    Transferred,
    /// `%{SSL_PROTOCOL}x`.
    SslProtocol,
    /// `%{SSL_CIPHER}x`.
    SslCipher,
    /// `%{SSL_SESSION_RESUMED}x`.
    SslResumed,
}

/// httpd's own formats by name.
const NAMED: [(&str, &str); 6] = [
    ("common", "%h %l %u %t \"%r\" %>s %b"),
    ("combined", "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\""),
    ("combinedio", "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\" %I %O"),
    ("vhost_combined", "%v:%p %h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\""),
    ("referer", "%{Referer}i -> %U"),
    ("agent", "%{User-agent}i"),
];

/// What httpd writes to `ssl_request_log`.
pub const SSL_REQUEST: &str = "%t %h %{SSL_PROTOCOL}x %{SSL_CIPHER}x \"%r\" %b";

/// Longest format, in bytes.
const FORMAT_BYTES_MAX: usize = 4096;

impl Format {
    /// Compiles `json`, the name of a format, or a `LogFormat` string; the headers it shows get slots of `wanted`.
    ///
    /// # Errors
    /// What is wrong, and with which directive.
    pub fn compile(text: &str, wanted: &mut Wanted) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("json") {
            return Self::json(wanted);
        }
        let named = NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let text = named.map_or(text, |(_, format)| format);
        if !text.contains('%') {
            let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
            return Err(format!("is neither json nor {} nor a LogFormat string", names.join(" nor ")));
        }
        if text.len() > FORMAT_BYTES_MAX {
            return Err(format!("is longer than {FORMAT_BYTES_MAX} bytes"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            push_text(&mut parts, &literal(&rest[..at]));
            let mut directive = Directive::read(&rest[at..])?;
            let len = directive.text.len();
            match directive.letter {
                '%' => push_text(&mut parts, b"%"),
                _ => parts.push(Part::Value(directive.value(wanted)?, directive.when.take())),
            }
            rest = &rest[at + len..];
        }
        push_text(&mut parts, &literal(rest));
        Ok(Self { parts, json: false })
    }

    fn json(wanted: &mut Wanted) -> Result<Self, String> {
        let mut parts = Vec::new();
        for (at, field) in Field::ALL.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            push_text(&mut parts, format!("{before}\"{}\":", field.name()).as_bytes());
            parts.push(Part::Value(field_value(*field, wanted)?, None));
        }
        push_text(&mut parts, b"}");
        Ok(Self { parts, json: true })
    }

    /// Whether it shows the TLS of the client.
    pub fn shows_client_tls(&self) -> bool {
        let tls = [Value::SslProtocol, Value::SslCipher, Value::SslResumed];
        self.parts.iter().any(|part| matches!(part, Part::Value(value, _) if tls.contains(value)))
    }

    /// Whether it shows our own address.
    pub fn shows_local(&self) -> bool {
        let local = [Value::Local, Value::Port(Port::Local), Value::Port(Port::Named)];
        self.parts.iter().any(|part| matches!(part, Part::Value(value, _) if local.contains(value)))
    }

    /// Whether it shows the user of proxy authentication.
    pub fn shows_user(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Value(Value::User, _)))
    }
}

/// A field that is a request's header is one with a slot.
fn field_value(field: Field, wanted: &mut Wanted) -> Result<Value, String> {
    Ok(match field.header() {
        Some(name) => Value::Header(wanted.slot(Whose::Request, name)?),
        None => Value::Field(field),
    })
}

fn push_text(parts: &mut Vec<Part>, text: &[u8]) {
    match parts.last_mut() {
        _ if text.is_empty() => {}
        Some(Part::Text(before)) => *before = [before, text].concat().into(),
        Some(Part::Value(..)) | None => parts.push(Part::Text(text.into())),
    }
}

/// The escapes of httpd's configuration; a line stays one line.
fn literal(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(b't') => out.push(b'\t'),
                Some(b'n' | b'r') => out.push(b' '),
                Some(other) => out.push(other),
                None => out.push(b'\\'),
            },
            other => out.push(other),
        }
    }
    out
}

/// `%…{…}x` taken apart.
struct Directive<'a> {
    /// All of it.
    text: &'a str,
    when: Option<When>,
    /// What stands between the braces.
    argument: Option<&'a str>,
    letter: char,
}

impl<'a> Directive<'a> {
    /// Reads the directive that `text` begins with.
    fn read(text: &'a str) -> Result<Self, String> {
        let unfinished = || format!("`{text}` is no complete directive");
        let mut at = 1;
        let mut statuses = Vec::new();
        let (mut negated, mut argument) = (false, None);
        loop {
            let rest = text.get(at..).ok_or_else(unfinished)?;
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            match rest.chars().next().ok_or_else(unfinished)? {
                '!' => negated = true,
                // Which of two requests, before and after an internal redirect: there is only one here.
                '<' | '>' | ',' => {}
                '{' => {
                    let end = rest.find('}').ok_or_else(unfinished)?;
                    argument = Some(&rest[1..end]);
                    at += end;
                }
                '0'..='9' => {
                    let status = rest[..digits].parse::<u16>().ok().filter(|n| (100..1000).contains(n));
                    statuses.push(status.ok_or_else(|| format!("`{}` is no status", &rest[..digits]))?);
                    at += digits - 1;
                }
                letter => {
                    let when = (negated || !statuses.is_empty())
                        .then(|| When { statuses: statuses.into(), negated });
                    let text = &text[..at + letter.len_utf8()];
                    return Ok(Self { text, when, argument, letter });
                }
            }
            at += 1;
        }
    }

    fn value(&self, wanted: &mut Wanted) -> Result<Value, String> {
        let known = match self.argument {
            None => Self::plain(self.letter),
            Some(argument) => {
                self.with(argument, wanted).map_err(|what| format!("`{}`: {what}", self.text))?
            }
        };
        known.ok_or_else(|| format!("`{}` is not a directive of LogFormat that is known here", self.text))
    }

    // A flat table.
    fn plain(letter: char) -> Option<Value> {
        Some(match letter {
            'a' | 'h' => Value::Client,
            'A' => Value::Local,
            'b' => Value::Body { dash: true },
            'B' => Value::Body { dash: false },
            'D' => Value::Took(Unit::Micros),
            'H' => Value::Protocol,
            'I' => Value::Received,
            'k' => Value::KeepAlives,
            'l' | 'L' => Value::Nothing,
            'm' => Value::Method,
            'O' => Value::Sent,
            'p' => Value::Port(Port::Named),
            'P' => Value::Process,
            'q' => Value::Query,
            'r' => Value::Request,
            's' => Value::Status,
            'S' => Value::Transferred,
            't' => Value::Time(TimeFormat::clf()),
            'T' => Value::Took(Unit::Seconds),
            'u' => Value::User,
            'U' => Value::Path,
            'v' | 'V' => Value::Server,
            'X' => Value::Fate,
            _ => return None,
        })
    }

    fn with(&self, argument: &str, wanted: &mut Wanted) -> Result<Option<Value>, String> {
        Ok(Some(match (self.letter, argument) {
            ('a', "c") => Value::Client,
            ('C', name) => Value::Cookie(name.as_bytes().into(), wanted.slot(Whose::Request, "Cookie")?),
            ('i', name) => Value::Header(wanted.slot(Whose::Request, name)?),
            ('o', name) => Value::Header(wanted.slot(Whose::Answer, name)?),
            ('p', "canonical") => Value::Port(Port::Named),
            ('p', "local") => Value::Port(Port::Local),
            ('p', "remote") => Value::Port(Port::Remote),
            ('P', "pid") => Value::Process,
            ('P', "tid") => Value::Thread,
            ('t', format) => Value::Time(TimeFormat::parse(format)?),
            ('T', "s") => Value::Took(Unit::Seconds),
            ('T', "ms") => Value::Took(Unit::Millis),
            ('T', "us") => Value::Took(Unit::Micros),
            ('x', "SSL_PROTOCOL") => Value::SslProtocol,
            ('x', "SSL_CIPHER") => Value::SslCipher,
            ('x', "SSL_SESSION_RESUMED") => Value::SslResumed,
            ('x', name) => match Field::ALL.iter().find(|field| field.name() == name) {
                Some(field) => field_value(*field, wanted)?,
                None => return Ok(None),
            },
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<Value> {
        let format = Format::compile(text, &mut Wanted::default()).expect(text);
        let value = |part| if let Part::Value(value, _) = part { Some(value) } else { None };
        format.parts.into_iter().filter_map(value).collect()
    }

    #[test]
    fn directives_become_values() {
        assert_eq!(values("%h %>s %<s %%"), [Value::Client, Value::Status, Value::Status]);
        assert_eq!(
            values("%{ms}T%{X-A}i%{x-a}i%{x-a}o"),
            [Value::Took(Unit::Millis), Value::Header(0), Value::Header(0), Value::Header(1)]
        );
        assert_eq!(values("%{code}x %{tran_id}x"), [Value::Field(Field::Code), Value::Header(0)]);
        for (name, _) in NAMED {
            assert!(!values(name).is_empty(), "{name}");
        }
        assert_eq!(values(SSL_REQUEST).len(), 6);
        assert_eq!(values("json").len(), Field::ALL.len());
    }

    #[test]
    fn texts_between_them_stay() {
        let format = Format::compile(r#"a%%b \"%m\"\t%m\\"#, &mut Wanted::default()).expect("a format");
        let text = |text: &[u8]| Part::Text(text.into());
        let method = || Part::Value(Value::Method, None);
        assert_eq!(format.parts, [text(b"a%b \""), method(), text(b"\"\t"), method(), text(b"\\")]);
    }

    #[test]
    fn a_directive_may_be_for_some_statuses() {
        let format = Format::compile("%400,501{User-agent}i %!200,304m", &mut Wanted::default());
        let when = |part: &Part| match part {
            Part::Value(_, when) => when.clone(),
            Part::Text(_) => None,
        };
        let whens: Vec<When> = format.expect("a format").parts.iter().filter_map(when).collect();
        assert!(whens[0].holds(400) && whens[0].holds(501) && !whens[0].holds(200));
        assert!(whens[1].holds(400) && !whens[1].holds(200) && !whens[1].holds(304));
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (text, expected) in [
            ("%h %f", "`%f` is not a directive of LogFormat that is known here"),
            ("%{SSL_NONE}x", "`%{SSL_NONE}x` is not a directive of LogFormat that is known here"),
            ("%{Foo}^ti", "`%{Foo}^` is not a directive of LogFormat that is known here"),
            ("%{min}T", "`%{min}T` is not a directive of LogFormat that is known here"),
            ("%{%Q}t", "`%{%Q}t`: `%Q` is no conversion of a time"),
            ("%{a b}i", "`%{a b}i`: `a b` cannot be the name of a header"),
            ("%h %", "`%` is no complete directive"),
            ("%{a", "`%{a` is no complete directive"),
            ("%20s", "`20` is no status"),
            (
                "jsn",
                "is neither json nor common nor combined nor combinedio nor vhost_combined nor referer nor agent nor a LogFormat string",
            ),
        ] {
            assert_eq!(Format::compile(text, &mut Wanted::default()), Err(expected.to_owned()));
        }
    }
}
