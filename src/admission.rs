//! Who is let in: a client that has connected becomes one of the worker's, or is told that it may not enter or that there
//! is no room.

use crate::io::Io;
use crate::key::{Key, Side};
use crate::pair::Client;
use crate::secure::Secure;
use crate::stats::Counter;
use crate::tls::context::Inbound;
use crate::worker::{REJECTS_MAX, STRANGERS_MAX, Worker};
use std::net::SocketAddr;

impl<I: Io> Worker<I> {
    /// A client has connected to `listener`. A full worker gives the socket back.
    ///
    /// # Errors
    /// The socket, when this worker has no room.
    pub fn accept(&mut self, listener: u8, socket: I::Socket, peer: SocketAddr) -> Result<(), I::Socket> {
        if self.clients.len() >= self.config.limits.clients_max {
            return Err(socket);
        }
        let address = peer.ip().to_canonical();
        let denied = !self.config.admits(listener, address);
        let inbound = self.config.listener(listener).inbound.as_ref();
        let strange = denied && inbound.is_some();
        if strange && self.strangers >= STRANGERS_MAX {
            // Telling all of them takes handshakes that others need.
            self.stats.count(Counter::Denied);
            return Ok(());
        }
        let Ok(session) = inbound.map(Inbound::session).transpose() else {
            self.stats.count(Counter::Rejected);
            return Ok(());
        };
        let secure = session.map(|session| Box::new(Secure::new(session)));
        let mut client = Client::new(socket, secure, listener, address, self.now);
        client.port = peer.port();
        client.denied = denied;
        client.enter_group(&self.config.egress.groups);
        if self.io.register(&mut client.leg.socket, self.clients.next_key(), Side::Client).is_err() {
            self.stats.count(Counter::Rejected);
            return Ok(());
        }
        self.stats.count(Counter::Accepted);
        client.strange = strange;
        self.strangers += usize::from(strange);
        let key = self.clients.insert(client);
        self.arm(key);
        Ok(())
    }

    /// Every worker is full: the client is told so at once, as far as the few places kept for that go.
    pub fn reject(&mut self, listener: u8, socket: I::Socket, peer: SocketAddr) {
        self.stats.count(Counter::Rejected);
        if self.clients.len() >= self.config.limits.clients_max + REJECTS_MAX {
            return;
        }
        if self.config.listener(listener).inbound.is_some() {
            // Telling it would take a handshake, which is what there is no room for.
            return;
        }
        let mut client = Client::new(socket, None, listener, peer.ip().to_canonical(), self.now);
        client.port = peer.port();
        if self.io.register(&mut client.leg.socket, self.clients.next_key(), Side::Client).is_ok() {
            let key = self.clients.insert(client);
            self.turn_away(key);
        }
    }

    /// The groups have changed.
    pub(crate) fn regroup(&mut self) {
        let keys: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(client) = self.clients.at_mut(key) {
                client.enter_group(&self.config.egress.groups);
            }
        }
    }
}
