//! Units as devices write them, and the one unit of each quantity.
//!
//! Known are the UCUM codes, the SenML names (RFC 8428 section 12.1), Home Assistant's
//! `unit_of_measurement`, and what firmwares write beside them. Case counts where it tells units
//! apart (`mW`, `MW`), and does not where no other unit is meant (`w`, `Lux`).

use crate::quantity::Quantity;

/// How a unit leads to its quantity's: `value * factor + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// What is measured in it. `None` for a share in percent, which may be of anything.
    pub quantity: Option<Quantity>,
    factor: f64,
    offset: f64,
}

impl Unit {
    const fn linear(quantity: Quantity, factor: f64) -> Self {
        Self { quantity: Some(quantity), factor, offset: 0.0 }
    }

    /// A value in this unit, in the unit of its quantity.
    #[must_use]
    pub fn to_base(self, value: f64) -> f64 {
        // A unit that is the base one already must not change a bit of the value.
        if self.factor == 1.0 && self.offset == 0.0 {
            value
        } else {
            round(value * self.factor + self.offset)
        }
    }
}

/// Conversion leaves digits that the device never gave: 68.9 °F is 20.5 °C, not
/// 20.500000000000004. Twelve significant digits are more than any sensor has.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 11.0 - libm::floor(libm::log10(libm::fabs(value)));
    let scale = libm::pow(10.0, digits);
    let rounded = libm::round(value * scale) / scale;
    if rounded.is_finite() { rounded } else { value }
}

/// A table's row: the ways to write a unit, and what it is.
type Row = (&'static [&'static str], Unit);

const FAHRENHEIT: Unit =
    Unit { quantity: Some(Quantity::Temperature), factor: 5.0 / 9.0, offset: -160.0 / 9.0 };

const KELVIN: Unit = Unit { quantity: Some(Quantity::Temperature), factor: 1.0, offset: -273.15 };

const PERCENT: Unit = Unit { quantity: None, factor: 1.0, offset: 0.0 };

const UNITS: &[Row] = &[
    (
        &["Cel", "°C", "C", "degC", "ºC", "℃", "celsius", "deg C"],
        Unit::linear(Quantity::Temperature, 1.0),
    ),
    (&["[degF]", "°F", "F", "degF", "ºF", "℉", "fahrenheit", "deg F", "far"], FAHRENHEIT),
    (&["K", "kelvin"], KELVIN),
    (&["%RH", "%rH", "% RH", "% r.H."], Unit::linear(Quantity::Humidity, 1.0)),
    (&["%", "percent", "pct"], PERCENT),
    // A SenML share is 0 to 1; `/` is its name there.
    (&["/"], Unit { quantity: None, factor: 100.0, offset: 0.0 }),
    (&["lx", "lux"], Unit::linear(Quantity::Illuminance, 1.0)),
    (&["klx"], Unit::linear(Quantity::Illuminance, 1e3)),
    (&["V", "volt", "volts"], Unit::linear(Quantity::Voltage, 1.0)),
    (&["uV", "µV", "μV"], Unit::linear(Quantity::Voltage, 1e-6)),
    (&["mV", "mv"], Unit::linear(Quantity::Voltage, 1e-3)),
    (&["kV"], Unit::linear(Quantity::Voltage, 1e3)),
    (&["MV"], Unit::linear(Quantity::Voltage, 1e6)),
    (&["A", "ampere", "amps"], Unit::linear(Quantity::Current, 1.0)),
    (&["mA"], Unit::linear(Quantity::Current, 1e-3)),
    (&["uA", "µA", "μA"], Unit::linear(Quantity::Current, 1e-6)),
    (&["W", "watt", "watts"], Unit::linear(Quantity::Power, 1.0)),
    (&["mW"], Unit::linear(Quantity::Power, 1e-3)),
    (&["kW"], Unit::linear(Quantity::Power, 1e3)),
    (&["MW"], Unit::linear(Quantity::Power, 1e6)),
    (&["GW"], Unit::linear(Quantity::Power, 1e9)),
    (&["mWh", "mW.h"], Unit::linear(Quantity::Energy, 1e-3)),
    (&["W.h", "Wh"], Unit::linear(Quantity::Energy, 1.0)),
    (&["kW.h", "kWh"], Unit::linear(Quantity::Energy, 1e3)),
    (&["MW.h", "MWh"], Unit::linear(Quantity::Energy, 1e6)),
    (&["GW.h", "GWh"], Unit::linear(Quantity::Energy, 1e9)),
    // The counter of Shelly's first generation.
    (&["Wmin", "W.min"], Unit::linear(Quantity::Energy, 1.0 / 60.0)),
    (&["J", "Ws"], Unit::linear(Quantity::Energy, 1.0 / 3_600.0)),
    (&["kJ"], Unit::linear(Quantity::Energy, 1.0 / 3.6)),
    (&["MJ"], Unit::linear(Quantity::Energy, 1_000.0 / 3.6)),
    (&["GJ"], Unit::linear(Quantity::Energy, 1e6 / 3.6)),
    (&["hPa", "mbar", "mb"], Unit::linear(Quantity::Pressure, 1.0)),
    (&["Pa"], Unit::linear(Quantity::Pressure, 1e-2)),
    (&["kPa"], Unit::linear(Quantity::Pressure, 10.0)),
    (&["bar"], Unit::linear(Quantity::Pressure, 1e3)),
    (&["cbar"], Unit::linear(Quantity::Pressure, 10.0)),
    (&["mm[Hg]", "mmHg"], Unit::linear(Quantity::Pressure, 1.333_223_874_15)),
    (&["[in_i'Hg]", "inHg"], Unit::linear(Quantity::Pressure, 33.863_886_666_667)),
    (&["[psi]", "psi"], Unit::linear(Quantity::Pressure, 68.947_572_931_684)),
    (&["m[H2O]", "mH2O"], Unit::linear(Quantity::Pressure, 98.0665)),
    (&["[ppm]", "ppm"], Unit::linear(Quantity::Co2, 1.0)),
    (&["L/min", "l/min", "lpm"], Unit::linear(Quantity::Flow, 1.0)),
    (&["L/s", "l/s"], Unit::linear(Quantity::Flow, 60.0)),
    (&["L/h", "l/h"], Unit::linear(Quantity::Flow, 1.0 / 60.0)),
    (&["m3/h", "m³/h"], Unit::linear(Quantity::Flow, 1_000.0 / 60.0)),
    (&["m3/s", "m³/s"], Unit::linear(Quantity::Flow, 60_000.0)),
    (&["mL/s", "ml/s"], Unit::linear(Quantity::Flow, 60.0 / 1_000.0)),
    (&["m3/min", "m³/min"], Unit::linear(Quantity::Flow, 1_000.0)),
    (&["ft3/min", "ft³/min", "CFM"], Unit::linear(Quantity::Flow, 28.316_846_592)),
    (&["gal/min", "gpm"], Unit::linear(Quantity::Flow, 3.785_411_784)),
    (&["L", "l", "liter", "litre"], Unit::linear(Quantity::Volume, 1.0)),
    (&["mL", "ml"], Unit::linear(Quantity::Volume, 1e-3)),
    (&["m3", "m³"], Unit::linear(Quantity::Volume, 1e3)),
    (&["gal"], Unit::linear(Quantity::Volume, 3.785_411_784)),
    (&["ft3", "ft³"], Unit::linear(Quantity::Volume, 28.316_846_592)),
    // A hundred cubic feet.
    (&["CCF"], Unit::linear(Quantity::Volume, 2_831.684_659_2)),
    (&["m/s"], Unit::linear(Quantity::Speed, 1.0)),
    (&["km/h", "kmh", "kph"], Unit::linear(Quantity::Speed, 1.0 / 3.6)),
    (&["mph", "mi/h"], Unit::linear(Quantity::Speed, 0.447_04)),
    (&["kn", "kt", "[kn_i]"], Unit::linear(Quantity::Speed, 1_852.0 / 3_600.0)),
    (&["ft/s"], Unit::linear(Quantity::Speed, 0.304_8)),
    (&["mm/s"], Unit::linear(Quantity::Speed, 1e-3)),
    (&["in/s"], Unit::linear(Quantity::Speed, 0.025_4)),
    (&["yd/s"], Unit::linear(Quantity::Speed, 0.914_4)),
    (&["dB", "dBA", "dB(A)", "dBSPL", "dB[SPL]"], Unit::linear(Quantity::Noise, 1.0)),
    (&["count", "1"], Unit::linear(Quantity::Count, 1.0)),
];

/// Particulate matter: which one, its field's name says.
const MASS_CONCENTRATION: &[&str] = &["ug/m3", "µg/m³", "μg/m³", "µg/m3", "ug/m³"];

/// The unit that is written so, if it is known.
#[must_use]
pub fn find(written: &str) -> Option<Unit> {
    let written = written.trim();
    if MASS_CONCENTRATION.contains(&written) {
        return Some(PERCENT);
    }
    let exact = UNITS.iter().find(|(names, _)| names.contains(&written));
    let loose = || {
        // `mw` may be either of two; a unit that has a longer namesake is not guessed.
        let mut found = UNITS
            .iter()
            .filter(|(names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(written)));
        let first = found.next();
        if found.next().is_some() { None } else { first }
    };
    exact.or_else(loose).map(|(_, unit)| *unit)
}

/// Whether readings of `quantity` can be in `unit`.
#[must_use]
pub fn agree(quantity: Quantity, unit: Unit) -> bool {
    unit.quantity.is_none_or(|of| of == quantity.of_total().unwrap_or(quantity))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(written: &str, value: f64) -> Option<(Option<Quantity>, f64)> {
        find(written).map(|unit| (unit.quantity, unit.to_base(value)))
    }

    #[test]
    fn units_lead_to_their_quantitys_one() {
        assert_eq!(base("°F", 68.9), Some((Some(Quantity::Temperature), 20.5)));
        assert_eq!(base("°F", -40.0), Some((Some(Quantity::Temperature), -40.0)));
        assert_eq!(base("K", 293.15), Some((Some(Quantity::Temperature), 20.0)));
        assert_eq!(base("kWh", 152.657), Some((Some(Quantity::Energy), 152_657.0)));
        assert_eq!(base("mV", 2_985.0), Some((Some(Quantity::Voltage), 2.985)));
        assert_eq!(base("kPa", 101.325), Some((Some(Quantity::Pressure), 1_013.25)));
        assert_eq!(base("inHg", 29.92), Some((Some(Quantity::Pressure), 1_013.207_489_07)));
        assert_eq!(base("CCF", 2.0), Some((Some(Quantity::Volume), 5_663.369_318_4)));
        assert_eq!(base("km/h", 36.0), Some((Some(Quantity::Speed), 10.0)));
        assert_eq!(base("%", 44.4), Some((None, 44.4)));
        assert_eq!(base("parsec", 1.0), None);
    }

    #[test]
    fn case_counts_where_it_tells_units_apart() {
        assert_eq!(base("mW", 5.0), Some((Some(Quantity::Power), 0.005)));
        assert_eq!(base("MW", 5.0), Some((Some(Quantity::Power), 5_000_000.0)));
        assert_eq!(base("mw", 5.0), None, "may be either");
        assert_eq!(base("LUX", 5.0), Some((Some(Quantity::Illuminance), 5.0)));
        assert_eq!(base("mWh", 5.0), Some((Some(Quantity::Energy), 0.005)));
        assert_eq!(base("MV", 5.0), Some((Some(Quantity::Voltage), 5_000_000.0)));
        assert_eq!(base("kwh", 1.0), Some((Some(Quantity::Energy), 1_000.0)));
    }

    #[test]
    fn no_unit_is_written_in_two_ways() {
        let all: alloc::vec::Vec<&str> =
            UNITS.iter().flat_map(|(names, _)| *names).copied().collect();
        for (place, name) in all.iter().enumerate() {
            assert!(!all[place + 1..].contains(name), "{name} stands for two units");
        }
    }

    #[test]
    fn a_value_that_is_in_its_unit_already_keeps_every_bit() {
        for value in [0.1 + 0.2, -0.0, 1e-300, 22.458_000_000_000_002] {
            let cel = find("Cel").map(|unit| unit.to_base(value).to_bits());
            assert_eq!(cel, Some(value.to_bits()));
        }
    }
}
