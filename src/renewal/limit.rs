//! Until when something that several steps share has to be done.

use crate::time::Millis;
use std::time::{Duration, Instant};

/// A moment, or no limit at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(Option<Instant>);

impl Limit {
    /// `span` after `since`; [`Millis::NEVER`] is no limit.
    pub fn new(since: Instant, span: Millis) -> Self {
        Self(if span == Millis::NEVER { None } else { since.checked_add(span.duration()) })
    }

    /// The same, but at most `span` from now.
    pub fn or_sooner(self, span: Duration) -> Self {
        let soon = Instant::now().checked_add(span);
        Self(match (self.0, soon) {
            (Some(limit), Some(soon)) => Some(limit.min(soon)),
            (limit, soon) => limit.or(soon),
        })
    }

    /// Whether there is none.
    pub fn is_none(self) -> bool {
        self.0.is_none()
    }

    /// How long it still is; `None` when it is over. Without a limit it is the longest there is.
    pub fn left(self) -> Option<Duration> {
        match self.0 {
            None => Some(Duration::MAX),
            Some(limit) => {
                Some(limit.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
            }
        }
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        self.left().is_none()
    }
}
