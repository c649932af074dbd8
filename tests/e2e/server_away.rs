//! The sync server is away for a while.

use std::{collections::BTreeSet, thread::sleep, time::Duration};

use e2e::{
    Agent, AgentSettings, Broker, Publisher, Server, Site, days,
    readings::{HOUR_MS, Reading, berlin_day, building},
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

/// Longer than a gateway waits for an acknowledgement before it asks.
const HANGS_FOR: Duration = Duration::from_secs(12);

#[test]
fn server_that_hangs_is_asked_what_it_has_and_gets_every_day_once() {
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
    assert_eq!(intake(&site.server, "unchanged"), 0, "nothing came twice");
    assert!(site.server.days(GATEWAY).values().all(|day| day.revision == 1));
}

fn intake(server: &Server, figure: &str) -> u64 {
    server.get("/api/v1/status")["intake"][figure].as_u64().unwrap()
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
        assert_eq!(intake(&site.server, "unchanged"), 0, "nothing came twice");
    }
}

/// Days that pass without the server; at the slowest rate, catching up takes half a minute.
const AWAY_DAYS: i64 = 20;

#[test]
fn after_weeks_without_the_server_the_newest_days_arrive_first_and_live_ones_before_the_rest() {
    let mut site = Site::start_with(Broker::MOSQUITTO, Broker::Embedded);
    let (agent, mut publisher, mut fed) = weeks_without_the_server(&mut site);
    let mut order = Vec::new();
    note_arrivals(&site.server, &mut order);
    assert!(order.len() < usize::try_from(AWAY_DAYS).unwrap(), "there is a backlog: {order:?}");

    let live = building(SENSORS, berlin_day(AWAY_DAYS), berlin_day(AWAY_DAYS + 1), HOUR_MS / 2);
    publisher.feed(&live);
    publisher.tick(berlin_day(AWAY_DAYS + 1) + 2 * HOUR_MS);
    fed.extend(live);
    let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
    wait_until("all days arrive", LONG, || {
        note_arrivals(&site.server, &mut order);
        order.len() > usize::try_from(AWAY_DAYS).unwrap()
    });
    site.server.wait_for_days(GATEWAY, &expected);
    wait_until("the outbox is empty", LONG, || agent.figure("outbox") == 0);
    let dates: BTreeSet<&String> = expected.keys().map(|(_, date)| date).collect();
    let (live, oldest) = (dates.last().unwrap(), dates.first().unwrap());
    let place = |date: &str| order.iter().position(|seen| seen == date).unwrap();
    assert!(place(live) < place(oldest), "{order:?}");
    let backlog: Vec<&String> = order.iter().filter(|date| date != live).collect();
    assert!(backlog.is_sorted_by(|one, next| one > next), "newest first: {order:?}");
    assert_eq!(intake(&site.server, "changed"), expected.len() as u64);
    assert_eq!(intake(&site.server, "unchanged"), 0, "nothing came twice");
}

#[test]
fn server_killed_while_it_catches_up_loses_nothing_and_gets_nothing_twice() {
    let mut site = Site::start_with(Broker::MOSQUITTO, Broker::Embedded);
    let (agent, _publisher, fed) = weeks_without_the_server(&mut site);
    let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
    for share in [4, 2] {
        wait_until("a part has arrived", LONG, || {
            site.server.days(GATEWAY).len() >= expected.len() / share
        });
        site.server.kill();
        assert!(agent.figure("outbox") > 0, "it was killed too late");
        site.server.start_again();
    }
    site.server.wait_for_days(GATEWAY, &expected);
    wait_until("the outbox is empty", LONG, || agent.figure("outbox") == 0);
    assert_eq!(intake(&site.server, "unchanged"), 0, "nothing came twice");
    assert!(site.server.days(GATEWAY).values().all(|day| day.revision == 1));
}

/// A site whose server comes back after three weeks, to a gateway that catches up slowly.
fn weeks_without_the_server(site: &mut Site) -> (Agent, Publisher, Vec<Reading>) {
    let settings = AgentSettings { catch_up_kb_per_s: 1, ..site.agent_settings() };
    let agent = Agent::start(&site.scratch, &settings);
    let mut publisher = site.publisher();
    site.server.kill();
    let fed = building(SENSORS, berlin_day(0), berlin_day(AWAY_DAYS), HOUR_MS / 2);
    publisher.feed(&fed);
    publisher.tick(berlin_day(AWAY_DAYS) + 2 * HOUR_MS);
    let days = u64::try_from(AWAY_DAYS).unwrap() * SENSORS as u64;
    wait_until("the days are computed", LONG, || agent.figure("sensor_days") == days);
    assert_eq!(agent.figure("outbox"), days, "all of them wait for the server");
    site.server.start_again();
    wait_until("it catches up", LONG, || !site.server.days(GATEWAY).is_empty());
    (agent, publisher, fed)
}

/// Adds the dates that have come since, the newest first.
fn note_arrivals(server: &Server, order: &mut Vec<String>) {
    let dates: BTreeSet<String> = server.days(GATEWAY).into_keys().map(|(_, date)| date).collect();
    order.extend(dates.into_iter().rev().filter(|date| !order.contains(date)).collect::<Vec<_>>());
}
