//! A gateway whose clock is wrong: at boot, and when it jumps while the agent runs.

use e2e::{
    Agent, AgentSettings, Broker, Site,
    agent::AgentClock,
    command,
    fake_time::FakeTime,
    wait::{LONG, wait_until},
};
use serde_json::Value;

/// Seconds from now back into 1970, about.
fn back_to_1970() -> i64 {
    -(jiff::Timestamp::now().as_second() - 86_400)
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Time, sensor and value of all that the agent's store keeps.
fn kept(site: &Site, settings: &AgentSettings) -> Vec<(i64, String, f64)> {
    let config = site.scratch.file(&format!("{}.toml", settings.gateway));
    let arguments = ["inspect", "--config", config.to_str().unwrap(), "samples"];
    let listed = command::run(&site.scratch, command::agent(), &arguments).ok();
    let mut kept = Vec::new();
    for line in listed.stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let sensor = line["sensor"].as_str().unwrap();
        let (times, values) = (line["ts"].as_array().unwrap(), line["values"].as_array().unwrap());
        for (at, value) in times.iter().zip(values) {
            kept.push((at.as_i64().unwrap(), sensor.to_owned(), value.as_f64().unwrap()));
        }
    }
    kept
}

fn start(site: &Site, fake: &FakeTime) -> (Agent, AgentSettings) {
    let clock = AgentClock::System(Some(fake.clone()));
    let settings = AgentSettings { clock, sync_broker: None, ..site.agent_settings() };
    (Agent::start(&site.scratch, &settings), settings)
}

#[test]
fn readings_that_come_before_the_clock_is_set_get_the_time_they_came_at() {
    let site = Site::start(Broker::MOSQUITTO);
    let fake = FakeTime::new(&site.scratch);
    fake.set_off_by(back_to_1970());
    let (mut agent, settings) = start(&site, &fake);
    let mut publisher = site.publisher();
    let began = now_ms();
    publisher.publish("readings/hall/temperature", "20.5");
    wait_until("it waits for the clock", LONG, || agent.figure("quarantined") == 1);
    // The power goes; the clock is no better after it. The boot is the same, so all is known.
    agent.kill();
    agent.start_again();
    let between = now_ms();
    publisher.publish("readings/hall/temperature", "21.5");
    wait_until("both wait for the clock", LONG, || agent.figure("quarantined") == 2);
    assert_eq!(agent.figure("accepted"), 0);
    assert_eq!(agent.health()["why"][0]["condition"], "clock_untrusted");
    fake.set_off_by(0);
    wait_until("they have their times", LONG, || agent.figure("accepted") == 2);
    assert_eq!(agent.figure("quarantined"), 0);
    assert_eq!(agent.health()["status"], "ok");
    assert_eq!(agent.terminate(), Some(0));
    let kept = kept(&site, &settings);
    let values: Vec<f64> = kept.iter().map(|(_, _, value)| *value).collect();
    assert_eq!(values, [20.5, 21.5]);
    // faketime's shift is whole seconds, and a slow machine takes its time to deliver.
    for ((at, ..), published) in kept.iter().zip([began, between]) {
        assert!((published - 1_500..published + 4_000).contains(at), "{at} for {published}");
    }
}

#[test]
fn a_clock_that_jumps_a_year_ahead_closes_no_day_and_misplaces_no_reading() {
    let site = Site::start(Broker::MOSQUITTO);
    let fake = FakeTime::new(&site.scratch);
    let (mut agent, settings) = start(&site, &fake);
    let mut publisher = site.publisher();
    publisher.publish("readings/hall/temperature", "20.5");
    wait_until("it is kept", LONG, || agent.figure("accepted") == 1);
    fake.set_off_by(400 * 86_400);
    wait_until("the jump is noticed", LONG, || agent.figure("clock_steps") == 1);
    let began = now_ms();
    publisher.publish("readings/hall/temperature", "21.5");
    wait_until("the reading waits", LONG, || agent.figure("quarantined") == 1);
    assert_eq!((agent.figure("open_days"), agent.figure("sensor_days")), (1, 0));
    fake.set_off_by(0);
    wait_until("it is kept too", LONG, || agent.figure("accepted") == 2);
    let ended = now_ms();
    assert_eq!(agent.terminate(), Some(0));
    let kept = kept(&site, &settings);
    assert_eq!(kept.len(), 2);
    assert!((began - 1_500..ended + 1_500).contains(&kept[1].0), "{} {began} {ended}", kept[1].0);
}
