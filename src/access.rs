//! Stand-in.

pub mod mask;
