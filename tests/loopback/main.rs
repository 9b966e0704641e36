//! The real binary between real clients and real origins, over loopback, each once. What the bytes on the wire have to
//! be is the business of the transcripts and the simulator; here it is shown that the world agrees.
//!
//! Every test has processes and a folder of its own; ports are chosen by the system; nothing waits for a fixed time,
//! only for a condition and not for ever. `scripts/test` installs the programs used.

#[allow(dead_code)] // other tests use the rest
#[path = "../pki/mod.rs"]
mod pki;

mod beside_apache;
mod clients;
mod crowd;
mod forms;
mod imported;
mod life;
mod logs;
mod origin;
mod pipes;
mod process;
mod raw;
mod recorder;
mod reload;
mod renewal;
mod reverse;
mod reverse_logs;
mod rude;
mod secure;
mod targets;
mod tls;
mod tls_causes;
mod tls_clients;
mod tls_faults;
mod tls_identities;
mod tls_keys;
mod tls_listener;
mod tls_origins;
mod tls_records;
mod tls_resumption;
mod tls_scan;
mod tls_sealed;
