//! What is kept as bytes in a column: a schema number, then postcard.

use serde::{Serialize, de::DeserializeOwned};

/// Of features, predictions and ranges alike. Goes up when one of them changes its layout; older
/// ones are then read forward here.
const SCHEMA: u16 = 1;

/// Why stored bytes cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Written by a newer build.
    #[error("record schema {found}; this build reads up to {SCHEMA}")]
    TooNew {
        /// The record's schema.
        found: u16,
    },
    /// Not such a record.
    #[error("the record cannot be read")]
    Malformed,
}

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RecordError> {
    postcard::to_allocvec(&(SCHEMA, value)).map_err(|_| RecordError::Malformed)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    match postcard::take_from_bytes::<u16>(bytes) {
        Ok((found, _)) if found > SCHEMA => Err(RecordError::TooNew { found }),
        Ok((1.., rest)) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Ok(value),
            _ => Err(RecordError::Malformed),
        },
        _ => Err(RecordError::Malformed),
    }
}
