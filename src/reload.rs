//! `x-reload-httpclient: true`: what a worker does while the shell fetches the certificate of the target and adds it to the
//! trust store (contract §6). The new configuration arrives before the outcome does.

use crate::exchange::{UpstreamEvent, UpstreamState};
use crate::fault::What;
use crate::io::{Io, ReloadAsk};
use crate::key::Key;
use crate::worker::Worker;

impl<I: Io> Worker<I> {
    /// Hands the request of `key` to the shell.
    pub(crate) fn ask_reload(&mut self, key: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let Some(destination) = client.exchange.destination.clone() else { return };
        let target = &destination.target;
        let ask = ReloadAsk {
            host: target.host.clone(),
            port: target.port,
            client: client.address,
            group: client.group,
        };
        match self.io.reload(ask, key) {
            Ok(()) => {
                client.exchange.upstream_on(UpstreamEvent::Reload);
                client.since = self.now;
            }
            Err(what) => self.refuse(key, what),
        }
    }

    /// The reload that the client `key` asked for has ended.
    pub fn reloaded(&mut self, key: Key, outcome: Result<(), What>) {
        if self.state_of(key) != Some(UpstreamState::Reloading) {
            return;
        }
        match outcome {
            Ok(()) => self.confirm(key),
            Err(what) => self.refuse(key, what),
        }
        self.drive(key);
    }
}
