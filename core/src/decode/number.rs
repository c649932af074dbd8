//! A payload that is nothing but a number.

use crate::reading::Refusal;

/// Reads a number as people and devices write it: `21.5`, `-3`, `1e3`, `nan`.
///
/// # Errors
/// `NotFinite` for NaN, infinities and what overflows; `NoValue` for `null`; `NotANumber` for
/// the other words of JSON; `Malformed` for the rest.
pub fn decode(text: &str) -> Result<f64, Refusal> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(Refusal::NotFinite),
        Err(_) => Err(match text {
            "null" => Refusal::NoValue,
            "true" | "false" => Refusal::NotANumber,
            _ => Refusal::Malformed,
        }),
    }
}

/// Reads the text of a field that should hold a number. A decimal comma is one where it cannot
/// be meant to group thousands: `462,5`, but not `1,024`.
///
/// # Errors
/// `NoValue` if it is empty, `NotANumber` or `NotFinite`.
pub fn decode_field(text: &str) -> Result<f64, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::NoValue);
    }
    match text.parse::<f64>().ok().or_else(|| with_decimal_comma(text)) {
        Some(value) if value.is_finite() => Ok(value),
        Some(_) => Err(Refusal::NotFinite),
        None => Err(Refusal::NotANumber),
    }
}

/// Reads a number with perhaps a unit behind it: `22.5 °C`, `1013hPa`, `55 %`; the unit as it is
/// written, empty if there is none. `None` if it does not start with a number, or if what follows
/// it is too long for a unit or has digits of its own, as a date or an address does.
#[must_use]
pub fn with_unit(text: &str) -> Option<(f64, &str)> {
    const LONGEST_UNIT: usize = 12;
    let text = text.trim();
    if let Some(number) = text.parse().ok().or_else(|| with_decimal_comma(text)) {
        return Some((number, ""));
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '+' | '-' | '.' | ','))?;
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim_start();
    let is_unit = unit.len() <= LONGEST_UNIT
        // `0xFADE` is an address.
        && !unit.starts_with([':', '_', 'x', 'X'])
        && unit.chars().all(|c| !c.is_control() && !matches!(c, ':' | '-' | '{' | '"'))
        && !unit.chars().any(|c| c.is_ascii_digit() && c != '3' && c != '2');
    let number = number.parse().ok().or_else(|| with_decimal_comma(number));
    number.filter(|_| is_unit).map(|number| (number, unit))
}

/// This is rare, so it may allocate.
fn with_decimal_comma(text: &str) -> Option<f64> {
    let (whole, decimals) = text.split_once(',')?;
    let is_decimal = !decimals.is_empty() && decimals.len() != 3 && !whole.contains('.');
    let digits = decimals.bytes().all(|byte| byte.is_ascii_digit());
    (is_decimal && digits).then(|| alloc::format!("{whole}.{decimals}").parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_may_stand_behind_a_number() {
        assert_eq!(with_unit("22.5 °C"), Some((22.5, "°C")));
        assert_eq!(with_unit("1013hPa"), Some((1_013.0, "hPa")));
        assert_eq!(with_unit("-0,5 m³/h"), Some((-0.5, "m³/h")));
        assert_eq!(with_unit("95.00"), Some((95.0, "")));
        for text in [
            "",
            "on",
            "2024-03-15T23:00:00Z",
            "12:30",
            "0x00158d",
            "0xFADE",
            "1.2.3",
            "3 of 4 units",
        ] {
            assert_eq!(with_unit(text), None, "{text}");
        }
    }

    #[test]
    fn a_decimal_comma_is_read_where_it_can_be_nothing_else() {
        assert_eq!(decode_field("462,5"), Ok(462.5));
        assert_eq!(decode_field("-0,25"), Ok(-0.25));
        for other in ["1,024", "1,2,3", "1.000,5", ",", "5,", "a,5", "1,5e3", "1,-5"] {
            assert_eq!(decode_field(other), Err(Refusal::NotANumber), "{other}");
        }
    }
}
