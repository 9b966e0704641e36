//! What the log was told of one kind of event lately: the rest is counted, not written.

use crate::time::Now;

/// Lines a second about events that anybody can cause, such as failed handshakes: ten thousand a second would fill a disk
/// within the day.
const LINES_PER_SEC_MAX: u32 = 10;

/// What was told of them lately.
#[derive(Debug)]
pub struct Told {
    /// What they are, in the plural.
    what: &'static str,
    since: Now,
    lines: u32,
    untold: u64,
}

impl Told {
    /// Nothing of `what` was told yet.
    pub const fn of(what: &'static str) -> Self {
        Self { what, since: Now(0), lines: 0, untold: 0 }
    }

    /// Whether another line may be written.
    pub fn may_tell(&mut self, now: Now) -> bool {
        if now.micros_since(self.since) >= 1_000_000 {
            if self.untold > 0 {
                log::info!("{} more {} were only counted", self.untold, self.what);
            }
            *self = Self { since: now, ..Self::of(self.what) };
        }
        let told = self.lines < LINES_PER_SEC_MAX;
        self.lines += u32::from(told);
        self.untold += u64::from(!told);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_failures_is_no_flood_of_lines() {
        let mut told = Told::of("failed handshakes of clients");
        let lines = |told: &mut Told, now| (0..1000).filter(|_| told.may_tell(Now(now))).count();
        assert_eq!(lines(&mut told, 5_000_000), 10);
        assert_eq!(lines(&mut told, 5_999_999), 0);
        assert_eq!(lines(&mut told, 6_000_000), 10);
        assert_eq!(told.untold, 990);
    }
}
