//! Placeholder: rewrite.
