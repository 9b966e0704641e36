//! Counters, gauges and latency histograms of one worker, one row each; written by the worker alone, read by anyone.
//!
//! A cell is an atomic only so that it can be read from another thread: the owner loads and stores, it never needs a
//! locked read-modify-write.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! rows {
    ($(#[$meta:meta])* $name:ident { $( $row:ident $text:literal $help:literal; )* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( #[doc = $help] $row, )* }

        impl $name {
            /// Every row, in printing order.
            pub const ALL: &[Self] = &[$( Self::$row, )*];

            /// The name it is printed under.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$row => $text, )* }
            }

            /// What it counts.
            pub const fn help(self) -> &'static str {
                match self { $( Self::$row => $help, )* }
            }
        }
    };
}

rows! {
    /// One number a worker keeps.
    Counter {
        Accepted "clients_accepted" "Client connections accepted.";
        HandedOff "clients_handed_off" "Client connections given to a worker with room.";
        Rejected "clients_rejected" "Client connections answered 503 because every worker was full.";
        Denied "clients_denied" "Requests refused because the client's address is not allowed.";
        TargetsDenied "targets_denied" "Targets and addresses of targets that the egress policy denied.";
        TargetsReported "targets_reported" "Those it would have denied, were proxy.target.mode not report.";
        Capped "clients_capped" "Client connections turned away because their client has as many as it may.";
        PrefacesRefused "proxy_protocol_refused" "Connections closed because they brought no PROXY protocol header, or not from a trusted proxy.";
        ClientsNow "clients_now" "Client connections open now.";
        ExchangesNow "exchanges_now" "Exchanges in progress now.";
        Requests "requests" "Requests whose head was complete and well-formed.";
        Answers "answers" "Answers relayed whole from an origin.";
        Refusals "refusals" "Answers of our own.";
        Tunnels "tunnels" "Tunnels opened, by CONNECT or by an upgrade.";
        Aborted "exchanges_aborted" "Exchanges cut off in the middle of an answer.";
        ClientGone "clients_gone" "Clients that left before their answer was complete.";
        Retries "retries" "Requests sent again after a reused connection failed.";
        Failovers "failovers" "Requests given to another target of their route because one could not be reached.";
        Reused "upstreams_reused" "Requests that went out on a pooled connection.";
        Dialled "upstreams_dialled" "Connections to origins begun.";
        DialFailed "upstreams_failed" "Connections to origins that did not open.";
        DialledPrivate "upstreams_private" "Those begun to private addresses.";
        UpstreamsNow "upstreams_now" "Connections to origins open now.";
        IdleNow "upstreams_idle_now" "Connections to origins idle in the pool now.";
        IdleLost "upstreams_idle_lost" "Idle connections dropped because the origin closed them or spoke unasked.";
        IdleExpired "upstreams_idle_expired" "Idle connections closed because their time in the pool was over.";
        IdleYielded "upstreams_idle_yielded" "Idle connections closed so that a waiting request could have their permit.";
        Queued "requests_queued" "Requests that waited for a connection permit.";
        Starved "clients_starved" "Times a client waited because every buffer was promised.";
        HeadTimeouts "timeouts_head" "Requests whose head did not arrive in time.";
        BodyTimeouts "timeouts_body" "Requests whose body paused too long.";
        IdleTimeouts "timeouts_idle" "Client connections closed after their keep-alive time.";
        LingerTimeouts "timeouts_linger" "Client connections cut off while lingering.";
        SendTimeouts "timeouts_send" "Clients that stopped reading their answer.";
        PrefaceTimeouts "timeouts_proxy_protocol" "Connections whose PROXY protocol header did not arrive in time.";
        HandshakeTimeouts "timeouts_client_handshake" "Clients that did not complete their TLS handshake in time.";
        UpstreamHandshakeTimeouts "timeouts_upstream_handshake" "Origins that did not complete their TLS handshake in time.";
        QueueTimeouts "timeouts_queue" "Requests that got no connection permit in time.";
        ConnectTimeouts "timeouts_connect" "Connections to origins that did not open in time.";
        ReloadTimeouts "timeouts_reload" "Requests for a reload that nobody answered in time.";
        VerifyTimeouts "timeouts_verify" "Requests whose password was not verified in time.";
        TunnelTimeouts "timeouts_tunnel" "Tunnels that carried nothing for too long.";
        ReadTimeouts "timeouts_read" "Origins that stopped sending or reading.";
        ClientTlsFull "client_tls_full" "TLS handshakes of clients done in full.";
        ClientTlsResumed "client_tls_resumed" "TLS handshakes of clients that resumed a session.";
        ClientTlsFailed "client_tls_failed" "TLS handshakes of clients that failed.";
        TlsFull "tls_full" "TLS handshakes with origins done in full.";
        TlsResumed "tls_resumed" "TLS handshakes with origins that resumed a session.";
        TlsFailed "tls_failed" "TLS handshakes with origins that failed.";
        HandshakesQueued "handshakes_queued" "Requests that waited because enough handshakes with their origin were under way.";
        BytesFromClients "bytes_from_clients" "Bytes received from clients.";
        BytesToClients "bytes_to_clients" "Bytes sent to clients.";
        BytesFromUpstreams "bytes_from_upstreams" "Bytes received from origins.";
        BytesToUpstreams "bytes_to_upstreams" "Bytes sent to origins.";
        BytesSpliced "bytes_spliced" "Bytes that went from one connection to the other inside the kernel.";
        Turns "turns" "Turns of the poll loop.";
        Panics "panics" "Times the worker failed and was started again.";
    }
}

rows! {
    /// One latency histogram a worker keeps, in microseconds, as exact as the clock read once a turn.
    Latency {
        Exchange "exchange_micros" "From the first byte of a request to the last byte of its answer.";
        FirstByte "first_byte_micros" "From the complete request head to the head of the answer.";
        Connect "connect_micros" "From dialling an origin to its connection.";
        Handshake "tls_micros" "From the connection to an origin to the end of its TLS handshake.";
    }
}

/// Buckets of a histogram: four to each power of two.
const BUCKETS: usize = 128;

fn bucket(micros: u64) -> usize {
    if micros < 4 {
        return micros as usize;
    }
    let power = 63 - micros.leading_zeros() as usize;
    let quarter = (micros >> (power - 2)) as usize & 3;
    ((power - 1) * 4 + quarter).min(BUCKETS - 1)
}

/// The largest value that falls into `bucket`.
fn bucket_top(bucket: usize) -> u64 {
    if bucket < 4 {
        return bucket as u64;
    }
    let (power, quarter) = (bucket / 4 + 1, (bucket % 4) as u64);
    ((4 + quarter + 1) << (power - 2)) - 1
}

/// The numbers of one worker.
#[derive(Debug)]
pub struct Stats {
    counters: [AtomicU64; Counter::ALL.len()],
    latencies: [[AtomicU64; BUCKETS]; Latency::ALL.len()],
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            counters: [const { AtomicU64::new(0) }; Counter::ALL.len()],
            latencies: [const { [const { AtomicU64::new(0) }; BUCKETS] }; Latency::ALL.len()],
        }
    }
}

fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(n), Relaxed);
}

impl Stats {
    /// Counts one. Only the owning worker calls this and the other writers.
    pub fn count(&self, counter: Counter) {
        add(&self.counters[counter as usize], 1);
    }

    /// Counts `n`.
    pub fn add(&self, counter: Counter, n: usize) {
        add(&self.counters[counter as usize], n as u64);
    }

    /// Sets a gauge.
    pub fn set(&self, counter: Counter, value: usize) {
        self.counters[counter as usize].store(value as u64, Relaxed);
    }

    /// Notes a latency.
    pub fn time(&self, latency: Latency, micros: u64) {
        add(&self.latencies[latency as usize][bucket(micros)], 1);
    }

    /// Reads a number.
    pub fn value(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Relaxed)
    }
}

/// The sum over several workers, printable.
#[derive(Debug)]
pub struct Report<'a>(pub &'a [&'a Stats]);

impl Report<'_> {
    /// The value below which `share` (0 to 1) of the noted latencies lie, rounded up to its bucket; `None` if none.
    pub fn quantile(&self, latency: Latency, share: f64) -> Option<u64> {
        let sums: Vec<u64> = (0..BUCKETS)
            .map(|bucket| self.0.iter().map(|s| s.latencies[latency as usize][bucket].load(Relaxed)).sum())
            .collect();
        let total: u64 = sums.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        sums.iter()
            .position(|n| {
                seen += n;
                *n > 0 && seen >= wanted
            })
            .map(bucket_top)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for counter in Counter::ALL {
            let sum: u64 = self.0.iter().map(|stats| stats.value(*counter)).sum();
            writeln!(f, "{} {sum}", counter.name())?;
        }
        for latency in Latency::ALL {
            let mut line = String::new();
            for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)] {
                match self.quantile(*latency, share) {
                    Some(micros) => write!(line, " {name}={micros}")?,
                    None => write!(line, " {name}=-")?,
                }
            }
            writeln!(f, "{}{line}", latency.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_whose_top_is_not_below_it() {
        for micros in (0..5000).chain([1 << 20, (1 << 30) + 7]) {
            let at = bucket(micros);
            assert!(bucket_top(at) >= micros, "{micros}");
            assert!(at == 0 || bucket_top(at - 1) < micros, "{micros}");
        }
    }

    #[test]
    fn a_report_sums_workers() {
        let (a, b) = (Stats::default(), Stats::default());
        a.count(Counter::Requests);
        b.add(Counter::Requests, 2);
        for _ in 0..99 {
            a.time(Latency::Exchange, 3);
        }
        b.time(Latency::Exchange, 1000);
        let both = [&a, &b];
        let report = Report(&both);
        assert!(report.to_string().contains("\nrequests 3\n"));
        assert!(report.to_string().ends_with(
            "exchange_micros p50=3 p90=3 p99=3 max=1023\nfirst_byte_micros p50=- p90=- p99=- max=-\nconnect_micros p50=- p90=- p99=- max=-\ntls_micros p50=- p90=- p99=- max=-\n"
        ));
    }
}
