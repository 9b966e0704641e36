//! The stage a transcript is played on: the proxy in this process, the clients and origins on loopback sockets.
//!
//! Nothing here waits for time to pass: every wait is for bytes or for an end that must come, and the bound on it is
//! only how a failure shows.

use crate::line::{AFTERMATH, Line, PATIENCE, own_answer, show};
use crate::transcript::{self, Act, Party, Step, Transcript};
use apim_proxy::cli::Arguments;
use apim_proxy::config::reading::Inputs;
use apim_proxy::config::sources::Effective;
use apim_proxy::credentials::load::Credentials;
use apim_proxy::policy::proxy_auth::Users;
use apim_proxy::server::Server;
use apim_proxy::server::maxima::{Machine, Maxima};
use apim_proxy::stats::Counter;
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

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
        // Where there is a reverse listener, it is the one that the transcript is about.
        let proxy = server.addresses()[server.addresses().len() - 1];
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
                self.line(party)?.close();
                Ok(())
            }
            Act::Resets => self.line(party)?.reset(),
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
        let mut line =
            Line::dial(self.proxy, from.transpose()?).map_err(|error| format!("cannot connect: {error}"))?;
        line.reverse = self.server.addresses().len() > 1;
        self.lines.insert(party.clone(), line);
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
                    self.look_for_refusals()?;
                    wait_readable(&self.listeners[&party.role]);
                }
                Err(error) => return Err(format!("nobody connected: {error}")),
            }
        };
        self.lines.insert(party.clone(), Line::new(stream).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// While an origin waits in vain, what the clients were told says why.
    fn look_for_refusals(&self) -> Result<(), String> {
        for (party, line) in self.lines.iter().filter(|(party, _)| party.role == "client") {
            if let Some(told) = line.refusal().map_err(|error| error.to_string())? {
                return Err(format!("nobody connected, and {party} was told:\n{told}"));
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

fn start(transcript: &Transcript, names: &BTreeMap<String, String>) -> Result<Server, String> {
    let mut flags: Vec<(String, String)> = [
        ("server.address", "127.0.0.1"),
        ("server.port", "0"),
        ("server.workers", "1"),
        ("proxy.target.allow", "127.0.0.1"),
        ("proxy.reverse.log.format", "off"),
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
    let credentials = Credentials { users: users(&transcript.settings)?, ..Credentials::default() };
    Server::start(&effective, &credentials, &Maxima::compute(&effective, &machine)?)
}

/// Who may use the proxy: the file of this folder that `proxy.auth.file` names.
fn users(settings: &[(String, String)]) -> Result<Option<Arc<Users>>, String> {
    let Some((_, file)) = settings.iter().find(|(key, _)| key == "proxy.auth.file") else { return Ok(None) };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire").join(file);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Users::parse(&text, &[7; 32]).map(|users| Some(Arc::new(users)))
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

/// Lets others run until `listener` may have a connection; only how a wait for one does not spin.
fn wait_readable(listener: &TcpListener) {
    let mut fds = [rustix::event::PollFd::new(listener, rustix::event::PollFlags::IN)];
    let tick = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    // An interrupted wait is looked at again by the caller.
    let _ = rustix::event::poll(&mut fds, Some(&tick));
}
