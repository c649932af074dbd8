//! Whether there is a problem with a sensor, why, and since when. It does not flap: the live score
//! has to stay above its threshold for a while, and below it for as long.

use daywise_core::{baseline::DRIFTS, time::UtcMillis};

use super::steady::Steady;
use crate::config::HomeAssistantConfig;

/// When there is a problem.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// The live score stays above this,
    pub score: f32,
    /// for so long.
    pub after_ms: i64,
    /// Or the last day's novelty is above this.
    pub novelty: f32,
    /// Or its score is above this.
    pub day_score: f32,
}

impl Rules {
    /// Those of a config.
    #[must_use]
    pub fn new(config: &HomeAssistantConfig) -> Self {
        Self {
            score: config.problem_score,
            after_ms: config.problem_after.as_ms(),
            novelty: config.problem_novelty,
            day_score: config.problem_day_score,
        }
    }
}

/// What there is to judge by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The newest reading's live score.
    pub score: Option<f32>,
    /// The last closed day.
    pub day: Option<DayEvidence>,
    /// When the sensor was last heard, if it has fallen silent.
    pub silent_since: Option<UtcMillis>,
}

/// What there is to judge a closed day by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DayEvidence {
    /// When it began.
    pub start: UtcMillis,
    /// How new it is to the model.
    pub novelty: Option<f32>,
    /// How unusual it is for the sensor and the model.
    pub score: Option<f32>,
    /// How much the sensor drifts.
    pub drift: Option<f32>,
}

/// A reason for a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// It does not report.
    Silent,
    /// The live score has stayed above the threshold.
    LiveScore,
    /// Its last day is like none before.
    Day,
    /// It drifts.
    Drift,
}

impl Cause {
    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::LiveScore => "live_score",
            Self::Day => "day",
            Self::Drift => "drift",
        }
    }
}

/// A problem as it is told, or that there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Why; empty if there is none.
    pub causes: Vec<Cause>,
    /// Since when one of them has lasted without a break.
    pub since: Option<UtcMillis>,
}

/// One sensor's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problem {
    silent: Steady,
    score: Steady,
    trouble: Option<Trouble>,
}

impl Problem {
    /// Judges at `now`; says whether there is news.
    pub fn observe(&mut self, rules: &Rules, seen: &Evidence, now: UtcMillis) -> bool {
        // Silence is noticed with patience already; but who reports now and then is not well yet.
        self.silent.observe(seen.silent_since.is_some(), now, 0, rules.after_ms);
        let is_high = seen.score.is_some_and(|score| score > rules.score);
        self.score.observe(is_high, now, rules.after_ms, rules.after_ms);
        let is_odd = |day: &DayEvidence| {
            day.novelty.is_some_and(|novelty| novelty > rules.novelty)
                || day.score.is_some_and(|score| score > rules.day_score)
        };
        let drifts = |day: &DayEvidence| day.drift.is_some_and(|drift| drift >= DRIFTS);
        let (odd, drifting) = (seen.day.filter(is_odd), seen.day.filter(drifts));
        let causes = [
            (Cause::Silent, self.silent.decided() == Some(true)),
            (Cause::LiveScore, self.score.decided() == Some(true)),
            (Cause::Day, odd.is_some()),
            (Cause::Drift, drifting.is_some()),
        ];
        let causes: Vec<Cause> =
            causes.into_iter().filter_map(|(cause, holds)| holds.then_some(cause)).collect();
        let is_decided = self.silent.decided().is_some() && self.score.decided().is_some();
        if causes.is_empty() && !is_decided {
            // Just started: what was said before the restart stands until more is known.
            return false;
        }
        let begin = |cause: &Cause| match cause {
            Cause::Silent => seen.silent_since.or(self.silent.since()),
            Cause::LiveScore => self.score.since(),
            Cause::Day | Cause::Drift => seen.day.map(|day| day.start),
        };
        let lasting = self.trouble.as_ref().and_then(|trouble| trouble.since);
        let since = lasting.or_else(|| causes.iter().filter_map(begin).min());
        let since = since.filter(|_| !causes.is_empty());
        let trouble = Trouble { causes, since };
        let is_news = self.trouble.as_ref() != Some(&trouble);
        self.trouble = Some(trouble);
        is_news
    }

    /// What is to be told; nothing before anything is known.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const RULES: Rules =
        Rules { score: 0.99, after_ms: 10 * MINUTE, novelty: 0.999, day_score: 0.995 };

    fn scored(score: f32) -> Evidence {
        Evidence { score: Some(score), ..Evidence::default() }
    }

    /// Observes at each minute of `minutes`; when there was news, and whether of a problem.
    fn play(
        problem: &mut Problem,
        minutes: std::ops::Range<i64>,
        seen: impl Fn(i64) -> Evidence,
    ) -> Vec<(i64, bool)> {
        let mut news = Vec::new();
        for minute in minutes {
            if problem.observe(&RULES, &seen(minute), UtcMillis(minute * MINUTE)) {
                news.push((minute, !problem.trouble().unwrap().causes.is_empty()));
            }
        }
        news
    }

    #[test]
    fn a_high_score_has_to_last_and_so_has_its_end() {
        let mut problem = Problem::default();
        let news = play(&mut problem, 0..60, |minute| {
            scored(if (15..35).contains(&minute) { 0.995 } else { 0.5 })
        });
        assert_eq!(news, [(10, false), (25, true), (45, false)]);
    }

    #[test]
    fn a_problem_says_since_when_it_lasts() {
        let mut problem = Problem::default();
        play(&mut problem, 0..30, |minute| scored(if minute < 15 { 0.5 } else { 1.0 }));
        let trouble = problem.trouble().unwrap();
        assert_eq!(trouble.causes, [Cause::LiveScore]);
        assert_eq!(trouble.since, Some(UtcMillis(15 * MINUTE)), "when the score rose");
        let silent_since = Some(UtcMillis(28 * MINUTE));
        play(&mut problem, 30..31, |_| Evidence { silent_since, ..scored(1.0) });
        let trouble = problem.trouble().unwrap();
        assert_eq!(trouble.causes, [Cause::Silent, Cause::LiveScore]);
        assert_eq!(trouble.since, Some(UtcMillis(15 * MINUTE)), "still the same problem");
    }

    #[test]
    fn a_score_that_goes_up_and_down_makes_no_problem() {
        let mut problem = Problem::default();
        let news =
            play(&mut problem, 0..500, |minute| scored(if minute % 10 < 9 { 0.999 } else { 0.9 }));
        assert!(news.is_empty(), "nor is it known that there is none: {news:?}");
        let mut problem = Problem::default();
        play(&mut problem, 0..20, |_| scored(1.0));
        let news =
            play(&mut problem, 20..500, |minute| scored(if minute % 10 < 9 { 0.5 } else { 0.999 }));
        assert!(news.is_empty(), "it has not ended: {news:?}");
    }

    #[test]
    fn silence_counts_at_once_and_is_over_when_the_sensor_has_kept_reporting() {
        let mut problem = Problem::default();
        play(&mut problem, 0..20, |_| scored(0.1));
        let silent = |since| Evidence { silent_since: Some(UtcMillis(since)), ..scored(0.1) };
        assert_eq!(play(&mut problem, 20..25, |_| silent(7)), [(20, true)]);
        assert_eq!(problem.trouble().unwrap().since, Some(UtcMillis(7)));
        // Back for a moment, silent again, and back for good.
        let back = |minute| if minute == 27 { silent(8) } else { scored(0.1) };
        assert_eq!(play(&mut problem, 25..60, back), [(38, false)]);
    }

    #[test]
    fn a_day_like_none_before_is_a_problem_until_there_is_another_day() {
        let mut problem = Problem::default();
        let day = |start, novelty| {
            let start = UtcMillis(start);
            let day = DayEvidence { start, novelty: Some(novelty), ..DayEvidence::default() };
            Evidence { day: Some(day), ..scored(0.1) }
        };
        assert_eq!(play(&mut problem, 0..15, |_| day(5, 0.9995)), [(0, true)]);
        assert_eq!(problem.trouble().unwrap().since, Some(UtcMillis(5)));
        assert_eq!(problem.trouble().unwrap().causes, [Cause::Day]);
        assert_eq!(play(&mut problem, 15..30, |_| day(6, 0.999)), [(15, false)], "not above");
        assert_eq!(problem.trouble().unwrap().since, None);
    }

    #[test]
    fn a_day_unlike_the_sensors_own_is_a_problem_without_a_model_and_so_is_a_drift() {
        let day = |score, drift| {
            let (score, drift) = (Some(score), Some(drift));
            Evidence {
                day: Some(DayEvidence { score, drift, ..Default::default() }),
                ..scored(0.1)
            }
        };
        let causes = |score, drift| {
            let mut problem = Problem::default();
            play(&mut problem, 0..15, |_| day(score, drift));
            problem.trouble().unwrap().causes.clone()
        };
        assert_eq!(causes(0.995, 0.99), []);
        assert_eq!(causes(0.996, 0.0), [Cause::Day]);
        assert_eq!(causes(0.5, 1.0), [Cause::Drift]);
    }

    #[test]
    fn what_was_said_before_a_restart_stands_until_more_is_known() {
        let mut problem = Problem::default();
        assert!(play(&mut problem, 0..10, |_| scored(0.1)).is_empty());
        assert_eq!(problem.trouble(), None);
        let mut unknown = Problem::default();
        let news = play(&mut unknown, 0..11, |_| Evidence::default());
        assert_eq!(news, [(10, false)], "no score is no problem");
    }
}
