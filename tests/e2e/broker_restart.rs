//! The sensors' broker loses its power, and with it every session.

use e2e::{
    Agent, Broker, Site,
    agent::CLOCK,
    days,
    readings::{HOUR_MS, berlin_day, building},
    wait::{LONG, wait_until},
};

const SENSORS: usize = 4;
const GATEWAY: &str = "gw-1";

#[test]
fn agent_comes_back_to_a_mosquitto_that_forgot_it() {
    broker_restart(Broker::MOSQUITTO);
}

#[test]
fn agent_comes_back_to_an_embedded_broker_that_forgot_it() {
    broker_restart(Broker::Embedded);
}

fn broker_restart(broker: Broker) {
    let mut site = Site::start(broker);
    let agent = Agent::start(&site.scratch, &site.agent_settings());
    let mut fed = Vec::new();
    for day in 0..3 {
        // From noon to noon, so that one day's readings come over two connections.
        let noon = |day| berlin_day(day) + 12 * HOUR_MS;
        let readings = building(SENSORS, noon(day), noon(day + 1), HOUR_MS / 2);
        let mut publisher = site.publisher();
        publisher.feed(&readings);
        publisher.flush();
        fed.extend(readings);
        let all = fed.len() as u64;
        wait_until("all readings are kept", LONG, || agent.figure("accepted") == all);
        if let Some(mosquitto) = &mut site.mosquitto {
            mosquitto.kill();
            mosquitto.start_again();
        } else {
            site.server.kill();
            site.server.start_again();
        }
        wait_for_subscription(&site, &agent);
    }
    let mut publisher = site.publisher();
    publisher.tick(berlin_day(4) + 2 * HOUR_MS);
    let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
    site.server.wait_for_days(GATEWAY, &expected);
    wait_until("the outbox is empty", LONG, || agent.figure("outbox") == 0);
}

/// A broker without a session keeps nothing for the agent before it has subscribed again.
fn wait_for_subscription(site: &Site, agent: &Agent) {
    let mut publisher = site.publisher();
    let before = agent.figure("messages");
    wait_until("the agent has subscribed again", LONG, || {
        // A tick of long ago changes nothing.
        publisher.publish(CLOCK, "0");
        publisher.flush();
        agent.figure("messages") > before
    });
}
