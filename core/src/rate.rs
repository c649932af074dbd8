//! How fast a counter runs: what is learnt of a meter whose readings are totals.
//!
//! A total only ever grows, so its level says nothing of the day; the amount between two readings
//! does. Between readings a counter may start again from zero (a new battery, a new meter): then
//! what it shows is what it has counted since, as Prometheus' `rate` takes it. A step back by less
//! than half is no new start but a correction, or a total that is rounded; nothing was counted then.

use crate::{quantity::Quantity, reading::Sample, time::HOUR_MS};

/// The mean rate from one reading of a counter to a later one: watts for energy in watt-hours,
/// litres a minute for volume in litres, per hour for what is counted. `None` if that is not later
/// or the quantity is no counter.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "milliseconds between two readings")]
pub fn between(quantity: Quantity, before: Sample, after: Sample) -> Option<f64> {
    let per_ms = match quantity {
        Quantity::EnergyTotal | Quantity::CountTotal => HOUR_MS as f64,
        Quantity::VolumeTotal => 60_000.0,
        _ => return None,
    };
    let passed_ms = after.at.since(before.at);
    let grown = match after.value - before.value {
        grown if grown >= 0.0 => grown,
        _ if after.value >= before.value / 2.0 => 0.0,
        _ => after.value.max(0.0),
    };
    let rate = grown / passed_ms as f64 * per_ms;
    (passed_ms > 0 && rate.is_finite()).then_some(rate)
}

/// The rates between readings that ascend in time, each at the later one's time.
pub(crate) fn all(quantity: Quantity, samples: &[Sample]) -> impl Iterator<Item = Sample> + '_ {
    samples.windows(2).filter_map(move |pair| match pair {
        [before, after] => {
            let value = between(quantity, *before, *after)?;
            Some(Sample { at: after.at, value })
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UtcMillis;

    fn sample(at: i64, value: f64) -> Sample {
        Sample { at: UtcMillis(at), value }
    }

    fn rate(before: (i64, f64), after: (i64, f64)) -> Option<f64> {
        let [before, after] = [before, after].map(|(at, value)| sample(at, value));
        between(Quantity::EnergyTotal, before, after)
    }

    #[test]
    fn energy_in_watt_hours_becomes_watts() {
        assert_eq!(rate((0, 1_000.0), (HOUR_MS, 1_060.0)), Some(60.0));
        assert_eq!(rate((0, 1_000.0), (HOUR_MS / 2, 1_060.0)), Some(120.0));
        let litres = [sample(0, 10.0), sample(60_000, 13.0)];
        assert_eq!(between(Quantity::VolumeTotal, litres[0], litres[1]), Some(3.0));
        assert_eq!(between(Quantity::Temperature, litres[0], litres[1]), None);
    }

    #[test]
    fn a_new_start_counts_from_zero_and_a_small_step_back_is_none() {
        assert_eq!(rate((0, 152_657.0), (HOUR_MS, 40.0)), Some(40.0));
        assert_eq!(rate((0, 152_657.0), (HOUR_MS, 152_656.0)), Some(0.0));
        assert_eq!(rate((0, 5.0), (HOUR_MS, -3.0)), Some(0.0));
    }

    #[test]
    fn readings_that_are_not_apart_give_no_rate() {
        assert_eq!(rate((5, 1.0), (5, 2.0)), None);
        assert_eq!(rate((5, 1.0), (4, 2.0)), None);
    }
}
