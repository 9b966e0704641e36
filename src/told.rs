//! What the log was told of failed handshakes lately: the rest is counted, not written.

use crate::time::Now;

/// Lines a second about handshakes of clients that failed: ten thousand a second, as anybody can make them fail, would
/// fill a disk within the day.
const LINES_PER_SEC_MAX: u32 = 10;

/// What was told of failed handshakes lately.
#[derive(Debug, Default)]
pub struct Told {
    since: Now,
    lines: u32,
    untold: u64,
}

impl Told {
    /// Whether another line may be written.
    pub fn may_tell(&mut self, now: Now) -> bool {
        if now.micros_since(self.since) >= 1_000_000 {
            if self.untold > 0 {
                log::info!("{} more handshakes of clients failed and were only counted", self.untold);
            }
            *self = Self { since: now, ..Self::default() };
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
        let mut told = Told::default();
        let lines = |told: &mut Told, now| (0..1000).filter(|_| told.may_tell(Now(now))).count();
        assert_eq!(lines(&mut told, 5_000_000), 10);
        assert_eq!(lines(&mut told, 5_999_999), 0);
        assert_eq!(lines(&mut told, 6_000_000), 10);
        assert_eq!(told.untold, 990);
    }
}
