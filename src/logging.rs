//! Placeholder: logging.
