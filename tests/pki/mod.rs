//! Certificates for tests, made by the `openssl` command when a test wants them, of every kind that peers show: good,
//! old, odd and broken. Nothing here outlives the test.
//!
//! ```text
//! let pki = Pki::new();
//! let root = pki.root("Root");
//! let leaf = pki.issue(&root, &Order::server("api.bank.test").serial_number("123-45-67890"));
//! let store = pki.pem("trust", &[&root]);
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A kind of key. RSA keys are slow to make, so that one of each length serves a whole [`Pki`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    P256,
    P384,
    P521,
    Secp256k1,
    Ed25519,
    Rsa(u16),
    RsaPss,
}

impl KeyKind {
    fn arguments(self) -> Vec<String> {
        let words = match self {
            Self::P256 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256".to_owned(),
            Self::P384 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-384".to_owned(),
            Self::P521 => "-algorithm EC -pkeyopt ec_paramgen_curve:P-521".to_owned(),
            Self::Secp256k1 => "-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1".to_owned(),
            Self::Ed25519 => "-algorithm ED25519".to_owned(),
            Self::Rsa(bits) => format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}"),
            Self::RsaPss => "-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048".to_owned(),
        };
        words.split(' ').map(str::to_owned).collect()
    }
}

/// What a certificate is to say.
#[derive(Clone, Debug)]
pub struct Order {
    subject: String,
    key: KeyKind,
    extensions: Vec<String>,
    version1: bool,
    dates: Option<(&'static str, &'static str)>,
    digest: &'static str,
    number: Option<String>,
}

impl Order {
    /// A certificate of this subject (`/C=KR/CN=name`), version 3, without extensions that say anything.
    pub fn bare(subject: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            key: KeyKind::P256,
            extensions: Vec::new(),
            version1: false,
            dates: None,
            digest: "sha256",
            number: None,
        }
    }

    /// An authority.
    pub fn authority(name: &str) -> Self {
        Self::bare(&format!("/CN={name}"))
            .with("basicConstraints=critical,CA:TRUE")
            .with("keyUsage=critical,keyCertSign,cRLSign")
    }

    /// A server, named by subjectAltName only; an address becomes an IP name.
    pub fn server(host: &str) -> Self {
        let kind = if host.parse::<std::net::IpAddr>().is_ok() { "IP" } else { "DNS" };
        Self::leaf("/CN=a server")
            .with(&format!("subjectAltName={kind}:{host}"))
            .with("extendedKeyUsage=serverAuth")
    }

    /// A client.
    pub fn client(name: &str) -> Self {
        Self::leaf(&format!("/CN={name}")).with("extendedKeyUsage=clientAuth")
    }

    /// A certificate that is nobody's authority, without a purpose.
    pub fn leaf(subject: &str) -> Self {
        Self::bare(subject)
            .with("basicConstraints=critical,CA:FALSE")
            .with("keyUsage=critical,digitalSignature")
    }

    /// Another subject.
    pub fn subject(mut self, subject: &str) -> Self {
        subject.clone_into(&mut self.subject);
        self
    }

    /// The institution's number in the subject, not the certificate's own.
    pub fn serial_number(mut self, number: &str) -> Self {
        self.subject = format!("/serialNumber={number}{}", self.subject);
        self
    }

    /// One more extension, a line as in openssl's configuration; it replaces one of the same name. The sections
    /// `directory_kr` (C=KR, O=Bank) and `directory_us` (C=US) are there to refer to.
    pub fn with(mut self, line: &str) -> Self {
        let name = line.split('=').next().unwrap_or_default();
        self = self.without(name);
        self.extensions.push(line.to_owned());
        self
    }

    /// Without an extension.
    pub fn without(mut self, name: &str) -> Self {
        self.extensions.retain(|line| line.split('=').next() != Some(name));
        self
    }

    /// Another kind of key.
    pub fn key(mut self, key: KeyKind) -> Self {
        self.key = key;
        self
    }

    /// Version 1, which has no extensions.
    pub fn version1(mut self) -> Self {
        self.version1 = true;
        self
    }

    /// First and last moment, `YYYYMMDDHHMMSSZ`.
    pub fn dates(mut self, from: &'static str, to: &'static str) -> Self {
        self.dates = Some((from, to));
        self
    }

    /// Expired in 2015.
    pub fn expired(self) -> Self {
        self.dates("20140101000000Z", "20151028000000Z")
    }

    /// Signed with another digest.
    pub fn digest(mut self, digest: &'static str) -> Self {
        self.digest = digest;
        self
    }

    /// The certificate's own number, as openssl reads it (`0`, `-5`, `0x…`).
    pub fn number(mut self, number: &str) -> Self {
        self.number = Some(number.to_owned());
        self
    }

    fn configuration(&self, folder: &Path) -> String {
        let mut text = String::from("[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=x\n");
        if !self.version1 {
            text.push_str("[v3]\nsubjectKeyIdentifier=hash\n");
            for line in &self.extensions {
                text.push_str(line);
                text.push('\n');
            }
        }
        text.push_str("[directory_kr]\nC=KR\nO=Bank\n[directory_us]\nC=US\n");
        text.push_str("[ca]\ndefault_ca=own\n[own]\nrand_serial=yes\nunique_subject=no\npolicy=any\n");
        text.push_str("[any]\ncountryName=optional\norganizationName=optional\nserialNumber=optional\ncommonName=optional\n");
        text.replace(
            "[own]\n",
            &format!("[own]\ndatabase={0}/index\nnew_certs_dir={0}\nemail_in_dn=no\n", folder.display()),
        )
    }
}

/// A certificate and its key, in memory and as PEM files.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate's PEM file.
    pub certificate: PathBuf,
    /// The key's PEM file (PKCS #8).
    pub key: PathBuf,
}

impl Issued {
    pub fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.certificate).expect("openssl wrote a certificate")
    }

    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_file(&self.key).expect("openssl wrote a key")
    }
}

/// A folder of keys and certificates, gone when dropped.
pub struct Pki {
    folder: PathBuf,
    files: AtomicUsize,
    slow_keys: Mutex<Vec<(KeyKind, PathBuf)>>,
}

static FOLDERS: AtomicUsize = AtomicUsize::new(0);

impl Pki {
    pub fn new() -> Self {
        let number = FOLDERS.fetch_add(1, Relaxed);
        let folder = std::env::temp_dir().join(format!("apim-proxy-pki-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for keys");
        Self { folder, files: AtomicUsize::new(0), slow_keys: Mutex::default() }
    }

    /// A root authority.
    pub fn root(&self, name: &str) -> Issued {
        self.self_signed(&Order::authority(name))
    }

    /// A certificate that issued itself.
    pub fn self_signed(&self, order: &Order) -> Issued {
        self.make(None, order)
    }

    /// A certificate that `issuer` issued, whether it may or not.
    pub fn issue(&self, issuer: &Issued, order: &Order) -> Issued {
        self.make(Some(issuer), order)
    }

    /// Several certificates in one PEM file.
    pub fn pem(&self, name: &str, certificates: &[&Issued]) -> PathBuf {
        let texts = certificates.iter().map(|issued| fs::read(&issued.certificate).expect("a PEM file"));
        let path = self.folder.join(format!("{name}.pem"));
        fs::write(&path, texts.collect::<Vec<_>>().concat()).expect("a PEM file");
        path
    }

    fn path(&self, end: &str) -> PathBuf {
        self.folder.join(format!("{}.{end}", self.files.fetch_add(1, Relaxed)))
    }

    fn key(&self, kind: KeyKind) -> PathBuf {
        if !matches!(kind, KeyKind::Rsa(_) | KeyKind::RsaPss) {
            return self.new_key(kind);
        }
        let mut known = self.slow_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, path)) = known.iter().find(|(known, _)| *known == kind) {
            return path.clone();
        }
        let path = self.new_key(kind);
        known.push((kind, path.clone()));
        path
    }

    fn new_key(&self, kind: KeyKind) -> PathBuf {
        let path = self.path("key");
        let mut words = vec!["genpkey".to_owned()];
        words.extend(kind.arguments());
        openssl(
            &[&words.iter().map(String::as_str).collect::<Vec<_>>()[..], &["-out", text(&path)]].concat(),
        );
        path
    }

    fn make(&self, issuer: Option<&Issued>, order: &Order) -> Issued {
        let issued = Issued { key: self.key(order.key), certificate: self.path("pem") };
        let work = self.path("d");
        fs::create_dir(&work).expect("a folder for one certificate");
        let configuration = work.join("cnf");
        fs::write(&configuration, order.configuration(&work)).expect("a configuration");
        let mut request = vec!["req", "-new", "-utf8", "-subj", &order.subject, "-key", text(&issued.key)];
        request.extend(["-config", text(&configuration)]);
        let digest = format!("-{}", order.digest);
        // The key decides where it has no choice of digest.
        if !matches!(order.key, KeyKind::Ed25519) || issuer.is_some() {
            request.push(&digest);
        }
        if let Some(dates) = order.dates {
            let csr = work.join("csr");
            request.extend(["-out", text(&csr)]);
            openssl(&request);
            Self::dated(issuer, order, &issued, &work, dates);
            return issued;
        }
        request.extend(["-x509", "-days", "365", "-out", text(&issued.certificate)]);
        if !order.version1 {
            request.extend(["-extensions", "v3"]);
        } else if wants_version1_said() {
            request.push("-x509v1");
        }
        if let Some(issuer) = issuer {
            request.extend(["-CA", text(&issuer.certificate), "-CAkey", text(&issuer.key)]);
        }
        if let Some(number) = &order.number {
            request.extend(["-set_serial", number]);
        }
        openssl(&request);
        issued
    }

    /// The only command of openssl 3.0 that dates a certificate freely.
    fn dated(issuer: Option<&Issued>, order: &Order, issued: &Issued, work: &Path, dates: (&str, &str)) {
        fs::write(work.join("index"), "").expect("an index");
        let (configuration, csr) = (work.join("cnf"), work.join("csr"));
        let mut words = vec!["ca", "-batch", "-notext", "-preserveDN", "-md", order.digest];
        words.extend(["-config", text(&configuration), "-in", text(&csr)]);
        words.extend(["-startdate", dates.0, "-enddate", dates.1, "-out", text(&issued.certificate)]);
        if !order.version1 {
            words.extend(["-extensions", "v3"]);
        }
        match issuer {
            Some(issuer) => words.extend(["-cert", text(&issuer.certificate), "-keyfile", text(&issuer.key)]),
            None => words.extend(["-selfsign", "-keyfile", text(&issued.key)]),
        }
        openssl(&words);
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// Later than 3.0 version 3 is the default even without extensions.
fn wants_version1_said() -> bool {
    static SAID: OnceLock<bool> = OnceLock::new();
    *SAID.get_or_init(|| {
        let output = Command::new("openssl").args(["req", "-help"]).output().expect("openssl runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).contains("-x509v1")
    })
}

fn openssl(words: &[&str]) {
    let output = Command::new("openssl").args(words).output().expect("openssl runs");
    assert!(output.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
