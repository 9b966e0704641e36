//! The fields of a JSON line, by name; any line can show them.

use crate::access::mask::Url;
use crate::access::pen::{Pen, View};
use crate::access::record::{Phase, Reuse};
use crate::fault::Blame;

macro_rules! fields {
    ($( $name:ident $text:literal $help:literal; )*) => {
        /// A field of the JSON line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Field { $( #[doc = $help] $name, )* }

        impl Field {
            /// Every field, in the order of the line.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// What it says.
            pub const fn help(self) -> &'static str {
                match self { $( Self::$name => $help, )* }
            }
        }
    };
}

fields! {
    Time "time" "When the first byte of the request arrived, local time with its offset.";
    Client "client" "The client's address.";
    Listener "listener" "Kind of the listener: `forward` or `reverse`.";
    Worker "worker" "Number of the worker.";
    Method "method" "The method.";
    Target "target" "Where the request was to go: scheme, host and port.";
    Address "address" "The address and port that was dialled last, or that the pooled connection leads to.";
    Path "path" "Path and query, masked.";
    Status "status" "The status the client was told; `null` when it left before.";
    BytesIn "bytes_in" "Bytes of the request, head included (in TLS: of its plain text).";
    BytesOut "bytes_out" "Bytes sent to the client, heads included (in TLS: of their plain text).";
    Total "total_ms" "Milliseconds from the first byte of the request to the last of the answer.";
    Queue "queue_ms" "Of these, waiting for a permit of the pool, or for a TLS handshake of others with the same target.";
    Dns "dns_ms" "Of these, resolving the target.";
    Connect "connect_ms" "Of these, connecting.";
    TlsTime "tls_ms" "Of these, the TLS handshake with the target.";
    FirstByte "first_byte_ms" "From the complete head of the request to the head of the answer.";
    Connection "connection" "The connection to the target: `new` or `reused`.";
    Tls "tls" "Its TLS version.";
    Session "session" "Its TLS handshake: `full` or `resumed`.";
    Serial "serial" "SERIALNUMBER in the subject of the target's certificate.";
    Retries "retries" "How often the request was sent again after a pooled connection failed.";
    Code "code" "The error code (`X-Proxy-Error`), if there is one.";
    By "by" "Whose fault that was: `client`, `policy`, `target` or `proxy`.";
    TranId "tran_id" "`x-api-tran-id` of the request.";
    ApiType "api_type" "`x-api-type` of the request.";
}

impl Field {
    /// The header of the request that it shows.
    pub const fn header(self) -> Option<&'static str> {
        match self {
            Self::TranId => Some("x-api-tran-id"),
            Self::ApiType => Some("x-api-type"),
            _ => None,
        }
    }

    /// Writes its value.
    // A flat table.
    pub fn write(self, view: &View<'_>, pen: &mut Pen<'_>) {
        let record = view.record;
        let waited = |phase| record.span(phase, view.closing.ended);
        match self {
            Self::Time => pen.time(record.began),
            Self::Client => pen.address(view.closing.client.ip()),
            Self::Listener => pen.word(record.door.name()),
            Self::Worker => pen.number(view.closing.worker as u64),
            Self::Method => pen.text(record.method()),
            Self::Target => pen.text(view.closing.route.map(str::as_bytes)),
            Self::Address => match record.address {
                Some(address) => pen.socket(address),
                None => pen.nothing(),
            },
            Self::Path => match record.target().map(Url::of) {
                Some(url) => pen.masked(|out| {
                    view.mask.path(url.path, out);
                    view.mask.query(url.query, out);
                }),
                None => pen.nothing(),
            },
            Self::Status if record.status == 0 => pen.nothing(),
            Self::Status => pen.number(record.status.into()),
            Self::BytesIn => pen.number(record.received),
            Self::BytesOut => pen.number(record.sent),
            Self::Total => pen.millis(view.closing.ended.micros_since(record.began)),
            Self::Queue => pen.millis(waited(Phase::Queue)),
            Self::Dns => pen.millis(waited(Phase::Dns)),
            Self::Connect => pen.millis(waited(Phase::Connect)),
            Self::TlsTime => pen.millis(waited(Phase::Tls)),
            Self::FirstByte => match record.asked.zip(record.answered) {
                Some((asked, answered)) => pen.millis(answered.micros_since(asked)),
                None => pen.nothing(),
            },
            Self::Connection => match record.reuse {
                Reuse::None => pen.nothing(),
                Reuse::New => pen.word("new"),
                Reuse::Reused => pen.word("reused"),
            },
            Self::Tls => match record.tls {
                Some(tls) => pen.word(tls.version),
                None => pen.nothing(),
            },
            Self::Session => match record.tls {
                Some(tls) => pen.word(if tls.resumed { "resumed" } else { "full" }),
                None => pen.nothing(),
            },
            Self::Serial => pen.text(record.serial()),
            Self::Retries => pen.number(record.retries.into()),
            Self::Code => match view.closing.fault {
                Some(what) => pen.word(what.code()),
                None => pen.nothing(),
            },
            Self::By => match view.closing.fault.map(|what| what.fault().by) {
                None => pen.nothing(),
                Some(Blame::Client) => pen.word("client"),
                Some(Blame::Policy) => pen.word("policy"),
                Some(Blame::Upstream) => pen.word("target"),
                Some(Blame::Proxy) => pen.word("proxy"),
            },
            Self::TranId | Self::ApiType => unreachable!("headers have slots"),
        }
    }
}
