//! Placeholder: egress.
