//! Readings that come after their day was closed.

use e2e::{
    Agent, Broker, Reading, Site, days,
    readings::{DAY_MS, HOUR_MS, berlin_day, building, sensor_id},
    wait::{LONG, wait_until},
};

const SENSORS: usize = 2;
const GATEWAY: &str = "gw-1";

#[test]
fn late_reading_revises_its_day_through_mosquitto() {
    late_readings(Broker::MOSQUITTO);
}

#[test]
fn late_reading_revises_its_day_through_the_embedded_broker() {
    late_readings(Broker::Embedded);
}

fn late_readings(broker: Broker) {
    let site = Site::start(broker);
    let agent = Agent::start(&site.scratch, &site.agent_settings());
    let mut publisher = site.publisher();
    let mut fed = building(SENSORS, berlin_day(0), berlin_day(3), HOUR_MS);
    publisher.feed(&fed);
    let closed = berlin_day(3) + 2 * HOUR_MS;
    publisher.tick(closed);
    let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
    site.server.wait_for_days(GATEWAY, &expected);

    // A burst for the day before yesterday, twice delivered, and one that is too old to be kept.
    let noon = berlin_day(0) + 12 * HOUR_MS;
    let late = |minute: i64| {
        let at_ms = noon + minute * 60_000;
        Reading { sensor: sensor_id(0), at_ms, value: 25.0 }
    };
    let burst: Vec<Reading> = (1..=5).map(late).collect();
    for reading in burst.iter().chain(&burst) {
        publisher.reading(reading);
    }
    publisher.reading(&Reading { at_ms: noon - 30 * DAY_MS, ..late(0) });
    publisher.tick(closed + HOUR_MS);
    fed.extend(burst);

    let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
    site.server.wait_for_days(GATEWAY, &expected);
    let found = site.server.days(GATEWAY);
    let revised = (sensor_id(0), "2024-03-29".to_owned());
    for (key, day) in &found {
        assert_eq!(day.revision, if *key == revised { 2 } else { 1 }, "{key:?}");
    }
    assert_eq!(found[&revised].samples, 24 + 5);
    assert_eq!(agent.refused("too_old"), 1);
    wait_until("the outbox is empty", LONG, || agent.figure("outbox") == 0);
    assert_eq!(agent.figure("sensor_days"), expected.len() as u64 + 1, "one revision in all");
}
