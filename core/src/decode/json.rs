//! A payload that is JSON: an object with a value and perhaps a time beside whatever else.
//!
//! The time is under `ts`, `timestamp`, `time` or `t`, the value under `value`, `v` or `val`;
//! if several are there the first of these names counts, and of a repeated key the first. A null
//! is as good as absent. Numbers may be written as strings.
//!
//! Other members are skipped without recursion, whatever their depth.

use alloc::string::String;
use core::fmt;

use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{Decoded, number, timestamp};
use crate::{reading::Refusal, time::UtcMillis};

pub(super) const TIME_NAMES: [&str; 4] = ["ts", "timestamp", "time", "t"];
const VALUE_NAMES: [&str; 3] = ["value", "v", "val"];

/// Decodes JSON text without white space around it.
///
/// # Errors
/// See [`super::decode`].
pub fn decode(text: &str) -> Result<Decoded, Refusal> {
    parse::<Document>(text)?.into_reading()
}

/// Parses JSON, and what devices take for JSON.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    // Python and many firmwares write NaN and Infinity, which JSON does not have, and overflow is
    // a syntax error to the parser. This is rare, so it may allocate.
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&quote_what_is_not_finite(text)))
        .map_err(|_| Refusal::Malformed)
}

/// Puts bare words and numbers that stand for no finite number in quotes.
fn quote_what_is_not_finite(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let token_length = match first {
            '"' => string_length(rest),
            c if is_bare(c) => rest.find(|c| !is_bare(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, tail) = rest.split_at(token_length);
        if is_bare(first) && token.parse::<f64>().is_ok_and(|number| !number.is_finite()) {
            quoted.push('"');
            quoted.push_str(token);
            quoted.push('"');
        } else {
            quoted.push_str(token);
        }
        rest = tail;
    }
    quoted
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// How many bytes the string at the start of `text` takes, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

/// What a payload holds, before time and value are judged.
#[derive(Debug)]
enum Document {
    Object { time: Field<Result<UtcMillis, Refusal>>, value: Field<Result<f64, Refusal>> },
    Scalar(Result<f64, Refusal>),
    List,
}

impl Document {
    fn into_reading(self) -> Result<Decoded, Refusal> {
        match self {
            Self::Object { time, value } => {
                let value = value.held.ok_or(Refusal::NoValue)??;
                Ok(Decoded { ts: time.held.transpose()?, value })
            }
            Self::Scalar(value) => value.map(|value| Decoded { ts: None, value }),
            Self::List => Err(Refusal::NoValue),
        }
    }
}

/// What was found for a field that several names stand for.
#[derive(Debug)]
struct Field<T> {
    held: Option<T>,
    /// Place of the name it was found under; a lower one replaces it.
    rank: usize,
}

impl<T> Field<T> {
    const EMPTY: Self = Self { held: None, rank: usize::MAX };

    fn offer(&mut self, rank: usize, found: Option<T>) {
        if found.is_some() && rank < self.rank {
            *self = Self { held: found, rank };
        }
    }
}

/// What a key stands for, and the place of its name in the list.
enum Key {
    Time(usize),
    Value(usize),
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                let place = |names: &[&str]| names.iter().position(|name| *name == key);
                Ok(match (place(&VALUE_NAMES), place(&TIME_NAMES)) {
                    (Some(rank), _) => Key::Value(rank),
                    (_, Some(rank)) => Key::Time(rank),
                    _ => Key::Other,
                })
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DocumentVisitor;
        impl<'de> Visitor<'de> for DocumentVisitor {
            type Value = Document;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let (mut time, mut value) = (Field::EMPTY, Field::EMPTY);
                while let Some(key) = map.next_key()? {
                    match key {
                        Key::Time(rank) => time.offer(rank, map.next_value::<Scalar>()?.time()),
                        Key::Value(rank) => value.offer(rank, map.next_value::<Scalar>()?.value()),
                        Key::Other => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Document::Object { time, value })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Document, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Document::List)
            }
            fn visit_str<E>(self, text: &str) -> Result<Document, E> {
                Ok(Document::Scalar(number::decode_field(text)))
            }
        }
        deserializer.deserialize_any(DocumentVisitor)
    }
}

/// One member's value, already read both ways: it is small, and text is not kept.
enum Scalar {
    Null,
    Integer(i64),
    Number(f64),
    Text { time: Result<UtcMillis, Refusal>, value: Result<f64, Refusal> },
    Other,
}

impl Scalar {
    fn time(self) -> Option<Result<UtcMillis, Refusal>> {
        match self {
            Self::Null => None,
            Self::Integer(number) => Some(timestamp::from_integer(number)),
            Self::Number(number) => Some(timestamp::from_number(number)),
            Self::Text { time, .. } => Some(time),
            Self::Other => Some(Err(Refusal::BadTimestamp)),
        }
    }

    fn value(self) -> Option<Result<f64, Refusal>> {
        match self {
            Self::Null => None,
            #[expect(clippy::cast_precision_loss, reason = "as any JSON reader rounds it")]
            Self::Integer(number) => Some(Ok(number as f64)),
            Self::Number(number) if number.is_finite() => Some(Ok(number)),
            Self::Number(_) => Some(Err(Refusal::NotFinite)),
            Self::Text { value, .. } => Some(value),
            Self::Other => Some(Err(Refusal::NotANumber)),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Null)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
                Ok(Scalar::Other)
            }
            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Integer(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                #[expect(clippy::cast_precision_loss, reason = "as any JSON reader rounds it")]
                Ok(i64::try_from(number).map_or(Scalar::Number(number as f64), Scalar::Integer))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }
            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                let (time, value) = (timestamp::from_text(text), number::decode_field(text));
                Ok(Scalar::Text { time, value })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_names_and_of_repeated_keys_counts() {
        let value = |text| decode(text).map(|decoded| decoded.value);
        assert_eq!(value(r#"{"v":1,"value":2,"val":3}"#), Ok(2.0));
        assert_eq!(value(r#"{"value":1,"value":2}"#), Ok(1.0));
        assert_eq!(value(r#"{"value":null,"v":4}"#), Ok(4.0));
        let time = decode(r#"{"t":1711321200,"ts":1711321201,"v":1}"#).map(|d| d.ts);
        assert_eq!(time, Ok(Some(UtcMillis(1_711_321_201_000))));
    }

    #[test]
    fn a_bare_nan_elsewhere_does_not_cost_the_value() {
        let text = r#"{"note":"a \" NaN","rssi":NaN,"value":21.5}"#;
        assert_eq!(decode(text).map(|decoded| decoded.value), Ok(21.5));
    }

    #[test]
    fn keys_with_escapes_are_read_as_what_they_say() {
        assert_eq!(decode(r#"{"val\u0075e":2}"#).map(|decoded| decoded.value), Ok(2.0));
    }
}
