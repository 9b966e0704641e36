//! The certificates that targets have shown in full handshakes, and until when each is valid: for those who watch days.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use rustls::pki_types::UnixTime;

use super::host::Host;

/// Hosts remembered; the one not seen for longest makes room.
const HOSTS_MAX: usize = 4096;

/// What is known of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// When its certificate expires, in seconds since 1970.
    pub not_after: i64,
    /// When it was shown last, in seconds since 1970.
    pub seen: u64,
}

/// Every host that showed a certificate we accepted. Its lock is taken once a full handshake, which costs a thousand
/// times as much.
#[derive(Debug, Default)]
pub struct Peers(Mutex<BTreeMap<Host, Peer>>);

impl Peers {
    /// The target `host` showed a certificate that expires at `not_after`.
    pub fn note(&self, host: &Host, not_after: i64, now: UnixTime) {
        let peer = Peer { not_after, seen: now.as_secs() };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= HOSTS_MAX && !known.contains_key(host) {
            // A scan, but only for hosts beyond the limit.
            let oldest = known.iter().min_by_key(|(_, peer)| peer.seen).map(|(host, _)| host.clone());
            oldest.and_then(|oldest| known.remove(&oldest));
        }
        known.insert(host.clone(), peer);
    }

    /// Forgets who was not seen since `then`, in seconds since 1970.
    pub fn forget(&self, then: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, peer| peer.seen >= then);
    }

    /// Every host by name, with its certificate's last second.
    pub fn all(&self) -> Vec<(String, i64)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(host, peer)| (host.to_string(), peer.not_after)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn the_newest_certificate_of_a_host_counts_until_it_is_forgotten() {
        let peers = Peers::default();
        let (a, b) = (Host::Dns("a.test".to_owned()), Host::Dns("b.test".to_owned()));
        peers.note(&a, 100, at(1));
        peers.note(&b, 200, at(2));
        peers.note(&a, 300, at(3));
        assert_eq!(peers.all(), [("a.test".to_owned(), 300), ("b.test".to_owned(), 200)]);
        peers.forget(3);
        assert_eq!(peers.all(), [("a.test".to_owned(), 300)]);
    }

    #[test]
    fn who_was_not_seen_for_longest_makes_room() {
        let peers = Peers::default();
        let host = |number: u64| Host::Dns(format!("h{number}.test"));
        for number in 0..HOSTS_MAX as u64 {
            peers.note(&host(number), 1, at(10 + number));
        }
        peers.note(&host(0), 2, at(1_000_000));
        peers.note(&host(99_999), 3, at(1_000_001));
        let all = peers.all();
        assert_eq!(all.len(), HOSTS_MAX);
        let knows = |number| all.iter().any(|(name, _)| *name == host(number).to_string());
        assert_eq!([0, 1, 2, 99_999].map(knows), [true, false, true, true]);
    }
}
