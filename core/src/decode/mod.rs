//! What a message says: topic to sensor and quantity, payload to time and value.
//!
//! All of it is pure and takes bytes from strangers: every input yields a reading or a typed
//! [`Refusal`], within bounded time and memory. The path that readings take every second, a
//! plain number or a flat JSON object, does not allocate.

pub mod base64;
mod chirpstack;
mod codecs;
mod detect;
mod device_class;
mod devices;
pub mod discovery;
mod edgex;
mod esphome;
pub mod feature_row;
pub mod fields;
mod format;
mod found;
mod generic;
mod hash;
mod influx;
pub mod json;
mod message;
pub mod names;
pub mod number;
mod open_mqtt_gateway;
#[cfg(test)]
mod rows;
mod rtl_433;
mod senml;
mod shelly;
mod sparkplug;
mod statestream;
mod tasmota;
pub mod template;
mod the_things_stack;
mod thin_edge;
pub mod timestamp;
mod tree;
mod uplink;
mod zigbee2mqtt;
mod zwave_js;

use crate::{reading::Refusal, time::UtcMillis};

pub use detect::detect;
pub use device_class::Told;
pub use devices::Devices;
pub use format::Format;
pub use found::{Found, Role, Stamp};
pub use message::{Detected, Message, Request, Sink};
pub use template::{SensorIdError, Template, TemplateError, check_sensor_id};

/// The largest payload that is looked at: a hundred times a chatty device's message.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// The most values of one message that are given; what follows is left out.
pub const MAX_VALUES: usize = 4_096;

/// What a payload says. The value is finite, but not yet checked against its quantity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decoded {
    /// When it was measured; `None` if the payload does not say, so arrival counts.
    pub ts: Option<UtcMillis>,
    /// The value.
    pub value: f64,
}

/// Decodes one payload: a plain number, or a JSON object with a value and perhaps a time.
///
/// White space and NULs around it are ignored, because firmware likes to send them.
///
/// # Errors
/// The first of these that holds: `TooLarge`, `NotText`, `Malformed`, then what is wrong with
/// the value (`NoValue`, `NotANumber`, `NotFinite`), then `BadTimestamp`.
pub fn decode(payload: &[u8]) -> Result<Decoded, Refusal> {
    let text = text(payload)?;
    match text.as_bytes().first() {
        None => Err(Refusal::NoValue),
        Some(b'{' | b'[' | b'"') => json::decode(text),
        Some(_) => number::decode(text).map(|value| Decoded { ts: None, value }),
    }
}

/// The name of the format that a payload is taken for.
#[must_use]
pub fn format(payload: &[u8]) -> &'static str {
    let text = text(payload).unwrap_or_default();
    match text.as_bytes().first() {
        Some(b'{' | b'[' | b'"') => "json",
        Some(_) => "number",
        None => "",
    }
}

/// The payload's text without what is around it.
fn text(payload: &[u8]) -> Result<&str, Refusal> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(Refusal::TooLarge);
    }
    let text = core::str::from_utf8(payload).map_err(|_| Refusal::NotText)?;
    Ok(text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0' || c == '\u{feff}'))
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn value(payload: &str) -> Result<f64, Refusal> {
        decode(payload.as_bytes()).map(|decoded| decoded.value)
    }

    #[test]
    fn a_plain_number_is_a_value_without_a_time() {
        assert_eq!(decode(b" 21.5 \n"), Ok(Decoded { ts: None, value: 21.5 }));
        assert_eq!(value("1e3"), Ok(1000.0));
        assert_eq!(value("-0").map(f64::to_bits), Ok((-0.0_f64).to_bits()));
        assert_eq!(value("+7\0\0"), Ok(7.0));
        assert_eq!(value("123456789012345678901234567890"), Ok(1.234_567_890_123_456_8e29));
        assert_eq!(value("\"22.5\""), Ok(22.5));
    }

    #[test]
    fn an_object_gives_value_and_time() {
        let at = Some(UtcMillis(1_711_321_200_000));
        assert_eq!(
            decode(br#"{"ts":1711321200000,"value":456.5}"#),
            Ok(Decoded { ts: at, value: 456.5 })
        );
        assert_eq!(
            decode(br#"{"unit":"C","time":"2024-03-24T23:00:00Z","v":"22.5","x":[{}]}"#),
            Ok(Decoded { ts: at, value: 22.5 })
        );
        assert_eq!(decode(br#"{"value":-0,"ts":null}"#), Ok(Decoded { ts: None, value: 0.0 }));
    }

    #[test]
    fn each_fault_has_its_own_reason() {
        let refused = |payload: &[u8]| decode(payload).unwrap_err();
        let large = alloc::vec![b'1'; MAX_PAYLOAD_BYTES + 1];
        assert_eq!(refused(&large), Refusal::TooLarge);
        assert_eq!(refused(&[0xff, 0xfe, b'1']), Refusal::NotText);
        for (payload, reason) in [
            ("", Refusal::NoValue),
            ("  \0", Refusal::NoValue),
            ("null", Refusal::NoValue),
            ("[1,2]", Refusal::NoValue),
            (r#"{"ts":1711321200000}"#, Refusal::NoValue),
            (r#"{"value":null}"#, Refusal::NoValue),
            ("Online", Refusal::Malformed),
            ("21,5", Refusal::Malformed),
            ("0x10", Refusal::Malformed),
            (r#"{"value":21.5"#, Refusal::Malformed),
            (r#"{"value":21.5} x"#, Refusal::Malformed),
            (r#"{"value":abc}"#, Refusal::Malformed),
            (r#"{value:1}"#, Refusal::Malformed),
            ("[1,", Refusal::Malformed),
            ("true", Refusal::NotANumber),
            (r#""on""#, Refusal::NotANumber),
            (r#"{"value":"warm"}"#, Refusal::NotANumber),
            (r#"{"value":true}"#, Refusal::NotANumber),
            (r#"{"value":{"c":1}}"#, Refusal::NotANumber),
            ("nan", Refusal::NotFinite),
            ("-Inf", Refusal::NotFinite),
            ("1e999", Refusal::NotFinite),
            (r#"{"value":NaN}"#, Refusal::NotFinite),
            (r#"{"value":-Infinity,"ts":1711321200000}"#, Refusal::NotFinite),
            (r#"{"value":1e999}"#, Refusal::NotFinite),
            (r#"{"value":"NaN"}"#, Refusal::NotFinite),
            (r#"{"value":1,"ts":"yesterday"}"#, Refusal::BadTimestamp),
            (r#"{"value":1,"ts":true}"#, Refusal::BadTimestamp),
            (r#"{"value":1,"ts":12}"#, Refusal::BadTimestamp),
            (r#"{"value":1,"ts":[1711321200000]}"#, Refusal::BadTimestamp),
        ] {
            assert_eq!(refused(payload.as_bytes()), reason, "{payload}");
        }
    }

    #[test]
    fn deep_nesting_neither_recurses_nor_hides_the_value() {
        let deep = MAX_PAYLOAD_BYTES / 2 - 40;
        let nested = ["[".repeat(deep), "]".repeat(deep)].concat();
        let beside = ["{\"x\":", &nested, ",\"value\":3}"].concat();
        assert_eq!(value(&beside), Ok(3.0));
        assert_eq!(value(&["{\"value\":", &nested, "}"].concat()), Err(Refusal::NotANumber));
        assert_eq!(value(&nested), Err(Refusal::NoValue));
        assert_eq!(value(&"{\"value\":".repeat(5_000)), Err(Refusal::Malformed));
        assert_eq!(value(&"[".repeat(MAX_PAYLOAD_BYTES)), Err(Refusal::Malformed));
    }

    /// Payloads as devices send them, to be cut and changed at random.
    const REAL: [&str; 6] = [
        r#"{"ts":1711321200000,"value":456.5}"#,
        r#"{"timestamp":"2024-03-24T23:00:00.001+01:00","val":"21.5","unit":"\u00b0C"}"#,
        r#"{"battery":91,"humidity":44.4,"last_seen":"2024-03-15T23:00:00Z","value":NaN}"#,
        r#"{"Time":"2024-04-02T23:40:44","DS18B20-1":{"Id":"022E","Temperature":18.6}}"#,
        "-12.75e-1",
        "[{\"n\":\"urn:dev\",\"v\":23.1}]",
    ];

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(decoded) = decode(&bytes) {
                prop_assert!(decoded.value.is_finite());
            }
        }

        #[test]
        fn no_text_of_json_signs_panics(text in r#"[\[\]{}",:0-9eE.+\-\\utnfalsrINy ]{0,80}"#) {
            if let Ok(decoded) = decode(text.as_bytes()) {
                prop_assert!(decoded.value.is_finite());
            }
        }

        #[test]
        fn cut_and_changed_payloads_do_not_panic(
            which in 0..REAL.len(),
            cut in 0_usize..100,
            changes in prop::collection::vec((0_usize..100, any::<u8>()), 0..4),
        ) {
            let mut bytes: Vec<u8> = REAL[which].bytes().take(cut).collect();
            for (place, byte) in changes {
                if let Some(slot) = bytes.get_mut(place) {
                    *slot = byte;
                }
            }
            if let Ok(decoded) = decode(&bytes) {
                prop_assert!(decoded.value.is_finite());
            }
        }

        #[test]
        fn every_finite_value_reads_back_bit_by_bit(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            // Debug prints the shortest text that reads back, as valid JSON.
            let object: String = alloc::format!("{{\"ts\":1711321200000,\"value\":{value:?}}}");
            let plain: String = alloc::format!("{value:?}");
            prop_assert_eq!(decode(object.as_bytes()).map(|d| d.value.to_bits()), Ok(value.to_bits()));
            prop_assert_eq!(decode(plain.as_bytes()).map(|d| d.value.to_bits()), Ok(value.to_bits()));
        }
    }
}
