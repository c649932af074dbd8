//! To be written.

use super::{Detected, Message, Sink};
use crate::reading::Refusal;

/// Whether it is this format's.
pub(super) fn detect(_: &Message<'_>) -> Option<Detected> {
    None
}

/// Decodes a message.
///
/// # Errors
/// Why it holds no readings.
pub fn decode(_: &Message<'_>, _: &mut Sink<'_>) -> Result<(), Refusal> {
    Err(Refusal::WrongFormat)
}
