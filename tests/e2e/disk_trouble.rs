//! The agent's disk fills up, or takes no writes.

use std::{thread, time::Duration};

use e2e::{
    Agent, Broker, Site, SmallDisk, days,
    readings::{HOUR_MS, berlin_day, building},
    wait::{LONG, wait_for, wait_until},
};

const SENSORS: usize = 6;
const GATEWAY: &str = "gw-1";
/// Room for the reserve that the agent leaves free, and for its work.
const DISK_MB: u32 = 64;

/// What `/health` says of the store, if that is what is wrong.
fn trouble(agent: &Agent) -> Option<String> {
    let health = agent.health();
    let why = health["why"].as_array().unwrap();
    let found = why.iter().find(|one| one["condition"] == "store_waiting")?;
    Some(found["detail"].as_str().unwrap().to_owned())
}

#[test]
fn a_full_disk_holds_readings_at_the_broker_until_there_is_room_again() {
    let site = Site::start(Broker::MOSQUITTO);
    let state = site.scratch.file(&format!("{GATEWAY}-state"));
    let Some(disk) = SmallDisk::mount(&state, DISK_MB) else { return };
    let mut agent = Agent::start(&site.scratch, &site.agent_settings());
    let mut publisher = site.publisher();
    let fed = building(SENSORS, berlin_day(0), berlin_day(1), HOUR_MS / 12);
    let (before, after) = fed.split_at(fed.len() / 2);
    publisher.feed(before);
    publisher.flush();
    wait_until("the first half is there", LONG, || agent.figure("accepted") == before.len() as u64);
    wait_until("and committed", LONG, || agent.figure("commits") > 0);
    assert_eq!(trouble(&agent), None);

    disk.fill(1);
    publisher.feed(after);
    publisher.flush();
    let detail = wait_for("the agent says why it waits", LONG, || trouble(&agent));
    assert!(detail.contains("the disk is full"), "{detail}");
    let commits = agent.figure("commits");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(agent.figure("commits"), commits, "nothing is kept, and so nothing acknowledged");
    // What was not acknowledged comes again, also to an agent that was started anew.
    agent.kill();
    agent.start_again();
    wait_until("it still waits", LONG, || trouble(&agent).is_some());

    disk.clear();
    wait_until("the agent is well again", LONG, || trouble(&agent).is_none());
    assert!(!agent.process.has_ended(), "without a new start");
    publisher.tick(berlin_day(1) + 3 * HOUR_MS);
    publisher.flush();
    let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
    site.server.wait_for_days(GATEWAY, &expected);
}

#[test]
fn a_disk_that_is_read_only_at_the_start_is_waited_for() {
    let site = Site::start(Broker::MOSQUITTO);
    let state = site.scratch.file(&format!("{GATEWAY}-state"));
    let Some(disk) = SmallDisk::mount(&state, DISK_MB) else { return };
    let mut agent = Agent::start(&site.scratch, &site.agent_settings());
    let mut publisher = site.publisher();
    let fed = building(SENSORS, berlin_day(0), berlin_day(1), HOUR_MS);
    assert_eq!(agent.terminate(), Some(0), "{}", agent.process.log());
    disk.set_read_only(true);
    publisher.feed(&fed);
    publisher.tick(berlin_day(1) + 3 * HOUR_MS);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_secs(3));
            disk.set_read_only(false);
        });
        agent.start_again();
    });
    let log = agent.process.log();
    assert!(log.contains("store_waiting") && log.contains("well again"), "{log}");
    let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
    site.server.wait_for_days(GATEWAY, &expected);
}
