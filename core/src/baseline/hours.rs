//! What the readings usually are in each hour of the site's wall clock.

use serde::{Deserialize, Serialize};

use super::{
    figures::FARTHEST,
    usual::{ByKind, Contest, Kind, MEMORY_DAYS, Moments, Usual},
};
use crate::{chunk::Chunk, time::LocalDate};

/// Comparisons after which the kinds of day may be told apart: one for each hour of a day.
const LEAST_COMPARED: u8 = 24;
/// Comparisons that are remembered: a week's.
const COMPARED: u8 = 168;
/// An hour's step is cut at this many deviations.
const CUT: f32 = 3.0;
/// What an hour of few days or of a quiet sensor borrows of the spread of whole days, as a share
/// of their variance.
pub(super) const BORROWED: f32 = 0.1;

/// Mean and variance of the readings by hour and kind of day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Hours {
    hours: [Hour; 24],
    contest: Contest,
}

/// One hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Hour {
    moments: ByKind<Moments>,
    days: ByKind<u8>,
}

/// A day's readings by the hour: mean and variance within, where there are any.
pub(super) type ByHour = [Option<(f32, f32)>; 24];

/// Sums the readings of a day by the hour.
#[expect(clippy::cast_possible_truncation, reason = "the memory is kept in f32")]
pub(super) fn by_hour(chunk: &Chunk) -> ByHour {
    let mut sums = [(0.0_f64, 0.0_f64, 0.0_f64); 24];
    for sample in chunk.samples() {
        if let Some((count, mean, squares)) = sums.get_mut(chunk.day().wall_hour(sample.at)) {
            // Welford's: a large level takes nothing from the spread.
            *count += 1.0;
            let step = sample.value - *mean;
            *mean += step / *count;
            *squares += step * (sample.value - *mean);
        }
    }
    sums.map(|(count, mean, squares)| {
        let (mean, within) = (mean as f32, (squares / count) as f32);
        let is_sound = mean.abs() <= FARTHEST && within.is_finite() && count > 0.0;
        is_sound.then_some((mean, within))
    })
}

impl Hours {
    /// What is usual in that hour of that date.
    pub(super) fn usual(&self, date: LocalDate, hour: usize) -> Usual {
        let Some(known) = self.hours.get(hour) else { return Usual::default() };
        let kind = Kind::of(date);
        let (moments, days) = (*known.moments.of(kind), *known.days.of(kind));
        if days >= super::MIN_DAYS && self.contest.is_by_kind(LEAST_COMPARED) {
            return Usual::of_kind(moments, days);
        }
        Usual::pooled(&known.moments, &known.days)
    }

    /// Learns a day. `spread` is the variance of whole days, `least` a spread that means nothing,
    /// and the day weighs `weight`.
    pub(super) fn learn(
        &mut self,
        date: LocalDate,
        day: &ByHour,
        spread: f32,
        least: f32,
        weight: f32,
    ) {
        let kind = Kind::of(date);
        for (known, readings) in self.hours.iter_mut().zip(day) {
            let Some((mean, within)) = *readings else { continue };
            let pooled = Usual::pooled(&known.moments, &known.days);
            let (days, moments) = (*known.days.of(kind), *known.moments.of(kind));
            if days > 0 {
                let scale = libm::sqrtf(pooled.variance + BORROWED / 2.0 * spread) + least;
                let error = |usual: f32| (mean - usual) / scale;
                self.contest.learn(error(pooled.mean), error(moments.mean), COMPARED);
            }
            let most = CUT * libm::sqrtf(moments.variance + BORROWED * spread) + least;
            known.moments.of_mut(kind).learn(mean, within, days, most, weight);
            *known.days.of_mut(kind) = days.saturating_add(1).min(MEMORY_DAYS);
        }
    }
}
