//! Placeholder: framing.
