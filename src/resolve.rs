//! Placeholder: resolve.
