//! Placeholder: pump.
