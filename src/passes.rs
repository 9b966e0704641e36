//! Credentials that were verified lately, known again by their tags: what spares a warm exchange the hash.

use crate::policy::proxy_auth::Tag;
use crate::time::{Millis, Now};
use std::collections::HashMap;

/// How long a verified credential passes. One that has left the file stops passing when that is read: each reading of it
/// has tags of its own.
const PASS: Millis = Millis::from_secs(300);
/// Passes kept at once.
const PASSES_MAX: usize = 4096;

/// The worker's passes.
#[derive(Debug, Default)]
pub struct Passes(HashMap<Tag, Now>);

impl Passes {
    /// Whether `tag` was verified lately.
    pub fn hold(&self, tag: &Tag, now: Now) -> bool {
        self.0.get(tag).is_some_and(|until| now < *until)
    }

    /// Notes that `tag` was verified.
    pub fn issue(&mut self, tag: Tag, now: Now) {
        if self.0.len() >= PASSES_MAX {
            self.0.retain(|_, until| now < *until);
        }
        if self.0.len() >= PASSES_MAX {
            self.0.clear();
        }
        self.0.insert(tag, now + PASS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_end_and_their_number_is_bounded() {
        let mut passes = Passes::default();
        let tag = |n: usize| {
            let mut tag = [0; 32];
            tag[..8].copy_from_slice(&n.to_be_bytes());
            tag
        };
        passes.issue(tag(0), Now(0));
        assert!(passes.hold(&tag(0), Now(1)) && !passes.hold(&tag(1), Now(1)));
        assert!(!passes.hold(&tag(0), Now(0) + PASS));
        for n in 0..3 * PASSES_MAX {
            passes.issue(tag(n), Now(n as u64));
            assert!(passes.0.len() <= PASSES_MAX && passes.hold(&tag(n), Now(n as u64)));
        }
    }
}
