//! The list in CBOR: as in JSON, with numbers for the names of the RFC's own fields.

use alloc::{borrow::Cow, vec::Vec};

use minicbor::{
    Decoder,
    data::{IanaTag, Tag, Type},
    decode::Error,
};

use super::{
    super::tree,
    record::{Content, Number, Record},
};
use crate::reading::Refusal;

/// The names of the fields with the numbers -6 to 8.
const LABELS: [&str; 15] =
    ["bs", "bv", "bu", "bt", "bn", "bver", "n", "u", "v", "vs", "vb", "s", "t", "ut", "vd"];
const FIRST_LABEL: i64 = -6;

/// Whether it starts as a list does. No text does that.
pub(super) fn is_likely(payload: &[u8]) -> bool {
    payload.first().is_some_and(|first| (0x80..=0x9f).contains(first))
}

/// Why it cannot be read: it is cut off, or it is something else.
fn refusal(error: &Error) -> Refusal {
    if error.is_end_of_input() { Refusal::Malformed } else { Refusal::WrongFormat }
}

/// The list's records.
///
/// # Errors
/// `WrongFormat` if it is something else, `Malformed` if it is cut off, else as [`Record::set`].
pub(super) fn records(bytes: &[u8]) -> Result<Vec<Record<'_>>, Refusal> {
    let mut decoder = Decoder::new(bytes);
    let mut left = Left(decoder.array().map_err(|error| refusal(&error))?);
    let mut records = Vec::new();
    while left.next(&mut decoder)? {
        let record = record(&mut decoder)?;
        if records.len() < tree::MAX_VALUES {
            records.push(record);
        }
    }
    if decoder.position() < bytes.len() || records.is_empty() {
        return Err(Refusal::WrongFormat);
    }
    Ok(records)
}

/// How many items follow; of a list without a length that is not known until its end.
struct Left(Option<u64>);

impl Left {
    fn next(&mut self, decoder: &mut Decoder<'_>) -> Result<bool, Refusal> {
        match &mut self.0 {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => {
                let kind = decoder.datatype().map_err(|error| refusal(&error))?;
                if kind == Type::Break {
                    decoder.set_position(decoder.position().saturating_add(1));
                }
                Ok(kind != Type::Break)
            }
        }
    }
}

fn record<'b>(decoder: &mut Decoder<'b>) -> Result<Record<'b>, Refusal> {
    let mut left = Left(decoder.map().map_err(|error| refusal(&error))?);
    let mut record = Record::default();
    while left.next(decoder)? {
        let label = label(decoder).map_err(|error| refusal(&error))?;
        let content = content(decoder).map_err(|error| refusal(&error))?;
        record.set(label, content)?;
    }
    Ok(record)
}

fn label<'b>(decoder: &mut Decoder<'b>) -> Result<&'b str, Error> {
    if decoder.datatype()? == Type::String {
        return decoder.str();
    }
    let number = decoder.i64()?;
    let place = usize::try_from(number.saturating_sub(FIRST_LABEL)).ok();
    // There are to be no others; what is in them is no reading.
    Ok(place.and_then(|place| LABELS.get(place)).copied().unwrap_or_default())
}

fn content<'b>(decoder: &mut Decoder<'b>) -> Result<Content<'b>, Error> {
    match decoder.datatype()? {
        Type::String => Ok(Content::Text(Cow::Borrowed(decoder.str()?))),
        Type::Tag => tagged(decoder),
        kind => match number(decoder, kind)? {
            Some(number) => Ok(Content::Number(number)),
            None => decoder.skip().map(|()| Content::Other),
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "the RFC has all numbers as doubles")]
fn number(decoder: &mut Decoder<'_>, kind: Type) -> Result<Option<Number>, Error> {
    let number = match kind {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => decoder.u64()? as f64,
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
            i128::from(decoder.int()?) as f64
        }
        Type::F16 | Type::F32 | Type::F64 => decoder.f64()?,
        _ => return Ok(None),
    };
    let is_finite = number.is_finite();
    Ok(Some(if is_finite { Ok(number) } else { Err(Refusal::NotFinite) }))
}

/// A decimal fraction; what else has a tag is no reading.
fn tagged<'b>(decoder: &mut Decoder<'b>) -> Result<Content<'b>, Error> {
    if decoder.probe().tag()? != Tag::from(IanaTag::Decimal) {
        return decoder.skip().map(|()| Content::Other);
    }
    decoder.tag()?;
    if decoder.array()? != Some(2) {
        return Err(Error::message("a decimal fraction has two parts"));
    }
    let exponent = decoder.i64()?;
    let mantissa = i128::from(decoder.int()?);
    // Only this way is the double the one that is nearest to the decimal number.
    let number = alloc::format!("{mantissa}e{exponent}").parse::<f64>();
    let number = number.ok().filter(|number| number.is_finite());
    Ok(Content::Number(number.ok_or(Refusal::NotFinite)))
}
