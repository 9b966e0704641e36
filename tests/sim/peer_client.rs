//! A simulated client: sends its requests as its script says, reads answers, slips, leaves.

use super::plan::Plan;
use super::reader::Reader;
use super::rng::Rng;
use super::script::{ClientScript, Leave, Slip};
use super::world::{Got, Net};

/// How a client's connection ended for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The proxy ended its stream.
    Orderly,
    /// It did so without the word that TLS has for it.
    Cut,
    Reset,
    /// The client left first.
    Left,
}

/// How long a client waits for `100 (Continue)` before it sends its body anyway.
const CONTINUE_WAIT: u64 = 1_000_000;

pub struct ClientPeer {
    pub script: ClientScript,
    /// Its socket, once connected.
    pub sock: Option<usize>,
    /// The request being sent, and how much of it went out.
    pub at: usize,
    pub sent: usize,
    pub got: Vec<u8>,
    pub reader: Reader,
    pub ended: Option<Ended>,
    /// It has shut its sending side or stopped sending for good.
    pub silent: bool,
    /// Its slip has happened.
    pub slipped: bool,
    /// The requests it began after a reload.
    pub late: Vec<usize>,
    /// The proxy was full, or closed its listener.
    pub rejected: bool,
    continue_by: Option<u64>,
    rng: Rng,
}

impl ClientPeer {
    pub fn new(script: ClientScript, rng: Rng) -> Self {
        Self {
            script,
            sock: None,
            at: 0,
            sent: 0,
            got: Vec::new(),
            reader: Reader::default(),
            ended: None,
            silent: false,
            slipped: false,
            late: Vec::new(),
            rejected: false,
            continue_by: None,
            rng,
        }
    }

    /// When it would do something if nothing else happened.
    pub fn alarm(&self) -> Option<u64> {
        self.continue_by.filter(|_| self.ended.is_none() && !self.silent)
    }

    /// Does one thing, if there is one to do.
    pub fn step(&mut self, net: &mut Net, plans: &[Plan]) -> bool {
        let Some(sock) = self.sock.filter(|_| self.ended.is_none()) else { return false };
        let first = self.rng.one_in(2);
        (first && self.write(net, sock, plans))
            || self.read(net, sock, plans)
            || (!first && self.write(net, sock, plans))
    }

    fn is_deaf(&self) -> bool {
        matches!(self.script.slip, Some(Slip::Deaf(after)) if self.got.len() >= after)
    }

    fn read(&mut self, net: &mut Net, sock: usize, plans: &[Plan]) -> bool {
        if self.is_deaf() && !net.is_over(sock) {
            self.slipped = true;
            return false;
        }
        if let Some(Slip::ResetReading(after)) = self.script.slip
            && self.got.len() >= after
            && !self.got.is_empty()
        {
            return self.reset(net, sock);
        }
        let max = self.script.read.size(&mut self.rng);
        match net.peer_read(sock, max, &mut self.got) {
            Got::Bytes(n) => {
                let script = &self.script;
                self.reader.advance(&self.got, |n| script.plans.get(n).is_some_and(|id| plans[*id].is_head));
                net.note(|| format!("s{sock} client read {n}, {} answers", self.reader.finals));
                self.leave_when_done(net, sock);
                true
            }
            Got::Silent => true,
            Got::Nothing => false,
            Got::Cut => {
                net.note(|| format!("s{sock} client saw the end without a word"));
                net.peer_close(sock);
                self.ended = Some(Ended::Cut);
                true
            }
            Got::End => {
                self.reader.end();
                net.note(|| format!("s{sock} client saw the end"));
                net.peer_close(sock);
                self.ended = Some(Ended::Orderly);
                true
            }
            Got::Reset => {
                net.note(|| format!("s{sock} client saw a reset"));
                self.ended = Some(Ended::Reset);
                true
            }
        }
    }

    fn leave_when_done(&mut self, net: &mut Net, sock: usize) {
        if self.reader.finals < self.script.plans.len() || self.reader.closes {
            return;
        }
        match self.script.leave {
            Leave::Close => {
                net.peer_close(sock);
                self.ended = Some(Ended::Left);
            }
            Leave::Reset => {
                self.reset(net, sock);
            }
            Leave::HalfClose | Leave::Wait => {}
        }
    }

    /// Stops in the middle of a record, perhaps.
    fn break_off(&mut self, net: &mut Net, sock: usize) {
        if net.sockets[sock].channel.is_some() && self.rng.one_in(2) {
            net.peer_half_record(sock);
        }
    }

    /// Sends bytes that are no record, perhaps.
    fn garble(&mut self, net: &mut Net, sock: usize) -> bool {
        let garbles = net.sockets[sock].channel.is_some() && self.rng.one_in(2);
        if garbles {
            net.note(|| format!("s{sock} client sends garbage"));
            net.peer_garble(sock);
            (self.silent, self.slipped) = (true, true);
        }
        garbles
    }

    fn reset(&mut self, net: &mut Net, sock: usize) -> bool {
        net.note(|| format!("s{sock} client resets"));
        net.peer_reset(sock);
        self.ended = Some(Ended::Left);
        self.slipped = true;
        true
    }

    fn write(&mut self, net: &mut Net, sock: usize, plans: &[Plan]) -> bool {
        if self.silent {
            return false;
        }
        if self.at == self.script.plans.len() {
            self.silent = true;
            if self.script.leave == Leave::HalfClose {
                net.note(|| format!("s{sock} client half-closes"));
                net.peer_end(sock);
            }
            return true;
        }
        let plan = &plans[self.script.plans[self.at]];
        let finals = self.reader.finals;
        // Nobody who has read `Connection: close` begins another request.
        if self.reader.closes && self.sent == 0 {
            self.silent = true;
            return true;
        }
        if self.sent == 0 && finals < self.at && !self.script.pipelines {
            return false;
        }
        let mut end = plan.wire.len();
        match self.script.slip {
            Some(Slip::End(at, byte)) if at == self.at && self.sent >= byte => {
                net.note(|| format!("s{sock} client ends in the middle"));
                self.break_off(net, sock);
                net.peer_end(sock);
                (self.silent, self.slipped) = (true, true);
                return true;
            }
            Some(Slip::Reset(at, byte)) if at == self.at && self.sent >= byte => {
                return self.garble(net, sock) || self.reset(net, sock);
            }
            Some(Slip::Stall(at, byte)) if at == self.at && self.sent >= byte => {
                net.note(|| format!("s{sock} client stalls"));
                self.break_off(net, sock);
                (self.silent, self.slipped) = (true, true);
                return true;
            }
            Some(Slip::End(at, byte) | Slip::Reset(at, byte) | Slip::Stall(at, byte)) if at == self.at => {
                end = end.min(byte);
            }
            _ => {}
        }
        if plan.expects && self.sent <= plan.head_len {
            end = end.min(plan.head_len);
            if self.sent == plan.head_len {
                let by = *self.continue_by.get_or_insert(net.now + CONTINUE_WAIT);
                let told =
                    self.reader.messages.iter().filter(|m| m.status == 100).count() > 0 || finals > self.at;
                if !told && net.now < by {
                    return false;
                }
                self.continue_by = None;
                end = plan.wire.len();
            }
        }
        let n = self.script.write.size(&mut self.rng).min(end - self.sent);
        let begins = self.sent == 0;
        let n = net.peer_write(sock, &plan.wire[self.sent..self.sent + n]);
        if begins && n > 0 && net.reloaded {
            self.late.push(plan.id);
        }
        self.sent += n;
        net.note(|| format!("s{sock} client wrote {n} of request {}", plan.id));
        if self.sent == plan.wire.len() {
            (self.at, self.sent) = (self.at + 1, 0);
        }
        n > 0
    }
}
