//! The agent is asked to end while readings pour in.

use std::thread;

use e2e::{
    Agent, Broker, Site, days,
    readings::{HOUR_MS, berlin_day, building},
    wait::{LONG, wait_until},
};

const SENSORS: usize = 8;
const GATEWAY: &str = "gw-1";

#[test]
fn agent_drains_under_load_from_mosquitto_and_takes_up_again() {
    drain(Broker::MOSQUITTO);
}

#[test]
fn agent_drains_under_load_from_the_embedded_broker_and_takes_up_again() {
    drain(Broker::Embedded);
}

fn drain(broker: Broker) {
    let site = Site::start(broker);
    let mut agent = Agent::start(&site.scratch, &site.agent_settings());
    let mut publisher = site.publisher();
    let fed = building(SENSORS, berlin_day(0), berlin_day(3), HOUR_MS / 12);
    thread::scope(|scope| {
        scope.spawn(|| publisher.feed(&fed));
        wait_until("readings pour in", LONG, || agent.figure("accepted") > 100);
        assert_eq!(agent.terminate(), Some(0), "{}", agent.process.log());
        let log = agent.process.log();
        assert!(log.contains("drained within the deadline"), "{log}");
        agent.start_again();
    });
    publisher.tick(berlin_day(3) + 2 * HOUR_MS);
    let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
    site.server.wait_for_days(GATEWAY, &expected);
    wait_until("the outbox is empty", LONG, || agent.figure("outbox") == 0);
    assert_eq!(agent.terminate(), Some(0));
}
