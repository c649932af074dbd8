//! `cargo xtask soak`: a month of a gateway's life in an hour, to see that nothing grows or wears.
//!
//! A real agent behind a real mosquitto, with a server that takes its days, is fed by `replay` with
//! one reading a minute from each sensor. The time is the readings' own. How much is written to
//! flash depends on how many readings a commit holds, so commits are cut as they would be in real
//! time: every so many readings as come within the config's `commit_every`.
//!
//! The agent is built as the board's package has it, for size and with the same C library, because
//! how much memory stays with a process is up to that.
//!
//! Each simulated day is one line: memory, store, flash. At its end the run is judged: memory keeps
//! the board's budget and does not grow, the store is at most twice what is live in it, the board's
//! flash budget is kept.

mod figures;
mod gateway;
mod readings;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use daywise_core::board::Board;

use crate::{
    boards, cross,
    process::{Interrupt, POLL},
    workspace,
};
use figures::{Figures, Limits};
use gateway::{Gateway, Setup};

/// Whose budgets are kept, unless asked otherwise.
const BOARD: &str = "raspberry-pi-zero-2w";
/// As fast as this machine's fdatasync allows, with room for the agent to keep up as in real time.
const SPEED: &str = "2000";
/// The agent's own default.
const COMMIT_EVERY_S: u32 = 10;
/// A day's figures are taken when it has closed, two hours after midnight, and been sent.
const CLOSED_MS: i64 = 4 * 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// Nothing changes for so long: it hangs.
const STALL: Duration = Duration::from_secs(180);

/// `cargo xtask soak`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SoakArgs {
    /// How many sensors report once a minute.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) sensors: u32,
    /// How many days.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(2..=366))]
    pub(crate) days: u16,
    /// How many seconds of the readings' time pass in a second, or max.
    #[arg(long, value_name = "N|max", default_value = SPEED)]
    pub(crate) speed: String,
    /// `[store] durability` of the agent.
    #[arg(long, value_name = "acked|interval|relaxed", default_value = "acked")]
    pub(crate) durability: String,
    /// Whose budgets are to be kept: a file of `boards/`, without its ending.
    #[arg(long, value_name = "BOARD", default_value = BOARD)]
    pub(crate) board: String,
    /// Ends with one JSON object as the last line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Run the programs in this folder instead of building them.
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
}

/// Runs it; fails where a limit is missed.
pub(crate) fn run(args: &SoakArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let board = boards::named(&args.board)?;
    let limits = Limits {
        flash_mb_per_day: board.budget.flash_writes_mb_per_day.into(),
        memory_mb: board.budget.agent_memory_mb.into(),
    };
    // Not where temporary files are: that is often memory, which wears nothing.
    let target = workspace::target_dir()?;
    std::fs::create_dir_all(&target).context("cannot make the build folder")?;
    let dir = tempfile::Builder::new()
        .prefix("soak-")
        .tempdir_in(&target)
        .context("cannot make a folder for the soak")?;
    let programs = args.programs.clone().map_or_else(|| build(&board, dir.path()), Ok)?;
    let setup = Setup {
        programs,
        board: args.board.clone(),
        durability: args.durability.clone(),
        max_batch: args.sensors.saturating_mul(COMMIT_EVERY_S).div_ceil(60).max(1),
        environment: service_environment()?,
    };
    let mut gateway = Gateway::start(dir.path(), &setup, &interrupt)?;
    let mut figures = Figures::new();
    figures.print_head();
    follow(args, &mut gateway, &mut figures, &interrupt)?;
    let fed = u64::from(args.sensors) * u64::from(args.days) * 1_440;
    let accepted = gateway.status()?.count("accepted");
    gateway.stop();
    let verdict = figures.judge(&limits);
    println!("{}", verdict.to_text());
    if args.json {
        println!("{}", verdict.to_json(args.sensors, args.days));
    }
    if accepted != fed {
        bail!("{accepted} readings were accepted of {fed}");
    }
    if !verdict.is_kept() {
        bail!("a limit was missed");
    }
    Ok(())
}

/// Builds both programs and puts them into a folder in `dir`.
fn build(board: &Board, dir: &Path) -> anyhow::Result<PathBuf> {
    let server = crate::demo::build()?.join("daywise-server");
    let agent = cross::build_here(board)?;
    let programs = dir.join("programs");
    std::fs::create_dir(&programs).context("cannot make a folder for the programs")?;
    for program in [server, agent] {
        let name = program.file_name().context("a program without a name")?;
        std::fs::copy(&program, programs.join(name)).context("cannot copy the programs")?;
    }
    Ok(programs)
}

/// What the agent's service puts into its environment.
fn service_environment() -> anyhow::Result<Vec<(String, String)>> {
    let path = workspace::root()?.join("configs/systemd/daywise-agent.service");
    let unit = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the service {}", path.display()))?;
    let set = unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    Ok(set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Feeds the gateway and takes its figures after each day.
fn follow(
    args: &SoakArgs,
    gateway: &mut Gateway,
    figures: &mut Figures,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let mut feed = gateway.feed(args.sensors, args.days, &args.speed)?;
    let mut next_day = 0_i64;
    let mut last = (0, std::time::Instant::now());
    while next_day < i64::from(args.days) {
        interrupt.pause(POLL * 10)?;
        feed.check()?;
        let status = gateway.status()?;
        let now_ms = i64::try_from(status.count("now_ms")).unwrap_or(0);
        figures.note_memory(gateway.memory_kb());
        // The last day is not followed by another: the feed moves the clock past its closing.
        let is_last = next_day + 1 == i64::from(args.days);
        let closed_ms = readings::START_MS + (next_day + 1) * DAY_MS + CLOSED_MS;
        let due = if is_last { closed_ms - CLOSED_MS / 2 } else { closed_ms };
        // The clock change puts the last readings an hour into one more day, which stays open.
        let sensor_days = u64::from(args.sensors) * u64::from(args.days);
        let is_done = !is_last || status.count("sensor_days") >= sensor_days;
        if now_ms >= due && is_done {
            figures.take_day(&status, gateway.store_bytes());
            next_day += 1;
        }
        let seen = status.count("messages") + status.count("sensor_days");
        if seen != last.0 {
            last = (seen, std::time::Instant::now());
        } else if last.1.elapsed() > STALL {
            bail!("nothing happens any more: {}\n{}", status.text(), gateway.log_tail());
        }
    }
    feed.finish(interrupt)
}
