//! The agent's power is cut while it takes over a model.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use e2e::{
    Agent, Broker, Publisher, Random, Site,
    readings::{HOUR_MS, berlin_day, building},
    wait::{LONG, wait_until},
};

/// Enough predictions a day to end a trial within two.
const SENSORS: usize = 6;
const GATEWAY: &str = "gw-1";

#[test]
fn power_cut_during_an_update_leaves_one_of_two_models_behind_mosquitto() {
    power_cuts(Broker::MOSQUITTO, 1);
}

#[test]
fn power_cut_during_an_update_leaves_one_of_two_models_behind_the_embedded_broker() {
    power_cuts(Broker::Embedded, 2);
}

fn power_cuts(broker: Broker, seed: u64) {
    let site = Site::start(broker);
    let mut agent = Agent::start(&site.scratch, &site.agent_settings());
    let mut publisher = site.publisher();
    let mut day = 0;
    feed_days(&site, &mut publisher, &mut day, 5);
    site.server.train_well();
    agent.wait_for_model(1);
    confirm(&site, &agent, &mut publisher, &mut day, 1);

    let mut random = Random::seeded(seed);
    for version in 2..=7 {
        let model = site.server.train_well();
        assert_eq!((&model["version"], &model["parent"]), (&version.into(), &(version - 1).into()));
        match version % 3 {
            0 => wait_for_log(&agent, "new model offered", version),
            1 => wait_for_log(&agent, "model on trial", version),
            // The server offers within half a second.
            _ => sleep(Duration::from_millis(random.between(300, 700))),
        }
        agent.kill();
        agent.start_again();
        let running = agent.model_version();
        assert!(running == Some(version) || running == Some(version - 1), "{running:?}");
        agent.wait_for_model(version);
        confirm(&site, &agent, &mut publisher, &mut day, version);
    }
}

/// Two more days of predictions, after which the model is kept; all of them are by it.
fn confirm(site: &Site, agent: &Agent, publisher: &mut Publisher, day: &mut i64, version: u64) {
    let before = site.server.days(GATEWAY);
    feed_days(site, publisher, day, 2);
    wait_until("the model is confirmed", LONG, || agent.status()["update"] == "confirmed");
    let after = site.server.days(GATEWAY);
    let new: Vec<_> = after.iter().filter(|(key, _)| !before.contains_key(key)).collect();
    assert_eq!(new.len(), 2 * SENSORS);
    for (key, day) in new {
        assert_eq!(day.model_version, Some(version), "{key:?}");
    }
}

fn feed_days(site: &Site, publisher: &mut Publisher, day: &mut i64, count: i64) {
    publisher.feed(&building(SENSORS, berlin_day(*day), berlin_day(*day + count), HOUR_MS));
    *day += count;
    publisher.tick(berlin_day(*day) + 2 * HOUR_MS);
    let expected = usize::try_from(*day).unwrap() * SENSORS;
    wait_until("the days are at the server", LONG, || site.server.days(GATEWAY).len() == expected);
}

/// Waits for the moment in question more closely than usual: the `count`th line, or, where an
/// earlier power cut swallowed one, the wait is simply over after a while.
fn wait_for_log(agent: &Agent, text: &str, count: u64) {
    let started = Instant::now();
    while (agent.process.log().matches(text).count() as u64) < count {
        if started.elapsed() > Duration::from_secs(3) {
            return;
        }
        sleep(Duration::from_millis(1));
    }
}
