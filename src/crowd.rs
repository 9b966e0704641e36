//! How many connections each client has, over all workers: `proxy.client.max-connections`.
//!
//! Kept only while the setting asks for it, and only for clients that are connected: memory is bounded by their number. A
//! client is an IPv4 address, or the /64 of an IPv6 one, which is what one customer has.

use crate::setting::Setting;
use crate::value;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections one client may have.
pub static CONNECTIONS_MAX: Setting<Option<usize>> = Setting::new(
    "proxy.client.max-connections",
    "",
    |text| if text.trim().is_empty() { Ok(None) } else { value::count(text).map(Some) },
    "Connections that one client (an IPv4 address, or the /64 network of an IPv6 one) may have at a time; further ones are answered 503 \
     `too_many_connections`, with TLS just closed. Empty: no limit. It counts the socket's address, or that of the PROXY protocol.",
);

/// The connections of every client.
#[derive(Debug)]
pub struct Crowd {
    max: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

impl Crowd {
    /// At most `max` connections each.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, counts: Mutex::default() })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Every critical section leaves the table whole.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of the client with `address` begins; `None` when it has as many as it may.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Box<Place>> {
        let client = client_of(address);
        let mut counts = self.counts();
        let count = counts.entry(client).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Box::new(Place { crowd: Arc::clone(self), client }))
    }
}

/// One connection of a client; it ends when this is dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.counts();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_number_and_leaves_nothing_behind() {
        let crowd = Crowd::new(2);
        let enter = |address: &str| crowd.enter(address.parse().expect("an address"));
        let first = enter("10.0.0.1").expect("room");
        let _second = enter("::ffff:10.0.0.1").expect("room");
        assert!(enter("10.0.0.1").is_none());
        let _other = enter("10.0.0.2").expect("room");
        drop(first);
        assert!(enter("10.0.0.1").is_some());
        let _near = (enter("2001:db8::1").expect("room"), enter("2001:db8:0:0:ffff::2").expect("room"));
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
        assert_eq!(crowd.counts().len(), 3, "who has left is forgotten");
    }
}
