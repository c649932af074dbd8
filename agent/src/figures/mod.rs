//! Each sensor's figures as they are now, for whoever asks: the newest reading, its live score, the
//! last closed day. The pipeline keeps them up to date; nothing here is stored.

mod influx;
mod prometheus;
pub(crate) mod words;

use std::sync::{Mutex, MutexGuard, PoisonError};

use daywise_core::{
    baseline::{Drift, Reason},
    features::{FeatureSet, Features},
    quantity::Quantity,
    reading::{Sample, SensorIx},
    time::{LocalDate, LocalDay, UtcMillis},
};

use crate::{home_assistant::DayEvidence, store::DayRecord};

/// One sensor's figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its id.
    pub id: String,
    /// What it measures.
    pub quantity: Quantity,
    /// The newest reading, by its own time.
    pub last: Option<Sample>,
    /// Its live score, 0 to 1.
    pub score: Option<f32>,
    /// When it was last heard, if it has fallen silent.
    pub silent_since: Option<UtcMillis>,
    /// The last closed day.
    pub day: Option<LastDay>,
}

/// What there is to tell of a closed day.
#[derive(Clone, Debug, PartialEq)]
pub struct LastDay {
    /// Which one.
    pub date: LocalDate,
    /// When it began.
    pub start: UtcMillis,
    /// From 1; one more each time late readings changed it.
    pub revision: u32,
    /// Distinct readings.
    pub samples: u32,
    /// What the model says; nothing without a model, or of too few readings.
    pub prediction: Option<Said>,
    /// How far from the sensor's own usual days.
    pub deviation: Option<f32>,
    /// How unusual, 0 to 1: by the sensor's own days and by the model.
    pub score: Option<f32>,
    /// What its features are.
    pub set: FeatureSet,
    /// Those that set it apart most from the nearest kind of day, at most three.
    pub top: Vec<Part>,
    /// What sets it apart from the sensor's own days.
    pub reasons: Vec<Reason>,
    /// What drifts most.
    pub drift: Option<Drift>,
}

/// What the model says of a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// The nearest kind of day.
    pub cluster: u16,
    /// The share of known days that lie closer, 0 to 1.
    pub novelty: f32,
    /// Which model said so.
    pub model_version: u32,
}

/// A feature's part in what sets a day apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Its place in the feature set.
    pub feature: u8,
    /// Its difference from days of that kind, in scaled units, signed.
    pub deviation: f32,
    /// Its value.
    pub value: Option<f32>,
    /// What it usually is for this sensor.
    pub usual: Option<f32>,
}

impl LastDay {
    /// Of a day's results; `usual` tells what each feature usually is.
    #[must_use]
    pub fn new(day: &LocalDay, record: &DayRecord, usual: impl Fn(usize) -> Option<f32>) -> Self {
        let (features, prediction) = (record.features.as_ref(), record.prediction.as_ref());
        let part = |part: &daywise_core::predict::Contribution| {
            let place = usize::from(part.feature);
            Part {
                feature: part.feature,
                deviation: part.deviation,
                value: features.and_then(|features| features.get(place)),
                usual: usual(place),
            }
        };
        Self {
            date: day.date,
            start: day.start,
            revision: record.revision,
            samples: record.samples,
            prediction: prediction.map(|said| Said {
                cluster: said.cluster,
                novelty: said.novelty,
                model_version: said.model_version,
            }),
            deviation: record.deviation,
            score: record.score,
            set: features.map(Features::set).unwrap_or_default(),
            top: prediction.map(|said| said.top.iter().map(part).collect()).unwrap_or_default(),
            reasons: record.reasons.to_vec(),
            drift: record.drift,
        }
    }

    /// What sets the day apart, in words: from the sensor's own days or, where these are not known,
    /// from the nearest kind of day.
    #[must_use]
    pub fn in_words(&self, quantity: Quantity) -> Vec<String> {
        let reasons = self.reasons.iter().map(|one| words::reason(one, self.set, quantity));
        let mut said: Vec<String> = reasons.collect();
        if self.deviation.is_none() {
            said.extend(self.top.iter().map(|part| words::describe(part, self.set, quantity)));
        }
        said
    }
}

/// All sensors' figures, by their number; shared.
#[derive(Debug)]
pub struct Figures {
    max_sensors: usize,
    list: Mutex<Vec<Option<Figure>>>,
}

impl Figures {
    /// Nobody's yet, and never more than so many.
    #[must_use]
    pub fn new(max_sensors: usize) -> Self {
        Self { max_sensors, list: Mutex::default() }
    }

    /// Notes how a sensor is now; its last day stays.
    pub fn update(
        &self,
        sensor: SensorIx,
        (id, quantity): (&str, Quantity),
        now: (Option<Sample>, Option<f32>, Option<UtcMillis>),
    ) {
        let place = sensor.place();
        let mut list = self.list();
        if place >= list.len() && place < self.max_sensors {
            list.resize(place + 1, None);
        }
        let Some(held) = list.get_mut(place) else { return };
        let new = || Figure {
            id: id.to_owned(),
            quantity,
            last: None,
            score: None,
            silent_since: None,
            day: None,
        };
        let figure = held.get_or_insert_with(new);
        figure.quantity = quantity;
        (figure.last, figure.score, figure.silent_since) = now;
    }

    /// Notes a sensor's closed day, unless a later one is known; says whether it did.
    pub fn close_day(&self, sensor: SensorIx, day: LastDay) -> bool {
        let mut list = self.list();
        let place = sensor.place();
        let Some(Some(figure)) = list.get_mut(place) else { return false };
        if figure.day.as_ref().is_some_and(|held| held.date > day.date) {
            return false;
        }
        figure.day = Some(day);
        true
    }

    /// A sensor's figures.
    #[must_use]
    pub fn get(&self, sensor: SensorIx) -> Option<Figure> {
        self.list().get(usize::try_from(sensor.0).ok()?)?.clone()
    }

    /// What a sensor's last day is judged by.
    #[must_use]
    pub fn last_day(&self, sensor: SensorIx) -> Option<DayEvidence> {
        let list = self.list();
        let day = list.get(usize::try_from(sensor.0).ok()?)?.as_ref()?.day.as_ref()?;
        Some(DayEvidence {
            start: day.start,
            novelty: day.prediction.map(|said| said.novelty),
            score: day.score,
            drift: day.drift.map(|drift| drift.drift),
        })
    }

    /// In the Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn to_prometheus(&self, gateway: &str) -> String {
        prometheus::write(gateway, &self.all())
    }

    /// In Influx line protocol, with times in nanoseconds.
    #[must_use]
    pub fn to_influx(&self, gateway: &str) -> String {
        influx::write(gateway, &self.all())
    }

    /// A copy: the pipeline is not to wait for whoever asks.
    fn all(&self) -> Vec<Figure> {
        self.list().iter().flatten().cloned().collect()
    }

    fn list(&self) -> MutexGuard<'_, Vec<Option<Figure>>> {
        // Whoever panicked left a figure more or less.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn figure(id: &str) -> Figure {
        Figure {
            id: id.into(),
            quantity: Quantity::Temperature,
            last: Some(Sample { at: UtcMillis(1_715_335_200_500), value: 21.5 }),
            score: Some(0.3),
            silent_since: None,
            day: Some(day(LocalDate(19_853), Some(0.5))),
        }
    }

    pub(super) fn day(date: LocalDate, novelty: Option<f32>) -> LastDay {
        LastDay {
            date,
            start: LocalDay::utc(date).start,
            revision: 1,
            samples: 2,
            prediction: novelty.map(|novelty| Said { cluster: 4, novelty, model_version: 7 }),
            deviation: Some(1.5),
            score: Some(0.4),
            set: FeatureSet::Profile1,
            top: Vec::new(),
            reasons: Vec::new(),
            drift: Some(Drift { drift: 0.7, feature: 24, per_day: 0.1, ends: None }),
        }
    }

    #[test]
    fn there_are_never_more_than_sensors_allowed() {
        let figures = Figures::new(3);
        for number in 0..10 {
            let id = format!("s{number}");
            figures.update(SensorIx(number), (&id, Quantity::Generic), (None, None, None));
        }
        assert_eq!(figures.all().len(), 3);
        assert_eq!(figures.get(SensorIx(3)), None);
        assert!(!figures.close_day(SensorIx(3), day(LocalDate(0), None)));
    }

    #[test]
    fn a_revision_of_an_earlier_day_is_not_the_last_day() {
        let (figures, sensor) = (Figures::new(3), SensorIx(1));
        figures.update(sensor, ("a", Quantity::Generic), (None, None, None));
        assert!(figures.close_day(sensor, day(LocalDate(5), Some(0.5))));
        assert!(!figures.close_day(sensor, day(LocalDate(4), Some(0.9))));
        assert_eq!(figures.last_day(sensor).unwrap().novelty, Some(0.5));
        assert!(figures.close_day(sensor, day(LocalDate(5), Some(0.7))), "a revision of it is");
        figures.update(sensor, ("a", Quantity::Generic), (None, Some(0.1), None));
        assert_eq!(figures.get(sensor).unwrap().day.unwrap().prediction.unwrap().novelty, 0.7);
    }
}
