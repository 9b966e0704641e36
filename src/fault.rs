//! What went wrong and whose fault it was. Status, code, sentence, retry and log level are decided here only.

use log::Level;

/// Whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client sent or did something wrong.
    Client,
    /// The request was in order but the operator's policy refuses it.
    Policy,
    /// The origin, or the way to it, failed.
    Upstream,
    /// We ran into one of our own limits.
    Proxy,
}

impl Blame {
    /// Whose fault it was, for the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Policy => "request, by the operator's policy",
            Self::Upstream => "target",
            Self::Proxy => "proxy",
        }
    }
}

/// A fault: `Copy`, without strings, small enough for the data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose fault.
    pub by: Blame,
    /// What happened.
    pub what: What,
}

macro_rules! faults {
    ($( $(#[$doc:meta])* $name:ident: $by:ident $status:literal $code:literal $sentence:literal; )*) => {
        /// Everything that can go wrong with an exchange.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum What { $( $(#[$doc])* $name, )* }

        impl What {
            /// Every row, for documentation and tests.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            const fn row(self) -> (Blame, u16, &'static str, &'static str) {
                match self { $( Self::$name => (Blame::$by, $status, $code, $sentence), )* }
            }
        }
    };
}

faults! {
    /// The request line does not follow RFC 9112 §3.
    BadRequestLine: Client 400 "bad_request" "the request line is malformed";
    /// A header line does not follow RFC 9112 §5.
    BadHeader: Client 400 "bad_request" "a header line is malformed";
    /// A line ends in a bare LF or holds a bare CR (RFC 9112 §2.2).
    BadLineEnd: Client 400 "bad_request" "a line does not end in CR LF";
    /// Content-Length and Transfer-Encoding disagree or are malformed (RFC 9112 §6).
    BadFraming: Client 400 "bad_framing" "the length of the body is ambiguous";
    /// Host is missing, repeated or malformed (RFC 9112 §3.2).
    BadHost: Client 400 "bad_request" "the Host header is missing, repeated or malformed";
    /// A chunk or a trailer is malformed (RFC 9112 §7.1).
    BadChunk: Client 400 "bad_framing" "the chunked body is malformed";
    /// The client closed in the middle of its request.
    Truncated: Client 400 "bad_request" "the request ended before it was complete";
    /// `x-target-host` cannot be used.
    BadTarget: Client 400 "bad_target" "the value of x-target-host is not a usable http or https target";
    /// The path of a request cannot be told from another, or leads out of ours (reverse listeners).
    BadPath: Client 400 "bad_path" "the path of the request leads above its root or is not escaped properly";
    /// The request head was not complete in time.
    HeadTimeout: Client 408 "request_timeout" "the request head did not arrive in time";
    /// The request body paused too long.
    BodyTimeout: Client 408 "request_timeout" "the request body did not arrive in time";
    /// The request line exceeds the head limit.
    TargetTooLong: Client 414 "uri_too_long" "the request line is longer than server.max-http-header-size";
    /// The head exceeds its limit.
    HeadTooLarge: Client 431 "head_too_large" "the request head is larger than server.max-http-header-size";
    /// More header lines than allowed.
    TooManyHeaders: Client 431 "too_many_headers" "the request has more than 100 header lines";
    /// A transfer coding other than chunked (RFC 9112 §6.1).
    UnknownCoding: Client 501 "unknown_coding" "the transfer coding is not supported";
    /// A version other than HTTP/1.0 and HTTP/1.1.
    BadVersion: Client 505 "bad_version" "only HTTP/1.0 and HTTP/1.1 are supported";
    /// The client went away or stopped reading.
    ClientGone: Client 400 "client_gone" "the client closed the connection before its answer was complete";
    /// The client stopped reading its answer.
    ClientStalled: Client 408 "client_stalled" "the client stopped reading its answer";

    /// `proxy.ip.allow` does not name the client.
    ClientDenied: Policy 403 "client_denied" "Not allow ip";
    /// The client has as many connections as `proxy.client.max-connections` lets it.
    ClientCapped: Policy 503 "too_many_connections" "the client has as many connections as it may (proxy.client.max-connections)";
    /// A connection brought no PROXY protocol header; in the log only.
    BadPreface: Client 400 "bad_proxy_protocol" "the connection did not begin with a PROXY protocol header (proxy.protocol)";
    /// Its header did not arrive in time; in the log only.
    PrefaceTimeout: Client 408 "proxy_protocol_timeout" "the PROXY protocol header did not arrive within proxy.protocol.timeout";
    /// No `x-target-host`.
    TargetMissing: Policy 403 "target_missing" "you have to include x-target-host header";
    /// The egress policy refuses the target.
    TargetDenied: Policy 403 "target_denied" "the egress policy does not allow this target (proxy.target.allow)";
    /// No route of the reverse listener takes the path.
    NoRoute: Policy 404 "no_route" "no route leads to this path";
    /// CONNECT on a reverse listener.
    ConnectNever: Policy 405 "connect_off" "a reverse listener serves no CONNECT";
    /// A rule of the egress policy denies the target.
    TargetBarred: Policy 403 "target_denied" "the egress policy denies this target (proxy.target.deny)";
    /// TRACE is never forwarded (it would echo credentials).
    TraceDenied: Policy 405 "method_not_allowed" "TRACE is not allowed";
    /// `x-reload-httpclient: true` while certificates are not validated.
    ReloadOff: Policy 405 "reload_off" "you have to enable validateCertificate properties ";
    /// `x-reload-httpclient: true` from a client that may not send it.
    ReloadDenied: Policy 403 "reload_denied" "x-reload-httpclient is taken from the proxy's own machine and from proxy.reload.allow only";
    /// No trust store is configured that a certificate could be added to.
    ReloadNoStore: Policy 500 "reload_failed" "there is no trust store to add the certificate to (server.ssl.trust-store)";
    /// The certificate of a target that was to be trusted could not be fetched.
    ReloadUnreached: Upstream 500 "reload_failed" "the target did not complete a TLS handshake, so its certificate was not added to the trust store";
    /// A certificate that would vouch for more than the host it came from, or not for it.
    ReloadUnfit: Upstream 500 "reload_failed" "the certificate of the target may issue others or does not name its host, so it was not added to the trust store";
    /// The command that follows a reload failed or took too long.
    ReloadShell: Proxy 500 "reload_failed" "the command of server.ssl.reloadShell failed, so the trust store is as it was";
    /// Anything else that kept a certificate from being added to the trust store.
    ReloadFailed: Proxy 500 "reload_failed" "the certificate was not added to the trust store; the log of the proxy says why";
    /// CONNECT while it is off.
    ConnectOff: Policy 405 "connect_off" "CONNECT is off (proxy.forward.forms); name the target in x-target-host";
    /// CONNECT to a port that is not meant for it.
    ConnectPort: Policy 403 "connect_port" "CONNECT may not reach this port (proxy.connect.ports)";
    /// No credential that `proxy.auth.file` could know.
    ProxyAuth: Policy 407 "proxy_auth" "the proxy wants a user name and a password (proxy.auth.file)";
    /// A wrong name or password.
    ProxyAuthWrong: Policy 407 "proxy_auth" "the user name or the password is wrong (proxy.auth.file)";
    /// More passwords wait to be verified than may.
    AuthBusy: Policy 503 "auth_busy" "too many passwords wait to be verified";
    /// A request names its target in a way that is off.
    FormOff: Policy 403 "form_off" "requests may not name their target like this (proxy.forward.forms)";

    /// An http target while `proxy.ssl.client.enabled=true`.
    HttpsOnly: Policy 403 "https_only" "only https targets are allowed (proxy.ssl.client.enabled)";
    /// Plain HTTP on a TLS port; the legacy's text.
    TlsRequired: Client 400 "tls_required" "Bad Request\r\nThis combination of host and port requires TLS.\r\n";
    /// The TLS handshake of a client did not end in time; in the log only.
    ClientTlsTimeout: Client 408 "client_tls_timeout" "the client did not complete its TLS handshake in time";
    /// A client's TLS handshake or a record of its failed; in the log only.
    ClientTlsFailed: Client 400 "client_tls_failed" "the TLS of the client failed";
    /// A client showed no certificate, or one we do not accept; in the log only.
    ClientCertRejected: Client 400 "client_cert_rejected" "the client showed no certificate that server.ssl.client-auth accepts";

    /// No chain from the origin's certificate to one we trust.
    TlsUntrusted: Upstream 502 "tls_untrusted" "the certificate of the target is not trusted (server.ssl.trust-store, proxy.targets[N].trust-store)";
    /// The origin's certificate names another host.
    TlsHostname: Upstream 502 "tls_hostname" "the certificate of the target does not name its host (proxy.ssl.client.verifyHostname)";
    /// The origin's certificate, or one above it, is outside its dates.
    TlsExpired: Upstream 502 "tls_expired" "a certificate of the target has expired or is not valid yet";
    /// The origin's certificate may not be used like this, or cannot be read.
    TlsCertificate: Upstream 502 "tls_certificate" "the certificate of the target may not be used for a TLS server (proxy.ssl.client.compat)";
    /// The key in the origin's certificate is too short to be trusted by anybody.
    TlsWeakKey: Upstream 502 "tls_weak_key" "the key in the certificate of the target is too weak, an RSA key needs 2048 bits; the target needs a new certificate";
    /// The origin shows another subject SERIALNUMBER than is configured for it.
    TlsSerialNumber: Upstream 502 "tls_serial_number" "the certificate of the target does not carry the SERIALNUMBER of proxy.targets[N].serial-number";
    /// The origin wants a certificate and we have none that fits.
    TlsClientCertRequired: Upstream 502 "tls_client_cert_required" "the target requires a client certificate and none of server.ssl.key-store was issued by an authority it names";
    /// The origin refuses the certificate we showed.
    TlsClientCertRejected: Upstream 502 "tls_client_cert_rejected" "the target rejected the client certificate of server.ssl.key-store";
    /// No TLS version, cipher suite or key exchange in common.
    TlsProtocol: Upstream 502 "tls_protocol" "the target and the proxy have no TLS version or cipher suite in common (proxy.ssl.client.tls-version)";
    /// Any other failure of TLS with the origin.
    TlsFailed: Upstream 502 "tls_failed" "the TLS connection to the target failed";
    /// The handshake with the origin did not end in time.
    TlsTimeout: Upstream 504 "tls_timeout" "the TLS handshake with the target did not end within proxy.ssl.client.handshakeTimeout";
    /// The name has no address.
    DnsFailed: Upstream 502 "dns_failed" "the name of the target could not be resolved";
    /// The target refused the connection.
    ConnectRefused: Upstream 502 "connect_refused" "the target refused the connection";
    /// No route, network down, no local port.
    ConnectFailed: Upstream 502 "connect_failed" "the target could not be reached";
    /// The connection did not open in time.
    ConnectTimeout: Upstream 504 "connect_timeout" "the target did not accept the connection within proxy.ssl.client.connectTimeout";
    /// The name was not resolved in time.
    DnsTimeout: Upstream 504 "dns_timeout" "the name of the target was not resolved within proxy.ssl.client.connectTimeout";
    /// The origin sent nothing for too long.
    ReadTimeout: Upstream 504 "read_timeout" "the target sent nothing within proxy.ssl.client.socketTimeout";
    /// The origin read nothing for too long.
    SendTimeout: Upstream 504 "send_timeout" "the target read nothing within proxy.ssl.client.socketTimeout";
    /// The origin closed without an answer.
    NoResponse: Upstream 502 "no_response" "the target closed the connection without an answer";
    /// The origin reset the connection before its answer.
    UpstreamReset: Upstream 502 "upstream_reset" "the target reset the connection";
    /// The origin's answer ended too early.
    ResponseTruncated: Upstream 502 "response_truncated" "the answer of the target ended before it was complete";
    /// The origin's answer is malformed or its length ambiguous.
    BadResponse: Upstream 502 "bad_response" "the answer of the target is malformed";
    /// The origin's head exceeds 64 KB or 100 header lines.
    ResponseHeadTooLarge: Upstream 502 "bad_response" "the head of the target's answer is too large";

    /// No pool slot in time.
    PoolTimeout: Proxy 503 "pool_timeout" "no connection to the target became free within proxy.ssl.client.connectionRequestTimeout";
    /// A limit of ours is reached.
    Overloaded: Proxy 503 "overloaded" "the proxy is at its limit";
}

impl What {
    /// The fault of this row.
    pub const fn fault(self) -> Fault {
        Fault { by: self.row().0, what: self }
    }

    /// The status of our answer.
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// The value of `X-Proxy-Error`.
    pub const fn code(self) -> &'static str {
        self.row().2
    }

    /// The sentence of our answer.
    pub const fn sentence(self) -> &'static str {
        self.row().3
    }

    /// Whether the body is one of the legacy's literal texts, which stay plain text whatever `Accept` says.
    pub const fn literal(self) -> bool {
        matches!(self, Self::ClientDenied | Self::TargetMissing | Self::ReloadOff | Self::TlsRequired)
    }

    /// Whether the framing of the client's connection can no longer be trusted, so that it closes after the answer.
    pub const fn closes(self) -> bool {
        match self.row().0 {
            Blame::Client => !matches!(self, Self::BadTarget | Self::BadPath),
            Blame::Policy => matches!(self, Self::ClientDenied),
            Blame::Upstream => false,
            Blame::Proxy => true,
        }
    }

    /// Whether another connection may be tried after a reused one failed like this before any byte of an answer
    /// (RFC 9112 §9.3.1; the other conditions are the exchange's to know).
    pub const fn retryable(self) -> bool {
        matches!(self, Self::NoResponse | Self::UpstreamReset)
    }

    /// Whether nothing of the request has reached its target, so that another one of the same route may be asked.
    pub const fn unreached(self) -> bool {
        matches!(
            self,
            Self::DnsFailed
                | Self::DnsTimeout
                | Self::ConnectRefused
                | Self::ConnectFailed
                | Self::ConnectTimeout
                | Self::TlsTimeout
                | Self::TlsFailed
                | Self::TlsProtocol
                | Self::TlsUntrusted
                | Self::TlsHostname
                | Self::TlsExpired
                | Self::TlsCertificate
                | Self::TlsWeakKey
                | Self::TlsSerialNumber
                | Self::TlsClientCertRequired
                | Self::TlsClientCertRejected
        )
    }

    /// Whether it tells against the target, so that others of its route are preferred for a while.
    pub const fn discredits(self) -> bool {
        self.unreached() || matches!(self, Self::ReadTimeout | Self::SendTimeout)
    }

    /// How loudly the operators' log speaks of it. Nothing an origin sends or a client does is an error of ours.
    pub const fn level(self) -> Level {
        match self.row().0 {
            Blame::Client => match self {
                // Anybody can connect to a port and speak no TLS.
                Self::BadPreface
                | Self::PrefaceTimeout
                | Self::ClientGone
                | Self::ClientStalled
                | Self::ClientTlsFailed
                | Self::ClientTlsTimeout => Level::Info,
                _ => Level::Warn,
            },
            // Whoever looks for holes asks for paths that are not there, and most clients ask without a password first.
            Blame::Policy if matches!(self, Self::NoRoute | Self::ProxyAuth) => Level::Info,
            Blame::Policy | Blame::Upstream => Level::Warn,
            Blame::Proxy => Level::Error,
        }
    }
}

impl From<What> for Fault {
    fn from(what: What) -> Self {
        what.fault()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_tokens_and_statuses_are_ours() {
        for what in What::ALL {
            assert!(what.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{what:?}");
            assert!(
                [400, 403, 404, 405, 407, 408, 414, 431, 500, 501, 502, 503, 504, 505]
                    .contains(&what.status()),
                "{what:?}"
            );
        }
    }

    #[test]
    fn one_code_has_one_status() {
        for a in What::ALL {
            for b in What::ALL {
                assert!(a.code() != b.code() || a.status() == b.status(), "{a:?} and {b:?}");
            }
        }
    }

    #[test]
    fn the_legacy_texts_are_exact() {
        assert_eq!(What::TargetMissing.sentence(), "you have to include x-target-host header");
        assert_eq!(What::ClientDenied.sentence(), "Not allow ip");
        assert_eq!(What::ReloadOff.sentence(), "you have to enable validateCertificate properties ");
    }
}
