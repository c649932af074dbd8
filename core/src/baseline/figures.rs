//! What the day's figures beside its hours usually are: level, spread, roughness, completeness.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::usual::{ByKind, Contest, Kind, MEMORY_DAYS, Moments, Usual};
use crate::{features::Features, time::LocalDate};

/// The most figures that any set has beside its hours.
pub(super) const MAX_FIGURES: usize = 12;
/// Days after which the kinds of day may be told apart.
const LEAST_COMPARED: u8 = 3;
/// A figure's step is cut at this many deviations.
const CUT: f32 = 4.0;
/// A spread below this share of the level means nothing.
const LEAST: f32 = 0.01;

/// What is larger is no measurement, and its square has no place to be kept.
pub(super) const FARTHEST: f32 = 1e17;

/// Mean and variance of each figure by kind of day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    moments: Vec<ByKind<Moments>, MAX_FIGURES>,
    days: ByKind<u8>,
    contest: Contest,
}

/// The figures of a set: all features but its hours, with their places.
pub(super) fn figures(features: &Features) -> impl Iterator<Item = (usize, Option<f32>)> + '_ {
    let sound = |value: &f32| value.abs() <= FARTHEST;
    let values = features.iter().map(move |value| value.filter(sound));
    values.enumerate().skip(features.set().hours())
}

impl Figures {
    /// What is usual for the figure in place `index`, on that date.
    pub(super) fn usual(&self, date: LocalDate, index: usize) -> Usual {
        let Some(both) = self.moments.get(index) else { return Usual::default() };
        let kind = Kind::of(date);
        let days = *self.days.of(kind);
        if days >= super::MIN_DAYS && self.contest.is_by_kind(LEAST_COMPARED) {
            return Usual::of_kind(*both.of(kind), days);
        }
        Usual::pooled(both, &self.days)
    }

    /// A spread of the figure in place `index` that means nothing, given its usual level.
    pub(super) fn least(features: &Features, index: usize, mean: f32) -> f32 {
        let set = features.set();
        (LEAST * mean.abs() + 1e-9).max(set.least_spread(index + set.hours()))
    }

    /// Learns a day that weighs `weight`.
    pub(super) fn learn(&mut self, date: LocalDate, features: &Features, weight: f32) {
        let count = features.len() - features.set().hours();
        // A change of the feature set starts afresh.
        if self.moments.len() != count {
            *self = Self::default();
            // Cannot fail: no set has more figures than the buffer.
            if self.moments.resize_default(count).is_err() {
                return;
            }
        }
        self.compare(date, features);
        let kind = Kind::of(date);
        let days = *self.days.of(kind);
        for (index, (both, (_, value))) in
            self.moments.iter_mut().zip(figures(features)).enumerate()
        {
            let Some(value) = value else { continue };
            let moments = both.of_mut(kind);
            let least = Self::least(features, index, moments.mean);
            let widened = moments.variance * (1.0 + 2.0 / f32::from(days.max(1)));
            let most = CUT * libm::sqrtf(widened + least * least);
            moments.learn(value, 0.0, days, most, weight);
        }
        *self.days.of_mut(kind) = days.saturating_add(1).min(MEMORY_DAYS);
    }

    /// Finds out whether the kinds of day differ.
    fn compare(&mut self, date: LocalDate, features: &Features) {
        let kind = Kind::of(date);
        if *self.days.of(kind) < super::MIN_DAYS {
            return;
        }
        let (mut pooled, mut by_kind, mut count) = (0.0, 0.0, 0.0_f32);
        for (index, (both, (_, value))) in self.moments.iter().zip(figures(features)).enumerate() {
            let Some(value) = value else { continue };
            let usual = Usual::pooled(both, &self.days);
            let least = Self::least(features, index, usual.mean);
            let scale = libm::sqrtf(usual.variance + least * least);
            pooled += ((value - usual.mean) / scale).abs().min(5.0);
            by_kind += ((value - both.of(kind).mean) / scale).abs().min(5.0);
            count += 1.0;
        }
        if count > 0.0 {
            self.contest.learn(pooled / count, by_kind / count, MEMORY_DAYS);
        }
    }
}
