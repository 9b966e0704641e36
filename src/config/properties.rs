//! Placeholder: properties.
