//! Ids and topics. Home Assistant takes only letters, digits, `_` and `-` in the levels of its
//! discovery topics; sensors may be called anything.

use crate::config::AgentConfig;

/// How the ids of all that Daywise announces begin.
const OURS: &str = "daywise-";

/// How the discovery topics of all gateways begin, under a discovery prefix.
#[must_use]
pub fn our_announcements(discovery_prefix: &str) -> String {
    format!("{discovery_prefix}/device/{OURS}")
}

/// What a gateway and its sensors are called, and where what is said of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    gateway: String,
    /// Discovery topics begin with it.
    discovery_prefix: String,
    /// Output topics begin with it.
    outputs: String,
}

impl Names {
    /// Those of a config.
    #[must_use]
    pub fn new(config: &AgentConfig) -> Self {
        Self {
            gateway: config.gateway.clone(),
            discovery_prefix: config.home_assistant.discovery_prefix.clone(),
            outputs: format!("{}/{}", config.outputs.prefix, config.gateway),
        }
    }

    /// The gateway's name.
    #[must_use]
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// The gateway's id in Home Assistant.
    #[must_use]
    pub fn gateway_id(&self) -> String {
        let mut id = OURS.to_owned();
        push_escaped(&mut id, &self.gateway);
        id
    }

    /// A sensor's id in Home Assistant; no other sensor of any gateway has it.
    #[must_use]
    pub fn sensor_id(&self, sensor: &str) -> String {
        let mut id = self.gateway_id();
        id.push('-');
        push_escaped(&mut id, sensor);
        id
    }

    /// Where something with that id is announced.
    #[must_use]
    pub fn discovery_topic(&self, id: &str) -> String {
        format!("{}/device/{id}/config", self.discovery_prefix)
    }

    /// Where it is said whether the agent is there.
    #[must_use]
    pub fn status_topic(&self) -> String {
        format!("{}/status", self.outputs)
    }

    /// One of a sensor's output topics.
    #[must_use]
    pub fn output_topic(&self, sensor: &str, output: &str) -> String {
        format!("{}/{sensor}/{output}", self.outputs)
    }
}

/// Escapes so that no two names become the same: `/` is `-`, letters and digits stay, `-` and `_`
/// get a `_` before them, and any other byte is `_` and two digits.
fn push_escaped(id: &mut String, name: &str) {
    for byte in name.bytes() {
        match byte {
            b'/' => id.push('-'),
            b'-' | b'_' => id.extend(['_', char::from(byte)]),
            _ if byte.is_ascii_alphanumeric() => id.push(char::from(byte)),
            _ => id.push_str(&format!("_{byte:02x}")),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    pub(in crate::home_assistant) fn names(gateway: &str) -> Names {
        let text = format!(
            "gateway = '{gateway}'\nstate_dir = '/tmp'\nmqtt = {{ url = 'mqtt://localhost' }}"
        );
        Names::new(&AgentConfig::parse(&text).unwrap())
    }

    #[test]
    fn topics_are_where_the_documentation_says() {
        let names = names("gw-1");
        let id = names.sensor_id("kitchen/air_temp °C");
        assert_eq!(id, "daywise-gw_-1-kitchen-air__temp_20_c2_b0C");
        assert_eq!(
            names.discovery_topic(&id),
            "homeassistant/device/daywise-gw_-1-kitchen-air__temp_20_c2_b0C/config"
        );
        assert!(names.discovery_topic(&id).starts_with(&our_announcements("homeassistant")));
        assert_eq!(names.status_topic(), "daywise/gw-1/status");
        assert_eq!(names.output_topic("a/b", "problem"), "daywise/gw-1/a/b/problem");
    }

    #[test]
    fn names_that_look_alike_have_their_own_ids() {
        let mut ids = BTreeSet::new();
        let sensors = ["a/b", "a-b", "a_b", "a_-b", "a__b", "a b", "A/b", "a/_b", "a_/b", "a_20b"];
        for gateway in ["gw", "gw-a", "gw_a"] {
            ids.insert(names(gateway).gateway_id());
            ids.extend(sensors.map(|sensor| names(gateway).sensor_id(sensor)));
        }
        assert_eq!(ids.len(), 3 * (1 + sensors.len()));
    }

    proptest! {
        #[test]
        fn no_two_names_have_the_same_id(one in "[a-c/_ -]{1,6}", other in "[a-c/_ -]{1,6}") {
            let (names, is_same) = (names("gw"), one == other);
            let (one, other) = (names.sensor_id(&one), names.sensor_id(&other));
            prop_assert_eq!(one == other, is_same);
        }

        #[test]
        fn ids_hold_only_what_home_assistant_takes(sensor in "\\PC{1,40}") {
            let id = names("gw.1").sensor_id(&sensor);
            let is_taken = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            prop_assert!(id.chars().all(is_taken), "{}", id);
        }
    }
}
