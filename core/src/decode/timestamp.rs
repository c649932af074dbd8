//! A device's idea of when: epoch numbers of any unit, RFC 3339, and what spreadsheets write.
//!
//! An epoch number's unit is told by its magnitude. Between [`EARLIEST`] and [`LATEST`] seconds,
//! milliseconds, microseconds and nanoseconds differ so much that none can be taken for another;
//! outside, the time is refused: a clock that stands at 1970, or an uptime, is no time at all.

use serde_json::Value;

use crate::{
    reading::Refusal,
    time::{DAY_MS, LocalDate, UtcMillis},
};

/// 1980-01-01T00:00:00Z; earlier times are clocks that were never set.
pub const EARLIEST: UtcMillis = UtcMillis(315_532_800_000);
/// 2100-01-01T00:00:00Z; this and later times are refused.
pub const LATEST: UtcMillis = UtcMillis(4_102_444_800_000);

/// Magnitudes from which a number is in the next finer unit: below the first it is seconds,
/// below the second milliseconds, below the third microseconds, else nanoseconds.
pub const UNIT_BOUNDS: [i64; 3] = [100_000_000_000, 100_000_000_000_000, 100_000_000_000_000_000];

/// A whole epoch number; finer units than milliseconds are cut.
///
/// # Errors
/// `BadTimestamp` outside [`EARLIEST`] to [`LATEST`].
pub fn from_integer(number: i64) -> Result<UtcMillis, Refusal> {
    let [seconds, millis, micros] = UNIT_BOUNDS;
    plausible(match number {
        n if n < seconds => n.saturating_mul(1_000),
        n if n < millis => n,
        n if n < micros => n / 1_000,
        n => n / 1_000_000,
    })
}

/// An epoch number with a fraction, to the nearest millisecond.
///
/// # Errors
/// As [`from_integer`]; also if it is not finite.
#[expect(clippy::cast_precision_loss, reason = "the bounds are round numbers")]
#[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and then is implausible")]
pub fn from_number(number: f64) -> Result<UtcMillis, Refusal> {
    let [seconds, millis, micros] = UNIT_BOUNDS.map(|bound| bound as f64);
    let ms = match number {
        n if !n.is_finite() => return Err(Refusal::BadTimestamp),
        n if n < seconds => n * 1e3,
        n if n < millis => n,
        n if n < micros => n / 1e3,
        n => n / 1e6,
    };
    plausible(libm::round(ms) as i64)
}

/// Any of these as a JSON value.
///
/// # Errors
/// As the others; also for what is neither a number nor text.
pub fn from_json(found: &Value) -> Result<UtcMillis, Refusal> {
    match found {
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => from_integer(whole),
            (None, Some(number)) => from_number(number),
            (None, None) => Err(Refusal::BadTimestamp),
        },
        Value::String(text) => from_text(text),
        _ => Err(Refusal::BadTimestamp),
    }
}

/// RFC 3339 or an epoch number in text.
///
/// # Errors
/// `BadTimestamp` if it is neither, or as [`from_integer`]. A time without an offset is refused:
/// whose clock it follows is not known.
pub fn from_text(text: &str) -> Result<UtcMillis, Refusal> {
    let text = text.trim();
    if let Some(written) = WrittenTime::parse(text) {
        return written.instant().ok_or(Refusal::BadTimestamp);
    }
    match text.parse::<i64>() {
        Ok(number) => from_integer(number),
        Err(_) => from_number(text.parse().map_err(|_| Refusal::BadTimestamp)?),
    }
}

fn plausible(ms: i64) -> Result<UtcMillis, Refusal> {
    let at = UtcMillis(ms);
    if (EARLIEST..LATEST).contains(&at) { Ok(at) } else { Err(Refusal::BadTimestamp) }
}

/// A date and time as written out, with its offset from UTC if one is given.
///
/// Reads RFC 3339, also with a space for the `T`, with the offset `+0100` or `+01`, and with
/// seconds, minutes or the whole time of day left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenTime {
    /// The date.
    pub date: LocalDate,
    /// Milliseconds after midnight; finer digits are cut.
    pub wall_ms: i32,
    /// What the writer's clock is ahead of UTC, in milliseconds; `None` if that is not said.
    pub offset_ms: Option<i32>,
}

impl WrittenTime {
    /// Reads `text`, white space around it excepted; `None` if it is not a date and time.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = Cursor(text.as_bytes());
        let year = rest.digits(2)? * 100 + rest.digits(2)?;
        rest.byte(b'-')?;
        let month = rest.digits(2)?;
        rest.byte(b'-')?;
        let day = rest.digits(2)?;
        if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
            return None;
        }
        let date = LocalDate(days_since_epoch(year, month, day));
        let wall_ms = match rest.next_is(|byte| matches!(byte, b'T' | b't' | b' ')) {
            true => rest.time_of_day()?,
            false => 0,
        };
        let offset_ms = rest.offset()?;
        rest.0.is_empty().then_some(Self { date, wall_ms, offset_ms })
    }

    /// The instant, if an offset is given and the time is plausible.
    #[must_use]
    pub fn instant(&self) -> Option<UtcMillis> {
        let offset_ms = i64::from(self.offset_ms?);
        plausible(i64::from(self.date.0) * DAY_MS + i64::from(self.wall_ms) - offset_ms).ok()
    }
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// A number of exactly so many digits.
    fn digits(&mut self, count: usize) -> Option<i32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut number = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return None;
            }
            number = number * 10 + i32::from(digit - b'0');
        }
        self.0 = rest;
        Some(number)
    }

    fn byte(&mut self, expected: u8) -> Option<()> {
        self.next_is(|byte| byte == expected).then_some(())
    }

    /// Whether the next byte is such a one; if so it is taken.
    fn next_is(&mut self, accepts: impl Fn(u8) -> bool) -> bool {
        match self.0.split_first() {
            Some((&byte, rest)) if accepts(byte) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn time_of_day(&mut self) -> Option<i32> {
        let hour = self.digits(2)?;
        let (mut minute, mut second, mut ms) = (0, 0, 0);
        if self.next_is(|byte| byte == b':') {
            minute = self.digits(2)?;
            if self.next_is(|byte| byte == b':') {
                second = self.digits(2)?;
                if self.next_is(|byte| matches!(byte, b'.' | b',')) {
                    ms = self.fraction()?;
                }
            }
        }
        // A leap second is the last moment before the next minute.
        let (second, ms) = if second == 60 { (59, 999) } else { (second, ms) };
        (hour < 24 && minute < 60 && second < 60)
            .then_some(((hour * 60 + minute) * 60 + second) * 1_000 + ms)
    }

    /// Digits after the point, as milliseconds; at least one.
    fn fraction(&mut self) -> Option<i32> {
        let (mut ms, mut unit) = (0, 100);
        let before = self.0.len();
        while let Some((digit @ b'0'..=b'9', rest)) = self.0.split_first() {
            ms += i32::from(digit - b'0') * unit;
            unit /= 10;
            self.0 = rest;
        }
        (self.0.len() < before).then_some(ms)
    }

    /// `Z` or a signed offset; `Some(None)` if nothing is left.
    #[expect(clippy::option_option, reason = "unreadable, absent and given are three things")]
    fn offset(&mut self) -> Option<Option<i32>> {
        if self.0.is_empty() {
            return Some(None);
        }
        if self.next_is(|byte| matches!(byte, b'Z' | b'z')) {
            return Some(Some(0));
        }
        let ahead = match self.next_is(|byte| byte == b'+') {
            true => 1,
            false => self.byte(b'-').map(|()| -1)?,
        };
        let hours = self.digits(2)?;
        let minutes = match self.next_is(|byte| byte == b':') || !self.0.is_empty() {
            true => self.digits(2)?,
            false => 0,
        };
        const MINUTE_MS: i32 = 60_000;
        (hours < 24 && minutes < 60).then_some(Some(ahead * (hours * 60 + minutes) * MINUTE_MS))
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Hinnant's algorithm).
fn days_since_epoch(year: i32, month: i32, day: i32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn days_in_month(year: i32, month: i32) -> i32 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString};

    use proptest::prelude::*;

    use super::*;

    const AT: Result<UtcMillis, Refusal> = Ok(UtcMillis(1_711_321_200_123));

    #[test]
    fn the_unit_of_an_epoch_number_is_told_by_its_size() {
        assert_eq!(from_integer(1_711_321_200), Ok(UtcMillis(1_711_321_200_000)));
        assert_eq!(from_integer(1_711_321_200_123), AT);
        assert_eq!(from_integer(1_711_321_200_123_999), AT);
        assert_eq!(from_integer(1_711_321_200_123_999_999), AT);
        assert_eq!(from_number(1_711_321_200.123), AT);
        assert_eq!(from_number(1_711_321_200_123.2), AT);
        assert_eq!(from_text("1711321200.123"), AT);
        assert_eq!(from_text(" 1711321200123456789 "), Ok(UtcMillis(1_711_321_200_123)));
        assert_eq!(from_number(1_711_321_205.02), Ok(UtcMillis(1_711_321_205_020)));
    }

    #[test]
    fn the_ends_of_the_plausible_range_hold_in_every_unit() {
        let (first, past) = (EARLIEST.0 / 1_000, LATEST.0 / 1_000);
        for unit in [1, 1_000, 1_000_000, 1_000_000_000] {
            assert_eq!(from_integer(first * unit), Ok(EARLIEST));
            assert_eq!(from_integer(first * unit - 1), Err(Refusal::BadTimestamp));
            assert_eq!(from_integer(past * unit), Err(Refusal::BadTimestamp));
            assert!(from_integer(past * unit - 1).is_ok());
        }
    }

    #[test]
    fn rfc_3339_is_read_with_its_variants() {
        for text in [
            "2024-03-24T23:00:00.123Z",
            "2024-03-24t23:00:00.123z",
            "2024-03-24 23:00:00.123Z",
            "2024-03-25T00:00:00.123+01:00",
            "2024-03-25T04:30:00.1239+05:30",
            "2024-03-24T15:00:00.123456789-0800",
            "2024-03-25 00:00:00.123+01",
        ] {
            assert_eq!(from_text(text), AT, "{text}");
        }
        assert_eq!(from_text("2016-12-31T23:59:60Z"), Ok(UtcMillis(1_483_228_799_999)));
        assert_eq!(from_text("2000-02-29T00:00:00Z"), Ok(UtcMillis(951_782_400_000)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "12",
            "-1711321200",
            "nan",
            "1e400",
            "99999999999999999999999",
            "2024-03-24T23:00:00",
            "2024-03-24T24:00:00Z",
            "2024-03-24T23:60:00Z",
            "2024-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-3-24T23:00:00Z",
            "2024-03-24T23:00:00.Z",
            "2024-03-24T23:00:00Zx",
            "2024-03-24T23:00:00+1:00",
            "2024-03-24T23:00:00+24:00",
            "1970-01-01T00:00:01Z",
            "1979-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
            "2100-01-01T00:00:00Z",
            "２024-03-24T23:00:00Z",
        ] {
            assert_eq!(from_text(text), Err(Refusal::BadTimestamp), "{text}");
        }
    }

    #[test]
    fn spreadsheet_times_are_read_without_offset() {
        let written = |date: &str, wall_ms| {
            Some(WrittenTime { date: date.parse().unwrap(), wall_ms, offset_ms: None })
        };
        assert_eq!(WrittenTime::parse("2023-02-15 07"), written("2023-02-15", 7 * 3_600_000));
        assert_eq!(WrittenTime::parse("2023-02-15"), written("2023-02-15", 0));
        assert_eq!(WrittenTime::parse("2010-01-01 00:10:00"), written("2010-01-01", 600_000));
        assert_eq!(WrittenTime::parse("2010-01-01T00:10"), written("2010-01-01", 600_000));
        assert_eq!(WrittenTime::parse("2010-01-01 "), None);
    }

    proptest! {
        #[test]
        fn every_plausible_instant_reads_back(ms in EARLIEST.0..LATEST.0) {
            let at = UtcMillis(ms);
            prop_assert_eq!(from_text(&at.to_string()), Ok(at));
            prop_assert_eq!(from_integer(ms), Ok(at));
            prop_assert_eq!(from_text(&format!("{ms}")), Ok(at));
        }

        #[test]
        fn dates_agree_with_the_calendar_library(days in -719_162_i32..2_932_896) {
            let date = LocalDate(days);
            let written = WrittenTime::parse(&date.to_string()).unwrap();
            prop_assert_eq!(written.date, date);
        }

        #[test]
        fn no_text_panics(text in "[0-9TZ:+. -]{0,40}|.{0,40}") {
            if let Ok(at) = from_text(&text) {
                prop_assert!((EARLIEST..LATEST).contains(&at));
            }
            if let Some(written) = WrittenTime::parse(&text) {
                prop_assert!((0..86_400_000).contains(&written.wall_ms));
            }
        }

        #[test]
        fn no_number_panics(number in any::<f64>(), integer in any::<i64>()) {
            for at in [from_number(number), from_integer(integer)].into_iter().flatten() {
                prop_assert!((EARLIEST..LATEST).contains(&at));
            }
        }
    }
}
