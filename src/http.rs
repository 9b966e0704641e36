//! HTTP/1.1 as pure functions: bytes in, verdicts out; no sockets (RFC 9110, RFC 9112).

pub mod edits;
pub mod framer;
pub mod framing;
pub mod head;
pub mod header;
pub mod reply;
pub mod reverse;
pub mod rewrite;
pub mod target;
