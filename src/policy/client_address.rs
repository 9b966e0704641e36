//! Placeholder: client_address.
