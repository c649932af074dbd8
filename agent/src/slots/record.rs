//! The record of the slots: which one is active, what is on trial, what was given up.

use daywise_core::model::Digest;
use serde::{Deserialize, Serialize};

use super::SlotsError;

/// What this build writes, and the newest it reads.
pub(super) const RECORD_SCHEMA: u16 = 1;
/// Digests remembered as given up; the oldest goes first.
pub(super) const MAX_GIVEN_UP: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Slot {
    A,
    B,
}

impl Slot {
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::A => "a.dwm",
            Self::B => "b.dwm",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trial {
    /// Times the agent was started with the model on trial.
    pub(super) starts: u32,
    /// The other slot's model was on trial itself when this one took over.
    pub(super) spare_unproven: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// `None`: no model predicts.
    pub(super) active: Option<Slot>,
    pub(super) trial: Option<Trial>,
    /// The last generation acted on.
    pub(super) generation: u64,
    /// Models that did not hold or were refused, the latest last.
    pub(super) given_up: Vec<Digest>,
}

pub(super) fn remember(given_up: &mut Vec<Digest>, digest: Digest) {
    given_up.retain(|known| *known != digest);
    given_up.push(digest);
    let surplus = given_up.len().saturating_sub(MAX_GIVEN_UP);
    given_up.drain(..surplus);
}

pub(super) fn encode_record(record: &Record) -> Result<Vec<u8>, postcard::Error> {
    let mut bytes = RECORD_SCHEMA.to_le_bytes().to_vec();
    bytes.extend_from_slice(&postcard::to_allocvec(record)?);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// `None` if it is damaged.
pub(super) fn decode_record(bytes: &[u8]) -> Result<Option<Record>, SlotsError> {
    let Some((covered, crc)) = bytes.split_last_chunk::<4>() else { return Ok(None) };
    if crc32fast::hash(covered) != u32::from_le_bytes(*crc) {
        return Ok(None);
    }
    let Some((schema, payload)) = covered.split_first_chunk::<2>() else { return Ok(None) };
    let found = u16::from_le_bytes(*schema);
    if found > RECORD_SCHEMA {
        return Err(SlotsError::TooNew { found });
    }
    Ok(postcard::from_bytes(payload).ok())
}
