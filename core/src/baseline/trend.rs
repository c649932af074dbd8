//! Slow drift: figures that move the same way day after day, as a battery's voltage does.
//!
//! A straight line through each tracked figure's last days by least squares, weighted with
//! forgetting. The drift of a figure is the smaller of two ratios, so that it is 1 only when both
//! are: how significant the slope is (its t-statistic over 6), and how far the line has moved (over
//! what matters for that figure). Weather wanders; it does not move in a straight line for two weeks.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::figures::FARTHEST;
use crate::{
    features::{FeatureSet, Features},
    time::LocalDate,
};

/// What a day's weight falls to with each further day: a memory of two weeks.
const FADE: f32 = 0.93;
/// Days before a line is drawn.
const LEAST_DAYS: u8 = 7;
/// The t-statistic at which a slope is taken for one.
const SIGNIFICANT: f32 = 6.0;
/// A level has to move by this many times the spread within a usual day.
const LEVEL_MOVES: f32 = 3.0;
/// A spread or a roughness has to change by this share of what it is.
const SPREAD_MOVES: f32 = 0.5;
/// A share has to change by this much.
const SHARE_MOVES: f32 = 0.25;
/// A scatter below this share of the level is rounding.
const ROUNDING: f32 = 1e-4;
/// A date further away is none.
const MAX_DAYS_AHEAD: f32 = 365.0;
/// A level that is still so far off, in spreads within a usual day, or in shares of itself, is
/// taken for where the sensor ends.
const END_SPREADS: f32 = 6.0;
const END_SHARE: f32 = 0.1;

/// What a tracked figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Level,
    Spread,
    Share,
}

/// The figures of a set that are tracked, by name.
fn tracked(set: FeatureSet) -> &'static [(&'static str, Sort)] {
    use Sort::{Level, Share, Spread};
    match set {
        FeatureSet::Moments1 => &[("daily_mean", Level), ("daily_std", Spread)],
        FeatureSet::Profile1 => &[
            ("mean", Level),
            ("min", Level),
            ("max", Level),
            ("std", Spread),
            ("mean_abs_step", Spread),
            ("repeat_share", Share),
            ("day_coverage", Share),
        ],
    }
}

/// The most figures that are tracked.
const MAX_TRACKED: usize = 7;

/// One figure's weighted sums about its mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Line {
    mean: f32,
    with_time: f32,
    with_itself: f32,
}

/// Lines through the last days, in fixed size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Trends {
    days: u8,
    first: i32,
    last: i32,
    /// Sum of the weights and of their squares.
    weight: f32,
    squares: f32,
    /// The mean day, counted from the last, and the weighted sum of squares about it.
    mean_day: f32,
    time: f32,
    lines: Vec<Line, MAX_TRACKED>,
    /// The usual spread within a day.
    within: f32,
}

/// From here on a drift is worth a warning.
pub const DRIFTS: f32 = 1.0;

/// A figure that drifts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// How sure and how far: a warning from 1 on.
    pub drift: f32,
    /// Its place in the feature set.
    pub feature: u8,
    /// Its slope, in its unit a day.
    pub per_day: f32,
    /// When a level comes to where the sensor is no longer itself, if it goes on: another six
    /// spreads of a usual day, or a tenth of its value where that is more.
    pub ends: Option<LocalDate>,
}

impl Trends {
    /// Takes in a closed day, later than all before.
    #[expect(clippy::cast_precision_loss, reason = "days apart")]
    pub(super) fn learn(&mut self, date: LocalDate, features: &Features) {
        let set = features.set();
        let count = tracked(set).len();
        if self.lines.len() != count {
            *self = Self { first: date.0, last: date.0, ..Self::default() };
            // Cannot fail: no set has more tracked figures than the buffer.
            if self.lines.resize_default(count).is_err() {
                return;
            }
        }
        let passed = date.0.saturating_sub(self.last).max(0) as f32;
        let fade = libm::powf(FADE, passed);
        let weight = self.weight * fade + 1.0;
        self.squares = self.squares * fade * fade + 1.0;
        // Days are counted from the newest.
        let before = self.mean_day - passed;
        let step = -before;
        self.mean_day = before + step / weight;
        let kept = self.weight * fade / weight;
        self.time = self.time * fade + kept * step * step;
        for (line, (name, sort)) in self.lines.iter_mut().zip(tracked(set)) {
            let value = features.named(name).filter(|value| value.abs() <= FARTHEST);
            let Some(value) = value else { continue };
            if self.weight == 0.0 {
                line.mean = value;
            }
            let off = value - line.mean;
            line.mean += off / weight;
            line.with_time = line.with_time * fade + kept * step * off;
            line.with_itself = line.with_itself * fade + kept * off * off;
            if *sort == Sort::Spread && (*name == "std" || *name == "daily_std") {
                let share = if self.days == 0 { 1.0 } else { 0.1 };
                self.within += share * (value - self.within);
            }
        }
        self.weight = weight;
        self.last = date.0;
        self.days = self.days.saturating_add(1);
    }

    /// The figure that drifts most, once enough days are known.
    pub(super) fn worst(&self, set: FeatureSet) -> Option<Drift> {
        if self.days < LEAST_DAYS || self.time <= 0.0 || self.lines.len() != tracked(set).len() {
            return None;
        }
        let drifts = self.lines.iter().zip(tracked(set)).filter_map(|(line, (name, sort))| {
            let place = set.feature_names().iter().position(|known| known == name)?;
            self.drift(line, *sort, u8::try_from(place).ok()?)
        });
        drifts.max_by(|a, b| a.drift.total_cmp(&b.drift))
    }

    #[expect(clippy::cast_precision_loss, reason = "days apart")]
    fn drift(&self, line: &Line, sort: Sort, feature: u8) -> Option<Drift> {
        let slope = line.with_time / self.time;
        let rest = (line.with_itself - slope * line.with_time).max(0.0);
        let rounding = ROUNDING * line.mean;
        let scatter = rest / self.weight + rounding * rounding;
        let known = self.weight * self.weight / self.squares;
        let t = slope.abs() * libm::sqrtf(self.time * (known - 2.0).max(0.1))
            / libm::sqrtf(scatter * self.weight + 1e-30);
        let span = self.last.saturating_sub(self.first) as f32;
        let moved = slope.abs() * span.min(1.0 / (1.0 - FADE));
        let matters = match sort {
            Sort::Level => LEVEL_MOVES * self.within,
            Sort::Spread => SPREAD_MOVES * line.mean.abs(),
            Sort::Share => SHARE_MOVES,
        };
        let drift = (t / SIGNIFICANT).min(moved / (matters + 1e-12));
        let ends = (sort == Sort::Level).then(|| {
            let now = line.mean - slope * self.mean_day;
            let left = (END_SPREADS * self.within).max(END_SHARE * now.abs());
            let days = left / slope.abs();
            #[expect(clippy::cast_possible_truncation, reason = "at most a year")]
            let ahead = (days <= MAX_DAYS_AHEAD).then(|| libm::ceilf(days) as i32);
            ahead.map(|days| LocalDate(self.last).plus_days(days))
        });
        let found = Drift { drift, feature, per_day: slope, ends: ends.flatten() };
        (drift.is_finite() && slope.is_finite()).then_some(found)
    }
}
