//! What a worker does while the shell verifies the credential of a request (`proxy.auth.file`).

use crate::exchange::{UpstreamEvent, UpstreamState};
use crate::fault::What;
use crate::io::Io;
use crate::key::Key;
use crate::worker::Worker;

impl<I: Io> Worker<I> {
    /// Has the credential of `key`'s request verified, off the loop.
    pub(crate) fn ask_verify(&mut self, key: Key) {
        let Some(client) = self.clients.at_mut(key) else { return };
        let Some(login) = client.exchange.login.clone() else { return };
        match self.io.verify(login, key) {
            Ok(()) => {
                client.exchange.upstream_on(UpstreamEvent::Verify);
                client.since = self.now;
            }
            Err(what) => self.refuse(key, what),
        }
    }

    /// The credential of the client `key` was verified: right, or refused for this reason.
    pub fn verified(&mut self, key: Key, outcome: Result<(), What>) {
        if self.state_of(key) != Some(UpstreamState::Verifying) {
            return;
        }
        let Some(client) = self.clients.at_mut(key) else { return };
        let login = client.exchange.login.take();
        match outcome {
            Ok(()) => {
                client.exchange.upstream_on(UpstreamEvent::Pass);
                if let Some(login) = login {
                    if let Some(record) = &mut client.exchange.record {
                        record.take_user(login.name().as_bytes());
                    }
                    self.passes.issue(login.tag, self.now);
                }
            }
            Err(what) => self.refuse(key, what),
        }
        self.drive(key);
    }
}
