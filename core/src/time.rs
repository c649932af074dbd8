//! Instants and local days.
//!
//! The core never reads a clock and knows no time zones: a [`LocalDay`] is handed in, with its
//! bounds in UTC and what is needed to tell the hour on the site's wall clock.

use core::{fmt, ops, str::FromStr};

use jiff::{ToSpan, civil::Date};
use serde::{Deserialize, Serialize};

/// One hour in milliseconds.
pub const HOUR_MS: i64 = 3_600_000;
/// A plain day, without a clock change, in milliseconds.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UtcMillis(pub i64);

impl UtcMillis {
    /// Milliseconds from `earlier` to `self`; negative if `self` is before it. Saturates.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl ops::Add<i64> for UtcMillis {
    type Output = Self;
    /// Adds milliseconds; saturates at the ends of the range.
    fn add(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl fmt::Display for UtcMillis {
    /// RFC 3339 in UTC, or the raw number where that has no calendar date.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// A calendar date without a zone, as days since 1970-01-01. Shown and parsed as `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LocalDate(pub i32);

impl LocalDate {
    const EPOCH: Date = Date::constant(1970, 1, 1);
    /// Beyond either end of the calendar library's years.
    const MAX_DAYS: i32 = 7_000_000;

    /// The date as a calendar library knows it; the calendar's nearest end where out of range.
    #[must_use]
    pub fn to_civil(self) -> Date {
        // The library panics on more days than it can count, and dates come off the wire.
        Self::EPOCH.saturating_add(self.0.clamp(-Self::MAX_DAYS, Self::MAX_DAYS).days())
    }

    /// The same date as a calendar library gives it.
    #[must_use]
    pub fn from_civil(date: Date) -> Self {
        let days = Self::EPOCH.until(date).map_or(0, |span| span.get_days());
        Self(days)
    }

    /// The date `days` later (earlier if negative).
    #[must_use]
    pub fn plus_days(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }
}

impl fmt::Display for LocalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_civil())
    }
}

/// The text was not a date of the form `YYYY-MM-DD`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date of the form YYYY-MM-DD")]
pub struct NotADate;

impl FromStr for LocalDate {
    type Err = NotADate;
    fn from_str(text: &str) -> Result<Self, NotADate> {
        text.parse().map(Self::from_civil).map_err(|_| NotADate)
    }
}

/// A change of the wall clock within a day, as at the start or end of summer time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockChange {
    /// The first instant with the new offset.
    pub at: UtcMillis,
    /// How far the wall clock jumps there, in milliseconds: +3,600,000 in spring.
    pub by_ms: i32,
}

/// One calendar day at the site: its date and its bounds `[start, end)`.
///
/// 23 or 25 hours long when the clock changes; may start at 01:00 on the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalDay {
    /// The date on the site's calendar.
    pub date: LocalDate,
    /// The first instant of the day.
    pub start: UtcMillis,
    /// The first instant of the next day.
    pub end: UtcMillis,
    /// What the wall clock shows at `start`, in milliseconds after midnight; nearly always 0.
    pub starts_at_wall_ms: i32,
    /// The clock change inside the day, if there is one.
    pub clock_change: Option<ClockChange>,
}

impl LocalDay {
    /// The UTC day with that date.
    #[must_use]
    pub fn utc(date: LocalDate) -> Self {
        let start = UtcMillis(i64::from(date.0) * DAY_MS);
        Self { date, start, end: start + DAY_MS, starts_at_wall_ms: 0, clock_change: None }
    }

    /// Whether `at` is in `[start, end)`.
    #[must_use]
    pub fn contains(&self, at: UtcMillis) -> bool {
        self.start <= at && at < self.end
    }

    /// The day's length in milliseconds, at least 1: 23, 24 or 25 hours.
    #[must_use]
    pub fn length_ms(&self) -> i64 {
        self.end.since(self.start).max(1)
    }

    /// The hour on the site's wall clock at `at`, 0 to 23; instants outside the day are clamped
    /// into it. The hour that a clock change repeats is one hour; the one it skips has no instant.
    #[must_use]
    pub fn wall_hour(&self, at: UtcMillis) -> usize {
        usize::try_from(self.wall_ms(at).div_euclid(HOUR_MS).clamp(0, 23)).unwrap_or(0)
    }

    /// What the site's wall clock shows at `at`, in milliseconds after midnight of the day's date.
    #[must_use]
    pub fn wall_ms(&self, at: UtcMillis) -> i64 {
        let wall = at.since(self.start).saturating_add(i64::from(self.starts_at_wall_ms));
        match self.clock_change {
            Some(change) if at >= change.at => wall.saturating_add(i64::from(change.by_ms)),
            _ => wall,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn dates_print_and_parse_both_ways() {
        for text in ["1969-12-31", "1970-01-01", "2000-02-29", "2024-03-31"] {
            let date: LocalDate = text.parse().unwrap();
            assert_eq!(date.to_string(), text);
        }
        assert_eq!("2024-03-01".parse(), Ok(LocalDate(19_783)));
        assert_eq!("2024-02-30".parse::<LocalDate>(), Err(NotADate));
        assert_eq!(LocalDate(i32::MAX).to_string(), "9999-12-31");
        assert_eq!(LocalDate(i32::MIN).to_civil(), Date::MIN);
    }

    #[test]
    fn wall_hours_follow_the_clock_change_in_spring() {
        // Berlin, 2024-03-31: 02:00 becomes 03:00 at 01:00Z.
        let start = UtcMillis(1_711_839_600_000);
        let day = LocalDay {
            date: "2024-03-31".parse().unwrap(),
            start,
            end: start + 23 * HOUR_MS,
            starts_at_wall_ms: 0,
            clock_change: Some(ClockChange { at: start + 2 * HOUR_MS, by_ms: 3_600_000 }),
        };
        assert_eq!(day.wall_hour(start + (2 * HOUR_MS - 1)), 1);
        assert_eq!(day.wall_hour(start + 2 * HOUR_MS), 3);
        assert_eq!(day.wall_hour(day.end + -1), 23);
    }
}
