use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use proptest::prelude::*;

use super::*;
use crate::{
    decode::{Role, Stamp},
    quantity::Quantity,
    time::UtcMillis,
};

const NOW: i64 = 1_498_780_179_000;

/// Sensor, time and value of a number found.
type Read = (String, Option<i64>, Result<f64, Refusal>);

fn message(payload: &[u8]) -> Message<'_> {
    Message { topic: "sensors/senml", payload, device: None, now: UtcMillis(NOW) }
}

fn read(message: &Message<'_>) -> Result<Vec<Read>, Refusal> {
    let mut read = Vec::new();
    decode(message, &mut |found| {
        let at = match found.at {
            Some(Stamp::Utc(at)) => Some(at.0),
            _ => None,
        };
        let id = [found.device, "/", found.field].concat();
        read.push((id.trim_end_matches('/').to_string(), at, found.value));
    })?;
    Ok(read)
}

fn json(payload: &str) -> Result<Vec<Read>, Refusal> {
    read(&message(payload.as_bytes()))
}

fn expect(payload: &str, expected: &[(&str, Option<i64>, f64)]) {
    let expected: Vec<Read> =
        expected.iter().map(|(id, at, value)| ((*id).to_string(), *at, Ok(*value))).collect();
    assert_eq!(json(payload), Ok(expected), "{payload}");
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// RFC 8428, section 5.1.2.
const CURRENT: &str = r#"[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1276020076.001,"bu":"A",
    "bver":5,"n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2},{"n":"current","v":1.7}]"#;

#[test]
fn records_are_resolved_against_their_bases() {
    expect(
        CURRENT,
        &[
            ("urn:dev:ow:10e2073a0108006/voltage", Some(1_276_020_076_001), 120.1),
            ("urn:dev:ow:10e2073a0108006/current", Some(1_276_020_071_001), 1.2),
            ("urn:dev:ow:10e2073a0108006/current", Some(1_276_020_076_001), 1.7),
        ],
    );
    // A base holds until it is set anew, each on its own.
    expect(
        r#"[{"bn":"2001:db8::2/","bt":1320078429.0,"n":"temperature","u":"Cel","v":25.2},
            {"bn":"2001:db8::1/","n":"temperature","u":"Cel","v":12.3},
            {"bt":1320078430,"n":"humidity","u":"%RH","v":67}]"#,
        &[
            ("2001:db8::2/temperature", Some(1_320_078_429_000), 25.2),
            ("2001:db8::1/temperature", Some(1_320_078_429_000), 12.3),
            ("2001:db8::1/humidity", Some(1_320_078_430_000), 67.0),
        ],
    );
    expect(
        r#"[{"bn":"a:b:","bv":20,"n":"t","v":1.5},{"n":"t","t":-1},{"n":"x","vs":"on"}]"#,
        &[("a:b/t", None, 21.5), ("a:b/t", Some(NOW - 1_000), 20.0)],
    );
}

#[test]
fn times_below_two_to_the_28_count_from_now() {
    let at = |time: &str| {
        json(&format!(r#"[{{"n":"d/x","v":1,"t":{time}}}]"#)).map(|read| (read[0].1, read[0].2))
    };
    assert_eq!(at("0"), Ok((None, Ok(1.0))));
    assert_eq!(at("-0.25"), Ok((Some(NOW - 250), Ok(1.0))));
    assert_eq!(at("60"), Ok((Some(NOW + 60_000), Ok(1.0))));
    assert_eq!(at("268435455"), Ok((Some(NOW + 268_435_455_000), Ok(1.0))));
    // From here on it is a date, and this one is of a clock that was never set.
    assert_eq!(at("268435456"), Ok((None, Err(Refusal::BadTimestamp))));
    assert_eq!(at("1711321504.347"), Ok((Some(1_711_321_504_347), Ok(1.0))));
    assert_eq!(at("\"noon\""), Ok((None, Err(Refusal::BadTimestamp))));
    // Base and own time are each below it or not; only their sum counts.
    expect(
        r#"[{"bn":"d/","bt":1711321504.347,"n":"x","t":-232.197,"v":2}]"#,
        &[("d/x", Some(1_711_321_272_150), 2.0)],
    );
    expect(r#"[{"bn":"d/","bt":-10,"n":"x","t":-5,"v":2}]"#, &[("d/x", Some(NOW - 15_000), 2.0)]);
}

#[test]
fn texts_truth_values_and_data_are_no_readings() {
    expect(
        r#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},
            {"n":"label","vs":"Machine Room"},{"n":"open","vb":false},{"n":"nfv-reader","vd":"aGkgCg"}]"#,
        &[("urn:dev:ow:10e2073a01080063/temp", None, 23.1)],
    );
    assert_eq!(json(r#"[{"n":"open","vb":true}]"#), Err(Refusal::NoValue));
    assert_eq!(
        json(r#"[{"n":"d/x","v":"12"}]"#),
        Ok([("d/x".into(), None, Err(Refusal::NotANumber))].into())
    );
    assert_eq!(
        json(r#"[{"n":"d/x","v":NaN}]"#),
        Ok([("d/x".into(), None, Err(Refusal::NotFinite))].into())
    );
}

#[test]
fn sums_are_totals_beside_their_values() {
    let pack = r#"[{"bn":"meter/","n":"power","u":"W","v":1000,"s":7200000,"bs":3600000}]"#;
    let mut found = Vec::new();
    decode(&message(pack.as_bytes()), &mut |value| {
        found.push((value.field.to_string(), value.quantity, value.value));
    })
    .unwrap();
    let expected = [
        ("power".to_string(), Quantity::Power, Ok(1_000.0)),
        // Watts times seconds are joules.
        ("power/sum".to_string(), Quantity::EnergyTotal, Ok(3_000.0)),
    ];
    assert_eq!(found, expected);
    expect(r#"[{"n":"d/rain","s":12.5}]"#, &[("d/rain/sum", None, 12.5)]);
}

#[test]
fn what_must_be_understood_and_is_not_refuses_the_whole_list() {
    let refused = Err(Refusal::Malformed);
    assert_eq!(json(r#"[{"n":"d/x","v":1},{"n":"d/y","v":2,"scale_":10}]"#), refused);
    assert_eq!(json(r#"[{"bver":11,"n":"d/x","v":1}]"#), refused);
    assert_eq!(json(r#"[{"bver":10,"n":"d/x","v":1,"hint":10}]"#).unwrap().len(), 1);
    // The same in CBOR: [{0: "d/x", 2: 1, "a_": 1}], then with -1: 11.
    assert_eq!(read(&message(&bytes("81a30063642f780201625f5f01"))), refused);
    assert_eq!(read(&message(&bytes("81a30063642f780201200b"))), refused);
    assert_eq!(read(&message(&bytes("81a30063642f780201200a"))).unwrap().len(), 1);
}

#[test]
fn a_name_is_split_into_device_and_field() {
    let names = |payload: &str| {
        let mut names = (String::new(), String::new());
        let payload = message(payload.as_bytes());
        decode(&payload, &mut |found| names = (found.device.into(), found.field.into())).unwrap();
        names
    };
    for (payload, device, field) in [
        (r#"[{"bn":"urn:dev:mote06:","n":"temperature","v":1}]"#, "urn:dev:mote06", "temperature"),
        (
            r#"[{"n":"urn:dev:ow:10e2073a01080063:temp","v":1}]"#,
            "urn:dev:ow:10e2073a01080063",
            "temp",
        ),
        (
            r#"[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":1}]"#,
            "urn:dev:ow:10e2073a01080063",
            "temperature",
        ),
        (
            r#"[{"bn":"urn:dev:ow:10e2073a01080063","u":"lon","v":1}]"#,
            "urn:dev:ow:10e2073a01080063",
            "longitude",
        ),
        (r#"[{"n":"http://host//a/temp/","v":1}]"#, "http:/host/a", "temp"),
        (r#"[{"n":"2001:db8::3","u":"/","v":1}]"#, "2001:db8::3", ""),
        (r#"[{"n":"temp","u":"Cel","v":1}]"#, "sensors/senml", "temp"),
    ] {
        assert_eq!(names(payload), (device.to_string(), field.to_string()), "{payload}");
    }
}

#[test]
fn several_values_under_one_name_are_told_apart_by_their_units() {
    // RFC 8428, section 5.1.3.
    let pack = r#"[{"bn":"urn:dev:ow:10e2073a01080063","bt":1320067464.0,"bu":"%RH","v":20},
        {"u":"lon","v":24.30621},{"u":"lat","v":60.07965},{"u":"%EL","t":150,"v":98}]"#;
    let mut found = Vec::new();
    decode(&message(pack.as_bytes()), &mut |value| {
        found.push((value.field.to_string(), value.quantity, value.role));
    })
    .unwrap();
    let expected = [
        ("humidity", Quantity::Humidity, Role::Measurement),
        ("longitude", Quantity::Generic, Role::Measurement),
        ("latitude", Quantity::Generic, Role::Measurement),
        ("battery", Quantity::Generic, Role::Health),
    ];
    assert_eq!(found, expected.map(|(field, quantity, role)| (field.to_string(), quantity, role)));
}

/// RFC 8428, section 6: the list of [`CURRENT`] with seven records.
const CURRENT_CBOR: &str = "87a721781b75726e3a6465763a6f773a3130653230373361303130383030363a22fb41d303a15b00106223614120050067766f6c7461676501615602fb405e066666666666a3006763757272656e74062402fb3ff3333333333333a3006763757272656e74062302fb3ff4cccccccccccda3006763757272656e74062202fb3ff6666666666666a3006763757272656e74062102f93e00a3006763757272656e74062002fb3ff999999999999aa3006763757272656e74060002fb3ffb333333333333";

#[test]
fn cbor_says_the_same_as_json() {
    let read = read(&message(&bytes(CURRENT_CBOR))).unwrap();
    let first =
        ("urn:dev:ow:10e2073a0108006/voltage".to_string(), Some(1_276_020_076_001), Ok(120.1));
    assert_eq!(read[0], first);
    for (place, value) in [1.2, 1.3, 1.4, 1.5, 1.6, 1.7].into_iter().enumerate() {
        let at = 1_276_020_071_001 + 1_000 * i64::try_from(place).unwrap();
        let expected = ("urn:dev:ow:10e2073a0108006/current".to_string(), Some(at), Ok(value));
        assert_eq!(read[place + 1], expected);
    }
}

#[test]
fn every_spelling_of_a_cbor_number_is_read() {
    for (hex, value) in [
        ("f94d00", Ok(20.0)),             // half
        ("fa41ac0000", Ok(21.5)),         // single
        ("fb4035800000000000", Ok(21.5)), // double
        ("18c8", Ok(200.0)),              // whole
        ("3903e7", Ok(-1_000.0)),         // negative
        ("3bffffffffffffffff", Ok(-18_446_744_073_709_551_616.0)),
        ("c48221196ab3", Ok(273.15)), // decimal fraction: 27315 × 10^-2
        ("c4820119 6ab3", Ok(273_150.0)),
        ("c4821901f401", Err(Refusal::NotFinite)), // 1 × 10^500
        ("f97e00", Err(Refusal::NotFinite)),
        ("6131", Err(Refusal::NotANumber)),         // "1"
        ("c11a4d000000", Err(Refusal::NotANumber)), // a date
        ("9f01ff", Err(Refusal::NotANumber)),
    ] {
        // [{0: "d/x", 2: …}]
        let pack = ["81a20063642f7802", &hex.replace(' ', "")].concat();
        assert_eq!(
            read(&message(&bytes(&pack))),
            Ok([("d/x".into(), None, value)].into()),
            "{hex}"
        );
    }
    // Lists and records without a length: [_ {_ 0: "d/x", 2: 1}]
    let endless = read(&message(&bytes("9fbf0063642f780201ffff"))).unwrap();
    assert_eq!(endless, [("d/x".to_string(), None, Ok(1.0))]);
}

#[test]
fn what_is_no_list_of_records_is_another_format() {
    let other = Err(Refusal::WrongFormat);
    for payload in [r#"{"n":"x","v":1}"#, "[1,2]", r#"[{"value":1}]"#, r#"[{"n":7,"v":1}]"#, "[]"] {
        assert_eq!(json(payload), other, "{payload}");
        assert_eq!(detect(&message(payload.as_bytes())), None, "{payload}");
    }
    for hex in ["80", "820102", "81a20063642f78020100"] {
        assert_eq!(read(&message(&bytes(hex))), other, "{hex}");
        assert_eq!(detect(&message(&bytes(hex))), None, "{hex}");
    }
    assert_eq!(read(&message(&bytes(&CURRENT_CBOR[..200]))), Err(Refusal::Malformed));
    assert_eq!(json(&CURRENT[..100]), Err(Refusal::Malformed));
    let found = |payload: &[u8]| detect(&message(payload));
    assert_eq!(found(CURRENT.as_bytes()), Some(Detected::Format(Format::SenmlJson)));
    assert_eq!(found(&bytes(CURRENT_CBOR)), Some(Detected::Format(Format::SenmlCbor)));
    assert_eq!(found(b"21.5"), None);
}

#[test]
fn endless_lists_give_a_bounded_number_of_values() {
    let many = ["[", &r#"{"n":"d/x","v":1},"#.repeat(3_000), r#"{"n":"d/x","v":1}]"#].concat();
    assert_eq!(json(&many).unwrap().len(), crate::decode::tree::MAX_VALUES);
    // A list that says it has 2^64 - 1 records.
    assert_eq!(read(&message(&bytes("9bffffffffffffffff"))), Err(Refusal::Malformed));
}

#[test]
fn a_name_that_is_no_sensors_is_not_carried_along() {
    let long =
        ["[{\"bn\":\"", &"n".repeat(600), "\",\"v\":1},{\"bn\":\"d/\",\"n\":\"x\",\"v\":2}]"];
    let topic = "sensors/senml".to_string();
    let expected = [(topic, None, Err(Refusal::BadSensor)), ("d/x".to_string(), None, Ok(2.0))];
    assert_eq!(json(&long.concat()).unwrap(), expected);
}

proptest! {
    #[test]
    fn changed_cbor_does_not_panic(
        cut in 0_usize..260,
        changes in prop::collection::vec((0_usize..260, any::<u8>()), 0..6),
    ) {
        let mut bytes = bytes(CURRENT_CBOR);
        bytes.truncate(cut);
        for (place, byte) in changes {
            if let Some(slot) = bytes.get_mut(place) {
                *slot = byte;
            }
        }
        let message = message(&bytes);
        detect(&message);
        if let Ok(found) = read(&message) {
            prop_assert!(found.iter().all(|(.., value)| value.is_err() || value.unwrap().is_finite()));
        }
    }

    #[test]
    fn no_bytes_that_start_a_list_panic(tail in prop::collection::vec(any::<u8>(), 0..100), first in 0x80_u8..=0x9f) {
        let bytes = [&[first][..], &tail].concat();
        detect(&message(&bytes));
        if let Ok(found) = read(&message(&bytes)) {
            prop_assert!(!found.is_empty());
        }
    }
}
