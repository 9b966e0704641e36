//! Placeholder: target.
