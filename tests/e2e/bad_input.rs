//! Whatever the network sends is refused by name, and what is behind it flows on.

use e2e::{
    Agent, Broker, Publisher, Reading, Site,
    agent::READINGS,
    readings::{HOUR_MS, berlin_day},
    wait::{LONG, wait_until},
};

#[test]
fn bad_input_is_refused_by_name_behind_mosquitto() {
    bad_input(Broker::MOSQUITTO);
}

#[test]
fn bad_input_is_refused_by_name_behind_the_embedded_broker() {
    bad_input(Broker::Embedded);
}

fn bad_input(broker: Broker) {
    let site = Site::start(broker);
    let agent = Agent::start(&site.scratch, &site.agent_settings());
    let mut publisher = site.publisher();
    let now = berlin_day(5) + 12 * HOUR_MS;
    let stamped =
        |at_ms: i64, value: &str| format!("{{\"ts\":{at_ms},\"value\":{value}}}").into_bytes();
    let long_name = format!("hall/{}/temperature", "x".repeat(200));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (&long_name, b"21.5".to_vec(), "bad_sensor"),
        ("hall/temperature", b"{\"value\":21.5".to_vec(), "malformed"),
        ("hall/temperature", b"Online".to_vec(), "malformed"),
        ("hall/temperature", Vec::new(), "no_value"),
        ("hall/temperature", b"{\"humidity\":44}".to_vec(), "no_value"),
        ("hall/temperature", stamped(now, "\"warm\""), "not_a_number"),
        ("hall/temperature", stamped(now, "NaN"), "not_finite"),
        ("hall/temperature", b"-inf".to_vec(), "not_finite"),
        ("hall/temperature", stamped(now, "1e999"), "not_finite"),
        ("hall/temperature", stamped(now, "5000"), "out_of_range"),
        ("hall/humidity", stamped(now, "-3"), "out_of_range"),
        ("hall/temperature", stamped(now, "-127"), "sentinel"),
        ("hall/temperature", stamped(12, "21.5"), "bad_timestamp"),
        ("hall/temperature", b"{\"ts\":\"yesterday\",\"value\":1}".to_vec(), "bad_timestamp"),
        ("hall/temperature", stamped(now + 48 * HOUR_MS, "21.5"), "from_the_future"),
        ("hall/temperature", stamped(now - 1_000 * HOUR_MS, "21.5"), "too_old"),
        ("hall/temperature", vec![0xff, 0xfe, 0x31], "not_text"),
        ("hall/temperature", vec![b'1'; 100_000], "too_large"),
    ];

    publisher.tick(now);
    let mut good = 0;
    for (sensor, payload, _) in &cases {
        publisher.publish(&format!("{READINGS}/{sensor}"), payload.clone());
        one_good_reading(&mut publisher, now, &mut good);
    }
    // The readings' filter also matches the level above, which names no sensor.
    publisher.publish(READINGS, "21.5");
    one_good_reading(&mut publisher, now, &mut good);
    publisher.flush();

    wait_until("the good readings are kept", LONG, || agent.figure("accepted") >= good);
    let status = agent.status();
    assert_eq!(status["accepted"], good, "{status:#}");
    for (_, _, reason) in &cases {
        let expected = cases.iter().filter(|(_, _, other)| other == reason).count();
        assert_eq!(status["refused"][reason], expected, "{reason}: {status:#}");
    }
    assert_eq!(status["refused"]["unknown_topic"], 1, "{status:#}");
    assert_eq!(status["sensors"], 1, "nonsense makes no sensor: {status:#}");
    let all = good + cases.len() as u64 + 1;
    assert_eq!(status["received"], all, "{status:#}");
}

fn one_good_reading(publisher: &mut Publisher, now: i64, good: &mut u64) {
    let at_ms = now + i64::try_from(*good).unwrap() * 1_000;
    publisher.reading(&Reading { sensor: "lab/temperature".into(), at_ms, value: 21.5 });
    *good += 1;
}

#[test]
fn message_larger_than_any_reading_holds_nothing_up_behind_mosquitto() {
    huge_message(Broker::MOSQUITTO, 5_000_000);
}

#[test]
fn message_larger_than_any_reading_holds_nothing_up_behind_the_embedded_broker() {
    huge_message(Broker::Embedded, 1_000_000);
}

/// The broker would deliver it again and again: it must be taken to be got rid of.
fn huge_message(broker: Broker, bytes: usize) {
    let site = Site::start(broker);
    let mut agent = Agent::start(&site.scratch, &site.agent_settings());
    let mut publisher = site.publisher();
    let now = berlin_day(5);
    let mut good = 0;
    publisher.tick(now);
    one_good_reading(&mut publisher, now, &mut good);
    publisher.publish(&format!("{READINGS}/hall/temperature"), vec![b'1'; bytes]);
    one_good_reading(&mut publisher, now, &mut good);
    publisher.flush();
    wait_until("the reading behind is kept", LONG, || agent.figure("accepted") == good);
    assert!(!agent.process.has_ended());
}
