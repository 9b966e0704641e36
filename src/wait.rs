//! What a connection waits for, and for how long: a timeout is one row here.

use crate::fault::What;
use crate::setting::{Setting, Source};
use crate::stats::Counter;
use crate::time::Millis;
use crate::value::{seconds, timeout};

macro_rules! waits {
    ($( $(#[$doc:meta])* $name:ident $setting:ident $key:literal $default:literal $parse:ident $aliases:expr, $fault:expr, $counter:ident $text:literal; )*) => {
        /// What a connection waits for now.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Wait { $( $(#[$doc])* $name, )* }

        impl Wait {
            /// Every row.
            pub const ALL: &[Self] = &[$( Self::$name, )*];

            /// What the exchange reports when the wait is over; `None` closes without a word.
            pub const fn fault(self) -> Option<What> {
                match self { $( Self::$name => $fault, )* }
            }

            /// The counter of waits that ran out.
            pub const fn counter(self) -> Counter {
                match self { $( Self::$name => Counter::$counter, )* }
            }
        }

        $(
            #[doc = $text]
            pub const $setting: Setting<Millis> = Setting::new($key, $default, $parse, $text).aliases($aliases);
        )*

        /// How long each wait may last.
        #[derive(Clone, Debug)]
        pub struct Waits([Millis; Wait::ALL.len()]);

        impl Waits {
            /// Reads every row from `source`.
            ///
            /// # Errors
            /// What is wrong with a text.
            pub fn from(source: &impl Source) -> Result<Self, String> {
                Ok(Self([$( source.value(&$setting)?, )*]))
            }
        }
    };
}

waits! {
    /// For a PROXY protocol header.
    Preface PREFACE "proxy.protocol.timeout" "5s" timeout &[],
        Some(What::PrefaceTimeout), PrefaceTimeouts "Longest wait for the PROXY protocol header of a connection (Spring duration: a plain number is milliseconds; 0 or -1 = no limit).";
    /// For a client to complete its TLS handshake.
    Handshake HANDSHAKE "proxy.client.handshake-timeout" "10s" timeout &[],
        Some(What::ClientTlsTimeout), HandshakeTimeouts "Longest TLS handshake of a client (Spring duration: a plain number is milliseconds; 0 or -1 = no limit).";
    /// For the rest of a request head, counted from its first byte.
    Head HEAD "server.tomcat.connection-timeout" "20s" timeout &["server.connection-timeout"],
        Some(What::HeadTimeout), HeadTimeouts "Longest time from the first byte of a request to the end of its head (Spring duration: a plain number is milliseconds; 0 or -1 = no limit).";
    /// For the next request of a connection.
    Idle IDLE "server.tomcat.keep-alive-timeout" "75s" timeout &[],
        None, IdleTimeouts "How long a client connection may stay idle between requests (Spring duration: a plain number is milliseconds; 0 or -1 = no limit); keep it above a load balancer's own.";
    /// For more of a request body.
    Body BODY "proxy.client.body-timeout" "60s" timeout &[],
        Some(What::BodyTimeout), BodyTimeouts "Longest pause inside a request body (Spring duration: a plain number is milliseconds; 0 or -1 = no limit).";
    /// For the client to close after an answer that ends its connection.
    Linger LINGER "proxy.client.lingering-timeout" "5s" timeout &[],
        None, LingerTimeouts "How long a closing connection is still read, so that a reset does not eat the answer (Spring duration: a plain number is milliseconds).";
    /// For the client to read its answer.
    ClientSend CLIENT_SEND "proxy.client.send-timeout" "60s" timeout &[],
        Some(What::ClientStalled), SendTimeouts "Longest pause of a client that reads its answer (Spring duration: a plain number is milliseconds; 0 or -1 = no limit).";
    /// For a connection permit.
    Queue QUEUE "proxy.ssl.client.connectionRequestTimeout" "60" seconds &[],
        Some(What::PoolTimeout), QueueTimeouts "Longest wait for a free connection to the target when a pool limit is reached (seconds; 0 or -1 = none).";
    /// For a connection to open, each address anew.
    Connect CONNECT "proxy.ssl.client.connectTimeout" "60" seconds &[],
        Some(What::ConnectTimeout), ConnectTimeouts "Longest time to resolve the target, and then to connect to each of its addresses (seconds; 0 or -1 = none).";
    /// For the TLS handshake with an origin.
    UpstreamHandshake UPSTREAM_HANDSHAKE "proxy.ssl.client.handshakeTimeout" "30" seconds &[],
        Some(What::TlsTimeout), UpstreamHandshakeTimeouts "Longest TLS handshake with a target (seconds; 0 or -1 = none).";
    /// For a password to be verified.
    Verify VERIFY "proxy.auth.timeout" "10s" timeout &[],
        Some(What::AuthBusy), VerifyTimeouts "Longest wait for a password to be verified by `proxy.auth.file` (Spring duration: a plain number is milliseconds; 0 or -1 = no limit).";
    /// For a reload that the request asks for.
    Reload RELOAD "proxy.reload.timeout" "60s" timeout &[],
        Some(What::ReloadFailed), ReloadTimeouts "Longest reload by `x-reload-httpclient`: connection, handshake and the command of `server.ssl.reloadShell` together, which is then killed and the trust store restored (Spring duration: a plain number is milliseconds; 0 or -1 = no limit).";
    /// For the origin to send more, or to read more.
    Response RESPONSE "proxy.ssl.client.socketTimeout" "60" seconds &[],
        Some(What::ReadTimeout), ReadTimeouts "Longest pause of a target that sends its answer or reads the request (seconds; 0 or -1 = none).";
    /// For a byte in either direction of a tunnel.
    Tunnel TUNNEL_IDLE "proxy.tunnel.idle-timeout" "5m" timeout &[],
        None, TunnelTimeouts "How long a tunnel (CONNECT, WebSocket) may stay without a byte in either direction (Spring duration: a plain number is milliseconds; 0 or -1 = no limit).";
    /// For the next exchange of a pooled connection.
    UpstreamIdle UPSTREAM_IDLE "proxy.httpclient.idle-timeout" "30s" timeout &[],
        None, IdleExpired "How long a connection to a target stays pooled when its Keep-Alive header names no time of its own (Spring duration: a plain number is milliseconds; 0 or -1 = no limit).";
}

impl Waits {
    /// How long `wait` may last.
    pub const fn of(&self, wait: Wait) -> Millis {
        self.0[wait as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Defaults;

    #[test]
    fn the_defaults_are_the_contracts() {
        let waits = Waits::from(&Defaults).expect("defaults parse");
        for wait in [Wait::Queue, Wait::Connect, Wait::Response] {
            assert_eq!(waits.of(wait), Millis::from_secs(60));
        }
        assert_eq!(waits.of(Wait::Idle), Millis::from_secs(75));
    }
}
