//! What decoders give: one [`Found`] for each value that a message holds.

use jiff::civil::DateTime;

use super::{
    names::{self, Named},
    timestamp::{EARLIEST, WrittenTime},
};
use crate::{
    quantity::Quantity,
    reading::Refusal,
    time::{DAY_MS, UtcMillis},
    units::{self, Unit},
};

/// When a value was measured, as far as its device says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stamp {
    /// An instant.
    Utc(UtcMillis),
    /// A time on the site's wall clock; which instant that is, the caller's calendar says.
    Local(DateTime),
}

impl Stamp {
    /// A date and time as written out: an instant if the offset from UTC is there, else a time on
    /// the site's clock. `None` before 1980: the device's clock was never set, so arrival counts.
    ///
    /// # Errors
    /// `BadTimestamp` if `text` is no date and time, or one after 2100.
    pub fn written(text: &str) -> Result<Option<Self>, Refusal> {
        let written = WrittenTime::parse(text).ok_or(Refusal::BadTimestamp)?;
        let wall_ms = i64::from(written.date.0) * DAY_MS + i64::from(written.wall_ms);
        if wall_ms < EARLIEST.0 {
            return Ok(None);
        }
        if written.offset_ms.is_some() {
            return written.instant().map(|at| Some(Self::Utc(at))).ok_or(Refusal::BadTimestamp);
        }
        let midnight = written.date.to_civil().at(0, 0, 0, 0);
        let at = midnight.checked_add(jiff::SignedDuration::from_millis(written.wall_ms.into()));
        at.map(|at| Some(Self::Local(at))).map_err(|_| Refusal::BadTimestamp)
    }
}

/// What a value is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A sensor's reading.
    #[default]
    Measurement,
    /// How the device itself fares: battery, radio, memory, up-time. No sensor unless asked for.
    Health,
    /// A setting, a number of a message, a name: never a sensor.
    Other,
}

/// One value in a message. It is not yet checked against its quantity's range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found<'a> {
    /// The device that it is from; levels have `/` between them.
    pub device: &'a str,
    /// Which of the device's values it is, levels with `/` between them; empty if the device has
    /// this one only.
    pub field: &'a str,
    /// When; `None` if the message does not say, so arrival counts.
    pub at: Option<Stamp>,
    /// What is measured.
    pub quantity: Quantity,
    /// The value in the quantity's unit, finite; or why there is none.
    pub value: Result<f64, Refusal>,
    /// What it is for.
    pub role: Role,
    /// Whether its unit was told with it, so that what is announced elsewhere says no more.
    pub is_converted: bool,
}

impl<'a> Found<'a> {
    /// A value under the name that its device gives it. The name tells what is measured, in which
    /// unit, and whether it is a measurement at all; a `unit` that is written beside it counts
    /// more than the name.
    #[must_use]
    pub fn named(
        device: &'a str,
        field: &'a str,
        unit: Option<&str>,
        value: Result<f64, Refusal>,
    ) -> Self {
        let named = names::classify(if field.is_empty() { device } else { field });
        Self { device, field, ..Self::measured(named, unit.and_then(units::find), value) }
    }

    /// A value of what `named` says, in `unit` if that is known and can be one of the quantity.
    #[must_use]
    pub fn measured(named: Named, unit: Option<Unit>, value: Result<f64, Refusal>) -> Self {
        let Named { quantity, unit: implied, role } = named;
        let quantity = match (quantity, unit.and_then(|unit| unit.quantity)) {
            (Quantity::Generic, Some(told)) => told,
            (quantity, _) => quantity,
        };
        let unit = unit.or(implied).filter(|unit| units::agree(quantity, *unit));
        let value = value.and_then(|value| {
            let value = unit.map_or(value, |unit| unit.to_base(value));
            if value.is_finite() { Ok(value) } else { Err(Refusal::NotFinite) }
        });
        let is_converted = unit.is_some();
        Self { device: "", field: "", at: None, quantity, value, role, is_converted }
    }

    /// The same, measured at `at`.
    #[must_use]
    pub fn at(self, at: Option<Stamp>) -> Self {
        Self { at, ..self }
    }

    /// The same of another role.
    #[must_use]
    pub fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// A counter's total, where its quantity has one.
    #[must_use]
    pub fn total(self) -> Self {
        Self { quantity: self.quantity.total().unwrap_or(self.quantity), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_too_large_in_the_base_unit_is_none() {
        let energy = |value| Found::named("d", "energy", Some("kWh"), Ok(value)).value;
        assert_eq!(energy(1e305), Ok(1e308));
        assert_eq!(energy(-1e306), Err(Refusal::NotFinite));
    }

    #[test]
    fn a_written_time_is_the_sites_unless_its_offset_is_there() {
        let local = jiff::civil::date(2024, 10, 27).at(2, 30, 0, 0);
        assert_eq!(Stamp::written("2024-10-27T02:30:00"), Ok(Some(Stamp::Local(local))));
        let at = Stamp::Utc(UtcMillis(1_711_321_200_000));
        assert_eq!(Stamp::written("2024-03-25T00:00:00+01:00"), Ok(Some(at)));
        assert_eq!(Stamp::written("1970-01-01T00:00:42"), Ok(None));
        assert_eq!(Stamp::written("1970-01-01T00:00:42Z"), Ok(None));
        for text in ["", "soon", "2024-13-01", "2199-01-01T00:00:00Z"] {
            assert_eq!(Stamp::written(text), Err(Refusal::BadTimestamp), "{text}");
        }
    }
}
