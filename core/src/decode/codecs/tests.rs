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

#[test]
fn zeros_behind_the_last_item_are_there_for_the_length_only() {
    expect("0498b80b00000000", &[("current", 30.0)]);
    expect("03670000 0000".replace(' ', "").as_str(), &[("temperature", 0.0)]);
    assert_eq!(run(PORT, "00000000"), Err(Refusal::NoCodec));
}

#[test]
fn a_thermostat_reports_several_times_in_one_payload_and_the_last_counts() {
    let hex = "0367020104 67a600 05e700 8367fb0009 ffc900000000b302 ffc9020101280000 ffc80303014e36 \
               0a6e72 0367110104 67fa00 20ce5c470a65d09ec091";
    let read = run(PORT, &hex.replace(' ', "")).unwrap();
    let value = |name: &str, at: Option<i64>| -> Vec<f64> {
        let named = read.iter().filter(|read| read.0 == name && read.1 == at);
        named.map(|read| read.2.unwrap()).collect()
    };
    assert_eq!(value("temperature", None), [27.3]);
    assert_eq!(value("temperature_target", None), [25.0]);
    assert_eq!(value("plan_schedule/0/index", None), [1.0]);
    assert_eq!(value("plan_schedule/1/index", None), [2.0]);
    assert_eq!(value("plan_settings/0/temperature_target", None), [78.0]);
    assert_eq!(value("plan_settings/0/temperature_error", None), [5.4]);
    let relays = ["y1", "y2_gl", "w1", "w2_aux", "e", "g", "ob"];
    let states = relays.map(|relay| value(&format!("wires_relay/{relay}"), None)[0]);
    assert_eq!(states, [0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    assert_eq!(value("temperature", Some(1_695_172_444_000)), [27.0]);
    assert_eq!(value("temperature_target", Some(1_695_172_444_000)), [16.6]);
    // Without the one item that only it has, a second temperature is of no known model.
    assert_eq!(run(PORT, "0367020103671101"), Err(Refusal::NoCodec));
    // Commands' answers hold nothing to be read.
    assert_eq!(run(PORT, "ffcb0d1101ffca158004fff600"), Err(Refusal::NoValue));
}

#[test]
fn a_display_tells_its_battery_and_its_template() {
    expect("017564fb0100054d696c6573fb014a0568656c6c6f", &[("battery", 100.0), ("template", 2.0)]);
    assert_eq!(run(PORT, "017564fb0100064d696c6573"), Err(Refusal::NoCodec));
}

#[test]
fn counters_of_people_have_one_line_or_several() {
    expect(
        "ff1f8401000103d2be00000004d23101000005cc02000300",
        &[
            ("total_counter_in", 190.0),
            ("total_counter_out", 305.0),
            ("periodic_counter_in", 2.0),
            ("periodic_counter_out", 3.0),
        ],
    );
    expect(
        "03d24800000004d2c800000006d20000000007d201000000",
        &[
            ("line_1.0_total_in", 72.0),
            ("line_1.0_total_out", 200.0),
            ("line_2.0_total_in", 0.0),
            ("line_2.0_total_out", 1.0),
        ],
    );
    // What came and went, of three models.
    assert_eq!(run(PORT, "05cc02000300"), Err(Refusal::NoCodec));
}

#[test]
fn the_record_of_a_counter_of_pulses_is_read_where_the_model_is_told() {
    let payload = "01755c0367340104686520ce9e74466310015d020000010000";
    assert_eq!(run(PORT, payload), Err(Refusal::NoCodec));
    let told = Origin { profile: "EM300-DI", ..PORT };
    let read = run(told, payload).unwrap();
    let at = Some(1_665_561_758_000);
    let pulse = ("pulse".to_string(), at, Ok(256.0));
    assert_eq!(read[2], ("humidity".to_string(), None, Ok(50.5)));
    assert_eq!(
        read[3..],
        [("temperature".into(), at, Ok(27.2)), ("humidity".into(), at, Ok(46.5)), pulse]
    );
    // As a switch it counts nothing.
    let read = run(told, &payload.replace("5d0200", "5d0100")).unwrap();
    assert_eq!(read.len(), 5);
}

/// A device that only Tektelic's port tells.
const TEN: Origin<'static> =
    Origin { dev_eui: "1000000000000001", brand: "", profile: "", port: 10 };

fn numbers(origin: Origin<'_>, hex: &str) -> Result<Vec<(String, f64)>, Refusal> {
    let read = run(origin, hex)?;
    Ok(read.into_iter().map(|(name, _, value)| (name, value.unwrap())).collect())
}

#[test]
fn another_makers_items_have_their_high_byte_first() {
    let of = |name: &str, value: f64| (name.to_string(), value);
    for (hex, expected) in [
        (
            "036700e104684d00ba0b9e",
            vec![
                of("ambient_temperature", 22.5),
                of("relative_humidity", 38.5),
                of("battery_voltage", 2.974),
            ],
        ),
        ("0367ffce00ba0b9e", vec![of("ambient_temperature", -5.0), of("battery_voltage", 2.974)]),
        ("00d35a00bd0a0a", vec![of("rem_batt_capacity", 90.0), of("rem_batt_days", 2_570.0)]),
        ("00ba9e0b67ffce", vec![of("battery_voltage", 2.8), of("ambient_temperature", -5.0)]),
        (
            "01040579020202d5",
            vec![
                of("input1_frequency", 1_401.0),
                of("input2_voltage_to_temp", 22.6),
                of("input2_voltage", 0.725),
            ],
        ),
        (
            "00fe0001518000006a50000000",
            vec![
                of("energy_consumption_meter_elapsed", 86_400.0),
                of("energy_consumption_meter_consumed", 27_216.0),
                of("energy_consumption_meter_status", 0.0),
            ],
        ),
    ] {
        assert_eq!(numbers(TEN, hex), Ok(expected), "{hex}");
        assert_eq!(run(Origin { port: 11, ..TEN }, hex), Err(Refusal::NoCodec), "{hex}");
        assert_eq!(run(PORT, hex), Err(Refusal::NoCodec), "{hex}");
        let milesights = Origin { dev_eui: "24e124136b502217", ..TEN };
        assert_eq!(run(milesights, hex), Err(Refusal::NoCodec), "{hex}");
        let others = Origin { brand: "dragino", profile: "dragino lht65", ..TEN };
        assert_eq!(run(others, hex), Err(Refusal::NoCodec), "{hex}");
    }
}

#[test]
fn a_port_alone_does_not_tell_the_maker_of_what_others_may_have_sent() {
    // One item, and what Cayenne's format has as well.
    for hex in
        ["00d35a", "000000", "01040579", "036700e104684d", "0100ff0200ff", "036700e1020202d5"]
    {
        assert_eq!(run(TEN, hex), Err(Refusal::NoCodec), "{hex}");
    }
    let told = Origin { dev_eui: "647fda000000aaaa", port: 1, ..TEN };
    assert_eq!(numbers(told, "00d35a"), Ok(vec![("rem_batt_capacity".to_string(), 90.0)]));
    let read = numbers(told, "036700e104684d").unwrap();
    assert_eq!(read[0], ("ambient_temperature".to_string(), 22.5));
    // Two models' names for one thing.
    assert_eq!(run(told, "036700e1"), Err(Refusal::NoCodec));
    let told = Origin { profile: "Tektelic Kiwi", ..told };
    assert_eq!(numbers(told, "036700e1"), Ok(vec![("input3_temperature".to_string(), 22.5)]));
    // Far outside of what they can be.
    for hex in [
        "036700e104684d00ba2710",
        "0104f000020202d5",
        "00d36500bd0a0a",
        "00fe0001518000006a50000002",
    ] {
        assert_eq!(run(TEN, hex), Err(Refusal::NoCodec), "{hex}");
    }
    assert_eq!(run(TEN, "0100ff00ba0b9e020000").unwrap().len(), 1);
}

#[test]
fn a_brand_that_is_no_ones_here_counts_more_than_a_port() {
    let others = Origin { brand: "dragino", profile: "dragino lht65", ..PORT };
    assert_eq!(run(others, "03671801"), Err(Refusal::NoCodec));
    let its = Origin { brand: "milesight-iot", profile: "milesight-iot am102", ..PORT };
    assert!(run(its, "03671801").is_ok());
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
    fn chance_alone_is_not_taken_for_a_reading(
        payload in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        // Two items are four bytes that must be met.
        let read = decode("d", None, TEN, &payload, &mut |_| {});
        prop_assert!(read.is_err());
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
