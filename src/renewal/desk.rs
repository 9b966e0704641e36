//! How other threads reach the one that renews certificates: a short queue of orders.

use crate::fault::What;
use crate::io::ReloadAsk;
use crate::key::Key;
use crate::server::mailbox::{Mailbox, Message};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Orders that wait at once; each may take as long as `proxy.reload.timeout`.
const ORDERS_MAX: usize = 8;

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// Look at the files now.
    Look,
    /// Have the certificate of a target trusted.
    Plant(Plant),
}

/// A request for `x-reload-httpclient`.
#[derive(Debug)]
pub struct Plant {
    /// Whose certificate.
    pub ask: ReloadAsk,
    /// When it was asked for.
    pub since: Instant,
    /// Who asked.
    pub answer: Answer,
}

/// Who waits for the outcome of a reload. It comes in any case: a thread that fails lets go of this.
#[derive(Debug)]
pub struct Answer {
    to: Option<(Arc<Mailbox>, Key)>,
}

impl Answer {
    /// Of the client `key`, to the mailbox of its worker.
    pub fn to(mailbox: Arc<Mailbox>, key: Key) -> Self {
        Self { to: Some((mailbox, key)) }
    }

    /// Tells it.
    pub fn tell(mut self, outcome: Result<(), What>) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: Result<(), What>) {
        if let Some((mailbox, key)) = self.to.take() {
            mailbox.send(Message::Reloaded { key, outcome });
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.send(Err(What::ReloadFailed));
    }
}

impl Order {
    /// It was not taken, and whoever gave it knows.
    fn forget(self) {
        if let Self::Plant(mut plant) = self {
            plant.answer.to = None;
        }
    }
}

/// Where orders are left.
#[derive(Debug, Default)]
pub struct Desk {
    orders: OnceLock<SyncSender<Order>>,
}

/// Why an order was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// Nobody renews certificates here.
    Closed,
    /// Too many wait already.
    Full,
}

impl Desk {
    /// Opens it; orders come out at the other end. Opened again, nothing ever comes out.
    pub fn open(&self) -> Receiver<Order> {
        let (sender, orders) = sync_channel(ORDERS_MAX);
        // A desk is opened once; the second thread would find its queue closed and end.
        let _ = self.orders.set(sender);
        orders
    }

    /// Leaves an order.
    ///
    /// # Errors
    /// When it will not be looked at.
    pub fn put(&self, order: Order) -> Result<(), Declined> {
        let (declined, order) = match self.orders.get() {
            None => (Declined::Closed, order),
            Some(orders) => match orders.try_send(order) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(order)) => (Declined::Full, order),
                Err(TrySendError::Disconnected(order)) => (Declined::Closed, order),
            },
        };
        order.forget();
        Err(declined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_short() {
        let desk = Desk::default();
        assert_eq!(desk.put(Order::Look), Err(Declined::Closed));
        let orders = desk.open();
        for _ in 0..ORDERS_MAX {
            assert_eq!(desk.put(Order::Look), Ok(()));
        }
        assert_eq!(desk.put(Order::Look), Err(Declined::Full));
        assert!(matches!(orders.recv(), Ok(Order::Look)));
        assert_eq!(desk.put(Order::Look), Ok(()));
    }
}
