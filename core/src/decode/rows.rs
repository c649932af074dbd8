//! What decoders give, as lines that tests can show side by side.

use alloc::{format, string::String, vec::Vec};

use super::{Detected, Devices, Format, Message, Role, Stamp, detect};
use crate::{reading::Refusal, time::UtcMillis};

/// When the messages of tests arrive, unless they say so: 2024-03-25T00:00:00Z.
pub(super) const NOW: UtcMillis = UtcMillis(1_711_324_800_000);

/// A message of a test.
pub(super) fn message<'a>(topic: &'a str, payload: &'a str) -> Message<'a> {
    Message { topic, payload: payload.as_bytes(), device: None, now: NOW }
}

/// What the format of a message is found to be.
pub(super) fn detected(topic: &str, payload: &str) -> Detected {
    detect(&message(topic, payload))
}

/// The values in a message: `device/field quantity value`, and the role unless it is a measurement.
pub(super) fn rows(format: Format, topic: &str, payload: &str) -> Result<Vec<String>, Refusal> {
    later(&mut Devices::default(), format, topic, payload, 0)
}

/// The same, of devices that are known and so many milliseconds after [`NOW`].
pub(super) fn later(
    devices: &mut Devices,
    format: Format,
    topic: &str,
    payload: &str,
    ms: i64,
) -> Result<Vec<String>, Refusal> {
    let mut rows = Vec::new();
    let message = Message { now: NOW + ms, ..message(topic, payload) };
    devices.decode(format, &message, &mut |found| {
        let slash = if found.field.is_empty() { "" } else { "/" };
        let value = match found.value {
            Ok(value) => format!("{value}"),
            Err(reason) => format!("{reason}"),
        };
        let role = match found.role {
            Role::Measurement => "",
            Role::Health => " health",
            Role::Other => " other",
        };
        let (device, field, quantity) = (found.device, found.field, found.quantity);
        rows.push(format!("{device}{slash}{field} {quantity} {value}{role}"));
    })?;
    Ok(rows)
}

/// When the first value of a message was measured.
pub(super) fn stamp(format: Format, topic: &str, payload: &str) -> Option<Stamp> {
    let mut at = None;
    let mut sink = |found: super::Found<'_>| at = at.or(found.at);
    let done = Devices::default().decode(format, &message(topic, payload), &mut sink);
    assert_eq!(done, Ok(()));
    at
}

mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Messages as devices send them, to be cut and changed at random.
    const REAL: &[(Format, &str, &str)] = &[
        (
            Format::Zigbee2Mqtt,
            "zigbee2mqtt/a/b",
            r#"{"battery":"95.00","last_seen":"2025-02-15T11:54:00+01:00","linkquality":143,"temperature":null,"update":{"x":[1]}}"#,
        ),
        (
            Format::Tasmota,
            "tele/boiler/SENSOR",
            r#"{"Time":"2022-07-01T21:21:17","DS18B20-1":{"Id":"022EDB070007","Temperature":85.0},"ENERGY":{"Power":[1,2]},"TempUnit":"F"}"#,
        ),
        (Format::ShellyGen1, "shellies/shellyHT-1A2B3C/relay/0/energy", "94736.5"),
        (
            Format::ShellyGen2,
            "x/events/rpc",
            r#"{"src":"shellyplus1pm-4417939341dc","method":"NotifyStatus","params":{"ts":1661517385.44,"switch:0":{"id":0,"voltage":232.7}}}"#,
        ),
        (
            Format::Rtl433,
            "rtl_433/pi/events",
            r#"{"time" : "2023-07-08 13:06:14", "model" : "X", "id" : 18, "temperature_F" : 20.400, "mic" : "CRC"}"#,
        ),
        (
            Format::OpenMqttGateway,
            "home/OMG/BTtoMQTT/A4C1386E4AE8",
            r#"{"rssi":-91,"tempc":14.2,"tempf":57.56,"hum":56,"batt":75,"volt":2.887}"#,
        ),
        (
            Format::ZwaveJs,
            "zwave/outlet/meter/endpoint_0/value/65537",
            r#"{"time":1656470510619,"value":83.2,"unit":"kWh"}"#,
        ),
    ];

    /// What is given is finite, and what is taken for a message of the format gives something.
    fn check(format: Format, topic: &str, payload: &[u8]) -> Result<(), TestCaseError> {
        let message = Message { topic, payload, device: None, now: NOW };
        let (mut is_finite, mut count) = (true, 0_usize);
        let read = Devices::default().decode(format, &message, &mut |found| {
            is_finite &= found.value.is_err() || found.value.is_ok_and(f64::is_finite);
            count += 1;
        });
        prop_assert!(is_finite);
        prop_assert!(read.is_err() || count > 0);
        Ok(())
    }

    proptest! {
        #[test]
        fn cut_and_changed_messages_give_finite_values_or_a_reason(
            which in 0..REAL.len(),
            cut in 0_usize..140,
            changes in prop::collection::vec((0_usize..140, any::<u8>()), 0..4),
        ) {
            let (format, topic, payload) = REAL[which];
            let mut bytes: Vec<u8> = payload.bytes().take(cut).collect();
            for (place, byte) in changes {
                if let Some(slot) = bytes.get_mut(place) {
                    *slot = byte;
                }
            }
            check(format, topic, &bytes)?;
        }

        #[test]
        fn no_topic_is_too_strange(
            format in 0..REAL.len(),
            levels in prop::collection::vec(
                "zigbee2mqtt|tele|stat|cmnd|SENSOR|STATE|STATUS8|shellies|relay|status|switch:0|events|rpc|rtl_433|devices|BTtoMQTT|zwave|49|0|meter|endpoint_0|set||温度",
                0..7,
            ),
            payload in prop::sample::select(REAL.iter().map(|real| real.2).collect::<Vec<_>>()),
        ) {
            let topic = levels.join("/");
            if let Detected::Format(format) = detected(&topic, payload) {
                check(format, &topic, payload.as_bytes())?;
            }
            check(REAL[format].0, &topic, payload.as_bytes())?;
        }
    }
}
