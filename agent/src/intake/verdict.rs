//! What was decided about a reading, or about a message that held none.

use daywise_core::{
    reading::Refusal,
    time::{LocalDate, UtcMillis},
};

/// The decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is kept.
    Accepted,
    /// It is held already.
    Duplicate(Refusal),
    /// It waits for the clock to be set.
    Quarantined,
    /// It is left out.
    Refused(Refusal),
    /// It was never meant to be a reading.
    Ignored(Refusal),
}

impl Status {
    /// What a reason to leave something out amounts to.
    pub(super) fn left_out(reason: Refusal) -> Self {
        match reason {
            Refusal::Duplicate | Refusal::Cached => Self::Duplicate(reason),
            Refusal::UnknownTopic
            | Refusal::Stale
            | Refusal::DeviceHealth
            | Refusal::NotASensor
            | Refusal::Denied
            | Refusal::Simulated => Self::Ignored(reason),
            _ => Self::Refused(reason),
        }
    }

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate(_) => "duplicate",
            Self::Quarantined => "quarantined",
            Self::Refused(_) => "refused",
            Self::Ignored(_) => "ignored",
        }
    }

    /// Why, for those that are not kept.
    pub(crate) fn reason(self) -> Option<Refusal> {
        match self {
            Self::Accepted | Self::Quarantined => None,
            Self::Duplicate(reason) | Self::Refused(reason) | Self::Ignored(reason) => Some(reason),
        }
    }
}

/// One decision, with what is known of its subject.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// The message's number, from 1.
    pub(crate) message: u64,
    /// The sensor's number in the routes.
    pub(crate) sensor: Option<usize>,
    /// What the device calls a number that is no sensor's.
    pub(crate) name: Option<Box<str>>,
    /// When it was measured.
    pub(crate) at: Option<UtcMillis>,
    /// The value.
    pub(crate) value: Option<f64>,
    /// The day that it belongs to.
    pub(crate) date: Option<LocalDate>,
    /// The decision.
    pub(crate) status: Status,
}

impl Verdict {
    /// About a message, and the sensor that it speaks of.
    pub(super) fn of(message: u64, sensor: Option<usize>) -> Self {
        let status = Status::Accepted;
        Self { message, sensor, name: None, at: None, value: None, date: None, status }
    }
}
