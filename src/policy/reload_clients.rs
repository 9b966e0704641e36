//! `proxy.reload.allow`: which clients may have a target's certificate trusted by `x-reload-httpclient`.
//!
//! The proxy's own machine may without being named, but not for somebody else: a request that was relayed to it comes from
//! elsewhere, whatever its socket says.

use super::address_rule::AddressRules;
use crate::fault::What;
use crate::http::head::Header;
use crate::setting::Setting;
use std::net::IpAddr;

/// Who may reload, beside loopback.
pub static RELOAD_ALLOW: Setting<ReloadClients> = Setting::new(
    "proxy.reload.allow",
    "",
    |text| AddressRules::parse(text).map(|rules| ReloadClients { rules }),
    "Clients beside loopback that may send `x-reload-httpclient`, written as in proxy.ip.allow; others get 403. From \
     loopback, a request with X-Forwarded-For, Forwarded or Via counts as somebody else's.",
);

/// Headers of a request that somebody has relayed: it does not come from where its socket says.
const RELAYED: [&str; 3] = ["x-forwarded-for", "forwarded", "via"];

/// The clients that may reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReloadClients {
    rules: AddressRules,
}

impl ReloadClients {
    /// Judges a request to reload from a client whose socket has `address`.
    ///
    /// # Errors
    /// [`What::ReloadDenied`].
    pub fn judge(&self, address: IpAddr, headers: &[Header<'_>]) -> Result<(), What> {
        let relays = |name: &str| RELAYED.iter().any(|known| known.eq_ignore_ascii_case(name));
        let relayed = headers.iter().any(|header| relays(header.name));
        if self.allow(address, relayed) { Ok(()) } else { Err(What::ReloadDenied) }
    }

    /// Whether the client whose socket has `address` may; `relayed` when its request says that it was.
    fn allow(&self, address: IpAddr, relayed: bool) -> bool {
        (address.to_canonical().is_loopback() && !relayed) || self.rules.name(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_may_for_itself_and_others_by_name() {
        let allow = |rules: &str, address: &str, relayed| {
            let clients = (RELOAD_ALLOW.parse)(rules).unwrap();
            clients.allow(address.parse().unwrap(), relayed)
        };
        for own in ["127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1"] {
            assert!(allow("", own, false) && !allow("", own, true), "{own}");
        }
        for other in ["10.1.2.3", "2001:db8::1", "0.0.0.0", "::", "::ffff:10.1.2.3"] {
            assert!(!allow("", other, false) && !allow(" ; ", other, false), "{other}");
        }
        assert!(allow("10.1.2.*; ::1", "10.1.2.3", true) && !allow("10.1.2.*", "10.1.3.3", false));
        assert!(allow("10.1.2.*; ::1", "::1", true) && allow("10.1.2.*", "::1", false));
        assert!((RELOAD_ALLOW.parse)("300.1.1.1").is_err());
    }
}
