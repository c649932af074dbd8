//! Readings, and why one is refused.

use serde::{Deserialize, Serialize};

use crate::{quantity::Quantity, time::UtcMillis};

/// One value at one time, inside a chunk or on its way there. The value is always finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it was measured.
    pub at: UtcMillis,
    /// The value, in the unit of its quantity; finite.
    pub value: f64,
}

/// A sensor's number on this gateway: dense, given at first sight, kept for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SensorIx(pub u32);

impl SensorIx {
    /// Its place in a list of all sensors.
    #[must_use]
    pub fn place(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// One value from one sensor at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Whose.
    pub sensor: SensorIx,
    /// When and what.
    pub sample: Sample,
}

macro_rules! refusals {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal; )*) => {
        /// Why a message or reading was left out. A closed set: each is a metric label.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
        #[non_exhaustive]
        pub enum Refusal { $( $(#[$doc])* #[error($name)] $variant, )* }

        impl Refusal {
            /// Every reason; `reason as usize` is its place here.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The reason as reports and metrics name it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

refusals! {
    /// No source in the config matches the topic.
    UnknownTopic = "unknown_topic";
    /// The payload is larger than any reading's.
    TooLarge = "too_large";
    /// The payload is not text in UTF-8.
    NotText = "not_text";
    /// The payload is neither a plain number nor valid JSON.
    Malformed = "malformed";
    /// Valid JSON, but nothing in it is the value.
    NoValue = "no_value";
    /// The value is there but is not a number.
    NotANumber = "not_a_number";
    /// NaN or an infinity.
    NotFinite = "not_finite";
    /// Outside the quantity's physical range.
    OutOfRange = "out_of_range";
    /// A value that the makers of such sensors use to say "no value".
    Sentinel = "sentinel";
    /// The timestamp cannot be understood.
    BadTimestamp = "bad_timestamp";
    /// Stamped further ahead of the gateway's clock than allowed.
    FromTheFuture = "from_the_future";
    /// Its day is older than what is kept.
    TooOld = "too_old";
    /// The same reading is already held.
    Duplicate = "duplicate";
    /// One more sensor than the gateway may hold.
    TooManySensors = "too_many_sensors";
    /// One more sample than a sensor's day may hold.
    DayFull = "day_full";
    /// The sensor's id is empty, too long, or has signs that a topic cannot have.
    BadSensor = "bad_sensor";
    /// Another value of the same sensor for the same instant is already held; the first stays.
    Conflict = "conflict";
    /// Kept by the broker from some earlier time and without a time of its own.
    Stale = "stale";
    /// It came while the clock was not set, and more than is held back for that already was.
    QuarantineFull = "quarantine_full";
    /// It came while the clock was not set, and the power went before the clock was.
    ClockNeverSet = "clock_never_set";
    /// How the device itself fares: battery, radio, up-time. Kept only where the config says so.
    DeviceHealth = "device_health";
    /// A message that carries no readings by its kind: states, commands, discovery, births of what
    /// is not measured.
    NotASensor = "not_a_sensor";
    /// The config leaves this sensor out.
    Denied = "denied";
    /// The payload is not of the format that its topic has, or is set to have.
    WrongFormat = "wrong_format";
    /// The network server does not decode this device's payload: no codec is set for it there.
    NoCodec = "no_codec";
    /// A test message that no device has sent.
    Simulated = "simulated";
    /// A value from before, sent again beside a new one.
    Cached = "cached";
    /// The birth message that gives it its name, or its type and unit, has not come.
    UnknownAlias = "unknown_alias";
}

/// Values that mean "no value", by documented use: -127 °C is a DS1820 that does not answer (the
/// 85 °C of one that has just started means that only of this probe, so its decoders refuse it);
/// -9999 (also -999, 999.9) is the missing mark of METAR and of many loggers; a register of 16 bits
/// that is full, or half full where it has a sign, is Zigbee's and Modbus' mark of an invalid
/// value: 65535, in hundredths 327.67 and 655.35.
const TEMPERATURE_SENTINELS: [f64; 7] = [-127.0, -999.0, -9999.0, 999.9, 327.67, -327.68, 655.35];
const ANY_SENTINELS: [f64; 2] = [-9999.0, -99999.0];
const REGISTER_SENTINELS: [f64; 3] = [65_535.0, -9999.0, -99999.0];
const PRESSURE_SENTINELS: [f64; 4] = [65_535.0, 6_553.5, -9999.0, -99999.0];

/// Checks one value: finite, not a sentinel, inside the physical range.
///
/// # Errors
/// The first rule that the value breaks.
pub fn check_value(quantity: Quantity, value: f64) -> Result<(), Refusal> {
    if !value.is_finite() {
        return Err(Refusal::NotFinite);
    }
    let sentinels: &[f64] = match quantity {
        Quantity::Temperature => &TEMPERATURE_SENTINELS,
        // What a generic value may mean is not known, so nothing may be ruled out.
        Quantity::Generic => &[],
        Quantity::Illuminance | Quantity::Co2 | Quantity::Pm25 | Quantity::Pm10 => {
            &REGISTER_SENTINELS
        }
        Quantity::Pressure => &PRESSURE_SENTINELS,
        _ => &ANY_SENTINELS,
    };
    if sentinels.contains(&value) {
        return Err(Refusal::Sentinel);
    }
    let (low, high) = quantity.range();
    if (low..=high).contains(&value) { Ok(()) } else { Err(Refusal::OutOfRange) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_refused_by_the_rule_it_breaks() {
        let check = |value| check_value(Quantity::Temperature, value);
        assert_eq!(check(21.5), Ok(()));
        assert_eq!(check(122.153), Ok(()), "a broken sensor's news, not nonsense");
        assert_eq!(check(f64::NAN), Err(Refusal::NotFinite));
        assert_eq!(check(-127.0), Err(Refusal::Sentinel));
        assert_eq!(check(-300.0), Err(Refusal::OutOfRange));
        assert_eq!(check_value(Quantity::Humidity, -0.1), Err(Refusal::OutOfRange));
        assert_eq!(check_value(Quantity::Generic, -9999.0), Ok(()));
        assert_eq!(check_value(Quantity::Co2, 65_535.0), Err(Refusal::Sentinel));
        assert_eq!(check_value(Quantity::Power, 65_535.0), Ok(()), "may well be one");
        assert_eq!(check(327.67), Err(Refusal::Sentinel));
    }

    #[test]
    fn a_reason_stands_at_its_own_place() {
        for (place, &reason) in Refusal::ALL.iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }
}
