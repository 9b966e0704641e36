//! Real handshakes: rustls against rustls in memory, with any certificate whatever its form, and rustls against
//! `openssl s_server`.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use apim_proxy::tls::client_verify::ClientVerifier;
use apim_proxy::tls::verify::ServerVerifier;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection, SignatureScheme};
use rustls::{SupportedProtocolVersion, version};

use crate::pki::Issued;

pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

/// Shows one chain, whatever it is: rustls's own resolvers refuse certificates that webpki cannot read.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn shows(chain: &[Issued]) -> Arc<Shows> {
    let key = any_supported_type(&chain[0].private_key()).expect("a key rustls signs with");
    let chain = chain.iter().map(Issued::der).collect();
    Arc::new(Shows(Arc::new(CertifiedKey::new(chain, key))))
}

/// A client that verifies as `verifier` says.
pub fn client(verifier: Arc<ServerVerifier>, version: &'static SupportedProtocolVersion) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

/// What our client says of a server that shows `chain`.
pub fn of_server(client: ClientConfig, chain: &[Issued], host: &'static str) -> Result<(), Error> {
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(Arc::new(NoClientAuth))
        .with_cert_resolver(shows(chain));
    let name = ServerName::try_from(host).expect("a host");
    let mut client = ClientConnection::new(Arc::new(client), name).expect("a client");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
    shake(&mut client, &mut server).0
}

/// What our server says of a client that shows `chain`; none when it shows nothing.
pub fn of_client(
    verifier: Arc<ClientVerifier>,
    trusting: Arc<ServerVerifier>,
    own: &[Issued],
    chain: Option<&[Issued]>,
    version: &'static SupportedProtocolVersion,
) -> Result<(), Error> {
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shows(own));
    let mut config = client(trusting, version);
    if let Some(chain) = chain {
        config.client_auth_cert_resolver = shows(chain);
    }
    let name = ServerName::try_from("localhost").expect("a host");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
    shake(&mut client, &mut server).1
}

/// Carries bytes until both are done or one is not content.
fn shake(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> (Result<(), Error>, Result<(), Error>) {
    let (mut of_client, mut of_server) = (Ok(()), Ok(()));
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory takes all");
        }
        of_server = of_server.and(feed(&bytes, |bytes| {
            server.read_tls(bytes).expect("memory gives all");
            server.process_new_packets().map(|_| ())
        }));
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("memory takes all");
        }
        of_client = of_client.and(feed(&bytes, |bytes| {
            client.read_tls(bytes).expect("memory gives all");
            client.process_new_packets().map(|_| ())
        }));
    }
    let done = !client.is_handshaking() && !server.is_handshaking();
    assert!(done || of_client.is_err() || of_server.is_err(), "the handshake ends");
    (of_client, of_server)
}

fn feed(mut bytes: &[u8], mut take: impl FnMut(&mut &[u8]) -> Result<(), Error>) -> Result<(), Error> {
    while !bytes.is_empty() {
        take(&mut bytes)?;
    }
    Ok(())
}

/// What our client says of `openssl s_server` with this certificate.
pub fn of_openssl(client: ClientConfig, chain: &[Issued], host: &'static str) -> Result<(), Error> {
    let mut openssl = Peer::start(&chain[0]);
    let mut socket = TcpStream::connect(("127.0.0.1", openssl.port())).expect("openssl listens");
    let name = ServerName::try_from(host).expect("a host");
    let mut client = ClientConnection::new(Arc::new(client), name).expect("a client");
    while client.is_handshaking() {
        if let Err(error) = client.complete_io(&mut socket) {
            let error = error.into_inner().expect("a failure of TLS, not of the socket");
            return Err(*error.downcast::<Error>().expect("an error of rustls"));
        }
    }
    Ok(())
}

/// A running `openssl s_server`.
struct Peer(Child);

impl Peer {
    fn start(issued: &Issued) -> Self {
        let child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-cipher", "DEFAULT@SECLEVEL=0"])
            .arg("-cert")
            .arg(&issued.certificate)
            .arg("-key")
            .arg(&issued.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        Self(child)
    }

    /// It says so once it listens: `ACCEPT 127.0.0.1:40123`.
    fn port(&mut self) -> u16 {
        let output = self.0.stdout.take().expect("its output is ours");
        let mut lines = BufReader::new(output).lines();
        let line = lines.find_map(|line| line.ok().filter(|line| line.starts_with("ACCEPT")));
        let line = line.expect("openssl listens");
        line.rsplit(':').next().and_then(|port| port.trim().parse().ok()).expect("a port")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
