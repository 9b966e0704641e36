//! A simulated origin's end of one connection: recognises requests by the images their plans allow, answers as the
//! plan says, and misbehaves as the plan says.

use super::answer::{After, Answer, Flaw, Timing};
use super::plan::Plan;
use super::reader::find;
use super::rng::Rng;
use super::script::Grain;
use super::world::{Got, Net};

/// What is said unasked: an answer, or noise.
pub const RUDE_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Rude: 1\r\n\r\nRUDE";
const RUDE_NOISE: &[u8] = b"\0\0noise";

pub struct OriginPeer {
    pub sock: usize,
    read: Grain,
    write: Grain,
    input: Vec<u8>,
    /// Where the request under way begins in the input.
    start: usize,
    /// The request under way.
    current: Option<usize>,
    /// What is to be written before the answer's end.
    out: Vec<u8>,
    written: usize,
    /// The final answer's bytes are in `out`.
    answering: bool,
    /// What happens after the answer, when.
    then: Option<(u64, After)>,
    pub gone: bool,
    /// It answers nobody any more.
    mute: bool,
    /// It spoke unasked, and hangs up on whoever asks now.
    rude: bool,
    rng: Rng,
}

/// The id in the path of the request that begins at the start of `bytes`, when its line is complete.
pub fn id_of(bytes: &[u8]) -> Option<usize> {
    let line = &bytes[..find(bytes, b"\r\n")?];
    let at = find(line, b"/r")? + 2;
    let digits: String = line[at..].iter().take_while(|b| b.is_ascii_digit()).map(|b| *b as char).collect();
    digits.parse().ok()
}

/// The first head in `bytes`.
pub fn head_len(bytes: &[u8]) -> Option<usize> {
    find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

impl OriginPeer {
    pub fn new(sock: usize, read: Grain, write: Grain, rng: Rng) -> Self {
        Self {
            sock,
            read,
            write,
            input: Vec::new(),
            start: 0,
            current: None,
            out: Vec::new(),
            written: 0,
            answering: false,
            then: None,
            gone: false,
            mute: false,
            rude: false,
            rng,
        }
    }

    pub fn alarm(&self) -> Option<u64> {
        self.then.map(|(due, _)| due).filter(|_| !self.gone)
    }

    pub fn step(&mut self, net: &mut Net, plans: &[Plan]) -> bool {
        if self.gone {
            return false;
        }
        let first = self.rng.below(3);
        (0..3).any(|n| match (first + n) % 3 {
            0 => self.receive(net, plans),
            1 => self.say(net, plans),
            _ => self.follow_up(net),
        })
    }

    fn reads_on(&self, plans: &[Plan]) -> bool {
        let Some(id) = self.current else { return true };
        let answer = &plans[id].answer;
        !(self.answering && answer.timing == Timing::Early { reads_on: false })
    }

    fn receive(&mut self, net: &mut Net, plans: &[Plan]) -> bool {
        if !self.reads_on(plans) && !net.is_over(self.sock) {
            return false;
        }
        let max = self.read.size(&mut self.rng);
        match net.peer_read(self.sock, max, &mut self.input) {
            Got::Bytes(_) => {
                if self.rude {
                    self.close(net);
                }
                self.recognise(net, plans);
                true
            }
            Got::Silent => true,
            Got::Nothing => false,
            Got::End | Got::Cut | Got::Reset => {
                net.peer_close(self.sock);
                self.gone = true;
                true
            }
        }
    }

    /// Finds out which request is coming in, and begins its answer when it is time.
    fn recognise(&mut self, net: &mut Net, plans: &[Plan]) {
        if self.mute || self.answering {
            return;
        }
        let bytes = &self.input[self.start..];
        if self.current.is_none() {
            let Some(id) = id_of(bytes).filter(|_| head_len(bytes).is_some()) else { return };
            let Some(plan) = plans.get(id) else { return };
            net.note(|| format!("s{} origin sees request {id}", self.sock));
            self.current = Some(id);
            for interim in &plan.answer.interims {
                self.out.extend_from_slice(interim);
            }
        }
        let Some(id) = self.current else { return };
        let plan = &plans[id];
        let complete = plan.completes && plan.images.iter().any(|image| bytes.starts_with(image));
        let early = matches!(plan.answer.timing, Timing::Early { .. });
        if !(complete || early) {
            return;
        }
        self.answering = true;
        match plan.answer.flaw {
            Flaw::Silent => self.mute = true,
            Flaw::End(n) | Flaw::Reset(n) | Flaw::Stall(n) | Flaw::Garble(n) => {
                self.out.extend_from_slice(&plan.answer.wire[..n]);
            }
            _ => self.out.extend_from_slice(&plan.answer.wire),
        }
        if plan.answer.timing == (Timing::Early { reads_on: false }) {
            // Whoever comes next on this connection is not read either.
            net.sockets[self.sock].deaf = true;
        }
        if let (After::Rude { delay: 0, answer }, Flaw::None) = (plan.answer.after, plan.answer.flaw) {
            net.taint(self.sock, self.out.len() - self.written, true);
            self.out.extend_from_slice(if answer { RUDE_ANSWER } else { RUDE_NOISE });
        }
    }

    fn say(&mut self, net: &mut Net, plans: &[Plan]) -> bool {
        if self.written < self.out.len() {
            let n = self.write.size(&mut self.rng).min(self.out.len() - self.written);
            let n = net.peer_write(self.sock, &self.out[self.written..self.written + n]);
            self.written += n;
            let sock = self.sock;
            net.note(|| format!("s{sock} origin wrote {n}"));
            return n > 0;
        }
        if self.rude && self.input.len() > self.start {
            self.close(net);
            return true;
        }
        if self.mute || !self.answering {
            return false;
        }
        let Some(id) = self.current else { return false };
        let plan = &plans[id];
        let sock = self.sock;
        match plan.answer.flaw {
            Flaw::Silent => {
                self.mute = true;
                return false;
            }
            Flaw::Stall(_) => {
                self.mute = true;
                return self.break_off(net);
            }
            Flaw::End(_) => {
                self.break_off(net);
                self.close(net);
            }
            Flaw::Garble(_) => {
                net.note(|| format!("s{sock} origin sends garbage"));
                net.peer_garble(sock);
                self.mute = true;
            }
            Flaw::Cut => {
                net.note(|| format!("s{sock} origin cuts"));
                net.peer_cut(sock);
                self.gone = true;
            }
            Flaw::Reset(_) => {
                net.note(|| format!("s{sock} origin resets"));
                net.peer_reset(sock);
                self.gone = true;
            }
            _ => return self.finish(net, plans, plan),
        }
        true
    }

    /// Stops in the middle of a record, perhaps.
    fn break_off(&mut self, net: &mut Net) -> bool {
        let breaks = net.sockets[self.sock].channel.is_some() && self.rng.one_in(2);
        if breaks {
            net.peer_half_record(self.sock);
        }
        breaks
    }

    fn close(&mut self, net: &mut Net) {
        let sock = self.sock;
        net.note(|| format!("s{sock} origin closes"));
        net.peer_close(sock);
        self.gone = true;
    }

    /// The answer is out: on to the next request, or what comes after.
    fn finish(&mut self, net: &mut Net, plans: &[Plan], plan: &Plan) -> bool {
        let Answer { after, .. } = plan.answer;
        if after == After::Close {
            let sock = self.sock;
            if plan.answer.until_close {
                net.note(|| format!("s{sock} origin ends the answer"));
                net.peer_close_in_order(sock);
                self.gone = true;
            } else {
                self.close(net);
            }
            return true;
        }
        // The rest of the request belongs to it.
        let bytes = &self.input[self.start..];
        let Some(image) = plan.images.iter().find(|image| plan.completes && bytes.starts_with(image)) else {
            return false;
        };
        self.start += image.len();
        self.current = None;
        self.answering = false;
        match after {
            After::Keep | After::Close => {}
            After::Leave { delay, .. } | After::Rude { delay, .. } => {
                if self.then.is_none() {
                    self.then = Some((net.now + delay, after));
                }
                if delay == 0 && matches!(after, After::Rude { .. }) {
                    self.then = None;
                    (self.mute, self.rude) = (true, true);
                }
            }
        }
        self.recognise(net, plans);
        true
    }

    fn follow_up(&mut self, net: &mut Net) -> bool {
        let Some((due, after)) = self.then else { return false };
        // Only between answers: in the middle of one it would be part of it.
        if due > net.now || self.answering || self.written < self.out.len() {
            return false;
        }
        self.then = None;
        let sock = self.sock;
        net.note(|| format!("s{sock} origin: {after:?}"));
        net.taint(sock, 0, matches!(after, After::Rude { .. } | After::Leave { reset: true, .. }));
        match after {
            After::Leave { reset: true, .. } => {
                net.peer_reset(sock);
                self.gone = true;
            }
            After::Leave { .. } => {
                // An end only: what the proxy sends now is answered by a reset.
                net.peer_close(sock);
                self.gone = true;
            }
            After::Rude { answer, .. } => {
                self.out.extend_from_slice(if answer { RUDE_ANSWER } else { RUDE_NOISE });
                (self.mute, self.rude) = (true, true);
            }
            After::Keep | After::Close => unreachable!("nothing follows"),
        }
        true
    }
}
