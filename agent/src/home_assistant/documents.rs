//! Discovery documents: one per sensor, and one for the gateway that they are connected through.
//!
//! Keys are written out, not abbreviated, so that who looks at the broker can read them.

use daywise_core::quantity::Quantity;
use serde_json::{Value, json};

use super::names::Names;
use crate::mqtt::{OFFLINE, ONLINE};

/// Who announces.
fn origin() -> Value {
    json!({ "name": "Daywise", "sw_version": env!("CARGO_PKG_VERSION") })
}

/// The gateway as a device: whether its agent is there.
#[must_use]
pub fn gateway_document(names: &Names) -> Value {
    let id = names.gateway_id();
    json!({
        "device": {
            "identifiers": [&id],
            "name": format!("Daywise {}", names.gateway()),
            "manufacturer": "Daywise",
            "model": "Gateway",
            "sw_version": env!("CARGO_PKG_VERSION"),
        },
        "origin": origin(),
        "components": {
            "connection": {
                "platform": "binary_sensor",
                "unique_id": format!("{id}-connection"),
                "name": "Connection",
                "device_class": "connectivity",
                "entity_category": "diagnostic",
                "state_topic": names.status_topic(),
                "payload_on": ONLINE,
                "payload_off": OFFLINE,
            },
        },
        "qos": 1,
    })
}

/// A sensor as a device with four entities. What it measures itself is not among them: whoever
/// published it announces that.
#[must_use]
pub fn sensor_document(names: &Names, sensor: &str, quantity: Quantity) -> Value {
    let id = names.sensor_id(sensor);
    let unique = |entity: &str| format!("{id}-{entity}");
    let last_day = names.output_topic(sensor, "last_day");
    let problem = names.output_topic(sensor, "problem");
    json!({
        "device": {
            "identifiers": [&id],
            "name": sensor,
            "manufacturer": "Daywise",
            "model": format!("Days of {}", quantity.name()),
            "via_device": names.gateway_id(),
        },
        "origin": origin(),
        "availability_topic": names.status_topic(),
        "components": {
            "day_class": {
                "platform": "sensor",
                "unique_id": unique("day_class"),
                "name": "Day class",
                "icon": "mdi:calendar-text",
                "state_topic": &last_day,
                // A name that happens to be a number: neither unit nor state class.
                "value_template": "{{ value_json.cluster }}",
            },
            "novelty": {
                "platform": "sensor",
                "unique_id": unique("novelty"),
                "name": "Novelty",
                "icon": "mdi:calendar-alert",
                "state_class": "measurement",
                "suggested_display_precision": 3,
                "state_topic": &last_day,
                "value_template": "{{ value_json.novelty }}",
                "json_attributes_topic": &last_day,
            },
            "score": {
                "platform": "sensor",
                "unique_id": unique("score"),
                "name": "Live score",
                "icon": "mdi:chart-bell-curve",
                "state_class": "measurement",
                "suggested_display_precision": 3,
                "state_topic": names.output_topic(sensor, "live"),
                "value_template": "{{ value_json.score }}",
            },
            "problem": {
                "platform": "binary_sensor",
                "unique_id": unique("problem"),
                "name": "Problem",
                "device_class": "problem",
                "state_topic": &problem,
                "value_template": "{{ value_json.problem }}",
                "json_attributes_topic": &problem,
            },
        },
        "qos": 1,
    })
}
