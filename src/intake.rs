//! What comes in from a client: the verdict on a request's head, its body, and our own answers.

use crate::attempt::CompatLine;
use crate::decisions::Decision;
use crate::engine::{DISCARD_MAX, Kind};
use crate::exchange::{Ask, ClientEvent, ClientState, UpstreamEvent};
use crate::fault::What;
use crate::http::framer::Framer;
use crate::http::framing::{self, Framing};
use crate::http::head::{self, Request, Seen, Version, header_space};
use crate::http::reply::{self, Compat};
use crate::http::rewrite::{self, ConnectionField};
use crate::http::target::{self, Form, Scheme, Target};
use crate::io::Io;
use crate::pair::Client;
use crate::policy::egress::Egress;
use crate::policy::groups::GroupNumber;
use crate::policy::proxy_auth::Login;
use crate::pool::{Asker, Destination};
use crate::reverse::{self, Taken};
use crate::stats::Counter;
use crate::tunnel;
use crate::turn::Turn;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

/// Judges what the client sent: a head when one is due, then the body. Says whether anything moved.
pub fn judge_request<I: Io>(turn: &mut Turn<'_, I>, client: &mut Client<I::Socket>) -> bool {
    if client.exchange.client() == ClientState::Idle && client.requests > 0 && client.leg.pending() == b"\r\n"
    {
        drop_stray_line(turn, client);
        return false;
    }
    let mut moved = false;
    if client.exchange.client() == ClientState::Idle && !client.leg.pending().is_empty() {
        client.exchange.client_on(ClientEvent::Begin);
        client.exchange.began = turn.now;
        client.exchange.record = turn.journal.begin(turn.config.listener(client.listener).door(), turn.now);
        client.since = turn.now;
        turn.stats.set(Counter::ExchangesNow, turn.bufs.exchanges());
        moved = true;
    }
    if client.exchange.client() == ClientState::Head {
        match judge_head(turn, client) {
            Ok(complete) => moved |= complete,
            Err(what) => {
                refuse(turn, client, what);
                return true;
            }
        }
    }
    if client.exchange.client() == ClientState::Body {
        match judge_body(turn, client) {
            Ok(progress) => moved |= progress,
            Err(what) => {
                refuse(turn, client, what);
                return true;
            }
        }
    }
    moved
}

/// The empty line that some clients send behind a body begins no request (RFC 9112 §2.2).
fn drop_stray_line<I: Io>(turn: &mut Turn<'_, I>, client: &mut Client<I::Socket>) {
    if let Some(line) = client.leg.inbound.take() {
        turn.bufs.give_back(line);
    }
    // Through TLS, part of what follows it may have arrived as well: its time begins here.
    client.since = turn.now;
    if !client.leg.is_holding() {
        client.admitted = false;
        turn.bufs.end_exchange();
    }
}

/// Judges the head. `Ok(false)`: it is not complete yet.
fn judge_head<I: Io>(turn: &mut Turn<'_, I>, client: &mut Client<I::Socket>) -> Result<bool, What> {
    if client.denied && !client.leg.pending().is_empty() {
        // Before anything else is looked at, and before a stranger can sit on buffers by never ending its head: where
        // the body ends does not matter, the connection closes.
        return Err(What::ClientDenied);
    }
    let Some(mut buf) = client.leg.inbound.take() else { return Ok(false) };
    let judged = client.scan.request(buf.pending(), turn.config.head_max).and_then(|end| match end {
        Some(len) => take_request(turn, client, &buf.pending()[..len]).map(|verdict| Some((len, verdict))),
        None if client.leg.ended => Err(What::Truncated),
        None if client.leg.cramped || (!buf.has_room() && !turn.bufs.enlarge(&mut buf)) => {
            Err(What::Overloaded)
        }
        None => Ok(None),
    });
    if let Ok(Some((len, _))) = judged {
        buf.judged(len, 0);
        client.scan.reset();
    }
    client.leg.inbound = Some(buf);
    client.leg.tidy(turn.bufs);
    match judged? {
        None => Ok(false),
        Some((_, verdict)) => {
            match verdict {
                Ok(Taken::Forwarded) => {}
                Ok(Taken::Greeted) => answer_ourselves(turn, client, false, reply::greeting),
                Err(what) => refuse(turn, client, what),
            }
            Ok(true)
        }
    }
}

/// Takes a complete head. The outer fault means that the request cannot be told from what follows it; the inner one
/// refuses a request whose end is known.
fn take_request<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    bytes: &[u8],
) -> Result<Result<Taken, What>, What> {
    let mut space = header_space();
    let request = head::parse_request(bytes, &mut space)?;
    if let Some(proxy) = &client.relayed {
        let told = turn.config.trusted_proxies.client(**proxy, request.headers);
        match told {
            Some(address) if address == client.address && client.requests > 0 => {}
            Some(address) => client.admit(address, turn.config),
            // Nobody knows whose request it is.
            None => client.denied = true,
        }
        if client.denied {
            return Err(What::ClientDenied);
        }
    }
    let exchange = &mut client.exchange;
    if let Some(record) = &mut exchange.record {
        turn.journal.take_request(record, &request, bytes.len(), turn.now);
    }
    // Faults from here on are answered as the request asks.
    exchange.ask = Ask {
        head: request.method == b"HEAD",
        version10: request.version == Version::Http10,
        keep_alive: request.keeps_alive(),
        json: request.fields.json,
        expects: request.fields.expect_continue,
        idempotent: matches!(request.method, b"GET" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS"),
        connect: request.method == b"CONNECT",
        upgrade: false,
    };
    let body = framing::request(&request)?;
    if exchange.ask.connect && body != Framing::None {
        // Nobody can tell such a body from what goes through the tunnel (RFC 9110 §9.3.6).
        return Err(What::BadFraming);
    }
    let form = target::form(request.method, request.target)?;
    if let Some(log) = &turn.config.request_log {
        exchange.heard = log.hear(&request, &body, client.address);
    }
    client.requests = client.requests.saturating_add(1);
    turn.stats.count(Counter::Requests);
    exchange.asked = turn.now;
    exchange.request = Framer::new(body, false);
    exchange.client_on(ClientEvent::Request);
    if exchange.request.is_done() {
        exchange.client_on(ClientEvent::End);
    }
    client.since = turn.now;
    Ok(match turn.config.listener(client.listener).kind {
        Kind::Forward => forward(turn, client, &request, &form, bytes).map(|()| Taken::Forwarded),
        Kind::Reverse => reverse::forward(turn, client, &request, &form, bytes),
    })
}

/// Finds the destination and writes the outgoing head.
fn forward<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    request: &Request<'_, '_>,
    form: &Form<'_>,
    bytes: &[u8],
) -> Result<(), What> {
    authorize(turn, client, request)?;
    let exchange = &mut client.exchange;
    let destination = find_destination(turn, client.group, request, form)?;
    turn.pool.enter(destination.origin);
    // The log names it, whatever becomes of the request.
    exchange.destination = Some(Rc::clone(&destination));
    if let Some(ground) = destination.barred {
        let (group, target) = (client.group, &destination.target);
        let decision = Decision { client: client.address, group, target, address: None, ground };
        if turn.decisions.denies(&turn.config.egress, &decision, turn.now, turn.stats) {
            return Err(Egress::what(ground));
        }
    }
    if request.fields.reload && !exchange.ask.connect {
        turn.config.reload_clients.judge(client.address, request.headers)?;
        if !turn.config.validates {
            return Err(What::ReloadOff);
        }
        exchange.reload = true;
        exchange.discarded = Some(0);
        exchange.upstream_on(UpstreamEvent::Ask);
        return Ok(());
    }
    let target = &destination.target;
    if turn.config.compat {
        let url = target.url(request.method, form).into_bytes().into();
        exchange.compat = Some(Box::new(CompatLine { method: request.method.into(), url }));
    }
    match target.scheme {
        Scheme::Http if turn.config.https_only => return Err(What::HttpsOnly),
        Scheme::Https if destination.profile.tls.is_none() => return Err(What::TlsFailed),
        Scheme::Http | Scheme::Https => {}
        Scheme::Tcp => {
            exchange.upstream_on(UpstreamEvent::Ask);
            return Ok(());
        }
    }
    let grown = bytes.len() + target.base.len() + target.authority.len() + 64;
    let mut out = turn.lease_for(grown);
    let drop = |name: &[u8]| turn.config.header_filter.drops(name);
    let upgrade = request.fields.upgrade && !exchange.ask.version10 && !drop(b"upgrade");
    let written = rewrite::request(request, bytes, form, target, upgrade, drop, out.free_mut());
    let Some(n) = written else {
        turn.bufs.give_back(out);
        return Err(What::Overloaded);
    };
    out.written(n);
    if let Some(log) = &turn.config.request_log {
        log.call(request, target, form);
    }
    // What an origin makes of a switch asked for twice is anybody's guess.
    exchange.ask.idempotent &= !upgrade;
    exchange.ask.upgrade = upgrade;
    exchange.forward = Some(out);
    exchange.upstream_on(UpstreamEvent::Ask);
    Ok(())
}

/// Whoever uses the forward listener says who it is, where there is a file of users. A credential that was not verified
/// lately will be, before the request goes anywhere.
fn authorize<I: Io>(
    turn: &Turn<'_, I>,
    client: &mut Client<I::Socket>,
    request: &Request<'_, '_>,
) -> Result<(), What> {
    let Some(users) = &turn.config.users else { return Ok(()) };
    match turn.config.listener(client.listener).kind {
        Kind::Forward => {}
        Kind::Reverse => return Ok(()),
    }
    let Seen::Once(value) = request.fields.proxy_authorization else { return Err(What::ProxyAuth) };
    let tag = users.tag(value);
    if !turn.passes.hold(&tag, turn.now) {
        let login = Login::read(users, value, tag, client.address).ok_or(What::ProxyAuth)?;
        client.exchange.login = Some(Arc::new(login));
    } else if let Some(record) = &mut client.exchange.record {
        turn.journal.take_user(record, value);
    }
    Ok(())
}

/// Where the request asks to go, if that is something we do.
fn find_destination<I: Io>(
    turn: &mut Turn<'_, I>,
    group: GroupNumber,
    request: &Request<'_, '_>,
    form: &Form<'_>,
) -> Result<Rc<Destination>, What> {
    if request.method == b"TRACE" {
        return Err(What::TraceDenied);
    }
    let (config, asker) = (turn.config, Asker::Client(group));
    if let Form::Authority(authority) = form {
        if !config.forms.connect {
            return Err(What::ConnectOff);
        }
        let destination = turn.pool.tunnel(authority, asker, config)?;
        let named = config.connect_ports.name(destination.target.port);
        return if named { Ok(destination) } else { Err(What::ConnectPort) };
    }
    let target = match (request.fields.target_host, form) {
        (Some(target), _) if config.forms.header => target,
        // Scheme and authority are a target as they stand.
        (_, Form::Absolute { path, .. }) if config.forms.absolute && !request.fields.reload => {
            &request.target[..request.target.len() - path.len()]
        }
        _ if config.forms.header => return Err(What::TargetMissing),
        _ => return Err(What::FormOff),
    };
    if request.fields.reload {
        return turn.pool.destination(&Target::secured(target)?, Scheme::Https, asker, config);
    }
    turn.pool.destination(target, config.default_scheme, asker, config)
}

/// Judges the body as far as it has arrived; a refused request's body is dropped.
fn judge_body<I: Io>(turn: &mut Turn<'_, I>, client: &mut Client<I::Socket>) -> Result<bool, What> {
    let Client { leg, exchange, .. } = client;
    let mut moved = false;
    if let Some(buf) = leg.inbound.as_mut().filter(|buf| !buf.pending().is_empty()) {
        let judged = exchange.request.judge(buf.pending_mut())?;
        if let (Some(log), Some(heard)) = (&turn.config.request_log, &mut exchange.heard) {
            log.hear_body(heard, &buf.pending()[..judged.taken]);
        }
        moved = judged.taken > 0;
        if let Some(record) = &mut exchange.record {
            record.received += judged.taken as u64;
        }
        buf.judged(judged.taken, judged.kept);
        if let Some(discarded) = &mut exchange.discarded {
            buf.discard_passed();
            *discarded += judged.taken as u64;
            exchange.close |= *discarded > DISCARD_MAX;
        }
        leg.tidy(turn.bufs);
    }
    if exchange.request.is_done() {
        exchange.client_on(ClientEvent::End);
        return Ok(true);
    }
    if leg.ended && !moved {
        return Err(What::Truncated);
    }
    Ok(moved)
}

/// Answers the request ourselves, or, when the answer has begun, notes why it is cut off.
pub fn refuse<I: Io>(turn: &mut Turn<'_, I>, client: &mut Client<I::Socket>, what: What) {
    // Checked before anything else (contract §5), so nothing else is told, whatever else is wrong.
    let what = if client.denied {
        turn.stats.count(Counter::Denied);
        What::ClientDenied
    } else {
        what
    };
    // Behind a CONNECT come bytes of a tunnel that will not be: nothing of that is to be read as a request. A client that
    // only learns that it has to say who it is, and has sent nothing more, may ask again.
    let asks_again = what.status() == 407 && client.leg.pending().is_empty();
    let broken = what.closes()
        || (turn.config.compat && what.status() >= 500)
        || (client.exchange.ask.connect && !asks_again);
    let Client { leg, exchange, .. } = &mut *client;
    if exchange.client() == ClientState::Head && exchange.ask == Ask::default() {
        // The head could not be read, but nothing that begins like a HEAD gets a body.
        let head = leg.pending();
        exchange.ask.head = head.strip_prefix(b"\r\n").unwrap_or(head).starts_with(b"HEAD ");
    }
    if let Some(record) = exchange.record.as_mut().filter(|record| record.asked.is_none()) {
        record.take_garbage(leg.pending());
    }
    if exchange.fault.is_none() {
        exchange.fault = Some(what);
    }
    if exchange.answered() {
        stop_reading(client);
        return;
    }
    answer_ourselves(turn, client, broken, |ask, out| reply::reply(what, ask, out));
}

/// Tells the client that the reload it asked for has succeeded.
pub fn confirm<I: Io>(turn: &mut Turn<'_, I>, client: &mut Client<I::Socket>) {
    answer_ourselves(turn, client, false, reply::reloaded);
}

/// Tells the client that the tunnel it asked for is open, and opens it.
pub fn establish<I: Io>(turn: &mut Turn<'_, I>, client: &mut Client<I::Socket>) {
    match turn.write_head(&mut client.exchange, 64, reply::established) {
        Ok(_) => {
            if let Some(record) = &mut client.exchange.record {
                record.answer_ourselves(200, 0, turn.now);
            }
            tunnel::open(turn, client);
        }
        Err(what) => refuse(turn, client, what),
    }
}

/// Gives the answer that `write` writes instead of a target's; a `broken` connection closes behind it.
fn answer_ourselves<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    broken: bool,
    write: impl Fn(&reply::Ask<'_>, &mut [u8]) -> Option<usize>,
) {
    let Client { leg, exchange, requests, .. } = &mut *client;
    let unread = exchange.client() != ClientState::Done;
    exchange.close |= broken
        || turn.draining
        || !exchange.ask.keep_alive
        || (unread && (exchange.ask.expects || exchange.request.left() > DISCARD_MAX))
        || turn.config.requests_max.is_some_and(|max| *requests >= max);
    exchange.replay = None;
    if let Some(forward) = exchange.forward.take() {
        turn.bufs.give_back(forward);
    }
    if let Some(inbound) = &mut leg.inbound {
        inbound.discard_passed();
    }
    turn.pipes.reclaim(&mut leg.pipe);
    exchange.discarded = Some(0);
    exchange.upstream_on(UpstreamEvent::Refuse);
    answer(turn, client, write);
    client.since = turn.now;
    if client.exchange.close {
        stop_reading(client);
    }
    client.leg.tidy(turn.bufs);
}

/// Nothing that still arrives is read as part of a request; the connection closes.
fn stop_reading<S>(client: &mut Client<S>) {
    let exchange = &mut client.exchange;
    exchange.close = true;
    if matches!(exchange.client(), ClientState::Head | ClientState::Body) {
        exchange.client_on(ClientEvent::Abandon);
        exchange.unread = true;
    }
}

/// Writes our own answer.
fn answer<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    write: impl Fn(&reply::Ask<'_>, &mut [u8]) -> Option<usize>,
) {
    let exchange = &mut client.exchange;
    let connection = match (exchange.close, exchange.ask.version10) {
        (true, _) => ConnectionField::Close,
        (false, true) => ConnectionField::KeepAlive,
        (false, false) => ConnectionField::None,
    };
    let compat = exchange.compat.take();
    let ask = reply::Ask {
        head: exchange.ask.head,
        json: exchange.ask.json,
        connection,
        compat: compat.as_ref().map(|line| Compat { method: &line.method, url: &line.url }),
    };
    turn.stats.count(Counter::Refusals);
    let url_len = compat.as_ref().map_or(0, |line| line.url.len());
    let told = Cell::new((0, 0));
    let written = turn.write_head(exchange, 1024 + 2 * url_len, |out| {
        let len = write(&ask, out)?;
        told.set(reply::told(&out[..len]));
        Some(len)
    });
    if let (Some(record), Ok(true)) = (&mut exchange.record, written) {
        let (status, body) = told.get();
        record.answer_ourselves(status, body, turn.now);
    }
    // Only interim answers that the client does not read could fill the buffer: it loses the answer, not the order.
    exchange.close |= written != Ok(true);
}
