//! What decoding costs, beside parsing the same payloads to a `serde_json::Value` and nothing more.
//!
//! Both are timed in turns in the same run, so that a busy machine is busy for both; the figures
//! are the medians of the turns.

use std::{hint::black_box, time::Instant};

use daywise_core::{
    decode::{Devices, Format, Message},
    time::UtcMillis,
};
use serde_json::{Value, json};

/// Turns of each.
const TURNS: usize = 31;
/// Messages in a turn.
const MESSAGES: u32 = 2_000;

struct Case {
    format: Format,
    topic: &'static str,
    payload: &'static str,
}

/// A message of each JSON format, as devices send them.
const CASES: &[Case] = &[
    Case {
        format: Format::Json,
        topic: "site/boiler/temperature",
        payload: r#"{"ts":1711321200000,"value":456.5,"unit":"Cel"}"#,
    },
    Case {
        format: Format::Json,
        topic: "greenhouse/north",
        payload: r#"{"ts":1711321200000,"temperature":21.4,"humidity":55.2,"co2":612,"rssi":-71}"#,
    },
    Case {
        format: Format::Zigbee2Mqtt,
        topic: "zigbee2mqtt/living_room",
        payload: r#"{"battery":91,"humidity":44.4,"linkquality":120,"pressure":1010.4,"temperature":23.21,"voltage":2985}"#,
    },
    Case {
        format: Format::Tasmota,
        topic: "tele/boiler/SENSOR",
        payload: r#"{"Time":"2024-03-25T00:00:44","DS18B20-1":{"Id":"022EDB070007","Temperature":20.3},"DS18B20-2":{"Id":"0316A279C254","Temperature":-4.7},"TempUnit":"C"}"#,
    },
    Case {
        format: Format::ShellyGen2,
        topic: "shellyplus1pm-a8032ab1c2d4/events/rpc",
        payload: r#"{"src":"shellyplus1pm-a8032ab1c2d4","dst":"shellyplus1pm-a8032ab1c2d4/events","method":"NotifyStatus","params":{"ts":1711321205.02,"switch:0":{"id":0,"apower":360.0,"aenergy":{"total":1060.0}}}}"#,
    },
    Case {
        format: Format::ChirpStackV4,
        topic: "application/17c82e96/device/24e124136b502217/event/up",
        payload: r#"{"deduplicationId":"f846f9e5f8fa471c7dde91647d6cdb50","time":"2024-03-24T23:00:00.923+00:00","deviceInfo":{"applicationId":"17c82e96","deviceName":"roof","devEui":"24e124136b502217"},"dr":3,"fCnt":100,"fPort":2,"object":{"temperature":-2.8,"humidity":86.0},"rxInfo":[{"gatewayId":"0016c001f153a14c","rssi":-116,"snr":4.8}]}"#,
    },
    Case {
        format: Format::SenmlJson,
        topic: "sensors/senml",
        payload: r#"[{"bn":"urn:dev:mote06:","bt":1711321504.347,"n":"temperature","u":"Cel","t":-232.197,"v":22.458},{"n":"voltage","u":"V","t":-232.197,"v":2.57108},{"n":"temperature","u":"Cel","t":-175.258,"v":22.4482},{"n":"voltage","u":"V","t":-175.258,"v":2.58226}]"#,
    },
    Case {
        format: Format::Rtl433,
        topic: "rtl_433/host/events",
        payload: r#"{"time":"2023-12-29 21:17:57","model":"AmbientWeather-WH31E","id":118,"channel":1,"battery_ok":1,"temperature_C":19.1,"humidity":64,"mic":"CRC","rssi":-3.131,"snr":29.471,"noise":-32.602}"#,
    },
];

fn main() {
    // Test runners start benchmarks too, to ask for their tests: there are none.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rows: Vec<Value> = CASES.iter().map(row).collect();
    for row in &rows {
        println!(
            "decode  {:<14} {:>2} values  {:>6.0} ns a message  {:>6.0} ns a value  {:>5.2} x Value",
            row["format"].as_str().unwrap_or_default(),
            row["values"],
            row["ns_per_message"].as_f64().unwrap_or_default(),
            row["ns_per_value"].as_f64().unwrap_or_default(),
            row["ratio_to_json_value"].as_f64().unwrap_or_default(),
        );
    }
    println!("{}", json!({ "decode": rows }));
}

fn row(case: &Case) -> Value {
    let mut devices = Devices::default();
    let mut now = UtcMillis(1_711_321_205_000);
    let mut values = 0_u64;
    let (mut references, mut decodes) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        references.push(timed(|| {
            let parsed: Result<Value, _> =
                serde_json::from_slice(black_box(case.payload.as_bytes()));
            black_box(parsed).expect("the payload is JSON");
        }));
        values = 0;
        decodes.push(timed(|| {
            // A minute apart, so that nothing is taken for a repeat.
            now = now + 60_000;
            let payload = black_box(case.payload.as_bytes());
            let message = Message { topic: case.topic, payload, device: None, now };
            let decoded = devices.decode(case.format, &message, &mut |found| {
                values += 1;
                black_box(&found);
            });
            decoded.expect("the payload is of that format");
        }));
    }
    let (reference, decode) = (median(references), median(decodes));
    let values = values / u64::from(MESSAGES);
    let per_value = decode / f64::from(u32::try_from(values.max(1)).unwrap_or(u32::MAX));
    json!({
        "format": case.format.name(),
        "values": values,
        "ns_per_message": decode,
        "ns_per_value": per_value,
        "json_value_ns": reference,
        "ratio_to_json_value": decode / reference,
    })
}

/// Nanoseconds a message.
fn timed(mut once: impl FnMut()) -> f64 {
    let started = Instant::now();
    for _ in 0..MESSAGES {
        once();
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(MESSAGES)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}
