//! Placeholder: timer.
