//! The TLS of our listeners: an identity, versions and suites, and whose clients may enter.

use super::{Loader, Trusted};
use crate::credentials::reverse;
use crate::credentials::settings::{self as common, FORWARD, Keys};
use crate::listener::REVERSE_SSL_PORT;
use crate::setting::Source as _;
use crate::tls::client_verify::{ClientVerifier, Demand};
use crate::tls::context::Inbound;
use crate::tls::identity::Identity;
use crate::tls::suites;
use crate::value::ClientAuth;
use rustls::crypto::CryptoProvider;
use std::sync::Arc;

impl Loader<'_> {
    /// The TLS of the forward listener; `None` is plain.
    pub(super) fn forward_inbound(
        &mut self,
        identity: Option<&Arc<Identity>>,
        trusted: Option<&Trusted>,
        post_quantum: bool,
    ) -> Option<Inbound> {
        let effective = self.effective;
        let enabled = effective.value(&common::ENABLED).is_ok_and(|enabled| enabled);
        if !enabled && effective.implied_tls().is_none() {
            return None;
        }
        let key = common::ENABLED.key;
        let named = [common::KEY_STORE.key, common::CERTIFICATE.key, common::CERTIFICATE_PRIVATE_KEY.key];
        let Some(identity) = identity else {
            if named.iter().all(|key| effective.set(key).is_none()) {
                let what = "switches the TLS listener on, which needs server.ssl.key-store, or server.ssl.certificate and \
                            server.ssl.certificate-private-key; to serve plain text write server.ssl.enabled=false";
                let blamed = effective.implied_tls().unwrap_or_else(|| key.to_owned());
                self.complain(&blamed, what.to_owned());
            }
            return None;
        };
        let demand = self.demand(&FORWARD);
        if demand.is_some() {
            // Only what is common to all targets was read so far.
            self.inbound_files = self.files.keys().cloned().collect();
        }
        let clients = match demand {
            Some(demand) => Some((demand, trusted?)),
            None => None,
        };
        self.inbound(&FORWARD, identity, clients, post_quantum)
    }

    /// The TLS of the reverse listener, whose files are its own.
    pub(super) fn reverse_inbound(
        &mut self,
        provider: &Arc<CryptoProvider>,
        post_quantum: bool,
    ) -> Option<Inbound> {
        let keys = &reverse::KEYS;
        self.effective.set(REVERSE_SSL_PORT.key)?;
        let others = std::mem::take(&mut self.files);
        let named = [keys.key_store, keys.certificate, keys.certificate_private_key];
        if named.iter().all(|setting| self.effective.set(setting.key).is_none()) {
            let what = "opens a TLS listener, which needs proxy.reverse.ssl.key-store, or proxy.reverse.ssl.certificate \
                        and proxy.reverse.ssl.certificate-private-key";
            self.complain(REVERSE_SSL_PORT.key, what.to_owned());
        }
        let identity = self.keys_of(keys, provider);
        let demand = self.demand(keys);
        let trusted = demand.and_then(|demand| Some((demand, self.common_trust(keys)?)));
        self.reverse_files = self.files.keys().cloned().collect();
        self.files.extend(others);
        if demand.is_some() && trusted.is_none() {
            return None;
        }
        let clients = trusted.as_ref().map(|(demand, trusted)| (*demand, trusted));
        self.inbound(keys, &identity?, clients, post_quantum)
    }

    /// What a listener asks of its clients. What does not parse has had its sentence.
    fn demand(&self, keys: &Keys) -> Option<Demand> {
        match self.effective.value(keys.client_auth).ok()? {
            ClientAuth::None => None,
            ClientAuth::Want => Some(Demand::Want),
            ClientAuth::Need => Some(Demand::Need),
        }
    }

    /// The TLS of a listener.
    fn inbound(
        &mut self,
        keys: &Keys,
        identity: &Arc<Identity>,
        clients: Option<(Demand, &Trusted)>,
        post_quantum: bool,
    ) -> Option<Inbound> {
        let suites = self.effective.value(keys.ciphers).ok()?;
        let versions = self.effective.value(keys.enabled_protocols).ok()?;
        let provider = suites::provider(&suites, post_quantum);
        let clients = clients.map(|(demand, trusted)| {
            if trusted.of_system {
                self.remarks.push(format!(
                    "risk: {} lets in whoever has a certificate of any public authority, because {} is unset",
                    keys.client_auth.key, keys.trust_store.key
                ));
            }
            ClientVerifier::new(Arc::clone(&trusted.trust), demand, &provider, self.notes)
        });
        let made = Inbound::new(Arc::clone(identity), clients, &versions, &provider);
        self.note(keys.ciphers.key, made)
    }
}
