//! What is remembered of devices between their messages, and the one way into every decoder.

use alloc::vec::Vec;

use super::{
    Format, MAX_VALUES, Message, Request, Sink, chirpstack, edgex, esphome, generic, influx,
    open_mqtt_gateway, rtl_433, senml, shelly, sparkplug, statestream, tasmota, the_things_stack,
    thin_edge, zigbee2mqtt, zwave_js,
};
use crate::reading::Refusal;

/// The memory of the formats whose messages do not stand alone. Each part is bounded.
#[derive(Debug, Default)]
pub struct Devices {
    /// To be done by the caller; emptied by [`Devices::take_requests`].
    requests: Vec<Request>,
    /// The uplinks that were last heard without a time, by their ids.
    pub(super) heard: chirpstack::Heard,
    /// What Sparkplug's births said.
    sparkplug: sparkplug::Nodes,
    statestream: statestream::Entities,
    /// What Zigbee bridges have said.
    zigbee: zigbee2mqtt::Cache,
    /// Which `rtl_433` receivers send whole events.
    receivers: rtl_433::Receivers,
}

impl Devices {
    /// Decodes a message of `format`, and gives what it holds to `sink`.
    ///
    /// # Errors
    /// Why the message as a whole holds no readings; values may be refused one by one in the sink.
    pub fn decode(
        &mut self,
        format: Format,
        message: &Message<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Refusal> {
        let mut left = MAX_VALUES;
        let sink: &mut Sink<'_> = &mut |found| {
            if left > 0 {
                left -= 1;
                sink(found);
            }
        };
        match format {
            Format::Number => generic::number(message, sink),
            Format::Json => generic::json(message, sink),
            Format::Zigbee2Mqtt => zigbee2mqtt::decode(message, &mut self.zigbee, sink),
            Format::Tasmota => tasmota::decode(message, sink),
            Format::ShellyGen1 | Format::ShellyGen2 => shelly::decode(message, sink),
            Format::ChirpStackV3 | Format::ChirpStackV4 => chirpstack::decode(self, message, sink),
            Format::TheThingsStack => the_things_stack::decode(message, sink),
            Format::SenmlJson | Format::SenmlCbor => senml::decode(message, sink),
            Format::SparkplugB => {
                sparkplug::decode(message, &mut self.sparkplug, &mut self.requests, sink)
            }
            Format::Influx => influx::decode(message, sink),
            Format::HaStatestream => statestream::decode(message, &mut self.statestream, sink),
            Format::EspHome => esphome::decode(message, sink),
            Format::OpenMqttGateway => open_mqtt_gateway::decode(message, sink),
            Format::Rtl433 => rtl_433::decode(message, &mut self.receivers, sink),
            Format::ZwaveJs => zwave_js::decode(message, sink),
            Format::EdgeX => edgex::decode(message, sink),
            Format::ThinEdge => thin_edge::decode(message, sink),
        }
    }

    /// What decoders have asked for since this was last called.
    pub fn take_requests(&mut self) -> Vec<Request> {
        core::mem::take(&mut self.requests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode::rows, reading::Refusal};

    #[test]
    fn a_message_gives_a_bounded_number_of_values() {
        let many = ["m a=1", &",a=1".repeat(5_000)].concat();
        assert_eq!(rows::rows(Format::Influx, "t", &many).unwrap().len(), MAX_VALUES);
        let bad = ["m a=1\n", &"x\n".repeat(5_000)].concat();
        let rows = rows::rows(Format::Influx, "t", &bad).unwrap();
        assert_eq!((rows.len(), rows[1].as_str()), (MAX_VALUES, "t generic malformed"));
        assert_eq!(rows::rows(Format::Influx, "t", "x"), Err(Refusal::Malformed));
    }
}
