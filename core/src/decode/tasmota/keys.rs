//! What the keys of Tasmota's drivers stand for, where their names alone would mislead.

use crate::{
    decode::names::{self, Named, Role},
    quantity::Quantity,
    units,
};

/// A key, what it gives, in which unit, and what for.
type Row = (&'static str, Quantity, &'static str, Role);

use Quantity::{
    CountTotal, Current, EnergyTotal, Generic, Moisture, Pm10, Pm25, Power, Temperature, Voltage,
};
use Role::{Health, Measurement, Other};

/// `ENERGY`: today's and yesterday's energy are the total again, as it was at midnight.
const ENERGY: &[Row] = &[
    ("Power", Power, "W", Measurement),
    ("ExportPower", Power, "W", Measurement),
    ("Voltage", Voltage, "V", Measurement),
    ("Current", Current, "A", Measurement),
    ("Total", EnergyTotal, "kWh", Measurement),
    ("TotalTariff", EnergyTotal, "kWh", Measurement),
    ("ImportActive", EnergyTotal, "kWh", Measurement),
    ("ExportActive", EnergyTotal, "kWh", Measurement),
    ("ExportTariff", EnergyTotal, "kWh", Measurement),
    ("Today", EnergyTotal, "kWh", Other),
    ("Yesterday", EnergyTotal, "kWh", Other),
    ("Period", Quantity::Energy, "Wh", Other),
    ("", Generic, "", Measurement),
];

/// A boiler: what it is asked for, and flags, are not measured.
const OPENTHERM: &[Row] = &[
    ("ACT", Temperature, "C", Measurement),
    ("TB", Temperature, "C", Measurement),
    ("TDHW", Temperature, "C", Measurement),
    ("FLM", Generic, "", Measurement),
    ("REQ", Temperature, "C", Other),
    ("DHWS", Temperature, "C", Other),
    ("TMAX", Temperature, "C", Other),
    ("", Generic, "", Other),
];

/// What a Zigbee device has told the gateway: `Power` and `Dimmer` are the state of a switch.
const ZIGBEE: &[Row] = &[
    ("RMSVoltage", Voltage, "V", Measurement),
    ("RMSCurrent", Current, "A", Measurement),
    ("Voltage", Voltage, "V", Health),
    ("LinkQuality", Generic, "", Health),
    ("Power", Generic, "", Other),
    ("Dimmer", Generic, "", Other),
    ("Hue", Generic, "", Other),
    ("Sat", Generic, "", Other),
    ("X", Generic, "", Other),
    ("Y", Generic, "", Other),
    ("CT", Generic, "", Other),
    ("ColorMode", Generic, "", Other),
    ("Device", Generic, "", Other),
    ("Endpoint", Generic, "", Other),
    ("Group", Generic, "", Other),
    ("GetGroup", Generic, "", Other),
    ("GetGroupCount", Generic, "", Other),
    ("GetGroupCapacity", Generic, "", Other),
    ("AddGroup", Generic, "", Other),
    ("AddGroupStatus", Generic, "", Other),
    ("RemoveGroup", Generic, "", Other),
    ("RemoveGroupStatus", Generic, "", Other),
];

/// Other drivers, by how the name of the sensor begins.
const DRIVERS: &[(&str, &[Row])] = &[
    ("ENERGY", ENERGY),
    ("OPENTHERM", OPENTHERM),
    ("ZbReceived", ZIGBEE),
    ("COUNTER", &[("", CountTotal, "", Measurement)]),
    // The processor's own temperature.
    ("ESP32", &[("Temperature", Temperature, "C", Health), ("", Generic, "", Health)]),
    // Gestures, each a key of its own.
    (
        "APDS9960",
        &[
            ("None", Generic, "", Other),
            ("Up", Generic, "", Other),
            ("Down", Generic, "", Other),
            ("Left", Generic, "", Other),
            ("Right", Generic, "", Other),
            ("Near", Generic, "", Other),
            ("Far", Generic, "", Other),
        ],
    ),
    // Lightning; its energy has no unit.
    (
        "AS3935",
        &[
            ("Energy", Generic, "", Measurement),
            ("Event", Generic, "", Other),
            ("Stage", Generic, "", Other),
        ],
    ),
    // A plant's sensor: its humidity is the soil's.
    ("Flora", &[("Humidity", Moisture, "%", Measurement)]),
    ("ANALOG/CTEnergy", &[("Energy", EnergyTotal, "kWh", Measurement)]),
    // The same particles again, as the factory's calibration counts them.
    ("PMS", &[("CF1", Generic, "", Other), ("CF2.5", Pm25, "", Other), ("CF10", Pm10, "", Other)]),
    ("HX711", &[("WeightRaw", Generic, "", Other), ("AbsRaw", Generic, "", Other)]),
    (
        "Shutter",
        &[
            ("Direction", Generic, "", Other),
            ("Target", Generic, "", Other),
            ("Tilt", Generic, "", Other),
        ],
    ),
    ("LwReceived", &[("Node", Generic, "", Other), ("LastEvent", Generic, "", Other)]),
    ("MCP230_OUT", &[("END", Generic, "", Other)]),
];

/// Keys of `STATE` that say how the device fares; the others are settings.
const STATE_HEALTH: &[&str] = &[
    "UptimeSec",
    "Vcc",
    "Heap",
    "HeapUsed",
    "LoadAvg",
    "MqttCount",
    "RSSI",
    "Signal",
    "LinkCount",
];

/// What the value under `path` is. The last key that is no place in a list counts.
pub(super) fn read(path: &str) -> Named {
    let key = key(path);
    let driver = DRIVERS.iter().find(|(start, _)| path.starts_with(start));
    let rows = driver.map_or(&[][..], |(_, rows)| rows);
    if key.contains(['!', '<']) {
        // A Zigbee command that the gateway does not know.
        return Named { role: Other, ..Named::default() };
    }
    let row = rows.iter().find(|(name, ..)| name.is_empty() || *name == key);
    row.map_or_else(
        || names::classify(path),
        |(_, quantity, unit, role)| Named {
            quantity: *quantity,
            unit: units::find(unit),
            role: *role,
        },
    )
}

/// What a value of `STATE` is: never a measurement.
pub(super) fn read_state(path: &str) -> Named {
    let role = if STATE_HEALTH.contains(&key(path)) { Health } else { Other };
    Named { role, ..Named::default() }
}

fn key(path: &str) -> &str {
    let mut levels = path.rsplit('/');
    levels.find(|level| !level.bytes().all(|byte| byte.is_ascii_digit())).unwrap_or(path)
}

/// Whether a thermometer is of the kind that says 85 °C when it has not measured yet.
pub(super) fn is_ds18(path: &str) -> bool {
    path.split('/').any(|level| level.starts_with("DS18"))
}
