//! Placeholder: registry.
