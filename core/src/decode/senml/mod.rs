//! `SenML` (RFC 8428) in JSON and in CBOR: lists of records that share what they have in common.
//!
//! What is common is in base fields, which hold from their record on until set anew; each record
//! is resolved against them here, for both spellings at once. Only `v` and `s` are readings: texts,
//! truth values and data are not. A field that must be understood and is not (its name ends with
//! `_`), or a version later than the RFC's, makes the whole list unreadable.

mod cbor;
mod json;
mod record;
mod resolve;

use super::{Detected, Format, Message, Sink};
use crate::reading::Refusal;

/// Whether it is this format's.
pub(super) fn detect(message: &Message<'_>) -> Option<Detected> {
    if cbor::is_likely(message.payload) {
        let bytes = message.bytes().ok()?;
        return is_pack(cbor::records(bytes).map(drop))
            .then_some(Detected::Format(Format::SenmlCbor));
    }
    let text = message.text().ok().filter(|text| json::is_likely(text))?;
    let document = super::json::parse(text).ok()?;
    is_pack(json::records(&document).map(drop)).then_some(Detected::Format(Format::SenmlJson))
}

/// A list that is not to be read is one all the same.
fn is_pack(read: Result<(), Refusal>) -> bool {
    !matches!(read, Err(Refusal::WrongFormat))
}

/// Decodes a message.
///
/// # Errors
/// `WrongFormat` if it is no list of records, `Malformed` if it holds what must be understood
/// and is not, or is cut off; `NoValue` if no record has a number.
pub(super) fn decode(message: &Message<'_>, sink: &mut Sink<'_>) -> Result<(), Refusal> {
    if cbor::is_likely(message.payload) {
        return resolve::resolve(message, &cbor::records(message.bytes()?)?, sink);
    }
    let document = message.json()?;
    resolve::resolve(message, &json::records(&document)?, sink)
}

#[cfg(test)]
mod tests;
