//! `cargo xtask cross --system`: a whole emulated board under load, its power cut at random
//! moments, its clock wrong after every boot.
//!
//! The board is a Cortex-A53 with Debian's kernel and systemd, which runs the agent by the unit of
//! its package. Broker and sensors are on this machine, at the other end of QEMU's network, and go
//! on through the cuts.
//! In the end every reading that was published must be in the board's store, once, with its own
//! time and under its own day: the broker keeps what was not acknowledged, so that whatever is
//! missing was acknowledged and lost.
//!
//! A cut is QEMU killed: what the board's kernel had not written to its card is gone. What it had
//! written but not flushed stays, which a real card may lose; `cargo xtask chaos` and the tests of
//! the store's files try that.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "this is test code: a surprise is to end the trial where it happens"
)]

mod guest;
mod sensors;

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::PathBuf,
    process::ExitCode,
    thread::{scope, sleep},
    time::Duration,
};

use clap::Parser;
use e2e::{
    Mosquitto, Publisher, Random, Scratch,
    wait::{LONG, is_so_within, wait_until},
};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use crate::{
    guest::Guest,
    sensors::{Sensors, Truth, now_ms, publish_untimed},
};

/// A board runs between these many milliseconds before its power is cut.
const UNDER_LOAD_MS: (u64, u64) = (2_000, 25_000);
/// After its agent has connected its clock is wrong for so long, at most.
const CLOCK_WRONG_MS: u64 = 8_000;
/// Nothing new for so long: the agent has all that the broker had for it.
const QUIET: Duration = Duration::from_secs(6);
/// Unacknowledged messages that the broker gives.
const WINDOW: u16 = 1_000;
/// What the sensors without a clock send, while the board's own is wrong.
const UNTIMED: [(&str, f64); 2] = [("plain-1/temperature", 11.25), ("plain-2/temperature", 12.25)];
/// How far the board's clock may be from this machine's.
const CLOCK_TOLERANCE_MS: i64 = 5_000;

/// Boots a board and cuts its power.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask cross --system")]
struct Args {
    /// The board's kernel.
    #[arg(long)]
    kernel: PathBuf,
    /// What the kernel starts with.
    #[arg(long)]
    initramfs: PathBuf,
    /// The board's card; it is written to.
    #[arg(long)]
    disk: PathBuf,
    /// The board's memory.
    #[arg(long)]
    ram_mb: u32,
    /// Its cores.
    #[arg(long)]
    cores: u32,
    /// How many sensors report.
    #[arg(long)]
    sensors: u64,
    /// The agent's budget.
    #[arg(long)]
    agent_memory_mb: u64,
    /// Where the system ends it.
    #[arg(long)]
    memory_max_mb: u32,
    /// How often the power is cut.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    cuts: u32,
    /// Decides when.
    #[arg(long)]
    seed: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let scratch = Scratch::new();
    let broker = Mosquitto::start(&scratch, WINDOW);
    let mut guest = Guest::new(&args, &scratch, broker.port());
    // Those without a clock are of the board's number, too.
    let sensors = Sensors::new(args.sensors.saturating_sub(UNTIMED.len() as u64));
    let mut found = Found { rss_kb: 0, untimed_came_ms: 0..=0, refused: BTreeMap::new() };

    guest.boot();
    eprintln!("board: up, its agent is connected; {} sensors begin", args.sensors);
    let publisher = Publisher::connect(&broker.url());
    scope(|scope| {
        scope.spawn(|| sensors.run(publisher));
        let mut random = Random::seeded(args.seed);
        for cut in 1..=args.cuts {
            let under_load = random.between(UNDER_LOAD_MS.0, UNDER_LOAD_MS.1);
            let wrong = under_load.min(CLOCK_WRONG_MS);
            sleep(Duration::from_millis(wrong));
            guest.tell_the_time();
            sleep(Duration::from_millis(under_load - wrong));
            found.look(&guest);
            guest.cut_power();
            eprintln!("board: power cut {cut}, after {} readings; booting again", sensors.sent());
            if cut == args.cuts {
                untimed(&broker);
            }
            guest.boot();
        }
        found.untimed_came_ms = wait_for_untimed(&guest, args.sensors);
        guest.tell_the_time();
        wait_for_clock(&guest);
        found.look(&guest);
        sensors.stop();
    });
    wait_until_quiet(&guest);
    found.look(&guest);
    guest.stop();
    let report = found.judge(&args, &guest, &sensors.truth());
    println!("{report}");
    if report["problems"].as_array().unwrap().is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("board: its console and log are in {}", scratch.keep().display());
    ExitCode::FAILURE
}

/// Sensors without a clock, while the board is off: the first that the broker has for it.
fn untimed(broker: &Mosquitto) {
    let mut publisher = Publisher::connect(&broker.url());
    for (sensor, value) in UNTIMED {
        publish_untimed(&mut publisher, sensor, value);
    }
    publisher.flush();
}

/// From when to when they came: the board is told the time only afterwards.
fn wait_for_untimed(guest: &Guest, sensors: u64) -> RangeInclusive<i64> {
    let connected_ms = now_ms();
    // All others have reported before, or do so meanwhile.
    wait_until("the board knows every sensor", LONG, || {
        guest.status().is_some_and(|status| status["sensors"] == sensors)
    });
    connected_ms - CLOCK_TOLERANCE_MS..=now_ms() + CLOCK_TOLERANCE_MS
}

fn wait_for_clock(guest: &Guest) {
    wait_until("the board knows the time", LONG, || {
        guest.status().is_some_and(|status| {
            let now = status["now_ms"].as_i64().unwrap_or(0);
            (now - now_ms()).abs() < CLOCK_TOLERANCE_MS && status["quarantined"] == 0
        })
    });
}

fn wait_until_quiet(guest: &Guest) {
    let messages = || guest.status().map(|status| status["messages"].clone());
    let is_quiet = is_so_within(LONG, || {
        let before = messages();
        sleep(QUIET);
        before.is_some() && before == messages()
    });
    assert!(is_quiet, "the board does not catch up: {:?}", guest.status());
}

/// What was seen.
#[derive(Debug)]
struct Found {
    rss_kb: u64,
    untimed_came_ms: RangeInclusive<i64>,
    refused: BTreeMap<String, u64>,
}

impl Found {
    /// The agent's own figures, from inside the board.
    fn look(&mut self, guest: &Guest) {
        let Some(status) = guest.status() else { return };
        self.rss_kb = self.rss_kb.max(status["rss_kb"].as_u64().unwrap_or(0));
        for (reason, count) in status["refused"].as_object().into_iter().flatten() {
            let most = self.refused.entry(reason.clone()).or_default();
            *most = (*most).max(count.as_u64().unwrap_or(0));
        }
    }

    fn judge(&self, args: &Args, guest: &Guest, truth: &Truth) -> Value {
        let kept = Kept::read(&guest.file("/samples.jsonl"));
        let mut problems = kept.differences(truth);
        problems.extend(kept.untimed(&self.untimed_came_ms));
        let peak_kb = guest.said("peak_kb=").and_then(|text| text.parse::<u64>().ok());
        if self.rss_kb == 0 || self.rss_kb > args.agent_memory_mb * 1_024 {
            problems.push(format!("{} KB resident of {} MB", self.rss_kb, args.agent_memory_mb));
        }
        let events = guest.console();
        if !events.contains("oom_kill 0") {
            problems.push("the system ended the agent for its memory, or did not say".into());
        }
        let wrong = events.lines().filter(|line| line.contains("the clock says 2000-01-01"));
        let wrong = u32::try_from(wrong.count()).unwrap_or(0);
        if wrong != guest.boots {
            problems.push(format!("{wrong} of {} boots began in 2000", guest.boots));
        }
        let limit = format!("MemoryMax={}", u64::from(args.memory_max_mb) << 20);
        for expected in [&limit[..], "User=daywise", "WatchdogUSec=1min", "Result=success"] {
            if !events.lines().any(|line| line.starts_with("board: ") && line.contains(expected)) {
                problems.push(format!("the service does not say {expected}"));
            }
        }
        if !events.contains("NRestarts=0") || !events.contains("ExecMainStatus=0") {
            problems.push("the agent did not end well, or had to be started again".into());
        }
        json!({
            "boots": guest.boots,
            "power_cuts": args.cuts,
            "readings": truth.len(),
            "kept": kept.samples.len(),
            "days": kept.days(),
            "sensors": args.sensors,
            "slowest_boot_s": guest.slowest_boot.as_secs_f64(),
            "rss_kb": self.rss_kb,
            "peak_kb": peak_kb,
            "refused": self.refused,
            "problems": problems,
        })
    }
}

/// The readings in the board's store: sensor and time, and the day and the value.
struct Kept {
    samples: BTreeMap<(String, i64), (String, f64)>,
    twice: usize,
}

impl Kept {
    fn read(text: &str) -> Self {
        let mut kept = Self { samples: BTreeMap::new(), twice: 0 };
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let (day, sensor) = (line["day"].as_str().unwrap(), line["sensor"].as_str().unwrap());
            let times = line["ts"].as_array().unwrap().iter().map(|at| at.as_i64().unwrap());
            let values = line["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap());
            for (at, value) in times.zip(values) {
                let before = kept.samples.insert((sensor.to_owned(), at), (day.to_owned(), value));
                kept.twice += usize::from(before.is_some());
            }
        }
        kept
    }

    fn days(&self) -> Vec<&str> {
        let mut days: Vec<&str> = self.samples.values().map(|(day, _)| day.as_str()).collect();
        days.sort_unstable();
        days.dedup();
        days
    }

    /// Against what was published: lost, changed, under a wrong day, twice, or never sent.
    fn differences(&self, truth: &Truth) -> Vec<String> {
        let (mut lost, mut changed, mut wrong_day) = (0, 0, 0);
        for (key, value) in truth {
            match self.samples.get(key) {
                None => lost += 1,
                Some((_, other)) if other != value => changed += 1,
                Some((day, _)) if *day != local_day(key.1) => wrong_day += 1,
                Some(_) => {}
            }
        }
        let is_untimed = |sensor: &str| UNTIMED.iter().any(|(name, _)| *name == sensor);
        let foreign =
            self.samples.keys().filter(|key| !truth.contains_key(*key) && !is_untimed(&key.0));
        let counts = [
            ("lost", lost),
            ("changed", changed),
            ("under a wrong day", wrong_day),
            ("there twice", self.twice),
            ("never sent", foreign.count()),
        ];
        let bad = counts.iter().filter(|(_, count)| *count > 0);
        bad.map(|(what, count)| format!("{count} readings {what}")).collect()
    }

    /// What came without a time while the clock was wrong has the time at which it came.
    fn untimed(&self, came_ms: &RangeInclusive<i64>) -> Vec<String> {
        let mut problems = Vec::new();
        for (sensor, value) in UNTIMED {
            let own = self.samples.iter().find(|((name, _), _)| name == sensor);
            let is_right = own.is_some_and(|((_, at), (day, kept))| {
                came_ms.contains(at) && *kept == value && *day == local_day(*at)
            });
            if !is_right {
                problems.push(format!("{sensor}, which came in {came_ms:?}, is {own:?}"));
            }
        }
        problems
    }
}

fn local_day(at_ms: i64) -> String {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    Timestamp::from_millisecond(at_ms).unwrap().to_zoned(zone).date().to_string()
}
