//! What a reverse listener makes of a request and of its answer: a route instead of a target that the client names.
//!
//! `x-target-host` and `x-reload-httpclient` are ordinary headers here, and the egress policy does not apply: where
//! requests go is the operator's word. Which target of a route is asked is `balance`'s and `failover`'s to say.

use crate::balance::Lead;
use crate::engine::Config;
use crate::exchange::UpstreamEvent;
use crate::fault::What;
use crate::http::head::{Request, Response, Seen, Version};
use crate::http::reverse::{self, ADDED_MAX, Added, Passing, Returning};
use crate::http::rewrite::Edits;
use crate::http::target::{Form, Scheme};
use crate::io::Io;
use crate::pair::Client;
use crate::policy::routes::{Found, Public, Route, Via, path};
use crate::pool::{Asker, Destination};
use crate::turn::Turn;
use std::io::Write as _;
use std::rc::Rc;

/// What became of a request that is in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It goes to a target.
    Forwarded,
    /// It asks a reverse listener without routes whether it is there.
    Greeted,
}

/// What we are, in `Via`.
const PRODUCT: &[u8] = b" (apim-proxy)";
/// Bytes that the longest address is written in.
const ADDRESS_MAX: usize = 45;

/// Finds the route and writes the outgoing head.
///
/// # Errors
/// Why the request goes nowhere.
pub fn forward<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    request: &Request<'_, '_>,
    form: &Form<'_>,
    bytes: &[u8],
) -> Result<Taken, What> {
    let (host, target) = match *form {
        Form::Origin(target) => (asked_host(request), target),
        // RFC 9112 §3.2.2: its authority is the Host, whatever that header says.
        Form::Absolute { authority, path, .. } => (authority, path),
        Form::Authority(_) => return Err(What::ConnectNever),
        Form::Asterisk => return Err(What::NoRoute),
    };
    if request.method == b"TRACE" {
        return Err(What::TraceDenied);
    }
    let query = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
    let (raw, query) = target.split_at(query);
    let config = turn.config;
    let path = path::normal(raw)?;
    if config.routes.is_empty() {
        let greets = raw == b"/" && matches!(request.method, b"GET" | b"HEAD");
        return if greets { Ok(Taken::Greeted) } else { Err(What::NoRoute) };
    }
    let tls = config.listener(client.listener).inbound.is_some();
    let Found { number, route, taken } = config.routes.find(tls, host, &path).ok_or(What::NoRoute)?;
    client.note_host(host);
    let lead = turn.balance.choose(number, None, turn.now).ok_or(What::NoRoute)?;
    // Whatever becomes of it, it counts until the exchange is concluded.
    client.exchange.lead = Some(lead);
    let destination = find_destination(turn, client, route, lead)?;
    let asked = host;
    let host =
        if route.preserve_host && !host.is_empty() { host } else { destination.target.authority.as_bytes() };
    let rest = path.get(taken..).unwrap_or_default();
    write_request(turn, client, request, bytes, route, (route.join(rest, query), host, asked))?;
    client.exchange.upstream_on(UpstreamEvent::Ask);
    Ok(Taken::Forwarded)
}

/// The client's `Host`; empty when it named none, as HTTP/1.0 may.
fn asked_host<'b>(request: &Request<'_, 'b>) -> &'b [u8] {
    match request.fields.host {
        Seen::Once(host) => host,
        Seen::Never | Seen::Repeated => b"",
    }
}

/// Gives the exchange the destination of `lead`.
fn find_destination<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    route: &Route,
    lead: Lead,
) -> Result<Rc<Destination>, What> {
    let destination =
        turn.pool.destination(route.target(lead.member), Scheme::Http, Asker::Route, turn.config)?;
    turn.pool.enter(destination.origin);
    client.exchange.destination = Some(Rc::clone(&destination));
    match destination.target.scheme {
        Scheme::Https if destination.profile.tls.is_none() => Err(What::TlsFailed),
        Scheme::Http | Scheme::Https | Scheme::Tcp => Ok(destination),
    }
}

fn write_request<I: Io>(
    turn: &mut Turn<'_, I>,
    client: &mut Client<I::Socket>,
    request: &Request<'_, '_>,
    bytes: &[u8],
    route: &Route,
    (path, host, asked): ([&[u8]; 4], &[u8], &[u8]),
) -> Result<(), What> {
    let config = turn.config;
    let public = public(config, client.listener, &client.host, route);
    let mut address = [0; ADDRESS_MAX];
    let room = address.len();
    let mut left = &mut address[..];
    write!(left, "{}", client.address).map_err(|_| What::Overloaded)?;
    let len = room - left.len();
    let upgrade = request.fields.upgrade && request.version == Version::Http11;
    let version = if request.version == Version::Http10 { &b"1.0 "[..] } else { b"1.1 " };
    let routes = &config.routes;
    let (lines, count) = added(config, public.scheme, &address[..len], (asked, version), route);
    let passing = Passing {
        path,
        host,
        added: &lines[..count],
        upgrade,
        drops_via: routes.via == Via::Block,
        edits: &routes.request_edits,
    };
    let grown = bytes.len() + path.iter().map(|piece| piece.len()).sum::<usize>() + host.len() + 512;
    let write = |out: &mut [u8]| reverse::request(request, bytes, &passing, out);
    let mut out = turn.lease_for(grown);
    let written = write(out.free_mut()).or_else(|| {
        turn.bufs.enlarge(&mut out);
        write(out.free_mut())
    });
    let Some(n) = written else {
        turn.bufs.give_back(out);
        return Err(What::Overloaded);
    };
    out.written(n);
    // What an origin makes of a switch asked for twice is anybody's guess.
    client.exchange.ask.idempotent &= !upgrade;
    client.exchange.ask.upgrade = upgrade;
    client.exchange.forward = Some(out);
    Ok(())
}

/// The lines we add to a request, and how many.
fn added<'a>(
    config: &'a Config,
    scheme: &'a str,
    address: &'a [u8],
    (asked, version): (&'a [u8], &'a [u8]),
    route: &'a Route,
) -> ([Added<'a>; ADDED_MAX], usize) {
    let routes = &config.routes;
    let added: [(bool, Added<'_>); ADDED_MAX] = [
        (
            routes.forwarded.address,
            Added { name: "X-Forwarded-For", value: [address, b"", b""], merge: true },
        ),
        (
            routes.forwarded.host && !asked.is_empty(),
            Added { name: "X-Forwarded-Host", value: [asked, b"", b""], merge: true },
        ),
        (
            routes.forwarded.server,
            Added { name: "X-Forwarded-Server", value: [&route.server, b"", b""], merge: true },
        ),
        (
            routes.forwarded.proto,
            Added { name: "X-Forwarded-Proto", value: [scheme.as_bytes(), b"", b""], merge: false },
        ),
        (
            matches!(routes.via, Via::On | Via::Full),
            Added { name: "Via", value: via(config, version, route), merge: true },
        ),
    ];
    let mut lines = added.map(|(_, line)| line);
    let mut count = 0;
    for (_, line) in added.iter().filter(|(wanted, _)| *wanted) {
        lines[count] = *line;
        count += 1;
    }
    (lines, count)
}

fn via<'a>(config: &'a Config, version: &'a [u8], route: &'a Route) -> [&'a [u8]; 3] {
    [version, &route.server, if config.routes.via == Via::Full { PRODUCT } else { b"" }]
}

/// Who the client thinks it talks to.
fn public<'a>(config: &Config, listener: u8, host: &'a [u8], route: &'a Route) -> Public<'a> {
    let scheme = if config.listener(listener).inbound.is_some() { "https" } else { "http" };
    Public { scheme, authority: if host.is_empty() { &route.server } else { host } }
}

/// Writes the head of an answer that came by `lead` for a client of `listener` that asked for `host`; the length, or `None`
/// if `out` is too small.
pub fn write_answer(
    config: &Config,
    (listener, host): (u8, &[u8]),
    lead: Lead,
    (response, bytes): (&Response<'_, '_>, &[u8]),
    edits: Edits,
    out: &mut [u8],
) -> Option<usize> {
    let route = config.routes.at(lead.route);
    let public = public(config, listener, host, route);
    let version = if response.version == Version::Http10 { &b"1.0 "[..] } else { b"1.1 " };
    let adds_via = matches!(config.routes.via, Via::On | Via::Full);
    let returning = Returning {
        edits,
        via: adds_via.then(|| via(config, version, route)),
        header_edits: &config.routes.response_edits,
    };
    let revise = |name, value| config.routes.revise(lead.route, &public, name, value);
    reverse::response(response, bytes, &returning, revise, out)
}
