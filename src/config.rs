//! The operator's configuration: where keys come from, what they mean, what is wrong with them.
//!
//! ```text
//! properties  bytes of a file -> keys with lines       files   locations -> paths
//! spring      relaxed names, placeholders              sources files, environment, flags -> Effective
//! registry    every setting there is                   rules   what keys mean together
//! banner      what people see of it                    later   keys whose function comes later
//! ```

pub mod banner;
pub mod files;
pub mod later;
pub mod properties;
pub mod provisional;
pub mod reading;
pub mod registry;
pub mod rules;
pub mod sources;
pub mod spring;
