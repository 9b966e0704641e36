//! Leased byte buffers: cursors over memory that is recycled, so that forwarding a byte moves a cursor.
//!
//! ```text
//!   0        head            cut             tail        capacity
//!   |  gone   |  to be sent   |  not judged   |   free    |
//! ```
//! Received bytes land behind `tail`; judging moves `cut`; sending moves `head`. Nothing is copied on the way
//! except when the free end is used up and the front is empty.

use bytes::BytesMut;

/// Size of an ordinary buffer: a request head of the default limit, a good read of a body, a whole TLS record.
pub const SMALL: usize = 17 * 1024;
/// Size of a buffer for long bodies and for the longest head of an answer plus what the rewrite adds.
pub const LARGE: usize = 72 * 1024;

/// A buffer on lease: a pointer, so that who holds none pays little and a hand-over moves eight bytes.
pub type Lease = Box<Buf>;

/// One buffer.
#[derive(Debug)]
pub struct Buf {
    bytes: BytesMut,
    head: usize,
    cut: usize,
    tail: usize,
}

impl Buf {
    fn with_capacity(size: usize) -> Self {
        Self { bytes: BytesMut::zeroed(size), head: 0, cut: 0, tail: 0 }
    }

    /// Bytes that are judged and wait to be sent.
    pub fn passed(&self) -> &[u8] {
        &self.bytes[self.head..self.cut]
    }

    /// Bytes that were received and are not judged yet.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.cut..self.tail]
    }

    /// The same, for judges that edit in place.
    pub fn pending_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.cut..self.tail]
    }

    /// Room behind the last byte, at least `n` bytes of it if the buffer has that much at all.
    pub fn room_for(&mut self, n: usize) -> &mut [u8] {
        if self.bytes.len() - self.tail < n {
            self.compact();
        }
        &mut self.bytes[self.tail..]
    }

    /// Room behind the last byte. Moves what is held to the front first when the room at the end is used up.
    pub fn free_mut(&mut self) -> &mut [u8] {
        if self.tail == self.bytes.len() {
            self.compact();
        }
        &mut self.bytes[self.tail..]
    }

    fn compact(&mut self) {
        if self.head > 0 {
            self.bytes.copy_within(self.head..self.tail, 0);
            self.cut -= self.head;
            self.tail -= self.head;
            self.head = 0;
        }
    }

    /// Whether another byte could be received.
    pub fn has_room(&self) -> bool {
        self.tail < self.bytes.len() || self.head > 0
    }

    /// `n` bytes were written to the front of [`Buf::free_mut`].
    pub fn received(&mut self, n: usize) {
        assert!(n <= self.bytes.len() - self.tail, "received more than the free room");
        self.tail += n;
    }

    /// A judge took `taken` pending bytes and kept the first `kept` of that place to be sent; the rest is gone.
    pub fn judged(&mut self, taken: usize, kept: usize) {
        assert!(kept <= taken && taken <= self.tail - self.cut, "judged more than is pending");
        if kept < taken {
            if self.head == self.cut && kept == 0 {
                self.head += taken;
                self.cut = self.head;
                self.settle();
                return;
            }
            self.bytes.copy_within(self.cut + taken..self.tail, self.cut + kept);
            self.tail -= taken - kept;
        }
        self.cut += kept;
    }

    /// Drops everything that waits to be sent.
    pub fn discard_passed(&mut self) {
        self.head = self.cut;
        self.settle();
    }

    /// `n` bytes of [`Buf::passed`] were sent.
    pub fn sent(&mut self, n: usize) {
        assert!(n <= self.cut - self.head, "sent more than was passed");
        self.head += n;
    }

    /// `n` bytes were written to the front of [`Buf::free_mut`] and are ready to be sent: for what we write ourselves.
    pub fn written(&mut self, n: usize) {
        assert!(self.cut == self.tail, "our own bytes follow judged bytes only");
        self.received(n);
        self.cut = self.tail;
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Where the next byte to be sent stands, for [`Buf::rewind`].
    pub fn mark(&self) -> usize {
        self.head
    }

    /// Makes the bytes sent since `mark` unsent again; valid while nothing was received in between.
    pub fn rewind(&mut self, mark: usize) {
        assert!(mark <= self.head, "rewind goes back");
        self.head = mark;
    }

    /// Capacity in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes it holds, judged or not.
    pub fn len(&self) -> usize {
        self.tail - self.head
    }

    fn settle(&mut self) {
        if self.head == self.tail {
            self.head = 0;
            self.cut = 0;
            self.tail = 0;
        }
    }

    fn clear(&mut self) {
        self.head = 0;
        self.cut = 0;
        self.tail = 0;
    }

    /// Copies what `from` holds into this empty buffer; the cursors keep their distances.
    fn take_over(&mut self, from: &Self) {
        let held = from.len();
        self.bytes[..held].copy_from_slice(&from.bytes[from.head..from.tail]);
        self.head = 0;
        self.cut = from.cut - from.head;
        self.tail = held;
    }
}

/// The worker's buffers: last in, first out, so that the warmest is leased next; bounded.
///
/// An exchange may hold [`PER_EXCHANGE`] small buffers at once, and only as many exchanges begin as the bound allows,
/// so that a lease inside an exchange never fails. Large buffers come from what is left above that.
#[derive(Debug)]
pub struct BufPool {
    small: Vec<Lease>,
    large: Vec<Lease>,
    small_out: usize,
    large_out: usize,
    large_max: usize,
    exchanges: usize,
    exchanges_max: usize,
    handshakes: usize,
}

/// Small buffers an exchange may hold at once: the two outgoing heads, and for each leg what was received and the sealed
/// bytes of its TLS on their way in and out.
pub const PER_EXCHANGE: usize = 8;

/// Small buffers leased for a moment outside of any exchange, to see whether a silent connection says anything: plain
/// and sealed.
const PASSING: usize = 3;

/// One in so many exchanges may be a client's handshake, so that a flood of those leaves room for the others.
const HANDSHAKE_SHARE: usize = 2;

/// Idle buffers kept for reuse, per size; more than this go back to the allocator.
const KEPT_MAX: usize = 256;

impl BufPool {
    /// A pool for at most `exchanges_max` exchanges at once and `large_max` large buffers.
    pub fn new(exchanges_max: usize, large_max: usize) -> Self {
        Self {
            small: Vec::new(),
            large: Vec::new(),
            small_out: 0,
            large_out: 0,
            large_max,
            exchanges: 0,
            exchanges_max,
            handshakes: 0,
        }
    }

    /// Admits an exchange if its buffers are certain.
    pub fn begin_exchange(&mut self) -> bool {
        let admitted = self.exchanges < self.exchanges_max;
        self.exchanges += usize::from(admitted);
        admitted
    }

    /// Whether another handshake would be admitted.
    pub fn has_handshake(&self) -> bool {
        self.handshakes < self.exchanges_max.div_ceil(HANDSHAKE_SHARE) && self.has_exchange()
    }

    /// Admits a client's handshake, which holds the promise of an exchange, if its buffers are certain.
    pub fn begin_handshake(&mut self) -> bool {
        let admitted = self.has_handshake() && self.begin_exchange();
        self.handshakes += usize::from(admitted);
        admitted
    }

    /// The handshake is over; its promise stays until [`BufPool::end_exchange`].
    pub fn end_handshake(&mut self) {
        self.handshakes = self.handshakes.checked_sub(1).expect("a handshake ends once");
    }

    /// Whether another exchange would be admitted.
    pub fn has_exchange(&self) -> bool {
        self.exchanges < self.exchanges_max
    }

    /// An exchange ended and has returned its buffers.
    pub fn end_exchange(&mut self) {
        self.exchanges = self.exchanges.checked_sub(1).expect("an exchange ends once");
    }

    /// Leases an empty small buffer. The caller is an admitted exchange, or gives it back at once, having looked
    /// whether a connection without one says anything.
    pub fn lease(&mut self) -> Lease {
        self.small_out += 1;
        assert!(
            self.small_out <= self.exchanges_max * PER_EXCHANGE + PASSING,
            "exchanges hold at most their share"
        );
        self.small.pop().unwrap_or_else(|| Box::new(Buf::with_capacity(SMALL)))
    }

    /// Leases an empty buffer: a large one if that is wanted and one is left. The caller is as for [`BufPool::lease`].
    pub fn lease_sized(&mut self, large: bool) -> Lease {
        let large = if large { self.lease_large() } else { None };
        large.unwrap_or_else(|| self.lease())
    }

    /// Leases an empty large buffer, if one is left.
    pub fn lease_large(&mut self) -> Option<Lease> {
        if self.large_out == self.large_max {
            return None;
        }
        self.large_out += 1;
        Some(self.large.pop().unwrap_or_else(|| Box::new(Buf::with_capacity(LARGE))))
    }

    /// Swaps a small buffer for a large one with the same content. `false` when it is large already or none is left.
    pub fn enlarge(&mut self, buf: &mut Lease) -> bool {
        if buf.capacity() >= LARGE {
            return false;
        }
        let Some(mut large) = self.lease_large() else { return false };
        large.take_over(buf);
        self.give_back(std::mem::replace(buf, large));
        true
    }

    /// Takes a buffer back, whatever it still holds.
    pub fn give_back(&mut self, mut buf: Lease) {
        buf.clear();
        let (shelf, out) = if buf.capacity() == LARGE {
            (&mut self.large, &mut self.large_out)
        } else {
            (&mut self.small, &mut self.small_out)
        };
        *out -= 1;
        if shelf.len() < KEPT_MAX {
            shelf.push(buf);
        }
    }

    /// Buffers out on lease, small and large: 0 when nobody is served.
    pub fn leased(&self) -> (usize, usize) {
        (self.small_out, self.large_out)
    }

    /// Exchanges admitted and not ended.
    pub fn exchanges(&self) -> usize {
        self.exchanges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &[u8]) -> Buf {
        let mut buf = Buf::with_capacity(SMALL);
        buf.free_mut()[..text.len()].copy_from_slice(text);
        buf.received(text.len());
        buf
    }

    #[test]
    fn bytes_move_through_by_cursors() {
        let mut buf = filled(b"headbody");
        buf.judged(4, 0);
        assert_eq!((buf.passed(), buf.pending()), (&b""[..], &b"body"[..]));
        buf.judged(3, 3);
        assert_eq!((buf.passed(), buf.pending()), (&b"bod"[..], &b"y"[..]));
        buf.sent(2);
        assert_eq!(buf.passed(), b"d");
        assert_eq!(buf.len(), 2);
    }

    #[test]
    fn a_gap_closes_and_the_order_stays() {
        let mut buf = filled(b"abXXcd");
        buf.judged(2, 2);
        buf.judged(2, 0);
        buf.judged(2, 2);
        assert_eq!(buf.passed(), b"abcd");
    }

    #[test]
    fn a_full_buffer_makes_room_from_its_front() {
        let mut buf = filled(&vec![7; SMALL]);
        assert!(!buf.has_room());
        buf.judged(SMALL, SMALL);
        buf.sent(SMALL - 1);
        assert!(buf.has_room());
        assert_eq!(buf.free_mut().len(), SMALL - 1);
        assert_eq!(buf.passed(), [7]);
    }

    #[test]
    fn rewinding_makes_sent_bytes_unsent() {
        let mut buf = filled(b"request");
        buf.judged(7, 7);
        let mark = buf.mark();
        buf.sent(7);
        assert!(buf.is_empty());
        buf.rewind(mark);
        assert_eq!(buf.passed(), b"request");
    }

    #[test]
    fn enlarging_keeps_the_content() {
        let mut pool = BufPool::new(1, 1);
        assert!(pool.begin_exchange());
        assert!(!pool.begin_exchange());
        let mut buf = pool.lease();
        buf.free_mut()[..6].copy_from_slice(b"abcdef");
        buf.received(6);
        buf.judged(4, 4);
        buf.sent(1);
        assert!(pool.enlarge(&mut buf));
        assert!(!pool.enlarge(&mut buf));
        assert_eq!((buf.passed(), buf.pending(), buf.capacity()), (&b"bcd"[..], &b"ef"[..], LARGE));
        assert_eq!(pool.leased(), (0, 1));
        pool.give_back(buf);
        assert_eq!(pool.leased(), (0, 0));
    }
}
