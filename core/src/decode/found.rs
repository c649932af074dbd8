//! What decoders give: one [`Found`] for each value that a message holds.

use jiff::civil::DateTime;

use super::names::{self, Named};
use crate::{
    quantity::Quantity,
    reading::Refusal,
    time::UtcMillis,
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
        let value = value.map(|value| unit.map_or(value, |unit| unit.to_base(value)));
        Self { device: "", field: "", at: None, quantity, value, role }
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
