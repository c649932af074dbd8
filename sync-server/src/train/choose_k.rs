//! How many clusters a family gets when nobody says: the best silhouette between 2 and 8.
//!
//! The silhouette of a day compares its mean distance to the days of its own cluster with that
//! to the nearest other cluster: 1 is well inside, 0 on the border. It needs all pairs, so it is
//! taken on a bounded sample. Of equals the smaller k wins. A family too small for two clusters
//! of a few days each gets one.

use super::{
    fit::{self, FitError},
    lloyd::Rest,
    points::{Point, Points},
};

/// The most clusters that are tried: more kinds of day than people can tell apart by name.
const MAX_K: usize = 8;
/// Fewer days than this are no kind of day.
pub(crate) const MIN_DAYS_PER_CLUSTER: usize = 5;
/// Days that the choice is made on: 7 candidates times a million pairs take a second or so.
const SAMPLE: usize = 1_000;
/// Starts per candidate; the chosen k is then fitted with all of them.
const RESTARTS: usize = 8;

/// The number of clusters for `points`, at least 1.
pub(crate) fn choose(points: &Points, seed: u64) -> Result<usize, FitError> {
    let sample = points.select(&fit::sample(points.len(), SAMPLE, seed));
    let most = MAX_K.min(sample.len() / MIN_DAYS_PER_CLUSTER);
    let mut best = (1, f64::NEG_INFINITY);
    for k in 2..=most {
        let rest = fit::fresh(&sample, k, RESTARTS, seed)?;
        if let Some(silhouette) = mean_silhouette(&sample, &rest)
            && silhouette > best.1
        {
            best = (rest.sizes.len(), silhouette);
        }
    }
    Ok(best.0)
}

/// The mean silhouette of a fit, on a bounded sample of its points; `None` with one cluster.
pub(crate) fn silhouette(points: &Points, rest: &Rest, seed: u64) -> Option<f64> {
    let places = fit::sample(points.len(), SAMPLE, seed);
    let assignment = places.iter().filter_map(|&place| rest.assignment.get(place).copied());
    let sampled = Rest { assignment: assignment.collect(), ..rest.clone() };
    mean_silhouette(&points.select(&places), &sampled)
}

fn mean_silhouette(points: &Points, rest: &Rest) -> Option<f64> {
    let k = rest.sizes.len();
    let all: Vec<(Point<'_>, usize)> = points.iter().zip(rest.assignment.iter().copied()).collect();
    let mut present = vec![false; k];
    for &(_, cluster) in &all {
        if let Some(present) = present.get_mut(cluster) {
            *present = true;
        }
    }
    if present.iter().filter(|present| **present).count() < 2 {
        return None;
    }
    let sum: f64 = all.iter().enumerate().map(|(i, day)| one(i, day, &all, k)).sum();
    #[expect(clippy::cast_precision_loss, reason = "at most SAMPLE")]
    let mean = sum / all.len() as f64;
    mean.is_finite().then_some(mean)
}

/// The silhouette of one point; 0 for one alone in its cluster.
fn one(index: usize, day: &(Point<'_>, usize), all: &[(Point<'_>, usize)], k: usize) -> f64 {
    let mut sums = vec![(0.0_f64, 0.0_f64); k];
    for (other_index, (other, cluster)) in all.iter().enumerate() {
        if other_index == index {
            continue;
        }
        if let (Some(squared), Some((count, sum))) =
            (day.0.squared_distance_to(other), sums.get_mut(*cluster))
        {
            *count += 1.0;
            *sum += squared.sqrt();
        }
    }
    let mean = |(count, sum): &(f64, f64)| (*count > 0.0).then(|| sum / count);
    let own = sums.get(day.1).and_then(mean);
    let others = sums.iter().enumerate().filter(|(cluster, _)| *cluster != day.1);
    let nearest = others.filter_map(|(_, sums)| mean(sums)).min_by(f64::total_cmp);
    match (own, nearest) {
        (Some(own), Some(nearest)) if own.max(nearest) > 0.0 => (nearest - own) / own.max(nearest),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use daywise_core::features::{FeatureSet, Features};

    use super::*;

    fn blobs(kinds: u16, each: u16) -> Points {
        let day = |i: u16| {
            let wobble = f32::from(i / kinds) * 0.01;
            let level = f32::from(i % kinds) * 10.0 + wobble;
            Features::new(FeatureSet::Moments1, [Some(level), Some(wobble)]).unwrap()
        };
        let days: Vec<Features> = (0..kinds * each).map(day).collect();
        Points::new(&days, daywise_core::model::Scaling::None, &[1.0, 1.0])
    }

    #[test]
    fn as_many_clusters_are_chosen_as_there_are_kinds_of_day() {
        for kinds in [2_u16, 3, 5] {
            assert_eq!(choose(&blobs(kinds, 30), 1).unwrap(), usize::from(kinds));
        }
    }

    #[test]
    fn a_handful_of_days_is_one_kind() {
        assert_eq!(choose(&blobs(3, 3), 1).unwrap(), 1);
    }

    #[test]
    fn well_separated_kinds_have_a_silhouette_near_one() {
        let points = blobs(3, 20);
        let rest = fit::fresh(&points, 3, 4, 1).unwrap();
        assert!(silhouette(&points, &rest, 1).unwrap() > 0.95);
        let one = fit::fresh(&points, 1, 1, 1).unwrap();
        assert_eq!(silhouette(&points, &one, 1), None);
    }
}
