//! A line's syntax: what is escaped, what is quoted, and what a number is.

use alloc::{borrow::Cow, string::String, vec::Vec};

use crate::reading::Refusal;

/// The most tags of a point.
const MAX_TAGS: usize = 64;
/// The longest measurement with its tags, in bytes; a sensor's id is shorter by far.
const MAX_SERIES: usize = 512;

/// A line, its parts still escaped. Every field of it can be read.
pub(super) struct Point<'a> {
    pub(super) measurement: &'a str,
    /// By key.
    pub(super) tags: Vec<(&'a str, &'a str)>,
    fields: &'a str,
    pub(super) time: Option<&'a str>,
}

impl<'a> Point<'a> {
    /// `None` if it is not a point.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let (series, rest) = split_once(line, ' ', false)?;
        let (fields, time) = match split_once(rest.trim_start(), ' ', true) {
            Some((fields, time)) => (fields, Some(time.trim()).filter(|time| !time.is_empty())),
            None => (rest.trim_start(), None),
        };
        let (measurement, tags) = match split_once(series, ',', false) {
            Some((measurement, tags)) => (measurement, Some(tags)),
            None => (series, None),
        };
        if series.len() > MAX_SERIES {
            return None;
        }
        // Influx takes an equals sign here. What has one is most often another notation.
        if measurement.is_empty() || split_once(measurement, '=', false).is_some() {
            return None;
        }
        let mut pairs = Vec::new();
        for tag in tags.into_iter().flat_map(|tags| parts(tags, false)) {
            let (key, value) = split_once(tag, '=', false)?;
            if key.is_empty() || value.is_empty() || pairs.len() == MAX_TAGS {
                return None;
            }
            pairs.push((key, value));
        }
        // The same series is the same sensor, whatever order its writer has.
        pairs.sort_by_key(|(key, _)| *key);
        let is_time = |time: &str| time.parse::<i64>().is_ok();
        let is_whole = time.is_none_or(is_time) && parts(fields, true).all(|f| field(f).is_some());
        is_whole.then_some(Self { measurement, tags: pairs, fields, time })
    }

    /// The fields: a key, still escaped, and the number; no number if it is text or a truth value.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'a str, Option<Result<f64, Refusal>>)> {
        parts(self.fields, true).filter_map(field)
    }
}

/// A field's key, and its number; no number if it is text or a truth value. `None` if it is not a
/// field.
fn field(part: &str) -> Option<(&str, Option<Result<f64, Refusal>>)> {
    let (key, value) = split_once(part, '=', false)?;
    if key.is_empty() {
        return None;
    }
    let value = match value {
        "t" | "T" | "true" | "True" | "TRUE" | "f" | "F" | "false" | "False" | "FALSE" => None,
        text if text.starts_with('"') => {
            // The first quote that is not escaped ends the text, and the field with it.
            let (_, rest) = split_once(text.get(1..)?, '"', false)?;
            if !rest.is_empty() {
                return None;
            }
            None
        }
        number => Some(self::number(number)?),
    };
    Some((key, value))
}

fn number(text: &str) -> Option<Result<f64, Refusal>> {
    #[expect(clippy::cast_precision_loss, reason = "as any reader of a double rounds it")]
    let number = if let Some(digits) = text.strip_suffix('i') {
        digits.parse::<i64>().ok()? as f64
    } else if let Some(digits) = text.strip_suffix('u') {
        digits.parse::<u64>().ok()? as f64
    } else {
        text.parse::<f64>().ok()?
    };
    Some(if number.is_finite() { Ok(number) } else { Err(Refusal::NotFinite) })
}

/// Splits at the first separator that is neither escaped nor, where quotes count, inside them.
fn split_once(text: &str, separator: char, has_quotes: bool) -> Option<(&str, &str)> {
    let (mut is_escaped, mut is_quoted) = (false, false);
    for (place, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' if has_quotes => is_quoted = !is_quoted,
            c if c == separator && !is_quoted => {
                let (head, tail) = text.split_at(place);
                return tail.get(separator.len_utf8()..).map(|tail| (head, tail));
            }
            _ => {}
        }
    }
    None
}

/// The parts between commas.
fn parts(text: &str, has_quotes: bool) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let text = rest?;
        match split_once(text, ',', has_quotes) {
            Some((part, tail)) => {
                rest = Some(tail);
                Some(part)
            }
            None => rest.take(),
        }
    })
}

/// A name without the backslashes that hid its commas, spaces and equals signs; others stay.
pub(super) fn unescape(name: &str) -> Cow<'_, str> {
    if !name.contains('\\') {
        return name.into();
    }
    let mut plain = String::with_capacity(name.len());
    let mut signs = name.chars().peekable();
    while let Some(sign) = signs.next() {
        let hides = sign == '\\' && matches!(signs.peek(), Some(',' | ' ' | '='));
        if !hides {
            plain.push(sign);
        }
    }
    plain.into()
}
