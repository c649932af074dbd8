//! Readings: from the journal into blocks, and back out of both.

use std::{collections::BTreeMap, ops::ControlFlow};

use daywise_core::{
    block,
    reading::{Sample, SensorIx},
    time::{LocalDate, UtcMillis},
};

use super::{
    DayReading, State, Store, StoreError,
    disk::Changes,
    journal::{self, midnight},
    keys,
    records::{Damage, MAX_PAYLOAD_BYTES, seal, unseal},
};

/// A block record grows up to this by being rewritten; then a new one is begun. Larger means
/// fewer records in all and more bytes rewritten at each fold.
const BLOCK_TARGET_BYTES: usize = 1024;
/// Readings folded in one atomic batch, about; bounds the memory of a fold.
const FOLD_READINGS: usize = 65_536;
/// Journal records folded in one atomic batch at the most.
const FOLD_RECORDS: usize = 4096;

/// What a fold did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Journal records that are gone now.
    pub records: u64,
    /// Readings that moved into blocks.
    pub readings: u64,
}

/// Whether a reading is held already, asked of [`Store::look_up`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Question {
    /// The day.
    pub date: LocalDate,
    /// The sensor.
    pub sensor: SensorIx,
    /// The instant.
    pub at: UtcMillis,
    /// The answer: the value that arrived first for that instant.
    pub held: Option<f64>,
    /// And how many samples are held of that sensor-day.
    pub samples: u32,
}

impl Question {
    /// A question that has not been asked.
    #[must_use]
    pub fn new(date: LocalDate, sensor: SensorIx, at: UtcMillis) -> Self {
        Self { date, sensor, at, held: None, samples: 0 }
    }

    fn sensor_day(&self) -> (LocalDate, SensorIx) {
        (self.date, self.sensor)
    }
}

/// Gives the answer to all questions of one sensor-day, sorted by instant, that a sample holds.
fn answer(questions: &mut [Question], sample: Sample) {
    let from = questions.partition_point(|question| question.at < sample.at);
    let rest = questions.get_mut(from..).unwrap_or_default();
    for question in rest.iter_mut().take_while(|question| question.at == sample.at) {
        question.held.get_or_insert(sample.value);
    }
    for question in questions {
        question.samples = question.samples.saturating_add(1);
    }
}

impl Store {
    /// Answers questions in any order, in one pass over the sensor-days and the journal; they
    /// come back by sensor-day and instant.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn look_up(&self, questions: &mut [Question]) -> Result<(), StoreError> {
        questions.sort_by_key(|question| (question.sensor_day(), question.at));
        let state = self.state();
        for group in questions.chunk_by_mut(|a, b| a.sensor_day() == b.sensor_day()) {
            let Some((date, sensor)) = group.first().map(Question::sensor_day) else { continue };
            self.disk.scan(keys::blocks_of(date, sensor), |key, record| {
                let samples = self.sound(key, block_samples(date, key, record));
                samples.into_iter().flatten().for_each(|sample| answer(group, sample));
                ControlFlow::Continue(())
            })?;
        }
        if state.journal_records == 0 || questions.is_empty() {
            return Ok(());
        }
        self.disk.scan(keys::all_journal(), |key, record| {
            for (date, sensor, sample) in self.journal_readings(key, record) {
                let place = (date, sensor);
                let from = questions.partition_point(|question| question.sensor_day() < place);
                let rest = questions.get_mut(from..).unwrap_or_default();
                let count = rest.partition_point(|question| question.sensor_day() == place);
                answer(rest.get_mut(..count).unwrap_or_default(), sample);
            }
            ControlFlow::Continue(())
        })
    }

    /// Moves all readings from the journal into the blocks of their sensor-days, in atomic
    /// batches: a reading is always in exactly one of the two.
    ///
    /// # Errors
    /// The disk refuses; batches that were made stay.
    pub fn fold(&self) -> Result<Folded, StoreError> {
        let mut state = self.state();
        let mut folded = Folded::default();
        loop {
            let (records, readings) = self.fold_batch(&mut state)?;
            if records == 0 {
                return Ok(folded);
            }
            folded.records += records;
            folded.readings += readings;
        }
    }

    fn fold_batch(&self, state: &mut State) -> Result<(u64, u64), StoreError> {
        let mut changes = Changes::default();
        let mut groups: BTreeMap<(LocalDate, SensorIx), Vec<Sample>> = BTreeMap::new();
        let (mut records, mut readings, mut bytes) = (0, 0, 0_u64);
        self.disk.scan(keys::all_journal(), |key, record| {
            // A damaged one goes too: there is nothing to be had from it, ever.
            for (date, sensor, sample) in self.journal_readings(key, record) {
                groups.entry((date, sensor)).or_default().push(sample);
                readings += 1;
            }
            changes.remove(key.to_vec());
            records += 1;
            bytes += record.len() as u64;
            if readings < FOLD_READINGS && records < FOLD_RECORDS {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        for ((date, sensor), samples) in groups {
            self.add_to_blocks(&mut changes, date, sensor, samples)?;
        }
        self.disk.write(changes)?;
        state.journal_records = state.journal_records.saturating_sub(records as u64);
        state.journal_bytes = state.journal_bytes.saturating_sub(bytes);
        Ok((records as u64, readings as u64))
    }

    /// Extends the last block of the sensor-day, or begins the next.
    fn add_to_blocks(
        &self,
        changes: &mut Changes,
        date: LocalDate,
        sensor: SensorIx,
        mut samples: Vec<Sample>,
    ) -> Result<(), StoreError> {
        let mut n = 0;
        if let Some((key, record)) = self.disk.last(keys::blocks_of(date, sensor))? {
            n = keys::block_number(&key).unwrap_or(0);
            match self.sound(&key, block_samples(date, &key, &record)) {
                Some(mut held) if record.len() < BLOCK_TARGET_BYTES => {
                    held.append(&mut samples);
                    samples = held;
                }
                _ => n = n.saturating_add(1),
            }
        }
        let mut payloads = Vec::new();
        split(&mut payloads, date, &samples);
        for payload in payloads {
            let key = keys::block(date, sensor, n);
            let record = seal("samples", &key, &payload)?;
            changes.put(key, record);
            n = n.saturating_add(1);
        }
        Ok(())
    }

    /// Shows all readings of open days, each sensor's in the order they arrived.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn restore(
        &self,
        visit: &mut dyn FnMut(LocalDate, SensorIx, Sample),
    ) -> Result<(), StoreError> {
        let open: Vec<LocalDate> = self.open_days().iter().map(|day| day.date).collect();
        for &date in &open {
            self.disk.scan(keys::blocks_of_date(date), |key, record| {
                if let Some((date, sensor)) = keys::date_and_sensor(key)
                    && let Some(samples) = self.sound(key, block_samples(date, key, record))
                {
                    samples.into_iter().for_each(|sample| visit(date, sensor, sample));
                }
                ControlFlow::Continue(())
            })?;
        }
        self.disk.scan(keys::all_journal(), |key, record| {
            for (date, sensor, sample) in self.journal_readings(key, record) {
                if open.contains(&date) {
                    visit(date, sensor, sample);
                }
            }
            ControlFlow::Continue(())
        })
    }

    /// All samples of one sensor-day in the order they arrived. Reads the whole journal too, so
    /// fold before asking for many.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn chunk(&self, date: LocalDate, sensor: SensorIx) -> Result<Vec<Sample>, StoreError> {
        let state = self.state();
        let mut samples = Vec::new();
        self.disk.scan(keys::blocks_of(date, sensor), |key, record| {
            let block = self.sound(key, block_samples(date, key, record));
            samples.extend(block.into_iter().flatten());
            ControlFlow::Continue(())
        })?;
        if state.journal_records > 0 {
            self.disk.scan(keys::all_journal(), |key, record| {
                let readings = self.journal_readings(key, record).into_iter();
                let of_day = readings.filter(|&(d, s, _)| (d, s) == (date, sensor));
                samples.extend(of_day.map(|(_, _, sample)| sample));
                ControlFlow::Continue(())
            })?;
        }
        Ok(samples)
    }

    /// The sensors with readings on `date`, by number.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn sensors_of(&self, date: LocalDate) -> Result<Vec<SensorIx>, StoreError> {
        let state = self.state();
        self.sensors_with_readings(&state, date)
    }

    pub(super) fn sensors_with_readings(
        &self,
        state: &State,
        date: LocalDate,
    ) -> Result<Vec<SensorIx>, StoreError> {
        let mut sensors = Vec::new();
        let mut range = Some(keys::blocks_of_date(date));
        // Jumps from sensor to sensor instead of reading all blocks of all.
        while let Some(here) = range.take() {
            self.disk.scan(here, |key, _| {
                if let Some((_, sensor)) = keys::date_and_sensor(key) {
                    sensors.push(sensor);
                    let next = sensor.0.checked_add(1).map(SensorIx);
                    range = next.map(|next| keys::blocks_of_date_from(date, next));
                }
                ControlFlow::Break(())
            })?;
        }
        if state.journal_records > 0 {
            self.disk.scan(keys::all_journal(), |key, record| {
                let readings = self.journal_readings(key, record).into_iter();
                sensors.extend(readings.filter(|r| r.0 == date).map(|(_, sensor, _)| sensor));
                ControlFlow::Continue(())
            })?;
        }
        sensors.sort_unstable();
        sensors.dedup();
        Ok(sensors)
    }

    fn journal_readings(&self, key: &[u8], record: &[u8]) -> Vec<DayReading> {
        let readings = unseal(key, record)
            .and_then(|payload| journal::decode(payload).map_err(|_| Damage::Content));
        self.sound(key, readings).unwrap_or_default()
    }
}

fn block_samples(date: LocalDate, key: &[u8], record: &[u8]) -> Result<Vec<Sample>, Damage> {
    block::decode(midnight(date), unseal(key, record)?).map_err(|_| Damage::Content)
}

/// Encodes `samples` into as many payloads as their size asks for.
fn split(payloads: &mut Vec<Vec<u8>>, date: LocalDate, samples: &[Sample]) {
    let payload = block::encode(midnight(date), samples);
    if payload.len() <= MAX_PAYLOAD_BYTES / 2 || samples.len() < 2 {
        payloads.push(payload);
    } else {
        let (before, after) = samples.split_at(samples.len() / 2);
        split(payloads, date, before);
        split(payloads, date, after);
    }
}
