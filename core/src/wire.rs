//! Messages between gateway and server, in postcard with a schema number first.
//!
//! A receiver reads its own schema and all older ones; a newer one is refused by number, so the
//! sender's state stays where it is until the receiver is updated.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    baseline::{Drift, MAX_REASONS, Reason},
    features::Features,
    model::Digest,
    predict::Prediction,
    quantity::Quantity,
    time::{LocalDate, UtcMillis},
};

mod older;

/// No message is larger; model artifacts have their own bound.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;

/// The most ranges in an acknowledgement. Sent newest first, an outbox makes one more each time
/// that catching up is interrupted, and they melt into one when it is through.
pub const MAX_RANGES: usize = 32;

/// A message type: its newest schema, and how the older ones are read.
pub trait Message: Serialize + DeserializeOwned {
    /// What this build writes, and the newest it reads.
    const SCHEMA: u16;

    /// Reads the content of a message of a `schema` before [`Self::SCHEMA`]; `None` if it is none.
    #[must_use]
    fn read_older(_schema: u16, _content: &[u8]) -> Option<Self> {
        None
    }
}

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Larger than any message.
    #[error("{bytes} bytes, larger than any message")]
    TooLarge {
        /// How large.
        bytes: usize,
    },
    /// Written by a newer build.
    #[error("message schema {found}; this build reads up to {newest}")]
    TooNew {
        /// The message's schema.
        found: u16,
        /// The newest that this build reads.
        newest: u16,
    },
    /// Not such a message.
    #[error("the message cannot be read")]
    Malformed,
}

/// The bytes of a message.
///
/// # Errors
/// Too large for any receiver.
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, WireError> {
    encode_as(M::SCHEMA, message)
}

fn encode_as(schema: u16, content: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let bytes = postcard::to_allocvec(&(schema, content)).map_err(|_| WireError::Malformed)?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(WireError::TooLarge { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// Reads a message.
///
/// # Errors
/// Too large, from a newer build, or not such a message.
pub fn decode<M: Message>(bytes: &[u8]) -> Result<M, WireError> {
    decode_with_schema(bytes).map(|(_, message)| message)
}

/// Reads a message, and which schema it was written in: what its sender understands.
///
/// # Errors
/// Too large, from a newer build, or not such a message.
pub fn decode_with_schema<M: Message>(bytes: &[u8]) -> Result<(u16, M), WireError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(WireError::TooLarge { bytes: bytes.len() });
    }
    let (found, rest) =
        postcard::take_from_bytes::<u16>(bytes).map_err(|_| WireError::Malformed)?;
    match found {
        0 => None,
        found if found > M::SCHEMA => {
            return Err(WireError::TooNew { found, newest: M::SCHEMA });
        }
        found if found < M::SCHEMA => M::read_older(found, rest),
        _ => content(rest),
    }
    .map(|message| (found, message))
    .ok_or(WireError::Malformed)
}

/// All of `bytes` as one value.
fn content<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// One sensor's day, as the server keeps it: unique by (gateway, sensor, date), the highest
/// revision wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SensorDay {
    /// The sensor's id on its gateway.
    pub sensor: String,
    /// What it measures.
    pub quantity: Quantity,
    /// The local day.
    pub date: LocalDate,
    /// From 1; goes up each time late readings changed the day.
    pub revision: u32,
    /// Distinct samples in the day.
    pub samples: u32,
    /// Share of the day's expected readings that arrived, 0 to 1.
    pub coverage: f32,
    /// The features, or `None` when the day has too few samples for any.
    pub features: Option<Features>,
    /// What the gateway's model said, or `None` while it had none for this family.
    pub prediction: Option<Prediction>,
    /// How far the day lies from the sensor's own usual day; `None` while the gateway has not seen
    /// enough of its days.
    pub deviation: Option<f32>,
    /// How unusual the day is, 0 to 1; `None` while nothing is known to compare it with, and in
    /// messages before schema 3.
    pub score: Option<f32>,
    /// What sets it apart from the sensor's own days, the strongest first; none before schema 3.
    pub reasons: heapless::Vec<Reason, MAX_REASONS>,
    /// What drifts most; `None` before enough days are known, and before schema 3.
    pub drift: Option<Drift>,
}

/// A sensor that stopped reporting, or reports again. The server keeps it by (gateway, sensor,
/// since), so the end of a silence may arrive before its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// The sensor's id on its gateway.
    pub sensor: String,
    /// What it measures.
    pub quantity: Quantity,
    /// Its last reading before the silence.
    pub since: UtcMillis,
    /// Its first reading after it; `None` while it lasts.
    pub until: Option<UtcMillis>,
    /// How often the sensor was expected to report, in milliseconds.
    pub expected_every_ms: i64,
}

/// What an outbox entry carries.
#[expect(clippy::large_enum_variant, reason = "nearly all are days; each in a box would cost more")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Item {
    /// A sensor's day, or a revision of one.
    Day(SensorDay),
    /// A sensor fell silent or is back.
    Silence(Silence),
}

impl Item {
    /// Reads the content of an outbox entry as an [`Up`] of `schema` carries it; `None` if it is
    /// none. For whoever keeps entries as bytes.
    #[must_use]
    pub fn read(schema: u16, bytes: &[u8]) -> Option<Self> {
        match schema {
            1 => content(bytes).map(|day: older::SensorDayV2| Self::Day(day.into())),
            2 => content::<older::ItemV2>(bytes).map(Self::from),
            Up::SCHEMA => content(bytes),
            _ => None,
        }
    }
}

/// An outbox entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number in the gateway's outbox, from 1; none is given twice.
    pub seq: u64,
    /// What it carries.
    pub item: Item,
}

/// `{p}/gw/{gateway}/up`: a batch of outbox entries. Without entries it only asks for an
/// acknowledgement, to hear what the server has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Up {
    /// Names the outbox. A gateway that lost its store starts a new stream, so that its
    /// sequence numbers are not taken for old ones.
    pub stream: u64,
    /// The lowest number the outbox still holds or will hold: all below is acknowledged or was
    /// given up for lack of space.
    pub floor: u64,
    /// Tells this message from the agent's others; the acknowledgement repeats it. 0 in messages
    /// of schema 1, which do not have it.
    pub number: u64,
    /// In rising order.
    pub entries: Vec<Entry>,
}

impl Message for Up {
    const SCHEMA: u16 = 3;

    fn read_older(schema: u16, bytes: &[u8]) -> Option<Self> {
        match schema {
            1 => content::<older::UpV1>(bytes).map(Self::from),
            _ => content::<older::UpV2>(bytes).map(Self::from),
        }
    }
}

/// Consecutive sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqRange {
    /// The lowest.
    pub first: u64,
    /// The highest, included.
    pub last: u64,
}

impl SeqRange {
    /// Whether `seq` is one of them.
    #[must_use]
    pub fn contains(&self, seq: u64) -> bool {
        (self.first..=self.last).contains(&seq)
    }
}

/// `{p}/gw/{gateway}/ack`: what is durable in the server's database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The outbox it is about.
    pub stream: u64,
    /// All entries up to and including this number.
    pub up_to: u64,
    /// [`Up::number`] of the message that it answers: of all sent before that, what is not
    /// acknowledged here has been lost. 0 where the server did not say.
    pub answers: u64,
    /// What is durable beyond a hole as well: at most [`MAX_RANGES`], in rising order.
    pub received: Vec<SeqRange>,
}

impl Ack {
    /// The bytes for an agent that wrote its `up` in this schema.
    ///
    /// # Errors
    /// Too large for any receiver.
    pub fn encode_for(&self, up_schema: u16) -> Result<Vec<u8>, WireError> {
        match up_schema {
            1 => encode_as(1, &older::AckV1 { stream: self.stream, up_to: self.up_to }),
            _ => encode(self),
        }
    }
}

impl Message for Ack {
    const SCHEMA: u16 = 2;

    fn read_older(_schema: u16, bytes: &[u8]) -> Option<Self> {
        content::<older::AckV1>(bytes).map(Self::from)
    }
}

/// A model version and where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRef {
    /// The model's version.
    pub version: u32,
    /// Its address.
    pub digest: Digest,
    /// The artifact's size.
    pub bytes: u32,
}

/// `{p}/gw/{gateway}/desired`, retained: what the server wants a gateway to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    /// Only goes up; an older one than the last seen is a replay.
    pub generation: u64,
    /// The model to run; `None` leaves the gateway's as it is.
    pub model: Option<ModelRef>,
    /// The release channel the gateway is on.
    pub channel: String,
    /// Config keys and values that override the gateway's file.
    pub overrides: Vec<(String, String)>,
}

impl Message for Desired {
    const SCHEMA: u16 = 1;
}

/// Where a gateway is in taking over a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// Nothing to do: the desired model runs, or none is desired.
    #[default]
    Idle,
    /// Waiting for the artifact.
    Fetching,
    /// The new model predicts, but is not kept yet.
    Trial,
    /// The last offer was taken over.
    Confirmed,
    /// The last offer was given up; the earlier model runs.
    RolledBack,
    /// The last offer was refused before it ran.
    Refused,
}

/// `{p}/gw/{gateway}/reported`, retained; also the last will, with `online` false.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reported {
    /// False in the last will and in a clean goodbye.
    pub online: bool,
    /// The agent's version.
    pub agent_version: String,
    /// The board's name.
    pub board: String,
    /// The last generation acted on.
    pub generation: u64,
    /// The model that predicts.
    pub active: Option<ModelRef>,
    /// The model in the other slot.
    pub spare: Option<ModelRef>,
    /// Where the update stands.
    pub update: UpdateState,
    /// Figures of the gateway's health.
    pub health: Health,
}

impl Message for Reported {
    const SCHEMA: u16 = 1;
}

/// Figures of a gateway's health, since its agent started unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Seconds since the agent started.
    pub uptime_s: u64,
    /// Resident memory in KiB.
    pub rss_kb: u64,
    /// Sensors known.
    pub sensors: u32,
    /// Readings kept.
    pub accepted: u64,
    /// Messages and readings left out, by reason.
    pub refused: Vec<(String, u64)>,
    /// Entries that wait for the server's acknowledgement.
    pub outbox: u64,
    /// The store's size on disk, in KiB.
    pub store_kb: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::FeatureSet;

    fn up() -> Up {
        let features = Features::new(FeatureSet::Moments1, [Some(21.5), None]).unwrap();
        Up {
            stream: 42,
            floor: 1,
            number: 3,
            entries: alloc::vec![Entry {
                seq: 1,
                item: Item::Day(SensorDay {
                    sensor: "kitchen/temperature".into(),
                    quantity: Quantity::Temperature,
                    date: LocalDate(19_783),
                    revision: 1,
                    samples: 1440,
                    coverage: 1.0,
                    features: Some(features),
                    prediction: None,
                    deviation: None,
                    score: Some(0.5),
                    reasons: heapless::Vec::new(),
                    drift: None,
                }),
            }],
        }
    }

    #[test]
    fn a_message_reads_back_and_a_newer_one_is_refused_by_number() {
        let bytes = encode(&up()).unwrap();
        assert_eq!(decode::<Up>(&bytes), Ok(up()));
        let newer = postcard::to_allocvec(&(9_u16, up())).unwrap();
        assert_eq!(decode::<Up>(&newer), Err(WireError::TooNew { found: 9, newest: 3 }));
        assert_eq!(decode::<Up>(&bytes[..bytes.len() - 1]), Err(WireError::Malformed));
        assert_eq!(decode::<Up>(&[]), Err(WireError::Malformed));
    }
}
