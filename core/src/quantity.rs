//! What a sensor measures: the closed list of quantities, their unit and physical range.
//!
//! One unit per quantity, named by its UCUM code. The range is what the quantity can be in the
//! places where such sensors hang, generously: outside it a reading is a fault of the sensor or
//! the wire, not a day worth learning from. A fault inside it stays in, because it is news.

use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! quantities {
    ($( $(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $unit:literal, $low:expr, $high:expr, [$($alias:literal),*]; )*) => {
        /// A measured quantity. The number is its code on the wire and in the store; codes are
        /// never reused.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Quantity { $( $(#[$doc])* $variant = $code, )* }

        impl Quantity {
            /// Every quantity, in the order of its code.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in topics, configs and files.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The unit readings are in, as a UCUM code; empty if unknown.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self { $(Self::$variant => $unit),* }
            }

            /// The lowest and highest value that is physically possible, in [`Self::unit`].
            #[must_use]
            pub const fn range(self) -> (f64, f64) {
                match self { $(Self::$variant => ($low, $high)),* }
            }

            /// The quantity of that name or a usual other name for it, whatever the case.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                $( if [$name, $($alias),*].iter().any(|known| known.eq_ignore_ascii_case(name)) {
                    return Some(Self::$variant);
                } )*
                None
            }

            /// The quantity with that code.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

quantities! {
    /// Not known, or none of the others: any finite value is possible.
    #[default]
    Generic = 0, "generic", "", f64::MIN, f64::MAX, [];
    /// Temperature of anything that is not cryogenic or a furnace.
    Temperature = 1, "temperature", "Cel", -100.0, 1_000.0, ["temp"];
    /// Relative humidity; sensors read a little above 100 when wet.
    Humidity = 2, "humidity", "%", 0.0, 110.0, ["rh", "relative_humidity"];
    /// Illuminance; full sun is 130,000.
    Illuminance = 3, "illuminance", "lx", 0.0, 300_000.0, ["light", "lux"];
    /// Electric potential.
    Voltage = 4, "voltage", "V", -1.0e6, 1.0e6, ["volt", "volts"];
    /// Electric current.
    Current = 5, "current", "A", -1.0e5, 1.0e5, ["ampere"];
    /// Active power; negative when fed back.
    Power = 6, "power", "W", -1.0e9, 1.0e9, ["watt", "watts"];
    /// Electric energy within a span of time.
    Energy = 7, "energy", "W.h", -1.0e15, 1.0e15, [];
    /// Pressure of air, water or tyres: from a vacuum to 1,000 bar.
    Pressure = 8, "pressure", "hPa", -1_100.0, 1_000_000.0, ["pres", "air_pressure"];
    /// Carbon dioxide.
    Co2 = 9, "co2", "[ppm]", 0.0, 100_000.0, ["carbon_dioxide"];
    /// Particulate matter up to 2.5 um.
    Pm25 = 10, "pm25", "ug/m3", 0.0, 10_000.0, ["pm2.5", "pm2_5"];
    /// Particulate matter up to 10 um.
    Pm10 = 11, "pm10", "ug/m3", 0.0, 10_000.0, [];
    /// Liquid flow.
    Flow = 12, "flow", "L/min", -1.0e9, 1.0e9, ["flow_rate"];
    /// Liquid or gas volume within a span of time.
    Volume = 13, "volume", "L", -1.0e15, 1.0e15, [];
    /// Wind or other speed.
    Speed = 14, "speed", "m/s", -500.0, 500.0, ["wind_speed"];
    /// Events or things counted.
    Count = 15, "count", "1", 0.0, 1.0e15, ["counter"];
    /// Sound pressure level.
    Noise = 16, "noise", "dB", 0.0, 200.0, ["sound_pressure"];
    /// Soil or material moisture.
    Moisture = 17, "moisture", "%", 0.0, 110.0, ["soil_moisture"];
    /// A counter of electric energy; what is learnt of it is how fast it runs.
    EnergyTotal = 18, "energy_total", "W.h", -1.0e15, 1.0e15, ["energy_counter"];
    /// A counter of liquid or gas; what is learnt of it is how fast it runs.
    VolumeTotal = 19, "volume_total", "L", -1.0e15, 1.0e15, ["volume_counter"];
    /// A counter of events; what is learnt of it is how fast it runs.
    CountTotal = 20, "count_total", "1", -1.0e15, 1.0e15, ["count_counter"];
}

impl Quantity {
    /// The counter of this quantity; `None` if that has none.
    #[must_use]
    pub const fn total(self) -> Option<Self> {
        match self {
            Self::Energy | Self::EnergyTotal => Some(Self::EnergyTotal),
            Self::Volume | Self::VolumeTotal => Some(Self::VolumeTotal),
            Self::Count | Self::CountTotal => Some(Self::CountTotal),
            _ => None,
        }
    }

    /// What a counter counts; `None` if this is no counter.
    #[must_use]
    pub const fn of_total(self) -> Option<Self> {
        match self {
            Self::EnergyTotal => Some(Self::Energy),
            Self::VolumeTotal => Some(Self::Volume),
            Self::CountTotal => Some(Self::Count),
            _ => None,
        }
    }

    /// Guesses from the last `/`-separated part of a sensor's id; `generic` if that says nothing.
    #[must_use]
    pub fn infer(sensor_id: &str) -> Self {
        sensor_id.rsplit('/').next().and_then(Self::from_name).unwrap_or_default()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.name())
        } else {
            serializer.serialize_u8(*self as u8)
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if deserializer.is_human_readable() {
            let name = alloc::string::String::deserialize(deserializer)?;
            Self::from_name(&name)
                .ok_or_else(|| D::Error::custom(format_args!("unknown quantity `{name}`")))
        } else {
            // A newer peer may know quantities that this build does not; its readings are then
            // generic here, which loses their family but not their data.
            Ok(Self::from_code(u8::deserialize(deserializer)?).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_lead_back_to_the_quantity() {
        for &quantity in Quantity::ALL {
            assert_eq!(Quantity::from_name(quantity.name()), Some(quantity));
            assert_eq!(Quantity::from_code(quantity as u8), Some(quantity));
        }
    }

    #[test]
    fn quantity_is_read_off_the_end_of_a_sensor_id() {
        assert_eq!(Quantity::infer("intel/mote06/light"), Quantity::Illuminance);
        assert_eq!(Quantity::infer("Temperature"), Quantity::Temperature);
        assert_eq!(Quantity::infer("25572"), Quantity::Generic);
    }
}
