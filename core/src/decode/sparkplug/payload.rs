//! The protobuf messages of Sparkplug B 3.0, as far as they can hold a reading.
//!
//! What is not written down here (data sets, templates, files, texts, metadata) is skipped by the
//! reader. A payload's metrics stay bytes until each is its turn, so that a small message cannot
//! become a large one in memory.

use alloc::{string::String, vec::Vec};

use prost::Message;

/// A message's content.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Payload {
    /// When it was sent, in milliseconds.
    #[prost(uint64, optional, tag = "1")]
    pub(super) timestamp: Option<u64>,
    /// Each is a [`Metric`].
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) metrics: Vec<Vec<u8>>,
    /// The message's number, 0 to 255.
    #[prost(uint64, optional, tag = "3")]
    pub(super) seq: Option<u64>,
}

/// One value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metric {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    /// The number that stands for the name after the birth.
    #[prost(uint64, optional, tag = "2")]
    pub(super) alias: Option<u64>,
    /// When it was measured, in milliseconds.
    #[prost(uint64, optional, tag = "3")]
    pub(super) timestamp: Option<u64>,
    /// See [`Datatype`].
    #[prost(uint32, optional, tag = "4")]
    pub(super) datatype: Option<u32>,
    /// Not to be kept, by the node's wish.
    #[prost(bool, optional, tag = "6")]
    pub(super) is_transient: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub(super) is_null: Option<bool>,
    #[prost(message, optional, tag = "9")]
    pub(super) properties: Option<PropertySet>,
    #[prost(oneof = "Value", tags = "10, 11, 12, 13, 14")]
    pub(super) value: Option<Value>,
}

/// A metric's value, if it is a number or a truth value.
#[derive(Clone, Copy, PartialEq, prost::Oneof)]
pub(super) enum Value {
    #[prost(uint32, tag = "10")]
    Int(u32),
    #[prost(uint64, tag = "11")]
    Long(u64),
    #[prost(float, tag = "12")]
    Float(f32),
    #[prost(double, tag = "13")]
    Double(f64),
    #[prost(bool, tag = "14")]
    Boolean(bool),
}

/// Names and what they stand for, in the same order.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PropertySet {
    #[prost(string, repeated, tag = "1")]
    pub(super) keys: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    pub(super) values: Vec<PropertyValue>,
}

/// A property, if it is text.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PropertyValue {
    #[prost(string, optional, tag = "8")]
    pub(super) text: Option<String>,
}

/// The types that say how a number is to be read; every other one holds none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datatype {
    Int8,
    Int16,
    Int32,
    Int64,
    /// Of any length: what is there is the number.
    Unsigned,
    Real,
}

impl Datatype {
    /// The type of that number: `Err` if it holds no number, `None` if it is not said.
    pub(super) fn of(code: Option<u32>) -> Result<Option<Self>, ()> {
        match code {
            None | Some(0) => Ok(None),
            Some(1) => Ok(Some(Self::Int8)),
            Some(2) => Ok(Some(Self::Int16)),
            Some(3) => Ok(Some(Self::Int32)),
            Some(4) => Ok(Some(Self::Int64)),
            Some(5..=8) => Ok(Some(Self::Unsigned)),
            Some(9 | 10) => Ok(Some(Self::Real)),
            Some(_) => Err(()),
        }
    }
}

/// What a value says under its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// A number; perhaps not a finite one.
    Is(f64),
    /// A whole number of an unknown type: whether it is negative cannot be told.
    Untold,
}

impl Value {
    /// The number that this is; `None` if it is none.
    pub(super) fn number(self, datatype: Option<Datatype>) -> Option<Number> {
        let number = match (self, datatype) {
            (Self::Double(value), _) => value,
            (Self::Float(value), _) => widen(value),
            (Self::Boolean(_), _) => return None,
            (Self::Int(_) | Self::Long(_), None) => return Some(Number::Untold),
            // Writers fill the rest of the field with the sign or with zeros: it does not count.
            (Self::Int(bits), Some(datatype)) => {
                signed(u64::from(bits), datatype).unwrap_or_else(|| f64::from(bits))
            }
            (Self::Long(bits), Some(datatype)) => {
                signed(bits, datatype).unwrap_or_else(|| unsigned(bits))
            }
        };
        Some(Number::Is(number))
    }
}

/// The number that the low bits are in two's complement, if the type has a sign.
fn signed(bits: u64, datatype: Datatype) -> Option<f64> {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    match datatype {
        Datatype::Int8 => Some(f64::from(i8::from_le_bytes([a]))),
        Datatype::Int16 => Some(f64::from(i16::from_le_bytes([a, b]))),
        Datatype::Int32 => Some(f64::from(i32::from_le_bytes([a, b, c, d]))),
        #[expect(clippy::cast_precision_loss, reason = "as any reader of a double rounds it")]
        Datatype::Int64 => Some(bits.cast_signed() as f64),
        Datatype::Unsigned | Datatype::Real => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "as any reader of a double rounds it")]
fn unsigned(bits: u64) -> f64 {
    bits as f64
}

/// The shortest number that is this one in single precision: 21.2, not 21.200000762939453.
fn widen(value: f32) -> f64 {
    alloc::format!("{value:?}").parse().unwrap_or_else(|_| f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value, code: u32) -> Option<Number> {
        value.number(Datatype::of(Some(code)).ok()?)
    }

    #[test]
    fn whole_numbers_are_read_by_their_type() {
        for (value, code, number) in [
            (Value::Int(0xff), 1, -1.0),
            (Value::Int(0xffff_ff80), 1, -128.0),
            (Value::Int(0xfffe), 2, -2.0),
            (Value::Int(u32::MAX), 3, -1.0),
            (Value::Long(u64::MAX), 4, -1.0),
            (Value::Int(0xff), 5, 255.0),
            (Value::Int(0xffff), 6, 65_535.0),
            (Value::Int(u32::MAX), 7, 4_294_967_295.0),
            // Some writers keep UInt32 in the long field.
            (Value::Long(4_294_967_295), 7, 4_294_967_295.0),
            (Value::Long(u64::MAX), 8, 18_446_744_073_709_551_615.0),
        ] {
            assert_eq!(read(value, code), Some(Number::Is(number)), "{value:?} of type {code}");
        }
        assert_eq!(Value::Int(0xff).number(None), Some(Number::Untold));
    }

    #[test]
    fn single_precision_does_not_invent_digits() {
        assert_eq!(read(Value::Float(21.2), 9), Some(Number::Is(21.2)));
        assert_eq!(read(Value::Double(21.2), 10), Some(Number::Is(21.2)));
        assert_eq!(read(Value::Float(-3.0e20), 9), Some(Number::Is(-3.0e20)));
        let Some(Number::Is(nan)) = read(Value::Float(f32::NAN), 9) else { panic!("a number") };
        assert!(nan.is_nan());
    }

    #[test]
    fn truth_values_times_and_texts_are_no_numbers() {
        assert_eq!(Value::Boolean(true).number(None), None);
        for code in [11, 12, 13, 14, 15, 16, 17, 18, 19, 99] {
            assert_eq!(Datatype::of(Some(code)), Err(()), "{code}");
        }
    }
}
