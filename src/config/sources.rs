//! Placeholder: sources.
