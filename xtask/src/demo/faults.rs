//! The faults planted into the simulated site: which sensor, which days, what happens to it.
//!
//! Sizes are those of real faults, chosen before any run and not to suit the detector: a room
//! sensor that reads two degrees high may well go unnoticed, and the report then says so.

use std::ops::Range;

use super::{building::Moment, random::Random};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FaultKind {
    /// Always the same value.
    Stuck(f64),
    /// Too high by a constant.
    Bias(f64),
    /// Silent between these hours.
    Dead(f64, f64),
    /// Now and then far too high: the share of readings and by how much.
    Spikes(f64, f64),
    /// Runs away, by so much an hour.
    Drift(f64),
    /// Scatters with this deviation.
    Noisy(f64),
    /// Between these hours as on no such day, by so much: lamps burn, heating is off.
    WrongRhythm(f64, f64, f64),
}

impl FaultKind {
    /// How the report calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stuck(_) => "stuck",
            Self::Bias(_) => "bias",
            Self::Dead(..) => "dead for half a day",
            Self::Spikes(..) => "spikes",
            Self::Drift(_) => "drift",
            Self::Noisy(_) => "noisy",
            Self::WrongRhythm(..) => "wrong rhythm",
        }
    }
}

/// One planted fault.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    /// The sensor's id.
    pub(super) sensor: &'static str,
    /// Its days, counted from the first of the recording.
    pub(super) days: Range<u16>,
    /// What happens.
    pub(super) kind: FaultKind,
}

impl Fault {
    /// What the sensor says in place of `value`; `None` if nothing.
    pub(super) fn apply(&self, moment: &Moment, value: f64, random: &mut Random) -> Option<f64> {
        if !self.days.contains(&moment.day) {
            return Some(value);
        }
        let hours = f64::from(moment.day - self.days.start) * 24.0 + moment.hour;
        match self.kind {
            FaultKind::Stuck(at) => Some(at),
            FaultKind::Bias(by) => Some(value + by),
            FaultKind::Dead(from, to) => (!(from..to).contains(&moment.hour)).then_some(value),
            FaultKind::Spikes(share, by) => {
                Some(if random.chance(share) { value + by } else { value })
            }
            FaultKind::Drift(an_hour) => Some(value + an_hour * hours),
            FaultKind::Noisy(deviation) => Some(value + random.noise(deviation)),
            FaultKind::WrongRhythm(from, to, by) => {
                Some(if (from..to).contains(&moment.hour) { value + by } else { value })
            }
        }
    }
}

/// The faults of a recording of `days` days, all within its last week.
pub(super) fn plant(days: u16) -> Vec<Fault> {
    let back = |from: u16, to: u16| days.saturating_sub(from)..days.saturating_sub(to);
    let fault = |sensor, days, kind| Fault { sensor, days, kind };
    vec![
        fault("office-3/temperature", back(6, 4), FaultKind::Stuck(21.14)),
        fault("office-7/temperature", back(3, 2), FaultKind::Bias(2.0)),
        fault("office-2/co2", back(5, 4), FaultKind::Dead(7.0, 19.0)),
        fault("server-room/power", back(4, 3), FaultKind::Spikes(0.03, 900.0)),
        fault("office-5/humidity", back(5, 3), FaultKind::Drift(0.25)),
        fault("roof/pressure", back(1, 0), FaultKind::Noisy(1.5)),
        // A four-week recording ends on a Sunday: lamps that burn all weekend.
        fault("office-4/illuminance", back(2, 0), FaultKind::WrongRhythm(0.0, 24.0, 380.0)),
        fault("office-9/temperature", back(4, 3), FaultKind::WrongRhythm(6.0, 18.0, -3.0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::building::SENSORS;

    #[test]
    fn every_fault_is_planted_on_a_sensor_and_day_that_exist() {
        for fault in plant(28) {
            assert!(SENSORS.iter().any(|sensor| sensor.id == fault.sensor), "{}", fault.sensor);
            assert!(!fault.days.is_empty() && fault.days.end <= 28, "{fault:?}");
        }
    }

    #[test]
    fn a_dead_sensor_is_silent_in_its_hours_only() {
        let fault = Fault { sensor: "x", days: 3..4, kind: FaultKind::Dead(7.0, 19.0) };
        let mut random = Random::new(1, "x");
        let mut said =
            |day, hour| fault.apply(&Moment { day, hour, is_weekend: false }, 5.0, &mut random);
        assert_eq!(said(3, 8.0), None);
        assert_eq!(said(3, 20.0), Some(5.0));
        assert_eq!(said(2, 8.0), Some(5.0));
    }
}
