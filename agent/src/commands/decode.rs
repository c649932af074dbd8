//! `decode`: a recorded broker stream through the running agent's own decoding, checks, duplicate
//! removal, clock rules and day assignment; one row per reading or refusal.
//!
//! The stream's receive times are the clock. Readings are kept in a store of their own for the
//! time of the command, because what is a repeat is decided by what the store holds. Days close
//! and are forgotten as they would be on the gateway.
//!
//! A collection of samples, whose lines do not all say when they were received, has no such time:
//! each line is judged alone, and no reading is too old or too new.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::{
    CommandError,
    output::Output,
    recorded::{self, Recorded, RecordedMessage},
    report,
    scratch::{self, Scratch},
};
use crate::{
    calendar::Calendar,
    clock::{Clock, system_now},
    config::AgentConfig,
    intake::{Message, Status, Verdict},
    store::{Prune, StoreError},
};
use daywise_core::{
    collect::Limits,
    decode::{Format, format},
    duration::HumanDuration,
    reading::Refusal,
    time::{LocalDay, UtcMillis},
};
use serde::Serialize;

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
    let mut config = scratch::config(args.config.as_ref())?;
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
    scratch: Scratch,
    /// Each line is judged alone.
    are_samples: bool,
    limits: Limits,
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
        let scratch = Scratch::new(config, args.timezone.clone())?;
        let mut output = Output::create(&args.out)?;
        output.row(COLUMNS)?;
        Ok(Self {
            first: scratch.intake.next_message(),
            scratch,
            are_samples,
            limits: config.limits(),
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
            self.scratch.intake.forget_readings(self.limits);
            self.scratch.intake.clock = Clock::of_ticks(UtcMillis::default());
        }
        self.scratch.intake.clock.tick(at.unwrap_or_else(system_now));
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
        self.scratch.intake.take(&taken);
        self.scratch.intake.heard.clear();
        let format = self.scratch.intake.format.map_or_else(|| format(&payload), Format::name);
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
        while let Some(day) =
            self.scratch.intake.collector.poll_closed(self.scratch.intake.clock.now())
        {
            self.commit()?;
            self.close(&day).map_err(|source| self.scratch.failed(source))?;
        }
        while self.scratch.intake.collector.poll_reopened(self.scratch.intake.clock.now()).is_some()
        {
        }
        Ok(())
    }

    fn close(&mut self, day: &LocalDay) -> Result<(), StoreError> {
        for sensor in self.scratch.store.begin_close(day.date)? {
            self.scratch.store.unmark(day.date, sensor)?;
        }
        self.scratch.intake.collector.closed(day.date);
        let oldest = day.date.plus_days(self.retention_days.saturating_neg());
        self.scratch.store.prune(Prune::Days, oldest)?;
        self.scratch.intake.days.forget_before(oldest);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), CommandError> {
        self.keep().map_err(|source| self.scratch.failed(source))?;
        let mut verdicts = self.scratch.intake.verdicts.replace(Vec::new()).unwrap_or_default();
        verdicts.sort_by_key(|verdict| verdict.message);
        let abouts = std::mem::take(&mut self.abouts);
        for verdict in verdicts {
            let place = usize::try_from(verdict.message.saturating_sub(self.first));
            let about = place.ok().and_then(|place| abouts.get(place));
            if let Some(about) = about {
                self.row(about, Some(&verdict), verdict.status)?;
            }
        }
        self.first = self.scratch.intake.next_message();
        Ok(())
    }

    fn keep(&mut self) -> Result<(), StoreError> {
        if self.are_samples {
            return self.scratch.intake.resolve(&self.scratch.store);
        }
        if self.scratch.intake.batch.is_empty() {
            return Ok(());
        }
        self.scratch.intake.write(&self.scratch.store)?;
        self.scratch.intake.batch.clear();
        if self.scratch.store.journal_size().0 >= FOLD_RECORDS {
            self.scratch.store.fold()?;
        }
        Ok(())
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
        let named = sensor.and_then(|number| self.scratch.intake.routes.named(number));
        let name = verdict.and_then(|verdict| verdict.name.as_deref()).unwrap_or_default();
        let (id, quantity) = named.map_or((name, None), |(id, quantity)| (id, Some(quantity)));
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
