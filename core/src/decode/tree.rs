//! A JSON document as devices nest it: its numbers, each under its path.

use alloc::string::String;

use serde_json::{Map, Value};

use super::number;
use crate::reading::Refusal;

/// The most values of one message that are looked at; what follows is left out.
pub(super) const MAX_VALUES: usize = 512;
/// The most levels of a path.
const MAX_DEPTH: usize = 8;
/// The longest path, in bytes; a deeper or longer one is left out.
const MAX_PATH: usize = 160;

/// Something a path leads to that may be a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Leaf<'a> {
    /// The keys that lead to it, with `/` between them; list places count from 0.
    pub(super) path: &'a str,
    /// Its value, or why it has none.
    pub(super) value: Result<f64, Refusal>,
    /// The unit that is written behind the number.
    pub(super) unit: Option<&'a str>,
    /// Whether it is written as text.
    pub(super) is_text: bool,
}

/// Visits every number below `value`, and every text that holds one, in the document's order.
/// Other texts, truth values and nulls are no readings, and are passed over.
pub(super) fn numbers(value: &Value, prefix: &str, visit: &mut dyn FnMut(Leaf<'_>)) {
    let mut left = MAX_VALUES;
    walk(value, &mut prefix.into(), 0, &mut left, scalar, visit);
}

/// The same, and also where devices write that there is no value: null, no text, `unknown`.
pub(super) fn numbers_and_gaps(value: &Value, prefix: &str, visit: &mut dyn FnMut(Leaf<'_>)) {
    let mut left = MAX_VALUES;
    walk(value, &mut prefix.into(), 0, &mut left, scalar_or_gap, visit);
}

/// How a leaf is read; `None` if it is no reading.
type Read = fn(&Value) -> Option<(Result<f64, Refusal>, Option<&str>)>;

fn walk(
    value: &Value,
    path: &mut String,
    depth: usize,
    left: &mut usize,
    read: Read,
    visit: &mut dyn FnMut(Leaf<'_>),
) {
    if *left == 0 || depth > MAX_DEPTH || path.len() > MAX_PATH {
        return;
    }
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let length = enter(path, key);
                walk(member, path, depth + 1, left, read, visit);
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate().take(*left) {
                let length = enter(path, &alloc::format!("{place}"));
                walk(item, path, depth + 1, left, read, visit);
                path.truncate(length);
            }
        }
        _ => {
            let is_text = value.is_string();
            if let Some((value, unit)) = read(value) {
                *left -= 1;
                visit(Leaf { path, value, unit, is_text });
            }
        }
    }
}

fn enter(path: &mut String, key: &str) -> usize {
    let length = path.len();
    if length > 0 {
        path.push('/');
    }
    path.push_str(key);
    length
}

/// A number, or a text that holds one with perhaps a unit; `None` for what is no reading.
#[must_use]
pub(super) fn scalar(value: &Value) -> Option<(Result<f64, Refusal>, Option<&str>)> {
    match value {
        Value::Number(number) => {
            let number = number.as_f64().filter(|number| number.is_finite());
            Some((number.ok_or(Refusal::NotFinite), None))
        }
        Value::String(text) => match number::with_unit(text) {
            Some((number, unit)) if number.is_finite() => {
                Some((Ok(number), Some(unit).filter(|unit| !unit.is_empty())))
            }
            Some(_) => Some((Err(Refusal::NotFinite), None)),
            None => None,
        },
        _ => None,
    }
}

/// As [`scalar`]; null and the words for it are a value that is missing.
fn scalar_or_gap(value: &Value) -> Option<(Result<f64, Refusal>, Option<&str>)> {
    match value {
        Value::Null => Some((Err(Refusal::NoValue), None)),
        Value::String(text) if is_gap(text) => Some((Err(Refusal::NoValue), None)),
        _ => scalar(value),
    }
}

/// Whether `text` says that there is no value.
#[must_use]
pub(super) fn is_gap(text: &str) -> bool {
    let text = text.trim();
    text.is_empty()
        || ["null", "none", "unknown", "unavailable"]
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word))
}

/// The text at `key`.
#[must_use]
pub(super) fn text<'v>(object: &'v Map<String, Value>, key: &str) -> Option<&'v str> {
    object.get(key).and_then(Value::as_str)
}

/// What is at `path`, unless that is null.
#[must_use]
pub(super) fn at<'v>(document: &'v Value, path: &[&str]) -> Option<&'v Value> {
    let found = path.iter().try_fold(document, |value, key| value.get(key))?;
    (!found.is_null()).then_some(found)
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;

    #[test]
    fn every_number_is_found_under_its_path() {
        let text = r#"{"a":{"b":1.5,"c":[2,null]},"d":"22.5 °C","e":"on","f":true,"g":"NaN"}"#;
        let mut found = Vec::new();
        numbers(&serde_json::from_str(text).unwrap(), "", &mut |leaf| {
            found.push((leaf.path.to_string(), leaf.value, leaf.unit.map(ToString::to_string)));
        });
        let unit = Some("°C".to_string());
        let expected = [
            ("a/b".to_string(), Ok(1.5), None),
            ("a/c/0".to_string(), Ok(2.0), None),
            ("d".to_string(), Ok(22.5), unit),
            ("g".to_string(), Err(Refusal::NotFinite), None),
        ];
        assert_eq!(found[..], expected);
    }

    #[test]
    fn missing_values_are_told_where_they_are_asked_for() {
        let document = serde_json::from_str(r#"{"a":null,"b":"unavailable","c":"on","d":""}"#);
        let mut found = Vec::new();
        numbers_and_gaps(&document.unwrap(), "", &mut |leaf| {
            found.push((leaf.path.to_string(), leaf.value));
        });
        let gap = |path: &str| (path.to_string(), Err(Refusal::NoValue));
        assert_eq!(found[..], [gap("a"), gap("b"), gap("d")]);
    }

    #[test]
    fn endless_documents_give_a_bounded_number_of_values() {
        let many = ["[", &"1,".repeat(30_000), "1]"].concat();
        let mut count = 0;
        numbers(&serde_json::from_str(&many).unwrap(), "x", &mut |_| count += 1);
        assert_eq!(count, MAX_VALUES);
    }
}
