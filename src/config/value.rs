//! Placeholder: value.
