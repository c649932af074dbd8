//! How the Numenta Anomaly Benchmark scores a detector (Lavin and Ahmad 2015, and its scorer).
//!
//! Each labelled window is worth up to 1 for its first alarm, the earlier in the window the more,
//! by a sigmoid; a window without an alarm costs 1. Every alarm outside costs a share of 1, less
//! while a window has only just passed. One threshold for all series is chosen after the fact, the
//! best one for each profile. The sum is put on a scale where no alarm at all gives 0 and an alarm
//! at the first row of every window and nowhere else gives 100.

use std::{cmp::Ordering, collections::BTreeMap};

/// The first rows of a series are not scored: this share,
const PROBATION_PERCENT: usize = 15;
/// of so many rows at most.
const PROBATION_ROWS: usize = 5_000;
/// So many widths of the window after its end an alarm has its full cost.
const FULL_COST_AFTER: f64 = 3.0;

/// What a missed window and a false alarm cost, where an alarm in time is worth 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    pub(super) name: &'static str,
    false_alarm: f64,
    missed: f64,
}

/// The benchmark's three profiles.
pub(super) const PROFILES: [Profile; 3] = [
    Profile { name: "standard score", false_alarm: 0.11, missed: 1.0 },
    Profile { name: "low-FP score", false_alarm: 0.22, missed: 1.0 },
    Profile { name: "low-FN score", false_alarm: 0.11, missed: 2.0 },
];

/// What an alarm at a place relative to a window's end is worth, in widths of the window: nearly 1
/// at its start (-1), 0 at its end, nearly -1 after it.
fn sigmoid(place: f64) -> f64 {
    2.0 / (1.0 + (5.0 * place).exp()) - 1.0
}

/// What an alarm at a row is worth, before the profile weighs it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mark {
    window: Option<usize>,
    worth: f64,
}

/// Marks the rows of a series, in the order of its file, by its windows (both ends inclusive).
fn marks(times: &[i64], windows: &[(i64, i64)]) -> Vec<Mark> {
    let window_of =
        |time: i64| windows.iter().rposition(|(from, to)| (*from..=*to).contains(&time));
    let inside: Vec<Option<usize>> = times.iter().map(|time| window_of(*time)).collect();
    let mut extents = BTreeMap::<usize, (usize, usize)>::new();
    for (row, window) in inside.iter().enumerate() {
        if let Some(window) = window {
            extents.entry(*window).or_insert((row, row)).1 = row;
        }
    }
    let mut passed = None;
    let mark = |(row, window): (usize, &Option<usize>)| {
        let extent = window.and_then(|window| extents.get(&window).copied());
        let worth = match (extent, passed) {
            (Some((first, last)), _) => {
                let before_end = (last + 1).saturating_sub(row) as f64;
                sigmoid(-before_end / (last - first + 1) as f64)
            }
            (None, None) => -1.0,
            (None, Some((first, last))) => after(row, first, last),
        };
        passed = extent.or(passed);
        Mark { window: *window, worth }
    };
    inside.iter().enumerate().map(mark).collect()
}

/// What a false alarm is worth after a window.
fn after(row: usize, first: usize, last: usize) -> f64 {
    let place = row.saturating_sub(last) as f64 / (last - first) as f64;
    if place > FULL_COST_AFTER { -1.0 } else { sigmoid(place) }
}

/// A row beyond probation: its score, its window in the whole corpus, its worth.
#[derive(Clone, Copy, Debug)]
struct Row {
    score: f64,
    mark: Mark,
}

/// The rows of all series with the scores of one detector.
#[derive(Debug, Default)]
pub(super) struct Corpus {
    rows: Vec<Row>,
    windows: usize,
}

/// How well a detector did under one profile, at the threshold that suits it best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    /// From 0 for silence to 100.
    pub(super) score: f64,
    /// Windows without an alarm.
    pub(super) missed: usize,
    /// Rows outside of all windows with an alarm.
    pub(super) false_alarms: usize,
}

impl Corpus {
    /// Adds a series: its times and scores in the order of its file, and its windows.
    pub(super) fn add(&mut self, times: &[i64], scores: &[f64], windows: &[(i64, i64)]) {
        let probation = times.len().min(PROBATION_ROWS) * PROBATION_PERCENT / 100;
        let before = self.windows;
        self.windows += windows.len();
        let rows = marks(times, windows).into_iter().zip(scores).skip(probation);
        self.rows.extend(rows.map(|(mark, score)| {
            let window = mark.window.map(|window| before + window);
            Row { score: *score, mark: Mark { window, ..mark } }
        }));
    }

    /// How well the detector did.
    pub(super) fn score(&self, profile: Profile) -> Outcome {
        let mut rows = self.rows.clone();
        rows.sort_by(|one, other| other.score.total_cmp(&one.score));
        let windows: std::collections::BTreeSet<usize> =
            rows.iter().filter_map(|row| row.mark.window).collect();
        let mut sweep = Sweep { best: BTreeMap::new(), found: 0.0, cost: 0.0, false_alarms: 0 };
        // Of no alarm at all.
        let silence = -profile.missed * windows.len() as f64;
        let mut best = Outcome { score: silence, missed: windows.len(), false_alarms: 0 };
        let same = |one: &Row, other: &Row| one.score.total_cmp(&other.score) == Ordering::Equal;
        for group in rows.chunk_by(same) {
            group.iter().for_each(|row| sweep.alarm(row.mark));
            let missed = windows.len() - sweep.best.len();
            let score =
                sweep.found + profile.false_alarm * sweep.cost - profile.missed * missed as f64;
            if score > best.score {
                best = Outcome { score, missed, false_alarms: sweep.false_alarms };
            }
        }
        let perfect = windows.len() as f64;
        Outcome { score: 100.0 * (best.score - silence) / (perfect - silence), ..best }
    }
}

/// What the alarms so far are worth.
struct Sweep {
    best: BTreeMap<usize, f64>,
    found: f64,
    cost: f64,
    false_alarms: usize,
}

impl Sweep {
    fn alarm(&mut self, mark: Mark) {
        let Some(window) = mark.window else {
            self.cost += mark.worth;
            self.false_alarms += 1;
            return;
        };
        let worth = mark.worth / sigmoid(-1.0);
        let best = self.best.entry(window).or_insert(0.0);
        self.found += (worth - *best).max(0.0);
        *best = best.max(worth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD: Profile = PROFILES[0];

    /// A thousand rows with a window from row 500 to row 599.
    fn corpus(alarms: &[(usize, f64)]) -> Corpus {
        let times: Vec<i64> = (0..1000).collect();
        let mut scores = vec![0.0; 1000];
        for (row, score) in alarms {
            scores[*row] = *score;
        }
        let mut corpus = Corpus::default();
        corpus.add(&times, &scores, &[(500, 599)]);
        corpus
    }

    fn scores(alarms: &[(usize, f64)]) -> [f64; 3] {
        PROFILES.map(|profile| corpus(alarms).score(profile).score)
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} but {expected}");
    }

    #[test]
    fn the_sigmoid_falls_from_the_start_of_a_window_to_long_after_it() {
        close(sigmoid(0.0), 0.0);
        close(sigmoid(-1.0), 0.986_614_298_151_430_3);
        close(sigmoid(1.0), -0.986_614_298_151_430_3);
        close(sigmoid(-0.5), 0.848_283_639_957_513);
        close(sigmoid(3.0), -0.999_999_388_195_548_6);
    }

    #[test]
    fn an_alarm_at_the_start_of_every_window_and_nowhere_else_is_perfect() {
        assert_eq!(scores(&[(500, 1.0)]), [100.0; 3]);
        assert_eq!(scores(&[(500, 1.0), (550, 1.0)]), [100.0; 3], "more alarms in it cost nothing");
    }

    #[test]
    fn silence_scores_nothing() {
        // At once is as silent: the only threshold alarms at all rows, which costs more.
        assert_eq!(scores(&[]), [0.0; 3]);
    }

    #[test]
    fn a_false_alarm_costs_by_the_profile() {
        let found = scores(&[(300, 1.0), (500, 1.0)]);
        close(found[0], 100.0 * (1.0 - 0.11 + 1.0) / 2.0);
        close(found[1], 100.0 * (1.0 - 0.22 + 1.0) / 2.0);
        close(found[2], 100.0 * (1.0 - 0.11 + 2.0) / 3.0);
        let known = corpus(&[(300, 1.0), (500, 1.0)]).score(STANDARD);
        assert_eq!((known.missed, known.false_alarms), (0, 1));
    }

    #[test]
    fn the_threshold_is_the_best_one() {
        assert_eq!(scores(&[(300, 0.8), (500, 0.9)]), [100.0; 3], "above the false alarm");
        let found = scores(&[(300, 0.9), (500, 0.8)]);
        close(found[0], 100.0 * (1.0 - 0.11 + 1.0) / 2.0);
    }

    #[test]
    fn a_late_alarm_is_worth_less_and_one_just_after_the_window_costs_less() {
        let marks = marks(&(0..1000).collect::<Vec<i64>>(), &[(500, 599)]);
        assert_eq!(marks[499], Mark { window: None, worth: -1.0 });
        close(marks[500].worth, sigmoid(-1.0));
        close(marks[599].worth, sigmoid(-0.01));
        close(marks[600].worth, sigmoid(1.0 / 99.0));
        assert_eq!(marks[999].worth, -1.0, "more than three widths after it");
        let [standard, ..] = scores(&[(550, 1.0)]);
        close(standard, 100.0 * (sigmoid(-0.5) / sigmoid(-1.0) + 1.0) / 2.0);
    }

    #[test]
    fn the_first_rows_are_on_probation() {
        assert_eq!(scores(&[(149, 1.0), (500, 0.9)]), [100.0; 3]);
        assert!(scores(&[(150, 1.0), (500, 0.9)])[0] < 100.0);
    }
}
