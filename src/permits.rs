//! Placeholder: permits.
