//! Placeholder: worker.
