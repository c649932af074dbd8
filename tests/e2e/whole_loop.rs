//! The main job: readings to days, days to the server, models back, predictions with them.

use std::collections::BTreeSet;

use e2e::{
    Agent, Broker, Reading, Site, Subscriber, command, days,
    readings::{self, HOUR_MS, berlin_day, building},
    wait::{LONG, wait_until},
};
use serde_json::Value;

const SENSORS: usize = 6;
const GATEWAY: &str = "gw-1";

#[test]
fn the_whole_loop_runs_through_mosquitto() {
    whole_loop(Broker::MOSQUITTO);
}

#[test]
fn the_whole_loop_runs_through_the_embedded_broker() {
    whole_loop(Broker::Embedded);
}

/// Three stretches of days: without a model, with the first, with the second.
fn whole_loop(broker: Broker) {
    let site = Site::start(broker);
    let outputs = site.subscriber(&format!("daywise/{GATEWAY}/#"));
    let agent = Agent::start(&site.scratch, &site.agent_settings());

    // 29 March to 3 April; on the 31st the clock goes forward.
    let mut fed = replay(&site, 0, 6);
    expect_days(&site, &fed);
    let long_day = ("room-0/temperature".to_owned(), "2024-03-31".to_owned());
    assert_eq!(site.server.days(GATEWAY)[&long_day].samples, 46, "a day of 23 hours");
    expect_versions(&site, 0, 6, None);
    assert_eq!(site.server.get("/api/v1/models"), Value::Array(Vec::new()));

    let first = site.server.train_well();
    assert_eq!((&first["version"], &first["parent"]), (&1.into(), &Value::Null));
    agent.wait_for_model(1);
    fed.extend(replay(&site, 6, 8));
    expect_days(&site, &fed);
    expect_versions(&site, 6, 8, Some(1));
    expect_messages(&outputs, 6, 8, 1);
    wait_until("the first model is confirmed", LONG, || agent.status()["update"] == "confirmed");

    let second = site.server.train_well();
    assert_eq!((&second["version"], &second["parent"]), (&2.into(), &1.into()));
    agent.wait_for_model(2);
    fed.extend(replay(&site, 8, 10));
    expect_days(&site, &fed);
    expect_versions(&site, 8, 10, Some(2));
    expect_messages(&outputs, 8, 10, 2);

    let status = agent.status();
    assert_eq!(status["accepted"], fed.len());
    assert_eq!(status["sensor_days"], 10 * SENSORS);
    assert_eq!(status["predictions"], 4 * SENSORS);
    wait_until("the outbox is empty", LONG, || agent.figure("outbox") == 0);
    wait_until("live messages are published", LONG, || {
        outputs.messages().iter().any(|message| message.topic.ends_with("/live"))
    });
    let gateways = site.server.get("/api/v1/gateways");
    assert_eq!(gateways[0]["gateway"], GATEWAY);
}

/// Replays the building's readings of those days with the real command, and closes the last day.
fn replay(site: &Site, from: i64, to: i64) -> Vec<Reading> {
    let readings = building(SENSORS, berlin_day(from), berlin_day(to), HOUR_MS / 2);
    let csv = site.scratch.write("replay.csv", readings::to_csv(&readings));
    let arguments = [
        "replay",
        "--csv",
        csv.to_str().unwrap(),
        "--broker",
        &site.broker,
        "--topic-prefix",
        "readings",
        "--clock-topic",
        "readings/clock",
        "--then-advance",
        "3h",
        "--json",
    ];
    let done = command::run(&site.scratch, command::agent(), &arguments).ok().json();
    assert_eq!(done["sent"], readings.len(), "{done:#}");
    assert_eq!(done["acked"], readings.len(), "{done:#}");
    readings
}

/// The server has every sensor-day of the readings, once, at its first revision, with the very
/// features that the batch command computes.
fn expect_days(site: &Site, fed: &[Reading]) {
    let expected = days::of_readings(&site.scratch, fed, "Europe/Berlin", "profile");
    site.server.wait_for_days(GATEWAY, &expected);
    let found = site.server.days(GATEWAY);
    assert!(found.values().all(|day| day.revision == 1), "no day was computed twice");
    assert_eq!(site.server.get("/api/v1/status")["sensor_days"], expected.len());
}

/// All sensor-days of those days were predicted by that version, or by none.
fn expect_versions(site: &Site, from: i64, to: i64, version: Option<u64>) {
    let dates: BTreeSet<String> = (from..to).map(date).collect();
    let found = site.server.days(GATEWAY);
    let within: Vec<_> = found.iter().filter(|((_, date), _)| dates.contains(date)).collect();
    assert_eq!(within.len(), dates.len() * SENSORS);
    for (key, day) in within {
        assert_eq!(day.model_version, version, "{key:?}");
    }
}

/// Every sensor-day of those days was published locally, with a prediction by that version.
fn expect_messages(outputs: &Subscriber, from: i64, to: i64, version: u64) {
    for date in (from..to).map(date) {
        for sensor in (0..SENSORS).map(readings::sensor_id) {
            let topic = format!("daywise/{GATEWAY}/{sensor}/day");
            let said = |outputs: &Subscriber| {
                let messages = outputs.messages().into_iter();
                let messages = messages.filter(|message| message.topic == topic);
                messages.map(|message| message.json()).find(|day| day["day"] == date)
            };
            wait_until(&format!("{date} is published on {topic}"), LONG, || {
                said(outputs).is_some()
            });
            let day = said(outputs).unwrap();
            assert_eq!(day["model_version"], version, "{day:#}");
            assert!(day["cluster"].is_u64() && day["distance"].is_f64(), "{day:#}");
            let novelty = day["novelty"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&novelty), "{day:#}");
            assert_eq!(day["top_features"].as_array().unwrap().len(), 3, "{day:#}");
        }
    }
}

/// The date of the `number`th day from 29 March 2024.
fn date(number: i64) -> String {
    if number < 3 {
        format!("2024-03-{}", 29 + number)
    } else {
        format!("2024-04-{:02}", number - 2)
    }
}
