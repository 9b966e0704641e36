//! TLS as bytes in and bytes out: sessions, what certificates say, and the verdict on them. No socket, no file, no clock.

pub mod certificate;
pub mod chain;
pub mod client_verify;
pub mod constraints;
pub mod context;
pub mod failure;
pub mod host;
pub mod identity;
pub mod java;
pub mod notes;
pub mod peers;
pub mod probe;
pub mod refusal;
pub mod session;
pub mod shown;
pub mod signatures;
mod status;
pub mod suites;
pub mod trust;
pub mod verify;
