//! What keys mean together: the checks that one setting cannot make by itself.
//!
//! A rule is one function and one row in `RULES`.

use crate::config::files;
use crate::config::later::{proxy, spring, tls};
use crate::config::sources::{Effective, Level};
use crate::config::spring::uniform;
use crate::logging::LEVEL;
use crate::setting::Source as _;
use log::LevelFilter;
use std::path::Path;

/// Every rule, in the order their sentences appear.
const RULES: [fn(&mut Effective); 5] =
    [implied_tls, stores_exist, client_address, header_form, request_lines];

/// Applies every rule.
pub(crate) fn judge(effective: &mut Effective) {
    for rule in RULES {
        rule(effective);
    }
}

/// Spring Boot's trap: any `server.ssl.*` key switches TLS on, unless `server.ssl.enabled` says otherwise.
fn implied_tls(effective: &mut Effective) {
    let enabled = tls::ENABLED.key;
    if effective.entry(enabled).is_some_and(|entry| !entry.text.trim().is_empty()) {
        return;
    }
    let known = effective.entries().map(|(key, _)| key);
    let mut keys = known.chain(effective.unknown.iter().map(|unknown| unknown.key.as_str()));
    let implied =
        keys.find(|key| *key != enabled && uniform(key).starts_with("server.ssl.")).map(str::to_owned);
    drop(keys);
    if let Some(key) = implied {
        let what = format!(
            "switches the TLS listener on, because any server.ssl.* key does unless {enabled} is set (Spring Boot's \
             rule), and this build has no TLS listener; write {enabled}=false to serve plain text"
        );
        effective.complain(Level::Error, &key, what);
    }
}

/// Stores that are named must be there, whether they are used yet or not.
fn stores_exist(effective: &mut Effective) {
    for setting in tls::STORES {
        let location = effective.value(setting).unwrap_or_default();
        // PEM keys and certificates may stand in the value itself.
        if location.is_empty() || location.starts_with("-----BEGIN") {
            continue;
        }
        let found = effective.search.find(&location).map_err(|missing| missing.to_string());
        let judged = found.and_then(|path| {
            files::readable(&path).map_err(|what| format!("leads to {}, which {what}", path.display()))
        });
        if let Err(what) = judged {
            let hint = other_cacerts(&location).unwrap_or_default();
            effective.complain(Level::Error, setting.key, what + &hint);
        }
    }
}

/// Where this machine keeps the Java trust store that another distribution's path was written for.
fn other_cacerts(location: &str) -> Option<String> {
    const PLACES: [&str; 3] =
        ["/etc/ssl/certs/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts", "/etc/pki/java/cacerts"];
    let found = PLACES.iter().find(|place| location.ends_with("/cacerts") && Path::new(place).exists())?;
    Some(format!("; this machine has file:{found}"))
}

/// Keys that ask to believe a header about the client's address matter once addresses are judged.
fn client_address(effective: &mut Effective) {
    if effective.entry("proxy.ip.allow").is_none_or(|entry| entry.text.trim().is_empty()) {
        return;
    }
    let headers = effective
        .members(&spring::REMOTE_IP)
        .filter(|(_, text)| text.as_ref().is_ok_and(|text| !text.is_empty()));
    let mut asking: Vec<String> = headers.map(|(key, _)| key.to_owned()).collect();
    if !matches!(effective.value(&spring::FORWARD_HEADERS), Ok(spring::ForwardHeaders::None)) {
        asking.push(spring::FORWARD_HEADERS.key.to_owned());
    }
    for key in asking {
        let what = "asks to believe a header about the client's address, while this build judges proxy.ip.allow by \
                    the socket's address; remove it and let proxy.ip.allow name those addresses";
        effective.complain(Level::Error, &key, what.to_owned());
    }
}

/// The one form of this build cannot be switched off.
fn header_form(effective: &mut Effective) {
    if effective.value(&proxy::FORMS).is_ok_and(|forms| !forms.contains(&proxy::Form::Header)) {
        let what = "leaves out header, the only form of this build; add header";
        effective.complain(Level::Error, proxy::FORMS.key, what.to_owned());
    }
}

/// Loggers of the legacy that wrote a line for each request.
fn request_lines(effective: &mut Effective) {
    const LOGGERS: [&str; 4] =
        ["web.client.RestTemplate", "org.apache.http", "httpclient.wire", "CommonsRequestLoggingFilter"];
    let loud = effective.members(&LEVEL).filter(|(key, level)| {
        LOGGERS.iter().any(|logger| key.contains(logger))
            && level.as_ref().is_ok_and(|level| *level >= LevelFilter::Debug)
    });
    let loud: Vec<String> = loud.map(|(key, _)| key.to_owned()).collect();
    for key in loud {
        let what = "is accepted; the lines of this logger come in a later version";
        effective.complain(Level::Note, &key, what.to_owned());
    }
}
