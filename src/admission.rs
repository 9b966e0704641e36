//! Who is let in: a client that has connected becomes one of the worker's, or is told that it may not enter or that there
//! is no room. What the PROXY protocol tells of it comes first, where the listener speaks that.

use crate::exchange::{ClientEvent, ClientState, Exchange};
use crate::fault::What;
use crate::io::{Io, Moved};
use crate::key::{Key, Side};
use crate::pair::Client;
use crate::preface::{Junk, Told};
use crate::pump::Ending;
use crate::secure::Secure;
use crate::stats::Counter;
use crate::tls::context::Inbound;
use crate::worker::{REJECTS_MAX, STRANGERS_MAX, Worker};
use std::net::SocketAddr;
use std::sync::Arc;

impl<I: Io> Worker<I> {
    /// A client has connected to `listener`. A full worker gives the socket back.
    ///
    /// # Errors
    /// The socket, when this worker has no room.
    pub fn accept(&mut self, listener: u8, socket: I::Socket, peer: SocketAddr) -> Result<(), I::Socket> {
        if self.clients.len() >= self.config.limits.clients_max {
            return Err(socket);
        }
        let config = Arc::clone(&self.config);
        let address = peer.ip().to_canonical();
        let (door, trusted) = (config.listener(listener), &config.trusted_proxies);
        let relayed = trusted.trust(address);
        if door.proxy_protocol && trusted.is_set() && !relayed {
            self.stats.count(Counter::PrefacesRefused);
            if self.told.may_tell(self.now) {
                log::warn!(
                    "client {address} is not among proxy.ip.trusted-proxies, so its PROXY protocol is not read; closed"
                );
            }
            return Ok(());
        }
        let denied = !door.proxy_protocol && !relayed && !config.admits(listener, address);
        if denied && door.inbound.is_some() && self.strangers >= STRANGERS_MAX {
            // Telling all of them takes handshakes that others need.
            self.stats.count(Counter::Denied);
            return Ok(());
        }
        let crowd = config.crowd.as_ref().filter(|_| !door.proxy_protocol && !relayed);
        let place = crowd.map(|crowd| crowd.enter(address));
        if matches!(place, Some(None)) {
            self.stats.count(Counter::Capped);
            self.tell(listener, socket, peer, What::ClientCapped);
            return Ok(());
        }
        let Ok(session) = door.inbound.as_ref().map(Inbound::session).transpose() else {
            self.stats.count(Counter::Rejected);
            return Ok(());
        };
        let secure = session.map(|session| Box::new(Secure::new(session)));
        let mut client = Client::new(socket, secure, listener, address, self.now);
        client.port = peer.port();
        client.place = place.flatten();
        if door.proxy_protocol {
            client.preface = Some(Box::default());
            client.exchange = Exchange::behind(ClientState::Preface);
        } else {
            client.arrive(address, &config);
        }
        if self.io.register(&mut client.leg.socket, self.clients.next_key(), Side::Client).is_err() {
            self.stats.count(Counter::Rejected);
            return Ok(());
        }
        self.stats.count(Counter::Accepted);
        client.strange = client.denied && client.leg.secure.is_some();
        self.strangers += usize::from(client.strange);
        let key = self.clients.insert(client);
        self.arm(key);
        Ok(())
    }

    /// Every worker is full: the client is told so at once, as far as the few places kept for that go.
    pub fn reject(&mut self, listener: u8, socket: I::Socket, peer: SocketAddr) {
        self.stats.count(Counter::Rejected);
        self.tell(listener, socket, peer, What::Overloaded);
    }

    /// Tells a client at once why it is not served.
    fn tell(&mut self, listener: u8, socket: I::Socket, peer: SocketAddr, what: What) {
        if self.clients.len() >= self.config.limits.clients_max + REJECTS_MAX {
            return;
        }
        let door = self.config.listener(listener);
        if door.inbound.is_some() || door.proxy_protocol {
            // Telling it would take a handshake, which is what there is no room for.
            return;
        }
        let mut client = Client::new(socket, None, listener, peer.ip().to_canonical(), self.now);
        client.port = peer.port();
        if self.io.register(&mut client.leg.socket, self.clients.next_key(), Side::Client).is_ok() {
            let key = self.clients.insert(client);
            self.answer_at_once(key, what);
        }
    }

    /// Reads what has arrived of the PROXY protocol header of `key`.
    pub(crate) fn greet(&mut self, key: Key) {
        loop {
            let Some(client) = self.clients.at_mut(key) else { return };
            let Some(preface) = &mut client.preface else { return };
            match self.io.recv(&mut client.leg.socket, preface.room()) {
                Moved::Bytes(n) => {
                    self.stats.add(Counter::BytesFromClients, n);
                    match preface.received(n) {
                        Ok(None) => {}
                        Ok(Some(told)) => {
                            self.introduce(key, told);
                            return;
                        }
                        Err(Junk) => {
                            client.exchange.fault.get_or_insert(What::BadPreface);
                            self.stats.count(Counter::PrefacesRefused);
                            self.close(key, Ending::Plain);
                            return;
                        }
                    }
                }
                Moved::Blocked => {
                    client.leg.ready.readable = false;
                    return;
                }
                // Who connects and leaves is a health check.
                Moved::End | Moved::Failed => {
                    self.close(key, Ending::Plain);
                    return;
                }
            }
        }
    }

    /// The PROXY protocol header of `key` is complete: now it is known who the client is.
    fn introduce(&mut self, key: Key, told: Told) {
        let config = Arc::clone(&self.config);
        let Some(client) = self.clients.at_mut(key) else { return };
        client.preface = None;
        client.since = self.now;
        let secure = client.leg.secure.is_some();
        client.exchange.client_on(if secure { ClientEvent::Greet } else { ClientEvent::Announce });
        let address = match told {
            Told::Client(address) => address,
            Told::Peer => client.address,
        };
        client.arrive(address, &config);
        let crowd = config.crowd.as_ref().filter(|_| client.relayed.is_none());
        let place = crowd.map(|crowd| crowd.enter(address));
        let capped = matches!(place, Some(None));
        client.place = place.flatten();
        let strange = client.denied && secure;
        if capped || (strange && self.strangers >= STRANGERS_MAX) {
            self.stats.count(if capped { Counter::Capped } else { Counter::Denied });
            if secure {
                self.close(key, Ending::Plain);
            } else {
                self.answer_at_once(key, What::ClientCapped);
            }
            return;
        }
        client.strange = strange;
        self.strangers += usize::from(strange);
    }

    /// The rules have changed.
    pub(crate) fn readmit(&mut self) {
        let config = Arc::clone(&self.config);
        let keys: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(client) = self.clients.at_mut(key) {
                client.admit(client.address, &config);
            }
        }
    }
}
