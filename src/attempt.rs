//! What an exchange keeps only while it has no connection: the attempts to get one, and what to say if none succeeds.

use crate::fault::What;
use crate::io::Addresses;

/// The connection attempts of one exchange.
#[derive(Debug)]
pub struct Dial {
    /// The addresses of the target.
    pub addresses: Addresses,
    /// Index of the first address tried.
    pub start: usize,
    /// How many were tried.
    pub tried: usize,
    /// The fault to report when no address is left.
    pub fault: What,
    /// A resumed session was about a certificate that does not pass any more, so the address was dialled anew.
    pub anew: bool,
}

/// What the legacy's error text needs of the request (`proxy.error.compat`).
#[derive(Debug)]
pub struct CompatLine {
    /// The method.
    pub method: Box<[u8]>,
    /// The target URL without its query.
    pub url: Box<[u8]>,
}
