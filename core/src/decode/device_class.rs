//! Home Assistant's device classes of sensors, and what is measured by each.
//!
//! The list is `SensorDeviceClass` of Home Assistant's `sensor` integration.

use super::{Found, Role, names::Named};
use crate::{
    quantity::Quantity,
    units::{self, Unit},
};

/// Each class with what it says.
const CLASSES: &[(&str, Quantity, Role)] = &[
    ("absolute_humidity", Quantity::Generic, Role::Measurement),
    ("apparent_power", Quantity::Generic, Role::Measurement),
    ("aqi", Quantity::Generic, Role::Measurement),
    ("area", Quantity::Generic, Role::Measurement),
    ("atmospheric_pressure", Quantity::Pressure, Role::Measurement),
    ("battery", Quantity::Generic, Role::Health),
    ("blood_glucose_concentration", Quantity::Generic, Role::Measurement),
    ("carbon_dioxide", Quantity::Co2, Role::Measurement),
    ("carbon_monoxide", Quantity::Generic, Role::Measurement),
    ("conductivity", Quantity::Generic, Role::Measurement),
    ("current", Quantity::Current, Role::Measurement),
    ("data_rate", Quantity::Generic, Role::Health),
    ("data_size", Quantity::Generic, Role::Health),
    ("date", Quantity::Generic, Role::Other),
    ("distance", Quantity::Generic, Role::Measurement),
    ("duration", Quantity::Generic, Role::Health),
    ("energy", Quantity::Energy, Role::Measurement),
    ("energy_distance", Quantity::Generic, Role::Measurement),
    ("energy_storage", Quantity::Energy, Role::Measurement),
    ("enum", Quantity::Generic, Role::Other),
    ("frequency", Quantity::Generic, Role::Measurement),
    ("gas", Quantity::Volume, Role::Measurement),
    ("humidity", Quantity::Humidity, Role::Measurement),
    ("illuminance", Quantity::Illuminance, Role::Measurement),
    ("irradiance", Quantity::Generic, Role::Measurement),
    ("moisture", Quantity::Moisture, Role::Measurement),
    ("monetary", Quantity::Generic, Role::Measurement),
    ("nitrogen_dioxide", Quantity::Generic, Role::Measurement),
    ("nitrogen_monoxide", Quantity::Generic, Role::Measurement),
    ("nitrous_oxide", Quantity::Generic, Role::Measurement),
    ("ozone", Quantity::Generic, Role::Measurement),
    ("ph", Quantity::Generic, Role::Measurement),
    ("pm1", Quantity::Generic, Role::Measurement),
    ("pm10", Quantity::Pm10, Role::Measurement),
    ("pm25", Quantity::Pm25, Role::Measurement),
    ("pm4", Quantity::Generic, Role::Measurement),
    ("power", Quantity::Power, Role::Measurement),
    ("power_factor", Quantity::Generic, Role::Measurement),
    ("precipitation", Quantity::Generic, Role::Measurement),
    ("precipitation_intensity", Quantity::Generic, Role::Measurement),
    ("pressure", Quantity::Pressure, Role::Measurement),
    ("reactive_energy", Quantity::Generic, Role::Measurement),
    ("reactive_power", Quantity::Generic, Role::Measurement),
    ("signal_strength", Quantity::Generic, Role::Health),
    ("sound_pressure", Quantity::Noise, Role::Measurement),
    ("speed", Quantity::Speed, Role::Measurement),
    ("sulphur_dioxide", Quantity::Generic, Role::Measurement),
    ("temperature", Quantity::Temperature, Role::Measurement),
    // A difference of 18 °F is one of 10 °C: not a temperature's conversion.
    ("temperature_delta", Quantity::Generic, Role::Measurement),
    ("timestamp", Quantity::Generic, Role::Other),
    ("volatile_organic_compounds", Quantity::Generic, Role::Measurement),
    ("volatile_organic_compounds_parts", Quantity::Generic, Role::Measurement),
    ("voltage", Quantity::Voltage, Role::Measurement),
    ("volume", Quantity::Volume, Role::Measurement),
    ("volume_flow_rate", Quantity::Flow, Role::Measurement),
    ("volume_storage", Quantity::Volume, Role::Measurement),
    ("water", Quantity::Volume, Role::Measurement),
    ("weight", Quantity::Generic, Role::Measurement),
    ("wind_direction", Quantity::Generic, Role::Measurement),
    ("wind_speed", Quantity::Speed, Role::Measurement),
];

/// What Home Assistant is told of a sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    /// The device class's quantity, and what a value of that class is for.
    class: Option<(Quantity, Role)>,
    unit: Option<Unit>,
    is_total: bool,
    /// Another role than its class has.
    role: Option<Role>,
}

impl Told {
    /// Takes the device class; one that is not known says nothing.
    pub(super) fn set_class(&mut self, class: &str) {
        let found = CLASSES.iter().find(|(name, ..)| *name == class);
        self.class = found.map(|(_, quantity, role)| (*quantity, *role));
    }

    /// Takes the unit as it is written.
    pub(super) fn set_unit(&mut self, unit: &str) {
        self.unit = units::find(unit);
    }

    /// Takes the state class.
    pub(super) fn set_state_class(&mut self, class: &str) {
        self.is_total = matches!(class, "total" | "total_increasing");
    }

    /// Takes what the values are for, where that is said apart from the class.
    pub(super) fn set_role(&mut self, role: Role) {
        self.role = Some(role);
    }

    /// What is measured, if the class or the unit says so; the counter of it, if it is one.
    #[must_use]
    pub fn quantity(&self) -> Option<Quantity> {
        let quantity = match self.class {
            Some((quantity, _)) => quantity,
            None => self.unit.and_then(|unit| unit.quantity)?,
        };
        Some(if self.is_total { quantity.total().unwrap_or(quantity) } else { quantity })
    }

    /// The unit of the values as they are sent, if it can be one of what is measured.
    #[must_use]
    pub fn unit(&self) -> Option<Unit> {
        self.unit.filter(|unit| match self.class {
            // Nothing is converted that has no unit of its own here.
            Some((Quantity::Generic, _)) => false,
            Some((quantity, _)) => units::agree(quantity, *unit),
            None => true,
        })
    }

    /// Whether the values are a counter's.
    #[must_use]
    pub fn is_total(&self) -> bool {
        self.is_total
    }

    /// What the values are for, if that is said.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        let class = self.class.map(|(_, role)| role);
        self.role.or(class)
    }

    /// `found` as what it is told to be. One whose own message told its unit keeps quantity and
    /// value.
    #[must_use]
    pub fn apply<'a>(&self, found: Found<'a>) -> Found<'a> {
        if found.is_converted {
            let role = match (self.role(), found.role) {
                (Some(told), Role::Measurement) => told,
                (_, role) => role,
            };
            let found = found.role(role);
            return if self.is_total { found.total() } else { found };
        }
        let quantity = self.class.map_or(found.quantity, |(quantity, _)| quantity);
        let role = match (self.role(), found.role) {
            // That a battery has a voltage does not make it a measurement.
            (Some(Role::Measurement), Role::Health) => Role::Health,
            (role, named) => role.unwrap_or(named),
        };
        let named = Named { quantity, unit: None, role };
        let Found { device, field, at, value, .. } = found;
        let found = Found { device, field, at, ..Found::measured(named, self.unit(), value) };
        if self.is_total { found.total() } else { found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::names;

    fn told(class: &str, unit: &str, state_class: &str) -> Told {
        let mut told = Told::default();
        told.set_class(class);
        told.set_unit(unit);
        told.set_state_class(state_class);
        told
    }

    fn applied(told: Told, field: &str, value: f64) -> (Quantity, f64, Role) {
        let named = Found::measured(names::classify(field), None, Ok(value));
        let found = told.apply(named);
        (found.quantity, found.value.unwrap(), found.role)
    }

    #[test]
    fn class_and_unit_tell_what_is_measured() {
        let measured = |told, value| {
            let (quantity, value, role) = applied(told, "sensor", value);
            assert_eq!(role, Role::Measurement);
            (quantity, value)
        };
        for (class, unit, state_class, value, expected) in [
            ("temperature", "°F", "measurement", 68.9, (Quantity::Temperature, 20.5)),
            ("", "°F", "", 68.9, (Quantity::Temperature, 20.5)),
            ("energy", "kWh", "total_increasing", 1.5, (Quantity::EnergyTotal, 1_500.0)),
            ("energy_storage", "kWh", "measurement", 1.5, (Quantity::Energy, 1_500.0)),
            ("gas", "m³", "total", 2.0, (Quantity::VolumeTotal, 2_000.0)),
            ("water", "L", "total_increasing", 2.0, (Quantity::VolumeTotal, 2.0)),
            ("volume_flow_rate", "m³/h", "", 6.0, (Quantity::Flow, 100.0)),
            ("wind_speed", "km/h", "", 36.0, (Quantity::Speed, 10.0)),
            ("pm25", "µg/m³", "", 12.0, (Quantity::Pm25, 12.0)),
            ("moisture", "%", "", 12.0, (Quantity::Moisture, 12.0)),
            ("", "parsec", "", 12.0, (Quantity::Generic, 12.0)),
        ] {
            assert_eq!(measured(told(class, unit, state_class), value), expected, "{class} {unit}");
        }
    }

    #[test]
    fn what_has_no_quantity_here_is_not_taken_for_another_by_its_unit() {
        for (class, unit) in
            [("carbon_monoxide", "ppm"), ("temperature_delta", "°F"), ("apparent_power", "VA")]
        {
            let (quantity, value, _) = applied(told(class, unit, ""), "sensor", 18.0);
            assert_eq!((quantity, value), (Quantity::Generic, 18.0), "{class}");
        }
        // A unit that is none of the class's says nothing either.
        assert_eq!(applied(told("humidity", "°F", ""), "x", 5.0).1, 5.0);
    }

    #[test]
    fn health_is_told_from_measurements() {
        for (class, role) in [
            ("battery", Role::Health),
            ("signal_strength", Role::Health),
            ("duration", Role::Health),
            ("timestamp", Role::Other),
            ("enum", Role::Other),
        ] {
            assert_eq!(applied(told(class, "", ""), "sensor", 1.0).2, role, "{class}");
        }
        let voltage = told("voltage", "mV", "measurement");
        assert_eq!(applied(voltage, "channel1", 1.0).2, Role::Measurement);
        assert_eq!(applied(voltage, "battery_voltage", 1.0).2, Role::Health);
        let mut own = told("temperature", "°C", "");
        own.set_role(Role::Health);
        assert_eq!(applied(own, "sensor", 1.0).2, Role::Health);
    }

    #[test]
    fn every_class_is_there_once() {
        let names = CLASSES.iter().map(|(name, ..)| *name);
        assert!(names.clone().is_sorted_by(|a, b| a < b));
        assert_eq!(names.count(), 60);
    }
}
