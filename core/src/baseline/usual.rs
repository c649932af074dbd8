//! Mean and variance with forgetting, on working days and on weekends.

use serde::{Deserialize, Serialize};

use crate::time::LocalDate;

/// Working days or weekend: the two kinds of day that most sites live by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Monday to Friday.
    Working,
    /// Saturday and Sunday.
    Weekend,
}

impl Kind {
    /// Of a date; they are counted from 1970-01-01, a Thursday.
    pub(super) fn of(date: LocalDate) -> Self {
        if (i64::from(date.0) + 3).rem_euclid(7) >= 5 { Self::Weekend } else { Self::Working }
    }
}

/// One of something for each kind of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ByKind<T> {
    working: T,
    weekend: T,
}

impl<T> ByKind<T> {
    pub(super) fn of(&self, kind: Kind) -> &T {
        match kind {
            Kind::Working => &self.working,
            Kind::Weekend => &self.weekend,
        }
    }

    pub(super) fn of_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Working => &mut self.working,
            Kind::Weekend => &mut self.weekend,
        }
    }
}

/// Days of each kind that a memory reaches back: its weights fade with this time constant.
pub(super) const MEMORY_DAYS: u8 = 20;
/// Of a past with both kinds of day, so many of each count: as many as there are in three weeks.
const WORKING_DAYS: f32 = 15.0;
const WEEKEND_DAYS: f32 = 6.0;
/// From this many days on a step is cut, so that one day does not decide.
const CUT_FROM: u8 = 3;

/// Mean and variance of one figure over the days of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Moments {
    pub(super) mean: f32,
    pub(super) variance: f32,
}

impl Moments {
    /// Takes in a day's `value`, and the variance of the readings around it, when `days` have been
    /// seen. From the fourth day on the step is cut at `most`, and weighs `weight` of what it does.
    pub(super) fn learn(&mut self, value: f32, within: f32, days: u8, most: f32, weight: f32) {
        if days == 0 {
            *self = Self { mean: value, variance: within };
            return;
        }
        let mut share = (1.0 / (f32::from(days) + 1.0)).max(1.0 / f32::from(MEMORY_DAYS));
        let mut step = value - self.mean;
        if days >= CUT_FROM {
            share *= weight;
            step = step.clamp(-most, most);
        }
        self.mean += share * step;
        self.variance = (1.0 - share) * (self.variance + share * step * step) + share * within;
    }
}

/// What a figure usually is, and of how many days that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usual {
    /// The mean.
    pub(crate) mean: f32,
    /// The variance around it.
    pub(crate) variance: f32,
    /// Days known, at most a few weeks' worth.
    pub(crate) days: f32,
}

impl Usual {
    /// Of both kinds of day together.
    pub(super) fn pooled(both: &ByKind<Moments>, days: &ByKind<u8>) -> Self {
        let a = f32::from(days.working).min(WORKING_DAYS);
        let b = f32::from(days.weekend).min(WEEKEND_DAYS);
        let known = a + b;
        if known <= 0.0 {
            return Self::default();
        }
        let ByKind { working, weekend } = both;
        let apart = working.mean - weekend.mean;
        let between = a * b / (known * known) * apart * apart;
        Self {
            mean: (a * working.mean + b * weekend.mean) / known,
            variance: (a * working.variance + b * weekend.variance) / known + between,
            days: known,
        }
    }

    /// Of one kind alone.
    pub(super) fn of_kind(moments: Moments, days: u8) -> Self {
        Self { mean: moments.mean, variance: moments.variance, days: f32::from(days) }
    }

    /// How far a new day's `value` lies from the usual, on the scale of a normal deviate: the
    /// t-statistic of a new draw, brought to that scale (Wallace's transformation). Few days know
    /// their spread badly, and no memory knows its tails: at most 4 degrees of freedom are taken.
    /// `least` is a spread that means nothing. Signed; `None` before the third day.
    pub(super) fn deviate(&self, value: f32, least: f32) -> Option<f32> {
        if self.days < f32::from(super::MIN_DAYS) {
            return None;
        }
        let unbiased = self.variance * self.days / (self.days - 1.0) * (1.0 + 1.0 / self.days);
        let t = (value - self.mean) / libm::sqrtf(unbiased + least * least);
        let freedom = (self.days - 1.0).min(4.0);
        let deviate = libm::sqrtf(freedom * libm::log1pf(t * t / freedom));
        t.is_finite().then_some(libm::copysignf(deviate, t))
    }
}

/// Whether telling the kinds of day apart pays: the mean error of both ways of expecting a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Contest {
    pooled: f32,
    by_kind: f32,
    /// Comparisons, saturating.
    seen: u8,
}

/// By kind has to be this much better: it knows each of its days from fewer.
const PAYS: f32 = 0.85;
/// An error beyond this many deviations counts as this many.
const WORST_ERROR: f32 = 5.0;

impl Contest {
    /// Compares both ways by a new day, in deviations, with a memory of `reach` comparisons.
    pub(super) fn learn(&mut self, pooled: f32, by_kind: f32, reach: u8) {
        let share = (1.0 / (f32::from(self.seen) + 2.0)).max(1.0 / f32::from(reach));
        self.pooled += share * (pooled.abs().min(WORST_ERROR) - self.pooled);
        self.by_kind += share * (by_kind.abs().min(WORST_ERROR) - self.by_kind);
        self.seen = self.seen.saturating_add(1);
    }

    /// Whether days are expected by their kind, after at least `least` comparisons.
    pub(super) fn is_by_kind(&self, least: u8) -> bool {
        self.seen >= least && self.by_kind < PAYS * self.pooled
    }
}
