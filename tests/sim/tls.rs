//! What TLS means for a seed: who speaks it, how, what certificates are asked for and shown, and what goes wrong in a
//! handshake. It is drawn apart from everything else, so that a seed without TLS means what it always meant.

use super::plan::Own;
use super::rng::Rng;
use super::script::{ClientScript, Mood, Place};

/// Versions a side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.2.
    Old,
    /// TLS 1.3.
    New,
    Both,
}

/// Whether a server wants to see a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    None,
    Want,
    Need,
}

/// What an origin shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Ed25519,
    Rsa,
    /// Issued by nobody we know.
    Stranger,
    /// Names another host.
    Elsewhere,
}

/// What goes wrong with a peer's handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// So many bytes of what it says first, then nothing more.
    Stall(usize),
    /// So many bytes of what it says first, then the end of the connection.
    HangUp(usize),
    /// An alert instead of what it says first.
    Alert,
    /// This instead of what it says first.
    Garbage(&'static [u8]),
    /// It shows a certificate that is no good, or none, or shares no version: its TLS says what happens.
    Terms,
}

/// No record in any of them, and none that waits for more.
pub const GARBAGE: [&[u8]; 5] = [
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    b"\x16\x03\x03\xff\xff\0",
    b"\x17\x03\x03\0\x01x",
    b"\x63\x03\x03\0\x01x",
    b"\x16\x03\x01\0\x04\xff\0\0\0",
];
/// `handshake_failure`, fatal.
pub const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 40];

/// The TLS of the proxy's listener.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    pub versions: Versions,
    pub demand: Demand,
    pub tickets: bool,
}

/// The TLS of a place.
#[derive(Clone, Copy, Debug)]
pub struct PlaceTls {
    pub versions: Versions,
    /// Versions the proxy speaks with it.
    pub ours: Versions,
    pub shown: Shown,
    pub demand: Demand,
    /// Whether the proxy has a certificate for it.
    pub identity: bool,
    pub tickets: bool,
    pub habits: Habits,
    pub trouble: Option<Trouble>,
    /// Every second connection only has the trouble.
    pub flaky: bool,
}

/// How a peer uses its records.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Most bytes of a record.
    pub fragment: Option<usize>,
    /// One write in so many is followed by new keys; 0: none.
    pub refreshes: usize,
    /// Its handshake arrives byte by byte.
    pub drips: bool,
    /// One close in so many comes without close_notify; 0: none.
    pub rude_ends: usize,
}

/// The TLS of a client.
#[derive(Clone, Copy, Debug)]
pub struct ClientTls {
    pub versions: Versions,
    pub certificate: bool,
    pub habits: Habits,
    pub trouble: Option<Trouble>,
    /// It speaks plain HTTP instead.
    pub plain: bool,
}

fn versions(rng: &mut Rng) -> Versions {
    rng.pick(&[Versions::Old, Versions::New, Versions::Both, Versions::Both])
}

fn habits(rng: &mut Rng) -> Habits {
    Habits {
        fragment: rng.pick(&[None, None, None, Some(32), Some(100), Some(4096)]),
        refreshes: rng.pick(&[0, 0, 2, 10]),
        drips: rng.one_in(12),
        rude_ends: rng.pick(&[0, 1, 2]),
    }
}

/// A client's garbage must not look like plain HTTP, which is answered in kind.
fn trouble(rng: &mut Rng, garbage: &[&'static [u8]], stalls: bool) -> Trouble {
    let bytes = rng.pick(&[0, 0, 3, 40, 130]);
    match rng.below(if stalls { 5 } else { 4 }) {
        0 => Trouble::HangUp(bytes),
        1 => Trouble::Alert,
        2 => Trouble::Garbage(rng.pick(garbage)),
        3 => Trouble::Terms,
        _ => Trouble::Stall(bytes),
    }
}

impl Listener {
    pub fn new(rng: &mut Rng) -> Self {
        let demand = rng.pick(&[Demand::None, Demand::None, Demand::Want, Demand::Need]);
        Self { versions: versions(rng), demand, tickets: rng.one_in(2) }
    }
}

impl PlaceTls {
    pub fn new(rng: &mut Rng, mood: Mood, stalls: bool) -> Self {
        let demand = rng.pick(&[Demand::None, Demand::Want, Demand::Need]);
        let mut tls = Self {
            versions: versions(rng),
            ours: Versions::Both,
            shown: rng.pick(&[Shown::Ed25519, Shown::Ed25519, Shown::Ed25519, Shown::Rsa]),
            demand,
            identity: demand == Demand::Need || rng.one_in(2),
            tickets: rng.one_in(2),
            habits: habits(rng),
            trouble: None,
            flaky: false,
        };
        if matches!(mood, Mood::Origins | Mood::Wild) && rng.one_in(3) {
            tls.trouble = Some(trouble(rng, &GARBAGE, stalls));
            tls.flaky = rng.one_in(2);
        }
        if tls.trouble == Some(Trouble::Terms) {
            tls.flaky = false;
            match rng.below(4) {
                0 => tls.shown = Shown::Stranger,
                1 => tls.shown = Shown::Elsewhere,
                2 => (tls.versions, tls.ours) = (Versions::Old, Versions::New),
                _ => (tls.demand, tls.identity) = (Demand::Need, false),
            }
        }
        tls
    }

    /// What the proxy may say of its trouble.
    pub fn own(&self) -> Vec<Own> {
        match (self.trouble, self.shown) {
            (None, _) => vec![],
            (Some(Trouble::Stall(_)), _) => vec![(504, "tls_timeout")],
            (Some(Trouble::HangUp(_) | Trouble::Garbage(_)), _) => vec![(502, "tls_failed")],
            (Some(Trouble::Terms), Shown::Stranger) => vec![(502, "tls_untrusted")],
            (Some(Trouble::Terms), Shown::Elsewhere) => vec![(502, "tls_hostname")],
            (Some(Trouble::Terms), _) if self.versions != Versions::Old || self.ours != Versions::New => {
                // Its alert may be lost in the reset that follows.
                vec![(502, "tls_client_cert_required"), (502, "upstream_reset"), (502, "tls_failed")]
            }
            (Some(Trouble::Alert | Trouble::Terms), _) => vec![(502, "tls_protocol")],
        }
    }

    /// Whether a request can get through at all.
    pub fn is_passable(&self) -> bool {
        self.trouble.is_none() || self.flaky
    }
}

impl ClientTls {
    pub fn new(rng: &mut Rng, listener: Listener, mood: Mood, stalls: bool) -> Self {
        let shared = match listener.versions {
            Versions::Both => versions(rng),
            one => rng.pick(&[one, Versions::Both]),
        };
        let mut tls = Self {
            versions: shared,
            certificate: listener.demand == Demand::Need || rng.one_in(2),
            habits: habits(rng),
            trouble: None,
            plain: false,
        };
        if !matches!(mood, Mood::Clients | Mood::Wild) || !rng.one_in(4) {
            return tls;
        }
        if rng.one_in(5) {
            tls.plain = true;
            return tls;
        }
        tls.trouble = Some(trouble(rng, &GARBAGE[1..], stalls));
        if tls.trouble == Some(Trouble::Terms) {
            match (listener.demand, listener.versions) {
                (Demand::Need, _) => tls.certificate = false,
                (_, Versions::New) => tls.versions = Versions::Old,
                (_, Versions::Old) => tls.versions = Versions::New,
                _ => tls.trouble = Some(Trouble::Alert),
            }
        }
        tls
    }

    /// Whether a request can get through at all.
    pub fn is_passable(&self) -> bool {
        self.trouble.is_none() && !self.plain
    }
}

/// Whether somebody waits without end in a handshake.
pub fn stalls(clients: &[ClientScript], places: &[Place]) -> bool {
    let is_stall = |trouble: Option<Trouble>| matches!(trouble, Some(Trouble::Stall(_)));
    clients.iter().any(|client| client.tls.is_some_and(|tls| is_stall(tls.trouble)))
        || places.iter().any(|place| place.tls.is_some_and(|tls| is_stall(tls.trouble)))
}
