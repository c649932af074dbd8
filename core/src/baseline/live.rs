//! The live score: how strange the newest reading is, at each reading, in constant time.

use super::{
    Baseline,
    episode::{Episode, score},
    running::Running,
};
use crate::{reading::Sample, time::LocalDay};

/// Readings before anything is said.
const LEAST_READINGS: u32 = 20;

/// Where a sensor's stream of readings stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Live {
    running: Running,
    episode: Episode,
    is_started: bool,
}

impl Live {
    /// Takes in the next reading of `day` and scores it: the share of the sensor's own readings
    /// that are less strange, 0 to 1. 0.99 is what one in a hundred of its ordinary readings
    /// exceeds. In an episode the first readings score in full, and what goes on is held back,
    /// so that one episode is one alarm. `None` while too few readings are known.
    pub fn add(&mut self, usual: &Baseline, day: &LocalDay, sample: Sample) -> Option<f32> {
        if !self.is_started {
            // What was known at the end of the last day that has closed.
            self.running = usual.running;
            self.is_started = true;
        }
        let hour = usual.hours.usual(day.date, day.wall_hour(sample.at));
        let evidence = self.running.add(sample.at, sample.value, hour);
        if self.running.count() <= LEAST_READINGS {
            return None;
        }
        let rarity = usual.scale.rarity(usual.scale.strength(&evidence));
        Some(score(self.episode.add(sample.at, rarity)))
    }
}
