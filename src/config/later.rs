//! Settings whose function comes later: known, checked, and honest about having no effect yet.
//!
//! When the code that uses one of them arrives, its `Setting` moves beside that code and its row in the registry
//! follows. Keys that only add output, comfort or reach are [`NotYet`](crate::setting::Standing::NotYet); keys that
//! ask for protection, or for a listener that would be missing, are
//! [`Refused`](crate::setting::Standing::Refused).

pub mod logging;
pub mod proxy;
pub mod spring;
