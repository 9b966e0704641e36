//! Placeholder: head.
