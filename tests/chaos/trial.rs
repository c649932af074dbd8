//! One trial: a stream, faults, and whether everything is there in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::atomic::Ordering::SeqCst,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use e2e::{Days, Random, days, days::differences, tap::Content, wait::is_so_within};

use crate::{
    plan::{self, Possible},
    sensors::{Progress, Sensors},
    site::{GATEWAY, Seen, Site},
    store,
    truth::{Truth, oddities},
};

const LOOK_EVERY: Duration = Duration::from_millis(1);
/// A fault whose moment does not come has its turn nevertheless.
const MOMENT_WITHIN: Duration = Duration::from_secs(30);
/// For everything to arrive once all is mended: the longest back-off and more.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(90);
/// An upload whose answer was lost is sent again after ten seconds, or with the next connection.
const NUDGE_AFTER: Duration = Duration::from_secs(2);

/// How a trial ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) recoveries_ms: Vec<u64>,
    /// Readings that the agent acknowledged and did not keep.
    pub(crate) acked_lost: u64,
    /// Sensor-days with more samples than the sensors measured.
    pub(crate) duplicated: u64,
    /// Sensor-days that are not those of a clean run, at the server or in the store.
    pub(crate) differing: u64,
    pub(crate) panics: u64,
    /// Anything else that is not as it should be.
    pub(crate) problems: Vec<String>,
    pub(crate) readings: usize,
    pub(crate) repeated: usize,
    pub(crate) took: Duration,
    /// Where the trial's files were left.
    pub(crate) kept: Option<PathBuf>,
}

impl Outcome {
    pub(crate) fn is_good(&self) -> bool {
        self.acked_lost + self.duplicated + self.differing + self.panics == 0
            && self.problems.is_empty()
    }
}

/// Runs the trial with that seed.
pub(crate) fn run(seed: u64, possible: Possible) -> Outcome {
    let started = Instant::now();
    let mut random = Random(seed);
    let truth = Truth::new(&mut random);
    let plan = plan::draw(&mut random, possible);
    let mut site = Site::start(possible.power_cut);
    let progress = Progress::default();
    let tap = std::sync::Arc::clone(&site.tap);
    let sensors = Sensors::new(&truth, &tap, &progress, site.broker.port());
    let expected = clean_run(&site, &truth);
    let mut found = Days::new();
    thread::scope(|scope| {
        scope.spawn(|| sensors.run());
        let _over = Over(&progress);
        for planned in &plan {
            wait_for_moment(&mut site, &truth, &progress, planned.at);
            sleep(planned.delay);
            site.suffer(planned);
        }
        found = catch_up(&mut site, &truth, &progress, &expected);
    });
    site.stop_agent();
    let mut outcome = judge(&site, &truth, &progress, &expected, &found);
    outcome.took = started.elapsed();
    conclude(site, outcome)
}

/// Ends the sensors, also when the trial ends by a panic.
struct Over<'a>(&'a Progress);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, SeqCst);
    }
}

/// What the batch command makes of what was measured.
fn clean_run(site: &Site, truth: &Truth) -> Days {
    let set = site.settings.set.split('/').next().unwrap_or_default();
    days::of_readings(&site.scratch, &truth.readings, &site.settings.timezone, set)
}

fn wait_for_moment(site: &mut Site, truth: &Truth, progress: &Progress, at: u64) {
    let steps = u64::try_from(truth.script.len()).unwrap();
    let moment = usize::try_from(steps * at / 1_000).unwrap();
    let since = Instant::now();
    while progress.done.load(SeqCst) < moment && since.elapsed() < MOMENT_WITHIN {
        if !site.is_alive() {
            return;
        }
        sleep(LOOK_EVERY);
    }
}

/// Waits until the agent has acknowledged everything and the server has every day, with time
/// going on; returns what the server has.
fn catch_up(site: &mut Site, truth: &Truth, progress: &Progress, expected: &Days) -> Days {
    let mut found = Days::new();
    let all = truth.script.len();
    // What is lost already will not come.
    let within = if site.seen.lost.is_empty() { CAUGHT_UP_WITHIN } else { NUDGE_AFTER * 2 };
    let has_acknowledged =
        is_so_within(within, || !site.is_alive() || progress.done.load(SeqCst) == all);
    let mut nudge_at = Instant::now() + NUDGE_AFTER;
    if has_acknowledged && site.is_alive() {
        is_so_within(within, || {
            found = site.server.days(GATEWAY);
            if Instant::now() > nudge_at {
                site.nudge_sync();
                nudge_at += CAUGHT_UP_WITHIN;
            }
            found == *expected
        });
    }
    found
}

fn judge(
    site: &Site,
    truth: &Truth,
    progress: &Progress,
    expected: &Days,
    at_server: &Days,
) -> Outcome {
    let in_store = store::days(site);
    let Seen { faults, recoveries_ms, ends, lost } = &site.seen;
    let mut outcome = Outcome {
        faults: faults.clone(),
        recoveries_ms: recoveries_ms.clone(),
        readings: truth.readings.len(),
        repeated: progress.repeated.load(SeqCst),
        problems: ends.clone(),
        ..Outcome::default()
    };
    for (name, times) in oddities(&truth.script) {
        *outcome.faults.entry(name).or_default() += times;
    }
    let lost: BTreeSet<Content> = lost.iter().cloned().chain(store::missing(site)).collect();
    outcome.acked_lost = lost.len() as u64;
    outcome.problems.extend(lost.iter().take(5).map(|(topic, payload)| {
        format!("acknowledged and lost: {topic} {}", String::from_utf8_lossy(payload))
    }));
    let mut differing = BTreeSet::new();
    let mut duplicated = BTreeSet::new();
    for (place, days) in [("at the server", at_server), ("in the store", &in_store)] {
        let keys: BTreeSet<_> = expected.keys().chain(days.keys()).collect();
        for key in keys {
            let (should, is) = (expected.get(key), days.get(key));
            if should != is {
                differing.insert(key.clone());
            }
            let samples = |day: Option<&e2e::Day>| day.map_or(0, |day| day.samples);
            if samples(is) > samples(should) {
                duplicated.insert(key.clone());
            }
        }
        if *days != *expected {
            outcome.problems.push(format!("{place}:\n{}", differences(expected, days)));
        }
    }
    outcome.differing = differing.len() as u64;
    outcome.duplicated = duplicated.len() as u64;
    let left = truth.script.len() - progress.done.load(SeqCst);
    if left > 0 {
        outcome.problems.push(format!("{left} messages were never acknowledged"));
    }
    for process in [&site.agent.process, &site.server.process] {
        let panics = process.log().matches("panicked at").count();
        outcome.panics += panics as u64;
    }
    outcome
}

/// Leaves the trial's files for a look if it was not good.
fn conclude(site: Site, mut outcome: Outcome) -> Outcome {
    let scratch = site.into_scratch();
    if !outcome.is_good() {
        outcome.kept = Some(scratch.keep());
    }
    outcome
}
