//! Placeholder: address_rule.
