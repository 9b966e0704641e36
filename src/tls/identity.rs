//! Who we are: the keys of a store with their chains, and which of them is shown to whom.
//!
//! To a target: the first whose chain was issued by an authority the target names, the chosen alias before others; none
//! fits, none is shown. To a client: the chosen alias, or without one the first that names the asked host, else the first,
//! among those whose kind of key the client understands.

use crate::tls::certificate::Certificate;
use crate::tls::host::Host;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;

/// One key with its chain.
struct Key {
    alias: String,
    certified: Arc<CertifiedKey>,
    /// The issuers of the chain's certificates, as DER names.
    issuers: Vec<Vec<u8>>,
}

/// The keys of one store.
pub struct Identity {
    keys: Vec<Key>,
    /// The chosen one.
    chosen: Option<usize>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.alias)).finish()
    }
}

impl Identity {
    /// The identity of these keys (alias in lower case, chain with the own certificate first, key). `chosen` is the
    /// alias that goes before others.
    ///
    /// # Errors
    /// What is wrong with a key, or that none has the chosen alias.
    pub fn new(
        entries: Vec<(String, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
        chosen: Option<&str>,
        provider: &CryptoProvider,
    ) -> Result<Self, String> {
        let chosen = chosen.map(str::to_lowercase);
        let aliases: Vec<String> = entries.iter().map(|(alias, ..)| alias.clone()).collect();
        let mut keys = Vec::new();
        let mut refused = Vec::new();
        for (alias, chain, key) in entries {
            match Key::new(alias, chain, key, provider) {
                Ok(key) => keys.push(key),
                Err(what) => refused.push(what),
            }
        }
        let position = |alias: &String| keys.iter().position(|key| key.alias == *alias);
        let chosen = match &chosen {
            None => None,
            Some(alias) if !aliases.contains(alias) => {
                return Err(format!("has no key \"{alias}\"; its keys are: {}", aliases.join(", ")));
            }
            Some(alias) => Some(position(alias).ok_or_else(|| refused.join("; "))?),
        };
        // A key that cannot be used matters only if it is wanted.
        if keys.is_empty() {
            return Err(if refused.is_empty() {
                "holds no private key".to_owned()
            } else {
                refused.join("; ")
            });
        }
        Ok(Self { keys, chosen })
    }

    /// Each key's alias and certificate.
    pub fn certificates(&self) -> impl Iterator<Item = (&str, &CertificateDer<'static>)> {
        self.keys.iter().filter_map(|key| Some((key.alias.as_str(), key.certified.cert.first()?)))
    }

    /// The keys in the order they are to be tried.
    fn in_order(&self) -> impl Iterator<Item = &Key> {
        let chosen = self.chosen.and_then(|at| self.keys.get(at));
        chosen.into_iter().chain(&self.keys)
    }
}

impl Key {
    fn new(
        alias: String,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        provider: &CryptoProvider,
    ) -> Result<Self, String> {
        let cannot = |what: &str| format!("has the key \"{alias}\", {what}");
        let signer = provider.key_provider.load_private_key(key).map_err(|_| {
            cannot("which is of a kind that is not supported; use RSA from 2048 bits on, or EC on P-256, P-384, P-521")
        })?;
        let leaf = chain.first().ok_or_else(|| cannot("which has no certificate"))?;
        let leaf = Certificate::read(leaf).ok_or_else(|| cannot("whose certificate cannot be read"))?;
        let fits = signer.public_key().is_none_or(|public| public.as_ref() == leaf.spki());
        if !fits {
            return Err(cannot("which does not belong to its certificate"));
        }
        let issuers = chain.iter().filter_map(|certificate| {
            Certificate::read(certificate).map(|certificate| certificate.issuer().to_vec())
        });
        let issuers = issuers.collect();
        Ok(Self { certified: Arc::new(CertifiedKey::new(chain, signer)), issuers, alias })
    }

    fn signs_with(&self, schemes: &[SignatureScheme]) -> bool {
        self.certified.key.choose_scheme(schemes).is_some()
    }

    fn names(&self, host: &str) -> bool {
        let name = ServerName::try_from(host).ok();
        let host = name.as_ref().and_then(Host::of);
        let leaf = self.certified.cert.first().and_then(|leaf| Certificate::read(leaf));
        host.zip(leaf).is_some_and(|(host, leaf)| host.is_named_by(&leaf))
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Key| {
            let issued = key.issuers.iter().any(|issuer| root_hint_subjects.contains(&issuer.as_slice()));
            (root_hint_subjects.is_empty() || issued) && key.signs_with(sigschemes)
        };
        self.in_order().find(fits).map(|key| Arc::clone(&key.certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(chosen) = self.chosen.and_then(|at| self.keys.get(at)) {
            return Some(Arc::clone(&chosen.certified));
        }
        let usable = || self.keys.iter().filter(|key| key.signs_with(client_hello.signature_schemes()));
        let named = client_hello.server_name().and_then(|host| usable().find(|key| key.names(host)));
        // Where none is usable rustls finds out by itself what is lacking, and says that; none shown says nothing.
        named.or_else(|| usable().next()).or(self.keys.first()).map(|key| Arc::clone(&key.certified))
    }
}
