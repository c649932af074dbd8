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

/// Reads the text of a field that should hold a number.
///
/// # Errors
/// `NoValue` if it is empty, `NotANumber` or `NotFinite`.
pub fn decode_field(text: &str) -> Result<f64, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Refusal::NoValue);
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(Refusal::NotFinite),
        Err(_) => Err(Refusal::NotANumber),
    }
}
