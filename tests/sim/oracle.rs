//! What must have been true of a run, judged from the bytes alone: every answer a client got is its own, every request
//! an origin saw is one that some client made, once, and whatever else happened is a fault that was dealt.

use super::answer::{After, Finish, Flaw, Timing};
use super::keys;
use super::ledger;
use super::peer_client::{ClientPeer, Ended};
use super::peer_origin::{RUDE_ANSWER, id_of};
use super::plan::{Own, Plan};
use super::reader::Message;
use super::run::Sim;
use super::script::{Mood, Slip};
use super::tls::Demand;
use apim_proxy::engine::DISCARD_MAX;
use apim_proxy::stats::Counter;

/// One time that an origin saw something of a request.
#[derive(Clone, Copy, Debug)]
struct Sighting {
    id: usize,
    sock: usize,
    /// It was not the first request of its connection.
    reused: bool,
    /// Something was said or done on the connection that belongs to no answer.
    tainted: bool,
    /// The proxy had been told of that before it sent the first byte.
    warned: bool,
    complete: bool,
    /// Bytes came back after its first byte.
    heard: bool,
    /// Other requests begin with the same bytes.
    vague: bool,
}

/// Judges a finished run.
pub fn judge(sim: &Sim) {
    let sightings = judge_origins(sim);
    judge_attempts(sim, &sightings);
    judge_reuse(sim, &sightings);
    for client in &sim.clients {
        Verdict { sim, client, sightings: &sightings }.judge();
    }
    judge_secrets(sim, &sightings);
    judge_stats(sim);
    ledger::judge(sim);
}

fn judge_origins(sim: &Sim) -> Vec<Sighting> {
    let plans = &sim.script.plans;
    let net = sim.world.net();
    let mut sightings = Vec::new();
    for (sock, socket) in net.sockets.iter().enumerate().filter(|(_, s)| s.place.is_some()) {
        let mut at = 0;
        while at < socket.log.len() {
            let bytes = &socket.log[at..];
            let allowed = |plan: &Plan| plan.reaches && plan.place == socket.place;
            let prefixed = |plan: &&Plan| allowed(plan) && plan.images.iter().any(|i| i.starts_with(bytes));
            let candidates: Vec<usize> = plans.iter().filter(prefixed).map(|plan| plan.id).collect();
            if candidates.len() > 1 {
                // Too little to tell whose it is: it may excuse each of them, and accuses none.
                let vague = candidates.into_iter().map(|id| Sighting {
                    id,
                    sock,
                    reused: at > 0,
                    tainted: socket.tainted.is_some() || socket.deaf,
                    warned: false,
                    complete: false,
                    heard: false,
                    vague: true,
                });
                sightings.extend(vague);
                break;
            }
            let id = id_of(bytes).or(candidates.first().copied());
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
            let id = id.unwrap_or_else(|| panic!("s{sock}: nobody asked for {text:?}"));
            let plan = plans.get(id).unwrap_or_else(|| panic!("s{sock}: a request made of bait: {text:?}"));
            assert!(allowed(plan), "s{sock}: request {id} must not come here");
            let whole = plan.images.iter().find(|image| plan.completes && bytes.starts_with(image));
            let partial = plan.images.iter().any(|image| image.starts_with(bytes));
            assert!(whole.is_some() || partial, "s{sock}: request {id} was changed: {text:?}");
            let end = at + whole.map_or(bytes.len(), Vec::len);
            sightings.push(Sighting {
                id,
                sock,
                reused: at > 0,
                tainted: socket.tainted.is_some() || socket.deaf,
                warned: at > 0 && socket.warned_at.is_some_and(|warned| at >= socket.logged_before(warned)),
                complete: whole.is_some(),
                heard: socket
                    .heard
                    .iter()
                    .any(|heard| (at + 1..=end).contains(&socket.logged_before(*heard))),
                vague: false,
            });
            at = end;
        }
        if socket.is_half_heard() && sim.script.mood != Mood::Calm {
            // The record under way may be anybody's.
            let meant = plans.iter().filter(|plan| plan.reaches && plan.place == socket.place);
            let vague = Sighting {
                id: 0,
                sock,
                reused: at > 0,
                tainted: socket.tainted.is_some() || socket.deaf,
                warned: false,
                complete: false,
                heard: false,
                vague: true,
            };
            sightings.extend(meant.map(|plan| Sighting { id: plan.id, ..vague }));
        }
    }
    sightings
}

/// No request goes out on a connection known to be spoilt, unless an exchange took what spoilt it for its answer.
fn judge_reuse(sim: &Sim, sightings: &[Sighting]) {
    let took_rude = |client: &ClientPeer, id| {
        let finals = client.reader.messages.iter().filter(|message| message.status >= 200);
        finals.zip(&client.script.plans).any(|(m, plan)| *plan == id && is_rude(&client.got[m.start..m.end]))
    };
    for late in sightings.iter().filter(|sighting| sighting.warned) {
        let mut before = sightings.iter().filter(|s| s.sock == late.sock && s.id != late.id);
        let taken = before.any(|s| sim.clients.iter().any(|client| took_rude(client, s.id)));
        assert!(taken, "request {} went out on a connection known to be spoilt: {late:?}", late.id);
    }
}

/// At most one sighting, or two by the retry rule.
fn judge_attempts(sim: &Sim, sightings: &[Sighting]) {
    for plan in &sim.script.plans {
        let seen: Vec<&Sighting> = sightings.iter().filter(|s| s.id == plan.id && !s.vague).collect();
        let calm = sim.script.mood == Mood::Calm;
        assert!(!calm || sightings.iter().all(|seen| seen.complete), "request {}: {seen:?}", plan.id);
        if let [first, _] = seen[..] {
            assert!(first.reused, "request {} was repeated after a fresh connection: {seen:?}", plan.id);
            assert!(!first.heard, "request {} was repeated after bytes of an answer: {seen:?}", plan.id);
            assert!(plan.idempotent, "request {} must not be repeated: {seen:?}", plan.id);
            let failed = matches!(plan.answer.flaw, Flaw::Reset(_) | Flaw::End(0)) || loses(plan);
            assert!(first.tainted || failed, "request {} was repeated without need: {seen:?}", plan.id);
        }
        assert!(seen.len() <= 2, "request {} was repeated twice: {seen:?}", plan.id);
    }
}

/// Whoever behaves finds TLS as it should be, with the right certificates, and no request on a connection made under
/// terms that no longer hold.
fn judge_secrets(sim: &Sim, sightings: &[Sighting]) {
    let net = sim.world.net();
    for client in sim.clients.iter().filter(|client| client.script.tls.is_some_and(|tls| !tls.plain)) {
        let Some(channel) = client.sock.and_then(|sock| net.sockets[sock].channel.as_ref()) else { continue };
        let dealt = client.slipped || client.rejected || sim.script.stalls;
        assert!(dealt || channel.failed.is_none(), "client s{:?}: {:?}", client.sock, channel.failed);
        let shaken = !channel.connection().is_handshaking();
        assert!(dealt || sim.drained || shaken, "client s{:?} never got through its handshake", client.sock);
        let passable = client.script.tls.is_some_and(|tls| tls.is_passable());
        assert!(passable || client.got.is_empty(), "client s{:?} got an answer without TLS", client.sock);
    }
    for (sock, socket) in net.sockets.iter().enumerate() {
        let Some((at, tls)) = socket.place.and_then(|at| Some((at, net.places[at].tls?))) else { continue };
        let channel = socket.channel.as_ref().expect("a place that speaks TLS");
        let refused = !net.places[at].reachable || channel.troubled;
        assert!(refused || channel.failed.is_none(), "s{sock}: {:?}", channel.failed);
        assert!(
            net.places[at].reachable || socket.log.is_empty(),
            "s{sock}: a request to a place without trust"
        );
        if !channel.connection().is_handshaking() && tls.demand != Demand::None && tls.identity {
            let shown = channel.connection().peer_certificates().and_then(|chain| chain.first());
            let own = [0, 1].map(keys::proxy_certificate).iter().position(|own| Some(own) == shown);
            let is_late = |id| sim.clients.iter().any(|client| client.late.contains(&id));
            let mut seen = sightings.iter().filter(|seen| seen.sock == sock && !seen.vague);
            assert!(own.is_some_and(|own| own == 0 || socket.reloaded), "s{sock}: the certificate of nobody");
            assert!(
                own == Some(1) || !seen.any(|seen| is_late(seen.id)),
                "s{sock}: the certificate of before"
            );
        }
    }
    for seen in sightings.iter().filter(|seen| !seen.vague) {
        let late = sim.clients.iter().any(|client| client.late.contains(&seen.id));
        assert!(!late || net.sockets[seen.sock].reloaded, "request {} on a retired connection", seen.id);
    }
}

fn judge_stats(sim: &Sim) {
    let sum = |counter| sim.stats.iter().map(|stats| stats.value(counter)).sum::<u64>();
    let requests = sum(Counter::Requests);
    let ended = sum(Counter::Answers) + sum(Counter::Aborted) + sum(Counter::ClientGone);
    let refusals = sum(Counter::Refusals);
    let story = format!("{requests} requests, {ended} ended, {refusals} refusals");
    assert!(ended <= requests && requests <= ended + refusals, "{story}");
    if sim.script.mood == Mood::Calm {
        assert_eq!((sum(Counter::Answers), refusals), (requests, 0), "{story}");
    }
    let net = sim.world.net();
    let bytes = |upstream: bool| -> u64 {
        let side = net.sockets.iter().filter(|socket| socket.place.is_some() == upstream);
        side.map(|socket| socket.log.len() as u64).sum()
    };
    let (to_clients, to_upstreams) = (sum(Counter::BytesToClients), sum(Counter::BytesToUpstreams));
    if net.sockets.iter().all(|socket| socket.channel.is_none()) {
        assert_eq!((to_clients, to_upstreams), (bytes(false), bytes(true)), "bytes to clients and upstreams");
    } else {
        // What was sealed was not always heard.
        assert!(to_clients >= bytes(false) && to_upstreams >= bytes(true), "bytes to clients and upstreams");
    }
}

/// The judgement of one client's connection.
struct Verdict<'a> {
    sim: &'a Sim,
    client: &'a ClientPeer,
    sightings: &'a [Sighting],
}

impl Verdict<'_> {
    fn judge(&self) {
        let mut at = 0;
        let mut interims = 0;
        let mut closed = false;
        for message in &self.client.reader.messages {
            assert!(!closed, "{}: bytes after the last answer", self.name(at));
            let plan =
                self.plan(at).unwrap_or_else(|| panic!("{}: an answer nobody asked for", self.name(at)));
            let bytes = &self.client.got[message.start..message.end];
            if (100..200).contains(&message.status) {
                assert!(!plan.version10, "{}: HTTP/1.0 knows no interim answers", self.name(at));
                let expected = plan.answer.interims.get(interims).map(Vec::as_slice);
                assert_eq!(Some(bytes), expected, "{}: interim answer", self.name(at));
                interims += 1;
                continue;
            }
            match &message.code {
                Some(code) => self.judge_own(at, plan, message, code),
                None => self.judge_relayed(at, plan, message, bytes, interims),
            }
            (at, interims, closed) = (at + 1, 0, message.closes || plan.last);
        }
        self.judge_rest(at, closed);
    }

    fn name(&self, at: usize) -> String {
        format!("client s{:?} request {:?}", self.client.sock, self.client.script.plans.get(at))
    }

    fn plan(&self, at: usize) -> Option<&Plan> {
        self.client.script.plans.get(at).map(|id| &self.sim.script.plans[*id])
    }

    /// How much of its `at`-th request the client has sent.
    fn sent(&self, at: usize) -> usize {
        match at.cmp(&self.client.at) {
            std::cmp::Ordering::Less => usize::MAX,
            std::cmp::Ordering::Equal => self.client.sent,
            std::cmp::Ordering::Greater => 0,
        }
    }

    fn slipped_at(&self, at: usize) -> bool {
        match self.client.script.slip {
            Some(Slip::End(n, _) | Slip::Reset(n, _) | Slip::Stall(n, _)) => n == at && self.client.slipped,
            Some(Slip::ResetReading(_) | Slip::Deaf(_)) | None => false,
        }
    }

    /// It went out on a connection that the origin spoilt meanwhile.
    fn spoilt(&self, plan: &Plan) -> bool {
        self.sightings.iter().any(|s| s.id == plan.id && s.reused && s.tainted)
    }

    /// It went out on a connection whose origin speaks unasked, which may have been taken for the answer, or resets it.
    fn met_rudeness(&self, plan: &Plan) -> bool {
        let net = self.sim.world.net();
        self.sightings.iter().any(|s| s.id == plan.id && net.sockets[s.sock].rude)
    }

    fn judge_own(&self, at: usize, plan: &Plan, message: &Message, code: &str) {
        let own: Own = (message.status, code.to_owned().leak());
        let mut allowed = plan.own.clone();
        let script = &self.sim.script;
        if self.slipped_at(at) {
            allowed.extend([(400, "bad_request"), (408, "request_timeout")]);
        }
        if self.client.rejected {
            allowed.push((503, "overloaded"));
        }
        if script.stalls {
            // Overloaded: no buffer came free while it waited.
            allowed.extend([(503, "pool_timeout"), (408, "request_timeout"), (503, "overloaded")]);
        }
        if self.spoilt(plan) {
            allowed.push((502, "bad_response"));
            if script.stalls {
                allowed.extend([(504, "read_timeout"), (504, "send_timeout")]);
            }
            if !plan.idempotent || plan.has_body || self.met_rudeness(plan) {
                allowed.extend([(502, "no_response"), (502, "upstream_reset"), (502, "response_truncated")]);
            }
        }
        if loses(plan) {
            allowed.extend([(502, "no_response"), (502, "upstream_reset"), (502, "response_truncated")]);
        }
        assert!(allowed.contains(&own), "{}: {own:?} is not among {allowed:?}", self.name(at));
        assert!(self.sent(at) > 0 || self.client.rejected, "{}: answered before it was asked", self.name(at));
    }

    fn judge_relayed(&self, at: usize, plan: &Plan, message: &Message, bytes: &[u8], interims: usize) {
        let name = self.name(at);
        assert!(self.sent(at) >= plan.head_len, "{name}: answered before it was asked");
        if self.spoilt(plan) && is_rude(bytes) {
            return;
        }
        let text = || String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
        let image = Self::images(plan).into_iter().find(|image| image == bytes);
        assert!(image.is_some(), "{name}: not its answer: {}", text());
        assert!(self.sightings.iter().any(|s| s.id == plan.id), "{name}: an answer to a request nobody saw");
        assert!(!plan.answer.is_flawed(), "{name}: {:?} looks complete", plan.answer.flaw);
        let expected = if plan.version10 { 0 } else { plan.answer.interims.len() };
        assert_eq!(interims, expected, "{name}: interim answers");
        let must = !plan.keep_alive || plan.answer.finish == Finish::Close;
        let script = &self.sim.script;
        let may = must || script.requests_max.is_some() || self.sim.drained || is_early(plan);
        assert!(!must || message.closes, "{name}: the connection must close");
        assert!(may || !message.closes, "{name}: the connection must not close");
        let kept = bytes[..message.head_end - message.start].ends_with(b"Connection: keep-alive\r\n\r\n");
        assert_eq!(kept, plan.version10 && !message.closes, "{name}: keep-alive is for HTTP/1.0");
    }

    /// The answer as the client may see it.
    fn images(plan: &Plan) -> Vec<Vec<u8>> {
        let lines = [&b""[..], b"Connection: close\r\n", b"Connection: keep-alive\r\n"];
        lines.map(|line| [&plan.answer.head, line, b"\r\n", &plan.answer.body].concat()).into()
    }

    /// What stands behind the last complete answer, and what is missing.
    fn judge_rest(&self, at: usize, closed: bool) {
        let mut rest = &self.client.got[self.client.reader.complete_to()..];
        // The answer to a HEAD that was refused before it was understood has a body.
        if closed && self.plan(at - 1).is_some_and(|plan| plan.is_head) {
            rest = &[];
        }
        let Some(plan) = self.plan(at) else {
            let text = String::from_utf8_lossy(&rest[..rest.len().min(400)]);
            assert!(rest.is_empty(), "{}: bytes nobody asked for: {text}", self.name(at));
            return;
        };
        if closed {
            assert!(rest.is_empty(), "{}: bytes after the last answer", self.name(at));
            return;
        }
        let name = self.name(at);
        let ended = self.client.ended.expect("the run is over");
        let script = &self.sim.script;
        let excused = ended == Ended::Left
            || self.client.slipped
            || self.client.rejected
            || script.stalls
            || self.sim.drained
            || self.is_lossy()
            || self.follows_a_long_refusal(at)
            || self.precedes_a_reset(at);
        if rest.is_empty() {
            let unasked = self.sent(at) == 0;
            let cut = (plan.may_be_cut() || loses(plan)) && ended != Ended::Orderly;
            assert!(excused || unasked || cut, "{name}: never answered ({ended:?})");
            return;
        }
        let own = rest.len() < 60 || rest.windows(15).any(|window| window == b"\nContent-Type: ");
        let images = Self::images(plan);
        let is_prefix = images.iter().chain(&plan.answer.interims).any(|image| image.starts_with(rest));
        let text = String::from_utf8_lossy(&rest[..rest.len().min(400)]).into_owned();
        assert!(is_prefix || own || self.spoilt(plan), "{name}: not its answer: {text}");
        let cut = plan.may_be_cut() || loses(plan);
        assert!(excused || cut || self.spoilt(plan), "{name}: cut off ({ended:?}): {text}");
        let open_end = self.client.reader.unfinished().is_some_and(|message| message.until_close);
        assert!(!open_end || ended != Ended::Orderly, "{name}: a truncated answer looks complete");
    }

    /// The body of a refused request was too long to be read to its end.
    fn follows_a_long_refusal(&self, at: usize) -> bool {
        let mut finals = self.client.reader.messages.iter().filter(|message| message.status >= 200);
        let refused = finals.next_back().is_some_and(|message| message.code.is_some());
        refused && at > 0 && self.plan(at - 1).is_some_and(|plan| plan.wire.len() as u64 > DISCARD_MAX)
    }

    /// A later answer was cut off, perhaps with a reset, which eats what the client has not read.
    fn precedes_a_reset(&self, at: usize) -> bool {
        let later = self.client.script.plans[at..].iter().skip(1).map(|id| &self.sim.script.plans[*id]);
        let resets = |plan: &Plan| plan.may_be_cut() || loses(plan);
        self.client.script.pipelines && later.into_iter().any(resets)
    }

    fn is_lossy(&self) -> bool {
        self.client.sock.is_some_and(|sock| self.sim.world.net().sockets[sock].lossy)
    }
}

fn is_rude(bytes: &[u8]) -> bool {
    let head = &RUDE_ANSWER[..RUDE_ANSWER.len() - b"\r\nRUDE".len()];
    bytes.starts_with(head) && (bytes.ends_with(b"RUDE") || bytes.ends_with(b"\r\n\r\n"))
}

/// The answer may begin before the request is complete.
fn is_early(plan: &Plan) -> bool {
    matches!(plan.answer.timing, Timing::Early { .. })
}

/// The origin resets its connection so soon that its answer may be lost on the way.
fn loses(plan: &Plan) -> bool {
    let resets = matches!(plan.answer.after, After::Leave { reset: true, .. });
    let leaves = matches!(plan.answer.after, After::Close | After::Leave { .. });
    plan.answer.flaw != Flaw::Silent && (resets || (leaves && is_early(plan)))
}
