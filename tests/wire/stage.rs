//! The stage a transcript is played on: the proxy in this process, the clients and origins on loopback sockets.
//!
//! Nothing here waits for time to pass: every wait is for bytes or for an end that must come, and the bound on it is
//! only how a failure shows.

use crate::transcript::{self, Act, Party, Step, Transcript};
use apim_proxy::cli::Arguments;
use apim_proxy::config::reading::Inputs;
use apim_proxy::config::sources::Effective;
use apim_proxy::server::Server;
use apim_proxy::server::maxima::{Machine, Maxima};
use apim_proxy::stats::Counter;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long something that must come may take before the transcript fails.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a failure waits for the rest of the wrong bytes, to show them.
const AFTERMATH: Duration = Duration::from_millis(200);

/// Plays `transcript` from its first step to the sweep after its last.
///
/// # Errors
/// The line, what was expected and what came.
pub fn play(transcript: &Transcript) -> Result<(), String> {
    let mut stage = Stage::set(transcript)?;
    for step in &transcript.steps {
        stage.act(step).map_err(|what| format!("line {}: {}: {what}", step.line, step.party))?;
    }
    stage.sweep()
}

/// One connection as its party sees it.
struct Line {
    stream: Option<TcpStream>,
    /// The peer has ended it.
    over: bool,
    half_closed: bool,
}

struct Stage {
    server: Server,
    proxy: SocketAddr,
    names: BTreeMap<String, String>,
    listeners: BTreeMap<String, TcpListener>,
    lines: BTreeMap<Party, Line>,
    /// Sockets that only have to exist: the one that refuses, the one whose queue is full.
    _props: Vec<Socket>,
}

impl Stage {
    fn set(transcript: &Transcript) -> Result<Self, String> {
        let open =
            |at: &str| TcpListener::bind(at).map_err(|error| format!("cannot listen at {at}: {error}"));
        let (mut names, mut listeners) = (BTreeMap::new(), BTreeMap::new());
        for (role, at) in [("origin", "127.0.0.1:0"), ("other", "127.0.0.1:0"), ("origin6", "[::1]:0")] {
            let listener = open(at)?;
            listener.set_nonblocking(true).map_err(|error| error.to_string())?;
            name(&mut names, role, listener.local_addr().map_err(|error| error.to_string())?);
            listeners.insert(role.to_owned(), listener);
        }
        let props = props(&mut names).map_err(|error| format!("cannot set the stage: {error}"))?;
        let server = start(transcript, &names)?;
        let proxy = server.addresses()[0];
        name(&mut names, "proxy", proxy);
        Ok(Self { server, proxy, names, listeners, lines: BTreeMap::new(), _props: props })
    }

    fn bytes(&self, text: &str) -> Result<Vec<u8>, String> {
        transcript::bytes(text, &self.names)
    }

    fn act(&mut self, step: &Step) -> Result<(), String> {
        let party = &step.party;
        match &step.act {
            Act::ConnectsFrom(address) => self.connect(party, Some(address)),
            Act::IsUntouched => self.is_untouched(&party.role),
            Act::Drains => {
                self.server.drain();
                Ok(())
            }
            Act::Sends { text, bytewise } => {
                let bytes = self.bytes(text)?;
                self.line(party)?.send(&bytes, *bytewise)
            }
            Act::Receives(text) => {
                let bytes = self.bytes(text)?;
                self.line(party)?.receive(&bytes)
            }
            Act::IsRefused { status, code, close, sentence } => {
                let sentence = self.bytes(sentence)?;
                let line = self.line(party)?;
                line.receive(&own_answer(*status, code, *close, &sentence)?)?;
                if *close { line.is_closed() } else { Ok(()) }
            }
            Act::IsClosed => self.line(party)?.is_closed(),
            Act::IsReset => self.line(party)?.is_reset(),
            Act::IsKept => self.line(party)?.is_kept(),
            Act::HalfCloses => self.line(party)?.half_close(),
            Act::Closes => {
                self.line(party)?.stream = None;
                Ok(())
            }
            Act::Resets => {
                let line = self.line(party)?;
                let stream = line.stream.take().ok_or("it is closed already")?;
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(|error| error.to_string())
            }
        }
    }

    /// The connection of `party`; the first mention of it connects or accepts.
    fn line(&mut self, party: &Party) -> Result<&mut Line, String> {
        if !self.lines.contains_key(party) {
            if party.role == "client" {
                self.connect(party, None)?;
            } else {
                self.accept(party)?;
            }
        }
        self.lines.get_mut(party).ok_or_else(|| "it is not there".to_owned())
    }

    fn connect(&mut self, party: &Party, from: Option<&str>) -> Result<(), String> {
        let from = from.map(|address| address.parse().map_err(|_| format!("{address} is not an address")));
        let stream =
            dial(self.proxy, from.transpose()?).map_err(|error| format!("cannot connect: {error}"))?;
        self.lines.insert(party.clone(), Line { stream: Some(stream), over: false, half_closed: false });
        Ok(())
    }

    fn accept(&mut self, party: &Party) -> Result<(), String> {
        let known = self.lines.keys().filter(|other| other.role == party.role).count();
        if party.number != known + 1 {
            return Err(format!("the next connection of {} is number {}", party.role, known + 1));
        }
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match self.listeners[&party.role].accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                    self.tell_a_client_s_answer()?;
                    wait_readable(&self.listeners[&party.role]);
                }
                Err(error) => return Err(format!("nobody connected: {error}")),
            }
        };
        ready(&stream).map_err(|error| error.to_string())?;
        self.lines.insert(party.clone(), Line { stream: Some(stream), over: false, half_closed: false });
        Ok(())
    }

    /// While an origin waits in vain, what the clients were told says why.
    fn tell_a_client_s_answer(&self) -> Result<(), String> {
        for (party, line) in self.lines.iter().filter(|(party, _)| party.role == "client") {
            let Some(stream) = &line.stream else { continue };
            let mut part = [0; 4096];
            stream.set_nonblocking(true).map_err(|error| error.to_string())?;
            let peeked = stream.peek(&mut part);
            stream.set_nonblocking(false).map_err(|error| error.to_string())?;
            if let Ok(n) = peeked
                && n > 0
                && part.starts_with(b"HTTP/1.1 ")
                && memfind(&part[..n], b"X-Proxy-Error")
            {
                return Err(format!("nobody connected, and {party} was told:\n{}", show(&part[..n])));
            }
        }
        Ok(())
    }

    fn is_untouched(&self, role: &str) -> Result<(), String> {
        match self.listeners[role].accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok((mut stream, _)) => {
                let mut got = Vec::new();
                // Whatever it sent is shown; that it came at all is the failure.
                let _ = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(AFTERMATH)));
                let _ = stream.read_to_end(&mut got);
                Err(format!("{role} has a connection the transcript does not know, with\n{}", show(&got)))
            }
        }
    }

    /// What is not said must not have happened: every client still open is served, every origin still open is kept,
    /// nobody received another byte, nobody else was dialled, no worker failed.
    fn sweep(&mut self) -> Result<(), String> {
        let in_sweep = |party: &Party, what: String| format!("at the end: {party}: {what}");
        for (party, line) in self.lines.iter_mut().filter(|(party, _)| party.role == "client") {
            line.end_of_client().map_err(|what| in_sweep(party, what))?;
        }
        for (party, line) in self.lines.iter_mut().filter(|(party, _)| party.role != "client") {
            line.end_of_origin().map_err(|what| in_sweep(party, what))?;
        }
        for role in self.listeners.keys() {
            self.is_untouched(role).map_err(|what| format!("at the end: {what}"))?;
        }
        self.server.drain();
        match self.server.count(Counter::Panics) {
            0 => Ok(()),
            n => Err(format!("{n} workers panicked")),
        }
    }
}

impl Line {
    fn stream(&mut self) -> Result<&mut TcpStream, String> {
        self.stream.as_mut().ok_or_else(|| "it is closed already".to_owned())
    }

    fn send(&mut self, bytes: &[u8], bytewise: bool) -> Result<(), String> {
        let stream = self.stream()?;
        let mut pieces = bytes.chunks(if bytewise { 1 } else { bytes.len().max(1) });
        pieces.try_for_each(|piece| stream.write_all(piece)).map_err(|error| format!("cannot send: {error}"))
    }

    fn receive(&mut self, expected: &[u8]) -> Result<(), String> {
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

    fn is_closed(&mut self) -> Result<(), String> {
        self.over = true;
        match self.stream()?.read(&mut [0; 4096]) {
            Ok(0) => Ok(()),
            other => Err(self.instead("a close", other)),
        }
    }

    fn is_reset(&mut self) -> Result<(), String> {
        self.over = true;
        match self.stream()?.read(&mut [0; 4096]) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            other => Err(self.instead("a reset", other)),
        }
    }

    fn instead(&mut self, wanted: &str, read: io::Result<usize>) -> String {
        match read {
            Ok(0) => format!("expected {wanted}, but the stream ended"),
            Ok(n) => {
                let rest = self.stream.as_mut().map(rest_of).unwrap_or_default();
                format!("expected {wanted}, received {n} bytes more, behind which came\n{}", show(&rest))
            }
            Err(error) => format!("expected {wanted}: {error}"),
        }
    }

    /// Asks something that the proxy answers by itself.
    fn is_kept(&mut self) -> Result<(), String> {
        const PROBE: &[u8] = b"GET /is-it-kept HTTP/1.1\r\nHost: proxy\r\n\r\n";
        self.send(PROBE, false)?;
        let sentence = b"you have to include x-target-host header";
        self.receive(&own_answer(403, "target_missing", false, sentence)?)
            .map_err(|what| format!("is not kept, or received more than was said: {what}"))
    }

    fn half_close(&mut self) -> Result<(), String> {
        self.half_closed = true;
        self.stream()?.shutdown(Shutdown::Write).map_err(|error| format!("cannot half-close: {error}"))
    }

    fn end_of_client(&mut self) -> Result<(), String> {
        if self.stream.is_none() || self.over {
            return Ok(());
        }
        if !self.half_closed {
            self.is_kept()?;
            self.half_close()?;
        }
        self.is_closed()
    }

    fn end_of_origin(&mut self) -> Result<(), String> {
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

fn start(transcript: &Transcript, names: &BTreeMap<String, String>) -> Result<Server, String> {
    let mut flags: Vec<(String, String)> = [
        ("server.address", "127.0.0.1"),
        ("server.port", "0"),
        ("server.workers", "1"),
        ("proxy.target.allow", "127.0.0.1"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec();
    for (key, value) in &transcript.settings {
        flags.retain(|(known, _)| known != key);
        flags.push((key.clone(), transcript::expand(value, names)));
    }
    // Neither the environment nor a file of the machine has a say.
    let nowhere = PathBuf::from("/nonexistent");
    let inputs = Inputs {
        arguments: Arguments { flags, ..Arguments::default() },
        environment: Vec::new(),
        working_folder: nowhere.clone(),
        program_folder: nowhere,
    };
    let effective = Effective::load(&inputs);
    if effective.has_errors() || !effective.unknown.is_empty() {
        return Err(format!("the settings are refused: {:?} {:?}", effective.problems, effective.unknown));
    }
    let machine = Machine { cores: 1, files: 4096, memory: 256 << 20 };
    Server::start(&effective, &Maxima::compute(&effective, &machine)?)
}

fn name(names: &mut BTreeMap<String, String>, role: &str, address: SocketAddr) {
    names.insert(role.to_owned(), address.to_string());
    names.insert(format!("{role}.port"), address.port().to_string());
}

/// `{closed}` refuses connections; `{silent}` never answers them, for its queue is full.
fn props(names: &mut BTreeMap<String, String>) -> io::Result<Vec<Socket>> {
    let local: SockAddr = SocketAddr::from(([127, 0, 0, 1], 0)).into();
    let bound = || -> io::Result<(Socket, SockAddr)> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&local)?;
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    let (closed, at) = bound()?;
    name(names, "closed", at.as_socket().expect("an IPv4 socket"));
    let (silent, at) = bound()?;
    name(names, "silent", at.as_socket().expect("an IPv4 socket"));
    silent.listen(0)?;
    let mut props = vec![closed, silent];
    for _ in 0..3 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        filler.set_nonblocking(true)?;
        // In progress is all it ever gets to be.
        let _ = filler.connect(&at);
        props.push(filler);
    }
    Ok(props)
}

fn dial(to: SocketAddr, from: Option<std::net::IpAddr>) -> io::Result<TcpStream> {
    let to = from.map_or(to, |ip| {
        SocketAddr::new(if ip.is_loopback() && to.ip().is_unspecified() { ip } else { to.ip() }, to.port())
    });
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Some(ip) = from {
        socket.bind(&SocketAddr::new(ip, 0).into())?;
    }
    socket.connect(&to.into())?;
    let stream = TcpStream::from(socket);
    ready(&stream)?;
    Ok(stream)
}

fn ready(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

/// Lets others run until `listener` may have a connection; only how a wait for one does not spin.
fn wait_readable(listener: &TcpListener) {
    let mut fds = [rustix::event::PollFd::new(listener, rustix::event::PollFlags::IN)];
    let tick = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    // An interrupted wait is looked at again by the caller.
    let _ = rustix::event::poll(&mut fds, Some(&tick));
}

fn rest_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // Only for the message of a failure that is certain already.
    let _ = stream.set_read_timeout(Some(AFTERMATH));
    let _ = stream.take(16 * 1024).read_to_end(&mut rest);
    rest
}

fn memfind(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// An answer of the proxy's own, as the contract's §4 has it.
fn own_answer(status: u16, code: &str, close: bool, sentence: &[u8]) -> Result<Vec<u8>, String> {
    let reason = match status {
        400 => "Bad Request",
        403 => "Forbidden",
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
fn show(bytes: &[u8]) -> String {
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
