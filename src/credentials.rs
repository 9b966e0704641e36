//! Keys, certificates and trust: which files the configuration names, what they hold, and the TLS that is made of them.

pub mod days;
pub mod load;
pub mod reverse;
pub mod settings;
pub mod store;
pub mod targets;

use crate::engine::{Kind, Listener};
use crate::keystore::Fingerprint;
use crate::listener::Place;
use crate::policy::proxy_auth::Users;
use crate::policy::targets::Targets;
use crate::tls::context::Inbound;
use crate::tls::notes::Notes;
use days::{Expiries, Whose};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// A certificate of a store, for watching its days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The key that leads to it.
    pub key: String,
    /// Its alias.
    pub alias: String,
    /// Its subject.
    pub subject: String,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
}

impl Credentials {
    /// What is to be known of the listener at `place`.
    pub fn listener(&self, place: &Place) -> Listener {
        let inbound = match place.kind {
            Kind::Forward => self.inbound.clone(),
            Kind::Reverse if place.tls => self.reverse.clone(),
            Kind::Reverse => None,
        };
        Listener { inbound, ..Listener::plain(place.kind) }
    }

    /// Until when each certificate is valid that the configuration leads to.
    pub fn expiries(&self) -> Expiries {
        let whose = |own: &Own| Whose::Stored { key: own.key.clone(), alias: own.alias.clone() };
        self.own.iter().chain(&self.trusted).map(|own| (whose(own), own.not_after)).collect()
    }
}

/// Everything made of keys and certificates. The default has none: listeners are plain and https targets fail.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The forward listener's TLS; `None` is plain.
    pub inbound: Option<Inbound>,
    /// The reverse TLS listener's; `None` when there is no such listener.
    pub reverse: Option<Inbound>,
    /// The TLS towards targets, and what else differs between them.
    pub targets: Arc<Targets>,
    /// Who may use the forward listener.
    pub users: Option<Arc<Users>>,
    /// The file that names them.
    pub users_file: Option<PathBuf>,
    /// The files it was made of, as they were when they were read.
    pub files: BTreeMap<PathBuf, Fingerprint>,
    /// Those among them that the listener's TLS was made of.
    pub inbound_files: BTreeSet<PathBuf>,
    /// Those among them that the reverse listener's TLS was made of.
    pub reverse_files: BTreeSet<PathBuf>,
    /// Our certificates.
    pub own: Vec<Own>,
    /// Those that the configured trust stores hold.
    pub trusted: Vec<Own>,
    /// Where the trust store lies that `x-reload-httpclient` adds to, if one is configured.
    pub trust_store: Option<PathBuf>,
    /// What operators should know, one sentence each.
    pub remarks: Vec<String>,
    /// What verification notices, now and after every reload.
    pub notes: Arc<Notes>,
}
