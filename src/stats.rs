//! Placeholder: stats.
