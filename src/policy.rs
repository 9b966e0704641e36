//! Who may enter and where they may go: pure decisions, one rule a file.

pub mod address_rule;
pub mod client_address;
pub mod egress;
pub mod forms;
pub mod groups;
pub mod header_filter;
pub mod proxy_auth;
pub mod reload_clients;
pub mod routes;
pub mod standing;
pub mod subject_rule;
pub mod target_rule;
pub mod targets;
pub mod trusted_proxies;
