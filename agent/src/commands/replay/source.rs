//! What a replay publishes: rows of a CSV file or of a recorded broker stream, and clock ticks.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

use daywise_core::{
    decode::{MAX_PAYLOAD_BYTES, timestamp},
    reading::Refusal,
    time::UtcMillis,
};
use rumqttc::{Publish, QoS};
use serde::Deserialize;

use super::ReplayArgs;
use crate::{
    calendar::Calendar,
    csv_input::{CsvReadings, InputError, Lines, RefusedRows, read_time},
};

/// A tick is sent whenever this part of an hour changes.
const TICK_MS: i64 = 60_000;
/// MQTT's own limit.
const MAX_TOPIC_BYTES: usize = 65_535;

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
                Rows::Recorded(recorded) => recorded.next_message()?,
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

/// A recorded stream: one JSON object a line.
struct Recorded {
    path: PathBuf,
    lines: Lines,
    calendar: Calendar,
    rows: u64,
    refused: RefusedRows,
}

#[derive(Deserialize)]
struct RecordedLine<'a> {
    #[serde(borrow)]
    recv: Recv<'a>,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    payload: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload_b64: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Recv<'a> {
    Number(f64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

impl Recorded {
    fn open(path: &Path, calendar: Calendar) -> Result<Self, InputError> {
        let lines = Lines::open(path)
            .map_err(|source| InputError::Open { path: path.to_owned(), source })?;
        let refused = RefusedRows::new(path.display().to_string());
        Ok(Self { path: path.to_owned(), lines, calendar, rows: 0, refused })
    }

    fn next_message(&mut self) -> Result<Option<Message>, InputError> {
        loop {
            let line = match self.lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(source) => return Err(self.read_error(source)),
            };
            self.rows += 1;
            let number = line.number;
            match line.text.and_then(|text| parse_recorded(text, &mut self.calendar)) {
                Ok(message) => return Ok(Some(message)),
                Err(reason) => self.refused.note(number, reason.name(), ""),
            }
        }
    }

    fn read_error(&self, source: io::Error) -> InputError {
        InputError::Read { path: self.path.clone(), line: self.lines.number(), source }
    }

    fn finish(mut self) -> Result<(u64, RefusedRows), InputError> {
        self.refused.tell();
        if self.refused.total() >= self.rows {
            return Err(InputError::NothingUsable { path: self.path, rows: self.rows });
        }
        Ok((self.rows, self.refused))
    }
}

fn parse_recorded(text: &str, calendar: &mut Calendar) -> Result<Message, Refusal> {
    let line: RecordedLine<'_> = serde_json::from_str(text).map_err(|_| Refusal::Malformed)?;
    let at = match line.recv {
        Recv::Number(number) => timestamp::from_number(number)?,
        Recv::Text(text) => read_time(&text, calendar)?,
    };
    let topic = line.topic.into_owned();
    // A broker would cut the connection for these.
    if topic.is_empty()
        || topic.len() > MAX_TOPIC_BYTES
        || topic.contains(['+', '#', '\0'])
        || topic.starts_with('$')
    {
        return Err(Refusal::UnknownTopic);
    }
    let payload = match (line.payload, line.payload_b64) {
        (Some(text), _) => text.into_owned().into_bytes(),
        (None, Some(text)) => decode_base64(&text).ok_or(Refusal::Malformed)?,
        (None, None) => return Err(Refusal::NoValue),
    };
    // Twice what the agent looks at, so that its own refusal can be replayed.
    if payload.len() > 2 * MAX_PAYLOAD_BYTES {
        return Err(Refusal::TooLarge);
    }
    Ok(Message::reading(at, topic, payload))
}

/// Standard base64, padded or not.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for sign in text.trim_end_matches('=').bytes() {
        let six = match sign {
            b'A'..=b'Z' => sign - b'A',
            b'a'..=b'z' => sign - b'a' + 26,
            b'0'..=b'9' => sign - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    // A single sign left over carries no byte.
    (held < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc() -> Calendar {
        Calendar::utc()
    }

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

    #[test]
    fn recorded_lines_are_published_as_they_are() {
        let parse = |text: &str| parse_recorded(text, &mut utc());
        let message =
            parse(r#"{"recv":"2024-03-24T23:00:00.5Z","topic":"a/b","payload":"{\"v\":1}","x":1}"#)
                .unwrap();
        assert_eq!(message.at, UtcMillis(1_711_321_200_500));
        assert_eq!(
            (message.publish.topic.as_str(), &message.publish.payload[..]),
            ("a/b", &b"{\"v\":1}"[..])
        );
        let bytes = parse(r#"{"recv":1711321200,"topic":"a","payload_b64":"//4B"}"#).unwrap();
        assert_eq!(&bytes.publish.payload[..], [0xff, 0xfe, 1]);
        for (text, reason) in [
            ("{", Refusal::Malformed),
            (r#"{"recv":"x","topic":"a","payload":""}"#, Refusal::BadTimestamp),
            (r#"{"recv":1711321200,"topic":"a/#","payload":""}"#, Refusal::UnknownTopic),
            (r#"{"recv":1711321200,"topic":"$SYS/x","payload":""}"#, Refusal::UnknownTopic),
            (r#"{"recv":1711321200,"topic":"a"}"#, Refusal::NoValue),
            (r#"{"recv":1711321200,"topic":"a","payload_b64":"?"}"#, Refusal::Malformed),
        ] {
            assert_eq!(parse(text).unwrap_err(), reason, "{text}");
        }
    }

    #[test]
    fn base64_reads_with_and_without_padding() {
        assert_eq!(decode_base64("aGk="), Some(b"hi".to_vec()));
        assert_eq!(decode_base64("aGk"), Some(b"hi".to_vec()));
        assert_eq!(decode_base64(""), Some(vec![]));
        assert_eq!(decode_base64("a"), None);
        assert_eq!(decode_base64("a b="), None);
    }
}
