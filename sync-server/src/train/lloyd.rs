//! Exact Lloyd iterations until no sensor-day changes its cluster.
//!
//! This is the last word on every fit. The library's own loop counts the old centroid as one
//! more point of its cluster and knows no gaps; it gets near the minimum quickly, and this loop
//! then reaches it, in the same distance that prediction uses. An empty cluster stays where it
//! is.

use super::points::Points;

/// Iterations before a fit is taken as it is. Each lowers the inertia, so it is usable anyway.
const MAX_ITERATIONS: usize = 300;

/// Where the iterations came to rest.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    /// In scaled units, one centroid after another.
    pub(crate) centroids: Vec<f64>,
    /// Sum of the squared distances to the nearest centroid.
    pub(crate) inertia: f64,
    /// The same with the centroids it started from.
    pub(crate) first_inertia: f64,
    pub(crate) iterations: usize,
    /// Points of each cluster.
    pub(crate) sizes: Vec<u64>,
    /// The cluster of each point.
    pub(crate) assignment: Vec<usize>,
}

/// Moves `centroids` to where each is the mean of the points nearest to it.
pub(crate) fn settle(points: &Points, mut centroids: Vec<f64>) -> Rest {
    let k = centroids.len() / points.dimensions().max(1);
    let mut assignment = vec![usize::MAX; points.len()];
    let mut first_inertia = None;
    let mut iterations = 0;
    loop {
        let (inertia, changed) = assign(points, &centroids, &mut assignment);
        let first_inertia = *first_inertia.get_or_insert(inertia);
        iterations += 1;
        if !changed || iterations >= MAX_ITERATIONS {
            let sizes = sizes(&assignment, k);
            return Rest { centroids, inertia, first_inertia, iterations, sizes, assignment };
        }
        centroids = means(points, &assignment, centroids);
    }
}

/// Puts each point to its nearest centroid; returns the inertia and whether any point moved.
fn assign(points: &Points, centroids: &[f64], assignment: &mut [usize]) -> (f64, bool) {
    let (mut inertia, mut changed) = (0.0, false);
    for (point, cluster) in points.iter().zip(assignment) {
        let (nearest, squared) = point.nearest(centroids);
        inertia += squared;
        changed |= nearest != *cluster;
        *cluster = nearest;
    }
    (inertia, changed)
}

/// The weighted mean of each cluster's observed coordinates; a coordinate that no member has,
/// and so a cluster without members, keeps the old value.
fn means(points: &Points, assignment: &[usize], old: Vec<f64>) -> Vec<f64> {
    let dimensions = points.dimensions();
    let mut sums = vec![(0.0, 0.0); old.len()];
    for (point, &cluster) in points.iter().zip(assignment) {
        let start = cluster * dimensions;
        let Some(sums) = sums.get_mut(start..start + dimensions) else { continue };
        for ((weights, sum), value) in sums.iter_mut().zip(point.coordinates()) {
            if let Some(value) = value {
                *weights += point.weight();
                *sum += point.weight() * value;
            }
        }
    }
    let mean = |((weights, sum), old): ((f64, f64), f64)| {
        if weights > 0.0 { sum / weights } else { old }
    };
    sums.into_iter().zip(old).map(mean).collect()
}

fn sizes(assignment: &[usize], k: usize) -> Vec<u64> {
    let mut sizes = vec![0; k];
    for &cluster in assignment {
        if let Some(size) = sizes.get_mut(cluster) {
            *size += 1;
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use daywise_core::features::{FeatureSet, Features};
    use proptest::prelude::*;

    use super::*;

    fn points(days: &[[Option<f32>; 2]]) -> Points {
        let days: Vec<Features> =
            days.iter().map(|day| Features::new(FeatureSet::Moments1, *day).unwrap()).collect();
        Points::new(&days, daywise_core::model::Scaling::None, &[1.0, 1.0])
    }

    #[test]
    fn each_centroid_comes_to_rest_on_the_mean_of_its_days() {
        let day = |a: f32, b: f32| [Some(a), Some(b)];
        let points = points(&[day(0.0, 0.0), day(2.0, 0.0), day(10.0, 4.0), day(12.0, 4.0)]);
        let rest = settle(&points, vec![0.0, 0.0, 12.0, 4.0]);
        assert_eq!(rest.centroids, [1.0, 0.0, 11.0, 4.0]);
        assert_eq!(rest.inertia, 4.0);
        assert_eq!(rest.first_inertia, 8.0);
        assert_eq!(rest.sizes, [2, 2]);
    }

    #[test]
    fn an_empty_cluster_stays_where_it_is() {
        let points = points(&[[Some(0.0), Some(0.0)], [Some(1.0), None]]);
        let rest = settle(&points, vec![0.5, 0.0, 900.0, 900.0]);
        assert_eq!(rest.sizes, [2, 0]);
        assert_eq!(rest.centroids[2..], [900.0, 900.0]);
    }

    fn a_day() -> impl Strategy<Value = [Option<f32>; 2]> {
        // Few distinct values, so that ties and repeats are common.
        let value = || prop::option::weighted(0.8, (-4_i8..5).prop_map(f32::from));
        [value(), value()].prop_filter("something observed", |day| day.iter().any(Option::is_some))
    }

    proptest! {
        /// The law that makes the loop end: no iteration raises the inertia, gaps or not.
        #[test]
        fn settling_never_raises_the_inertia(
            days in prop::collection::vec(a_day(), 1..40),
            start in prop::collection::vec(-5.0_f64..5.0, 6),
        ) {
            let points = points(&days);
            let mut last = f64::INFINITY;
            let mut centroids = start;
            let mut assignment = vec![usize::MAX; points.len()];
            for _ in 0..20 {
                let (inertia, _) = assign(&points, &centroids, &mut assignment);
                prop_assert!(inertia <= last * (1.0 + 1e-12) + 1e-12, "{inertia} after {last}");
                last = inertia;
                centroids = means(&points, &assignment, centroids);
            }
            let rest = settle(&points, centroids.clone());
            prop_assert!(rest.iterations < MAX_ITERATIONS, "came to rest");
            prop_assert_eq!(rest.sizes.iter().sum::<u64>(), days.len() as u64);
        }
    }
}
