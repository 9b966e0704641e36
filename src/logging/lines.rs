//! Whole lines on their way to a slow place: a bounded buffer and the one thread that empties it.
//!
//! Handing over costs a copy under a short lock and never waits for the sink. Two buffers change places: callers
//! fill one while the thread writes the other in one call. What does not fit is dropped and counted.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that may wait for the sink.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A handle on the buffer; the thread ends, having written everything, when the last handle is dropped.
#[derive(Clone)]
pub struct Lines(Arc<Handle>);

/// Exists once for all clones, so that its end is the end of them all.
struct Handle(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Signalled when lines arrive and at the end.
    arrived: Condvar,
    /// Signalled when a buffer has been written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Bytes ever accepted, and of these the bytes the sink has had its chance to take.
    accepted: u64,
    done: u64,
    /// Lines lost since the last report.
    dropped: u64,
    ended: bool,
}

impl Lines {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { state: Mutex::default(), arrived: Condvar::new(), written: Condvar::new() });
        let writer = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_to(sink))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Hands over whole lines, or drops and counts them when there is no room.
    pub fn hand_over(&self, lines: &[u8]) {
        let shared = &self.0.0;
        let mut state = shared.state();
        if state.waiting.len() + lines.len() > WAITING_BYTES_MAX {
            state.dropped += count(lines);
            return;
        }
        state.waiting.extend_from_slice(lines);
        state.accepted += lines.len() as u64;
        shared.arrived.notify_one();
    }

    /// How many lines were lost since this last said so; only once there is room again to report it.
    pub fn dropped(&self) -> Option<u64> {
        let mut state = self.0.0.state();
        if state.dropped == 0 || state.waiting.len() > WAITING_BYTES_MAX / 2 {
            return None;
        }
        Some(std::mem::take(&mut state.dropped))
    }

    /// Waits until everything handed over so far has been written, for `longest` at most.
    pub fn flush(&self, longest: Duration) {
        let shared = &self.0.0;
        let end = Instant::now() + longest;
        let mut state = shared.state();
        let goal = state.accepted;
        while state.done < goal {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return;
            };
            state = shared.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.arrived.notify_one();
    }
}

impl Shared {
    /// The state; no critical section can leave it half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of the thread.
    fn write_to(&self, mut sink: impl Write) {
        let mut batch = Vec::new();
        while self.next(&mut batch) {
            let lost =
                if sink.write_all(&batch).and_then(|()| sink.flush()).is_err() { count(&batch) } else { 0 };
            let mut state = self.state();
            state.done += batch.len() as u64;
            state.dropped += lost;
            drop(state);
            self.written.notify_all();
            batch.clear();
            batch.shrink_to(64 * 1024);
        }
    }

    /// Waits for lines and swaps them into the empty `batch`; false at the end.
    fn next(&self, batch: &mut Vec<u8>) -> bool {
        let mut state = self.state();
        while state.waiting.is_empty() {
            if state.ended {
                return false;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut state.waiting, batch);
        true
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

    /// A sink that says when it is written to, and then waits for the test's verdict.
    struct Stalling {
        entered: Sender<usize>,
        verdict: Receiver<bool>,
    }

    impl Write for Stalling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.entered.send(bytes.len()).unwrap();
            if self.verdict.recv().unwrap_or(true) {
                Ok(bytes.len())
            } else {
                Err(io::Error::other("disk full"))
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stalling() -> (Lines, Receiver<usize>, Sender<bool>) {
        let ((entered, seen), (decide, verdict)) = (channel(), channel());
        (Lines::start(Stalling { entered, verdict }).unwrap(), seen, decide)
    }

    #[test]
    fn pieces_become_whole_lines_in_order() {
        let sink = Sink::default();
        let lines = Lines::start(sink.clone()).unwrap();
        let mut one = Assembler::new(lines.clone());
        let mut two = Assembler::new(lines.clone());
        write!(one, "a").unwrap();
        write!(two, "b").unwrap();
        writeln!(one, "a").unwrap();
        writeln!(two, "b").unwrap();
        two.flush().unwrap();
        one.flush().unwrap();
        lines.flush(LONG);
        assert_eq!(sink.text(), "bb\naa\n");
    }

    #[test]
    fn a_stalled_sink_costs_lines_but_no_time() {
        let (lines, seen, decide) = stalling();
        lines.hand_over(b"first\n");
        assert_eq!(seen.recv().unwrap(), 6);
        let block = "x\n".repeat(WAITING_BYTES_MAX / 2);
        lines.hand_over(block.as_bytes());
        lines.hand_over(b"lost\nlost\n");
        assert_eq!(lines.dropped(), None, "no room yet to say it");
        lines.flush(Duration::ZERO);
        decide.send(true).unwrap();
        assert_eq!(seen.recv().unwrap(), WAITING_BYTES_MAX);
        assert_eq!(lines.dropped(), Some(2));
        assert_eq!(lines.dropped(), None, "said once");
        decide.send(true).unwrap();
        lines.flush(LONG);
    }

    #[test]
    fn lines_a_sink_refuses_are_counted() {
        let (lines, seen, decide) = stalling();
        lines.hand_over(b"a\nb\n");
        assert_eq!(seen.recv().unwrap(), 4);
        decide.send(false).unwrap();
        lines.flush(LONG);
        assert_eq!(lines.dropped(), Some(2));
    }

    #[test]
    fn the_thread_writes_all_and_ends_with_the_last_handle() {
        let (lines, seen, decide) = stalling();
        lines.clone().hand_over(b"last words\n");
        drop(lines);
        decide.send(true).unwrap();
        assert_eq!(seen.iter().collect::<Vec<_>>(), [11]);
    }
}
