//! Placeholder: spring.
