//! Tektelic, and what may be anyone's.

use super::*;

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
    fn chance_alone_is_not_taken_for_a_reading(
        payload in prop::collection::vec(any::<u8>(), 1..60),
    ) {
        // Two items are four bytes that must be met.
        let read = decode("d", None, TEN, &payload, &mut |_| {});
        prop_assert!(read.is_err());
    }
}
