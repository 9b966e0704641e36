//! Spring's and Tomcat's own keys that operators' files carry.

use serde::Deserialize;

use crate::setting::{AnySetting, Setting, Standing};
use crate::value;

/// Every setting of this file, in the order people read them.
pub static ALL: &[&dyn AnySetting] = &[
    &CONFIG_LOCATION,
    &CONFIG_ADDITIONAL,
    &CONFIG_NAME,
    &CONFIG_IMPORT,
    &CONFIG_ACTIVATE,
    &PROFILES,
    &APPLICATION_NAME,
    &DEBUG,
    &TRACE,
    &RESOURCES,
    &WEB_RESOURCES,
    &MAIN,
    &MULTIPART,
    &FORWARD_HEADERS,
    &REMOTE_IP,
    &TOMCAT_THREADS,
    &TOMCAT_FORM_SIZE,
    &TOMCAT_SWALLOW,
    &TOMCAT_ACCESSLOG,
    &COMPRESSION,
    &HTTP2,
    &ERROR_PAGES,
    &MANAGEMENT_PORT,
    &MANAGEMENT,
];

const fn no_effect(key: &'static str, doc: &'static str) -> Setting<String> {
    Setting::new(key, "", value::text, doc).standing(Standing::NoEffect)
}

/// Where the files are.
pub static CONFIG_LOCATION: Setting<Vec<String>> = Setting::new(
    "spring.config.location",
    "",
    value::list,
    "Files or folders (ending in `/`) to read instead of the default ones; the last one wins; `optional:` may be absent.",
);
/// Which further files there are.
pub static CONFIG_ADDITIONAL: Setting<Vec<String>> = Setting::new(
    "spring.config.additional-location",
    "",
    value::list,
    "Files or folders to read after the others.",
);
/// What the file in a folder is called.
pub static CONFIG_NAME: Setting<String> = Setting::new(
    "spring.config.name",
    "application",
    value::text,
    "Name, without `.properties`, of the file in a folder.",
);
/// Files named within files.
pub static CONFIG_IMPORT: Setting<String> = no_effect("spring.config.import", "Further files named within a file.")
    .standing(Standing::Refused(
        "this build does not read imported files, and what they restrict would be lost; name them in spring.config.location",
    ));
/// Parts of a file that count only sometimes.
pub static CONFIG_ACTIVATE: Setting<String> =
    no_effect("spring.config.activate.*", "When a part of a file counts.").standing(Standing::Refused(
        "this build reads every part of a file whatever its condition; write one file for each environment",
    ));
/// Names of further files.
pub static PROFILES: Setting<Vec<String>> = Setting::new(
    "spring.profiles.active",
    "",
    value::list,
    "Profiles; their files (`application-NAME.properties`) are read after the plain one in the same folder.",
);
/// What this program is called.
pub static APPLICATION_NAME: Setting<String> =
    no_effect("spring.application.name", "Name of this installation, for logs and metrics.");
/// Spring's debug report.
pub static DEBUG: Setting<bool> =
    Setting::new("debug", "false", value::boolean, "Spring's start report.").standing(Standing::NoEffect);
/// Spring's trace report.
pub static TRACE: Setting<bool> =
    Setting::new("trace", "false", value::boolean, "Spring's longer start report.")
        .standing(Standing::NoEffect);
/// Static pages.
pub static RESOURCES: Setting<String> = no_effect("spring.resources.*", "Static pages; a proxy has none.");
/// Static pages, newer name.
pub static WEB_RESOURCES: Setting<String> =
    no_effect("spring.web.resources.*", "Static pages; a proxy has none.");
/// How a Spring program starts.
pub static MAIN: Setting<String> = no_effect("spring.main.*", "How a Spring program starts.");
/// Limits of uploads.
pub static MULTIPART: Setting<String> =
    no_effect("spring.servlet.multipart.*", "Limits of uploads; bodies of any size pass, unread.");

/// Spring's word for who is believed about the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForwardHeaders {
    /// Nobody.
    None,
    /// The container decides, by `server.tomcat.remoteip.*`.
    Native,
    /// Spring decides.
    Framework,
}

/// Whether forwarding headers tell the client's address.
pub static FORWARD_HEADERS: Setting<ForwardHeaders> = Setting::new(
    "server.forward-headers-strategy",
    "none",
    |text| value::choice(text).map_err(|_| "is not one of none, native, framework".to_owned()),
    "Whether headers tell the client's address; `proxy.ip.trusted-proxies` names whose count.",
)
.standing(Standing::NoEffect);
/// Tomcat's address rules.
pub static REMOTE_IP: Setting<String> = Setting::new(
    "server.tomcat.remoteip.*",
    "",
    value::text,
    "Which header tells the client's address (`X-Forwarded-For` only) and, as a regular expression, whose; `proxy.ip.trusted-proxies` names them.",
)
.standing(Standing::NoEffect);
/// Tomcat's threads.
pub static TOMCAT_THREADS: Setting<String> =
    no_effect("server.tomcat.threads.*", "Tomcat's threads; `server.workers` sets ours.");
/// A limit on forms.
pub static TOMCAT_FORM_SIZE: Setting<String> =
    no_effect("server.tomcat.max-http-form-post-size", "Limit of forms; bodies of any size pass, unread.")
        .aliases(&["server.tomcat.max-http-post-size"]);
/// A limit on discarded bodies.
pub static TOMCAT_SWALLOW: Setting<String> = no_effect(
    "server.tomcat.max-swallow-size",
    "How much of a refused body is read; ours has its own limit.",
);
/// Tomcat's access log.
pub static TOMCAT_ACCESSLOG: Setting<String> =
    Setting::new("server.tomcat.accesslog.*", "", value::verbatim, "Tomcat's access log.")
        .standing(Standing::NotYet);
/// Compression of answers.
pub static COMPRESSION: Setting<String> =
    no_effect("server.compression.*", "Compression; answers pass as they are.");
/// HTTP/2.
pub static HTTP2: Setting<String> = no_effect("server.http2.*", "HTTP/2; listeners speak HTTP/1.1.");
/// Spring's error pages.
pub static ERROR_PAGES: Setting<String> =
    no_effect("server.error.*", "Spring's error pages; ours are one sentence.");
/// The management listener. Without it nothing is exposed, so it counts as comfort.
pub static MANAGEMENT_PORT: Setting<Option<u16>> = Setting::new(
    "management.server.port",
    "",
    |text| match text.trim() {
        "" | "-1" => Ok(None),
        text => value::port(text).map(Some),
    },
    "Port of health and metrics; -1 or unset is none.",
)
.standing(Standing::NotYet);
/// Spring's other management keys.
pub static MANAGEMENT: Setting<String> =
    Setting::new("management.*", "", value::verbatim, "Spring's other management keys.")
        .standing(Standing::NotYet);
