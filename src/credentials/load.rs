//! From the keys of the configuration to the TLS of the listener and of each kind of target. Everything that is wrong is
//! found at once, and a reload that finds anything changes nothing.

mod entrances;

use crate::config::sources::Effective;
use crate::credentials::settings::{self as common, FORWARD, Keys};
use crate::credentials::store::Found;
use crate::credentials::targets as own;
pub use crate::credentials::{Credentials, Own};
use crate::keystore::{Fingerprint, KeyEntry, Passwords, Store};
use crate::policy::proxy_auth::{AUTH_FILE, Users};
use crate::policy::targets::{Profile, Targets};
use crate::setting::{Setting, Source as _};
use crate::tls::certificate::Certificate;
use crate::tls::context::{Inbound, ORIGINS_REMEMBERED, Outbound};
use crate::tls::identity::Identity;
use crate::tls::notes::Notes;
use crate::tls::suites::{self, TlsVersion};
use crate::tls::trust::Trust;
use crate::tls::verify::{ServerVerifier, Verification};
use aws_lc_rs::rand;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Something that is wrong with what a key leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The key.
    pub key: String,
    /// The rest of the sentence.
    pub what: String,
}

/// Reads every file that `effective` names and makes the TLS of it.
///
/// # Errors
/// Everything that is wrong.
pub fn load(effective: &Effective, notes: &Arc<Notes>) -> Result<Credentials, Vec<Complaint>> {
    let mut loader = Loader {
        effective,
        notes,
        complaints: Vec::new(),
        files: BTreeMap::new(),
        inbound_files: BTreeSet::new(),
        reverse_files: BTreeSet::new(),
        own: Vec::new(),
        trusted: Vec::new(),
        remarks: Vec::new(),
        trust_store: None,
        users_file: None,
    };
    let made = loader.make();
    let users = loader.users();
    let Loader {
        complaints,
        files,
        inbound_files,
        reverse_files,
        own,
        trusted,
        remarks,
        trust_store,
        users_file,
        ..
    } = loader;
    match made {
        Some((inbound, reverse, targets)) if complaints.is_empty() => {
            let (targets, notes) = (Arc::new(targets), Arc::clone(notes));
            Ok(Credentials {
                inbound,
                reverse,
                targets,
                users: users.map(Arc::new),
                users_file,
                files,
                inbound_files,
                reverse_files,
                own,
                trusted,
                trust_store,
                remarks,
                notes,
            })
        }
        _ => Err(complaints),
    }
}

/// The same, where what is wrong joins the other problems of the configuration.
pub fn judge(effective: &mut Effective, notes: &Arc<Notes>) -> Option<Credentials> {
    match load(effective, notes) {
        Ok(credentials) => Some(credentials),
        Err(complaints) => {
            for Complaint { key, what } in complaints {
                effective.add_error(&key, what);
            }
            None
        }
    }
}

/// Whom we trust, and where that comes from.
#[derive(Clone)]
struct Trusted {
    trust: Arc<Trust>,
    /// The machine's roots, because nothing is configured.
    of_system: bool,
    /// The file it was read from, if it is configured.
    path: Option<PathBuf>,
}

struct Loader<'a> {
    effective: &'a Effective,
    notes: &'a Arc<Notes>,
    complaints: Vec<Complaint>,
    files: BTreeMap<PathBuf, Fingerprint>,
    inbound_files: BTreeSet<PathBuf>,
    reverse_files: BTreeSet<PathBuf>,
    own: Vec<Own>,
    trusted: Vec<Own>,
    remarks: Vec<String>,
    trust_store: Option<PathBuf>,
    users_file: Option<PathBuf>,
}

impl Loader<'_> {
    fn make(&mut self) -> Option<(Option<Inbound>, Option<Inbound>, Targets)> {
        let effective = self.effective;
        let post_quantum = effective.value(&common::POST_QUANTUM).ok()?;
        let provider = suites::provider(&[], post_quantum);
        let identity = self.common_identity(&provider);
        self.inbound_files = self.files.keys().cloned().collect();
        let trusted = self.common_trust(&FORWARD);
        self.trust_store = trusted.as_ref().and_then(|trusted| trusted.path.clone());
        let inbound = self.forward_inbound(identity.as_ref(), trusted.as_ref(), post_quantum);
        let reverse = self.reverse_inbound(&provider, post_quantum);
        let trusted = trusted?;
        let others = self.profile(None, identity.clone(), &trusted, &provider);
        let mut entries = Vec::new();
        for (number, index) in self.indexes().into_iter().enumerate() {
            let key = indexed(&own::MATCH, index);
            match self.own_value(&own::MATCH, index).flatten() {
                Some(which) => {
                    let profile =
                        self.own_profile((number + 1, index), identity.as_ref(), &trusted, &provider);
                    entries.extend(profile.map(|profile| (which, Arc::new(profile))));
                }
                None => self.complain(&key, "is missing: nothing says which targets the entry is for".into()),
            }
        }
        Some((inbound, reverse, Targets { entries, others: Arc::new(others?) }))
    }

    fn complain(&mut self, key: &str, what: String) {
        self.complaints.push(Complaint { key: key.to_owned(), what });
    }

    /// Takes the value, or notes what is wrong with `key`.
    fn note<T>(&mut self, key: &str, outcome: Result<T, String>) -> Option<T> {
        outcome.map_err(|what| self.complain(key, what)).ok()
    }

    /// Who may use the forward listener, if that is asked at all.
    fn users(&mut self) -> Option<Users> {
        let key = AUTH_FILE.key;
        let found = self.fetch(key)?;
        self.users_file.clone_from(&found.path);
        let mut secret = [0; 32];
        let random = rand::fill(&mut secret).map_err(|_| "cannot be used: there is no randomness".to_owned());
        self.note(key, random)?;
        let users =
            found.text().and_then(|text| Users::parse(text, &secret).map_err(|what| found.sentence(&what)));
        self.note(key, users)
    }

    /// Two keys that name the same thing: which of them counts is not ours to guess.
    fn refuse_both(&mut self, key: &str, other: &str) {
        if self.effective.set(key).is_some() && self.effective.set(other).is_some() {
            self.complain(
                key,
                format!("stands beside {other}, which names the same thing; remove one of them"),
            );
        }
    }

    fn fetch(&mut self, key: &str) -> Option<Found> {
        let location = self.effective.set(key)?;
        let found = self.note(key, Found::at(location, &self.effective.search))?;
        self.remember(&found);
        Some(found)
    }

    fn remember(&mut self, found: &Found) {
        self.files.extend(found.path.clone().map(|path| (path, found.fingerprint())));
    }

    /// The indexes of `proxy.targets[N]` that occur, in order.
    fn indexes(&self) -> BTreeSet<usize> {
        let keys = self.effective.entries().map(|(key, _)| key);
        keys.filter_map(|key| key.strip_prefix("proxy.targets[")?.split_once(']')?.0.parse().ok()).collect()
    }

    /// The value an entry sets by itself.
    fn own_value<T>(&self, setting: &Setting<T>, index: usize) -> Option<T> {
        // What does not parse has had its sentence.
        (setting.parse)(self.effective.set(&indexed(setting, index))?).ok()
    }

    fn password(&self, setting: &Setting<String>) -> Option<&str> {
        self.effective.entry(setting.key).map(|entry| entry.text.as_str())
    }

    fn common_identity(&mut self, provider: &Arc<CryptoProvider>) -> Option<Arc<Identity>> {
        self.keys_of(&FORWARD, provider)
    }

    /// The identity that a listener's keys lead to.
    fn keys_of(&mut self, keys: &Keys, provider: &Arc<CryptoProvider>) -> Option<Arc<Identity>> {
        let alias = self.effective.set(keys.key_alias.key).map(str::to_owned);
        self.common_keys(keys, keys.key_alias.key, alias.as_deref(), provider)
    }

    /// The identity of a key store, or of the two PEM files, with the alias that `alias_key` chooses.
    fn common_keys(
        &mut self,
        keys: &Keys,
        alias_key: &str,
        alias: Option<&str>,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Arc<Identity>> {
        let (store, certificate, private) =
            (keys.key_store.key, keys.certificate.key, keys.certificate_private_key.key);
        self.refuse_both(certificate, store);
        if self.effective.set(store).is_some() {
            let found = self.fetch(store)?;
            let passwords = Passwords {
                store: self.password(keys.key_store_password),
                key: self.password(keys.key_password),
            };
            let read = found.keys(&passwords);
            let read = self.note(store, read)?;
            return self.identity((store, alias_key), &found, read, alias, provider);
        }
        match (self.effective.set(certificate).is_some(), self.effective.set(private).is_some()) {
            (false, false) => None,
            (true, false) => {
                // One file may hold both.
                let found = self.fetch(certificate)?;
                let passwords = Passwords { store: None, key: self.password(keys.key_password) };
                let read = found.keys(&passwords);
                let read = self.note(certificate, read)?;
                if read.keys.is_empty() {
                    self.complain(certificate, format!("needs its key; {private} is unset"));
                    return None;
                }
                self.identity((certificate, alias_key), &found, read, alias, provider)
            }
            (false, true) => {
                self.complain(private, format!("needs its certificate; {certificate} is unset"));
                None
            }
            (true, true) => self.pem_pair(keys, alias, provider),
        }
    }

    /// Certificate and key in two PEM files.
    fn pem_pair(
        &mut self,
        keys: &Keys,
        alias: Option<&str>,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Arc<Identity>> {
        let alias_key = keys.key_alias.key;
        let (certificate, private) = (keys.certificate.key, keys.certificate_private_key.key);
        let (chain, key) = (self.fetch(certificate), self.fetch(private));
        let (chain, key) = (chain?, key?);
        let certificates = chain.trust(None);
        let certificates = self.note(certificate, certificates)?;
        let passwords = Passwords { store: None, key: self.password(keys.key_password) };
        let read = key.keys(&passwords);
        let mut read = self.note(private, read)?.keys;
        if read.len() != 1 {
            let what = key.sentence(&format!("it holds {} private keys, not one", read.len()));
            self.complain(private, what);
            return None;
        }
        let mut entry = read.pop()?;
        entry.chain = certificates.trusted.into_iter().map(|trusted| trusted.certificate).collect();
        let store =
            Store { kind: certificates.kind, keys: vec![entry], trusted: Vec::new(), notes: Vec::new() };
        self.identity((certificate, alias_key), &chain, store, alias, provider)
    }

    /// The identity of what was read from `found`, which `key` led to.
    fn identity(
        &mut self,
        (key, alias_key): (&str, &str),
        found: &Found,
        store: Store,
        alias: Option<&str>,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Arc<Identity>> {
        self.remarks.extend(store.notes.iter().map(|note| format!("{key}: {}: {note}", found.place())));
        let entry = |entry: KeyEntry| {
            let KeyEntry { alias, key, chain } = entry;
            (alias, chain, key.clone_key())
        };
        let made = Identity::new(store.keys.into_iter().map(entry).collect(), alias, provider);
        let blamed = if alias.is_some() { alias_key } else { key };
        let made = self.note(blamed, made.map_err(|what| found.sentence(&what)))?;
        self.own
            .extend(made.certificates().filter_map(|(alias, certificate)| watched(key, alias, certificate)));
        Some(Arc::new(made))
    }

    /// Whom a listener's keys have us trust.
    fn common_trust(&mut self, keys: &Keys) -> Option<Trusted> {
        let (store, pem) = (keys.trust_store.key, keys.trust_certificate.key);
        self.refuse_both(pem, store);
        if self.effective.set(store).is_some() {
            let password = self.password(keys.trust_store_password).map(str::to_owned);
            let found = self.fetch(store)?;
            return self.trust(store, &found, password.as_deref(), false);
        }
        if self.effective.set(pem).is_some() {
            let found = self.fetch(pem)?;
            return self.trust(pem, &found, None, false);
        }
        if let Some(found) = Found::system_roots() {
            self.remember(&found);
            return self.trust(store, &found, None, true);
        }
        self.remarks.push(format!(
            "risk: {store} is unset and this machine has no roots of its own: no https target is trusted"
        ));
        Some(Trusted { trust: Arc::default(), of_system: true, path: None })
    }

    fn trust(
        &mut self,
        key: &str,
        found: &Found,
        password: Option<&str>,
        of_system: bool,
    ) -> Option<Trusted> {
        let store = self.note(key, found.trust(password))?;
        let place = found.place();
        if !of_system {
            let entries = store.trusted.iter();
            self.trusted.extend(entries.filter_map(|entry| watched(key, &entry.alias, &entry.certificate)));
        }
        let entries = store.trusted.into_iter().map(|entry| (entry.alias, entry.certificate));
        let trust = Trust::new(entries);
        let notes = store.notes.iter().chain(trust.notes());
        if !of_system {
            self.remarks.extend(notes.map(|note| format!("{key}: {place}: {note}")));
        }
        if trust.is_empty() {
            self.complain(key, found.sentence("it holds no certificate that could be trusted"));
            return None;
        }
        let path = found.path.clone().filter(|_| !of_system);
        Some(Trusted { trust: Arc::new(trust), of_system, path })
    }

    /// What holds for a target: for all that have no entry, or with what the entry `index` sets by itself.
    fn profile(
        &mut self,
        index: Option<usize>,
        identity: Option<Arc<Identity>>,
        trusted: &Trusted,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Profile> {
        let effective = self.effective;
        let own_or = |own: Option<bool>, common: &Setting<bool>| own.or_else(|| effective.value(common).ok());
        let own_versions = index.and_then(|index| self.own_value(&own::TLS_VERSION, index));
        let versions: Vec<TlsVersion> =
            own_versions.or_else(|| effective.value(&common::TLS_VERSION).ok())?;
        let verification = Verification {
            validate: effective.value(&common::VALIDATE_CERTIFICATE).ok()?,
            verify_hostname: own_or(
                index.and_then(|index| self.own_value(&own::VERIFY_HOSTNAME, index)),
                &common::VERIFY_HOSTNAME,
            )?,
            // Java itself is strict with the roots it ships; only an operator's own are old and private.
            compat_java: effective.value(&common::COMPAT).ok()? && !trusted.of_system,
            serial_number: index
                .and_then(|index| self.own_value(&own::SERIAL_NUMBER, index))
                .filter(|serial| !serial.is_empty()),
            serial_check: effective.value(&common::SERIAL_NUMBER).ok()?,
        };
        let verifier = ServerVerifier::new(Arc::clone(&trusted.trust), verification, provider, self.notes);
        // Many entries name one host each; what holds for all remembers many.
        let origins = if index.is_some() { ORIGINS_REMEMBERED / 8 } else { ORIGINS_REMEMBERED };
        let made = Outbound::new(identity, verifier, &versions, provider, origins);
        let tls = self.note(common::TLS_VERSION.key, made)?;
        Some(Profile {
            number: 0,
            tls: Some(tls),
            connect: index.and_then(|index| self.own_value(&own::CONNECT_TIMEOUT, index)),
            response: index.and_then(|index| self.own_value(&own::SOCKET_TIMEOUT, index)),
            connections_max: index.and_then(|index| self.own_value(&own::MAX_CONNECTIONS, index)),
        })
    }

    /// What holds for the targets of entry `index`.
    fn own_profile(
        &mut self,
        (number, index): (usize, usize),
        identity: Option<&Arc<Identity>>,
        trusted: &Trusted,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Profile> {
        let (store, alias_key) = (indexed(&own::KEY_STORE, index), indexed(&own::KEY_ALIAS, index));
        let alias = self.own_value(&own::KEY_ALIAS, index);
        let identity = if self.effective.set(&store).is_some() {
            let found = self.fetch(&store)?;
            let (store_password, key_password) =
                (self.verbatim(&own::KEY_STORE_PASSWORD, index), self.verbatim(&own::KEY_PASSWORD, index));
            let read = found.keys(&Passwords { store: store_password, key: key_password });
            let read = self.note(&store, read)?;
            Some(self.identity((&store, &alias_key), &found, read, alias.as_deref(), provider)?)
        } else if alias.is_some() {
            Some(self.common_keys(&FORWARD, &alias_key, alias.as_deref(), provider)?)
        } else {
            identity.cloned()
        };
        let key = indexed(&own::TRUST_STORE, index);
        let trusted = if self.effective.set(&key).is_some() {
            let found = self.fetch(&key)?;
            let password = self.verbatim(&own::TRUST_STORE_PASSWORD, index).map(str::to_owned);
            self.trust(&key, &found, password.as_deref(), false)?
        } else {
            trusted.clone()
        };
        self.profile(Some(index), identity, &trusted, provider).map(|profile| Profile { number, ..profile })
    }

    fn verbatim(&self, setting: &Setting<String>, index: usize) -> Option<&str> {
        self.effective.entry(&indexed(setting, index)).map(|entry| entry.text.as_str())
    }
}

fn watched(key: &str, alias: &str, certificate: &CertificateDer<'_>) -> Option<Own> {
    let read = Certificate::read(certificate)?;
    let (key, alias) = (key.to_owned(), alias.to_owned());
    Some(Own { key, alias, subject: read.subject_text(), not_after: read.not_after() })
}

fn indexed<T>(setting: &Setting<T>, index: usize) -> String {
    setting.key.replace("[N]", &format!("[{index}]"))
}
