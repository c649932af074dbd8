//! The sync server is away for a while.

use std::{thread::sleep, time::Duration};

use e2e::{
    Agent, Broker, Site, days,
    readings::{HOUR_MS, berlin_day, building},
    wait::{LONG, wait_until},
};

const SENSORS: usize = 6;
const GATEWAY: &str = "gw-1";

#[test]
fn server_with_its_own_broker_comes_back_and_gets_every_day_once() {
    server_away(Broker::Embedded);
}

#[test]
fn server_at_mosquitto_comes_back_and_gets_every_day_once() {
    server_away(Broker::MOSQUITTO);
}

/// Longer than a gateway waits for an acknowledgement before it sends again.
const HANGS_FOR: Duration = Duration::from_secs(12);

#[test]
fn server_that_hangs_gets_every_day_once_although_it_is_sent_twice() {
    let site = Site::start(Broker::MOSQUITTO);
    let agent = Agent::start(&site.scratch, &site.agent_settings());
    let mut publisher = site.publisher();
    wait_until("the gateway is known", LONG, || {
        site.server.get("/api/v1/gateways").as_array().is_some_and(|all| all.len() == 1)
    });
    site.server.process.pause();
    let fed = building(SENSORS, berlin_day(0), berlin_day(3), HOUR_MS / 2);
    publisher.feed(&fed);
    publisher.tick(berlin_day(3) + 2 * HOUR_MS);
    let days = 3 * SENSORS as u64;
    wait_until("the days are computed", LONG, || agent.figure("sensor_days") == days);
    sleep(HANGS_FOR);
    assert_eq!(agent.figure("outbox"), days, "nothing is taken for received");
    site.server.process.resume();

    let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
    site.server.wait_for_days(GATEWAY, &expected);
    wait_until("the outbox is empty", LONG, || agent.figure("outbox") == 0);
    wait_until("the repeats have arrived", LONG, || {
        site.server.get("/api/v1/status")["intake"]["unchanged"].as_u64() > Some(0)
    });
    assert_eq!(site.server.days(GATEWAY), expected);
    assert!(site.server.days(GATEWAY).values().all(|day| day.revision == 1));
}

fn server_away(sync: Broker) {
    let mut site = Site::start_with(Broker::MOSQUITTO, sync);
    let agent = Agent::start(&site.scratch, &site.agent_settings());
    let mut publisher = site.publisher();
    let mut fed = building(SENSORS, berlin_day(0), berlin_day(2), HOUR_MS / 2);
    publisher.feed(&fed);
    publisher.tick(berlin_day(2) + 2 * HOUR_MS);
    let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
    site.server.wait_for_days(GATEWAY, &expected);
    wait_until("the outbox is empty", LONG, || agent.figure("outbox") == 0);

    for (from, to) in [(2, 4), (4, 7)] {
        site.server.kill();
        let more = building(SENSORS, berlin_day(from), berlin_day(to), HOUR_MS / 2);
        publisher.feed(&more);
        publisher.tick(berlin_day(to) + 2 * HOUR_MS);
        fed.extend(more);
        let days = u64::try_from(to).unwrap() * SENSORS as u64;
        wait_until("the days are computed", LONG, || agent.figure("sensor_days") == days);
        let waiting = u64::try_from(to - from).unwrap() * SENSORS as u64;
        assert_eq!(agent.figure("outbox"), waiting, "all of them wait for the server");

        site.server.start_again();
        let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
        site.server.wait_for_days(GATEWAY, &expected);
        wait_until("the outbox is empty", LONG, || agent.figure("outbox") == 0);
        assert_eq!(site.server.get("/api/v1/status")["sensor_days"], expected.len());
        let found = site.server.days(GATEWAY);
        assert!(found.values().all(|day| day.revision == 1), "no day was computed twice");
    }
}
