//! What keys mean together: the checks that one setting cannot make by itself.
//!
//! A rule is one function and one row in `RULES`.

use crate::config::later::spring;
use crate::config::sources::{Effective, Level};
use crate::credentials::settings as tls;
use crate::http::target::{Scheme, Target};
use crate::listener::{REVERSE_ADDRESS, REVERSE_PORT, REVERSE_SSL_PORT, SHARE, Share};
use crate::policy::egress::Egress;
use crate::policy::groups::SUBJECTS;
use crate::policy::routes::Routes;
use crate::policy::routes::reading::TARGET;
use crate::policy::subject_rule::ALLOW_SUBJECTS;
use crate::policy::trusted_proxies::TRUSTED_PROXIES;
use crate::setting::Source as _;
use crate::value::ClientAuth;

/// Every rule, in the order their sentences appear.
const RULES: [fn(&mut Effective); 6] =
    [implied_tls, some_listener, client_address, client_subjects, routes, egress];

/// Applies every rule.
pub(crate) fn judge(effective: &mut Effective) {
    for rule in RULES {
        rule(effective);
    }
}

/// Spring Boot's trap: any `server.ssl.*` key switches TLS on, unless `server.ssl.enabled` says otherwise.
fn implied_tls(effective: &mut Effective) {
    if let Some(key) = effective.implied_tls() {
        let enabled = tls::ENABLED.key;
        let what = format!(
            "switches the TLS listener on, because any server.ssl.* key does unless {enabled} is set (Spring Boot's rule); \
             write {enabled}=true to say so, or {enabled}=false to serve plain text"
        );
        effective.complain(Level::Note, &key, what);
    }
}

/// A process for the reverse listeners alone needs one.
fn some_listener(effective: &mut Effective) {
    let none =
        [&REVERSE_PORT, &REVERSE_SSL_PORT].iter().all(|setting| matches!(effective.value(setting), Ok(None)));
    if none && matches!(effective.value(&SHARE), Ok(Share::Reverse)) {
        let what =
            format!("leaves no listener to open; set {} or {}", REVERSE_PORT.key, REVERSE_SSL_PORT.key);
        effective.complain(Level::Error, SHARE.key, what);
    }
}

/// Spring's keys that ask to believe a header about the client's address say nothing of whom to believe; that is for
/// `proxy.ip.trusted-proxies`, and matters once addresses are judged.
fn client_address(effective: &mut Effective) {
    let header = "server.tomcat.remoteip.remote-ip-header";
    if effective.set(header).is_some_and(|name| !name.trim().eq_ignore_ascii_case("x-forwarded-for")) {
        let what = "names a header that is not read; write X-Forwarded-For, and whom it is believed from into \
                    proxy.ip.trusted-proxies";
        effective.complain(Level::Error, header, what.to_owned());
    }
    let set = |key: &str| effective.set(key).is_some();
    if set(TRUSTED_PROXIES.key) || !set("proxy.ip.allow") {
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
        let what = "asks to believe a header about the client's address, which proxy.ip.allow judges, but not whose; name \
                    the load balancers in proxy.ip.trusted-proxies, or remove it and let proxy.ip.allow name them";
        effective.complain(Level::Error, &key, what.to_owned());
    }
}

/// Nobody shows a certificate who is not asked for one.
fn client_subjects(effective: &mut Effective) {
    let asked = effective.value(&tls::CLIENT_AUTH).is_ok_and(|auth| auth != ClientAuth::None);
    let groups: Vec<String> = effective.members(&SUBJECTS).map(|(key, _)| key.to_owned()).collect();
    for key in groups.into_iter().chain([ALLOW_SUBJECTS.key.to_owned()]) {
        if !asked && effective.set(&key).is_some() {
            let what = "names subjects of client certificates, which nobody is asked for; set server.ssl.client-auth=need \
                        (or want) and the TLS listener's stores";
            effective.complain(Level::Error, &key, what.to_owned());
        }
    }
}

/// Routes are judged together, and none leads back to where it begins.
fn routes(effective: &mut Effective) {
    for (key, what) in Routes::read(effective, "").err().unwrap_or_default() {
        effective.complain(Level::Error, &key, what);
    }
    let ports = [&REVERSE_PORT, &REVERSE_SSL_PORT].map(|setting| effective.value(setting).ok().flatten());
    let address = effective.value(&REVERSE_ADDRESS).ok().flatten().map(|address| address.to_string());
    let is_here = |target: &Target| {
        let local = target.ip().map_or(target.host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback());
        (local || address.as_deref() == Some(&target.host)) && ports.contains(&Some(target.port))
    };
    let parse = |url: &[u8]| Target::parse(url, Scheme::Http).ok();
    let targets = effective.members(&TARGET).filter_map(|(key, urls)| Some((key.to_owned(), urls.ok()?)));
    let circles: Vec<String> = targets
        .filter(|(_, urls)| urls.iter().filter_map(|url| parse(url)).any(|target| is_here(&target)))
        .map(|(key, _)| key)
        .collect();
    for key in circles {
        let what = "leads to the reverse listener itself, so that a request would go round for ever; name another target";
        effective.complain(Level::Error, &key, what.to_owned());
    }
}

/// Groups that are for nobody, and the like. What does not parse has its sentence already.
fn egress(effective: &mut Effective) {
    if let Err((key, what)) = Egress::from(effective)
        && effective.entry(&key).is_none_or(|entry| entry.setting.check(&entry.text).is_ok())
    {
        effective.complain(Level::Error, &key, what);
    }
}
