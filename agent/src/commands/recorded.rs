//! A recorded broker stream: one JSON object a line, with `recv`, `topic` and `payload` (text) or
//! `payload_b64`; or a collection of samples: without `recv`, and `payload` also as hex digits,
//! which `payload_encoding` then says.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

use daywise_core::{
    decode::{MAX_PAYLOAD_BYTES, base64, timestamp},
    reading::Refusal,
    time::UtcMillis,
};
use serde::Deserialize;

use crate::{
    calendar::Calendar,
    csv_input::{InputError, Lines, RefusedRows, read_time},
};

/// MQTT's own limit.
const MAX_TOPIC_BYTES: usize = 65_535;

/// A recorded message, and when the broker had sent it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RecordedMessage {
    /// Its line in the file, from 1.
    pub(super) line: u64,
    /// When it was received; a sample may not say.
    pub(super) at: Option<UtcMillis>,
    /// Its topic.
    pub(super) topic: String,
    /// Its content.
    pub(super) payload: Vec<u8>,
}

/// A line's message, or its number and why it holds none.
pub(super) type RecordedLineOutcome = Result<RecordedMessage, (u64, Refusal)>;

/// A recorded stream: one JSON object a line.
pub(super) struct Recorded {
    path: PathBuf,
    lines: Lines,
    calendar: Calendar,
    rows: u64,
    refused: RefusedRows,
}

#[derive(Deserialize)]
struct RecordedLine<'a> {
    #[serde(borrow)]
    recv: Option<Recv<'a>>,
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    payload: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload_b64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload_encoding: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Recv<'a> {
    Number(f64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

impl Recorded {
    pub(super) fn open(path: &Path, calendar: Calendar) -> Result<Self, InputError> {
        let lines = Lines::open(path)
            .map_err(|source| InputError::Open { path: path.to_owned(), source })?;
        let refused = RefusedRows::new(path.display().to_string());
        Ok(Self { path: path.to_owned(), lines, calendar, rows: 0, refused })
    }

    /// The next message and when it was received; lines that lack either are counted and left out.
    pub(super) fn next_message(
        &mut self,
    ) -> Result<Option<(UtcMillis, RecordedMessage)>, InputError> {
        while let Some(line) = self.next_line()? {
            let (number, reason) = match line {
                Ok(message) => match message.at {
                    Some(at) => return Ok(Some((at, message))),
                    None => (message.line, Refusal::BadTimestamp),
                },
                Err(unreadable) => unreadable,
            };
            self.refused.note(number, reason.name(), "");
        }
        Ok(None)
    }

    /// The next line's message, or its number and why it holds none.
    pub(super) fn next_line(&mut self) -> Result<Option<RecordedLineOutcome>, InputError> {
        let line = match self.lines.next_line() {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(None),
            Err(source) => return Err(self.read_error(source)),
        };
        self.rows += 1;
        let number = line.number;
        let parsed = line.text.and_then(|text| parse_recorded(text, &mut self.calendar));
        Ok(Some(match parsed {
            Ok((at, topic, payload)) => Ok(RecordedMessage { line: number, at, topic, payload }),
            Err(reason) => Err((number, reason)),
        }))
    }

    fn read_error(&self, source: io::Error) -> InputError {
        InputError::Read { path: self.path.clone(), line: self.lines.number(), source }
    }

    pub(super) fn finish(mut self) -> Result<(u64, RefusedRows), InputError> {
        self.refused.tell();
        if self.refused.total() >= self.rows {
            return Err(InputError::NothingUsable { path: self.path, rows: self.rows });
        }
        Ok((self.rows, self.refused))
    }
}

fn parse_recorded(
    text: &str,
    calendar: &mut Calendar,
) -> Result<(Option<UtcMillis>, String, Vec<u8>), Refusal> {
    let line: RecordedLine<'_> = serde_json::from_str(text).map_err(|_| Refusal::Malformed)?;
    let at = match line.recv {
        Some(Recv::Number(number)) => Some(timestamp::from_number(number)?),
        Some(Recv::Text(text)) => Some(read_time(&text, calendar)?),
        None => None,
    };
    let topic = line.topic.into_owned();
    // A broker would cut the connection for these; who collects samples may have made their topics.
    if topic.is_empty()
        || topic.len() > MAX_TOPIC_BYTES
        || (at.is_some() && topic.contains(['+', '#', '\0']))
        || topic.starts_with('$')
    {
        return Err(Refusal::UnknownTopic);
    }
    let payload = match (line.payload, line.payload_b64) {
        (Some(text), _) => match line.payload_encoding.as_deref() {
            Some("hex") => decode_hex(&text).ok_or(Refusal::Malformed)?,
            Some("base64") => base64::decode(&text).ok_or(Refusal::Malformed)?,
            _ => text.into_owned().into_bytes(),
        },
        (None, Some(text)) => base64::decode(&text).ok_or(Refusal::Malformed)?,
        (None, None) => return Err(Refusal::NoValue),
    };
    // Twice what the agent looks at, so that its own refusal can be replayed.
    if payload.len() > 2 * MAX_PAYLOAD_BYTES {
        return Err(Refusal::TooLarge);
    }
    Ok((at, topic, payload))
}

/// Whether a file's messages are samples: one of them does not say when it was received.
pub(super) fn are_samples(path: &Path) -> Result<bool, InputError> {
    if path == Path::new("-") {
        // It can be read once only.
        return Ok(false);
    }
    let mut lines = Recorded::open(path, Calendar::utc())?;
    while let Some(line) = lines.next_line()? {
        if line.is_ok_and(|message| message.at.is_none()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_lines_are_taken_as_they_are() {
        let parse = |text: &str| parse_recorded(text, &mut Calendar::utc());
        let text = r#"{"recv":"2024-03-24T23:00:00.5Z","topic":"a/b","payload":"{\"v\":1}","x":1}"#;
        let expected =
            (Some(UtcMillis(1_711_321_200_500)), "a/b".to_owned(), b"{\"v\":1}".to_vec());
        assert_eq!(parse(text), Ok(expected));
        let bytes = parse(r#"{"recv":1711321200,"topic":"a","payload_b64":"//4B"}"#).unwrap();
        assert_eq!(bytes.2, [0xff, 0xfe, 1]);
        let sample = parse(r#"{"topic":"a","payload":"87fF","payload_encoding":"hex"}"#).unwrap();
        assert_eq!(sample, (None, "a".to_owned(), vec![0x87, 0xff]));
        for (text, reason) in [
            ("{", Refusal::Malformed),
            (r#"{"recv":"x","topic":"a","payload":""}"#, Refusal::BadTimestamp),
            (r#"{"recv":1711321200,"topic":"a/#","payload":""}"#, Refusal::UnknownTopic),
            (r#"{"recv":1711321200,"topic":"$SYS/x","payload":""}"#, Refusal::UnknownTopic),
            (r#"{"recv":1711321200,"topic":"a"}"#, Refusal::NoValue),
            (r#"{"topic":"a","payload":"8","payload_encoding":"hex"}"#, Refusal::Malformed),
            (r#"{"recv":1711321200,"topic":"a","payload_b64":"?"}"#, Refusal::Malformed),
        ] {
            assert_eq!(parse(text).unwrap_err(), reason, "{text}");
        }
    }
}
