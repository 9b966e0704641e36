//! What one pair is pumped with: the world, the worker's memory and the time of the turn.

use crate::access::journal::Journal;
use crate::balance::Balance;
use crate::buf::{BufPool, Lease, SMALL};
use crate::decisions::Decisions;
use crate::engine::Config;
use crate::exchange::Exchange;
use crate::fault::What;
use crate::io::Io;
use crate::passes::Passes;
use crate::pipe::PipePool;
use crate::pool::Pool;
use crate::stats::Stats;
use crate::time::Now;

/// What a pair is pumped with.
pub struct Turn<'a, I: Io> {
    /// The world.
    pub io: &'a mut I,
    /// The worker's buffers.
    pub bufs: &'a mut BufPool,
    /// The worker's pipes.
    pub pipes: &'a mut PipePool<I::Pipe>,
    /// The worker's pool, for finding destinations.
    pub pool: &'a mut Pool,
    /// The worker's records of exchanges.
    pub journal: &'a mut Journal,
    /// What the worker knows of routes' targets.
    pub balance: &'a mut Balance,
    /// What the log was told of the egress policy.
    pub decisions: &'a mut Decisions,
    /// Credentials that were verified lately.
    pub passes: &'a Passes,
    /// The configuration of this turn.
    pub config: &'a Config,
    /// The worker's numbers.
    pub stats: &'a Stats,
    /// The time of this turn.
    pub now: Now,
    /// The proxy is shutting down: every answer is the last of its connection.
    pub draining: bool,
}

impl<I: Io> Turn<'_, I> {
    /// Writes a head behind what already waits for the client. `Ok(false)`: it has to wait until that is sent.
    ///
    /// # Errors
    /// [`What::Overloaded`] when no buffer is large enough.
    pub fn write_head(
        &mut self,
        exchange: &mut Exchange,
        len: usize,
        write: impl Fn(&mut [u8]) -> Option<usize>,
    ) -> Result<bool, What> {
        let mut out = exchange.answer.take().unwrap_or_else(|| self.lease_for(len));
        let written = write(out.free_mut()).or_else(|| {
            self.bufs.enlarge(&mut out);
            write(out.free_mut())
        });
        out.written(written.unwrap_or(0));
        if out.is_empty() {
            self.bufs.give_back(out);
            return Err(What::Overloaded);
        }
        exchange.answer = Some(out);
        Ok(written.is_some())
    }

    /// A buffer for a head of `len` bytes and its edits.
    pub fn lease_for(&mut self, len: usize) -> Lease {
        self.bufs.lease_sized(len > SMALL - 1024)
    }
}
