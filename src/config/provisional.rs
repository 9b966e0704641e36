//! Settings whose users are being written: each moves beside its user, and this file goes.

use std::net::IpAddr;

use crate::setting::{AnySetting, Setting};
use crate::time::Millis;
use crate::value;

/// The listener's settings.
pub static LISTENER: &[&dyn AnySetting] = &[&PORT, &ADDRESS, &WORKERS, &SHUTDOWN, &SHUTDOWN_PHASE];
/// Limits and timeouts towards clients.
pub static CLIENTS: &[&dyn AnySetting] = &[
    &HEAD_BYTES,
    &KEEP_ALIVE_TIMEOUT,
    &MAX_KEEP_ALIVE_REQUESTS,
    &CONNECTION_TIMEOUT,
    &MAX_CONNECTIONS,
    &ACCEPT_COUNT,
    &ERROR_COMPAT,
];
/// Limits and timeouts towards targets.
pub static TARGETS: &[&dyn AnySetting] = &[
    &CONNECT_TIMEOUT,
    &SOCKET_TIMEOUT,
    &REQUEST_TIMEOUT,
    &MAX_PER_ROUTE,
    &MAX_TOTAL,
    &DNS_TTL,
    &DNS_NEGATIVE_TTL,
];
/// Who may enter and where they may go.
pub static POLICY: &[&dyn AnySetting] = &[&IP_ALLOW, &TARGET_ALLOW, &HEADER_FILTER];

static PORT: Setting<u16> = Setting::new(
    "server.port",
    "8080",
    value::port,
    "Port of the forward listener; 0 lets the system choose.",
);
static ADDRESS: Setting<Option<IpAddr>> = Setting::new(
    "server.address",
    "",
    |text| match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| "is not an IP address".to_owned()),
    },
    "Address of the forward listener; unset is every address.",
);
static WORKERS: Setting<u64> = Setting::new(
    "server.workers",
    "0",
    |text| value::whole(text, 0..=1024),
    "Worker threads; 0 is one per core.",
);
static SHUTDOWN: Setting<String> = Setting::new(
    "server.shutdown",
    "graceful",
    value::text,
    "`graceful` finishes exchanges, `immediate` does not.",
);
static SHUTDOWN_PHASE: Setting<Millis> = Setting::new(
    "spring.lifecycle.timeout-per-shutdown-phase",
    "30s",
    value::duration,
    "How long a graceful stop may take.",
);
static HEAD_BYTES: Setting<u64> =
    Setting::new("server.max-http-header-size", "8KB", value::size, "Largest request head; larger is 431.");
static KEEP_ALIVE_TIMEOUT: Setting<Millis> = Setting::new(
    "server.tomcat.keep-alive-timeout",
    "75s",
    value::timeout,
    "How long a client connection may idle between requests.",
);
static MAX_KEEP_ALIVE_REQUESTS: Setting<String> = Setting::new(
    "server.tomcat.max-keep-alive-requests",
    "-1",
    value::text,
    "Requests per client connection; -1 is no limit.",
);
static CONNECTION_TIMEOUT: Setting<Millis> = Setting::new(
    "server.tomcat.connection-timeout",
    "20s",
    value::timeout,
    "How long a request head may take.",
);
static MAX_CONNECTIONS: Setting<usize> = Setting::new(
    "server.tomcat.max-connections",
    "8192",
    value::count,
    "Largest number of client connections.",
);
static ACCEPT_COUNT: Setting<usize> =
    Setting::new("server.tomcat.accept-count", "100", value::count, "Connections the kernel may queue.");
static ERROR_COMPAT: Setting<bool> = Setting::new(
    "proxy.error.compat",
    "false",
    value::boolean,
    "Whether failures answer 500 with the legacy's texts instead of 502, 503 and 504.",
);
static CONNECT_TIMEOUT: Setting<Millis> = Setting::new(
    "proxy.ssl.client.connectTimeout",
    "60",
    value::seconds,
    "Connect timeout in seconds; 0 or -1 is none.",
);
static SOCKET_TIMEOUT: Setting<Millis> = Setting::new(
    "proxy.ssl.client.socketTimeout",
    "60",
    value::seconds,
    "How long a target may be silent, in seconds; 0 or -1 is no limit.",
);
static REQUEST_TIMEOUT: Setting<Millis> = Setting::new(
    "proxy.ssl.client.connectionRequestTimeout",
    "60",
    value::seconds,
    "How long a request may wait for a connection of the pool, in seconds; 0 or -1 is no limit.",
);
static MAX_PER_ROUTE: Setting<usize> = Setting::new(
    "proxy.httpclient.maxConnPerRoute",
    "200",
    value::count,
    "Largest number of connections to one target.",
);
static MAX_TOTAL: Setting<String> = Setting::new(
    "proxy.httpclient.maxConnTotal",
    "",
    value::text,
    "Largest number of connections to all targets.",
);
static DNS_TTL: Setting<Millis> =
    Setting::new("networkaddress.cache.ttl", "30", value::seconds, "Seconds a resolved name is kept.");
static DNS_NEGATIVE_TTL: Setting<Millis> =
    Setting::new("networkaddress.cache.negative.ttl", "10", value::seconds, "Seconds a failed name is kept.");
static IP_ALLOW: Setting<String> =
    Setting::new("proxy.ip.allow", "", value::text, "Client addresses that may enter; unset is all.");
static TARGET_ALLOW: Setting<String> =
    Setting::new("proxy.target.allow", "", value::text, "Targets that built-in denials do not concern.");
static HEADER_FILTER: Setting<Vec<String>> = Setting::new(
    "proxy.header.filter",
    "host,x-target-host",
    value::list,
    "Request headers that are not forwarded, as a comma list of whole names.",
);
