//! The figures that tell how good scores and clusters are, by their published definitions.
//!
//! A figure that is not defined for what it is given, such as an area under a curve with one class
//! only, is `None`.

use std::{cmp::Ordering, collections::BTreeMap};

/// A score, and whether it is of something that ought to be found.
pub(super) type Scored = (f64, bool);

/// What a threshold lets through when it falls past one more group of equal scores.
#[derive(Clone, Copy, Debug, Default)]
struct Group {
    positives: f64,
    negatives: f64,
}

/// Groups of equal scores, the highest first, and the sum of all.
fn groups(scored: &[Scored]) -> (Vec<Group>, Group) {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let by_score = sorted.chunk_by(|(one, _), (other, _)| one.total_cmp(other) == Ordering::Equal);
    let groups: Vec<Group> = by_score
        .map(|chunk| {
            let positives = chunk.iter().filter(|(_, is_positive)| *is_positive).count();
            Group { positives: positives as f64, negatives: (chunk.len() - positives) as f64 }
        })
        .collect();
    let all = groups.iter().fold(Group::default(), |all, group| Group {
        positives: all.positives + group.positives,
        negatives: all.negatives + group.negatives,
    });
    (groups, all)
}

/// The area under the receiver operating characteristic: the chance that a positive scores higher
/// than a negative, ties counted half (Mann and Whitney 1947; Fawcett 2006).
pub(super) fn roc_auc(scored: &[Scored]) -> Option<f64> {
    let (groups, all) = groups(scored);
    let pairs = all.positives * all.negatives;
    let (mut above, mut won) = (0.0, 0.0);
    for Group { positives, negatives } in groups {
        won += negatives * (above + positives / 2.0);
        above += positives;
    }
    (pairs > 0.0).then(|| won / pairs)
}

/// The mean of the precision at each positive, the highest score first; equal scores share one
/// threshold, and nothing is interpolated.
pub(super) fn average_precision(scored: &[Scored]) -> Option<f64> {
    let (groups, all) = groups(scored);
    let (mut found, mut taken, mut sum) = (0.0, 0.0, 0.0);
    for Group { positives, negatives } in groups {
        found += positives;
        taken += positives + negatives;
        sum += positives * found / taken;
    }
    (all.positives > 0.0).then(|| sum / all.positives)
}

/// The harmonic mean of precision and recall of a prediction against the truth.
pub(super) fn f1(pairs: impl IntoIterator<Item = (bool, bool)>) -> Option<f64> {
    let (mut hits, mut sizes) = (0.0, 0.0);
    for (predicted, truth) in pairs {
        hits += f64::from(u8::from(predicted && truth));
        sizes += f64::from(u8::from(predicted) + u8::from(truth));
    }
    (sizes > 0.0).then(|| 2.0 * hits / sizes)
}

/// The highest F1 that any threshold reaches.
pub(super) fn best_f1(scored: &[Scored]) -> Option<f64> {
    let (groups, all) = groups(scored);
    let (mut found, mut taken, mut best) = (0.0, 0.0, 0.0_f64);
    for Group { positives, negatives } in groups {
        found += positives;
        taken += positives + negatives;
        best = best.max(2.0 * found / (taken + all.positives));
    }
    (all.positives > 0.0).then_some(best)
}

/// How often each class and cluster meet, with the sizes of both.
struct Contingency {
    cells: BTreeMap<(usize, usize), f64>,
    classes: BTreeMap<usize, f64>,
    clusters: BTreeMap<usize, f64>,
    all: f64,
}

impl Contingency {
    fn of(pairs: &[(usize, usize)]) -> Self {
        let mut table = Self {
            cells: BTreeMap::new(),
            classes: BTreeMap::new(),
            clusters: BTreeMap::new(),
            all: pairs.len() as f64,
        };
        for &(class, cluster) in pairs {
            *table.cells.entry((class, cluster)).or_default() += 1.0;
            *table.classes.entry(class).or_default() += 1.0;
            *table.clusters.entry(cluster).or_default() += 1.0;
        }
        table
    }
}

/// The adjusted Rand index of classes and clusters (Hubert and Arabie 1985): 1 where they are the
/// same partition, 0 on average where they have nothing to do with each other.
pub(super) fn adjusted_rand(pairs: &[(usize, usize)]) -> Option<f64> {
    let table = Contingency::of(pairs);
    let two = |n: &f64| n * (n - 1.0) / 2.0;
    let together: f64 = table.cells.values().map(two).sum();
    let by_class: f64 = table.classes.values().map(two).sum();
    let by_cluster: f64 = table.clusters.values().map(two).sum();
    let all = two(&table.all);
    if table.all < 1.0 {
        return None;
    }
    if together == by_class && together == by_cluster {
        return Some(1.0);
    }
    let expected = by_class * by_cluster / all;
    Some((together - expected) / ((by_class + by_cluster) / 2.0 - expected))
}

/// Mutual information over the arithmetic mean of both entropies (Vinh, Epps and Bailey 2010).
pub(super) fn normalised_mutual_information(pairs: &[(usize, usize)]) -> Option<f64> {
    let table = Contingency::of(pairs);
    if table.all < 1.0 {
        return None;
    }
    let entropy = |sizes: &BTreeMap<usize, f64>| -> f64 {
        sizes.values().map(|size| size / table.all).map(|share| -share * share.ln()).sum()
    };
    let mean = f64::midpoint(entropy(&table.classes), entropy(&table.clusters));
    if mean == 0.0 {
        return Some(1.0);
    }
    let size = |sizes: &BTreeMap<usize, f64>, of: &usize| sizes.get(of).copied().unwrap_or(1.0);
    let shared: f64 = table
        .cells
        .iter()
        .map(|((class, cluster), n)| {
            let by_chance = size(&table.classes, class) * size(&table.clusters, cluster);
            n / table.all * (n * table.all / by_chance).ln()
        })
        .sum();
    Some(shared.max(0.0) / mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORED: [Scored; 8] = [
        (0.9, true),
        (0.8, false),
        (0.8, true),
        (0.6, true),
        (0.5, false),
        (0.5, false),
        (0.5, true),
        (0.1, false),
    ];

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} but {expected}");
    }

    fn pairs(classes: &[usize], clusters: &[usize]) -> Vec<(usize, usize)> {
        classes.iter().copied().zip(clusters.iter().copied()).collect()
    }

    // The expected values of all tests are scikit-learn 1.9.1's, or follow from the definition.

    #[test]
    fn areas_count_ties_half() {
        close(roc_auc(&SCORED), 0.781_25);
        close(roc_auc(&[(1.0, true), (1.0, false)]), 0.5);
        close(roc_auc(&[(2.0, true), (1.0, false)]), 1.0);
        close(roc_auc(&[(1.0, true), (2.0, false)]), 0.0);
    }

    #[test]
    fn average_precision_takes_equal_scores_at_once() {
        close(average_precision(&SCORED), 0.747_023_809_523_809_5);
        close(average_precision(&[(1.0, true), (1.0, false), (1.0, false)]), 1.0 / 3.0);
    }

    #[test]
    fn the_best_f1_is_that_of_the_best_threshold() {
        close(best_f1(&SCORED), 0.75);
        let at = |limit: f64| f1(SCORED.iter().map(|(score, truth)| (*score >= limit, *truth)));
        close(at(0.6), 0.75);
        close(at(0.8), 0.571_428_571_428_571_4);
        close(at(1.0), 0.0);
    }

    #[test]
    fn partitions_are_compared_without_their_names() {
        let same = pairs(&[0, 0, 1, 1], &[7, 7, 3, 3]);
        close(adjusted_rand(&same), 1.0);
        close(normalised_mutual_information(&same), 1.0);
        let crossed = pairs(&[0, 0, 1, 1], &[0, 1, 0, 1]);
        close(adjusted_rand(&crossed), -0.5);
        close(normalised_mutual_information(&crossed), 0.0);
        let classes = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2];
        let some = pairs(&classes, &[0, 0, 1, 1, 1, 2, 2, 2, 2, 0]);
        close(adjusted_rand(&some), 0.204_545_454_545_454_56);
        close(normalised_mutual_information(&some), 0.442_701_283_346_05);
        let merged = pairs(&[0, 0, 1, 2], &[0, 0, 1, 1]);
        close(adjusted_rand(&merged), 0.571_428_571_428_571_4);
        close(normalised_mutual_information(&merged), 0.8);
        let torn = pairs(&[0, 0, 0], &[0, 1, 2]);
        close(adjusted_rand(&torn), 0.0);
        close(normalised_mutual_information(&torn), 0.0);
    }

    #[test]
    fn what_is_not_defined_has_no_figure() {
        assert_eq!(roc_auc(&[(1.0, true)]), None);
        assert_eq!(average_precision(&[(1.0, false)]), None);
        assert_eq!(best_f1(&[]), None);
        assert_eq!(f1([(false, false)]), None);
        assert_eq!(adjusted_rand(&[]), None);
        assert_eq!(normalised_mutual_information(&[]), None);
    }
}
