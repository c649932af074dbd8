//! What one sensor's own days usually look like, in fixed size; how strange a reading or a day is
//! for that sensor; and where it drifts.
//!
//! | file | content |
//! |---|---|
//! | `usual.rs` | mean and variance with forgetting, on working days and weekends |
//! | `hours.rs`, `figures.rs` | what the hours and the day's other figures usually are |
//! | `running.rs` | what each reading is evidence of |
//! | `scale.rs` | evidence on the scale of the sensor's own ordinary days |
//! | `episode.rs` | one alarm for one episode |
//! | `live.rs` | all of that at each reading: the live score |
//! | `verdict.rs`, `reasons.rs` | all of that for a day: its score, and why |
//! | `trend.rs` | slow drift |
//!
//! A day teaches once, when it first closes, from its sorted chunk; so what is known does not
//! depend on the order of delivery. A day that is strange teaches little.
//!
//! Cold start: after 20 readings and an hour the live score compares with the last readings and
//! the level so far; after the first day with the hour of the day; after the third day there is a
//! verdict on days; from about two weeks on, weekends are told apart where that pays; after a week
//! drift is told.

mod episode;
mod figures;
mod hours;
mod live;
mod reasons;
mod running;
mod scale;
#[cfg(test)]
mod tests;
mod trend;
mod usual;
mod verdict;

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

pub use live::Live;
pub use reasons::{DayPart, MAX_REASONS, Reason, Subject};
pub use trend::{DRIFTS, Drift};
pub use verdict::{Verdict, day_score};

use self::{
    figures::Figures,
    hours::Hours,
    running::Running,
    scale::{DayOfEvidence, Scale},
    trend::Trends,
    verdict::Memory,
};
use crate::{
    chunk::Chunk,
    features::{FeatureSet, Features},
    time::LocalDate,
};

/// Days before the baseline says anything of a day.
pub const MIN_DAYS: u8 = 2;

/// One sensor's memory of its own days; under 1 KiB.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The last day that taught it.
    last: Option<LocalDate>,
    hours: Hours,
    figures: Figures,
    scale: Scale,
    /// The readings up to the end of the last day.
    running: Running,
    memory: Memory,
    trends: Trends,
}

const _: () = assert!(size_of::<Baseline>() <= 1024, "the baseline's budget");

/// Leads a stored baseline. What an older build stored began with 0 or 1, and is learnt anew.
const LAYOUT: u8 = 2;

/// A day as the baseline sees it, before it learns from it.
#[derive(Clone, Debug)]
struct DaySeen {
    hours: hours::ByHour,
    evidence: DayOfEvidence,
    /// The readings up to its end.
    running: Running,
}

impl Baseline {
    /// As it is stored; `None` is not met in practice.
    #[must_use]
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        postcard::to_extend(self, alloc::vec![LAYOUT]).ok()
    }

    /// What [`Self::to_bytes`] gave; `None` if it is that of another build.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&LAYOUT, content) = bytes.split_first()? else { return None };
        postcard::from_bytes(content).ok()
    }

    /// Goes through a day's readings with what was known before it.
    fn see(&self, chunk: &Chunk) -> DaySeen {
        let day = chunk.day();
        let mut running = self.running;
        if self.last.is_some_and(|last| day.date <= last)
            && let Some(first) = chunk.samples().first()
        {
            running = running.restarted(first.value, first.at);
        }
        let mut evidence = DayOfEvidence::default();
        for sample in chunk.samples() {
            let usual = self.hours.usual(day.date, day.wall_hour(sample.at));
            let one = running.add(sample.at, sample.value, usual);
            evidence.add(&one, running.is_repeat(), &self.scale);
        }
        DaySeen { hours: hours::by_hour(chunk), evidence, running }
    }

    /// Judges a closed day by the days before, and learns it unless it or a later one has been
    /// learnt before. Says whether it was learnt.
    pub fn take(&mut self, chunk: &Chunk, features: &Features) -> (Option<Verdict>, bool) {
        let seen = self.see(chunk);
        let deviates = self.deviates(chunk.day().date, &seen, features);
        let verdict = self.verdict(chunk.day().date, &seen, features, &deviates);
        let is_new = self.last.is_none_or(|last| chunk.day().date > last);
        if is_new {
            self.learn(chunk.day().date, seen, features, deviates.weight());
            if let Some(verdict) = &verdict {
                self.memory.learn(chunk.day().date, verdict.deviation);
            }
        }
        let drift = is_new.then(|| self.trends.worst(features.set())).flatten();
        let verdict = verdict.map(|verdict| Verdict { drift, ..verdict });
        (verdict, is_new)
    }

    fn learn(&mut self, date: LocalDate, seen: DaySeen, features: &Features, weight: f32) {
        self.last = Some(date);
        let (spread, least) = (seen.running.day_variance(), seen.running.least());
        self.hours.learn(date, &seen.hours, spread, least, weight);
        self.figures.learn(date, features, weight);
        self.scale.learn(&seen.evidence);
        self.trends.learn(date, features);
        self.running = seen.running;
    }

    /// What feature `index` of `set` is usually for this sensor, on days like `date`.
    #[must_use]
    pub fn usual(&self, set: FeatureSet, date: LocalDate, index: usize) -> Option<f32> {
        let hours = set.hours();
        let usual = match index.checked_sub(hours) {
            Some(figure) => self.figures.usual(date, figure),
            None => self.hours.usual(date, index),
        };
        (usual.days >= f32::from(MIN_DAYS)).then_some(usual.mean)
    }
}
