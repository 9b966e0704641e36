//! What the tests of single rules share: a trust store, a way of verifying, and the verdict as a word.

use std::sync::Arc;

use apim_proxy::tls::notes::Notes;
use apim_proxy::tls::refusal::Refusal;
use apim_proxy::tls::trust::Trust;
use apim_proxy::tls::verify::{ServerVerifier, Verification};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::handshake::provider;
use crate::pki::Issued;

/// A verifier and its notes.
pub struct Stand {
    pub verifier: Arc<ServerVerifier>,
    pub notes: Arc<Notes>,
}

pub fn trust(entries: &[(&str, &Issued)]) -> Arc<Trust> {
    Arc::new(Trust::new(entries.iter().map(|(alias, issued)| ((*alias).to_owned(), issued.der()))))
}

pub fn strict() -> Verification {
    Verification::default()
}

pub fn java() -> Verification {
    Verification { compat_java: true, ..strict() }
}

/// The legacy's: names are not looked at.
pub fn any_name() -> Verification {
    Verification { verify_hostname: false, ..strict() }
}

pub fn name(host: &str) -> ServerName<'static> {
    ServerName::try_from(host.to_owned()).expect("a host")
}

/// `ok`, or the code of the fault.
pub fn word(verdict: &Result<(), Refusal>) -> &'static str {
    verdict.as_ref().map_or_else(|refusal| refusal.what().code(), |()| "ok")
}

impl Stand {
    pub fn new(trust: Arc<Trust>, verification: Verification) -> Self {
        let notes = Arc::new(Notes::default());
        Self { verifier: ServerVerifier::new(trust, verification, &provider(), &notes), notes }
    }

    pub fn judge(&self, chain: &[&Issued], host: &str) -> &'static str {
        word(&self.verdict(chain, host))
    }

    pub fn verdict(&self, chain: &[&Issued], host: &str) -> Result<(), Refusal> {
        let chain: Vec<_> = chain.iter().map(|issued| issued.der()).collect();
        self.judge_der(&chain, host)
    }

    pub fn judge_der(&self, chain: &[CertificateDer<'_>], host: &str) -> Result<(), Refusal> {
        let (leaf, above) = chain.split_first().expect("a certificate");
        self.verifier.judge(leaf, above, &name(host), UnixTime::now())
    }

    pub fn recheck(&self, chain: &[&Issued], host: &str) -> &'static str {
        let chain: Vec<_> = chain.iter().map(|issued| issued.der()).collect();
        word(&self.verifier.recheck(&chain, &name(host), UnixTime::now()))
    }
}
