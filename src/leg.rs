//! Placeholder: leg.
