//! One sensor's one local day: the distinct samples in time order.

use alloc::vec::Vec;

use crate::{quantity::Quantity, rate, reading::Sample, time::LocalDay};

/// A sensor-day's samples: inside the day, ascending in time, one per instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    day: LocalDay,
    samples: Vec<Sample>,
}

impl Chunk {
    /// Takes samples in the order they arrived; sorts them, drops repeats and strays.
    ///
    /// Of several values for one instant the first that arrived stays, so a redelivery or a
    /// later correction cannot change a day that was already counted.
    #[must_use]
    pub fn new(day: LocalDay, mut samples: Vec<Sample>) -> Self {
        samples.retain(|sample| day.contains(sample.at) && sample.value.is_finite());
        // Stable, so that "first" still means the first to arrive.
        samples.sort_by_key(|sample| sample.at);
        samples.dedup_by_key(|sample| sample.at);
        Self { day, samples }
    }

    /// What is learnt of a sensor of this quantity: the readings, or how fast a counter ran from
    /// each to the next.
    #[must_use]
    pub fn learnt_as(self, quantity: Quantity) -> Self {
        if quantity.of_total().is_none() {
            return self;
        }
        let samples = rate::all(quantity, &self.samples).collect();
        Self { day: self.day, samples }
    }

    /// The day.
    #[must_use]
    pub fn day(&self) -> &LocalDay {
        &self.day
    }

    /// The samples, ascending in time.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The share of the day's expected readings that arrived, 0 to 1.
    ///
    /// Expected is one reading per usual interval over the day's true length; usual is the
    /// median interval between the day's own readings, so the figure depends on nothing but the
    /// chunk. 0 with fewer than two samples.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts and milliseconds of one day")]
    pub fn coverage(&self) -> f64 {
        let mut intervals: Vec<i64> = self
            .samples
            .windows(2)
            .filter_map(|pair| match pair {
                [before, after] => Some(after.at.since(before.at)),
                _ => None,
            })
            .collect();
        let middle = intervals.len() / 2;
        if intervals.is_empty() {
            return 0.0;
        }
        let (_, &mut usual, _) = intervals.select_nth_unstable(middle);
        let share = self.samples.len() as f64 * usual as f64 / self.day.length_ms() as f64;
        share.min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{HOUR_MS, LocalDate, UtcMillis};

    fn chunk(samples: &[(i64, f64)]) -> Chunk {
        let samples = samples.iter().map(|&(at, value)| Sample { at: UtcMillis(at), value });
        Chunk::new(LocalDay::utc(LocalDate(0)), samples.collect())
    }

    #[test]
    fn the_first_value_of_an_instant_stays() {
        let chunk = chunk(&[(20, 2.0), (10, 1.0), (20, 9.0), (10, 1.0), (-1, 5.0)]);
        let held: Vec<(i64, f64)> = chunk.samples().iter().map(|s| (s.at.0, s.value)).collect();
        assert_eq!(held, [(10, 1.0), (20, 2.0)]);
    }

    #[test]
    fn coverage_is_the_share_of_expected_readings() {
        let half_day: Vec<(i64, f64)> = (0..12).map(|hour| (hour * HOUR_MS, 1.0)).collect();
        assert_eq!(chunk(&half_day).coverage(), 0.5);
        let full: Vec<(i64, f64)> = (0..24).map(|hour| (hour * HOUR_MS, 1.0)).collect();
        assert_eq!(chunk(&full).coverage(), 1.0);
        assert_eq!(chunk(&[(0, 1.0)]).coverage(), 0.0);
    }

    #[test]
    fn of_a_counter_the_rate_is_learnt() {
        let counter = chunk(&[(0, 5.0), (2 * HOUR_MS, 25.0), (HOUR_MS, 15.0)]);
        let learnt = counter.clone().learnt_as(Quantity::EnergyTotal);
        let held: Vec<(i64, f64)> = learnt.samples().iter().map(|s| (s.at.0, s.value)).collect();
        assert_eq!(held, [(HOUR_MS, 10.0), (2 * HOUR_MS, 10.0)]);
        assert_eq!(counter.clone().learnt_as(Quantity::Energy), counter);
    }

    use proptest::prelude::*;

    proptest! {
        /// After an outage a broker repeats and reorders; the day must come out the same. Few
        /// distinct times, so that clashes are common; one value per time, because of two values
        /// for one time the first to arrive stays.
        #[test]
        fn features_do_not_depend_on_delivery_order(
            (sent, delivered) in prop::collection::vec(0_i64..6, 2..20).prop_flat_map(|times| {
                let sent: Vec<(i64, f64)> =
                    times.iter().map(|&t| (t * HOUR_MS * 3, f64::from(i32::try_from(t % 4).unwrap()) * 1.5)).collect();
                let twice = [sent.clone(), sent.clone()].concat();
                (Just(sent), Just(twice).prop_shuffle())
            })
        ) {
            use crate::features::FeatureSet;
            let (first, second) = (chunk(&sent), chunk(&delivered));
            prop_assert_eq!(first.samples(), second.samples());
            for set in FeatureSet::ALL {
                prop_assert_eq!(set.extract(&first), set.extract(&second));
            }
        }
    }
}
