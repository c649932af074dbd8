//! What a field's name says of its value: the quantity, the unit, and whether it is a measurement.
//!
//! Names are read word by word (`DS18B20-1/Temperature`, `temperature_C`, `wind_avg_km_h`,
//! `pm2_5_ug_m3`, `lightLevel`): what the words do not tell stays generic.

use crate::{
    quantity::Quantity,
    units::{self, Unit},
};

pub use super::found::Role;

/// What a name says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Named {
    /// What is measured; generic if that cannot be told.
    pub quantity: Quantity,
    /// In which unit, if the name says so.
    pub unit: Option<Unit>,
    /// What the value is for.
    pub role: Role,
}

/// How much of a name is looked at, in bytes from its end: a sensor's has half of that. A message
/// may have a long one that all its values share.
const MAX_NAME: usize = 256;
/// The most words of a name that are looked at: the last ones.
const MAX_WORDS: usize = 8;

/// Words that make a value one of the device's own health.
const HEALTH: &[&str] = &[
    "rssi",
    "snr",
    "linkquality",
    "lqi",
    "battery",
    "batt",
    "bat",
    "uptime",
    "heap",
    "wifi",
    "signal",
    "firmware",
    "margin",
    "airtime",
    "lorasnr",
    "mic",
    "freq1",
    "freq2",
    "freebytes",
    "ram",
    "fs",
    "cpu",
    "loadavg",
    "reconnects",
    "restarts",
    "sleep",
    "mqttcount",
    "linkcount",
    "bssid",
    "voltagemv",
    "txpower",
    "vcc",
    "outage",
    "freemem",
];

/// Words that make a value a setting, an identity or the number of a message.
const OTHER: &[&str] = &[
    "id",
    "ids",
    "model",
    "seq",
    "sequence",
    "fcnt",
    "fport",
    "port",
    "dr",
    "mac",
    "version",
    "schema",
    "subtype",
    "timestamp",
    "systimestamp",
    "time",
    "ts",
    "date",
    "epoch",
    "unixtime",
    "threshold",
    "config",
    "calibration",
    "offset",
    "interval",
    "timeout",
    "led",
    "sensitivity",
    "update",
    "brightness",
    "mod",
    "sn",
    "address",
    "setpoint",
    "color",
    "ssid",
];

/// Words that make a value the same where they stand alone: beside others they say more of a
/// measurement (`channel_2_voltage`, `UvIndex`, `rain_duration`, `litres_per_minute`).
const OTHER_ALONE: &[&str] = &["channel", "index", "duration", "data", "test", "minute", "hour"];

/// A quantity by the words that must all stand in the name; the first row that fits counts.
const QUANTITIES: &[(&[&str], Quantity)] = &[
    (&["pm2", "5"], Quantity::Pm25),
    (&["pm25"], Quantity::Pm25),
    (&["pm10"], Quantity::Pm10),
    (&["co2"], Quantity::Co2),
    (&["eco2"], Quantity::Co2),
    (&["carbondioxide"], Quantity::Co2),
    (&["carbon", "dioxide"], Quantity::Co2),
    (&["soil", "moisture"], Quantity::Moisture),
    (&["moisture"], Quantity::Moisture),
    (&["soilmoisture"], Quantity::Moisture),
    (&["dew", "point"], Quantity::Temperature),
    (&["dewpoint"], Quantity::Temperature),
    (&["temperature"], Quantity::Temperature),
    (&["soiltemperature"], Quantity::Temperature),
    (&["temp"], Quantity::Temperature),
    (&["tempc"], Quantity::Temperature),
    (&["tempf"], Quantity::Temperature),
    (&["thermometer"], Quantity::Temperature),
    (&["objtmp"], Quantity::Temperature),
    (&["ambtmp"], Quantity::Temperature),
    (&["humidity"], Quantity::Humidity),
    (&["hum"], Quantity::Humidity),
    (&["rh"], Quantity::Humidity),
    // Steps from dark to bright.
    (&["light", "level"], Quantity::Generic),
    (&["illuminance"], Quantity::Illuminance),
    (&["lux"], Quantity::Illuminance),
    (&["illumination"], Quantity::Illuminance),
    (&["light"], Quantity::Illuminance),
    (&["outage"], Quantity::Generic),
    (&["apparent", "power"], Quantity::Generic),
    (&["reactive", "power"], Quantity::Generic),
    (&["power", "factor"], Quantity::Generic),
    (&["pf"], Quantity::Generic),
    (&["energy"], Quantity::Energy),
    (&["aenergy"], Quantity::Energy),
    (&["apower"], Quantity::Power),
    (&["power"], Quantity::Power),
    (&["watt"], Quantity::Power),
    (&["voltage"], Quantity::Voltage),
    (&["volt"], Quantity::Voltage),
    (&["current"], Quantity::Current),
    (&["pressure"], Quantity::Pressure),
    (&["sealevelpressure"], Quantity::Pressure),
    (&["barometer"], Quantity::Pressure),
    (&["flow"], Quantity::Flow),
    (&["wind", "dir"], Quantity::Generic),
    (&["wind", "direction"], Quantity::Generic),
    (&["wind"], Quantity::Speed),
    (&["speed"], Quantity::Speed),
    (&["volume"], Quantity::Volume),
    (&["noise"], Quantity::Noise),
    (&["loudness"], Quantity::Noise),
    (&["count"], Quantity::Count),
    (&["counter"], Quantity::CountTotal),
];

/// A unit by the words that end the name.
const UNITS: &[(&[&str], &str)] = &[
    (&["temperature", "c"], "Cel"),
    (&["temperature", "f"], "[degF]"),
    (&["tempc"], "Cel"),
    (&["tempf"], "[degF]"),
    (&["temp", "c"], "Cel"),
    (&["temp", "f"], "[degF]"),
    (&["hpa"], "hPa"),
    (&["kpa"], "kPa"),
    (&["psi"], "psi"),
    (&["in", "hg"], "inHg"),
    (&["inhg"], "inHg"),
    (&["km", "h"], "km/h"),
    (&["mi", "h"], "mph"),
    (&["m", "s"], "m/s"),
    (&["mph"], "mph"),
    (&["kwh"], "kWh"),
    (&["wh"], "Wh"),
    (&["kw"], "kW"),
    (&["mv"], "mV"),
    (&["ma"], "mA"),
    (&["ug", "m3"], "ug/m3"),
    (&["m3"], "m3"),
];

/// Reads a field's name; levels of a path have `/`, `.` or `:` between them.
#[must_use]
pub fn classify(field: &str) -> Named {
    let field = end(field);
    // Places in a list say nothing: `ENERGY/Voltage/0`.
    let mut levels = field.rsplit('/');
    let leaf = levels.find(|level| !level.bytes().all(|byte| byte.is_ascii_digit()));
    let leaf = leaf.unwrap_or(field);
    if let Some(quantity) = Quantity::from_name(leaf) {
        return Named { quantity, ..Named::default() };
    }
    let mut words = Words::of(leaf);
    let role = words.role();
    let unit = UNITS.iter().find(|(ending, _)| words.end_with(ending));
    let quantity = QUANTITIES.iter().find(|(all, _)| all.iter().all(|word| words.has(word)));
    // `switch:0/apower/total`, `ENERGY/Total`: the last level alone says too little.
    let quantity = quantity.or_else(|| {
        words = Words::of(field);
        QUANTITIES.iter().find(|(all, _)| all.iter().all(|word| words.has(word)))
    });
    let unit = unit.and_then(|(_, written)| units::find(written));
    let quantity = quantity.map_or(Quantity::Generic, |(_, quantity)| *quantity);
    let quantity = match (quantity, unit.and_then(|unit| unit.quantity)) {
        (Quantity::Generic, Some(told)) => told,
        (quantity, _) => quantity,
    };
    Named { quantity, unit, role }
}

/// As much of a name's end as can tell something.
fn end(name: &str) -> &str {
    let start = name.ceil_char_boundary(name.len().saturating_sub(MAX_NAME));
    name.get(start..).unwrap_or(name)
}

/// The words of a name, in lower case, the last ones of them.
struct Words(heapless::Vec<heapless::String<24>, MAX_WORDS>);

impl Words {
    fn of(name: &str) -> Self {
        let mut words = Self(heapless::Vec::new());
        let mut word = heapless::String::new();
        let mut was_lower = false;
        for c in name.chars() {
            // `lightLevel` is two words; `DS18B20`, `RSSI`, `kPa` and `fCnt` are one.
            if !c.is_alphanumeric() || (c.is_uppercase() && was_lower && word.len() > 1) {
                words.add(&mut word);
            }
            was_lower = c.is_lowercase();
            if c.is_alphanumeric() {
                // What does not fit is a word that none of ours is.
                for lower in c.to_lowercase() {
                    if word.push(lower).is_err() {
                        break;
                    }
                }
            }
        }
        words.add(&mut word);
        words
    }

    fn add(&mut self, word: &mut heapless::String<24>) {
        let word = core::mem::take(word);
        if word.is_empty() {
            return;
        }
        if self.0.is_full() {
            self.0.remove(0);
        }
        if self.0.push(word).is_err() {
            debug_assert!(false, "a place was made");
        }
    }

    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|held| held == word || without_number(held) == word)
    }

    fn end_with(&self, ending: &[&str]) -> bool {
        let start = self.0.len().checked_sub(ending.len());
        let tail = start.and_then(|start| self.0.get(start..));
        tail.is_some_and(|tail| tail.iter().zip(ending).all(|(held, word)| held == word))
    }

    fn role(&self) -> Role {
        let is_in = |word: &str, list: &[&str]| list.contains(&word);
        let any = |list| {
            let mut words = self.0.iter();
            words.any(|word| is_in(word, list) || is_in(without_number(word), list))
        };
        let mut words = self.0.iter().map(|word| without_number(word)).filter(|w| !w.is_empty());
        let alone = match (words.next(), words.next()) {
            (Some(word), None) => is_in(word, OTHER_ALONE),
            _ => false,
        };
        if any(HEALTH) {
            Role::Health
        } else if any(OTHER) || alone {
            Role::Other
        } else {
            Role::Measurement
        }
    }
}

/// `Temperature2` is a second temperature.
fn without_number(word: &str) -> &str {
    word.trim_end_matches(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> (Quantity, Role) {
        let named = classify(name);
        (named.quantity, named.role)
    }

    #[test]
    fn of_a_long_name_its_end_tells() {
        let long = ["é_".repeat(30_000).as_str(), "/1/temperature"].concat();
        assert_eq!(of(&long).0, Quantity::Temperature);
        assert_eq!(end(&long).len(), MAX_NAME - 1, "it starts at a character");
    }

    #[test]
    fn names_tell_what_is_measured() {
        for (name, quantity) in [
            ("temperature", Quantity::Temperature),
            ("DS18B20-1/Temperature", Quantity::Temperature),
            ("temperature_C", Quantity::Temperature),
            ("tempf", Quantity::Temperature),
            ("Air_temperature", Quantity::Temperature),
            ("DewPoint", Quantity::Temperature),
            ("pm2_5_ug_m3", Quantity::Pm25),
            ("co2_ppm", Quantity::Co2),
            ("switch:0/apower", Quantity::Power),
            ("switch:0/aenergy/total", Quantity::Energy),
            ("wind_avg_km_h", Quantity::Speed),
            ("wind_dir_deg", Quantity::Generic),
            ("ENERGY/ApparentPower", Quantity::Generic),
            ("ENERGY/Voltage", Quantity::Voltage),
            ("soil_moisture", Quantity::Moisture),
            ("pressure_hPa", Quantity::Pressure),
            ("pm1_ug_m3", Quantity::Generic),
            ("ANALOG/Temperature2", Quantity::Temperature),
            ("ENERGY/Voltage/1", Quantity::Voltage),
            ("SGP30/eCO2", Quantity::Co2),
            ("MLX90614/OBJTMP", Quantity::Temperature),
            ("channel_2_voltage", Quantity::Voltage),
            ("ext_temperature", Quantity::Temperature),
            ("UvIndex", Quantity::Generic),
            ("rain_duration", Quantity::Generic),
            ("something", Quantity::Generic),
        ] {
            assert_eq!(of(name), (quantity, Role::Measurement), "{name}");
        }
    }

    #[test]
    fn what_is_no_measurement_is_told_apart() {
        for name in
            ["linkquality", "battery_ok", "rssi", "battery", "Wifi/RSSI", "UptimeSec/uptime"]
        {
            assert_eq!(of(name).1, Role::Health, "{name}");
        }
        for name in
            ["id", "fCnt", "channel", "channel_1", "subtype", "color_temp", "heating_setpoint"]
        {
            assert_eq!(of(name).1, Role::Other, "{name}");
        }
    }

    #[test]
    fn a_name_may_end_with_its_unit() {
        let base = |name: &str, value: f64| classify(name).unit.map(|unit| unit.to_base(value));
        assert_eq!(base("temperature_F", 78.8), Some(26.0));
        assert_eq!(base("pressure_kPa", 100.0), Some(1_000.0));
        assert_eq!(base("wind_max_m_s", 3.0), Some(3.0));
        assert_eq!(base("temperature", 3.0), None);
    }

    #[test]
    fn endless_names_are_read_by_their_end() {
        let long = ["a_".repeat(10_000).as_str(), "temperature_C"].concat();
        assert_eq!(of(&long).0, Quantity::Temperature);
        assert_eq!(of(&"x".repeat(100_000)).0, Quantity::Generic);
    }
}
