//! Records resolved against the base fields before them.

use alloc::string::String;

use super::{
    super::{
        Found, Message, Role, Sink, Stamp,
        names::{self, Named},
        timestamp,
    },
    record::{Number, Record},
};
use crate::{
    quantity::Quantity,
    reading::Refusal,
    time::UtcMillis,
    units::{self, Unit},
};

/// Smaller times count from now; this is in 1978 (RFC 8428, section 4.5.3).
const FIRST_ABSOLUTE: f64 = 268_435_456.0;

/// The longest name, in bytes: no sensor's is half as long. Every record has the base's in it, so
/// that a long one is work for all of them.
const MAX_NAME: usize = 512;

/// The base fields that hold.
#[derive(Default)]
struct Base<'r> {
    name: &'r str,
    time: f64,
    unit: Option<&'r str>,
    value: Option<f64>,
    sum: Option<f64>,
}

/// Gives every record's numbers.
///
/// # Errors
/// `NoValue` if there are none.
pub(super) fn resolve(
    message: &Message<'_>,
    records: &[Record<'_>],
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    let mut base = Base::default();
    let mut count = 0_usize;
    for record in records {
        base.take(record);
        let is_measured = record.name.is_some() || record.time.is_some() || record.value.is_some();
        let is_number = is_measured && !record.is_no_number;
        // Of a base and its field either may be missing, and is then zero.
        let own = record.value.or_else(|| {
            (is_number && record.sum.is_none() && base.value.is_some()).then_some(Ok(0.0))
        });
        let value = own.map(|own| sum(own, base.value));
        let total = record.sum.or_else(|| base.sum.filter(|_| is_number).map(|_| Ok(0.0)));
        let total = total.map(|own| sum(own, base.sum));
        count += usize::from(value.is_some()) + usize::from(total.is_some());
        Resolved::of(message, &base, record).give(value, total, sink);
    }
    if count == 0 { Err(Refusal::NoValue) } else { Ok(()) }
}

fn sum(own: Number, base: Option<f64>) -> Number {
    let sum = own? + base.unwrap_or(0.0);
    if sum.is_finite() { Ok(sum) } else { Err(Refusal::NotFinite) }
}

impl<'r> Base<'r> {
    fn take(&mut self, record: &'r Record<'_>) {
        self.name = record.base_name.as_deref().unwrap_or(self.name);
        self.time = record.base_time.unwrap_or(self.time);
        self.unit = record.base_unit.as_deref().or(self.unit);
        self.value = record.base_value.or(self.value);
        self.sum = record.base_sum.or(self.sum);
    }
}

/// Whose values they are, and of when.
struct Resolved<'r> {
    device: String,
    field: String,
    unit: Option<&'r str>,
    at: Result<Option<UtcMillis>, Refusal>,
}

impl<'r> Resolved<'r> {
    fn of(message: &Message<'_>, base: &Base<'r>, record: &'r Record<'_>) -> Self {
        let unit = record.unit.as_deref().or(base.unit);
        let own = record.name.as_deref().unwrap_or("");
        if base.name.len() + own.len() > MAX_NAME {
            let device = message.device_or(message.topic).into();
            return Self { device, field: String::new(), unit, at: Err(Refusal::BadSensor) };
        }
        let (device, field) = names_of(message, base.name, own, unit);
        Self { device, field, unit, at: time(message.now, base.time, record.time) }
    }

    fn give(&self, value: Option<Number>, total: Option<Number>, sink: &mut Sink<'_>) {
        if let Some(value) = value {
            let unit = self.unit.filter(|unit| *unit != "/" || self.is_known());
            sink(self.stamped(Found::named(&self.device, &self.field, unit, value)));
        }
        if let Some(total) = total {
            let end = if self.field.is_empty() { "sum" } else { "/sum" };
            let field = [self.field.as_str(), end].concat();
            // Seconds of a quantity are another one: the name does not tell which, the unit may.
            let Named { role, .. } = names::classify(&field);
            let named = Named { role, ..Named::default() };
            let unit = self.unit.and_then(times_seconds).and_then(units::find);
            let found = Found::measured(named, unit, total);
            let found = Found { device: &self.device, field: &field, ..found };
            sink(self.stamped(found.total()));
        }
    }

    /// Whether the name says what is measured. If not, a share stays one: it may be of anything.
    fn is_known(&self) -> bool {
        let name = if self.field.is_empty() { &self.device } else { &self.field };
        names::classify(name).quantity != Quantity::Generic
    }

    fn stamped<'f>(&self, found: Found<'f>) -> Found<'f> {
        let found = match self.unit {
            // What is left of the battery, in percent and in seconds.
            Some("%EL" | "EL") => found.role(Role::Health),
            _ => found,
        };
        match self.at {
            Ok(at) => found.at(at.map(Stamp::Utc)),
            Err(reason) => Found { value: Err(reason), ..found },
        }
    }
}

/// When a record was measured; `None` for now.
fn time(now: UtcMillis, base: f64, own: Option<Number>) -> Result<Option<UtcMillis>, Refusal> {
    let seconds = base + own.unwrap_or(Ok(0.0))?;
    if seconds == 0.0 {
        return Ok(None);
    }
    if seconds >= FIRST_ABSOLUTE {
        return timestamp::from_number(seconds).map(Some);
    }
    // To the millisecond: nothing is this far from now that it would not fit.
    let ms = libm::round(seconds.max(-FIRST_ABSOLUTE) * 1e3);
    #[expect(clippy::cast_possible_truncation, reason = "it is between -2^38 and 2^38")]
    Ok(Some(UtcMillis(now.0.saturating_add(ms as i64))))
}

/// The unit of a sum over time, where it has a name of its own.
fn times_seconds(unit: &str) -> Option<&'static str> {
    match unit {
        "W" => Some("J"),
        "kW" => Some("kJ"),
        "l/s" | "L/s" => Some("L"),
        "m3/s" => Some("m3"),
        _ => None,
    }
}

/// The full name in two: the device's, and what it is of the device's.
///
/// A base name that ends with a sign of punctuation is the device's; else a path's last level, or
/// what a device's URN has behind its identifier, is apart. A name that says no more than which
/// device it is has what the unit tells, because a device may send several under it. The name in a
/// source's template goes before all of it.
fn names_of(message: &Message<'_>, base: &str, own: &str, unit: Option<&str>) -> (String, String) {
    let full = [base, own].concat();
    if let Some(device) = message.device {
        return (device.into(), levels(&full));
    }
    let is_local = base.is_empty() && !full.contains([':', '/']);
    let (device, field) = match base.strip_suffix([':', '/', '_', '-', '.']) {
        _ if is_local => (message.topic, full.as_str()),
        Some(device) if !own.is_empty() && !device.is_empty() => (device, own),
        _ => apart(&full),
    };
    let field = if field.is_empty() { told_by(unit) } else { field };
    (levels(device), levels(field))
}

fn apart(full: &str) -> (&str, &str) {
    let full = full.trim_end_matches([':', '/']);
    let urn = full.strip_prefix("urn:dev:").and_then(|rest| {
        let kind = rest.split_once(':')?.1;
        kind.split_once(':').map(|(_, field)| field)
    });
    match (urn, full.rsplit_once('/')) {
        (Some(field), _) if !field.is_empty() => {
            let end = full.len().saturating_sub(field.len() + 1);
            (full.get(..end).unwrap_or(full), field)
        }
        (_, Some((device, field))) if !device.is_empty() => (device, field),
        _ => (full, ""),
    }
}

/// What a unit says is measured.
fn told_by(unit: Option<&str>) -> &'static str {
    match unit {
        Some("lat") => "latitude",
        Some("lon") => "longitude",
        Some("%EL" | "EL") => "battery",
        Some(unit) => match units::find(unit).and_then(|Unit { quantity, .. }| quantity) {
            Some(Quantity::Generic) | None => "",
            Some(quantity) => quantity.name(),
        },
        None => "",
    }
}

/// Without the levels that are empty, which a sensor's name must not have.
fn levels(name: &str) -> String {
    let mut levels = String::with_capacity(name.len());
    for level in name.split('/').filter(|level| !level.trim().is_empty()) {
        if !levels.is_empty() {
            levels.push('/');
        }
        levels.push_str(level);
    }
    levels
}
