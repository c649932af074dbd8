//! The agent's power is cut mid-stream, several times.

use std::{collections::BTreeMap, fs, thread};

use e2e::{
    Agent, Broker, Random, Site, command, days,
    mosquitto::DEFAULT_INFLIGHT,
    readings::{HOUR_MS, berlin_day, building},
    wait::{LONG, is_so_within, wait_until},
};

const SENSORS: usize = 8;
const GATEWAY: &str = "gw-1";
const POWER_CUTS: usize = 5;

#[test]
fn killed_agent_loses_nothing_behind_mosquitto_as_installed() {
    killed_agent(Broker::Mosquitto { max_inflight: DEFAULT_INFLIGHT }, 1);
}

#[test]
fn killed_agent_loses_nothing_behind_mosquitto_without_a_window() {
    killed_agent(Broker::Mosquitto { max_inflight: 0 }, 2);
}

#[test]
fn killed_agent_loses_nothing_behind_the_embedded_broker() {
    killed_agent(Broker::Embedded, 3);
}

fn killed_agent(broker: Broker, seed: u64) {
    let site = Site::start(broker);
    let mut agent = Agent::start(&site.scratch, &site.agent_settings());
    let mut publisher = site.publisher();

    // A model first, kept for good, so that there is something to predict with.
    let mut fed = building(SENSORS, berlin_day(0), berlin_day(5), HOUR_MS);
    publisher.feed(&fed);
    publisher.tick(berlin_day(5) + 2 * HOUR_MS);
    wait_until("five days are at the server", LONG, || {
        site.server.days(GATEWAY).len() == 5 * SENSORS
    });
    site.server.train_well();
    agent.wait_for_model(1);
    let trial = building(SENSORS, berlin_day(5), berlin_day(7), HOUR_MS);
    publisher.feed(&trial);
    publisher.tick(berlin_day(7) + 2 * HOUR_MS);
    wait_until("the model is confirmed", LONG, || agent.status()["update"] == "confirmed");
    fed.extend(trial);

    let stream = building(SENSORS, berlin_day(7), berlin_day(10), HOUR_MS / 12);
    let mut random = Random::seeded(seed);
    for part in stream.chunks(stream.len().div_ceil(POWER_CUTS)) {
        let before = agent.figure("accepted");
        let enough = before + random.between(1, part.len() as u64 / 2);
        thread::scope(|scope| {
            // The sensors go on through the power cut.
            scope.spawn(|| publisher.feed(part));
            wait_until("readings arrive", LONG, || agent.figure("accepted") >= enough);
            agent.kill();
            agent.start_again();
        });
    }
    publisher.tick(berlin_day(10) + 3 * HOUR_MS);
    publisher.flush();
    fed.extend(stream);

    let expected = days::of_readings(&site.scratch, &fed, "Europe/Berlin", "profile");
    site.server.wait_for_days(GATEWAY, &expected);
    assert_eq!(agent.model_version(), Some(1));
    expect_the_same_predictions(&site);
    let status = agent.status();
    let (received, accepted) = (status["received"].as_u64(), status["accepted"].as_u64());
    // It may have taken all of them before it was killed for the last time.
    assert!(received >= accepted, "{status:#}");
    for reason in status["refused"].as_object().unwrap().keys() {
        assert_eq!(reason, "duplicate", "only what the broker sends again: {status:#}");
    }
}

/// What the server heard of the last days is what the batch command predicts.
fn expect_the_same_predictions(site: &Site) {
    let scratch = &site.scratch;
    let models = scratch.file(&format!("{GATEWAY}-state/models"));
    let artifact =
        ["a.dwm", "b.dwm"].map(|name| models.join(name)).into_iter().find(|m| m.exists());
    let (features, out) = (scratch.file("features.csv"), scratch.file("predictions.csv"));
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (artifact, features, out) = (path(&artifact.unwrap()), path(&features), path(&out));
    let arguments = ["predict", "--features", &features, "--model", &artifact, "--out", &out];
    let done = command::run(scratch, command::agent(), &arguments);
    assert_eq!(done.code, Some(0), "{done:#?}");
    let mut reader = csv::Reader::from_reader(fs::File::open(&out).unwrap());
    let rows = reader.records().map(Result::unwrap);
    let expected: BTreeMap<_, _> = rows
        .map(|row| ((row[0].to_owned(), row[1].to_owned()), [3, 4, 5].map(|at| single(&row[at]))))
        .collect();
    let same = is_so_within(LONG, || {
        let rows = site.server.sensor_days(GATEWAY);
        let predicted = rows.iter().filter(|row| !row["prediction"].is_null());
        predicted.clone().count() >= 5 * SENSORS
            && predicted.clone().all(|row| {
                let key = (row["sensor"].as_str().unwrap(), row["date"].as_str().unwrap());
                let said = ["cluster", "distance", "novelty"]
                    .map(|name| single(&row["prediction"][name].to_string()));
                expected[&(key.0.to_owned(), key.1.to_owned())] == said
            })
    });
    assert!(same, "{expected:#?}\n{:#?}", site.server.sensor_days(GATEWAY));
}

/// A number's bits at the precision that predictions have.
#[expect(clippy::cast_possible_truncation, reason = "it was an f32 before it was written")]
fn single(text: &str) -> u32 {
    (text.parse::<f64>().unwrap() as f32).to_bits()
}
