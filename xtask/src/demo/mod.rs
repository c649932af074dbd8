//! `cargo xtask demo`: the whole loop on this machine, with real processes.
//!
//! A server with its embedded broker and an agent start in a temporary folder. The readings go
//! out in three parts by local day: the first half, a quarter, a quarter. After each of the
//! first two parts the server trains and the agent takes the new model over; so the first half
//! is learnt from, the second half is predicted. Nothing listens beyond loopback, and nothing is
//! left behind, also when interrupted.

mod building;
mod faults;
mod findings;
pub(crate) mod fleet;
pub(crate) mod mqtt;
pub(crate) mod random;
mod recording;
mod report;
mod site;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{process::Interrupt, workspace};
use findings::FaultOutcome;
use fleet::{Fleet, Programs};
use recording::{RecordedDay, Recording};
use report::Report;

/// Days of the simulated site unless asked otherwise.
const SITE_DAYS: u16 = 28;
/// The server gives no more in one answer.
const PAGE: usize = 10_000;

/// `cargo xtask demo`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Without progress bar.
    #[arg(long)]
    headless: bool,
    /// Ends with one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// Readings to feed, `.csv` or `.csv.gz`, instead of the simulated site.
    #[arg(long, value_name = "FILE", requires = "timezone")]
    csv: Option<PathBuf>,
    /// The time zone whose days are learnt, such as `Europe/Berlin`.
    #[arg(long, value_name = "TZ", requires = "csv")]
    timezone: Option<String>,
    /// Only the first N days; of the simulated site as many as you like.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(7..=366))]
    days: Option<u16>,
    /// Run the programs in this folder instead of building them.
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

/// A planted fault by its sensor, kind and dates.
type Planted = (String, &'static str, Vec<String>);

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let folder = args.programs.clone().map_or_else(build, Ok)?;
    let programs =
        Programs { agent: folder.join("daywise-agent"), server: folder.join("daywise-server") };
    let started = Instant::now();
    let (recording, timezone, planted, source) = material(args)?;
    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut fleet = Fleet::start(dir.path(), programs, &timezone, interrupt)?;
    fleet.wait_for_subscription(recording.start_ms())?;
    let mut progress = Progress::new(args.headless);
    feed(&mut fleet, &recording, &timezone, dir.path(), &mut progress)?;
    let report = conclude(&mut fleet, &recording, &planted, source, started)?;
    fleet.stop();
    print!("{}", report.to_text()?);
    if args.json {
        println!("{}", report.to_json());
    }
    match report.imbalance() {
        Some(imbalance) => bail!("readings are not accounted for: {imbalance}"),
        None => Ok(()),
    }
}

/// Builds both programs; says where they are.
pub(crate) fn build() -> anyhow::Result<PathBuf> {
    let packages = ["--package", "daywise-agent", "--package", "daywise-server"];
    workspace::run_cargo(&[&["build", "--release", "--locked"][..], &packages].concat())?;
    Ok(workspace::target_dir()?.join("release"))
}

fn material(args: &DemoArgs) -> anyhow::Result<(Recording, String, Vec<Planted>, String)> {
    if let (Some(csv), Some(timezone)) = (&args.csv, &args.timezone) {
        let mut recording = Recording::of_csv(csv, timezone)?;
        recording.keep_days(args.days.map_or(usize::MAX, usize::from))?;
        let source = csv.display().to_string();
        return Ok((recording, timezone.clone(), Vec::new(), source));
    }
    let days = args.days.unwrap_or(SITE_DAYS);
    let faults = faults::plant(days);
    let mut recording = Recording::of_site(&site::simulate(days, &faults)?)?;
    recording.keep_days(usize::from(days))?;
    let dates = |days: std::ops::Range<u16>| days.map(|day| site::day(day).to_string()).collect();
    let planted = faults
        .iter()
        .map(|fault| (fault.sensor.to_owned(), fault.kind.name(), dates(fault.days.clone())))
        .collect();
    let source = format!("a simulated office building ({} sensors)", building::SENSORS.len());
    Ok((recording, site::TIMEZONE.into(), planted, source))
}

/// Writes the simulated site's readings as a CSV file; says in which time zone it is.
pub(crate) fn write_site(days: u16, csv: &Path) -> anyhow::Result<&'static str> {
    let recording = Recording::of_site(&site::simulate(days, &faults::plant(days))?)?;
    recording.write(i64::MIN, i64::MAX, csv)?;
    Ok(site::TIMEZONE)
}

/// The last day of each part: half, three quarters, all.
fn parts(days: &[RecordedDay]) -> Vec<RecordedDay> {
    let last = days.len().saturating_sub(1);
    let ends = [days.len() / 2, days.len() * 3 / 4, days.len()];
    ends.iter().filter_map(|end| days.get(end.saturating_sub(1).min(last)).copied()).collect()
}

fn feed(
    fleet: &mut Fleet,
    recording: &Recording,
    timezone: &str,
    dir: &Path,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    let parts = parts(recording.days());
    let mut from = i64::MIN;
    for (index, part) in parts.iter().enumerate() {
        let csv = dir.join("part.csv");
        let rows = recording.write(from, part.end_ms, &csv)?;
        let before = fleet.fed().sent;
        let what = format!("part {} of {}, to {}", index + 1, parts.len(), part.date);
        progress.say(&format!("{what}: {} readings", report::grouped(rows)));
        fleet.feed(&csv, timezone, |received| {
            progress.show(&what, received.saturating_sub(before), rows)
        })?;
        fleet.close_days(part.end_ms)?;
        if index + 1 < parts.len() {
            progress.say("training");
            let version = fleet.train_and_update()?;
            progress.say(&format!("the agent runs model v{version}"));
        }
        from = part.end_ms;
    }
    Ok(())
}

fn conclude(
    fleet: &mut Fleet,
    recording: &Recording,
    planted: &[Planted],
    source: String,
    started: Instant,
) -> anyhow::Result<Report> {
    let status = fleet.agent_status()?;
    let server = fleet.ask_server("/api/v1/status")?;
    let count = |name: &str| server.get(name).and_then(Value::as_u64).unwrap_or(0);
    let models = models(fleet)?;
    let ranking = findings::rank(&sensor_days(fleet)?);
    let faults: Vec<FaultOutcome> = findings::judge(planted, &ranking);
    let (rss_kb, peak_rss_kb) = fleet.agent_memory_kb();
    let fed = fleet.fed();
    let date = |day: Option<&RecordedDay>| day.map(|day| day.date.to_string()).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let readings_per_s = fed.sent as f64 / fed.time.as_secs_f64().max(0.001);
    Ok(Report {
        source,
        days: recording.days().len(),
        first_day: date(recording.days().first()),
        last_day: date(recording.days().last()),
        readings: fed.sent,
        rows_left_out: fed.rows_left_out,
        accepted: status.count("accepted"),
        refused: status.refused(),
        sensors: status.count("sensors"),
        sensor_days: count("sensor_days"),
        gateways: count("gateways"),
        predictions: status.count("predictions"),
        models,
        update: status.update(),
        ranking,
        looked_through: findings::looked_through(planted),
        faults,
        rss_kb,
        peak_rss_kb,
        readings_per_s,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// The registry's entries, oldest first, each with its clusters.
fn models(fleet: &mut Fleet) -> anyhow::Result<Vec<Value>> {
    let answer = fleet.ask_server("/api/v1/models")?;
    let listed = answer.as_array().context("the server's models are not as expected")?;
    let mut versions: Vec<u64> =
        listed.iter().filter_map(|model| model.get("version")?.as_u64()).collect();
    versions.sort_unstable();
    versions
        .into_iter()
        .map(|version| fleet.ask_server(&format!("/api/v1/models/{version}")))
        .collect()
}

fn sensor_days(fleet: &mut Fleet) -> anyhow::Result<Vec<findings::SensorDay>> {
    let mut days = Vec::new();
    loop {
        let path = format!("/api/v1/sensor-days?limit={PAGE}&offset={}", days.len());
        let page = findings::parse(fleet.ask_server(&path)?)?;
        let is_last = page.len() < PAGE;
        days.extend(page);
        if is_last {
            return Ok(days);
        }
    }
}

/// A bar on a terminal; lines elsewhere.
struct Progress {
    is_bar: bool,
}

impl Progress {
    fn new(headless: bool) -> Self {
        Self { is_bar: !headless && std::io::stderr().is_terminal() }
    }

    fn say(&self, what: &str) {
        let clear = if self.is_bar { "\r\x1b[K" } else { "" };
        eprintln!("{clear}demo: {what}");
    }

    fn show(&self, what: &str, done: u64, all: u64) {
        const WIDTH: u64 = 30;
        if self.is_bar {
            let filled = usize::try_from(WIDTH * done.min(all) / all.max(1)).unwrap_or(0);
            let bar: String = (0..30).map(|place| if place < filled { '█' } else { '·' }).collect();
            eprint!("\r\x1b[K{bar} {what}: {}", report::grouped(done));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_days_are_learnt_from_before_any_is_predicted() {
        let day = |n: i8| RecordedDay { date: jiff::civil::date(2024, 1, n), end_ms: i64::from(n) };
        let days: Vec<RecordedDay> = (1..=28).map(day).collect();
        let ends: Vec<i64> = parts(&days).iter().map(|part| part.end_ms).collect();
        assert_eq!(ends, [14, 21, 28]);
        let few: Vec<i64> = parts(&days[..4]).iter().map(|part| part.end_ms).collect();
        assert_eq!(few, [2, 3, 4]);
    }
}
