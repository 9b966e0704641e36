//! How the certificates of each case are made, and what is trusted.

use crate::pki::{Issued, KeyKind, Order, Pki};

/// Who shows the certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shower {
    /// A server, to our client.
    Server,
    /// A client, to our server.
    Client,
    /// `openssl s_server`, for keys that no provider of rustls signs with.
    OpenSsl,
}

/// One scene: what is trusted, what is shown, and by whom.
pub struct Scene {
    pub trust: Vec<(&'static str, Issued)>,
    pub chain: Vec<Issued>,
    pub host: &'static str,
    pub by: Shower,
}

impl Scene {
    fn new(trust: &[&Issued], chain: &[&Issued]) -> Self {
        // Aliases that no host could have.
        let aliases = ["first", "second", "third"];
        let trust = aliases.into_iter().zip(trust.iter().copied().cloned()).collect();
        Self { trust, chain: chain.iter().copied().cloned().collect(), host: HOST, by: Shower::Server }
    }

    fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    fn by(mut self, by: Shower) -> Self {
        self.by = by;
        self
    }
}

pub const HOST: &str = "api.bank.test";

fn server() -> Order {
    Order::server(HOST)
}

/// A server's certificate that names its host in commonName only.
fn named() -> Order {
    Order::leaf(&format!("/CN={HOST}"))
}

/// A leaf of a good root.
fn issued(pki: &Pki, order: &Order) -> Scene {
    let root = pki.root("Root");
    Scene::new(&[&root], &[&pki.issue(&root, order)])
}

/// The same, shown by a client.
fn client(pki: &Pki, order: &Order) -> Scene {
    issued(pki, order).by(Shower::Client)
}

/// A good leaf of an odd root.
fn rooted(pki: &Pki, root: &Order) -> Scene {
    let root = pki.self_signed(root);
    Scene::new(&[&root], &[&pki.issue(&root, &server())])
}

/// Shown and trusted, without anything above it.
fn pinned(pki: &Pki, order: &Order) -> Scene {
    let leaf = pki.self_signed(order);
    Scene::new(&[&leaf], &[&leaf])
}

/// Trusted and shown, of a root nobody trusts.
fn orphan(pki: &Pki, order: &Order) -> Scene {
    let leaf = pki.issue(&pki.root("Unknown"), order);
    Scene::new(&[&leaf], &[&leaf])
}

/// Root, intermediate, leaf; the root is trusted.
fn three(pki: &Pki, root: &Order, intermediate: &Order, leaf: &Order) -> Scene {
    let root = pki.self_signed(root);
    let intermediate = pki.issue(&root, intermediate);
    let leaf = pki.issue(&intermediate, leaf);
    Scene::new(&[&root], &[&leaf, &intermediate])
}

/// Root, odd intermediate, leaf.
fn between(pki: &Pki, intermediate: &Order, leaf: &Order) -> Scene {
    three(pki, &Order::authority("Root"), intermediate, leaf)
}

fn authority() -> Order {
    Order::authority("Intermediate")
}

/// The scene of a case.
pub fn scene(pki: &Pki, case: &str) -> Scene {
    let number = case.split('-').next().unwrap_or_default();
    match number {
        "01" | "02" | "02b" | "03" | "04" | "04b" | "05" | "05b" | "06" | "07" | "08" | "09" | "10" => {
            trusted_or_not(pki, number)
        }
        "11" | "11b" | "12" | "12b" | "13" | "13b" | "31" => algorithms(pki, case),
        "14" | "15" | "16" | "16b" | "17" | "17b" | "17c" | "17d" | "37" | "38" => names(pki, number),
        "18" | "18b" | "18c" | "18d" => constraints(pki, number),
        "19" | "20" | "20b" | "21" | "22" | "22b" | "22c" | "22d" | "22e" | "22f" | "23" | "23b" => {
            purposes(pki, number)
        }
        "24" | "24b" | "24c" | "24d" | "24e" | "25" | "25b" | "26" | "29" | "29b" | "30" | "40" => {
            chains(pki, number)
        }
        _ => extensions(pki, number),
    }
}

fn trusted_or_not(pki: &Pki, number: &str) -> Scene {
    let root = pki.root("Root");
    match number {
        "01" => issued(pki, &server()),
        "02" => orphan(pki, &server()),
        "02b" => Scene::new(&[&pki.root("Other")], &[&pki.issue(&root, &server())]),
        "03" => pinned(pki, &server()),
        "04" => pinned(
            pki,
            &server().with("basicConstraints=critical,CA:TRUE").with("keyUsage=keyCertSign,digitalSignature"),
        ),
        "04b" => pinned(pki, &server().with("basicConstraints=critical,CA:TRUE").without("keyUsage")),
        "05" => pinned(pki, &server().without("basicConstraints")),
        "05b" => pinned(pki, &named().version1()),
        "06" => rooted(pki, &Order::authority("Root").version1()),
        "07" => issued(pki, &named().version1()),
        "08" => rooted(pki, &Order::authority("Root").expired()),
        "09" => issued(pki, &server().expired()),
        "10" => pinned(pki, &server().expired()),
        _ => unknown(number),
    }
}

fn algorithms(pki: &Pki, case: &str) -> Scene {
    let rsa = |order: Order| order.key(KeyKind::Rsa(2048));
    let key = |kind| server().key(kind);
    match case {
        "11-sha1-leaf" => {
            let root = pki.self_signed(&rsa(Order::authority("Root")));
            Scene::new(&[&root], &[&pki.issue(&root, &server().digest("sha1"))])
        }
        "11b-sha1-leaf-pinned" => {
            let root = pki.self_signed(&rsa(Order::authority("Root")));
            let leaf = pki.issue(&root, &server().digest("sha1"));
            Scene::new(&[&leaf], &[&leaf])
        }
        "12-sha1-selfsigned-root" => rooted(pki, &rsa(Order::authority("Root")).digest("sha1")),
        "12b-sha1-intermediate" => {
            three(pki, &rsa(Order::authority("Root")), &authority().digest("sha1"), &server())
        }
        "13-rsa1024-leaf" => issued(pki, &key(KeyKind::Rsa(1024))).by(Shower::OpenSsl),
        "13b-rsa1024-root" => rooted(pki, &Order::authority("Root").key(KeyKind::Rsa(1024))),
        "31-leafkey-ed" => issued(pki, &key(KeyKind::Ed25519)),
        "31-leafkey-k1" => issued(pki, &key(KeyKind::Secp256k1)).by(Shower::OpenSsl),
        "31-leafkey-p384" => issued(pki, &key(KeyKind::P384)),
        "31-leafkey-p521" => issued(pki, &key(KeyKind::P521)),
        "31-leafkey-pss" => issued(pki, &key(KeyKind::RsaPss)).by(Shower::OpenSsl),
        "31-leafkey-rsa4096" => issued(pki, &key(KeyKind::Rsa(4096))),
        _ => unknown(case),
    }
}

fn names(pki: &Pki, number: &str) -> Scene {
    let local = "127.0.0.1";
    match number {
        "14" => issued(pki, &named()),
        "15" => issued(pki, &Order::server(local)).host(local),
        "16" => issued(pki, &server().with("subjectAltName=DNS:127.0.0.1")).host(local),
        "16b" => issued(pki, &Order::leaf("/CN=127.0.0.1")).host(local),
        "17" => issued(pki, &Order::server("*.bank.test")),
        "17b" => issued(pki, &Order::server("*.bank.test")).host("a.api.bank.test"),
        "17c" => issued(pki, &Order::server("my_api.bank.test")).host("my_api.bank.test"),
        "17d" => issued(pki, &server()).host("api.bank.test."),
        "37" => issued(pki, &named().with("subjectAltName=otherName:1.2.410.1;UTF8:a bank")),
        "38" => issued(pki, &Order::server("API.Bank.TEST")),
        _ => unknown(number),
    }
}

fn constraints(pki: &Pki, number: &str) -> Scene {
    let limited = |line: &str| authority().with(&format!("nameConstraints=critical,{line}"));
    match number {
        "18" => between(pki, &limited("permitted;DNS:bank.test"), &server()),
        "18b" => between(pki, &limited("permitted;DNS:other.test"), &server()),
        "18c" => rooted(pki, &limited("permitted;DNS:other.test")),
        "18d" => between(
            pki,
            &limited("permitted;dirName:directory_kr"),
            &server().subject("/C=KR/O=Bank/CN=a server"),
        ),
        _ => unknown(number),
    }
}

fn purposes(pki: &Pki, number: &str) -> Scene {
    let for_client = Order::client("a client");
    match number {
        "19" => issued(pki, &server().without("extendedKeyUsage")),
        "20" => issued(pki, &server().with("extendedKeyUsage=clientAuth")),
        "20b" => orphan(pki, &server().with("extendedKeyUsage=clientAuth")),
        "21" => client(pki, &for_client.with("extendedKeyUsage=serverAuth")),
        "22" => client(pki, &for_client.without("extendedKeyUsage")),
        "22b" => client(pki, &for_client.with("extendedKeyUsage=clientAuth,serverAuth")),
        "22c" => orphan(pki, &for_client).by(Shower::Client),
        "22d" => pinned(pki, &for_client).by(Shower::Client),
        "22e" => client(pki, &for_client.version1()),
        "22f" => pinned(pki, &for_client.version1()).by(Shower::Client),
        "23" => issued(pki, &server().with("extendedKeyUsage=anyExtendedKeyUsage")),
        "23b" => client(pki, &for_client.with("extendedKeyUsage=anyExtendedKeyUsage")),
        _ => unknown(number),
    }
}

fn chains(pki: &Pki, number: &str) -> Scene {
    let root = pki.root("Root");
    let upper = pki.issue(&root, &Order::authority("Upper"));
    let lower = pki.issue(&upper, &Order::authority("Lower"));
    let leaf = pki.issue(&lower, &server());
    let stranger = pki.root("Stranger");
    match number {
        "24" => Scene::new(&[&root], &[&leaf, &lower]),
        "24b" => Scene::new(&[&lower], &[&leaf]),
        "24c" => Scene::new(&[&root], &[&leaf, &root, &upper, &lower]),
        "24d" => {
            let other = pki.issue(&stranger, &server());
            Scene::new(&[&root], &[&leaf, &stranger, &lower, &other, &upper])
        }
        "24e" => Scene::new(&[&root, &upper, &lower], &[&leaf]),
        "25" => between(pki, &authority().without("basicConstraints").without("keyUsage"), &server()),
        "25b" => between(pki, &authority().version1(), &server()),
        "26" => three(
            pki,
            &Order::authority("Root").with("basicConstraints=critical,CA:TRUE,pathlen:0"),
            &authority(),
            &server(),
        ),
        "29" => {
            rooted(pki, &Order::authority("RootNoKCS").with("keyUsage=critical,digitalSignature,cRLSign"))
        }
        "29b" => rooted(pki, &Order::authority("RootCAfalse").with("basicConstraints=critical,CA:FALSE")),
        "30" => issued(
            pki,
            &server().with("basicConstraints=critical,CA:TRUE").with("keyUsage=keyCertSign,digitalSignature"),
        ),
        "40" => {
            let twin = pki.root("Root");
            Scene::new(&[&root, &twin], &[&pki.issue(&twin, &server())])
        }
        _ => unknown(number),
    }
}

fn extensions(pki: &Pki, number: &str) -> Scene {
    match number {
        "27" => issued(pki, &server().with("keyUsage=critical,keyEncipherment")),
        "27b" => issued(pki, &server().with("keyUsage=critical,nonRepudiation")),
        "28" => issued(pki, &server().with("1.2.3.4.5=critical,ASN1:UTF8String:what")),
        "33" => issued(pki, &server().number("0x7f0102030405060708090a0b0c0d0e0f1011121314151617")),
        "33b" => issued(pki, &server().number("-5")),
        "33c" => issued(pki, &server().number("0")),
        "39" => issued(pki, &server().with("certificatePolicies=critical,1.2.410.200004.2.1")),
        "41" => issued(pki, &server().dates("20350101000000Z", "20360101000000Z")),
        "42" => issued(
            pki,
            &server()
                .with("crlDistributionPoints=URI:http://crl.bank.test/a.crl")
                .with("authorityInfoAccess=OCSP;URI:http://ocsp.bank.test/"),
        ),
        _ => unknown(number),
    }
}

fn unknown(case: &str) -> ! {
    panic!("no scene for {case}")
}
