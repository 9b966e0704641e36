//! Wall-clock time as text: the shell says once a second how the worker's clock relates to it, and the text of a second
//! is made once.

use crate::time::Now;

/// How the worker's clock relates to the wall's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wall {
    /// Microseconds since the epoch at [`Now`] zero.
    pub origin: i64,
    /// Seconds that local time is ahead of UTC.
    pub zone: i32,
}

/// A day and the time of that day, local.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Civil {
    /// The year.
    pub year: i64,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// The day of the year, from 1.
    pub day_of_year: u16,
    /// The day of the week, Sunday is 0.
    pub weekday: u8,
    /// The hour.
    pub hour: u8,
    /// The minute.
    pub minute: u8,
    /// The second.
    pub second: u8,
}

/// Names of months, of which logs write three letters.
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Names of days of the week.
pub const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const DAY: i64 = 86_400;

impl Civil {
    /// The local day and time of the second `epoch` (Hinnant, "chrono-compatible low-level date algorithms").
    pub const fn of(epoch: i64, zone: i32) -> Self {
        let local = epoch + zone as i64;
        let (days, rest) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_from_march + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + (month <= 2) as i64;
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        // March is the first month of the shifted year, so that January begins after 306 days of it.
        let day_of_year =
            if day_from_march >= 306 { day_from_march - 306 } else { day_from_march + 59 + leap as i64 };
        Self {
            year,
            month: month as u8,
            day: (day_from_march - (153 * month_from_march + 2) / 5 + 1) as u8,
            day_of_year: day_of_year as u16 + 1,
            weekday: (days + 4).rem_euclid(7) as u8,
            hour: (rest / 3600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
        }
    }
}

/// The text of the second that was asked for last.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    /// How the clocks relate.
    pub wall: Wall,
    /// When that is asked for anew.
    due: Now,
    epoch: i64,
    civil: Civil,
    clf: [u8; 26],
    iso: [u8; 19],
    zone: [u8; 6],
}

/// How long the relation of the clocks is believed.
const SYNC_EVERY: u64 = 1_000_000;

impl Stamp {
    /// Asks `wall` how the clocks relate, at most once a second.
    pub fn sync(&mut self, now: Now, wall: impl FnOnce() -> Wall) {
        if now >= self.due {
            self.wall = wall();
            self.due = Now(now.0 + SYNC_EVERY);
            self.write(self.epoch);
        }
    }

    /// Microseconds since the epoch.
    pub const fn micros(&self, at: Now) -> i64 {
        self.wall.origin.saturating_add(at.0.cast_signed())
    }

    /// Makes the texts of the second that `at` falls into.
    fn turn_to(&mut self, at: Now) {
        let epoch = self.micros(at).div_euclid(1_000_000);
        if epoch != self.epoch {
            self.write(epoch);
        }
    }

    fn write(&mut self, epoch: i64) {
        let civil = Civil::of(epoch, self.wall.zone);
        let sign = if self.wall.zone < 0 { b'-' } else { b'+' };
        let minutes = self.wall.zone.unsigned_abs() / 60;
        let [h, m] = two((minutes / 60) as u8);
        let [k, l] = two((minutes % 60) as u8);
        let year = four(civil.year);
        let month = MONTHS[usize::from(civil.month) - 1].as_bytes();
        let (day, hour, minute, second) =
            (two(civil.day), two(civil.hour), two(civil.minute), two(civil.second));
        let mut clf = Fill { bytes: [0; 26], at: 0 };
        for part in [&day[..], b"/", &month[..3], b"/", &year, b":", &hour, b":", &minute, b":", &second] {
            clf.put(part);
        }
        clf.put(&[b' ', sign, h, m, k, l]);
        let mut iso = Fill { bytes: [0; 19], at: 0 };
        let month = two(civil.month);
        for part in [&year[..], b"-", &month, b"-", &day, b"T", &hour, b":", &minute, b":", &second] {
            iso.put(part);
        }
        self.clf = clf.bytes;
        self.iso = iso.bytes;
        self.zone = [sign, h, m, b':', k, l];
        self.epoch = epoch;
        self.civil = civil;
    }

    /// `31/Jan/2026:09:00:00 +0900`.
    pub fn clf(&mut self, at: Now) -> &[u8] {
        self.turn_to(at);
        &self.clf
    }

    /// `2026-01-31T09:00:00.123+09:00`.
    pub fn iso(&mut self, at: Now, out: &mut Vec<u8>) {
        self.turn_to(at);
        let millis = self.micros(at).rem_euclid(1_000_000) / 1000;
        out.extend_from_slice(&self.iso);
        out.push(b'.');
        out.extend_from_slice(&three(millis as u16));
        out.extend_from_slice(&self.zone);
    }

    /// `Wed Nov 25 14:00:00.123456 2026`, as Apache's error log has it.
    pub fn error(&mut self, at: Now, out: &mut Vec<u8>) {
        self.turn_to(at);
        let micros = self.micros(at).rem_euclid(1_000_000) as u32;
        let civil = self.civil;
        out.extend_from_slice(&WEEKDAYS[usize::from(civil.weekday)].as_bytes()[..3]);
        out.push(b' ');
        out.extend_from_slice(&MONTHS[usize::from(civil.month) - 1].as_bytes()[..3]);
        out.push(b' ');
        out.extend_from_slice(&two(civil.day));
        out.push(b' ');
        out.extend_from_slice(&self.iso[11..]);
        out.push(b'.');
        out.extend_from_slice(&three((micros / 1000) as u16));
        out.extend_from_slice(&three((micros % 1000) as u16));
        out.push(b' ');
        out.extend_from_slice(&four(civil.year));
    }

    /// The second that `at` falls into, and its local day and time.
    pub fn civil(&mut self, at: Now) -> (i64, Civil) {
        self.turn_to(at);
        (self.epoch, self.civil)
    }
}

struct Fill<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Fill<N> {
    fn put(&mut self, part: &[u8]) {
        self.bytes[self.at..self.at + part.len()].copy_from_slice(part);
        self.at += part.len();
    }
}

/// Two decimal digits.
pub const fn two(n: u8) -> [u8; 2] {
    [b'0' + n / 10 % 10, b'0' + n % 10]
}

/// Three decimal digits.
pub const fn three(n: u16) -> [u8; 3] {
    [b'0' + (n / 100 % 10) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8]
}

/// Four decimal digits; only years outside of 0 to 9999 lose some.
pub const fn four(n: i64) -> [u8; 4] {
    let n = n.rem_euclid(10_000) as u16;
    [b'0' + (n / 1000) as u8, b'0' + (n / 100 % 10) as u8, b'0' + (n / 10 % 10) as u8, b'0' + (n % 10) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::{OffsetDateTime, UtcOffset};

    const KST: i32 = 9 * 3600;

    fn stamp(origin: i64, zone: i32) -> Stamp {
        let mut stamp = Stamp::default();
        stamp.sync(Now(0), || Wall { origin, zone });
        stamp
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for epoch in (-70_000_000_000..250_000_000_000_i64).step_by(123_456_789) {
            for zone in [0, KST, -12_600] {
                let expected = OffsetDateTime::from_unix_timestamp(epoch)
                    .expect("a date")
                    .to_offset(UtcOffset::from_whole_seconds(zone).expect("a zone"));
                let civil = Civil::of(epoch, zone);
                assert_eq!(
                    (civil.year, civil.month, civil.day, civil.day_of_year, civil.weekday),
                    (
                        i64::from(expected.year()),
                        u8::from(expected.month()),
                        expected.day(),
                        expected.ordinal(),
                        expected.weekday().number_days_from_sunday()
                    ),
                    "{epoch}"
                );
                assert_eq!((civil.hour, civil.minute, civil.second), expected.to_hms(), "{epoch}");
            }
        }
    }

    #[test]
    fn a_time_has_the_shapes_of_its_logs() {
        let mut stamp = stamp(1_764_046_800_123_456, KST);
        let text = |write: &mut dyn FnMut(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(stamp.clf(Now(0)), b"25/Nov/2025:14:00:00 +0900");
        assert_eq!(text(&mut |out| stamp.iso(Now(0), out)), "2025-11-25T14:00:00.123+09:00");
        assert_eq!(text(&mut |out| stamp.error(Now(5), out)), "Tue Nov 25 14:00:00.123461 2025");
        assert_eq!(stamp.clf(Now(877_000)), b"25/Nov/2025:14:00:01 +0900");
        // Requests do not end in the order in which they began.
        assert_eq!(stamp.clf(Now(0)), b"25/Nov/2025:14:00:00 +0900");
    }

    #[test]
    fn the_wall_is_asked_once_a_second() {
        let mut stamp = stamp(0, 0);
        let asked = std::cell::Cell::new(0);
        for now in [0, 1, 999_999, 1_000_000, 1_000_001, 2_000_000] {
            stamp.sync(Now(now), || {
                asked.set(asked.get() + 1);
                Wall { origin: 60_000_000, zone: 0 }
            });
        }
        assert_eq!(asked.get(), 2);
        assert_eq!(stamp.clf(Now(0)), b"01/Jan/1970:00:01:00 +0000");
    }
}
