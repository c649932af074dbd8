//! What a replay publishes: rows of a CSV file or of a recorded broker stream, and clock ticks.

use std::path::Path;

use daywise_core::time::UtcMillis;
use rumqttc::{Publish, QoS};

use super::ReplayArgs;
use crate::{
    commands::recorded::{Recorded, RecordedMessage},
    csv_input::{CsvReadings, InputError, RefusedRows},
};

/// A tick is sent whenever this part of an hour changes.
const TICK_MS: i64 = 60_000;

/// One message to publish, and when it belongs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) at: UtcMillis,
    pub(super) is_tick: bool,
    pub(super) publish: Publish,
}

impl Message {
    fn reading(at: UtcMillis, topic: String, payload: Vec<u8>) -> Self {
        Self { at, is_tick: false, publish: Publish::new(topic, QoS::AtLeastOnce, payload) }
    }

    fn tick(at: UtcMillis, topic: &str) -> Self {
        let publish = Publish::new(topic, QoS::AtLeastOnce, at.0.to_string());
        Self { at, is_tick: true, publish }
    }
}

/// What the file held.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) rows: u64,
    /// Rows of days before `--from` or after `--to`.
    pub(super) outside: u64,
    pub(super) refused: RefusedRows,
}

/// The messages of a file in its order, with ticks before those that they let in.
pub(super) struct Messages {
    rows: Rows,
    /// Prefix of the topics of CSV rows.
    prefix: String,
    days: (UtcMillis, UtcMillis),
    left: u64,
    outside: u64,
    clock: Option<Ticker>,
    /// The message that a tick was put before.
    next: Option<Message>,
    /// Ticks still to come after the last message.
    last_ticks: Option<Vec<UtcMillis>>,
    then_advance_ms: Option<i64>,
}

enum Rows {
    Csv(Box<CsvReadings>),
    Recorded(Box<Recorded>),
}

impl Messages {
    pub(super) fn open(args: &ReplayArgs) -> Result<Self, InputError> {
        let calendar = args.timezone.clone();
        let start = args.from.map_or(UtcMillis(i64::MIN), |date| calendar.day(date).start);
        let end = args.to.map_or(UtcMillis(i64::MAX), |date| calendar.day(date).end);
        let rows = match (&args.input.csv, &args.input.jsonl) {
            (Some(path), _) => Rows::Csv(Box::new(CsvReadings::open(path, calendar)?)),
            (None, path) => {
                let path = path.as_deref().unwrap_or(Path::new("-"));
                Rows::Recorded(Box::new(Recorded::open(path, calendar)?))
            }
        };
        Ok(Self {
            rows,
            prefix: args.topic_prefix.trim_end_matches('/').to_owned(),
            days: (start, end),
            left: args.limit.unwrap_or(u64::MAX),
            outside: 0,
            clock: args.clock_topic.clone().map(Ticker::new),
            next: None,
            last_ticks: None,
            then_advance_ms: args.then_advance.map(|duration| duration.as_ms()),
        })
    }

    /// The next message, ticks included.
    pub(super) fn next(&mut self) -> Result<Option<Message>, InputError> {
        if let Some(held) = self.next.take() {
            return Ok(Some(held));
        }
        let Some(message) = self.next_reading()? else { return Ok(self.next_last_tick()) };
        if let Some(clock) = &mut self.clock
            && let Some(tick) = clock.before(message.at)
        {
            self.next = Some(message);
            return Ok(Some(tick));
        }
        Ok(Some(message))
    }

    fn next_reading(&mut self) -> Result<Option<Message>, InputError> {
        while self.left > 0 {
            let message = match &mut self.rows {
                Rows::Csv(readings) => readings.next_row()?.map(|row| {
                    let topic = match self.prefix.as_str() {
                        "" => row.sensor.to_owned(),
                        prefix => format!("{prefix}/{}", row.sensor),
                    };
                    // Debug of a float is the shortest text that reads back, and valid JSON.
                    let payload = format!("{{\"ts\":{},\"value\":{:?}}}", row.at.0, row.value);
                    Message::reading(row.at, topic, payload.into_bytes())
                }),
                Rows::Recorded(recorded) => recorded.next_message()?.map(|(at, recorded)| {
                    let RecordedMessage { topic, payload, .. } = recorded;
                    Message::reading(at, topic, payload)
                }),
            };
            let Some(message) = message else { break };
            if message.at < self.days.0 || message.at >= self.days.1 {
                self.outside += 1;
                continue;
            }
            self.left -= 1;
            return Ok(Some(message));
        }
        Ok(None)
    }

    fn next_last_tick(&mut self) -> Option<Message> {
        let clock = self.clock.as_ref()?;
        let advance = self.then_advance_ms;
        let ticks = self.last_ticks.get_or_insert_with(|| {
            let newest = clock.newest.into_iter();
            // Taken from the end.
            newest.flat_map(|at| advance.map(|ms| at + ms).into_iter().chain([at])).collect()
        });
        ticks.pop().map(|at| Message::tick(at, &clock.topic))
    }

    pub(super) fn finish(self) -> Result<Tally, InputError> {
        let (rows, refused) = match self.rows {
            Rows::Csv(readings) => readings.finish()?,
            Rows::Recorded(recorded) => recorded.finish()?,
        };
        Ok(Tally { rows, outside: self.outside, refused })
    }
}

/// Decides when the site's clock must be told to the agent.
#[derive(Debug)]
struct Ticker {
    topic: String,
    newest: Option<UtcMillis>,
}

impl Ticker {
    fn new(topic: String) -> Self {
        Self { topic, newest: None }
    }

    /// The tick to send before a message of `at`, if it begins a new minute. Late messages do
    /// not turn the clock back.
    fn before(&mut self, at: UtcMillis) -> Option<Message> {
        let minute = |at: UtcMillis| at.0.div_euclid(TICK_MS);
        let is_new = self.newest.is_none_or(|newest| minute(newest) < minute(at));
        self.newest = self.newest.max(Some(at));
        is_new.then(|| Message::tick(at, &self.topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_ticks_once_a_minute_and_never_back() {
        let mut clock = Ticker::new("c".into());
        let ticks: Vec<Option<i64>> = [59_000, 59_500, 60_000, 61_000, 30_000, 60_500, 300_000]
            .map(|at| clock.before(UtcMillis(at)).map(|tick| tick.at.0))
            .to_vec();
        let expected = [Some(59_000), None, Some(60_000), None, None, None, Some(300_000)];
        assert_eq!(ticks, expected);
        assert_eq!(clock.newest, Some(UtcMillis(300_000)));
    }
}
