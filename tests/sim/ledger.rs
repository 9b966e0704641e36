//! The lines about exchanges, held against what the peers saw: one for each, with its status and its bytes.

use super::run::Sim;
use super::script::Mood;
use apim_proxy::access::{Recording, Sheet, Stream};

/// What a line says, for [`Entry::read`].
const FORMAT: &str = "%{remote}p %k %>s %I %O %B %X %{code}x %{listener}x";

/// What the workers write.
pub fn recording() -> Recording {
    let sheet = Sheet::of(&[(Stream::Transactions, FORMAT)]).expect("a format");
    Recording { sheets: [Some(sheet), None, None], ..Recording::default() }
}

/// A line.
#[derive(Debug)]
struct Entry {
    client: usize,
    /// 0: none was told.
    status: u16,
    received: u64,
    sent: u64,
    body: u64,
    aborted: bool,
    code: Option<String>,
}

impl Entry {
    fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [client, _, status, received, sent, body, fate, code, "forward"] = words[..] else {
            panic!("a line with other words: {line}");
        };
        let number = |word: &str| word.parse::<u64>().unwrap_or_else(|_| panic!("{word} in {line}"));
        Self {
            client: number(client) as usize,
            status: if status == "-" { 0 } else { number(status) as u16 },
            received: number(received),
            sent: number(sent),
            body: number(body),
            aborted: fate == "X",
            code: (code != "-").then(|| code.to_owned()),
        }
    }
}

/// Judges the lines of a finished run.
pub fn judge(sim: &Sim) {
    let text = String::from_utf8(sim.world.net().lines.clone()).expect("lines are ASCII");
    let entries: Vec<Entry> = text.lines().map(Entry::read).collect();
    for at in 0..sim.clients.len() {
        let own: Vec<&Entry> = entries.iter().filter(|entry| entry.client == at).collect();
        judge_client(sim, at, &own);
    }
}

fn judge_client(sim: &Sim, at: usize, entries: &[&Entry]) {
    let client = &sim.clients[at];
    let Some(sock) = client.sock else {
        assert!(entries.is_empty(), "client {at} never came: {entries:?}");
        return;
    };
    let net = sim.world.net();
    let socket = &net.sockets[sock];
    let story = || format!("client {at} (s{sock}): {entries:#?}");
    let plans: Vec<_> = client.script.plans.iter().map(|id| &sim.script.plans[*id]).collect();
    // Whoever has no room is told so without having been asked.
    assert!(entries.len() <= plans.len() + 1, "more lines than requests: {}", story());

    // Every answer the client got has its line, in order.
    let finals = client.reader.messages.iter().filter(|message| message.status >= 200);
    let finals: Vec<_> = finals.collect();
    assert!(finals.len() <= entries.len(), "an answer without a line: {}", story());
    for (entry, message) in entries.iter().zip(&finals) {
        assert_eq!(entry.status, message.status, "{}", story());
        assert!(message.code.is_none() || message.code == entry.code, "{}", story());
        let whole = (message.end - message.start) as u64;
        assert!(entry.sent >= whole, "{whole} bytes: {}", story());
    }
    // Whoever saw nothing but order left complete lines, of which the client knows each.
    if sim.script.mood == Mood::Calm {
        // Who sends more behind a request that ends the connection may have the answer eaten by the reset it provokes.
        let overruns = client.script.pipelines && plans.iter().rev().skip(1).any(|plan| !plan.keep_alive);
        assert!(finals.len() == entries.len() || overruns, "{}", story());
        for ((entry, plan), message) in entries.iter().zip(&plans).zip(&finals) {
            // An empty line between two requests belongs to the next one, or to none.
            assert!(entry.received.abs_diff(plan.wire.len() as u64) <= 2, "{}", story());
            assert!(!entry.aborted && entry.code.is_none(), "{}", story());
            let chunked =
                client.got[message.start..message.head_end].windows(17).any(|w| w == b"Transfer-Encoding");
            let body = (message.end - message.head_end) as u64;
            assert!(entry.body == body || (chunked && entry.body < body), "{body}: {}", story());
        }
    }
    // No byte goes out to a client that is not in a line.
    let sent: u64 = entries.iter().map(|entry| entry.sent).sum();
    if socket.channel.is_none() {
        assert_eq!(sent, socket.log.len() as u64, "{}", story());
    } else {
        assert!(sent >= socket.log.len() as u64, "{} bytes heard: {}", socket.log.len(), story());
    }
    // Bytes without a status, and a status without bytes, are exchanges that were cut off.
    for entry in entries {
        let told = entry.status != 0 && entry.sent != 0;
        assert!(told || entry.aborted, "{}", story());
        assert!(
            entry.aborted == (entry.code.as_deref() == Some("client_gone")) || entry.code.is_some(),
            "{}",
            story()
        );
    }
}
