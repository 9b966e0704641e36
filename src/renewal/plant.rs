//! `x-reload-httpclient`, the part that touches files: the certificate of a target goes into the trust store, the operator's
//! command runs, and then new connections trust it. Either all of this happens or nothing of it.
//!
//! ```text
//! fetch -> trusted already? -> fit to be planted? -> lock, write -> load, judge -> command -> swap
//!             yes: done                                 |             |              |
//!                                                       +---<---------+------<-------+  on failure: the old store
//! ```

use crate::credentials::Credentials;
use crate::credentials::load::{self, Complaint};
use crate::credentials::settings::{RELOAD_SHELL, TRUST_STORE, TRUST_STORE_PASSWORD};
use crate::fault::What;
use crate::io::ReloadAsk;
use crate::keystore::{self, fingerprint};
use crate::renewal::limit::Limit;
use crate::renewal::peer::{Failure, Way};
use crate::renewal::vault::Vault;
use crate::renewal::{Keeper, Outcome, shell};
use crate::setting::Source as _;
use crate::tls::certificate::Certificate;
use crate::tls::probe::{self, Shown};
use crate::tls::trust::{Standing, standing};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// What the operator's command finds beside the trust store.
const NEW_CERTIFICATE: &str = "newCert.crt";

fn failed(why: impl Into<String>) -> Failure {
    Failure::new(What::ReloadFailed, why)
}

impl Keeper {
    /// Has the certificate of the target trusted for its host; says what was done.
    pub(super) fn plant(&mut self, ask: &ReloadAsk, limit: Limit) -> Result<String, Failure> {
        let Some(path) = self.credentials.trust_store.clone() else {
            return Err(Failure::new(What::ReloadNoStore, "server.ssl.trust-store names no file"));
        };
        // What others have done to the store comes first: another proxy that shares it, or an operator.
        match self.look_until_settled() {
            Outcome::Same | Outcome::Taken => {}
            Outcome::Unsettled => return Err(failed("a key or trust store is being written")),
            Outcome::Refused(_) => return Err(failed("a key or trust store has changed and is refused")),
        }
        let config = self.readers.current.config();
        let way = Way { config: &config, resolver: &self.readers.resolver, own: &self.readers.own, limit };
        let shown = way.fetch(ask)?;
        if verdict(&self.credentials, ask, &shown).is_ok() {
            return Ok("it is trusted already and nothing was changed".to_owned());
        }
        let alias = alias(&ask.host);
        let subject = fit(&alias, &shown)?;
        let vault = Vault::lock(&path, limit).map_err(failed)?;
        let old = vault.read().map_err(failed)?;
        if self.credentials.files.get(&path) != Some(&fingerprint(&old)) {
            return Err(failed("the trust store has just been changed"));
        }
        let new = self.with_certificate(&old, &alias, &shown)?;
        vault.replace(&new).map_err(failed)?;
        match self.adopt(ask, &shown, &vault, &path, limit) {
            Ok(loaded) => {
                self.take(loaded);
                Ok(format!("{subject} is now trusted as \"{alias}\" of {}", path.display()))
            }
            Err(mut failure) => {
                if let Err(why) = vault.replace(&old) {
                    failure.why = format!("{}; and the old store could not be restored: {why}", failure.why);
                }
                Err(failure)
            }
        }
    }

    /// The store with the certificate under the alias.
    fn with_certificate(
        &self,
        old: &[u8],
        alias: &str,
        shown: &Shown,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // A PEM file of server.ssl.trust-certificate has no password.
        let password =
            self.effective.set(TRUST_STORE.key).and(self.effective.entry(TRUST_STORE_PASSWORD.key));
        let password = password.map(|entry| entry.text.as_str());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        keystore::with_trusted(old, password, alias, &shown.leaf, now).map(Zeroizing::new).map_err(failed)
    }

    /// Reads the changed store as a restart would, runs the operator's command, and hands out what is to count.
    fn adopt(
        &self,
        ask: &ReloadAsk,
        shown: &Shown,
        vault: &Vault,
        path: &Path,
        limit: Limit,
    ) -> Result<Credentials, Failure> {
        let loaded = self.load_planted(ask, shown, vault)?;
        let command = self.effective.value(&RELOAD_SHELL).map_err(failed)?;
        if command.is_empty() {
            return Ok(loaded);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        vault
            .put(&folder.join(NEW_CERTIFICATE), keystore::pem::encode(&shown.leaf).as_bytes())
            .map_err(failed)?;
        shell::run(&command, folder, limit)
            .map_err(|why| Failure::new(What::ReloadShell, format!("server.ssl.reloadShell: {why}")))?;
        // The command may have had a hand in the store itself.
        self.load_planted(ask, shown, vault)
    }

    fn load_planted(&self, ask: &ReloadAsk, shown: &Shown, vault: &Vault) -> Result<Credentials, Failure> {
        let loaded = load::load(&self.effective, &self.readers.board.notes).map_err(|complaints| {
            let sentences = complaints.iter().map(|Complaint { key, what }| format!("{key} {what}"));
            failed(sentences.collect::<Vec<_>>().join("; "))
        })?;
        let ours = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|path| path == vault.path());
        if let Some((other, _)) = loaded
            .files
            .iter()
            .find(|(path, content)| self.credentials.files.get(*path) != Some(*content) && !ours(path))
        {
            return Err(failed(format!("{} is changing as well", other.display())));
        }
        verdict(&loaded, ask, shown).map_err(|refusal| {
            failed(format!("it would still be refused with the changed store: {refusal}"))
        })?;
        Ok(loaded)
    }
}

/// What connections of these credentials would make of the target.
fn verdict(credentials: &Credentials, ask: &ReloadAsk, shown: &Shown) -> Result<(), String> {
    let profile = credentials.targets.of(&ask.host, ask.port);
    let outbound = profile.tls.as_ref().ok_or("there is no TLS to it")?;
    probe::judge(outbound, &ask.host, shown).map_err(|refusal| refusal.to_string())
}

/// The certificate's subject, if it may be planted: an authority's would vouch for more than the host.
fn fit(alias: &str, shown: &Shown) -> Result<String, Failure> {
    let unfit = |why: String| Failure::new(What::ReloadUnfit, why);
    let certificate =
        Certificate::read(&shown.leaf).ok_or_else(|| unfit("its certificate cannot be read".to_owned()))?;
    let subject = certificate.subject_text();
    match standing(alias, &certificate) {
        Standing::Planted => Ok(subject),
        Standing::Authority => Err(unfit(format!(
            "{subject} may issue certificates, so that it would be trusted for every host; import it by hand if that is meant"
        ))),
        Standing::Peer => Err(unfit(format!(
            "{subject} does not name {alias}, so that it would be trusted for more than this host; import it by hand if that \
             is meant"
        ))),
    }
}

/// The alias of a host: lower case, no final dot, addresses in one spelling.
fn alias(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host.parse::<IpAddr>().map_or(host, |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_the_host_in_one_spelling() {
        for (host, expected) in [
            ("API.Bank.Example", "api.bank.example"),
            ("www.bank.example.", "www.bank.example"),
            ("10.0.0.1", "10.0.0.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
        ] {
            assert_eq!(alias(host), expected);
        }
    }
}
