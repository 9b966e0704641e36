//! Placeholder: header_filter.
