//! How other threads reach the one that renews certificates: a short queue of orders.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Orders that wait at once; each may take as long as `proxy.reload.timeout`.
const ORDERS_MAX: usize = 8;

/// What is to be done.
#[derive(Debug)]
pub enum Order {
    /// Look at the files now.
    Look,
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
        let orders = self.orders.get().ok_or(Declined::Closed)?;
        orders.try_send(order).map_err(|_| Declined::Full)
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
