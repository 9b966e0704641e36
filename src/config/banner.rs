//! Placeholder: banner.
