//! What is made of a sensor's day when it closes: features, prediction, verdict.

use crate::{
    baseline::{Baseline, Verdict, day_score},
    chunk::Chunk,
    features::Features,
    model::Model,
    predict::Prediction,
    quantity::Quantity,
};

/// A closed sensor-day.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosedDay {
    /// Its features.
    pub features: Features,
    /// What the model says of it, where it knows such sensors.
    pub prediction: Option<Prediction>,
    /// What the sensor's own days say of it, once enough of them are known.
    pub verdict: Option<Verdict>,
    /// Both in one number, 0 to 1, where there is one of them.
    pub score: Option<f32>,
    /// Whether the baseline has learnt it.
    pub is_learnt: bool,
}

impl ClosedDay {
    /// Makes of a day and its features what there is to make; the baseline learns it, unless it has
    /// learnt it or a later one before. The chunk is of what is learnt of the quantity.
    #[must_use]
    pub fn new(
        chunk: &Chunk,
        features: Features,
        quantity: Quantity,
        baseline: &mut Baseline,
        model: Option<&Model>,
    ) -> Self {
        let family = model.and_then(|model| Some((model, model.family(quantity, features.set())?)));
        let prediction = family.map(|(model, family)| family.predict(&features, model.version));
        let (verdict, is_learnt) = baseline.take(chunk, &features);
        let novelty = prediction.as_ref().map(|prediction| prediction.novelty);
        let score = day_score(verdict.as_ref(), novelty);
        Self { features, prediction, verdict, score, is_learnt }
    }
}
