mod controls;
mod tektelic;

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use proptest::prelude::*;

use super::*;
use crate::quantity::Quantity;

/// A device that only its port tells.
const PORT: Origin<'static> =
    Origin { dev_eui: "1000000000000001", brand: "", profile: "", port: 85 };
/// 2023-05-22T07:47:05Z.
const AT: UtcMillis = UtcMillis(1_684_741_625_000);

/// Name, time if it is not the uplink's, and value.
type Read = (String, Option<i64>, Result<f64, Refusal>);

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn run(origin: Origin<'_>, hex: &str) -> Result<Vec<Read>, Refusal> {
    let mut read = Vec::new();
    decode("d", Some(Stamp::Utc(AT)), origin, &bytes(hex), &mut |found| {
        let at = match found.at {
            Some(Stamp::Utc(at)) if at != AT => Some(at.0),
            _ => None,
        };
        read.push((found.field.to_string(), at, found.value));
    })?;
    Ok(read)
}

fn expect(hex: &str, expected: &[(&str, f64)]) {
    let expected: Vec<Read> =
        expected.iter().map(|(name, value)| ((*name).to_string(), None, Ok(*value))).collect();
    assert_eq!(run(PORT, hex), Ok(expected), "{hex}");
}

#[test]
fn payloads_of_known_models_are_read_by_their_tables() {
    expect(
        "0175640367180104686d",
        &[("battery", 100.0), ("temperature", 28.0), ("humidity", 54.5)],
    );
    expect(
        "01755c03673401046865056a490006651c0079001400077de704087d070009733f27",
        &[
            ("battery", 92.0),
            ("temperature", 30.8),
            ("humidity", 50.5),
            ("activity", 73.0),
            ("illumination", 28.0),
            ("infrared_and_visible", 121.0),
            ("infrared", 20.0),
            ("co2", 1_255.0),
            ("tvoc", 7.0),
            ("pressure", 1_004.7),
        ],
    );
    expect("03cf00000000282307", &[("angle_x", 0.0), ("angle_y", 0.0), ("angle_z", 90.0)]);
    expect("8367e800018482410601", &[("temperature", 23.2), ("distance", 1_601.0)]);
    expect(
        "85e10a0088023393bb4403",
        &[("water_conv", 1.0), ("pulse_conv", 64.8), ("water", 1_500.6)],
    );
    expect(
        "017564055b053f02da016a02",
        &[("battery", 100.0), ("LAF", 57.5), ("LAeq", 47.4), ("LAFmax", 61.8)],
    );
    expect(
        "01756403670a010500010488debc770108ff080720",
        &[
            ("battery", 100.0),
            ("temperature", 26.6),
            ("latitude", 24.62435),
            ("longitude", 118.030_088),
        ],
    );
    expect(
        "06d90024e124f5b797b30006d90024e124ff0004c800",
        &[
            ("wifi/0/group", 0.0),
            ("wifi/0/rssi", -77.0),
            ("wifi/1/group", 0.0),
            ("wifi/1/rssi", -56.0),
        ],
    );
}

#[test]
fn earlier_values_have_their_own_time() {
    // One record behind the values of now.
    let read = run(PORT, "0175640367180104686d077dc50120ce781a4165df006e9001").unwrap();
    let at = Some(1_698_765_432_000);
    let earlier = [
        ("temperature".to_string(), at, Ok(22.3)),
        ("humidity".to_string(), at, Ok(55.0)),
        ("co2".to_string(), at, Ok(400.0)),
    ];
    assert_eq!(read[4..], earlier);
    // Two that say themselves how long they are.
    let read = run(PORT, "20ce7b3af164000b00040020ceff3df16401070002001d000800").unwrap();
    assert_eq!(read[0], ("period_in".to_string(), Some(1_693_530_747_000), Ok(11.0)));
    assert_eq!(read[5], ("total_out".to_string(), Some(1_693_531_647_000), Ok(8.0)));
    // A clock that was never set.
    let read = run(PORT, "0367180104686d20ce01000000df006e").unwrap();
    assert_eq!(read[2].2, Err(Refusal::BadTimestamp));
}

#[test]
fn a_bare_record_alone_may_be_of_any_model() {
    let record = "20ce781a4165df006e";
    assert_eq!(run(PORT, record), Err(Refusal::NoCodec));
    let told = Origin { profile: "Milesight AM102", ..PORT };
    assert_eq!(run(told, record).unwrap().len(), 2);
    // This one has one byte more, and is read only where the model is told.
    let longer = "20ce9e74466310015d01";
    assert_eq!(run(PORT, longer), Err(Refusal::NoCodec));
    let told = Origin { profile: "milesight-iot em300-sld", ..PORT };
    let read = run(told, longer).unwrap();
    assert_eq!(read[1], ("humidity".to_string(), Some(1_665_561_758_000), Ok(46.5)));
}

#[test]
fn what_two_models_say_differently_is_refused() {
    // Carbon dioxide of one, hydrogen sulphide of another.
    assert_eq!(run(PORT, "057d6704"), Err(Refusal::NoCodec));
    expect("04687305 7d6704".replace(' ', "").as_str(), &[("humidity", 57.5), ("co2", 1_127.0)]);
    expect("03686405 7d0100".replace(' ', "").as_str(), &[("humidity", 50.0), ("h2s", 0.01)]);
    let told = Origin { profile: "EM500-CO2", ..PORT };
    assert_eq!(run(told, "057d6704"), Ok([("co2".into(), None, Ok(1_127.0))].into()));
    // A set temperature of one, a second probe of another.
    assert_eq!(run(PORT, "0367fb0004670101"), Err(Refusal::NoCodec));
    let told = Origin { profile: "TS301", ..PORT };
    let read = run(told, "0367fb0004670101").unwrap();
    assert_eq!(read[1], ("temperature_chn2".to_string(), None, Ok(25.7)));
    expect(
        "0367020104 67a60005e70006e80007bc00".replace(' ', "").as_str(),
        &[("temperature", 25.8), ("temperature_target", 16.6)],
    );
}

#[test]
fn a_told_models_table_is_the_only_one() {
    let told = Origin { profile: "Milesight EM500-SMTC", ..PORT };
    let read = run(told, "01756403671901046873057ff000").unwrap();
    assert_eq!(read[2], ("moisture".to_string(), None, Ok(57.5)));
    assert_eq!(run(PORT, "01756403671901046873057ff000"), Err(Refusal::NoCodec));
    assert_eq!(run(told, "03824408"), Err(Refusal::NoCodec));
}

#[test]
fn what_is_not_read_to_its_last_byte_is_refused() {
    let whole = "0175640367180104686d";
    for end in (2..whole.len()).step_by(2) {
        let is_whole_item = [6, 14].contains(&end);
        assert_eq!(run(PORT, &whole[..end]).is_ok(), is_whole_item, "{end}");
    }
    for hex in [
        "0175640367180104686d00",
        "0175640199",
        "0498b80b00",
        "0498b80b000001",
        "01756401755f",
        &"ff0101".repeat(90),
    ] {
        assert_eq!(run(PORT, hex), Err(Refusal::NoCodec), "{hex}");
    }
    // All of it is known, and holds no number.
    assert_eq!(run(PORT, "ff0bffff0101ff166746d38802580000"), Err(Refusal::NoValue));
    assert_eq!(run(PORT, "030001040000"), Err(Refusal::NoValue));
}

#[test]
fn other_makers_payloads_are_not_taken_for_these() {
    // The same items with their high byte first, from Tektelic's port.
    let other = "036700e104684d";
    assert_eq!(run(Origin { port: 10, ..PORT }, other), Err(Refusal::NoCodec));
    // Even on this port it is no temperature: -793.6 °C.
    assert_eq!(run(PORT, other), Err(Refusal::NoCodec));
    let plain = "03671801";
    assert_eq!(run(Origin { port: 2, ..PORT }, plain), Err(Refusal::NoCodec));
    let by_eui = Origin { dev_eui: "24E124136b502217", port: 5, ..Origin::default() };
    assert!(run(by_eui, plain).is_ok());
    let by_name = Origin { profile: "Milesight AM100", port: 5, ..Origin::default() };
    assert!(run(by_name, plain).is_ok());
}

#[test]
fn a_sensor_that_could_not_be_read_has_no_value() {
    for hex in ["0498ffff", "0367ff7f", "0468ff", "0175ff", "028 2fdff"] {
        let read = run(PORT, &hex.replace(' ', "")).unwrap();
        assert_eq!(read[0].2, Err(Refusal::Sentinel), "{hex}");
    }
    assert_eq!(run(PORT, "0367ffff").unwrap()[0].2, Ok(-0.1));
}

#[test]
fn names_that_say_too_much_are_no_quantities() {
    let quantity = |hex: &str, name: &str| {
        let mut seen = None;
        decode("d", None, PORT, &bytes(hex), &mut |found| {
            if found.field == name {
                seen = Some((found.quantity, found.role));
            }
        })
        .unwrap();
        seen.unwrap()
    };
    let measured = Role::Measurement;
    assert_eq!(quantity("06cb02", "light_level"), (Quantity::Generic, measured));
    assert_eq!(quantity("037b0a00", "pressure"), (Quantity::Generic, measured));
    assert_eq!(quantity("039710270000", "total_current"), (Quantity::Generic, measured));
    assert_eq!(quantity("04cc01110811", "total_in"), (Quantity::CountTotal, measured));
    assert_eq!(quantity("09733f27", "pressure"), (Quantity::Pressure, measured));
    assert_eq!(quantity("017564", "battery").1, Role::Health);
}

#[test]
fn earlier_values_are_noticed_without_reading_them() {
    let at = Some(Stamp::Utc(AT));
    let record = bytes("01755c20ce9e74466310015d020000010000");
    assert!(has_history(PORT, at, &record));
    assert!(!has_history(Origin { port: 2, ..PORT }, at, &record));
    // In 1976, or ten years before the uplink: it is not a time.
    assert!(!has_history(PORT, at, &bytes("20ce6535ca0c00e1")));
    assert!(!has_history(PORT, Some(Stamp::Utc(UtcMillis(AT.0 + 3_660 * DAY_MS))), &record));
}

#[test]
fn every_item_is_told_by_its_channel_and_type() {
    let families = |maker: &'static Maker| maker.families.iter().map(move |of| (maker, of));
    for (maker, family) in MAKERS.into_iter().flat_map(families) {
        for (place, item) in family.items.iter().enumerate() {
            let is_other = |other: &models::Item| (other.0, other.1) != (item.0, item.1);
            assert!(family.items[place + 1..].iter().all(is_other), "{:?}", family.models);
            assert!(maker.system.iter().all(is_other), "{:?}", family.models);
        }
    }
}

proptest! {
    #[test]
    fn no_payload_panics(payload in prop::collection::vec(any::<u8>(), 0..260), port in 84_u64..87) {
        let origin = Origin { port, ..PORT };
        has_history(origin, None, &payload);
        if decode("d", None, origin, &payload, &mut |found| {
            assert!(found.value.is_err() || found.value.unwrap().is_finite());
        }).is_ok() {
            prop_assert!(port == 85);
        }
    }

    #[test]
    fn no_payload_of_any_maker_panics(
        payload in prop::collection::vec(any::<u8>(), 0..260),
        maker in 0..MAKERS.len(),
        is_told in any::<bool>(),
    ) {
        let maker = MAKERS[maker];
        let dev_eui = if is_told { maker.prefix } else { "" };
        let origin = Origin { dev_eui, port: maker.port, ..Origin::default() };
        let mut count = 0;
        let _result = decode("d", None, origin, &payload, &mut |found| {
            count += 1;
            assert!(found.value.is_err() || found.value.unwrap().is_finite());
        });
        prop_assert!(count <= 4 * payload.len());
    }

    #[test]
    fn items_in_any_order_are_read_or_refused(
        items in prop::collection::vec((0..MAKERS.len(), any::<prop::sample::Index>(),
            any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..10)), 0..6),
        maker in 0..MAKERS.len(),
    ) {
        let mut payload = Vec::new();
        for (maker, family, item, behind) in items {
            let family = &MAKERS[maker].families[family.index(MAKERS[maker].families.len())];
            let (channel, kind, _) = family.items[item.index(family.items.len())];
            payload.extend([channel, kind]);
            payload.extend(behind);
        }
        let origin = Origin { dev_eui: MAKERS[maker].prefix, ..Origin::default() };
        let _result = decode("d", None, origin, &payload, &mut |found| {
            assert!(found.value.is_err() || found.value.unwrap().is_finite());
        });
    }

    #[test]
    fn changed_payloads_do_not_panic(
        changes in prop::collection::vec((0_usize..60, any::<u8>()), 0..4),
        cut in 0_usize..70,
    ) {
        let mut payload = bytes("0175550367ee0004687c05000106cb02077da803087d2500097366270a7d04000b7d20000c7d30000e015520ce6535ca0c00e1006e016401c2000a279700190032");
        payload.truncate(cut);
        for (place, byte) in changes {
            if let Some(slot) = payload.get_mut(place) {
                *slot = byte;
            }
        }
        let mut count = 0;
        let read = decode("d", None, PORT, &payload, &mut |_| count += 1);
        prop_assert_eq!(read.is_ok(), count > 0);
    }
}
