//! The list in JSON.

use alloc::{borrow::Cow, vec::Vec};

use serde_json::Value;

use super::{
    super::tree,
    record::{Content, Record},
};
use crate::reading::Refusal;

/// A cheap look that lets through every list there is.
pub(super) fn is_likely(text: &str) -> bool {
    let inside = text.strip_prefix('[').map(str::trim_start);
    inside.is_some_and(|inside| inside.starts_with('{'))
        && (text.contains("\"n\"") || text.contains("\"bn\""))
}

/// The list's records.
///
/// # Errors
/// `WrongFormat` if it is something else, else as [`Record::set`].
pub(super) fn records(document: &Value) -> Result<Vec<Record<'_>>, Refusal> {
    let items = document.as_array().ok_or(Refusal::WrongFormat)?;
    let mut records = Vec::new();
    for item in items.iter().take(tree::MAX_VALUES) {
        let members = item.as_object().ok_or(Refusal::WrongFormat)?;
        let mut record = Record::default();
        for (label, value) in members {
            record.set(label, content(value))?;
        }
        records.push(record);
    }
    // Without a name at the start it is some other list of objects.
    let is_named =
        records.first().is_some_and(|first| first.base_name.is_some() || first.name.is_some());
    if is_named { Ok(records) } else { Err(Refusal::WrongFormat) }
}

fn content(value: &Value) -> Content<'_> {
    match (value, tree::scalar(value)) {
        (Value::Number(_), Some((number, _))) => Content::Number(number),
        // `NaN` is no JSON, and was put in quotes to be read.
        (Value::String(text), Some((Err(reason), _))) if text.parse::<f64>().is_ok() => {
            Content::Number(Err(reason))
        }
        (Value::String(text), _) => Content::Text(Cow::Borrowed(text)),
        _ => Content::Other,
    }
}
