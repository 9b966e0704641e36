//! Long bodies and tunnels between plain sockets go through a pipe instead of a buffer: nobody looks at their bytes, so
//! nobody copies them.
//!
//! ```text
//! socket --receive--> pipe --send--> socket
//! ```
//! What a buffer holds goes out first, then what the pipe holds; a leg has one or the other, never both. A pipe is
//! taken when there is something to receive and returned when it is empty, so whoever waits for its peer holds none.

use crate::io::{Io, Moved};
use crate::leg::{Leg, Received};
use crate::stats::Counter;
use crate::turn::Turn;

/// Most bytes received at once, so that no pair keeps the others waiting.
const RECEIVE_MAX: u64 = 256 * 1024;

/// Receives into a pipe what goes from `from` to `to` as it is, of which `left` bytes are to come at most. `None`: it is
/// to go through a buffer. `clear`: the head in front of it has gone out.
pub fn receive<I: Io>(
    turn: &mut Turn<'_, I>,
    from: &mut Leg<I::Socket>,
    to: &Leg<I::Socket>,
    left: u64,
    clear: bool,
) -> Option<Received> {
    if from.pipe.is_none() {
        let long = turn.config.splice_min.is_some_and(|min| from.suits_pipe(left, min));
        let plain = from.secure.is_none() && to.secure.is_none();
        if !long || !plain || !turn.pipes.has_one(turn.now) {
            return None;
        }
        if !clear || from.inbound.is_some() || !from.has_news() {
            return Some(Received::Nothing);
        }
        from.pipe = turn.pipes.take(turn.now, || turn.io.pipe());
    }
    let news = from.has_news();
    let pipe = from.pipe.as_mut()?;
    if left == 0 || !news || !pipe.has_room() {
        return Some(Received::Nothing);
    }
    let moved = turn.io.splice_in(&mut from.socket, turn.pipes.of(pipe), left.min(RECEIVE_MAX) as usize);
    match moved {
        Moved::Bytes(n) => {
            pipe.received(n);
            from.note_spliced(n);
        }
        // The source is empty or the pipe is full: only an empty pipe tells which.
        Moved::Blocked if pipe.held() > 0 => {
            pipe.refused();
            return Some(Received::Nothing);
        }
        Moved::Blocked | Moved::End | Moved::Failed => {}
    }
    turn.pipes.tidy(&mut from.pipe);
    Some(from.judge_moved(moved))
}

/// Sends what the pipe of `from` holds; how much of it.
pub fn send<I: Io>(turn: &mut Turn<'_, I>, from: &mut Leg<I::Socket>, to: &mut Leg<I::Socket>) -> usize {
    let Some(pipe) = &mut from.pipe else { return 0 };
    let held = pipe.held();
    let moved = turn.io.splice_out(turn.pipes.of(pipe), &mut to.socket, held);
    let n = to.judge_sent(moved);
    pipe.sent(n);
    turn.stats.add(Counter::BytesSpliced, n);
    turn.pipes.tidy(&mut from.pipe);
    n
}
