//! What the agent's store holds, as `daywise-agent inspect` tells.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use e2e::{Day, Days, Reading, agent::CLOCK, command, publisher::message, tap::Content};
use serde_json::Value;

use crate::site::Site;

/// The site's zone.
const ZONE: &str = "Europe/Berlin";

/// Readings that the agent has acknowledged and its store does not hold. Looks at a copy, so that
/// the agent itself is the first to open what the crash left.
///
/// On a full disk the readings of closed days go first, by rule: what lies before the oldest day
/// that is held is then not lost but used, and the day's features tell whether it was.
pub(crate) fn missing(site: &Site) -> Vec<Content> {
    let acknowledged = site.tap.acknowledged(CLOCK);
    let (held, oldest_day) = samples(site, &copy(site));
    let was_full = site.seen.faults.contains_key("disk_full");
    let is_used = |content: &Content| was_full && day_of(content) < oldest_day;
    acknowledged
        .into_iter()
        .filter(|content| !held.contains(content) && !is_used(content))
        .collect()
}

/// The local day of a reading's message.
fn day_of(content: &Content) -> String {
    let message: Value = serde_json::from_slice(&content.1).unwrap();
    let at = jiff::Timestamp::from_millisecond(message["ts"].as_i64().unwrap()).unwrap();
    at.to_zoned(jiff::tz::TimeZone::get(ZONE).unwrap()).date().to_string()
}

/// All readings that a store holds, as the messages they came in, and the oldest of their days.
fn samples(site: &Site, state_dir: &Path) -> (HashSet<Content>, String) {
    let (mut held, mut oldest_day) = (HashSet::new(), "9999-12-31".to_owned());
    for line in inspect(site, state_dir, "samples") {
        let day = line["day"].as_str().unwrap();
        oldest_day = oldest_day.min(day.to_owned());
        let sensor = line["sensor"].as_str().unwrap();
        let values = line["values"].as_array().unwrap();
        for (ts, value) in line["ts"].as_array().unwrap().iter().zip(values) {
            let (at_ms, value) = (ts.as_i64().unwrap(), value.as_f64().unwrap());
            held.insert(message(&Reading { sensor: sensor.to_owned(), at_ms, value }));
        }
    }
    (held, oldest_day)
}

/// All sensor-days that the stopped agent's store holds.
pub(crate) fn days(site: &Site) -> Days {
    let lines = inspect(site, site.agent.state_dir(), "days");
    lines.iter().map(Day::from_store).collect()
}

fn inspect(site: &Site, state_dir: &Path, what: &str) -> Vec<Value> {
    let config = site.scratch.write("inspect.toml", site.settings.to_toml(state_dir));
    let arguments = ["inspect", what, "--config", config.to_str().unwrap()];
    let done = command::run(&site.scratch, command::agent(), &arguments).ok();
    assert!(!done.stderr.contains("set aside"), "{}", done.stderr);
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn copy(site: &Site) -> PathBuf {
    let to = site.scratch.file("crashed-state");
    if to.exists() {
        fs::remove_dir_all(&to).unwrap();
    }
    copy_folder(&site.agent.state_dir().join("store"), &to.join("store"));
    to
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
