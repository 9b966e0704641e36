//! The operator's configuration: where keys come from, what they mean, what is wrong with them.

pub mod banner;
pub mod properties;
pub mod registry;
pub mod sources;
pub mod spring;
pub mod value;
