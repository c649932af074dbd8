//! One group commit as a journal payload, its readings compact by date and sensor.
//!
//! | part | encoding |
//! |---|---|
//! | schema | 1 |
//! | news | postcard: sensors and days that are new, when late readings are due, arrivals |
//! | sections | any number, one for a date |
//!
//! | part of a section | encoding |
//! |---|---|
//! | date | zigzag varint, days since 1970 |
//! | base | zigzag varint, ms from 00:00 UTC of the date to the section's first whole second |
//! | runs | varint: sensor minus the one before, plus 1; then one block of its samples |
//! | end | 0 |
//!
//! A reading of a steady sensor takes about 5 bytes so. The readings of one sensor keep the order
//! in which they arrived.

use daywise_core::{
    block::{self, BlockError, MAX_BLOCK_SAMPLES},
    quantity::Quantity,
    reading::{Sample, SensorIx},
    time::{DAY_MS, LocalDate, LocalDay, UtcMillis},
};
use serde::{Deserialize, Serialize};

use super::{
    Batch, DayReading, StoreError,
    arrivals::Arrivals,
    records::{Damage, SensorRecord},
};

/// What this build writes, and the newest it reads.
const PAYLOAD_SCHEMA: u8 = 1;

/// What a commit brings beside readings.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct News {
    sensors: Vec<(u32, String, Quantity)>,
    days: Vec<LocalDay>,
    late_due: UtcMillis,
    arrivals: Arrivals,
}

/// A commit, read back.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Commit {
    pub(super) new_sensors: Vec<SensorRecord>,
    pub(super) new_days: Vec<LocalDay>,
    pub(super) readings: Vec<DayReading>,
    pub(super) late_due: UtcMillis,
    pub(super) arrivals: Arrivals,
}

/// The payload of a commit.
pub(super) fn encode(batch: &Batch<'_>, arrivals: &Arrivals) -> Result<Vec<u8>, StoreError> {
    let sensors = batch.new_sensors.iter();
    let news = News {
        sensors: sensors.map(|new| (new.ix.0, new.id.clone(), new.quantity)).collect(),
        days: batch.new_days.to_vec(),
        late_due: batch.late_due,
        arrivals: arrivals.clone(),
    };
    let payload = postcard::to_extend(&news, vec![PAYLOAD_SCHEMA]);
    let mut payload = payload.map_err(|source| StoreError::Io {
        operation: "encode a record for",
        source: source.into(),
    })?;
    encode_readings(&mut payload, batch.readings);
    Ok(payload)
}

/// The commit of a payload.
pub(super) fn decode(payload: &[u8]) -> Result<Commit, Damage> {
    let (&schema, rest) = payload.split_first().ok_or(Damage::Short)?;
    if schema > PAYLOAD_SCHEMA {
        return Err(Damage::TooNew);
    }
    let (news, sections) = postcard::take_from_bytes::<News>(rest).map_err(|_| Damage::Content)?;
    let sensors = news.sensors.into_iter();
    Ok(Commit {
        new_sensors: sensors
            .map(|(ix, id, quantity)| SensorRecord { ix: SensorIx(ix), id, quantity })
            .collect(),
        new_days: news.days,
        late_due: news.late_due,
        arrivals: news.arrivals,
        readings: decode_readings(sections).map_err(|_| Damage::Content)?,
    })
}

/// 00:00 UTC of `date`, where its blocks count from.
pub(super) fn midnight(date: LocalDate) -> UtcMillis {
    UtcMillis(i64::from(date.0) * DAY_MS)
}

/// Appends the sections that hold `readings`.
pub(super) fn encode_readings(payload: &mut Vec<u8>, readings: &[DayReading]) {
    let mut order: Vec<&DayReading> = readings.iter().collect();
    // Stable, so that a sensor's readings stay in the order of their arrival.
    order.sort_by_key(|&&(date, sensor, _)| (date, sensor));
    let mut samples: Vec<Sample> = Vec::new();
    for section in order.chunk_by(|a, b| a.0 == b.0) {
        let Some(&&(date, _, _)) = section.first() else { continue };
        let earliest = section.iter().map(|(_, _, sample)| sample.at.0).min().unwrap_or(0);
        let base = earliest.checked_sub(earliest.rem_euclid(1000)).unwrap_or(earliest);
        block::put_signed(payload, i64::from(date.0));
        block::put_signed(payload, base.wrapping_sub(midnight(date).0));
        let mut previous = 0;
        for run in section.chunk_by(|a, b| a.1 == b.1) {
            let Some(&&(_, sensor, _)) = run.first() else { continue };
            for run in run.chunks(MAX_BLOCK_SAMPLES) {
                samples.clear();
                samples.extend(run.iter().map(|(_, _, sample)| *sample));
                let step = u64::from(sensor.0).saturating_sub(previous) + 1;
                block::put_varint(payload, step);
                block::append(payload, UtcMillis(base), &samples);
                previous = u64::from(sensor.0);
            }
        }
        block::put_varint(payload, 0);
    }
}

/// The readings of sections, by date and sensor, each sensor's in the order of arrival.
pub(super) fn decode_readings(mut payload: &[u8]) -> Result<Vec<DayReading>, BlockError> {
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

    fn encoded(readings: &[DayReading]) -> Vec<u8> {
        let mut payload = Vec::new();
        encode_readings(&mut payload, readings);
        payload
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
        let payload = encoded(&readings);
        assert!(payload.len() <= 5 * readings.len() + 40, "{} bytes", payload.len());
        assert_eq!(sorted(&decode_readings(&payload).unwrap()), sorted(&readings));
    }

    #[test]
    fn one_sensors_flood_reads_back() {
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
        assert_eq!(sorted(&decode_readings(&encoded(&readings)).unwrap()), sorted(&readings));
    }

    #[test]
    fn a_commit_brings_its_sensors_and_days() {
        let sensor = SensorRecord {
            ix: SensorIx(3),
            id: "kitchen/temperature".into(),
            quantity: Quantity::Temperature,
        };
        let day = LocalDay::utc(LocalDate(19_783));
        let reading =
            (LocalDate(19_783), SensorIx(3), Sample { at: day.start + 5_000, value: 21.5 });
        let (late_due, arrivals) = (UtcMillis(7), Arrivals::default());
        let batch = Batch {
            new_sensors: std::slice::from_ref(&sensor),
            new_days: &[day],
            readings: &[reading],
            late_due,
            ..Batch::default()
        };
        let (new_sensors, new_days, readings) = (vec![sensor.clone()], vec![day], vec![reading]);
        let commit = Commit { new_sensors, new_days, readings, late_due, arrivals };
        let mut payload = encode(&batch, &Arrivals::default()).unwrap();
        assert_eq!(decode(&payload), Ok(commit));
        payload[0] = PAYLOAD_SCHEMA + 1;
        assert_eq!(decode(&payload), Err(Damage::TooNew));
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
            prop_assert_eq!(sorted(&decode_readings(&encoded(&readings)).unwrap()), sorted(&readings));
        }

        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(readings) = decode_readings(&garbage) {
                prop_assert!(readings.len() <= garbage.len());
            }
            drop(decode(&garbage));
        }
    }
}
