//! One message on its way through a decoder.

use serde_json::Value;

use super::{Format, Found, MAX_PAYLOAD_BYTES, json};
use crate::{reading::Refusal, time::UtcMillis};

/// Takes what a message holds, one value at a time.
pub type Sink<'s> = dyn FnMut(Found<'_>) + 's;

/// A message from the broker, as decoders see it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its content.
    pub payload: &'a [u8],
    /// The device's name, where the source's template gives it; else the format tells.
    pub device: Option<&'a str>,
    /// When it arrived.
    pub now: UtcMillis,
}

impl<'a> Message<'a> {
    /// The content as text, without what firmware leaves around it.
    ///
    /// # Errors
    /// `TooLarge`, `NotText`.
    pub fn text(&self) -> Result<&'a str, Refusal> {
        super::text(self.payload)
    }

    /// The content's bytes.
    ///
    /// # Errors
    /// `TooLarge`.
    pub fn bytes(&self) -> Result<&'a [u8], Refusal> {
        let is_small = self.payload.len() <= MAX_PAYLOAD_BYTES;
        if is_small { Ok(self.payload) } else { Err(Refusal::TooLarge) }
    }

    /// The content as JSON, and what devices take for JSON.
    ///
    /// # Errors
    /// As [`Self::text`]; `NoValue` if it is empty, `Malformed`.
    pub fn json(&self) -> Result<Value, Refusal> {
        let text = self.text()?;
        if text.is_empty() { Err(Refusal::NoValue) } else { json::parse(text) }
    }

    /// The levels of the topic.
    pub fn levels(&self) -> impl DoubleEndedIterator<Item = &'a str> + Clone {
        self.topic.split('/')
    }

    /// The device's name: as the template gives it, else `told` by the format.
    #[must_use]
    pub fn device_or(&self, told: &'a str) -> &'a str {
        self.device.unwrap_or(told)
    }
}

/// What a decoder asks its caller to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Publish this to the sensors' broker: a Sparkplug host asks a node to be born again.
    Publish {
        /// The topic.
        topic: alloc::string::String,
        /// The content.
        payload: alloc::vec::Vec<u8>,
    },
}

/// What a topic was found to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detected {
    /// Messages in this format.
    Format(Format),
    /// Nothing that is a reading, by the topic's own kind.
    NotASensor,
    /// Nothing that is known.
    Unknown(Refusal),
}
