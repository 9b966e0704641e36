//! TLS as bytes in and bytes out: sessions, what certificates say, and the verdict on them. No socket, no file, no clock.

pub mod context;
pub mod failure;
pub mod session;
