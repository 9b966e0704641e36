//! Placeholder: listener.
