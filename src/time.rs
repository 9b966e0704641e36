//! Time as the worker sees it: a number handed in once per turn, never a clock call.

use std::ops::{Add, Sub};
use std::time::Duration;

/// An instant: microseconds since the process started. Below the shell it only ever arrives as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

/// A span in milliseconds. [`Millis::NEVER`] (what the legacy writes as 0 or -1) is a wait without end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// No limit.
    pub const NEVER: Self = Self(u64::MAX);

    /// A span of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The span as the standard library's type, for poll timeouts.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Now {
    /// The far end of time: a deadline that never passes.
    pub const NEVER: Self = Self(u64::MAX);

    /// Microseconds from `earlier` to `self`; 0 when `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Millis> for Now {
    type Output = Self;
    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0.saturating_mul(1000)))
    }
}

impl Sub for Now {
    type Output = Millis;
    /// Rounded up, so that a poll timeout never ends just before its deadline.
    fn sub(self, earlier: Self) -> Millis {
        Millis(self.micros_since(earlier).div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_absorbs_every_sum() {
        assert_eq!(Now(5) + Millis::NEVER, Now::NEVER);
        assert_eq!(Now::NEVER + Millis(1), Now::NEVER);
    }

    #[test]
    fn spans_round_up() {
        assert_eq!(Now(2001) - Now(1000), Millis(2));
        assert_eq!(Now(1000) - Now(2001), Millis(0));
    }
}
