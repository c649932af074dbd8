//! One record as it is written, its fields told apart.

use alloc::borrow::Cow;

use crate::reading::Refusal;

/// The version of RFC 8428.
const VERSION: f64 = 10.0;

/// A number that a field should have, or why it has none.
pub(super) type Number = Result<f64, Refusal>;

/// A record's fields. Those that are no readings are only remembered as being there.
#[derive(Debug, Default)]
pub(super) struct Record<'a> {
    pub(super) base_name: Option<Cow<'a, str>>,
    pub(super) base_time: Option<f64>,
    pub(super) base_unit: Option<Cow<'a, str>>,
    pub(super) base_value: Option<f64>,
    pub(super) base_sum: Option<f64>,
    pub(super) name: Option<Cow<'a, str>>,
    pub(super) unit: Option<Cow<'a, str>>,
    pub(super) value: Option<Number>,
    pub(super) sum: Option<Number>,
    /// `Err` if there is one that is no number.
    pub(super) time: Option<Number>,
    /// It has a text, a truth value or data.
    pub(super) is_no_number: bool,
}

/// What a field holds, whichever way the list is written.
pub(super) enum Content<'a> {
    Text(Cow<'a, str>),
    Number(Number),
    Other,
}

impl<'a> Record<'a> {
    /// Takes in one field.
    ///
    /// # Errors
    /// `Malformed` if it must be understood and is not, `WrongFormat` if it is not what the
    /// field's name stands for.
    pub(super) fn set(&mut self, label: &str, content: Content<'a>) -> Result<(), Refusal> {
        match label {
            "bn" => self.base_name = Some(content.text()?),
            "bu" => self.base_unit = Some(content.text()?),
            "n" => self.name = Some(content.text()?),
            "u" => self.unit = Some(content.text()?),
            // What is wrong in a base is wrong in every record.
            "bt" => self.base_time = Some(content.number()?.map_err(|_| Refusal::BadTimestamp)?),
            "bv" => self.base_value = Some(content.number()??),
            "bs" => self.base_sum = Some(content.number()??),
            "bver" => match content.number()? {
                Ok(version) if version <= VERSION => {}
                _ => return Err(Refusal::Malformed),
            },
            "v" => self.value = Some(content.value()),
            "s" => self.sum = Some(content.value()),
            "t" => self.time = Some(content.value().map_err(|_| Refusal::BadTimestamp)),
            "vs" | "vb" | "vd" => self.is_no_number = true,
            label if label.ends_with('_') => return Err(Refusal::Malformed),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Content<'a> {
    fn text(self) -> Result<Cow<'a, str>, Refusal> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Number(_) | Self::Other => Err(Refusal::WrongFormat),
        }
    }

    fn number(self) -> Result<Number, Refusal> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(_) | Self::Other => Err(Refusal::WrongFormat),
        }
    }

    fn value(self) -> Number {
        self.number().unwrap_or(Err(Refusal::NotANumber))
    }
}
