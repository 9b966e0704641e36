//! What comes in from an origin: the verdict on the heads of its answer and on the answer's body.

use crate::engine::{INTERIMS_MAX, RESPONSE_HEAD_MAX};
use crate::exchange::{ClientState, Exchange, UpstreamEvent, UpstreamState};
use crate::fault::What;
use crate::http::framer::Framer;
use crate::http::framing::{self, Framing};
use crate::http::head::{self, Response, header_space};
use crate::http::rewrite::{self, ConnectionField, Edits};
use crate::intake;
use crate::io::Io;
use crate::pair::{Client, Upstream};
use crate::reverse;
use crate::stats::Latency;
use crate::time::{Millis, Now};
use crate::tunnel;
use crate::turn::Turn;
use crate::wait::Wait;

/// How long before the end that an origin announced its connection is given up.
const EXPIRY_MARGIN_MS: u64 = 1000;
/// The longest lifetime an origin is believed.
const LIFETIME_MAX: Millis = Millis::from_secs(3600);

/// Judges what the origin sent: interim heads, the final head, the body.
pub fn judge_answer<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    upstream: &mut Upstream<I::Socket>,
) -> bool {
    let mut moved = false;
    while client.exchange.upstream() == UpstreamState::Head {
        match judge_head(turn, client, upstream) {
            Ok(true) => moved = true,
            Ok(false) => break,
            // The verdict asks for another connection.
            Err(what) if what.retryable() && client.exchange.may_retry() => return moved,
            Err(what) => {
                intake::refuse(turn, client, what);
                return true;
            }
        }
    }
    judge_body(turn, &mut client.exchange, upstream) || moved
}

/// Judges the body of the answer. A fault leaves what was passed to be sent, then cuts the answer off.
fn judge_body<I: Io>(
    turn: &mut Turn<'_, I>,
    exchange: &mut Exchange,
    upstream: &mut Upstream<I::Socket>,
) -> bool {
    if exchange.upstream() != UpstreamState::Body || exchange.fault.is_some() {
        return false;
    }
    let mut moved = false;
    let leg = &mut upstream.leg;
    if let Some(buf) = leg.inbound.as_mut().filter(|buf| !buf.pending().is_empty()) {
        let Ok(judged) = exchange.response.judge(buf.pending_mut()) else {
            exchange.fault = Some(What::BadResponse);
            return true;
        };
        if let Some(log) = &turn.config.request_log {
            log.received(exchange.link, &buf.pending()[..judged.kept]);
        }
        moved = judged.taken > 0;
        if let Some(record) = &mut exchange.record {
            record.body = exchange.response.chunk_data().unwrap_or(record.body + judged.taken as u64);
        }
        buf.judged(judged.taken, judged.kept);
        leg.tidy(turn.bufs);
    }
    if exchange.response.is_done() {
        exchange.upstream_on(UpstreamEvent::End);
        return true;
    }
    let unjudged = !leg.pending().is_empty();
    if leg.failed {
        exchange.fault = Some(leg.fault.unwrap_or(What::UpstreamReset));
    } else if leg.ended && !(unjudged && moved) {
        // Over TLS, the end of the stream is the end of the body only if the origin says so: anybody can cut a wire.
        if exchange.response.end().is_err() || leg.truncated {
            exchange.fault = Some(What::ResponseTruncated);
        } else {
            exchange.upstream_on(UpstreamEvent::End);
        }
    }
    moved
}

/// Judges one head of the answer. `Ok(false)`: none is complete, or there is no room for it yet.
fn judge_head<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    upstream: &mut Upstream<I::Socket>,
) -> Result<bool, What> {
    let Some(buf) = upstream.leg.inbound.as_mut().filter(|buf| !buf.pending().is_empty()) else {
        return if upstream.leg.failed {
            Err(upstream.leg.fault.unwrap_or(What::UpstreamReset))
        } else if upstream.leg.ended {
            Err(if client.exchange.received { What::ResponseTruncated } else { What::NoResponse })
        } else {
            Ok(false)
        };
    };
    let Some(len) = upstream.scan.response(buf.pending(), RESPONSE_HEAD_MAX)? else {
        if upstream.leg.failed {
            return Err(upstream.leg.fault.unwrap_or(What::UpstreamReset));
        }
        if upstream.leg.ended {
            return Err(What::ResponseTruncated);
        }
        // What was received before this head has been sent or is an interim head, which is held elsewhere.
        if upstream.leg.cramped || (!buf.has_room() && !turn.bufs.enlarge(buf)) {
            return Err(What::Overloaded);
        }
        return Ok(false);
    };
    let mut space = header_space();
    let response = head::parse_response(&buf.pending()[..len], &mut space)?;
    let interim = (100..200).contains(&response.status);
    let accepted = if response.status == 101 {
        switch(turn, client, &response, &buf.pending()[..len])?
    } else if interim {
        interim_answer(turn, &mut client.exchange, &response, &buf.pending()[..len])?
    } else {
        final_answer(turn, client, &response, &buf.pending()[..len])?
    };
    if !accepted {
        return Ok(false);
    }
    if let Some(log) = &turn.config.request_log {
        log.answer(client.exchange.link, &response, &buf.pending()[..len]);
    }
    let lifetime = response.fields.keep_alive_timeout;
    buf.judged(len, 0);
    upstream.scan.reset();
    if !interim {
        upstream.expires = expiry(turn, lifetime);
    }
    Ok(true)
}

/// When a connection leaves the pool: a little before the origin said it would close it, else after the setting.
fn expiry<I: Io>(turn: &Turn<'_, I>, lifetime_secs: Option<u32>) -> Now {
    let own = turn.config.waits.of(Wait::UpstreamIdle);
    turn.now
        + lifetime_secs.map_or(own, |secs| {
            let said = u64::from(secs) * 1000;
            Millis(said - (said / 2).min(EXPIRY_MARGIN_MS)).min(LIFETIME_MAX)
        })
}

/// Passes an interim answer on (RFC 9110 §15.2), never to an HTTP/1.0 client.
fn interim_answer<I: Io>(
    turn: &mut Turn<'_, I>,
    exchange: &mut Exchange,
    response: &Response<'_, '_>,
    bytes: &[u8],
) -> Result<bool, What> {
    if exchange.interims == INTERIMS_MAX {
        return Err(What::BadResponse);
    }
    framing::response(response, exchange.ask.head)?;
    if !exchange.ask.version10 {
        let edits = Edits { connection: ConnectionField::None, unchunk: false };
        if !turn.write_head(exchange, bytes.len(), |out| rewrite::response(response, bytes, &edits, out))? {
            return Ok(false);
        }
    }
    exchange.interims += 1;
    Ok(true)
}

/// The origin switches protocols, if that was asked of it (RFC 9110 §7.8): the pair becomes a tunnel once the request is
/// complete.
fn switch<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    response: &Response<'_, '_>,
    bytes: &[u8],
) -> Result<bool, What> {
    if !client.exchange.ask.upgrade || !response.fields.upgrade {
        return Err(What::BadResponse);
    }
    framing::response(response, false)?;
    if client.exchange.client() != ClientState::Done || client.has_request_to_send(None) {
        return Ok(false);
    }
    let edits = Edits { connection: ConnectionField::Upgrade, unchunk: false };
    let write = |out: &mut [u8]| rewrite::response(response, bytes, &edits, out);
    if !turn.write_head(&mut client.exchange, bytes.len(), write)? {
        return Ok(false);
    }
    if let Some(record) = &mut client.exchange.record {
        turn.journal.take_answer(record, response, turn.now);
    }
    tunnel::open(turn, client);
    Ok(true)
}

/// Takes the final head: decides how the body ends and whether both connections live on.
fn final_answer<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    response: &Response<'_, '_>,
    bytes: &[u8],
) -> Result<bool, What> {
    let exchange = &mut client.exchange;
    let body = framing::response(response, exchange.ask.head)?;
    let unchunk = exchange.ask.version10 && body == Framing::Chunked;
    let until_close = body == Framing::UntilClose;
    // An answer before the end of the request: what follows the request cannot be told apart in time.
    let early = exchange.client() != ClientState::Done;
    let close = exchange.close
        || !exchange.ask.keep_alive
        || turn.draining
        || until_close
        || unchunk
        || early
        || turn.config.requests_max.is_some_and(|max| client.requests >= max);
    let connection = match (close, exchange.ask.version10) {
        (true, _) => ConnectionField::Close,
        (false, true) => ConnectionField::KeepAlive,
        (false, false) => ConnectionField::None,
    };
    // A 1.0 client must not see Transfer-Encoding, even where there is no body to unchunk (RFC 9112 §6.1).
    let edits = Edits { connection, unchunk: exchange.ask.version10 };
    let (config, lead, at, host) = (turn.config, exchange.lead, client.listener, &client.host);
    let write = |out: &mut [u8]| match lead {
        None => rewrite::response(response, bytes, &edits, out),
        Some(lead) => reverse::write_answer(config, (at, host), lead, (response, bytes), edits, out),
    };
    if !turn.write_head(exchange, bytes.len(), write)? {
        return Ok(false);
    }
    exchange.close = close;
    exchange.until_close = until_close || unchunk;
    exchange.reusable = !until_close && response.keeps_alive();
    exchange.response = Framer::new(body, unchunk);
    exchange.upstream_on(UpstreamEvent::Answer);
    if let Some(record) = &mut exchange.record {
        turn.journal.take_answer(record, response, turn.now);
    }
    turn.stats.time(Latency::FirstByte, turn.now.micros_since(exchange.asked));
    Ok(true)
}
