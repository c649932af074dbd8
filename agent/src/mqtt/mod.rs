//! The session with the sensor broker: bursts of messages in, acknowledgements out.
//!
//! A message is acknowledged only when the pipeline says so, after its readings are durable. All
//! that has arrived is handed on as one burst, and all that may be acknowledged is written at
//! once.
//!
//! The session is persistent: the broker keeps what is not acknowledged while we are away. It is
//! spoken in MQTT 5, where we say how much may be unacknowledged, or in 3.1.1, where the broker
//! does. When the pipeline is behind, messages are held here up to a bound (`held.rs`) while
//! pings go on.

mod held;
mod link;
mod outputs;
mod packet;
mod protocol;
mod session;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use self::outputs::Output;
pub use self::{
    held::MAX_HELD,
    outputs::Outputs,
    packet::Version,
    session::{OFFLINE, ONLINE, Session, Settings},
};

/// Bursts between here and the pipeline: one being worked on, one ready.
pub const BURST_QUEUE: usize = 2;
/// Acknowledgements between the pipeline and here; a commit makes one.
pub const ACK_QUEUE: usize = 16;

/// One message from the broker.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its topic.
    pub topic: String,
    /// Its content.
    pub payload: Bytes,
    /// To be acknowledged under this number; `None` at QoS 0.
    pub packet: Option<u16>,
    /// The broker has sent it before, or thinks so.
    pub dup: bool,
    /// It was kept for new subscribers, and may be of any age.
    pub retained: bool,
}

/// All that had arrived at one time, in order.
#[derive(Debug)]
pub struct Burst {
    /// The connection it came over; its numbers mean nothing on another.
    pub connection: u64,
    /// The messages.
    pub deliveries: Vec<Delivery>,
}

/// Messages that may be acknowledged, in the order they came.
#[derive(Debug)]
pub struct Acks {
    /// The connection they came over.
    pub connection: u64,
    /// Their packet numbers.
    pub packets: Vec<u16>,
}

#[cfg(test)]
pub(crate) use self::outputs::{Outgoing, queue};

/// Outputs that lead nowhere.
#[cfg(test)]
pub(crate) fn outputs_to_nobody(metrics: std::sync::Arc<crate::metrics::Metrics>) -> Outputs {
    outputs::queue(metrics).0
}
