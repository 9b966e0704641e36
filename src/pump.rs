//! The hot path: one pair, pumped to a fixed point under a budget.
//!
//! ```text
//! receive request -> judge -> send request -> receive answer -> judge -> send answer -> repeat while anything moved
//! ```
//! Readiness is never armed here: a socket is tried while it is ready and left alone once the kernel said "not now".
//! What the pump cannot do with one pair alone (dial, pool, retry, close) it returns as a [`Step`].

use crate::answer;
use crate::buf::BufPool;
use crate::exchange::{ClientState, Exchange, UpstreamState};
use crate::intake;
use crate::io::Io;
use crate::leg::{Leg, Received, Sent};
use crate::pair::{Client, Upstream};
use crate::splice;
use crate::stats::Counter;
use crate::tunnel::{self, Flow};
use crate::turn::Turn;

/// Passes over a pair before others get their turn.
const PASSES_MAX: u32 = 8;
/// Receives that bring only the transport's own bytes, in a row, before a connection counts as not silent.
const SILENT_MAX: u32 = 8;

/// What the worker has to do next for the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until an event or a deadline.
    Rest,
    /// More could be done; others first.
    Again,
    /// No buffers can be promised now.
    Starved,
    /// The PROXY protocol header could go on.
    Greet,
    /// A TLS handshake could go on.
    Shake,
    /// The exchange needs a connection.
    Dial,
    /// The reused connection failed; the request may be sent again.
    Retry,
    /// The connection that served the exchange is of no more use.
    Drop,
    /// The exchange is complete.
    Settle,
    /// The client's connection is over.
    Close(Ending),
}

/// How a client's connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client got everything there was, or has gone.
    Plain,
    /// With a reset: the answer was cut off, and a plain close could be taken for its end.
    Reset,
}

/// Pumps a pair as far as it goes.
pub fn pump<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    mut upstream: Option<&mut Upstream<I::Socket>>,
) -> Step {
    for _ in 0..PASSES_MAX {
        if client.exchange.client() == ClientState::Tunnel {
            match upstream.as_deref_mut().map_or(Flow::Over, |upstream| tunnel::pass(turn, client, upstream))
            {
                Flow::Moved => continue,
                Flow::Still => return Step::Rest,
                Flow::Starved => return Step::Starved,
                Flow::Over => return Step::Close(Ending::Plain),
                Flow::Broken => return Step::Close(Ending::Reset),
            }
        }
        // While we linger, dead may only mean that both sides have shut down: what the client sent is read all the
        // same, for closing with bytes unread is a reset, and that eats what the client has not read.
        // A handshake reads to the end by itself, and says what became of it.
        let state = client.exchange.client();
        let reads_on = matches!(state, ClientState::Lingering | ClientState::Handshake);
        let dead = client.leg.ready.dead && !reads_on;
        if client.leg.failed || client.leg.broken || dead {
            note_leg_fault(client);
            return Step::Close(Ending::Plain);
        }
        if state == ClientState::Preface {
            return if client.leg.ready.readable { Step::Greet } else { Step::Rest };
        }
        if state == ClientState::Handshake {
            // The peer says more, or takes more of what waits to be sent.
            let flows = client.leg.ready.readable || (client.leg.ready.writable && client.leg.has_unsent());
            return if flows { Step::Shake } else { Step::Rest };
        }
        let mut moved = match receive_request(turn, client, upstream.as_deref()) {
            Ok(moved) => moved,
            Err(step) => return step,
        };
        moved |= intake::judge_request(turn, client);
        if let Some(upstream) = upstream.as_deref_mut() {
            moved |= send_request(turn, client, upstream);
            moved |= receive_answer(turn, client, upstream);
            moved |= answer::judge_answer(turn, client, upstream);
        }
        moved |= send_answer(turn, client, upstream.as_deref_mut());
        moved |= client.end_answers(turn.io, turn.bufs, upstream.as_deref());
        client.release_idle(turn.bufs);
        if let Some(step) = verdict(client, upstream.as_deref()) {
            return step;
        }
        if !moved {
            return Step::Rest;
        }
    }
    Step::Again
}

/// The exchange reports why TLS with its client failed, unless it has a reason already.
fn note_leg_fault<S>(client: &mut Client<S>) {
    if let Some(what) = client.leg.fault {
        client.exchange.fault.get_or_insert(what);
    }
}

/// Reads from the client when its state wants more. `Err` ends the pump.
fn receive_request<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    upstream: Option<&Upstream<I::Socket>>,
) -> Result<bool, Step> {
    let state = client.exchange.client();
    let ended = state != ClientState::Lingering && client.leg.has_said_farewell();
    if state == ClientState::Done || ended {
        return Ok(false);
    }
    if state == ClientState::Body
        && let Some(upstream) = upstream
        && let Some(moved) = splice_request(turn, client, upstream)
    {
        return Ok(moved);
    }
    if !client.leg.can_receive() {
        return Ok(false);
    }
    if !client.admitted && state != ClientState::Lingering {
        if !turn.bufs.begin_exchange() {
            return Err(Step::Starved);
        }
        client.admitted = true;
    }
    let was_silent = !client.leg.is_holding();
    let received = if state == ClientState::Lingering {
        client.leg.discard(turn.io, turn.bufs)
    } else {
        client.leg.receive(turn.io, turn.bufs)
    };
    match (received, state) {
        (Received::Bytes(n), _) => {
            turn.stats.add(Counter::BytesFromClients, n);
            if state == ClientState::Body {
                client.since = turn.now;
            }
        }
        // The part of a record that will hold a request has its time, from its first byte on.
        (Received::Silent, ClientState::Idle) if was_silent && client.leg.has_sealed() => {
            client.since = turn.now;
        }
        // Requests sent before the end of the stream are still served.
        (Received::Over, ClientState::Idle) if client.leg.inbound.is_some() => {}
        (Received::Over, ClientState::Idle | ClientState::Lingering) => {
            note_leg_fault(client);
            return Err(Step::Close(Ending::Plain));
        }
        (Received::Nothing | Received::Silent | Received::Over, _) => {}
    }
    client.release_idle(turn.bufs);
    Ok(received != Received::Nothing)
}

/// Receives bytes of the request's body into a pipe, once its head has gone out; `None`: they are to be read.
fn splice_request<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    upstream: &Upstream<I::Socket>,
) -> Option<bool> {
    let Client { leg, exchange, since, .. } = client;
    if exchange.discarded.is_some() || !exchange.upstream().is_open() {
        return None;
    }
    let left = exchange.request.unseen();
    let received = splice::receive(turn, leg, &upstream.leg, left, exchange.forward.is_none())?;
    if let Received::Bytes(n) = received {
        exchange.request.advance(n);
        if let Some(record) = &mut exchange.record {
            record.received += n as u64;
        }
        turn.stats.add(Counter::BytesFromClients, n);
        *since = turn.now;
    }
    Some(received != Received::Nothing)
}

/// Sends the rewritten head and the passed body bytes in one call.
fn send_request<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    upstream: &mut Upstream<I::Socket>,
) -> bool {
    let Client { leg, exchange, since, .. } = client;
    if !exchange.upstream().is_open()
        || !upstream.leg.ready.writable
        || upstream.leg.broken
        || upstream.leg.failed
    {
        return false;
    }
    // A pooled connection that closed or spoke after it was chosen gets no byte, so that any request may go elsewhere.
    if exchange.reused && !exchange.sent && !is_silent(turn.io, turn.bufs, &mut upstream.leg) {
        upstream.leg.failed = true;
        return true;
    }
    if leg.pipe.is_some() && exchange.forward.is_none() {
        let n = splice::send(turn, leg, &mut upstream.leg);
        turn.stats.add(Counter::BytesToUpstreams, n);
        if n > 0 {
            *since = turn.now;
        }
        return n > 0 || upstream.leg.broken;
    }
    let head = exchange.forward.as_ref().map_or(&[][..], |buf| buf.passed());
    let head_len = head.len();
    let Sent { taken: n, moved } = upstream.leg.send(turn.io, turn.bufs, head, leg.passed());
    if moved {
        *since = turn.now;
    }
    if n == 0 {
        // A failure is news: what the origin said before it is to be read.
        return moved || upstream.leg.broken;
    }
    turn.stats.add(Counter::BytesToUpstreams, n);
    if let Some(log) = &turn.config.request_log {
        log.sent(
            exchange.link,
            (!exchange.sent).then_some(head),
            &leg.passed()[..n.saturating_sub(head_len)],
        );
    }
    exchange.sent = true;
    if let Some(forward) = &mut exchange.forward {
        forward.sent(n.min(head_len));
    }
    if let Some(inbound) = &mut leg.inbound {
        inbound.sent(n.saturating_sub(head_len));
    }
    if exchange.replay.is_none() {
        release_request(turn.bufs, exchange, leg);
    }
    true
}

/// Returns what the request no longer needs.
fn release_request<S>(bufs: &mut BufPool, exchange: &mut Exchange, leg: &mut Leg<S>) {
    if let Some(forward) = exchange.forward.take_if(|buf| buf.is_empty()) {
        bufs.give_back(forward);
    }
    leg.tidy(bufs);
}

/// Reads from the origin while an answer is due.
fn receive_answer<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    upstream: &mut Upstream<I::Socket>,
) -> bool {
    let exchange = &mut client.exchange;
    let due = matches!(exchange.upstream(), UpstreamState::Head | UpstreamState::Body);
    if !due || exchange.fault.is_some() {
        return false;
    }
    let (left, clear) = (exchange.response.unseen(), exchange.answer.is_none());
    let received = match splice::receive(turn, &mut upstream.leg, &client.leg, left, clear) {
        Some(received) => {
            if let Received::Bytes(n) = received {
                exchange.response.advance(n);
                if let Some(record) = &mut exchange.record {
                    record.body += n as u64;
                }
            }
            received
        }
        None if upstream.leg.can_receive() => upstream.leg.receive(turn.io, turn.bufs),
        None => return false,
    };
    if let Received::Bytes(n) = received {
        turn.stats.add(Counter::BytesFromUpstreams, n);
        client.since = turn.now;
        exchange.received = true;
        if exchange.replay.take().is_some() {
            release_request(turn.bufs, exchange, &mut client.leg);
        }
    }
    received != Received::Nothing
}

/// Sends the answer's head and the passed body bytes in one call.
fn send_answer<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    mut upstream: Option<&mut Upstream<I::Socket>>,
) -> bool {
    let Client { leg, exchange, since, .. } = client;
    if !leg.ready.writable || leg.broken {
        return false;
    }
    if exchange.answer.is_none()
        && let Some(upstream) = upstream.as_deref_mut().filter(|upstream| upstream.leg.pipe.is_some())
    {
        let n = splice::send(turn, &mut upstream.leg, leg);
        if let Some(record) = &mut exchange.record {
            record.sent += n as u64;
        }
        turn.stats.add(Counter::BytesToClients, n);
        if n > 0 {
            *since = turn.now;
        }
        return n > 0 || leg.broken;
    }
    let head = exchange.answer.as_ref().map_or(&[][..], |buf| buf.passed());
    let head_len = head.len();
    let body = upstream.as_ref().map_or(&[][..], |upstream| upstream.leg.passed());
    let Sent { taken: n, moved } = leg.send(turn.io, turn.bufs, head, body);
    if moved {
        *since = turn.now;
    }
    if n == 0 {
        return moved || leg.broken;
    }
    turn.stats.add(Counter::BytesToClients, n);
    if let Some(record) = &mut exchange.record {
        record.sent += n as u64;
    }
    if let Some(answer) = &mut exchange.answer {
        answer.sent(n.min(head_len));
    }
    if let Some(answer) = exchange.answer.take_if(|buf| buf.is_empty()) {
        turn.bufs.give_back(answer);
    }
    if let Some(upstream) = upstream {
        if let Some(inbound) = &mut upstream.leg.inbound {
            inbound.sent(n.saturating_sub(head_len));
        }
        upstream.leg.tidy(turn.bufs);
    }
    true
}

/// What the state of the pair asks for after a pass; `None`: nothing but more bytes.
fn verdict<S>(client: &Client<S>, upstream: Option<&Upstream<S>>) -> Option<Step> {
    let exchange = &client.exchange;
    let lost = upstream.is_some_and(|upstream| upstream.leg.is_over());
    match exchange.upstream() {
        UpstreamState::Wanted => Some(Step::Dial),
        UpstreamState::Handshake => Some(Step::Shake),
        UpstreamState::Head => (lost && exchange.may_retry()).then_some(Step::Retry),
        UpstreamState::Body if exchange.fault.is_some() && !client.has_answer_to_send(upstream) => {
            let ending = if exchange.until_close { Ending::Reset } else { Ending::Plain };
            Some(Step::Close(ending))
        }
        UpstreamState::Done if exchange.discarded.is_some() && upstream.is_some() => Some(Step::Drop),
        UpstreamState::Done => {
            // The answer is out; the request goes on while the origin takes it. One that has closed takes nothing.
            let lost = lost || upstream.is_some_and(|upstream| upstream.leg.ready.read_closed);
            let unsent = client.has_request_to_send(upstream) && upstream.is_some();
            let complete = match exchange.client() {
                ClientState::Done => !unsent || lost,
                ClientState::Body => lost || (upstream.is_none() && exchange.close),
                ClientState::Preface
                | ClientState::Handshake
                | ClientState::Idle
                | ClientState::Head
                | ClientState::Lingering
                | ClientState::Tunnel => false,
            };
            (complete && !client.has_answer_to_send(upstream)).then_some(Step::Settle)
        }
        UpstreamState::Body
        | UpstreamState::Absent
        | UpstreamState::Verifying
        | UpstreamState::Reloading
        | UpstreamState::Queued
        | UpstreamState::Resolving
        | UpstreamState::Connecting
        | UpstreamState::Tunnel => None,
    }
}

/// Whether an idle or finished connection is silent: nothing unread, not closed. Asks the kernel only when an event
/// left room for doubt.
pub fn is_silent<I: Io>(io: &mut I, bufs: &mut BufPool, leg: &mut Leg<I::Socket>) -> bool {
    for _ in 0..SILENT_MAX {
        if leg.is_over() || leg.ready.dead || leg.ready.read_closed || leg.is_holding() {
            break;
        }
        if !leg.ready.readable {
            return true;
        }
        match leg.receive(io, bufs) {
            // A session ticket, for instance. Part of one leaves something held.
            Received::Silent => {}
            Received::Nothing => return true,
            Received::Bytes(_) | Received::Over => break,
        }
    }
    leg.empty(bufs);
    false
}
