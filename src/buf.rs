//! Placeholder: buf.
