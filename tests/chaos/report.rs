//! What the trials came to.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use crate::{recovery::Recovery, trial::Outcome};

/// How long the agent may take to come back.
const RECOVERY_BUDGET_MS: u64 = 1_000;

/// Every fault there is, so that one that never happened shows as 0.
const FAULTS: [&str; 10] = [
    "agent_kill",
    "broker_kill",
    "broker_stop",
    "server_kill",
    "pause",
    "network_cut",
    "redelivery",
    "clock_step",
    "disk_full",
    "power_cut",
];

/// The sum of all trials.
#[derive(Debug)]
pub(crate) struct Report {
    trials: u64,
    seed: u64,
    done: u64,
    acked_lost: u64,
    duplicated: u64,
    differing: u64,
    panics: u64,
    readings: usize,
    repeated: usize,
    faults: BTreeMap<&'static str, u64>,
    recoveries_ms: Vec<u64>,
    failed_seeds: Vec<u64>,
    full_store: Option<Recovery>,
}

impl Report {
    pub(crate) fn new(trials: u64, seed: u64) -> Self {
        Self {
            trials,
            seed,
            done: 0,
            acked_lost: 0,
            duplicated: 0,
            differing: 0,
            panics: 0,
            readings: 0,
            repeated: 0,
            faults: FAULTS.map(|name| (name, 0)).into(),
            recoveries_ms: Vec::new(),
            failed_seeds: Vec::new(),
            full_store: None,
        }
    }

    /// Adds a trial, and says how it went.
    pub(crate) fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.done += 1;
        self.acked_lost += outcome.acked_lost;
        self.duplicated += outcome.duplicated;
        self.differing += outcome.differing;
        self.panics += outcome.panics;
        self.readings += outcome.readings;
        self.repeated += outcome.repeated;
        for (name, times) in &outcome.faults {
            *self.faults.entry(name).or_default() += times;
        }
        self.recoveries_ms.extend(&outcome.recoveries_ms);
        let faults: Vec<String> =
            outcome.faults.iter().map(|(name, times)| format!("{name} {times}")).collect();
        let word = if outcome.is_good() { "ok" } else { "FAILED" };
        eprintln!(
            "chaos: {}/{}: seed {seed} {word} in {:.1} s: {} readings, {}",
            self.done,
            self.trials,
            outcome.took.as_secs_f64(),
            outcome.readings,
            faults.join(", ")
        );
        if !outcome.is_good() {
            self.failed_seeds.push(seed);
            for problem in &outcome.problems {
                eprintln!("chaos: seed {seed}: {problem}");
            }
            if let Some(kept) = &outcome.kept {
                eprintln!("chaos: seed {seed}: its files are in {}", kept.display());
            }
        }
    }

    pub(crate) fn set_full_store(&mut self, recovery: Recovery) {
        self.full_store = Some(recovery);
    }

    pub(crate) fn is_good(&self) -> bool {
        let slowest = self.full_store.as_ref().and_then(|full| full.took_ms.iter().max());
        self.failed_seeds.is_empty()
            && self.done == self.trials
            && slowest.is_none_or(|slowest| *slowest <= RECOVERY_BUDGET_MS)
    }

    fn recovery(&self) -> Value {
        let sorted = |times: &[u64]| {
            let mut times = times.to_vec();
            times.sort_unstable();
            times
        };
        let median = |times: &[u64]| times.get(times.len() / 2).copied().unwrap_or(0);
        let times = sorted(&self.recoveries_ms);
        let mut recovery = json!({
            "count": times.len(),
            "max": times.last().copied().unwrap_or(0),
            "p50": median(&times),
        });
        if let Some(full) = &self.full_store {
            let times = sorted(&full.took_ms);
            recovery["full_store_max"] = json!(times.last());
            recovery["full_store_p50"] = json!(median(&times));
            recovery["full_store"] = json!({
                "sensors": full.sensors,
                "outbox_entries": full.outbox_entries,
                "outbox_given_up": full.outbox_given_up,
                "open_readings": full.open_readings,
                "store_kb": full.store_kb,
                "kills": times.len(),
            });
        }
        recovery
    }

    /// The last line of the output.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "trials": self.trials,
            "seed": self.seed,
            "acked_lost": self.acked_lost,
            "duplicated_in_features": self.duplicated,
            "days_differing_from_clean_run": self.differing,
            "panics": self.panics,
            "failed_seeds": self.failed_seeds,
            "readings": self.readings,
            "messages_repeated": self.repeated,
            "faults": self.faults,
            "recovery_ms": self.recovery(),
        })
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            writeln!(text, "{name:<34} {value}").unwrap();
        };
        line("trials", &self.done);
        line("readings", &self.readings);
        line("messages said again", &self.repeated);
        for (name, times) in &self.faults {
            line(&format!("fault: {}", name.replace('_', " ")), times);
        }
        line("acknowledged and lost", &self.acked_lost);
        line("sensor-days with duplicates", &self.duplicated);
        line("sensor-days unlike a clean run's", &self.differing);
        line("panics", &self.panics);
        line("recovery in ms", &self.recovery());
        if !self.failed_seeds.is_empty() {
            line("failed seeds", &format!("{:?}", self.failed_seeds));
        }
        text
    }
}
