//! Placeholder: reply.
