//! From a distance to a novelty: the training distances' quantiles, finest in the tail.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// Quantiles held: 0.00 to 0.98 by 0.01, 0.990 to 0.999 by 0.001, and 1.
const KNOTS: usize = 99 + 10 + 1;

/// The distances of a family's training sensor-days to their centroid, as quantiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NoveltyTable {
    /// `KNOTS` distances, ascending.
    knots: Vec<f32>,
}

/// The share below knot `index`.
fn level(index: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most KNOTS")]
    let place = index as f64;
    match index {
        0..=98 => place / 100.0,
        99..=108 => 0.99 + (place - 99.0) / 1000.0,
        _ => 1.0,
    }
}

impl NoveltyTable {
    /// Builds the table from training distances, in any order; values that are not finite are
    /// left out. Without any distance, every novelty is 1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "ranks lie between 0 and the number of distances; knots are kept in f32"
    )]
    pub fn from_distances(distances: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = distances.into_iter().filter(|d| d.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let knot = |index| {
            let rank = level(index) * last as f64;
            let below = libm::floor(rank) as usize;
            let at = |place: usize| sorted.get(place.min(last)).copied().unwrap_or(0.0);
            (at(below) + (at(below + 1) - at(below)) * (rank - below as f64)) as f32
        };
        Self { knots: (0..KNOTS).map(knot).collect() }
    }

    /// The share of training sensor-days that lie closer to their centroid, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a share fits f32")]
    pub fn novelty(&self, distance: f64) -> f32 {
        let above = self.knots.partition_point(|&knot| f64::from(knot) < distance);
        if above == 0 {
            return 0.0;
        }
        let (Some(&low), Some(&high)) = (self.knots.get(above - 1), self.knots.get(above)) else {
            return 1.0;
        };
        let (low, high) = (f64::from(low), f64::from(high));
        let fraction = if high > low { (distance - low) / (high - low) } else { 0.0 };
        (level(above - 1) + (level(above) - level(above - 1)) * fraction) as f32
    }

    /// The distance at which novelty reaches 0.99.
    #[must_use]
    pub fn p99(&self) -> f32 {
        self.knots.get(99).copied().unwrap_or(0.0)
    }

    pub(super) fn is_sound(&self) -> bool {
        self.knots.len() == KNOTS
            && self.knots.iter().all(|knot| knot.is_finite() && *knot >= 0.0)
            && self.knots.is_sorted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn novelty_is_the_share_that_lies_closer() {
        let table = NoveltyTable::from_distances((0..=1000).map(f64::from));
        assert!(table.is_sound());
        assert_eq!(table.novelty(0.0), 0.0);
        assert_eq!(table.novelty(500.0), 0.5);
        assert!((table.novelty(995.5) - 0.9955).abs() < 1e-6);
        assert_eq!(table.novelty(1000.5), 1.0);
        assert_eq!(table.p99(), 990.0);
    }

    #[test]
    fn a_constant_family_finds_any_other_day_new() {
        let table = NoveltyTable::from_distances([2.0; 10]);
        assert_eq!(table.novelty(1.9), 0.0);
        assert_eq!(table.novelty(2.1), 1.0);
    }
}
