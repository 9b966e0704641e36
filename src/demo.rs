//! `apim-proxy demo`: the main job in one command, without a network: an embedded origin, the proxy beside it, one
//! request through both, and the three sides of it printed.

use crate::cli::Arguments;
use crate::config::sources::Effective;
use crate::credentials::load::Credentials;
use crate::server::Server;
use crate::server::maxima::{Machine, Maxima};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// How long each side waits for the other before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Fixes what the demo needs: the rest of the command line counts as it does when serving.
pub fn prepare(arguments: &mut Arguments) {
    for (key, value) in [
        ("server.address", "127.0.0.1"),
        ("server.port", "0"),
        ("server.ssl.enabled", "false"),
        ("server.workers", "1"),
        ("proxy.ip.allow", "127.0.0.1"),
        ("proxy.target.allow", "127.0.0.1"),
    ] {
        arguments.flags.push((key.into(), value.into()));
    }
}

/// Shows one request.
///
/// # Errors
/// A sentence that says what stood in the way.
pub fn run(effective: &Effective, credentials: &Credentials) -> Result<(), String> {
    let text = show(effective, credentials)?;
    io::stdout().write_all(text.as_bytes()).map_err(|error| format!("cannot print: {error}"))
}

fn show(effective: &Effective, credentials: &Credentials) -> Result<String, String> {
    let maxima = Maxima::compute(effective, &Machine::look())?;
    let server = Server::start(effective, credentials, &maxima)?;
    let proxy = server.addresses()[0];
    let origin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| cannot("open the origin", &e))?;
    let target = origin.local_addr().map_err(|e| cannot("open the origin", &e))?;
    let seen = thread::spawn(move || serve_once(&origin));
    let request = format!(
        "GET /v1/bank/accounts?limit=500 HTTP/1.1\r\nHost: {proxy}\r\nx-target-host: http://{target}\r\n\
         x-api-tran-id: 0000000000M00000000000001\r\nConnection: close\r\n\r\n"
    );
    let answer = ask(proxy, &request).map_err(|e| cannot("ask the proxy", &e))?;
    let seen = seen.join().map_err(|_| "the origin failed".to_owned())?;
    let seen = seen.map_err(|e| cannot("serve the request", &e))?;
    server.drain();
    Ok(picture(proxy, target, &request, &seen, &answer))
}

fn cannot(what: &str, error: &io::Error) -> String {
    format!("the demo cannot {what}: {error}")
}

/// The origin: answers one request and returns what it saw.
fn serve_once(origin: &TcpListener) -> io::Result<String> {
    let (mut stream, _) = origin.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut seen = Vec::new();
    let mut part = [0; 4096];
    while !seen.ends_with(b"\r\n\r\n") {
        let n = stream.read(&mut part)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen.extend_from_slice(&part[..n]);
    }
    let body = r#"{"rsp_code":"00000","rsp_msg":"success"}"#;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(String::from_utf8_lossy(&seen).into_owned())
}

fn ask(proxy: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(proxy)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn picture(proxy: SocketAddr, target: SocketAddr, request: &str, seen: &str, answer: &str) -> String {
    let mut text = String::new();
    for (title, bytes) in [
        (format!("1. the client sends to the proxy ({proxy})"), request),
        (format!("2. the origin ({target}) receives"), seen),
        ("3. the client gets the origin's answer".to_owned(), answer),
    ] {
        let _ = writeln!(text, "{title}\n");
        for line in bytes.lines() {
            let _ = writeln!(text, "    {line}");
        }
        text.push('\n');
    }
    text
}
