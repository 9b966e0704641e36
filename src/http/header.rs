//! Placeholder: header.
