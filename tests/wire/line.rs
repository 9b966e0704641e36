//! One connection as its party sees it: what it sends, what it must receive, how it must end.

use socket2::{Domain, SockRef, Socket, Type};
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long something that must come may take before the transcript fails.
pub const PATIENCE: Duration = Duration::from_secs(8);
/// How long a failure waits for the rest of the wrong bytes, to show them.
pub const AFTERMATH: Duration = Duration::from_millis(200);

/// One end of a connection.
pub struct Line {
    /// `None`: its party has closed it.
    stream: Option<TcpStream>,
    /// The proxy has ended it.
    over: bool,
    half_closed: bool,
    /// It leads to a reverse listener.
    pub reverse: bool,
}

impl Line {
    /// A client's, to `to`, from an address of its own if one is named.
    pub fn dial(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
        let to = match from {
            Some(ip) if to.ip().is_unspecified() => SocketAddr::new(ip, to.port()),
            _ => to,
        };
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(ip) = from {
            socket.bind(&SocketAddr::new(ip, 0).into())?;
        }
        socket.connect(&to.into())?;
        Self::new(socket.into())
    }

    /// Of a connected stream.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: Some(stream), over: false, half_closed: false, reverse: false })
    }

    fn stream(&mut self) -> Result<&mut TcpStream, String> {
        self.stream.as_mut().ok_or_else(|| "it is closed already".to_owned())
    }

    /// Sends all of it, at once or with one write for each byte.
    pub fn send(&mut self, bytes: &[u8], bytewise: bool) -> Result<(), String> {
        let stream = self.stream()?;
        let mut pieces = bytes.chunks(if bytewise { 1 } else { bytes.len().max(1) });
        pieces.try_for_each(|piece| stream.write_all(piece)).map_err(|error| format!("cannot send: {error}"))
    }

    /// Receives exactly `expected`.
    pub fn receive(&mut self, expected: &[u8]) -> Result<(), String> {
        let stream = self.stream()?;
        let mut got = Vec::with_capacity(expected.len());
        let mut part = vec![0; 64 * 1024];
        while got.len() < expected.len() {
            let room = part.len().min(expected.len() - got.len());
            let why = match stream.read(&mut part[..room]) {
                Ok(0) => "then the connection was closed".to_owned(),
                Ok(n) => {
                    got.extend_from_slice(&part[..n]);
                    if expected.starts_with(&got) {
                        continue;
                    }
                    "which is something else".to_owned()
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => format!("then nothing more came: {error}"),
            };
            got.extend(rest_of(stream));
            return Err(format!("expected\n{}received\n{}{why}", show(expected), show(&got)));
        }
        Ok(())
    }

    /// The stream ends here.
    pub fn is_closed(&mut self) -> Result<(), String> {
        self.end()?.map_err(|error| format!("expected a close: {error}"))
    }

    /// The connection is reset here.
    pub fn is_reset(&mut self) -> Result<(), String> {
        match self.end()? {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(format!("expected a reset: {error}")),
            Ok(()) => Err("expected a reset, but the stream was closed".to_owned()),
        }
    }

    /// How the connection ends.
    fn end(&mut self) -> Result<io::Result<()>, String> {
        self.over = true;
        let stream = self.stream()?;
        let mut part = [0; 4096];
        match stream.read(&mut part) {
            Ok(0) => Ok(Ok(())),
            Ok(n) => {
                let more = [&part[..n], &rest_of(stream)].concat();
                Err(format!("expected the end, received\n{}", show(&more)))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Asks something that the proxy answers by itself.
    pub fn is_kept(&mut self) -> Result<(), String> {
        let (probe, answer) = if self.reverse {
            let sentence = b"the path of the request leads above its root or is not escaped properly";
            (&b"GET /% HTTP/1.1\r\nHost: proxy\r\n\r\n"[..], own_answer(400, "bad_path", false, sentence)?)
        } else {
            let sentence = b"you have to include x-target-host header";
            let probe = &b"GET /is-it-kept HTTP/1.1\r\nHost: proxy\r\n\r\n"[..];
            (probe, own_answer(403, "target_missing", false, sentence)?)
        };
        let kept = self.send(probe, false).and_then(|()| self.receive(&answer));
        kept.map_err(|what| format!("is not kept, or received more than was said: {what}"))
    }

    /// Ends its stream.
    pub fn half_close(&mut self) -> Result<(), String> {
        self.half_closed = true;
        self.stream()?.shutdown(Shutdown::Write).map_err(|error| format!("cannot half-close: {error}"))
    }

    /// Closes it.
    pub fn close(&mut self) {
        self.stream = None;
    }

    /// Closes it with a reset.
    pub fn reset(&mut self) -> Result<(), String> {
        let stream = self.stream.take().ok_or("it is closed already")?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(|error| error.to_string())
    }

    /// An answer of the proxy's own, if that is what waits to be received.
    pub fn refusal(&self) -> io::Result<Option<String>> {
        let Some(stream) = &self.stream else { return Ok(None) };
        let mut part = [0; 4096];
        stream.set_nonblocking(true)?;
        let peeked = stream.peek(&mut part);
        stream.set_nonblocking(false)?;
        let waiting = &part[..peeked.unwrap_or(0)];
        let is_own = waiting.windows(13).any(|window| window == b"X-Proxy-Error");
        Ok(is_own.then(|| show(waiting)))
    }

    /// At the end of a transcript: the client is served, and received nothing that was not said.
    pub fn end_of_client(&mut self) -> Result<(), String> {
        if self.stream.is_none() || self.over {
            return Ok(());
        }
        if !self.half_closed {
            self.is_kept()?;
            self.half_close()?;
        }
        self.is_closed()
    }

    /// At the end of a transcript: the origin's connection is open, and it received nothing that was not said.
    pub fn end_of_origin(&mut self) -> Result<(), String> {
        if self.over {
            return Ok(());
        }
        let Some(stream) = &mut self.stream else { return Ok(()) };
        stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        let mut part = [0; 4096];
        match stream.read(&mut part) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(format!("expected to be kept: {error}")),
            Ok(0) => Err("expected to be kept, but was closed".to_owned()),
            Ok(n) => Err(format!("received more than was said:\n{}", show(&part[..n]))),
        }
    }
}

fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // Only for the message of a failure that is certain already.
    let _ = stream.set_read_timeout(Some(AFTERMATH));
    let _ = stream.take(16 * 1024).read_to_end(&mut rest);
    rest
}

/// An answer of the proxy's own, as the contract's §4 has it.
pub fn own_answer(status: u16, code: &str, close: bool, sentence: &[u8]) -> Result<Vec<u8>, String> {
    let reason = match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => return Err(format!("{status} is no status of ours")),
    };
    let mut text = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\
         X-Proxy-Error: {code}\r\n",
        sentence.len()
    );
    match status {
        405 => text += "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
        503 => text += "Retry-After: 1\r\n",
        _ => {}
    }
    if close {
        text += "Connection: close\r\n";
    }
    text += "\r\n";
    Ok([text.as_bytes(), sentence].concat())
}

/// Bytes for people: one line each, control bytes escaped, long ones shortened.
pub fn show(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 4096;
    let mut out = String::new();
    for line in bytes[..bytes.len().min(SHOWN_MAX)].split_inclusive(|&b| b == b'\n') {
        let _ = writeln!(out, "    {}", line.escape_ascii());
    }
    if bytes.len() > SHOWN_MAX {
        let _ = writeln!(out, "    … {} bytes in all", bytes.len());
    }
    out
}
