//! Passwords are verified here: on one thread, in the order in which they came, behind everything else the machine does.
//!
//! A hash takes a tenth of a second, so what waits is bounded, in all and for each client: whoever tries passwords delays
//! others by no more than its share. Who shows the same credential while it waits shares its outcome.

use crate::fault::What;
use crate::key::Key;
use crate::policy::proxy_auth::{Login, Tag};
use crate::server::mailbox::{Mailbox, Message};
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Credentials that wait at once.
const LOGINS_MAX: usize = 256;
/// Those of one client among them.
const LOGINS_OF_CLIENT_MAX: usize = 4;
/// What the thread leaves to others: it takes what they do not want.
const NICENESS: i32 = 19;

/// Who waits for an outcome.
type Waiter = (Arc<Mailbox>, Key);

/// What waits.
#[derive(Default)]
struct Waiting {
    waiters: HashMap<Tag, Vec<Waiter>>,
    of_client: HashMap<IpAddr, HashSet<Tag>>,
}

/// The way to the thread.
pub struct Verifier {
    waiting: Arc<Mutex<Waiting>>,
    logins: SyncSender<Arc<Login>>,
}

impl Verifier {
    /// Starts the thread. It ends with the last of those who can reach it.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start() -> io::Result<Self> {
        let (logins, orders) = sync_channel::<Arc<Login>>(LOGINS_MAX);
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let shared = Arc::clone(&waiting);
        thread::Builder::new().name("verifier".to_owned()).spawn(move || {
            // Where it is not granted, verifying competes with the workers; no reason not to.
            let _ = rustix::process::nice(NICENESS);
            for login in orders {
                let outcome = catch_unwind(AssertUnwindSafe(|| login.is_right()));
                let outcome = match outcome {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(What::ProxyAuthWrong),
                    Err(_) => Err(What::AuthBusy),
                };
                for (mailbox, key) in lock(&shared).end(&login) {
                    mailbox.send(Message::Verified { key, outcome });
                }
            }
        })?;
        Ok(Self { waiting, logins })
    }

    /// Has `login` verified; the outcome goes to `mailbox`, for the client `key`.
    ///
    /// # Errors
    /// [`What::AuthBusy`] when too many wait already.
    pub fn put(&self, login: &Arc<Login>, mailbox: &Arc<Mailbox>, key: Key) -> Result<(), What> {
        let mut waiting = lock(&self.waiting);
        if waiting.join(login, (Arc::clone(mailbox), key))?
            && self.logins.try_send(Arc::clone(login)).is_err()
        {
            waiting.end(login);
            return Err(What::AuthBusy);
        }
        Ok(())
    }
}

fn lock(waiting: &Mutex<Waiting>) -> std::sync::MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiting {
    /// Another waits for `login`; says whether it is the first.
    fn join(&mut self, login: &Login, waiter: Waiter) -> Result<bool, What> {
        if let Some(waiters) = self.waiters.get_mut(&login.tag) {
            waiters.push(waiter);
            return Ok(false);
        }
        let client = side(login.client);
        if self.of_client.get(&client).is_some_and(|tags| tags.len() >= LOGINS_OF_CLIENT_MAX) {
            return Err(What::AuthBusy);
        }
        self.of_client.entry(client).or_default().insert(login.tag);
        self.waiters.insert(login.tag, vec![waiter]);
        Ok(true)
    }

    /// Nobody waits for `login` any more: who did.
    fn end(&mut self, login: &Login) -> Vec<Waiter> {
        let client = side(login.client);
        if let Some(tags) = self.of_client.get_mut(&client) {
            tags.remove(&login.tag);
            if tags.is_empty() {
                self.of_client.remove(&client);
            }
        }
        self.waiters.remove(&login.tag).unwrap_or_default()
    }
}

/// Who shares with whom: of IPv6 addresses, a client has as many as it likes in its /64.
fn side(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::proxy_auth::Users;
    use crate::server::seat::MAIL;
    use mio::{Poll, Waker};

    fn login(client: &str, number: u8) -> Arc<Login> {
        let users = Users::parse("a:$apr1$b$1234567890123456789012", &[0; 32]).expect("well formed");
        let client = client.parse().expect("a literal");
        Arc::new(Login::read(&Arc::new(users), b"Basic YTpi", [number; 32], client).expect("well formed"))
    }

    #[test]
    fn each_client_has_its_share_and_the_same_credential_waits_once() {
        let poll = Poll::new().expect("a poll");
        let mailbox = Arc::new(Mailbox::new(Waker::new(poll.registry(), MAIL).expect("a waker")));
        let waiter = || (Arc::clone(&mailbox), Key::from_token(0).1);
        let mut waiting = Waiting::default();
        for number in 0..LOGINS_OF_CLIENT_MAX as u8 {
            assert_eq!(waiting.join(&login("2001:db8::1", number), waiter()), Ok(true));
        }
        assert_eq!(waiting.join(&login("2001:db8::2", 99), waiter()), Err(What::AuthBusy));
        assert_eq!(waiting.join(&login("2001:db8:0:1::1", 99), waiter()), Ok(true));
        assert_eq!(waiting.join(&login("2001:db8::1", 0), waiter()), Ok(false));
        assert_eq!(waiting.end(&login("2001:db8::1", 0)).len(), 2);
        assert_eq!(waiting.join(&login("2001:db8::2", 98), waiter()), Ok(true));
        for number in 0..=99 {
            waiting.end(&login("2001:db8::1", number));
            waiting.end(&login("2001:db8:0:1::1", number));
        }
        assert!(waiting.waiters.is_empty() && waiting.of_client.is_empty());
    }
}
