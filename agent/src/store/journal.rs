//! Readings of one commit as journal payloads, compact by date and sensor.
//!
//! A payload is any number of sections, one for a date:
//!
//! | part | encoding |
//! |---|---|
//! | date | zigzag varint, days since 1970 |
//! | base | zigzag varint, ms from 00:00 UTC of the date to the section's first whole second |
//! | runs | varint: sensor minus the one before, plus 1; then one block of its samples |
//! | end | 0 |
//!
//! A reading of a steady sensor takes about 5 bytes so. The readings of one sensor keep the order
//! in which they arrived; a commit larger than a record is cut into several payloads.

use daywise_core::{
    block::{self, BlockError},
    reading::{Sample, SensorIx},
    time::{DAY_MS, LocalDate, UtcMillis},
};

use super::{DayReading, records::MAX_PAYLOAD_BYTES};

/// Samples in one run at the most: at 20 bytes each in the worst case, well below a payload.
const MAX_RUN_SAMPLES: usize = 128;
/// Date, base, sensor and end of a section, at the most.
const SECTION_BYTES: usize = 10 + 10 + 10 + 1;

/// 00:00 UTC of `date`, where its blocks count from.
pub(super) fn midnight(date: LocalDate) -> UtcMillis {
    UtcMillis(i64::from(date.0) * DAY_MS)
}

/// The payloads that hold `readings`.
pub(super) fn encode(readings: &[DayReading]) -> Vec<Vec<u8>> {
    let mut order: Vec<&DayReading> = readings.iter().collect();
    // Stable, so that a sensor's readings stay in the order of their arrival.
    order.sort_by_key(|&&(date, sensor, _)| (date, sensor));
    let mut writer = Writer::default();
    for section in order.chunk_by(|a, b| a.0 == b.0) {
        let Some(&&(date, _, _)) = section.first() else { continue };
        let earliest = section.iter().map(|(_, _, sample)| sample.at.0).min().unwrap_or(0);
        let base = earliest.checked_sub(earliest.rem_euclid(1000)).unwrap_or(earliest);
        writer.open(date, UtcMillis(base));
        for run in section.chunk_by(|a, b| a.1 == b.1) {
            let Some(&&(_, sensor, _)) = run.first() else { continue };
            for run in run.chunks(MAX_RUN_SAMPLES) {
                let samples: Vec<Sample> = run.iter().map(|(_, _, sample)| *sample).collect();
                writer.run(sensor, &samples);
            }
        }
        writer.close();
    }
    writer.finish()
}

#[derive(Default)]
struct Writer {
    done: Vec<Vec<u8>>,
    payload: Vec<u8>,
    date: LocalDateOrNone,
    base: UtcMillis,
    sensor: u32,
    scratch: Vec<u8>,
}

type LocalDateOrNone = Option<LocalDate>;

impl Writer {
    fn open(&mut self, date: LocalDate, base: UtcMillis) {
        if self.payload.len() + SECTION_BYTES > MAX_PAYLOAD_BYTES {
            self.cut();
        }
        block::put_signed(&mut self.payload, i64::from(date.0));
        block::put_signed(&mut self.payload, base.0.wrapping_sub(midnight(date).0));
        (self.date, self.base, self.sensor) = (Some(date), base, 0);
    }

    fn run(&mut self, sensor: SensorIx, samples: &[Sample]) {
        self.scratch.clear();
        block::append(&mut self.scratch, self.base, samples);
        if self.payload.len() + self.scratch.len() + SECTION_BYTES > MAX_PAYLOAD_BYTES
            && let Some(date) = self.date
        {
            self.close();
            self.cut();
            self.open(date, self.base);
        }
        let step = u64::from(sensor.0).saturating_sub(u64::from(self.sensor)) + 1;
        block::put_varint(&mut self.payload, step);
        self.payload.extend_from_slice(&self.scratch);
        self.sensor = sensor.0;
    }

    fn close(&mut self) {
        block::put_varint(&mut self.payload, 0);
        self.date = None;
    }

    fn cut(&mut self) {
        if !self.payload.is_empty() {
            self.done.push(std::mem::take(&mut self.payload));
        }
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.cut();
        self.done
    }
}

/// The readings of one payload, by date and sensor, each sensor's in the order of arrival.
pub(super) fn decode(mut payload: &[u8]) -> Result<Vec<DayReading>, BlockError> {
    let mut readings = Vec::new();
    let mut samples = Vec::new();
    while !payload.is_empty() {
        let (date, rest) = block::take_signed(payload)?;
        let date = LocalDate(i32::try_from(date).map_err(|_| BlockError::Impossible)?);
        let (offset, mut rest) = block::take_signed(rest)?;
        let base = UtcMillis(midnight(date).0.wrapping_add(offset));
        let mut sensor = 0_u32;
        loop {
            let (step, after) = block::take_varint(rest)?;
            rest = after;
            let Some(step) = step.checked_sub(1) else { break };
            let step = u32::try_from(step).map_err(|_| BlockError::Impossible)?;
            sensor = sensor.checked_add(step).ok_or(BlockError::Impossible)?;
            samples.clear();
            rest = block::take(base, rest, &mut samples)?;
            readings.extend(samples.iter().map(|&sample| (date, SensorIx(sensor), sample)));
        }
        payload = rest;
    }
    Ok(readings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(readings: &[DayReading]) -> Vec<(i32, u32, i64, u64)> {
        let mut all: Vec<_> = readings
            .iter()
            .map(|(date, sensor, s)| (date.0, sensor.0, s.at.0, s.value.to_bits()))
            .collect();
        all.sort_by_key(|&(date, sensor, _, _)| (date, sensor));
        all
    }

    fn decoded(payloads: &[Vec<u8>]) -> Vec<DayReading> {
        payloads.iter().flat_map(|payload| decode(payload).unwrap()).collect()
    }

    #[test]
    fn a_second_of_a_thousand_steady_sensors_takes_five_bytes_a_reading() {
        let date = LocalDate(19_783);
        let readings: Vec<DayReading> = (0..1000)
            .map(|i| {
                let at = midnight(date) + (43_200_000 + i64::from(i) / 20 * 1000);
                (date, SensorIx(i), Sample { at, value: 20.0 + f64::from(i % 50) / 10.0 })
            })
            .collect();
        let payloads = encode(&readings);
        let bytes: usize = payloads.iter().map(Vec::len).sum();
        assert!(bytes <= 5 * readings.len() + 40, "{bytes} bytes");
        assert!(payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD_BYTES));
        assert_eq!(sorted(&decoded(&payloads)), sorted(&readings));
    }

    #[test]
    fn one_sensors_flood_is_cut_into_payloads() {
        let readings: Vec<DayReading> = (0..5000_i64)
            .map(|i| {
                let value =
                    f64::from_bits(0x3ff0_0000_0000_0000 | (i.cast_unsigned() * 0x9e37_79b9_7f4a));
                (
                    LocalDate(1),
                    SensorIx(7),
                    Sample { at: UtcMillis(i.wrapping_mul(0x1234_5678_9abc)), value },
                )
            })
            .collect();
        let payloads = encode(&readings);
        assert!(payloads.len() > 10);
        assert!(payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD_BYTES));
        assert_eq!(sorted(&decoded(&payloads)), sorted(&readings));
    }

    proptest! {
        #[test]
        fn any_commit_reads_back(
            commit in prop::collection::vec(
                (
                    prop_oneof![3 => -2..3_i32, 1 => any::<i32>()],
                    prop_oneof![3 => 0..4_u32, 1 => any::<u32>()],
                    prop_oneof![3 => 0..100_000_i64, 1 => any::<i64>()],
                    -9..9_i32,
                ),
                0..60,
            )
        ) {
            let readings: Vec<DayReading> = commit
                .into_iter()
                .map(|(date, sensor, at, value)| {
                    let sample = Sample { at: UtcMillis(at), value: f64::from(value) / 10.0 };
                    (LocalDate(date), SensorIx(sensor), sample)
                })
                .collect();
            prop_assert_eq!(sorted(&decoded(&encode(&readings))), sorted(&readings));
        }

        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(readings) = decode(&garbage) {
                prop_assert!(readings.len() <= garbage.len());
            }
        }
    }
}
