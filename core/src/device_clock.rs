//! How far a device's clock is off, told from the readings it stamps.
//!
//! A reading arrives when it was measured plus a little. A device whose stamps differ from their
//! arrival by the same amount again and again has a wrong clock; one that delivers a backlog has
//! differences that change from reading to reading, and is left alone.

use serde::{Deserialize, Serialize};

use crate::time::UtcMillis;

/// Differences this near to each other are the same difference.
const SAME_MS: i64 = 5_000;
/// So many readings in a row with the same difference tell it,
const TELLING: u8 = 8;
/// if they arrived over at least this: a backlog of a fast sensor comes all at once.
const TELLING_MS: i64 = 5 * 60_000;

/// What is known of one device's clock; a few bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceClock {
    /// Smoothed difference of stamp and arrival.
    offset_ms: i64,
    /// Readings in a row that agree with it, and when the first arrived.
    agreeing: u8,
    since: UtcMillis,
    /// The offset last told; changes only when the estimate has moved away from it, so that the
    /// same stamp is corrected to the same time when it is delivered again.
    told_ms: Option<i64>,
}

impl DeviceClock {
    /// A clock that was known to be off by that much before the restart.
    #[must_use]
    pub fn restored(told_ms: i64) -> Self {
        Self {
            offset_ms: told_ms,
            agreeing: TELLING,
            since: UtcMillis(i64::MIN),
            told_ms: Some(told_ms),
        }
    }

    /// Takes a reading stamped `at` that arrived `now`. Differences up to `tolerance_ms` are
    /// latency. Says whether the told offset changed.
    pub fn observe(&mut self, now: UtcMillis, at: UtcMillis, tolerance_ms: i64) -> bool {
        let offset = at.since(now);
        if self.agreeing > 0 && offset.saturating_sub(self.offset_ms).saturating_abs() <= SAME_MS {
            self.agreeing = self.agreeing.saturating_add(1).min(TELLING);
            self.offset_ms += (offset - self.offset_ms) / 8;
        } else {
            self.agreeing = 1;
            self.since = now;
            self.offset_ms = offset;
        }
        if self.agreeing < TELLING || now.since(self.since) < TELLING_MS {
            return false;
        }
        let is_wrong = self.offset_ms.saturating_abs() > tolerance_ms;
        let has_moved = self
            .told_ms
            .is_none_or(|told| self.offset_ms.saturating_sub(told).saturating_abs() > SAME_MS);
        let told = match (is_wrong, has_moved) {
            (false, _) => None,
            (true, true) => Some(self.offset_ms),
            (true, false) => self.told_ms,
        };
        let changed = told != self.told_ms;
        self.told_ms = told;
        changed
    }

    /// How far the device's clock is ahead (negative: behind), in milliseconds; `None` while it is
    /// right, or not known to be wrong.
    #[must_use]
    pub fn offset_ms(&self) -> Option<i64> {
        self.told_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR_MS;

    const START: UtcMillis = UtcMillis(1_711_000_000_000);
    const TOLERANCE: i64 = 120_000;

    /// One reading a minute, each stamped `offset(minute)` off and up to a second late.
    fn observe(clock: &mut DeviceClock, minutes: i64, offset: impl Fn(i64) -> i64) -> usize {
        let mut changes = 0;
        for minute in 0..minutes {
            let measured = START + minute * 60_000;
            let arrival = measured + (minute * 37) % 1_000;
            let changed = clock.observe(arrival, measured + offset(minute), TOLERANCE);
            changes += usize::from(changed);
        }
        changes
    }

    #[test]
    fn a_clock_that_is_right_is_never_told() {
        let mut clock = DeviceClock::default();
        assert_eq!(observe(&mut clock, 100, |_| 0), 0);
        assert_eq!(clock.offset_ms(), None);
    }

    #[test]
    fn a_constant_error_is_told_once_and_forgotten_when_it_is_gone() {
        let mut clock = DeviceClock::default();
        assert_eq!(observe(&mut clock, 100, |_| 2 * HOUR_MS), 1);
        let told = clock.offset_ms().unwrap();
        assert!((told - 2 * HOUR_MS).abs() < 1_000, "{told}");
        assert_eq!(observe(&mut clock, 20, |_| 0), 1);
        assert_eq!(clock.offset_ms(), None);
    }

    #[test]
    fn a_backlog_is_no_wrong_clock() {
        let mut clock = DeviceClock::default();
        for minute in 0..200 {
            let changed = clock.observe(START + minute, START + (minute - 300) * 60_000, TOLERANCE);
            assert!(!changed);
        }
        assert_eq!(clock.offset_ms(), None);
    }

    #[test]
    fn a_fast_sensors_backlog_is_no_wrong_clock() {
        let mut clock = DeviceClock::default();
        for second in 0..7_200 {
            let arrival = START + second / 100;
            let changed = clock.observe(arrival, START + (second - 7_200) * 1_000, TOLERANCE);
            assert!(!changed, "{second}");
        }
    }

    #[test]
    fn a_told_offset_stays_the_same_while_the_estimate_wavers() {
        let mut clock = DeviceClock::restored(-HOUR_MS);
        observe(&mut clock, 50, |minute| -HOUR_MS + (minute % 3) * 500);
        assert_eq!(clock.offset_ms(), Some(-HOUR_MS));
    }
}
