//! An origin that remembers whole requests and says what it is asked to: the header `X-Say` holds its status and header
//! lines, separated by `|`.

use crate::process::PATIENCE;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its first line.
    pub line: String,
    /// Its header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body without framing.
    pub body: Vec<u8>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub struct Recorder {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Recorder {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&asked);
        // The threads end with the process: each waits for a peer that is gone by then.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = Arc::clone(&theirs);
                thread::spawn(move || serve(&stream, &asked));
            }
        });
        Self { address, asked }
    }

    /// What it was asked since the last time.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().expect("no thread panics"))
    }
}

/// Until the peer leaves or breaks.
fn serve(stream: &TcpStream, all: &Mutex<Vec<Asked>>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut asked = Asked { line: read_line(&mut reader)?, ..Asked::default() };
        loop {
            let line = read_line(&mut reader)?;
            let Some((name, value)) = line.split_once(':') else { break };
            asked.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if asked.header("transfer-encoding").is_some() {
            while let Some(size) = Some(usize::from_str_radix(&read_line(&mut reader)?, 16).ok()?) {
                let at = asked.body.len();
                asked.body.resize(at + size, 0);
                reader.read_exact(&mut asked.body[at..]).ok()?;
                read_line(&mut reader)?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = asked.header("content-length") {
            asked.body = vec![0; length.parse().ok()?];
            reader.read_exact(&mut asked.body).ok()?;
        }
        let say = asked.header("x-say").unwrap_or("200 OK").replace('|', "\r\n");
        let bodyless = asked.line.starts_with("HEAD ") || say.starts_with("204") || say.starts_with("304");
        let body = if bodyless { "" } else { "Content-Length: 5\r\n\r\nhello" };
        all.lock().expect("no thread panics").push(asked);
        let end = if body.is_empty() { "\r\n" } else { "" };
        write!(&mut &*stream, "HTTP/1.1 {say}\r\n{end}{body}").ok()?;
    }
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    Some(line.trim_end_matches(['\r', '\n']).to_owned())
}
