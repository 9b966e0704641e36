//! Placeholder: net.
