//! A peer's TLS on its simulated socket, through rustls's buffered API: what the peer writes becomes records on the
//! wire, what the proxy sent becomes plain bytes for the peer and the oracle.
//!
//! ```text
//! peer --write--> connection --records--> wire --> proxy
//! peer <--read--- connection <--records-- tx <---- proxy
//! ```
//! Each record the proxy sent is looked at: whatever else stands there is a bug, whoever reads it.

use super::rng::Rng;
use super::tls::{ALERT, ClientTls, Habits, Trouble};
use super::world::{Got, Net, Socket};
use rustls::{Connection, Error, ProtocolVersion};
use std::io::{Read, Write};

/// Bytes of a record's header.
const HEADER: usize = 5;
/// The longest record.
const RECORD_MAX: usize = HEADER + 16_384 + 256;
/// Most plain bytes of one write.
const WRITE_MAX: usize = 100_000;
/// Most bytes under way to the proxy before a peer has to wait.
const WIRE_MAX: usize = 200_000;

/// The peer's end of a TLS connection.
#[derive(Debug)]
pub struct Channel {
    connection: Connection,
    habits: Habits,
    /// What is to go wrong with what it says first.
    trouble: Option<Trouble>,
    rng: Rng,
    /// The part of a record that has arrived.
    record: Vec<u8>,
    /// Bytes of complete records heard, and the plain bytes in them, after each record.
    marks: Vec<(usize, usize)>,
    /// Plain bytes written so far.
    written: usize,
    /// Positions on the wire behind records with plain bytes.
    spoken: Vec<usize>,
    /// From this plain byte on what the peer writes is not part of an answer.
    tainted: Option<usize>,
    /// It says nothing more, whatever it hears.
    mute: bool,
    /// Nor does it listen.
    deaf: bool,
    /// Its trouble has happened.
    pub troubled: bool,
    /// It ends its connection now.
    hangs_up: bool,
    /// The proxy has sent close_notify.
    pub closed: bool,
    /// Why its TLS failed.
    pub failed: Option<Error>,
}

impl Channel {
    pub fn new(mut connection: Connection, habits: Habits, trouble: Option<Trouble>, rng: Rng) -> Self {
        connection.set_buffer_limit(None);
        Self {
            connection,
            habits,
            trouble,
            rng,
            record: Vec::new(),
            marks: Vec::new(),
            written: 0,
            spoken: Vec::new(),
            tainted: None,
            mute: false,
            deaf: false,
            troubled: false,
            hangs_up: false,
            closed: false,
            failed: None,
        }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether plain bytes can flow, as the peer sees it.
    pub fn is_open(&self) -> bool {
        !self.connection.is_handshaking() && !self.mute && self.failed.is_none()
    }

    fn drips(&self) -> bool {
        self.habits.drips && self.connection.is_handshaking()
    }

    /// How many plain bytes the records held that were begun before `raw` bytes.
    fn plain_before(&self, raw: usize) -> usize {
        let (mut start, mut held) = (0, 0);
        for (end, plain) in &self.marks {
            if start >= raw {
                break;
            }
            (start, held) = (*end, *plain);
        }
        held
    }

    /// Takes what the proxy sent; plain bytes go behind `plain`.
    fn hear(&mut self, raw: &[u8], plain: &mut Vec<u8>) {
        assert!(!self.closed || raw.is_empty(), "the proxy speaks after its close_notify");
        self.record.extend_from_slice(raw);
        while let Some(len) = record_len(&self.record) {
            if self.record.len() < len {
                break;
            }
            let record: Vec<u8> = self.record.drain(..len).collect();
            let before = plain.len();
            if !self.deaf && self.failed.is_none() {
                self.take(&record, plain);
            }
            let (raw, held) = self.marks.last().copied().unwrap_or_default();
            self.marks.push((raw + len, held + plain.len() - before));
        }
    }

    fn take(&mut self, record: &[u8], plain: &mut Vec<u8>) {
        let mut rest = record;
        while !rest.is_empty() {
            self.connection.read_tls(&mut rest).expect("a slice is read");
            match self.connection.process_new_packets() {
                Ok(state) => self.closed |= state.peer_has_closed(),
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            }
            let mut buf = [0; 16_384];
            while let Ok(n @ 1..) = self.connection.reader().read(&mut buf) {
                plain.extend_from_slice(&buf[..n]);
            }
        }
    }

    /// What its TLS has to say now, or what goes wrong instead.
    fn say(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut out).expect("a vector is written");
        }
        if self.mute || out.is_empty() {
            return Vec::new();
        }
        let Some(trouble) = self.trouble.take().filter(|trouble| *trouble != Trouble::Terms) else {
            return out;
        };
        (self.mute, self.deaf, self.troubled) = (true, true, true);
        match trouble {
            Trouble::Stall(n) => out.truncate(n),
            Trouble::HangUp(n) => {
                out.truncate(n);
                self.hangs_up = true;
            }
            Trouble::Alert => out = ALERT.to_vec(),
            Trouble::Garbage(bytes) => out = bytes.to_vec(),
            Trouble::Terms => unreachable!("its TLS says what happens"),
        }
        out
    }
}

/// Length of the record that begins `bytes`, once its header is there.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..HEADER)?;
    let len = HEADER + usize::from(u16::from_be_bytes([header[3], header[4]]));
    let is_record = matches!(header[0], 20..=23) && header[1] == 3 && len <= RECORD_MAX;
    assert!(
        is_record,
        "no TLS record on the wire: {:?}",
        String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
    );
    Some(len)
}

impl Socket {
    /// How much of its log stands before the `raw`-th byte that the proxy sent.
    pub fn logged_before(&self, raw: usize) -> usize {
        self.channel.as_ref().map_or(raw, |channel| channel.plain_before(raw))
    }

    /// Whether the proxy has sealed a record that its peer never heard whole.
    pub fn is_half_heard(&self) -> bool {
        let heard = |channel: &Channel| channel.marks.last().map_or(0, |(raw, _)| *raw);
        self.channel.as_ref().is_some_and(|channel| heard(channel) < self.sent.max(self.sealed))
    }

    /// The proxy sent something.
    pub fn log_sent(&mut self, bytes: &[u8]) {
        self.sent += bytes.len();
        match &mut self.channel {
            None => self.log.extend_from_slice(bytes),
            // Nobody reads it any more, but the oracle.
            Some(channel) if self.peer_closed => channel.hear(bytes, &mut self.log),
            Some(_) => {}
        }
    }

    /// The proxy received something: notes whether it held anything but TLS's own.
    pub fn note_heard(&mut self) {
        let news = match &mut self.channel {
            None => true,
            Some(channel) => {
                let taken = self.taken;
                let before = channel.spoken.len();
                channel.spoken.retain(|at| *at > taken);
                channel.spoken.len() < before
            }
        };
        if news && self.heard.last() != Some(&self.sent) {
            self.heard.push(self.sent);
        }
    }

    /// What is under way to the peer will not be read, but by the oracle.
    pub fn log_unread(&mut self) {
        let unread: Vec<u8> = self.tx.drain(..).collect();
        if let Some(channel) = &mut self.channel {
            channel.hear(&unread, &mut self.log);
        }
    }

    /// How much of `n` bytes the wire takes to the proxy at once.
    pub fn pace(&self, n: usize) -> usize {
        if self.channel.as_ref().is_some_and(|channel| channel.drips()) { n.min(1) } else { n }
    }

    fn put_on_wire(&mut self, bytes: &[u8]) {
        self.wire.extend(bytes);
        self.written += bytes.len();
    }

    /// Puts on the wire what its TLS has to say.
    fn speak(&mut self) {
        let Some(channel) = &mut self.channel else { return };
        let bytes = channel.say();
        self.put_on_wire(&bytes);
    }
}

impl Net {
    /// From now on the peer's end of the connection speaks TLS; a client begins.
    pub fn secure(&mut self, id: usize, channel: Channel) {
        self.sockets[id].channel = Some(Box::new(channel));
        self.sockets[id].speak();
    }

    /// The client's end of a connection, if it speaks TLS.
    pub fn secure_client(&mut self, id: usize, client: usize, tls: &ClientTls) {
        if let Some(connection) = self.contexts.client(client).filter(|_| !tls.plain) {
            let rng = self.rng.fork();
            self.secure(id, Channel::new(connection, tls.habits, tls.trouble, rng));
        }
    }

    /// The origin's end of a connection that the proxy opens, if its place speaks TLS.
    pub fn secure_origin(&mut self, id: usize) {
        let Some(place) = self.sockets[id].place else { return };
        let Some((tls, connection)) = self.places[place].tls.zip(self.contexts.origin(place)) else { return };
        let mut rng = self.rng.fork();
        let trouble = tls.trouble.filter(|_| !tls.flaky || rng.one_in(2));
        self.secure(id, Channel::new(connection, tls.habits, trouble, rng));
    }

    /// Whether the peer has ended its connection in the handshake.
    pub fn hangs_up(&self, id: usize) -> bool {
        self.sockets[id].channel.as_ref().is_some_and(|channel| channel.hangs_up)
    }

    /// Plain bytes a peer writes; how many were taken.
    pub fn write_secure(&mut self, id: usize, bytes: &[u8]) -> usize {
        let socket = &mut self.sockets[id];
        let Some(channel) = &mut socket.channel else { return 0 };
        if !channel.is_open() || socket.wire.len() + socket.rx.len() > WIRE_MAX {
            return 0;
        }
        let mut n = bytes.len().min(WRITE_MAX);
        if let Some(tainted) = channel.tainted.filter(|tainted| *tainted > channel.written) {
            // A record of its own, so that it is known which bytes on the wire are meant.
            n = n.min(tainted - channel.written);
        }
        if bytes.starts_with(b"\r\n") {
            // A stray line comes alone, with what follows close behind.
            n = n.min(2);
        }
        let refreshes = channel.habits.refreshes;
        let new = channel.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        if new && refreshes > 0 && channel.rng.one_in(refreshes) {
            channel.connection.refresh_traffic_keys().expect("TLS 1.3 has new keys");
        }
        channel.connection.writer().write_all(&bytes[..n]).expect("plain bytes are taken");
        channel.written += n;
        let reached = channel.tainted == Some(channel.written);
        socket.speak();
        if let Some(channel) = &mut socket.channel {
            channel.spoken.push(socket.written);
        }
        if reached {
            socket.tainted.get_or_insert(socket.written);
        }
        n
    }

    /// What the peer writes after `n` more plain bytes is nobody's answer.
    pub fn taint_secure(&mut self, id: usize, n: usize) {
        let socket = &mut self.sockets[id];
        let Some(channel) = &mut socket.channel else { return };
        let from = *channel.tainted.get_or_insert(channel.written + n);
        if from == channel.written {
            socket.tainted.get_or_insert(socket.written);
        }
    }

    /// Reads up to `max` bytes of records; their plain bytes go behind `into`.
    pub fn read_secure(&mut self, id: usize, max: usize, into: &mut Vec<u8>) -> Got {
        let socket = &mut self.sockets[id];
        let Some(channel) = &mut socket.channel else { return Got::Nothing };
        if channel.closed {
            return Got::End;
        }
        if channel.failed.is_some() {
            return Got::Reset;
        }
        let n = max.min(socket.tx.len());
        let raw: Vec<u8> = socket.tx.drain(..n).collect();
        let before = socket.log.len();
        channel.hear(&raw, &mut socket.log);
        into.extend_from_slice(&socket.log[before..]);
        let plain = socket.log.len() - before;
        socket.speak();
        if n > 0 {
            socket.tell_of_room();
        }
        if self.hangs_up(id) {
            self.peer_cut(id);
            return Got::End;
        }
        let socket = &self.sockets[id];
        match (n, socket.tx_reset, socket.tx_end) {
            (1.., ..) if plain > 0 => Got::Bytes(plain),
            (1.., ..) => Got::Silent,
            (_, true, _) => Got::Reset,
            (_, false, true) => Got::Cut,
            (_, false, false) => Got::Nothing,
        }
    }

    /// Says that nothing follows, in TLS; `rudely` it says nothing.
    pub fn close_secure(&mut self, id: usize, rudely: bool) {
        let socket = &mut self.sockets[id];
        let Some(channel) = &mut socket.channel else { return };
        if !rudely && channel.is_open() {
            channel.connection.send_close_notify();
            socket.speak();
        }
        if let Some(channel) = &mut socket.channel {
            channel.mute |= !channel.closed && channel.connection.is_handshaking();
        }
    }

    /// Whether the peer ends its stream without a word this time.
    pub fn ends_rudely(&mut self, id: usize) -> bool {
        let Some(channel) = &mut self.sockets[id].channel else { return false };
        channel.habits.rude_ends > 0 && channel.rng.one_in(channel.habits.rude_ends)
    }

    /// The first half of a record, of which the rest never comes.
    pub fn peer_half_record(&mut self, id: usize) {
        let socket = &mut self.sockets[id];
        let Some(channel) = socket.channel.as_mut().filter(|channel| channel.is_open()) else { return };
        channel.connection.writer().write_all(b"never heard").expect("plain bytes are taken");
        let bytes = channel.say();
        let n = channel.rng.range(1, bytes.len() - 1);
        (channel.mute, channel.troubled) = (true, true);
        socket.put_on_wire(&bytes[..n]);
    }

    /// Bytes that are no record.
    pub fn peer_garble(&mut self, id: usize) {
        let socket = &mut self.sockets[id];
        let Some(channel) = socket.channel.as_mut().filter(|channel| channel.is_open()) else { return };
        let bytes = channel.rng.pick(&super::tls::GARBAGE[1..]);
        (channel.mute, channel.troubled) = (true, true);
        socket.put_on_wire(bytes);
    }
}
