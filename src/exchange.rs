//! Placeholder: exchange.
