//! Whether a sensor has stopped reporting: how often it usually does, learnt as it goes.
//!
//! Two figures of fixed size: the usual interval, a mean that single gaps hardly move, and the
//! longest of late, which fades. A sensor that reports by the clock is missed after a few
//! intervals; one that reports when something changes is given half as long again as it has been
//! quiet before.

use crate::time::UtcMillis;

/// Intervals that must be known before a sensor can be missed.
const TELLING: u8 = 5;
/// So many usual intervals without a reading are silence.
const INTERVALS: i64 = 6;
/// No sensor is missed sooner.
const SHORTEST_MS: i64 = 120_000;

/// How often one sensor reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pace {
    usual_ms: f32,
    longest_ms: f32,
    known: u8,
}

impl Pace {
    /// A pace known from before a restart.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "intervals of hours fit f32 well enough")]
    pub fn restored(usual_ms: i64) -> Self {
        Self { usual_ms: usual_ms as f32, longest_ms: usual_ms as f32, known: TELLING }
    }

    /// Learns the interval between a reading and the one before it.
    #[expect(clippy::cast_precision_loss, reason = "intervals of hours fit f32 well enough")]
    pub fn learn(&mut self, interval_ms: i64) {
        if interval_ms <= 0 {
            return;
        }
        let interval = interval_ms as f32;
        if self.known == 0 {
            (self.usual_ms, self.longest_ms) = (interval, interval);
        } else {
            let near = interval.clamp(self.usual_ms / 4.0, self.usual_ms * 4.0);
            self.usual_ms += (near - self.usual_ms) / 8.0;
            self.longest_ms = (self.longest_ms * (63.0 / 64.0)).max(interval);
        }
        self.known = self.known.saturating_add(1).min(TELLING);
    }

    /// The usual interval in milliseconds; `None` while too few are known.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a cast of an interval saturates")]
    pub fn usual_ms(&self) -> Option<i64> {
        (self.known >= TELLING).then_some((self.usual_ms as i64).max(1))
    }

    /// How long without a reading is silence; `None` while that cannot be told.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a cast of an interval saturates")]
    pub fn patience_ms(&self) -> Option<i64> {
        let usual = self.usual_ms()?;
        let longest = (self.longest_ms * 1.5) as i64;
        Some(usual.saturating_mul(INTERVALS).max(longest).max(SHORTEST_MS))
    }

    /// Whether a sensor heard last at `heard` is silent at `now`.
    #[must_use]
    pub fn is_silent(&self, heard: UtcMillis, now: UtcMillis) -> bool {
        self.patience_ms().is_some_and(|patience| now.since(heard) > patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR_MS;

    const HEARD: UtcMillis = UtcMillis(1_711_000_000_000);
    const MINUTE: i64 = 60_000;

    fn pace(intervals: impl IntoIterator<Item = i64>) -> Pace {
        let mut pace = Pace::default();
        intervals.into_iter().for_each(|interval| pace.learn(interval));
        pace
    }

    #[test]
    fn a_regular_sensor_is_missed_after_a_few_intervals() {
        let pace = pace([MINUTE; 30]);
        assert!(!pace.is_silent(HEARD, HEARD + 5 * MINUTE));
        assert!(pace.is_silent(HEARD, HEARD + 7 * MINUTE));
    }

    #[test]
    fn nobody_is_missed_before_the_pace_is_known() {
        assert!(!pace([MINUTE; 4]).is_silent(HEARD, HEARD + 100 * HOUR_MS));
        assert!(pace([MINUTE; 5]).is_silent(HEARD, HEARD + 100 * HOUR_MS));
    }

    #[test]
    fn a_sensor_that_reports_by_change_is_given_the_time_it_took_before() {
        let by_change = [MINUTE, 3 * HOUR_MS, 2 * MINUTE, MINUTE, 20 * MINUTE, MINUTE, MINUTE];
        let pace = pace(by_change);
        assert!(!pace.is_silent(HEARD, HEARD + 3 * HOUR_MS));
        assert!(pace.is_silent(HEARD, HEARD + 5 * HOUR_MS));
    }

    #[test]
    fn one_long_gap_is_forgotten_and_hardly_moves_the_usual() {
        let mut pace = pace([10 * MINUTE; 50]);
        pace.learn(18 * HOUR_MS);
        assert!(pace.usual_ms().unwrap() < 15 * MINUTE);
        (0..400).for_each(|_| pace.learn(10 * MINUTE));
        assert!(pace.is_silent(HEARD, HEARD + 2 * HOUR_MS));
    }
}
