//! A client that speaks bytes: for what no library would send, and to see exactly what came back.

use crate::process::PATIENCE;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// An answer, taken apart only as far as needed to find its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The head with its blank line.
    pub head: String,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    /// Status and `X-Proxy-Error`.
    pub fn refusal(&self) -> (u16, Option<&str>) {
        (self.status, self.header("x-proxy-error"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text was expected")
    }
}

/// How an answer can fail to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The connection ended before any byte of it.
    Nothing,
    /// The connection ended inside it: these bytes came.
    Truncated(Vec<u8>),
}

/// A connection and what was received but not yet used.
pub struct Client {
    pub stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("it listens")
    }

    pub fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket option");
        Some(Self { stream, received: Vec::new() })
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the peer reads");
    }

    /// Asks for `path` of `target` by GET; says whether the connection took it.
    pub fn try_request(&mut self, target: SocketAddr, path: &str) -> bool {
        let head = format!("GET {path} HTTP/1.1\r\nHost: proxy\r\nx-target-host: http://{target}\r\n\r\n");
        self.stream.write_all(head.as_bytes()).is_ok()
    }

    /// Asks for `path` of `target`, headers and body as given.
    pub fn request(&mut self, method: &str, target: SocketAddr, path: &str, rest: &str) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: proxy\r\nx-target-host: http://{target}\r\n");
        self.send(head + if rest.is_empty() { "\r\n" } else { rest });
    }

    /// A GET and its answer.
    #[track_caller]
    pub fn get(&mut self, target: SocketAddr, path: &str) -> Answer {
        self.request("GET", target, path, "");
        self.answer()
    }

    /// A GET of `path` from `target`, a URL without a path, and its answer.
    #[track_caller]
    pub fn get_from(&mut self, target: &str, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: proxy\r\nx-target-host: {target}\r\n\r\n"));
        self.answer()
    }

    /// A GET without a target: for origins.
    pub fn ask_for_body(&mut self, path: &str) -> Option<Vec<u8>> {
        self.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: origin\r\n\r\n").as_bytes()).ok()?;
        Some(self.try_answer().ok()?.body)
    }

    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer().unwrap_or_else(|lack| panic!("no whole answer came: {lack:?}"))
    }

    /// The next answer, to a HEAD.
    #[track_caller]
    pub fn head_answer(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().expect("an answer comes");
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let head = String::from_utf8(head).expect("heads are ASCII here");
        let status = head.get(9..12).and_then(|digits| digits.parse().ok()).expect("a status line");
        Answer { status, head, body: Vec::new() }
    }

    /// The next answer, interim or final, to anything but HEAD.
    #[track_caller]
    pub fn try_answer(&mut self) -> Result<Answer, Lack> {
        let end = loop {
            if let Some(at) = find(&self.received, b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.received[..end].to_vec()).expect("heads are ASCII here");
        let status = head.get(9..12).and_then(|digits| digits.parse().ok()).expect("a status line");
        let mut answer = Answer { status, head, body: Vec::new() };
        let mut at = end;
        if status < 200 || status == 204 || status == 304 {
            // Nothing follows the head.
        } else if answer.header("transfer-encoding") == Some("chunked") {
            at = self.chunks(end, &mut answer.body)?;
        } else if let Some(length) = answer.header("content-length") {
            at += length.parse::<usize>().expect("a length");
            while self.received.len() < at {
                self.more()?;
            }
            answer.body = self.received[end..at].to_vec();
        } else {
            while self.more().is_ok() {}
            at = self.received.len();
            answer.body = self.received[end..].to_vec();
        }
        self.received.drain(..at);
        Ok(answer)
    }

    fn chunks(&mut self, mut at: usize, body: &mut Vec<u8>) -> Result<usize, Lack> {
        loop {
            let line = loop {
                if let Some(end) = find(&self.received[at..], b"\r\n") {
                    break at + end;
                }
                self.more()?;
            };
            let digits = std::str::from_utf8(&self.received[at..line]).expect("a chunk line");
            let size = usize::from_str_radix(digits, 16).expect("a chunk size");
            while self.received.len() < line + 2 + size + 2 {
                self.more()?;
            }
            body.extend_from_slice(&self.received[line + 2..line + 2 + size]);
            at = line + 2 + size + 2;
            if size == 0 {
                return Ok(at);
            }
        }
    }

    /// Receives some more, or says how the connection ended.
    #[track_caller]
    fn more(&mut self) -> Result<(), Lack> {
        let mut part = [0; 16 * 1024];
        match self.stream.read(&mut part) {
            Ok(n) if n > 0 => {
                self.received.extend_from_slice(&part[..n]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came; so far: {:?}", String::from_utf8_lossy(&self.received))
            }
            Ok(_) | Err(_) if self.received.is_empty() => Err(Lack::Nothing),
            Ok(_) | Err(_) => Err(Lack::Truncated(self.received.clone())),
        }
    }

    /// Waits for these bytes without using them.
    #[track_caller]
    pub fn until_received(&mut self, bytes: &[u8]) {
        while find(&self.received, bytes).is_none() {
            self.more().expect("the connection lives");
        }
    }

    /// Whether the peer closes now, without another byte.
    #[track_caller]
    pub fn is_closed(&mut self) -> bool {
        self.received.is_empty() && self.more() == Err(Lack::Nothing)
    }
}

pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
