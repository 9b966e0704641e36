//! One client connection: a socket, its TLS if it has any, and the answer that is being read.
//!
//! ```text
//!   dial ──► handshake ──► asked ──► answered ─┐
//!            (the request goes  ▲              │ ask
//!             out with its end) └──────────────┘
//! ```
//!
//! The socket is registered once, edge-triggered. A read that fills less than [`CHUNK_BYTES`] has emptied the
//! socket; what comes later is a new event. An answer has to be a 200 with a `Content-Length`, everything else ends
//! the run: a load that forgives failures measures how fast they are.

use std::io::{self, BufRead, Error, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

/// Most bytes one `recv` takes.
const CHUNK_BYTES: usize = 32 * 1024;
/// Most header lines of an answer.
const HEADERS_MAX: usize = 32;
/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Where everybody connects to, and how.
pub struct Target {
    /// The port, on 127.0.0.1.
    pub port: u16,
    /// TLS settings, the session store included; `None` is plain HTTP.
    pub tls: Option<Arc<ClientConfig>>,
}

/// What is between the request and the socket.
enum Wire {
    /// Nothing but what the socket has not taken yet.
    Plain(Vec<u8>),
    Tls(Box<ClientConnection>),
}

/// How far the answer has been read.
enum Answer {
    /// None is awaited.
    None,
    /// The head is incomplete; these are its bytes so far.
    Head(Vec<u8>),
    /// The head is complete and these many bytes of the body are to come.
    Body(usize),
}

/// A connection with at most one request under way.
pub struct Session {
    socket: TcpStream,
    wire: Wire,
    answer: Answer,
    /// When the connection was dialled or the last request was made, whichever is later.
    pub began: Instant,
}

fn fault(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, what.into())
}

/// The socket is full or empty, or not connected yet.
fn not_yet(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

impl Session {
    /// Dials, and puts the first request into the flight that ends the handshake.
    pub fn dial(target: &Target, request: &[u8], registry: &Registry, token: Token) -> io::Result<Self> {
        let began = Instant::now();
        let mut socket = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, target.port)))?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        let name = ServerName::try_from("localhost").expect("localhost is a name");
        let wire = match &target.tls {
            Some(tls) => {
                Wire::Tls(Box::new(ClientConnection::new(Arc::clone(tls), name).map_err(Error::other)?))
            }
            None => Wire::Plain(Vec::new()),
        };
        let mut session = Self { socket, wire, answer: Answer::None, began };
        session.queue(request)?;
        Ok(session)
    }

    /// Makes the next request.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        self.began = Instant::now();
        self.queue(request)?;
        self.send()
    }

    fn queue(&mut self, request: &[u8]) -> io::Result<()> {
        self.answer = Answer::Head(Vec::new());
        match &mut self.wire {
            Wire::Plain(unsent) => unsent.extend_from_slice(request),
            Wire::Tls(tls) => tls.writer().write_all(request)?,
        }
        Ok(())
    }

    /// Whether the handshake was a resumption; only asked after an answer.
    pub fn resumed(&self) -> bool {
        matches!(&self.wire, Wire::Tls(tls) if tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Acts on an event; true when that completed an answer.
    pub fn turn(&mut self, chunk: &mut [u8]) -> io::Result<bool> {
        self.send()?;
        let awaited = !matches!(self.answer, Answer::None);
        while self.receive(chunk)? {}
        self.send()?;
        Ok(awaited && matches!(self.answer, Answer::None))
    }

    /// Says `close_notify`; the socket closes when this is dropped.
    pub fn close(mut self) -> io::Result<()> {
        if let Wire::Tls(tls) = &mut self.wire {
            tls.send_close_notify();
        }
        self.send()
    }

    /// Sends what is ready; what the socket does not take waits for the next event.
    fn send(&mut self) -> io::Result<()> {
        loop {
            let sent = match &mut self.wire {
                Wire::Plain(unsent) if unsent.is_empty() => return Ok(()),
                Wire::Plain(unsent) => self.socket.write(unsent).map(|count| drop(unsent.drain(..count))),
                Wire::Tls(tls) if !tls.wants_write() => return Ok(()),
                Wire::Tls(tls) => tls.write_tls(&mut self.socket).map(drop),
            };
            match sent {
                Err(error) if not_yet(&error) => return Ok(()),
                result => result?,
            }
        }
    }

    /// One `recv`; true when there may be more to read.
    fn receive(&mut self, chunk: &mut [u8]) -> io::Result<bool> {
        let count = match self.socket.read(chunk) {
            Ok(0) => return Err(fault("the peer closed a connection")),
            Ok(count) => count,
            Err(error) if not_yet(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        match &mut self.wire {
            Wire::Plain(_) => self.answer.take(&chunk[..count])?,
            Wire::Tls(tls) => take_records(tls, &mut self.answer, &chunk[..count])?,
        }
        Ok(count == chunk.len())
    }
}

/// Decrypts; what comes out belongs to the answer.
fn take_records(tls: &mut ClientConnection, answer: &mut Answer, mut records: &[u8]) -> io::Result<()> {
    while !records.is_empty() {
        tls.read_tls(&mut records)?;
        let state = tls.process_new_packets().map_err(Error::other)?;
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            let mut reader = tls.reader();
            let plain = reader.fill_buf()?;
            answer.take(plain)?;
            let count = plain.len();
            reader.consume(count);
            left -= count;
        }
        if state.peer_has_closed() {
            return Err(fault("the peer ended TLS on a connection"));
        }
    }
    Ok(())
}

impl Answer {
    /// Takes more bytes of an answer.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => return Err(fault("bytes that nobody asked for")),
            Self::Head(mut head) => {
                head.extend_from_slice(bytes);
                match body_bytes_left(&head)? {
                    Some(left) => Self::Body(left),
                    None if head.len() > HEAD_BYTES_MAX => return Err(fault("an endless head")),
                    None => Self::Head(head),
                }
            }
            Self::Body(left) => {
                let left = left.checked_sub(bytes.len()).ok_or_else(|| fault("a body that is too long"))?;
                Self::Body(left)
            }
        };
        if matches!(self, Self::Body(0)) {
            *self = Self::None;
        }
        Ok(())
    }
}

/// What remains to be read of the body of a 200 behind its complete head; `None` while the head is incomplete.
fn body_bytes_left(head: &[u8]) -> io::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(head).map_err(Error::other)? else {
        return Ok(None);
    };
    if response.code != Some(200) {
        return Err(fault(format!("an answer of status {}", response.code.unwrap_or(0))));
    }
    let body = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body = body.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let body = body.ok_or_else(|| fault("an answer without a Content-Length"))?;
    let left = body.checked_sub(head.len() - length).ok_or_else(|| fault("a body that is too long"))?;
    Ok(Some(left))
}

/// A buffer for [`Session::turn`].
pub fn chunk() -> Vec<u8> {
    vec![0; CHUNK_BYTES]
}
