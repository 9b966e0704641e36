//! Whole lines on their way to a slow place: a bounded buffer and the one thread that empties it.
//!
//! Handing over costs a copy under a short lock. Two buffers change places: callers fill one while the thread writes
//! the other. Every file has a thread of its own, because a write to a disk that stalls cannot be taken back: one
//! thread for all files would let a dead NFS mount silence the others. A sink that fails keeps what it did not take: the
//! thread offers the rest again, from the very byte, so that no line is ever torn. What does not fit meanwhile is
//! dropped, counted, and reported in the same place once it takes lines again.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that may wait for the sink.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long the thread lets lines gather before it writes them, unless somebody flushes: a write for each line would
/// cost more than the line.
const GATHER: Duration = Duration::from_millis(10);
/// So many bytes are written without gathering more.
const GATHER_BYTES: usize = 64 * 1024;
/// How long a caller waits for room at most ([`Full::Stall`]); after that it does not wait again until the sink has taken
/// something.
pub const STALL_MAX: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 5000 });
/// How soon, and at last how rarely, a sink that failed is tried again.
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// Lines of all buffers that were dropped since the process started.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Every buffer whose thread has not ended.
static BUFFERS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// What becomes of lines for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Full {
    /// They are dropped and counted.
    #[default]
    Drop,
    /// Who hands them over waits, for [`STALL_MAX`] at most; then they are dropped all the same.
    Stall,
}

/// What the sink is told after `n` lines were lost: bytes that are written to it, if any.
pub type Note = Box<dyn Fn(u64) -> Vec<u8> + Send>;

/// A handle on the buffer; the thread ends, having written everything, when the last handle is dropped.
#[derive(Clone)]
pub struct Lines(Arc<Handle>);

/// Exists once for all clones, so that its end is the end of them all.
struct Handle(Arc<Shared>);

struct Shared {
    full: Full,
    state: Mutex<State>,
    /// Signalled when the thread has a reason to look: lines, a flush, the end.
    arrived: Condvar,
    /// Signalled when there is room again and when a buffer has been written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes ever accepted, and of these the bytes that were written or given up.
    accepted: u64,
    done: u64,
    /// Lines lost since the last report.
    dropped: u64,
    /// Somebody waits for what was handed over: no gathering.
    hurried: bool,
    /// Nobody waits for room any more: it was waited for in vain.
    hopeless: bool,
    ended: bool,
}

impl Lines {
    /// Starts the thread that writes to `sink`. Its `write` may take a part, even of a line; what it does not take is
    /// offered again.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(sink: impl Write + Send + 'static, full: Full, note: Note) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            full,
            state: Mutex::default(),
            arrived: Condvar::new(),
            written: Condvar::new(),
        });
        let writer = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_to(sink, &note))?;
        let mut buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        buffers.retain(|buffer| buffer.strong_count() > 0);
        buffers.push(Arc::downgrade(&shared));
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Hands over whole lines, or drops and counts them when there is no room.
    pub fn hand_over(&self, lines: &[u8]) {
        let shared = &self.0.0;
        let mut state = shared.state();
        if shared.full == Full::Stall && state.lacks_room(lines) {
            state = shared.await_room(state, lines);
        }
        if state.lacks_room(lines) {
            state.drop_lines(count(lines));
            return;
        }
        let before = state.waiting.len();
        state.waiting.extend_from_slice(lines);
        state.accepted += lines.len() as u64;
        // The thread waits for the first bytes, and for enough of them.
        if before == 0 || (before < GATHER_BYTES && state.waiting.len() >= GATHER_BYTES) {
            shared.arrived.notify_one();
        }
    }

    /// Waits until everything handed over so far has been written, for `longest` at most.
    pub fn flush(&self, longest: Duration) {
        self.0.0.flush(Instant::now() + longest);
    }

    /// The same for every buffer there is, those included whose handles are gone.
    pub fn flush_all(longest: Duration) {
        let end = Instant::now() + longest;
        let buffers = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for shared in buffers.iter().filter_map(Weak::upgrade) {
            shared.flush(end);
        }
    }

    /// A sink has lost a line that it had taken in part.
    pub fn count_dropped(lines: u64) {
        DROPPED.fetch_add(lines, Relaxed);
    }

    /// Lines dropped by any buffer since the process started.
    pub fn dropped_in_all() -> u64 {
        DROPPED.load(Relaxed)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.arrived.notify_one();
    }
}

impl State {
    fn lacks_room(&self, lines: &[u8]) -> bool {
        self.waiting.len() + lines.len() > WAITING_BYTES_MAX
    }

    fn drop_lines(&mut self, lines: u64) {
        self.dropped += lines;
        Lines::count_dropped(lines);
    }
}

impl Shared {
    /// The state; no critical section can leave it half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self, end: Instant) {
        let mut state = self.state();
        let goal = state.accepted;
        state.hurried = true;
        self.arrived.notify_one();
        while state.done < goal {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return;
            };
            state = self.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until there is room for `lines`, which may never come.
    fn await_room<'a>(&'a self, state: MutexGuard<'a, State>, lines: &[u8]) -> MutexGuard<'a, State> {
        let waits = |state: &mut State| state.lacks_room(lines) && !state.hopeless;
        let waited = self.written.wait_timeout_while(state, STALL_MAX, waits);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.hopeless |= timeout.timed_out();
        state
    }

    /// The life of the thread.
    fn write_to(&self, mut sink: impl Write, note: &Note) {
        let mut batch = Vec::new();
        while self.next(&mut batch) {
            let taken = self.offer(&mut sink, &batch);
            let mut state = self.state();
            state.done += batch.len() as u64;
            state.drop_lines(count(&batch[taken..]));
            let lost = if taken == batch.len() { std::mem::take(&mut state.dropped) } else { 0 };
            drop(state);
            if lost > 0 {
                let report = note(lost);
                self.offer(&mut sink, &report);
            }
            // Once the report is out as well: a flush waits for it.
            self.written.notify_all();
            batch.clear();
            batch.shrink_to(GATHER_BYTES);
        }
    }

    /// Offers `bytes` to the sink until it has taken all of them, or until there is no use in going on. Says how many it
    /// took.
    fn offer(&self, sink: &mut impl Write, bytes: &[u8]) -> usize {
        let (mut taken, mut pause) = (0, RETRY_MIN);
        while taken < bytes.len() {
            match sink.write(&bytes[taken..]) {
                Ok(n) if n > 0 => {
                    taken += n;
                    pause = RETRY_MIN;
                    self.state().hopeless = false;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Nobody reads the other end of the pipe any more, and nobody will.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return taken,
                Ok(_) | Err(_) => {}
            }
            if self.state().ended {
                return taken;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(RETRY_MAX);
        }
        taken
    }

    /// Waits for lines, lets more gather and swaps them into the empty `batch`; false at the end.
    fn next(&self, batch: &mut Vec<u8>) -> bool {
        let empty = |state: &mut State| state.waiting.is_empty() && !state.ended;
        let few = |state: &mut State| state.waiting.len() < GATHER_BYTES && !state.ended && !state.hurried;
        let state = self.arrived.wait_while(self.state(), empty).unwrap_or_else(PoisonError::into_inner);
        let waited = self.arrived.wait_timeout_while(state, GATHER, few);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.hurried = false;
        std::mem::swap(&mut state.waiting, batch);
        self.written.notify_all();
        !batch.is_empty()
    }
}

/// Collects the many small writes of a formatter; its `flush` hands over what has been collected.
pub struct Assembler {
    line: Vec<u8>,
    lines: Lines,
}

impl Assembler {
    /// An empty one in front of `lines`.
    pub fn new(lines: Lines) -> Self {
        Self { line: Vec::new(), lines }
    }
}

impl Write for Assembler {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.line.is_empty() {
            self.lines.hand_over(&self.line);
            self.line.clear();
            self.line.shrink_to(4096);
        }
        Ok(())
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const LONG: Duration = Duration::from_secs(60);

    /// A sink that remembers.
    #[derive(Clone, Default)]
    pub struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Sink {
        /// What was written.
        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A sink that says what it is offered, and then waits for the test's verdict: how much it takes. Without a verdict
    /// it takes everything.
    struct Stalling {
        entered: Sender<Vec<u8>>,
        verdict: Receiver<io::Result<usize>>,
    }

    impl Write for Stalling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.entered.send(bytes.to_vec()).unwrap();
            self.verdict.recv().unwrap_or(Ok(bytes.len()))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stalling(full: Full) -> (Lines, Receiver<Vec<u8>>, Sender<io::Result<usize>>) {
        let ((entered, seen), (decide, verdict)) = (channel(), channel());
        let note = |lines| format!("{lines} lost\n").into_bytes();
        (Lines::start(Stalling { entered, verdict }, full, Box::new(note)).unwrap(), seen, decide)
    }

    fn full_disk() -> io::Result<usize> {
        Err(io::Error::other("disk full"))
    }

    #[test]
    fn pieces_become_whole_lines_in_order() {
        let sink = Sink::default();
        let lines = Lines::start(sink.clone(), Full::Drop, Box::new(|_| Vec::new())).unwrap();
        let mut one = Assembler::new(lines.clone());
        let mut two = Assembler::new(lines.clone());
        write!(one, "a").unwrap();
        write!(two, "b").unwrap();
        writeln!(one, "a").unwrap();
        writeln!(two, "b").unwrap();
        two.flush().unwrap();
        one.flush().unwrap();
        Lines::flush_all(LONG);
        assert_eq!(sink.text(), "bb\naa\n");
    }

    #[test]
    fn a_stalled_sink_costs_lines_but_no_time_and_says_so_itself() {
        let (lines, seen, decide) = stalling(Full::Drop);
        lines.hand_over(b"first\n");
        assert_eq!(seen.recv().unwrap(), b"first\n");
        let block = "x\n".repeat(WAITING_BYTES_MAX / 2);
        lines.hand_over(block.as_bytes());
        let before = Lines::dropped_in_all();
        lines.hand_over(b"lost\nlost\n");
        assert!(Lines::dropped_in_all() >= before + 2);
        lines.flush(Duration::ZERO);
        drop(decide);
        assert_eq!(seen.recv().unwrap(), b"2 lost\n");
        assert_eq!(seen.recv().unwrap().len(), WAITING_BYTES_MAX);
        lines.hand_over(b"last\n");
        lines.flush(LONG);
        assert_eq!(seen.recv().unwrap(), b"last\n", "said once");
    }

    #[test]
    fn what_a_sink_does_not_take_is_offered_again_from_the_very_byte() {
        let (lines, seen, decide) = stalling(Full::Drop);
        lines.hand_over(b"a line\nanother\n");
        for verdict in [Ok(4), full_disk(), full_disk(), Ok(0), Err(ErrorKind::Interrupted.into())] {
            decide.send(verdict).unwrap();
        }
        drop(decide);
        lines.flush(LONG);
        let offered: Vec<usize> = seen.try_iter().map(|bytes| bytes.len()).collect();
        assert_eq!(offered, [15, 11, 11, 11, 11, 11]);
    }

    #[test]
    fn a_reader_who_has_left_is_not_waited_for() {
        let (lines, seen, decide) = stalling(Full::Drop);
        lines.hand_over(b"nobody\nreads\n");
        decide.send(Err(ErrorKind::BrokenPipe.into())).unwrap();
        drop(decide);
        lines.flush(LONG);
        lines.hand_over(b"this\n");
        lines.flush(LONG);
        drop(lines);
        let offered: Vec<_> = seen.iter().collect();
        assert_eq!(offered, [&b"nobody\nreads\n"[..], b"this\n", b"2 lost\n"]);
    }

    #[test]
    fn who_may_stall_waits_for_room() {
        let (lines, seen, decide) = stalling(Full::Stall);
        lines.hand_over(b"first\n");
        assert_eq!(seen.recv().unwrap(), b"first\n");
        lines.hand_over("x\n".repeat(WAITING_BYTES_MAX / 2).as_bytes());
        let patient = lines.clone();
        let waits = thread::spawn(move || patient.hand_over(b"waits\n"));
        // The waiting itself cannot be seen, only that nothing is lost whichever comes first.
        decide.send(Ok(6)).unwrap();
        assert_eq!(seen.recv().unwrap().len(), WAITING_BYTES_MAX);
        waits.join().unwrap();
        drop(decide);
        drop(lines);
        assert_eq!(seen.iter().collect::<Vec<_>>(), [b"waits\n"]);
    }

    #[test]
    fn who_waited_in_vain_does_not_wait_again() {
        let (lines, seen, decide) = stalling(Full::Stall);
        lines.hand_over(b"first\n");
        seen.recv().unwrap();
        lines.hand_over("x\n".repeat(WAITING_BYTES_MAX / 2).as_bytes());
        lines.hand_over(b"lost\n");
        assert!(lines.0.0.state().hopeless);
        lines.hand_over(b"lost at once\n");
        assert_eq!(lines.0.0.state().dropped, 2);
        drop(decide);
        lines.flush(LONG);
        assert!(!lines.0.0.state().hopeless);
    }

    #[test]
    fn the_thread_writes_all_and_ends_with_the_last_handle() {
        let (lines, seen, decide) = stalling(Full::Drop);
        lines.clone().hand_over(b"last words\n");
        drop(lines);
        decide.send(Ok(11)).unwrap();
        assert_eq!(seen.iter().collect::<Vec<_>>(), [b"last words\n"]);
    }
}
