//! Keys, certificates and trust: which files the configuration names, what they hold, and the TLS that is made of them.

pub mod load;
pub mod settings;
pub mod store;
pub mod targets;
