//! What a person is told of a seed that fails: what it means, beside the trace of what happened.

use super::plan::Plan;
use super::script::Script;
use apim_proxy::io::Ready;

/// An event in words.
pub fn told(ready: Ready) -> String {
    let words = [
        (ready.readable, "readable"),
        (ready.writable, "writable"),
        (ready.read_closed, "read-closed"),
        (ready.dead, "dead"),
    ];
    words.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
}

/// Prints what a seed means.
pub fn describe(script: &Script) {
    for client in &script.clients {
        eprintln!("{client:?}");
    }
    for (at, place) in script.places.iter().enumerate() {
        eprintln!("place {at}: {place:?}");
    }
    for plan in &script.plans {
        let Plan { id, client, method, head_len, place, expects, completes, answer, .. } = plan;
        let (total, answered) = (plan.wire.len(), answer.wire.len());
        eprintln!(
            "request {id} of client {client}: {method} {head_len}+{} bytes to {place:?}, expects {expects}, \
             completes {completes}; {} interims, {answered} bytes {:?} {:?} {:?}",
            total - head_len,
            answer.interims.len(),
            answer.timing,
            answer.flaw,
            answer.after
        );
    }
    let Script { mood, workers, clients_max, exchanges_max, large_max, per_route, total, .. } = script;
    let Script { tx_room, drain_at, reload_at, stalls, noise, requests_max, .. } = script;
    eprintln!(
        "{mood:?}, {workers} workers, clients {clients_max}, exchanges {exchanges_max}, large {large_max}, pool \
         {per_route} of {total}, room {tx_room}, drain {drain_at:?}, reload {reload_at:?}, stalls {stalls}, noise \
         {noise}, requests {requests_max:?}"
    );
}
