//! Placeholder: framer.
