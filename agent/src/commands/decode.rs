//! `decode`: a recorded broker stream through the running agent's own decoding, checks, duplicate
//! removal, clock rules and day assignment; one row per reading or refusal.
//!
//! The stream's receive times are the clock. Readings are kept in a store of their own for the
//! time of the command, because what is a repeat is decided by what the store holds. Days close
//! and are forgotten as they would be on the gateway.
//!
//! A collection of samples, whose lines do not all say when they were received, has no such time:
//! each line is judged alone, and no reading is too old or too new.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use daywise_core::{
    collect::Limits,
    decode::{Format, format},
    duration::HumanDuration,
    reading::Refusal,
    time::{LocalDay, UtcMillis},
};
use serde::Serialize;
use tempfile::TempDir;

use super::{
    CommandError,
    output::Output,
    recorded::{self, Recorded, RecordedMessage},
    report,
};
use crate::{
    calendar::Calendar,
    clock::{Clock, system_now},
    config::{AgentConfig, ClockSource, ConfigError},
    intake::{Intake, Message, Status, Verdict},
    store::{Prune, Store, StoreError, StoreOptions},
};

const COLUMNS: [&str; 12] = [
    "line",
    "recv",
    "topic",
    "format",
    "sensor_id",
    "quantity",
    "unit",
    "ts",
    "value",
    "day",
    "status",
    "reason",
];
/// Messages between two commits: as the running agent gathers them, and few enough to hold.
const MESSAGES_PER_COMMIT: usize = 1_024;
/// Journal records between two folds; the store is asked about many readings here.
const FOLD_RECORDS: u64 = 16;
/// What a stream without a config is read by: every topic, each in its own format.
const ANY_TOPIC: &str = r#"
    gateway = "decode"
    state_dir = "."
    mqtt = { url = "mqtt://localhost" }
"#;
/// Longer ago, or further ahead, than any sample: two centuries.
const ANY_TIME: HumanDuration = HumanDuration::from_secs(200 * 365 * 86_400);

/// Shows what the running agent would make of a recorded broker stream.
#[derive(Clone, Debug, clap::Args)]
pub struct DecodeArgs {
    /// The stream, one JSON object a line: .jsonl, .jsonl.gz, or - for the standard input
    #[arg(long, value_name = "FILE")]
    pub jsonl: PathBuf,
    /// The site's time zone, an IANA name or a fixed offset such as +01:00
    #[arg(long, value_name = "TZ")]
    pub timezone: Calendar,
    /// The agent's config, for its sources and limits; else every topic is read
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the rows go: .csv, .csv.gz, or - for the standard output
    #[arg(long, value_name = "FILE.csv")]
    pub out: PathBuf,
    /// Print the result as JSON, as the last line of the standard output
    #[arg(long)]
    pub json: bool,
}

/// What became of the stream: `rows` is the sum of the others but `lines`.
#[derive(Debug, Default, Serialize)]
pub struct DecodeSummary {
    /// Lines in the file.
    pub lines: u64,
    /// Rows written: readings, and lines without any.
    pub rows: u64,
    /// Readings that would be kept.
    pub accepted: u64,
    /// Readings that are held already.
    pub duplicate: u64,
    /// Readings that would wait for the clock to be set.
    pub quarantined: u64,
    /// What would be left out.
    pub refused: u64,
    /// What is not meant to be a reading.
    pub ignored: u64,
    /// Why, for all that would not be kept.
    pub reasons: BTreeMap<&'static str, u64>,
}

impl fmt::Display for DecodeSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, accepted, duplicate, quarantined, refused, ignored, .. } = self;
        write!(
            f,
            "{lines} lines: {accepted} readings accepted, {duplicate} duplicate, {quarantined} \
             quarantined, {refused} refused, {ignored} ignored"
        )
    }
}

/// Runs the command and reports.
///
/// # Errors
/// Config or stream cannot be used, or something cannot be written.
pub fn run(args: &DecodeArgs) -> Result<DecodeSummary, CommandError> {
    let mut config = match &args.config {
        Some(path) => AgentConfig::load(path),
        None => AgentConfig::parse(ANY_TOPIC)
            .map_err(|problems| ConfigError::Problems { path: "decode".into(), problems }),
    }
    .map_err(CommandError::Config)?;
    config.clock.source = ClockSource::Topic;
    // Told by the receive times alone: no message of the recording is a tick.
    config.clock.topic = String::new();
    let are_samples = recorded::are_samples(&args.jsonl).map_err(CommandError::Input)?;
    if are_samples {
        config.days.grace = ANY_TIME;
        config.days.retention = ANY_TIME;
        config.days.max_future = ANY_TIME;
    }
    let mut stream =
        Recorded::open(&args.jsonl, args.timezone.clone()).map_err(CommandError::Input)?;
    let mut decoder = Decoder::new(&config, args, are_samples)?;
    while let Some(line) = stream.next_line().map_err(CommandError::Input)? {
        match line {
            Ok(message) => decoder.take(message)?,
            Err((number, reason)) => decoder.unreadable(number, reason)?,
        }
    }
    let summary = decoder.finish()?;
    report(&summary, args.json)?;
    Ok(summary)
}

/// What a row says of its message.
struct About {
    line: u64,
    recv: Option<UtcMillis>,
    topic: String,
    format: &'static str,
}

struct Decoder {
    intake: Intake,
    /// Each line is judged alone.
    are_samples: bool,
    limits: Limits,
    store: Store,
    folder: TempDir,
    retention_days: i32,
    output: Output,
    /// The messages since the last commit; the first has the number `first`.
    abouts: Vec<About>,
    first: u64,
    summary: DecodeSummary,
}

impl Decoder {
    fn new(
        config: &AgentConfig,
        args: &DecodeArgs,
        are_samples: bool,
    ) -> Result<Self, CommandError> {
        let folder = tempfile::tempdir()
            .map_err(|source| CommandError::Output { path: std::env::temp_dir(), source })?;
        let failed = |source| CommandError::Scratch { path: folder.path().to_owned(), source };
        let store = Store::open(&folder.path().join("store"), &StoreOptions::default());
        let store = store.map_err(failed)?.store;
        let (metrics, seen) = (Arc::default(), Arc::default());
        let mut intake =
            Intake::new(config, args.timezone.clone(), &store, metrics, seen).map_err(failed)?;
        intake.verdicts = Some(Vec::new());
        let mut output = Output::create(&args.out)?;
        output.row(COLUMNS)?;
        Ok(Self {
            first: intake.next_message(),
            intake,
            are_samples,
            limits: config.limits(),
            store,
            folder,
            retention_days: config.retention_days(),
            output,
            abouts: Vec::new(),
            summary: DecodeSummary::default(),
        })
    }

    fn take(&mut self, message: RecordedMessage) -> Result<(), CommandError> {
        let RecordedMessage { line, at, topic, payload } = message;
        self.summary.lines += 1;
        if self.are_samples {
            self.commit()?;
            self.intake.forget_readings(self.limits);
            self.intake.clock = Clock::of_ticks(UtcMillis::default());
        }
        self.intake.clock.tick(at.unwrap_or_else(system_now));
        if !self.are_samples {
            self.close_days()?;
        }
        let taken = Message {
            topic: &topic,
            payload: &payload,
            packet: None,
            is_again: false,
            is_retained: false,
        };
        self.intake.take(&taken);
        self.intake.heard.clear();
        let format = self.intake.format.map_or_else(|| format(&payload), Format::name);
        self.abouts.push(About { line, recv: at, topic, format });
        if self.abouts.len() >= MESSAGES_PER_COMMIT { self.commit() } else { Ok(()) }
    }

    /// A line that the broker would never have sent.
    fn unreadable(&mut self, line: u64, reason: Refusal) -> Result<(), CommandError> {
        self.summary.lines += 1;
        // In the order of the lines.
        self.commit()?;
        let about = About { line, recv: None, topic: String::new(), format: "" };
        let status = match reason {
            Refusal::UnknownTopic => Status::Ignored(reason),
            _ => Status::Refused(reason),
        };
        self.row(&about, None, status)
    }

    /// Closes days as the running agent does, but for what it computes from them.
    fn close_days(&mut self) -> Result<(), CommandError> {
        while let Some(day) = self.intake.collector.poll_closed(self.intake.clock.now()) {
            self.commit()?;
            self.close(&day).map_err(|source| self.failed(source))?;
        }
        while self.intake.collector.poll_reopened(self.intake.clock.now()).is_some() {}
        Ok(())
    }

    fn close(&mut self, day: &LocalDay) -> Result<(), StoreError> {
        for sensor in self.store.begin_close(day.date)? {
            self.store.unmark(day.date, sensor)?;
        }
        self.intake.collector.closed(day.date);
        let oldest = day.date.plus_days(self.retention_days.saturating_neg());
        self.store.prune(Prune::Days, oldest)?;
        self.intake.days.forget_before(oldest);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), CommandError> {
        self.keep().map_err(|source| self.failed(source))?;
        let mut verdicts = self.intake.verdicts.replace(Vec::new()).unwrap_or_default();
        verdicts.sort_by_key(|verdict| verdict.message);
        let abouts = std::mem::take(&mut self.abouts);
        for verdict in verdicts {
            let place = usize::try_from(verdict.message.saturating_sub(self.first));
            let about = place.ok().and_then(|place| abouts.get(place));
            if let Some(about) = about {
                self.row(about, Some(&verdict), verdict.status)?;
            }
        }
        self.first = self.intake.next_message();
        Ok(())
    }

    fn keep(&mut self) -> Result<(), StoreError> {
        if self.are_samples {
            return self.intake.resolve(&self.store);
        }
        if self.intake.batch.is_empty() {
            return Ok(());
        }
        self.intake.write(&self.store)?;
        self.intake.batch.clear();
        if self.store.journal_size().0 >= FOLD_RECORDS {
            self.store.fold()?;
        }
        Ok(())
    }

    fn failed(&self, source: StoreError) -> CommandError {
        CommandError::Scratch { path: self.folder.path().to_owned(), source }
    }

    fn row(
        &mut self,
        about: &About,
        verdict: Option<&Verdict>,
        status: Status,
    ) -> Result<(), CommandError> {
        let count = match status {
            Status::Accepted => &mut self.summary.accepted,
            Status::Duplicate(_) => &mut self.summary.duplicate,
            Status::Quarantined => &mut self.summary.quarantined,
            Status::Refused(_) => &mut self.summary.refused,
            Status::Ignored(_) => &mut self.summary.ignored,
        };
        *count += 1;
        self.summary.rows += 1;
        let reason = status.reason().map_or("", Refusal::name);
        if !reason.is_empty() {
            *self.summary.reasons.entry(reason).or_default() += 1;
        }
        let sensor = verdict.and_then(|verdict| verdict.sensor);
        let named = sensor.and_then(|number| self.intake.routes.named(number));
        let (id, quantity) = named.map_or(("", None), |(id, quantity)| (id, Some(quantity)));
        let text = |shown: Option<String>| shown.unwrap_or_default();
        let cells = [
            about.line.to_string(),
            text(about.recv.map(|at| at.to_string())),
            about.topic.clone(),
            about.format.to_owned(),
            id.to_owned(),
            quantity.map_or("", |quantity| quantity.name()).to_owned(),
            quantity.map_or("", |quantity| quantity.unit()).to_owned(),
            text(verdict.and_then(|verdict| verdict.at).map(|at| at.to_string())),
            text(verdict.and_then(|verdict| verdict.value).map(|value| value.to_string())),
            text(verdict.and_then(|verdict| verdict.date).map(|date| date.to_string())),
            status.name().to_owned(),
            reason.to_owned(),
        ];
        self.output.row(cells)
    }

    fn finish(mut self) -> Result<DecodeSummary, CommandError> {
        self.commit()?;
        self.output.finish()?;
        Ok(self.summary)
    }
}
