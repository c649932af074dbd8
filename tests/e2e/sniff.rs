//! A newcomer points `daywise-agent sniff` at a broker, sees the sensors, and gives the agent the
//! config that is shown.

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use e2e::{
    Agent, AgentSettings, Broker, Site,
    agent::AgentClock,
    command,
    wait::{LONG, wait_until},
};
use serde_json::Value;

/// A topic and a payload of each device on the broker, but for the values.
fn publish(site: &Site, is_over: &AtomicBool) {
    let mut publisher = site.publisher();
    for step in 0..1_000 {
        let tenths = step % 10;
        publisher.publish(
            "zigbee2mqtt/attic",
            format!(r#"{{"temperature":21.{tenths},"battery":80,"linkquality":9{tenths}}}"#),
        );
        publisher.publish("shellies/shellyht-1a2b3c/sensor/humidity", format!("4{tenths}.0"));
        publisher.publish("zigbee2mqtt/bridge/state", r#"{"state":"online"}"#);
        publisher.publish("notes/today", "milk and bread");
        publisher.flush();
        if is_over.load(SeqCst) {
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn what_sniff_shows_is_what_the_agent_takes() {
    let site = Site::start(Broker::MOSQUITTO);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| publish(&site, &is_over));
        let url = site.agent_settings().sensor_broker;
        let arguments = ["sniff", "--broker", &url, "--seconds", "2", "--json"];
        let heard = command::run(&site.scratch, command::agent(), &arguments).ok().json();
        let agent = take(&site, &heard);
        is_over.store(true, SeqCst);
        drop(agent);
    });
}

/// Compares what was heard, and starts an agent by the config that was shown.
fn take(site: &Site, heard: &Value) -> Agent {
    let sensors: Vec<(&str, &str, &str)> = heard["sensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sensor| {
            let text = |key: &str| sensor[key].as_str().unwrap();
            assert!(sensor["readings"].as_u64().unwrap() >= 2, "{sensor}");
            (text("sensor"), text("quantity"), text("format"))
        })
        .collect();
    let expected = [
        ("attic/temperature", "temperature", "zigbee2mqtt"),
        ("shellyht-1a2b3c/sensor/humidity", "humidity", "shelly_gen1"),
    ];
    assert_eq!(sensors, expected);
    let left_out = heard["left_out"].as_array().unwrap();
    let why = |what: &str| {
        let found = left_out.iter().find(|left_out| left_out["what"] == what);
        found.map(|left_out| left_out["reason"].as_str().unwrap().to_owned())
    };
    assert_eq!(why("attic/linkquality").as_deref(), Some("device_health"));
    assert_eq!(why("zigbee2mqtt/bridge/state").as_deref(), Some("not_a_sensor"));
    assert_eq!(why("notes/today").as_deref(), Some("malformed"));

    let config = heard["config"].as_str().unwrap();
    let sources = config.find("[[sources]]").map(|place| &config[place..]).unwrap();
    let settings = AgentSettings {
        clock: AgentClock::System(None),
        sync_broker: None,
        more: format!("\n{sources}"),
        ..site.agent_settings()
    };
    let agent = Agent::start(&site.scratch, &settings);
    wait_until("both sensors are taken", LONG, || agent.figure("sensors") == 2);
    let seen = &agent.status()["seen"];
    let formats: Vec<&str> = seen["formats"]
        .as_array()
        .unwrap()
        .iter()
        .map(|topic| topic["format"].as_str().unwrap())
        .collect();
    assert_eq!(formats, ["shelly_gen1", "zigbee2mqtt"]);
    wait_until("the battery is shown", LONG, || {
        let health = agent.status()["seen"]["device_health"].clone();
        health.as_array().unwrap().iter().any(|health| health["of"] == "attic/battery")
    });
    agent
}
