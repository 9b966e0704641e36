//! A TLS origin inside the test: it shows the certificate the test gave it last, and answers every request with its own
//! path.

use crate::pki::Issued;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Debug)]
struct Shown {
    key: Mutex<Arc<CertifiedKey>>,
    connections: AtomicUsize,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(&self.key.lock().expect("no thread panics")))
    }
}

fn certified(own: &Issued, others: &[&Issued]) -> Arc<CertifiedKey> {
    let chain = std::iter::once(own).chain(others.iter().copied()).map(Issued::der).collect();
    let key = aws_lc_rs::sign::any_supported_type(&own.private_key()).expect("a key of ours");
    Arc::new(CertifiedKey::new(chain, key))
}

/// The origin.
pub struct SecureOrigin {
    pub address: SocketAddr,
    shown: Arc<Shown>,
}

impl SecureOrigin {
    /// Shows `own`, with `others` above it.
    pub fn start(own: &Issued, others: &[&Issued]) -> Self {
        let shown =
            Arc::new(Shown { key: Mutex::new(certified(own, others)), connections: AtomicUsize::new(0) });
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as _);
        // Full handshakes only, so that every connection is about the certificate.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        // The threads end with the process: each waits for a peer that is gone by then.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                thread::spawn(move || serve(stream, config));
            }
        });
        Self { address, shown }
    }

    /// Shows another certificate from now on.
    pub fn show(&self, own: &Issued, others: &[&Issued]) {
        *self.shown.key.lock().expect("no thread panics") = certified(own, others);
    }

    /// How many handshakes were begun.
    pub fn handshakes(&self) -> usize {
        self.shown.connections.load(Ordering::Relaxed)
    }

    /// As a target.
    pub fn target(&self) -> String {
        format!("https://{}", self.address)
    }
}

/// Until the peer leaves or breaks.
fn serve(stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let connection = ServerConnection::new(config).ok()?;
    let mut reader = BufReader::new(StreamOwned::new(connection, stream));
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        }
        write!(reader.get_mut(), "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()).ok()?;
    }
}
