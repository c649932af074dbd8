//! Fits the centroids of one family: linfa finds the basin, exact iterations its bottom.
//!
//! A first fit draws many k-means++ starts, because local minima are real: on the reference
//! data the four next best are 12 to 18 % worse. A continued fit starts from the parent's
//! centroids and nothing else, so clusters keep their identity. The same seed and the same days
//! in the same order give the same centroids.

use linfa::{DatasetBase, traits::Fit as _};
use linfa_clustering::{KMeans, KMeansError, KMeansInit, KMeansParamsError};
use ndarray::Array2;
use rand_xoshiro::{
    Xoshiro256Plus,
    rand_core::{RngCore as _, SeedableRng as _},
};

use super::{
    lloyd::{self, Rest},
    points::Points,
};

/// Starts of a first fit.
pub(crate) const RESTARTS: usize = 24;
/// Points that the starts are tried on; the best is then settled on all. Enough for centroids
/// that are right to a per mille, few enough that 24 starts take seconds.
const START_SAMPLE: usize = 20_000;
/// How far the centroids may still move when linfa stops, in scaled units.
const TOLERANCE: f64 = 1e-6;
const MAX_ITERATIONS: u64 = 300;

/// Why there is no fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// There is nothing to fit to.
    #[error("no sensor-days")]
    Empty,
    /// The library refused.
    #[error("k-means failed")]
    KMeans(#[source] KMeansError),
    /// Values so far apart that their squares overflow.
    #[error("the fit came to numbers that are not finite")]
    NotFinite,
}

impl From<KMeansParamsError> for FitError {
    fn from(error: KMeansParamsError) -> Self {
        Self::KMeans(error.into())
    }
}

/// A first fit with at most `k` clusters: fewer if there are fewer different points, or if a
/// cluster came out empty.
pub(crate) fn fresh(
    points: &Points,
    k: usize,
    restarts: usize,
    seed: u64,
) -> Result<Rest, FitError> {
    let k = k.min(points.distinct(k));
    if k == 0 {
        return Err(FitError::Empty);
    }
    let sample = sample(points.len(), START_SAMPLE, seed);
    let starts = points.select(&sample);
    let filled = filled(&starts, &starts.column_means(), None)?;
    let start = run(filled, k, KMeansInit::KMeansPlusPlus, restarts, seed)?;
    let mut rest = lloyd::settle(points, start);
    if rest.sizes.contains(&0) {
        let kept = rest.centroids.chunks_exact(points.dimensions()).zip(&rest.sizes);
        let kept = kept.filter(|(_, size)| **size > 0).flat_map(|(c, _)| c.iter().copied());
        rest = lloyd::settle(points, kept.collect());
    }
    finite(rest)
}

/// A fit that starts from `centroids`; each keeps its place.
pub(crate) fn continued(points: &Points, centroids: &[f64], seed: u64) -> Result<Rest, FitError> {
    let dimensions = points.dimensions().max(1);
    let k = centroids.len() / dimensions;
    if k == 0 || points.len() == 0 {
        return Err(FitError::Empty);
    }
    let exact = || finite(lloyd::settle(points, centroids.to_vec()));
    let precomputed = Array2::from_shape_vec((k, dimensions), centroids.to_vec());
    let Ok(precomputed) = precomputed else { return exact() };
    let filled = filled(points, &[], Some(centroids))?;
    let near = run(filled, k, KMeansInit::Precomputed(precomputed), 1, seed)?;
    let mut rest = lloyd::settle(points, near);
    // What counts as the first iteration is the one with the parent's own centroids.
    rest.first_inertia = points.iter().map(|point| point.nearest(centroids).1).sum();
    // With gaps, filled-in values may have led the library astray; the exact way never rises.
    if rest.inertia <= rest.first_inertia { finite(rest) } else { exact() }
}

fn run(
    filled: Array2<f64>,
    k: usize,
    init: KMeansInit<f64>,
    runs: usize,
    seed: u64,
) -> Result<Vec<f64>, FitError> {
    let model = KMeans::params_with_rng(k, Xoshiro256Plus::seed_from_u64(seed))
        .n_runs(runs)
        .tolerance(TOLERANCE)
        .max_n_iterations(MAX_ITERATIONS)
        .init_method(init)
        .fit(&DatasetBase::from(filled))
        .map_err(FitError::KMeans)?;
    Ok(model.centroids().iter().copied().collect())
}

/// The points as the library wants them, without gaps: a gap takes the coordinate of the
/// nearest of `centroids` or, at a first fit, the mean of its column.
fn filled(
    points: &Points,
    means: &[f64],
    centroids: Option<&[f64]>,
) -> Result<Array2<f64>, FitError> {
    let dimensions = points.dimensions();
    let mut values = Vec::with_capacity(points.len() * dimensions);
    for point in points.iter() {
        let nearest = centroids.and_then(|centroids| {
            let start = point.nearest(centroids).0 * dimensions;
            centroids.get(start..start + dimensions)
        });
        let filler = nearest.unwrap_or(means);
        values.extend(
            point.coordinates().zip(filler).map(|(value, &filler)| value.unwrap_or(filler)),
        );
    }
    // The library does not look for NaN and panics on it.
    if values.iter().any(|value| !value.is_finite()) {
        return Err(FitError::NotFinite);
    }
    Array2::from_shape_vec((points.len(), dimensions), values).map_err(|_| FitError::NotFinite)
}

fn finite(rest: Rest) -> Result<Rest, FitError> {
    let finite = rest.inertia.is_finite() && rest.centroids.iter().all(|value| value.is_finite());
    if finite { Ok(rest) } else { Err(FitError::NotFinite) }
}

/// At most `limit` of the places `0..count`, drawn without repeats, ascending.
pub(crate) fn sample(count: usize, limit: usize, seed: u64) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    if count > limit {
        let mut rng = Xoshiro256Plus::seed_from_u64(seed);
        for drawn in 0..limit {
            let left = u64::try_from(count - drawn).unwrap_or(1);
            let step = usize::try_from(rng.next_u64() % left).unwrap_or(0);
            places.swap(drawn, drawn + step);
        }
        places.truncate(limit);
        places.sort_unstable();
    }
    places
}

#[cfg(test)]
mod tests {
    use daywise_core::features::{FeatureSet, Features};
    use proptest::prelude::*;

    use super::*;

    fn points(days: &[(f32, f32)]) -> Points {
        let days: Vec<Features> = days
            .iter()
            .map(|&(a, b)| Features::new(FeatureSet::Moments1, [Some(a), Some(b)]).unwrap())
            .collect();
        Points::new(&days, daywise_core::model::Scaling::None, &[1.0, 1.0])
    }

    #[test]
    fn separate_kinds_of_day_are_found() {
        let days: Vec<(f32, f32)> = (0..60_u8)
            .map(|i| (f32::from(i % 3) * 100.0 + f32::from(i) * 0.01, f32::from(i % 2)))
            .collect();
        let rest = fresh(&points(&days), 3, RESTARTS, 7).unwrap();
        assert_eq!(rest.sizes, [20, 20, 20]);
    }

    #[test]
    fn more_clusters_than_different_days_gives_as_many_as_there_are() {
        let rest = fresh(&points(&[(1.0, 1.0), (1.0, 1.0), (2.0, 2.0)]), 8, RESTARTS, 1).unwrap();
        assert_eq!(rest.sizes.len(), 2);
        assert_eq!(rest.inertia, 0.0);
        assert!(matches!(fresh(&points(&[]), 3, 1, 1), Err(FitError::Empty)));
    }

    #[test]
    fn values_too_large_to_square_are_an_error_not_a_panic() {
        let huge = points(&[(f32::MAX, f32::MIN), (f32::MIN, f32::MAX), (0.0, 0.0)]);
        let rest = fresh(&huge, 2, 4, 1).unwrap();
        assert!(rest.inertia.is_finite(), "f64 holds the square of any f32");
    }

    #[test]
    fn samples_are_distinct_and_reproducible() {
        let drawn = sample(1000, 100, 5);
        assert_eq!(drawn.len(), 100);
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(drawn, sample(1000, 100, 5));
        assert_ne!(drawn, sample(1000, 100, 6));
        assert_eq!(sample(3, 100, 5), [0, 1, 2]);
    }

    proptest! {
        #[test]
        fn a_continued_fit_starts_from_the_parent_and_never_ends_worse(
            days in prop::collection::vec((-8_i8..9, 0_i8..4), 2..50),
            start in prop::collection::vec(-9.0_f64..9.0, 6),
        ) {
            let days: Vec<(f32, f32)> =
                days.iter().map(|&(a, b)| (f32::from(a), f32::from(b))).collect();
            let points = points(&days);
            let of_parent: f64 = points.iter().map(|point| point.nearest(&start).1).sum();
            let rest = continued(&points, &start, 1).unwrap();
            prop_assert_eq!(rest.first_inertia, of_parent);
            prop_assert!(rest.inertia <= of_parent);
            prop_assert_eq!(rest.sizes.len(), 3);
        }

        #[test]
        fn the_same_seed_gives_the_same_fit(
            days in prop::collection::vec((-8_i8..9, 0_i8..4), 1..40), seed in 0_u64..5
        ) {
            let days: Vec<(f32, f32)> =
                days.iter().map(|&(a, b)| (f32::from(a), f32::from(b))).collect();
            let points = points(&days);
            let (a, b) = (fresh(&points, 3, 4, seed).unwrap(), fresh(&points, 3, 4, seed).unwrap());
            prop_assert_eq!(a.centroids, b.centroids);
        }
    }
}
