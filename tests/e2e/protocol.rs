//! Sensor brokers that speak MQTT 5, and one that does not.

use e2e::{
    Agent, AgentSettings, Broker, Mosquitto, Scratch, Site,
    mosquitto::DEFAULT_INFLIGHT,
    publisher::Publisher,
    readings::{HOUR_MS, Reading, berlin_day, building},
    wait::{LONG, wait_until},
};

/// One sensor's hours.
fn hours() -> Vec<Reading> {
    building(1, berlin_day(0), berlin_day(2), HOUR_MS)
}

#[test]
fn mosquitto_is_spoken_to_in_5_where_nothing_else_is_said() {
    keeps_readings_while_away(&["auto"], &["5"]);
}

#[test]
fn mosquitto_keeps_readings_for_an_agent_that_speaks_3_1_1() {
    keeps_readings_while_away(&["3.1.1"], &["3.1.1"]);
}

#[test]
fn a_session_outlives_a_change_of_the_protocol() {
    keeps_readings_while_away(&["5", "3.1.1", "5"], &["5", "3.1.1", "5"]);
}

/// Readings come while no agent runs, before each of those settings.
fn keeps_readings_while_away(settings: &[&str], spoken: &[&str]) {
    let scratch = Scratch::new();
    let broker = Mosquitto::start(&scratch, DEFAULT_INFLIGHT);
    let with = |protocol: &str| AgentSettings {
        protocol: protocol.into(),
        sync_broker: None,
        ..AgentSettings::at(&broker.url())
    };
    let mut agent = Agent::start(&scratch, &with(settings[0]));
    let mut publisher = Publisher::connect(&broker.url());
    publisher.feed(&hours()[..1]);
    publisher.flush();
    wait_until("the first reading is kept", LONG, || agent.figure("accepted") == 1);
    for (round, (protocol, spoken)) in (1..).zip(settings.iter().zip(spoken)) {
        assert_eq!(agent.terminate(), Some(0));
        let some = hours();
        let some = &some[5 * round..5 * (round + 1)];
        publisher.feed(some);
        publisher.flush();
        agent = Agent::start(&scratch, &with(protocol));
        wait_until("what the broker kept is there", LONG, || agent.figure("accepted") == 5);
        assert_eq!(agent.status()["mqtt_protocol"], *spoken);
    }
}

#[test]
fn the_embedded_broker_speaks_3_1_1_only_and_is_found_out_at_once() {
    let site = Site::start(Broker::Embedded);
    let agent = Agent::start(&site.scratch, &site.agent_settings());
    assert_eq!(agent.status()["mqtt_protocol"], "3.1.1");
    let mut publisher = site.publisher();
    publisher.feed(&hours());
    wait_until("readings are kept", LONG, || agent.figure("accepted") == hours().len() as u64);
    let log = agent.process.log();
    assert_eq!(log.matches("may speak another version").count(), 1, "{log}");
}
