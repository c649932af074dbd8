//! Compact encoding of samples in the order they arrived.
//!
//! Readings of one sensor come at a steady pace and change little, so times are kept as changes
//! of the interval and values as changes of a scaled whole number. What is written reads back
//! bit for bit, whatever the times and values; what does not fit a scaled whole number is kept
//! as the bytes in which it differs from the value before.
//!
//! A run is any number of blocks, one after the other; no samples are no bytes. One block:
//!
//! | part | encoding |
//! |---|---|
//! | header | varint: (samples - 1) << 4, whole seconds << 3, form: 0 to 6 decimals, or 7 for bytes |
//! | first time | zigzag varint, from `base`; in seconds or milliseconds |
//! | further times | zigzag varint: interval minus the interval before (0 before the second) |
//! | value, decimals | zigzag varint: difference from the value before (0 before the first), times 10^form |
//! | value, bytes | leading zero bytes << 4, trailing zero bytes, and the bytes between, of the XOR with the value before |
//!
//! Time and value alternate. `base` is not kept: it is whatever the place of the block says
//! already, such as the start of the record's day.
//!
//! Reading accepts any bytes: it allocates at most 8 bytes for each byte it is given, and never
//! yields a value that is not finite.

use alloc::vec::Vec;

use crate::{reading::Sample, time::UtcMillis};

/// Samples in one block; a longer run takes several.
pub const MAX_BLOCK_SAMPLES: usize = 4096;

/// Form of a block whose values are not scaled whole numbers.
const BYTES: u8 = 7;
/// The most decimals that are tried; sensors print no more.
const MAX_DECIMALS: u8 = 6;
/// Up to here every whole number is an `f64` of its own.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;
/// A sample takes a byte for its time and one for its value at the least.
const MIN_SAMPLE_BYTES: usize = 2;

/// Bytes that are not a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The bytes end inside the block.
    #[error("the block is cut short")]
    Short,
    /// The header promises more samples than a block or the bytes at hand can hold.
    #[error("the block claims {claimed} samples")]
    TooMany {
        /// How many it claims.
        claimed: u64,
    },
    /// A number outside its range, or a value that is not finite.
    #[error("the block's content is impossible")]
    Impossible,
}

/// The bytes of `samples`, in their order, relative to `base`.
#[must_use]
pub fn encode(base: UtcMillis, samples: &[Sample]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, base, samples);
    bytes
}

/// Appends `samples` to `bytes` as one block per [`MAX_BLOCK_SAMPLES`] of them.
pub fn append(bytes: &mut Vec<u8>, base: UtcMillis, samples: &[Sample]) {
    for samples in samples.chunks(MAX_BLOCK_SAMPLES) {
        append_block(bytes, base, samples);
    }
}

/// Reads a whole run.
///
/// # Errors
/// The bytes are not a run of blocks.
pub fn decode(base: UtcMillis, mut bytes: &[u8]) -> Result<Vec<Sample>, BlockError> {
    let mut samples = Vec::new();
    while !bytes.is_empty() {
        bytes = take(base, bytes, &mut samples)?;
    }
    Ok(samples)
}

/// Reads the block that `bytes` begin with onto the end of `samples`; returns what follows it.
///
/// # Errors
/// The bytes do not begin with a block; `samples` may then have grown.
pub fn take<'a>(
    base: UtcMillis,
    bytes: &'a [u8],
    samples: &mut Vec<Sample>,
) -> Result<&'a [u8], BlockError> {
    let (header, mut rest) = take_varint(bytes)?;
    let claimed = (header >> 4).saturating_add(1);
    let count = usize::try_from(claimed)
        .ok()
        .filter(|&count| count <= MAX_BLOCK_SAMPLES && count * MIN_SAMPLE_BYTES <= rest.len())
        .ok_or(BlockError::TooMany { claimed })?;
    let form = (header & 7) as u8;
    let mut times = Times::new(base, header & 8 != 0);
    let mut values = Values::new(form);
    samples.reserve(count);
    for _ in 0..count {
        let (step, after) = take_signed(rest)?;
        let at = times.unstep(step)?;
        let (value, after) = values.take(after)?;
        samples.push(Sample { at, value });
        rest = after;
    }
    Ok(rest)
}

fn append_block(bytes: &mut Vec<u8>, base: UtcMillis, samples: &[Sample]) {
    let Some(last) = samples.len().checked_sub(1) else { return };
    let whole = |at: UtcMillis| at.0 % 1000 == 0;
    let seconds = whole(base) && samples.iter().all(|sample| whole(sample.at));
    let form = (0..=MAX_DECIMALS)
        .find(|&decimals| samples.iter().all(|s| scaled(s.value, decimals).is_some()))
        .unwrap_or(BYTES);
    put_varint(bytes, ((last as u64) << 4) | (u64::from(seconds) << 3) | u64::from(form));
    let mut times = Times::new(base, seconds);
    let mut values = Values::new(form);
    for sample in samples {
        put_signed(bytes, times.step(sample.at));
        values.put(bytes, sample.value);
    }
}

/// Both directions of the times' coding. Sums wrap, so that no pair of instants is too far apart.
struct Times {
    unit: i64,
    previous: i64,
    /// `None` before the first, whose distance from the base says nothing about the pace.
    interval: Option<i64>,
}

impl Times {
    fn new(base: UtcMillis, seconds: bool) -> Self {
        let unit = if seconds { 1000 } else { 1 };
        Self { unit, previous: base.0 / unit, interval: None }
    }

    fn step(&mut self, at: UtcMillis) -> i64 {
        let now = at.0 / self.unit;
        let interval = now.wrapping_sub(self.previous);
        let step = interval.wrapping_sub(self.interval.unwrap_or(0));
        self.advance(now, interval);
        step
    }

    fn unstep(&mut self, step: i64) -> Result<UtcMillis, BlockError> {
        let interval = step.wrapping_add(self.interval.unwrap_or(0));
        let now = self.previous.wrapping_add(interval);
        self.advance(now, interval);
        now.checked_mul(self.unit).map(UtcMillis).ok_or(BlockError::Impossible)
    }

    fn advance(&mut self, now: i64, interval: i64) {
        self.previous = now;
        self.interval = Some(if self.interval.is_some() { interval } else { 0 });
    }
}

/// Both directions of the values' coding.
enum Values {
    Decimals { decimals: u8, previous: i64 },
    Bytes { previous: u64 },
}

impl Values {
    fn new(form: u8) -> Self {
        if form <= MAX_DECIMALS {
            Self::Decimals { decimals: form, previous: 0 }
        } else {
            Self::Bytes { previous: 0 }
        }
    }

    fn put(&mut self, bytes: &mut Vec<u8>, value: f64) {
        match self {
            Self::Decimals { decimals, previous } => {
                // There for every value, or the block would have another form.
                let whole = scaled(value, *decimals).unwrap_or(*previous);
                put_signed(bytes, whole.wrapping_sub(*previous));
                *previous = whole;
            }
            Self::Bytes { previous } => {
                let bits = value.to_bits();
                let changed = bits ^ *previous;
                *previous = bits;
                let changed = changed.to_be_bytes();
                // No change at all counts as 8 leading zeros.
                let leading = changed.iter().take_while(|&&byte| byte == 0).count();
                let (_, rest) = changed.split_at(leading);
                let trailing = rest.iter().rev().take_while(|&&byte| byte == 0).count();
                let (kept, _) = rest.split_at(rest.len() - trailing);
                #[expect(clippy::cast_possible_truncation, reason = "both are at most 8")]
                let tag = (leading << 4 | trailing) as u8;
                bytes.push(tag);
                bytes.extend_from_slice(kept);
            }
        }
    }

    fn take<'a>(&mut self, bytes: &'a [u8]) -> Result<(f64, &'a [u8]), BlockError> {
        let (value, rest) = match self {
            Self::Decimals { decimals, previous } => {
                let (step, rest) = take_signed(bytes)?;
                *previous = previous.wrapping_add(step);
                (unscaled(*previous, *decimals), rest)
            }
            Self::Bytes { previous } => {
                let (&tag, rest) = bytes.split_first().ok_or(BlockError::Short)?;
                let (leading, trailing) = (usize::from(tag >> 4), usize::from(tag & 15));
                let kept = 8_usize.checked_sub(leading + trailing).ok_or(BlockError::Impossible)?;
                let (given, rest) = rest.split_at_checked(kept).ok_or(BlockError::Short)?;
                let mut changed = [0; 8];
                for (slot, byte) in changed.iter_mut().skip(leading).zip(given) {
                    *slot = *byte;
                }
                *previous ^= u64::from_be_bytes(changed);
                (f64::from_bits(*previous), rest)
            }
        };
        if value.is_finite() { Ok((value, rest)) } else { Err(BlockError::Impossible) }
    }
}

fn power_of_ten(decimals: u8) -> f64 {
    const POWERS: [f64; MAX_DECIMALS as usize + 1] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
    POWERS.get(usize::from(decimals)).copied().unwrap_or(1.0)
}

/// The whole number that reads back as exactly `value`, if there is one. -0.0 has none.
fn scaled(value: f64, decimals: u8) -> Option<i64> {
    let whole = libm::round(value * power_of_ten(decimals));
    // Not so for an infinity either, which `value` times the power can be.
    if whole.abs() > MAX_WHOLE {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number of at most 2^53")]
    let whole = whole as i64;
    (unscaled(whole, decimals).to_bits() == value.to_bits()).then_some(whole)
}

#[expect(clippy::cast_precision_loss, reason = "at most 2^53 in what this build writes")]
fn unscaled(whole: i64, decimals: u8) -> f64 {
    whole as f64 / power_of_ten(decimals)
}

/// Appends `number` in 7-bit groups, the lowest first: 1 byte below 128, 10 at the most.
pub fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

/// Reads what [`put_varint`] wrote; returns it and what follows.
///
/// # Errors
/// The bytes end inside the number, or it is larger than any.
pub fn take_varint(bytes: &[u8]) -> Result<(u64, &[u8]), BlockError> {
    let mut number = 0_u64;
    for (place, &byte) in bytes.iter().enumerate().take(10) {
        let group = u64::from(byte & 0x7f);
        if place == 9 && group > 1 {
            return Err(BlockError::Impossible);
        }
        number |= group << (7 * place);
        if byte & 0x80 == 0 {
            return Ok((number, bytes.get(place + 1..).unwrap_or_default()));
        }
    }
    Err(if bytes.len() < 10 { BlockError::Short } else { BlockError::Impossible })
}

/// Appends a signed number so that small ones of either sign are short.
pub fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put_varint(bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Reads what [`put_signed`] wrote; returns it and what follows.
///
/// # Errors
/// As [`take_varint`].
pub fn take_signed(bytes: &[u8]) -> Result<(i64, &[u8]), BlockError> {
    let (zigzag, rest) = take_varint(bytes)?;
    Ok(((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BASE: UtcMillis = UtcMillis(1_700_006_400_000);

    fn steady(count: i64, every_ms: i64, value: impl Fn(i64) -> f64) -> Vec<Sample> {
        (0..count).map(|i| Sample { at: BASE + i * every_ms, value: value(i) }).collect()
    }

    /// Bit for bit: `==` would take -0.0 for 0.0.
    fn bits(samples: &[Sample]) -> Vec<(i64, u64)> {
        samples.iter().map(|sample| (sample.at.0, sample.value.to_bits())).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn bytes_per_reading(samples: &[Sample]) -> f64 {
        let bytes = encode(BASE, samples);
        assert_eq!(bits(&decode(BASE, &bytes).unwrap()), bits(samples));
        bytes.len() as f64 / samples.len() as f64
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn typical_days_take_few_bytes_for_a_reading() {
        let wave = |i: i64| 20.0 + 5.0 * libm::sin(i as f64 / 40.0);
        let decimal = |i, scale: f64| libm::round(wave(i) * scale) / scale;
        // How late each reading is, as networks are.
        let jitter = |i: i64| (i * 7919) % 900;

        let five_minutes = steady(288, 300_000, |i| decimal(i, 10.0));
        assert!(bytes_per_reading(&five_minutes) <= 2.05);

        let mut minutes = steady(1440, 60_000, |i| decimal(i, 100.0));
        minutes.iter_mut().zip(0..).for_each(|(sample, i)| sample.at = sample.at + jitter(i));
        assert!(bytes_per_reading(&minutes) <= 3.2, "{}", bytes_per_reading(&minutes));

        #[expect(clippy::cast_possible_truncation, reason = "single precision is the point")]
        let single = steady(1440, 60_000, |i| f64::from(wave(i) as f32));
        assert!(bytes_per_reading(&single) <= 6.0, "{}", bytes_per_reading(&single));

        let noise = steady(1440, 60_000, wave);
        assert!(bytes_per_reading(&noise) <= 9.0, "{}", bytes_per_reading(&noise));
    }

    #[test]
    fn one_reading_of_a_minute_takes_five_bytes() {
        let sample = Sample { at: BASE + 42_000, value: 21.5 };
        assert_eq!(encode(BASE, &[sample]).len(), 4);
        let sample = Sample { at: BASE + 42_123, value: 1013.25 };
        assert!(encode(BASE, &[sample]).len() <= 7);
    }

    #[test]
    fn the_bytes_are_the_agreed_bytes() {
        let samples = [(0, 21.5), (60_000, 21.25), (120_000, 21.0)]
            .map(|(ms, value)| Sample { at: BASE + ms, value });
        let bytes = [0x2a, 0x00, 0xcc, 0x21, 0x78, 0x31, 0x00, 0x31];
        assert_eq!(encode(BASE, &samples), bytes);
        assert_eq!(decode(BASE, &bytes).unwrap(), samples);
        let samples =
            [(1, -0.0), (3, 0.1), (4, 0.1)].map(|(ms, value)| Sample { at: BASE + ms, value });
        let bytes = [
            0x27, 0x02, 0x07, 0x80, 0x04, 0x00, 0xbf, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a,
            0x01, 0x80,
        ];
        assert_eq!(encode(BASE, &samples), bytes);
        assert_eq!(bits(&decode(BASE, &bytes).unwrap()), bits(&samples));
    }

    #[test]
    fn a_long_run_takes_several_blocks() {
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        let samples = steady(2 * 4096 + 1, 1000, |i| i as f64);
        let bytes = encode(BASE, &samples);
        assert_eq!(decode(BASE, &bytes).unwrap(), samples);
        let mut first = Vec::new();
        let rest = take(BASE, &bytes, &mut first).unwrap();
        assert_eq!(first, samples[..4096]);
        assert!(!rest.is_empty());
        assert_eq!(decode(BASE, &[]), Ok(Vec::new()));
        assert!(encode(BASE, &[]).is_empty());
    }

    #[test]
    fn a_claim_that_the_bytes_cannot_meet_is_refused_before_allocating() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 4095 << 4);
        bytes.extend([0; 100]);
        assert_eq!(decode(BASE, &bytes), Err(BlockError::TooMany { claimed: 4096 }));
        let mut bytes = Vec::new();
        put_varint(&mut bytes, u64::MAX);
        assert!(decode(BASE, &bytes).is_err());
        let infinity = [0x07, 0x00, 0x06, 0x7f, 0xf0];
        assert_eq!(decode(BASE, &infinity), Err(BlockError::Impossible));
    }

    fn any_time() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => 0..86_400_000_i64,
            4 => (0..86_400_i64).prop_map(|s| s * 1000),
            1 => any::<i64>(),
            1 => prop::sample::select(&[i64::MIN, i64::MAX, -1, 0][..]),
        ]
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-10_000_000..10_000_000_i64, 0..=6_u8).prop_map(|(n, e)| unscaled(n, e)),
            1 => any::<f64>().prop_filter("finite", |v| v.is_finite()),
            1 => any::<f32>().prop_filter("finite", |v| v.is_finite()).prop_map(f64::from),
            1 => prop::sample::select(
                &[-0.0, 0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, MAX_WHOLE][..]
            ),
        ]
    }

    fn any_samples() -> impl Strategy<Value = Vec<Sample>> {
        // Uniform runs too, so that every form of block is common.
        let sample = |value: BoxedStrategy<f64>| {
            (any_time(), value).prop_map(|(at, value)| Sample { at: UtcMillis(at), value })
        };
        prop_oneof![
            prop::collection::vec(sample(any_value().boxed()), 0..40),
            (0..=6_u8).prop_flat_map(move |decimals| prop::collection::vec(
                sample((-9999..9999_i64).prop_map(move |n| unscaled(n, decimals)).boxed()),
                0..40
            )),
        ]
    }

    proptest! {
        #[test]
        fn any_run_reads_back_bit_for_bit(base in any_time(), samples in any_samples()) {
            let base = UtcMillis(base);
            let bytes = encode(base, &samples);
            prop_assert_eq!(bits(&decode(base, &bytes).unwrap()), bits(&samples));
            for cut in 0..bytes.len() {
                // One block, so only no bytes at all are a run too.
                prop_assert_eq!(decode(base, &bytes[..cut]).is_ok(), cut == 0);
            }
        }

        #[test]
        fn garbage_never_panics_and_yields_no_more_than_it_is_worth(
            base in any_time(),
            garbage in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Ok(samples) = decode(UtcMillis(base), &garbage) {
                prop_assert!(samples.len() * MIN_SAMPLE_BYTES <= garbage.len());
                prop_assert!(samples.iter().all(|sample| sample.value.is_finite()));
            }
        }

        #[test]
        fn a_changed_byte_never_panics(
            samples in any_samples(), place in any::<prop::sample::Index>(), flip in 1..=255_u8,
        ) {
            let mut bytes = encode(BASE, &samples);
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] ^= flip;
                if let Ok(samples) = decode(BASE, &bytes) {
                    prop_assert!(samples.iter().all(|sample| sample.value.is_finite()));
                }
            }
        }

        #[test]
        fn numbers_read_back(number in any::<u64>(), signed in any::<i64>()) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            put_signed(&mut bytes, signed);
            let (read, rest) = take_varint(&bytes).unwrap();
            prop_assert_eq!(read, number);
            prop_assert_eq!(take_signed(rest), Ok((signed, &[][..])));
        }
    }
}
