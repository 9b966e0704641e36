//! Placeholder: wait.
