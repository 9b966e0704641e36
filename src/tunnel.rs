//! Tunnels: what a CONNECT or an upgrade makes of a pair. Bytes go both ways as they are, until both ends have ended.
//!
//! ```text
//! up    client.inbound   --> upstream
//! down  upstream.inbound --> client     behind the head that opened the tunnel
//! ```
//! An end goes on as an end behind the last byte (through TLS as close_notify first), and the other way lives on. A
//! reset goes on as a reset, and so does an end that TLS did not announce, which the other side could take for a whole
//! stream. A tunnel that holds no byte holds no buffer and no promise of any.

use crate::buf::Lease;
use crate::exchange::{ClientEvent, Exchange, UpstreamEvent, Way};
use crate::fault::What;
use crate::io::Io;
use crate::leg::{Leg, Received};
use crate::pair::{Client, Upstream};
use crate::splice;
use crate::stats::Counter;
use crate::turn::Turn;

/// What a pass over a tunnel came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Something moved.
    Moved,
    /// Nothing until an event or a deadline.
    Still,
    /// No buffers can be promised now.
    Starved,
    /// Both ends have ended.
    Over,
    /// One of them broke off.
    Broken,
}

/// Makes a tunnel of the pair; what opens it waits in the exchange's answer.
pub fn open<I: Io>(turn: &mut Turn<'_, I>, client: &mut Client<I::Socket>) {
    let exchange = &mut client.exchange;
    exchange.client_on(ClientEvent::Switch);
    exchange.upstream_on(UpstreamEvent::Switch);
    exchange.close = true;
    exchange.replay = None;
    exchange.tunnel = Some(Box::default());
    if let Some(forward) = exchange.forward.take() {
        turn.bufs.give_back(forward);
    }
    client.since = turn.now;
    turn.stats.count(Counter::Tunnels);
}

/// Carries bytes and ends both ways, once each.
pub fn pass<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    upstream: &mut Upstream<I::Socket>,
) -> Flow {
    if !client.admitted {
        if !client.leg.can_receive() && !upstream.leg.can_receive() {
            return Flow::Still;
        }
        if !turn.bufs.begin_exchange() {
            return Flow::Starved;
        }
        client.admitted = true;
    }
    let Exchange { answer, tunnel, record, .. } = &mut client.exchange;
    let Some(tunnel) = tunnel else { return Flow::Over };
    let before = tunnel.down.bytes;
    let up = carry(turn, &mut client.leg, &mut upstream.leg, &mut None, &mut tunnel.up);
    let down = carry(turn, &mut upstream.leg, &mut client.leg, answer, &mut tunnel.down);
    if let Some(record) = record {
        // The head; what goes through is counted with the tunnel.
        record.sent += down.sent as u64 - (tunnel.down.bytes - before);
    }
    let over = tunnel.up.ended && tunnel.down.ended;
    turn.stats.add(Counter::BytesFromClients, up.received);
    turn.stats.add(Counter::BytesToUpstreams, up.sent);
    turn.stats.add(Counter::BytesFromUpstreams, down.received);
    turn.stats.add(Counter::BytesToClients, down.sent);
    let moved = up.moved || down.moved;
    if moved {
        client.since = turn.now;
    }
    if let Some(what) = breach(client, upstream) {
        client.exchange.fault.get_or_insert(what);
        return Flow::Broken;
    }
    let holds = client.exchange.answer.is_some() || client.leg.is_holding() || upstream.leg.is_holding();
    if !holds {
        client.admitted = false;
        turn.bufs.end_exchange();
    }
    match (over, moved) {
        (true, _) => Flow::Over,
        (false, true) => Flow::Moved,
        (false, false) => Flow::Still,
    }
}

/// Whether bytes wait to be sent to either side.
pub fn is_carrying<S>(client: &Client<S>, upstream: Option<&Upstream<S>>) -> bool {
    client.has_answer_to_send(upstream) || client.has_request_to_send(upstream)
}

/// What one way did in a pass.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    received: usize,
    sent: usize,
    moved: bool,
}

/// One way: receives into `from`'s buffer or pipe, sends `head` and then what that holds to `to`, and passes the end on
/// behind it.
fn carry<I: Io>(
    turn: &mut Turn<'_, I>,
    from: &mut Leg<I::Socket>,
    to: &mut Leg<I::Socket>,
    head: &mut Option<Lease>,
    way: &mut Way,
) -> Carried {
    let mut carried = Carried::default();
    // Who takes nothing more is only read, until that fails as well: see `breach`.
    if to.broken || to.failed {
        return carried;
    }
    let received = match splice::receive(turn, from, to, u64::MAX, head.is_none()) {
        Some(received) => received,
        None if from.can_receive() => from.receive(turn.io, turn.bufs),
        None => Received::Nothing,
    };
    carried.moved = received != Received::Nothing;
    if let Received::Bytes(n) = received {
        carried.received = n;
    }
    if let Some(inbound) = &mut from.inbound {
        let all = inbound.pending().len();
        inbound.judged(all, all);
    }
    if to.ready.writable && from.pipe.is_some() && head.is_none() {
        carried.sent = splice::send(turn, from, to);
        carried.moved |= carried.sent > 0 || to.broken;
        way.bytes += carried.sent as u64;
    } else if to.ready.writable {
        let first = head.as_ref().map_or(&[][..], |buf| buf.passed());
        let head_len = first.len();
        let sent = to.send(turn.io, turn.bufs, first, from.passed());
        carried.sent = sent.taken;
        // A failure is news: what was said before it is to be read.
        carried.moved |= sent.moved || to.broken;
        if let Some(buf) = head {
            buf.sent(sent.taken.min(head_len));
        }
        if let Some(buf) = head.take_if(|buf| buf.is_empty()) {
            turn.bufs.give_back(buf);
        }
        let passed = sent.taken.saturating_sub(head_len);
        if let Some(inbound) = &mut from.inbound {
            inbound.sent(passed);
        }
        way.bytes += passed as u64;
        from.tidy(turn.bufs);
    }
    if from.ended
        && !from.truncated
        && !way.ended
        && head.is_none()
        && from.inbound.is_none()
        && from.pipe.is_none()
    {
        to.farewell(turn.io, turn.bufs);
        if !to.has_unsent() {
            turn.io.finish(&mut to.socket);
            way.ended = true;
            carried.moved = true;
        }
    }
    carried
}

/// Why the tunnel is to be broken off: a side is gone, and what it had said was passed on or cannot be.
fn breach<S>(client: &Client<S>, upstream: &Upstream<S>) -> Option<What> {
    let gone = |leg: &Leg<S>, to: &Leg<S>| {
        let said = !leg.has_passed() && !to.has_unsent();
        (leg.failed || leg.truncated) && (said || to.broken || to.failed)
    };
    let (down, up) = (&client.leg, &upstream.leg);
    if gone(down, up) {
        Some(down.fault.unwrap_or(What::ClientGone))
    } else if gone(up, down) {
        Some(up.fault.unwrap_or(if up.failed { What::UpstreamReset } else { What::ResponseTruncated }))
    } else {
        None
    }
}
