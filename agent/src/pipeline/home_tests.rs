//! What Home Assistant is told, by a pipeline on a real store whose outputs are read.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use daywise_core::time::{HOUR_MS, UtcMillis};
use serde_json::Value;

use super::tests::{Gateway, at, pipeline_with, stamped};
use crate::mqtt::{Outgoing, queue};

const MINUTE: i64 = 60_000;
const A: &str = "homeassistant/device/daywise-gw-a/config";
const B: &str = "homeassistant/device/daywise-gw-b/config";
const GATEWAY: &str = "homeassistant/device/daywise-gw/config";

/// A gateway and all that it publishes.
struct Heard {
    gateway: Gateway,
    outgoing: Outgoing,
}

impl Heard {
    fn start(dir: &Path, section: &str, more: &str) -> Self {
        let more = format!("home_assistant = {{ enabled = true, {section} }}\n{more}");
        let (outputs, outgoing) = queue(Arc::default());
        let pipeline = pipeline_with(dir, "UTC", &more, outputs);
        Self { gateway: Gateway::start_with(pipeline), outgoing }
    }

    fn reading(&mut self, sensor: &str, at: UtcMillis, value: f64) {
        self.gateway.deliver(sensor, &stamped(at, value));
    }

    /// What is kept at the broker of what was published since the last call, all but `…/live`.
    fn told(&mut self, now: UtcMillis) -> Vec<(String, Bytes)> {
        self.gateway.tick(now);
        self.gateway.pipeline.tell_home();
        let kept = self.outgoing.drain().into_iter().filter(|(_, _, is_kept)| *is_kept);
        kept.map(|(topic, payload, _)| (topic, payload)).collect()
    }

    fn topics(&mut self, now: UtcMillis) -> Vec<String> {
        self.told(now).into_iter().map(|(topic, _)| topic).collect()
    }
}

#[test]
fn sensors_are_announced_once_and_again_when_home_assistant_has_started() {
    let dir = tempfile::tempdir().unwrap();
    let mut heard = Heard::start(dir.path(), "", "");
    heard.gateway.tick(at(1));
    assert_eq!(heard.topics(at(1)), [GATEWAY]);
    heard.reading("a", at(1), 1.0);
    heard.reading("b", at(1), 1.0);
    assert_eq!(heard.topics(at(1) + MINUTE), [A, B]);
    assert!(heard.topics(at(1) + 2 * MINUTE).is_empty());
    heard.gateway.give("homeassistant/status", "offline", 7, false);
    assert!(heard.topics(at(1) + 3 * MINUTE).is_empty());
    heard.gateway.give("homeassistant/status", "online", 8, false);
    assert_eq!(heard.topics(at(1) + 4 * MINUTE), [GATEWAY, A, B]);
}

#[test]
fn without_the_section_nothing_is_said_to_home_assistant() {
    let dir = tempfile::tempdir().unwrap();
    let (outputs, mut outgoing) = queue(Arc::default());
    let pipeline = pipeline_with(dir.path(), "UTC", "", outputs);
    let mut gateway = Gateway::start_with(pipeline);
    gateway.tick(at(1));
    gateway.deliver("a", &stamped(at(1), 1.0));
    gateway.tick(at(2));
    gateway.pipeline.tell_home();
    assert!(outgoing.drain().is_empty());
}

#[test]
fn a_sensor_that_is_newly_denied_is_removed_with_all_that_was_kept_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut heard = Heard::start(dir.path(), "", "");
    heard.gateway.tick(at(1));
    heard.reading("a", at(1), 1.0);
    heard.reading("b", at(1), 1.0);
    heard.gateway.commit();
    drop(heard);
    let mut heard = Heard::start(dir.path(), "", "sensors = { deny = ['b'] }");
    let told = heard.told(at(1) + MINUTE);
    let is_removed = |topic: &str| told.iter().any(|(t, payload)| t == topic && payload.is_empty());
    assert!(is_removed(B), "{told:?}");
    assert!(is_removed("daywise/gw/b/problem") && is_removed("daywise/gw/b/last_day"));
    assert!(told.iter().any(|(topic, payload)| topic == A && !payload.is_empty()));
    assert!(!is_removed(A));
    assert!(heard.topics(at(2)).iter().all(|topic| topic != B), "once");
}

/// A sensor that reports every minute of an hour, from `at(hour)` on.
fn report_for_an_hour(heard: &mut Heard, hour: i64) {
    for minute in 0..60 {
        let now = at(hour) + minute * MINUTE;
        heard.gateway.tick(now);
        heard.reading("a", now, 1.0);
    }
}

#[test]
fn a_sensor_that_is_silent_too_long_is_removed_and_comes_back_when_it_reports() {
    let dir = tempfile::tempdir().unwrap();
    let mut heard = Heard::start(dir.path(), "retire_after = '5h'", "");
    report_for_an_hour(&mut heard, 1);
    let told = heard.told(at(2));
    assert!(told.iter().any(|(topic, payload)| topic == A && !payload.is_empty()), "{told:?}");
    let mut told = Vec::new();
    for minute in 0..295 {
        told.extend(heard.told(at(2) + minute * MINUTE));
    }
    assert!(told.iter().all(|(topic, _)| topic != A), "not yet: {told:?}");
    let problem = told.iter().rev().find(|(topic, _)| topic == "daywise/gw/a/problem").unwrap();
    let problem: Value = serde_json::from_slice(&problem.1).unwrap();
    assert_eq!((&problem["problem"], &problem["causes"][0]), (&"ON".into(), &"silent".into()));
    assert_eq!(problem["since"], (at(2) + -MINUTE).to_string());
    let told = heard.told(at(7));
    assert_eq!(told[0], (A.to_owned(), Bytes::new()), "{told:?}");
    heard.reading("a", at(7), 1.0);
    let told = heard.told(at(7) + 2 * MINUTE);
    assert!(told.iter().any(|(topic, payload)| topic == A && !payload.is_empty()), "{told:?}");
}

#[test]
fn a_closed_day_is_told_and_is_there_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut heard = Heard::start(dir.path(), "", "");
    report_for_an_hour(&mut heard, 1);
    heard.gateway.tick(at(2));
    let of_day = |told: Vec<(String, Bytes)>| -> Value {
        let last = told.iter().rev().find(|(topic, _)| topic == "daywise/gw/a/last_day");
        serde_json::from_slice(&last.unwrap().1).unwrap()
    };
    let day = of_day(heard.told(at(27)));
    assert_eq!((&day["day"], &day["samples"]), (&"2024-05-10".into(), &60.into()), "{day}");
    let metrics = heard.gateway.pipeline.links.figures.to_prometheus("gw");
    assert!(metrics.contains("daywise_sensor_value{gateway=\"gw\",sensor=\"a\""), "{metrics}");
    drop(heard);
    let mut heard = Heard::start(dir.path(), "", "");
    assert_eq!(of_day(heard.told(at(27) + HOUR_MS)), day);
}
