//! Thermostats, displays, counters: what several models say alike.

use super::*;

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
