//! What is said of a day: how far it is from the sensor's own days.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::{
    Baseline, DaySeen, Drift,
    figures::{Figures, figures},
    reasons::{MAX_REASONS, Reason},
    running::{HOUR, LASTING},
};
use crate::{
    features::{Features, MAX_FEATURES},
    time::LocalDate,
};

/// A spread below this share of the level means nothing.
const LEAST: f32 = 0.01;
/// How many hours and how many other figures make up a day's deviation: the worst few, so that one
/// odd hour counts and many ordinary ones do not drown it.
const WORST_HOURS: usize = 6;
const WORST_FIGURES: usize = 3;
/// Figures that are reasons, but do not count themselves: quantiles say again what the hours say, and
/// staying at one value is judged reading by reading.
const SAID_ELSEWHERE: [&str; 4] = ["q10", "q50", "q90", "repeat_share"];
/// A day that deviates by more than this teaches less.
const STRANGE: f32 = 3.0;
/// Of the deviation that is usual for the sensor, so much is taken off.
const USUAL_SHARE: f32 = 0.6;
/// How fast the usual deviation follows, and by how much at most one day raises it.
const USUAL_RATE: f32 = 0.1;
const USUAL_STEP: f32 = 1.0;
/// What is left of a strange day on the next, and how much of that is added to it: an episode does
/// not end at midnight.
const STAYS: f32 = 0.5;
const CARRIED: f32 = 0.3;
/// Of a day that is stranger than this no more is carried: one huge spike must not make strange
/// days of a week of ordinary ones.
const MOST_CARRIED: f32 = 6.0;
/// A day's deviation over its usual, for each power of ten in rarity.
const DECADE: f32 = 4.4;
/// A novelty beyond this is as rare as the table can tell.
const MOST_NOVEL: f32 = 0.9999;
/// Novelty above 0.9 adds so much of its rarity.
const MODEL_SHARE: f32 = 0.5;
/// What the baseline says of a day.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How far the day is from the sensor's own: about 2 for an ordinary day, 5 and more for one
    /// that is not; no upper bound in principle, a few dozen in practice.
    pub deviation: f32,
    /// The same over what is usual for the sensor, with what the days before left.
    pub excess: f32,
    /// Why: the figures furthest from their usual, the furthest first.
    pub reasons: Vec<Reason, MAX_REASONS>,
    /// The figure that drifts most, once enough days are known.
    pub drift: Option<Drift>,
}

/// What is remembered of the verdicts on the days before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    usual: f32,
    strange: f32,
    last: LocalDate,
    days: u8,
}

impl Default for Memory {
    fn default() -> Self {
        Self { usual: 1.0, strange: 0.0, last: LocalDate(0), days: 0 }
    }
}

impl Memory {
    fn carried(&self, date: LocalDate) -> f32 {
        let passed = date.0.saturating_sub(self.last.0).clamp(1, 30);
        // 1 on the next day.
        let further = (1..passed).fold(1.0, |left, _| left * STAYS);
        CARRIED * self.strange * further
    }

    fn over_usual(&self, deviation: f32) -> f32 {
        deviation - USUAL_SHARE * self.usual
    }

    pub(super) fn learn(&mut self, date: LocalDate, deviation: f32) {
        let over = self.over_usual(deviation);
        let left = self.carried(date) / CARRIED * STAYS;
        self.strange = over.max(left).clamp(0.0, MOST_CARRIED);
        let rate = USUAL_RATE.max(1.0 / (f32::from(self.days) + 5.0));
        self.usual += rate * (deviation.min(self.usual + USUAL_STEP) - self.usual);
        self.days = self.days.saturating_add(1);
        self.last = date;
    }
}

/// How far each feature of a day is from its usual.
pub(super) struct Deviates {
    pub(super) each: [Option<f32>; MAX_FEATURES],
    pub(super) hours_each: [Option<f32>; 24],
    hours: f32,
    figures: f32,
    is_known: bool,
}

impl Deviates {
    /// How much the day may teach.
    pub(super) fn weight(&self) -> f32 {
        let mean = (self.hours + self.figures) / 2.0;
        if mean > STRANGE { (STRANGE / mean) * (STRANGE / mean) } else { 1.0 }
    }
}

impl Baseline {
    pub(super) fn deviates(
        &self,
        date: LocalDate,
        seen: &DaySeen,
        features: &Features,
    ) -> Deviates {
        let mut each = [None; MAX_FEATURES];
        let mut hours_each = [None; 24];
        let mut known_hours = [0.0_f32; 24];
        let places = hours_each.iter_mut().zip(&mut known_hours);
        for ((hour, readings), (each, known)) in seen.hours.iter().enumerate().zip(places) {
            let Some((mean, _)) = *readings else { continue };
            let usual = self.hours.usual(date, hour);
            let least = LEAST * usual.mean.abs() + 1e-9;
            *each = usual.deviate(mean, least);
            *known = each.map_or(0.0, f32::abs);
        }
        let mut known_figures = [0.0_f32; super::figures::MAX_FIGURES];
        let mut is_known = false;
        for (index, (place, value)) in figures(features).enumerate() {
            let usual = self.figures.usual(date, index);
            let least = Figures::least(features, index, usual.mean);
            let Some(deviate) = value.and_then(|value| usual.deviate(value, least)) else {
                continue;
            };
            is_known = true;
            if let (Some(known), Some(each)) = (known_figures.get_mut(index), each.get_mut(place)) {
                let name = features.set().feature_names().get(place).copied().unwrap_or_default();
                *known = if SAID_ELSEWHERE.contains(&name) { 0.0 } else { deviate.abs() };
                *each = Some(deviate);
            }
        }
        let hours = mean_of_largest(&mut known_hours, WORST_HOURS);
        let figures = mean_of_largest(&mut known_figures, WORST_FIGURES);
        Deviates { each, hours_each, hours, figures, is_known }
    }

    /// Combines what the day's figures and its readings say; `None` before enough days are known.
    pub(super) fn verdict(
        &self,
        date: LocalDate,
        seen: &DaySeen,
        features: &Features,
        deviates: &Deviates,
    ) -> Option<Verdict> {
        if !deviates.is_known {
            return None;
        }
        let peaks = self.scale.relative_peaks(&seen.evidence);
        let of_readings = libm::log1pf(peaks[HOUR]) + libm::log1pf(peaks[LASTING]);
        let deviation = deviates.hours / 2.0 + deviates.figures + of_readings;
        let excess = self.memory.over_usual(deviation) + self.memory.carried(date);
        let reasons = self.reasons(date, seen, features, deviates);
        Some(Verdict { deviation, excess, reasons, drift: None })
    }
}

/// The mean of the `count` largest; what is not there counts as ordinary.
fn mean_of_largest(values: &mut [f32], count: usize) -> f32 {
    values.sort_unstable_by(|a, b| b.total_cmp(a));
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let mean = values.iter().take(count).sum::<f32>() / count as f32;
    mean
}

/// The score of a day, 0 to 1, from what the sensor's own days say and from its novelty among the
/// fleet's; `None` where neither is known. Own days lead: what is common in the fleet may be
/// strange for this sensor. A novelty above 0.9 adds to it.
#[must_use]
pub fn day_score(verdict: Option<&Verdict>, novelty: Option<f32>) -> Option<f32> {
    let novel = novelty.map(|novelty| -libm::log10f(1.0 - novelty.clamp(0.0, MOST_NOVEL)));
    let own = verdict.map(|verdict| ((verdict.excess + USUAL_SHARE) / DECADE).max(0.0));
    let rarity = match (own, novel) {
        (Some(own), Some(novel)) => own + MODEL_SHARE * (novel - 1.0).max(0.0),
        (Some(own), None) => own,
        (None, Some(novel)) => novel,
        (None, None) => return None,
    };
    Some(super::episode::score(rarity))
}
