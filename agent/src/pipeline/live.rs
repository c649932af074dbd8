//! The live score on the local topics, at most every so often per sensor.

use std::time::{Duration, Instant};

use daywise_core::reading::SensorIx;
use rumqttc::QoS;
use serde_json::json;

use super::Pipeline;

/// Which sensors have news since the last round.
#[derive(Debug)]
pub(super) struct Live {
    every: Duration,
    next: Instant,
    changed: Vec<bool>,
}

impl Live {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, next: Instant::now() + every, changed: Vec::new() }
    }

    pub(super) fn changed(&mut self, sensor: SensorIx) {
        let place = sensor.place();
        if place >= self.changed.len() && place < usize::MAX {
            self.changed.resize(place + 1, false);
        }
        if let Some(changed) = self.changed.get_mut(place) {
            *changed = true;
        }
    }

    /// The sensors with news, when a round is due.
    fn due(&mut self, now: Instant) -> Vec<SensorIx> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + self.every;
        let numbered = (0_u32..).zip(&mut self.changed);
        numbered
            .filter_map(|(number, changed)| std::mem::take(changed).then_some(SensorIx(number)))
            .collect()
    }
}

impl Pipeline {
    /// Publishes `…/live` of every sensor with news, when a round is due.
    pub(super) fn publish_live(&mut self) {
        for sensor in self.live.due(Instant::now()) {
            self.note_figure(sensor);
            let Some((id, quantity)) = self.intake.routes.describe(sensor) else { continue };
            let Some(state) = self.intake.collector.sensor(sensor) else { continue };
            let Some(last) = state.last else { continue };
            let today = state.today();
            let figures = today.filter(|day| day.measured > 0);
            let message = json!({
                "sensor": id,
                "quantity": quantity.name(),
                "unit": quantity.unit(),
                "ts": last.at.to_string(),
                "value": last.value,
                "score": state.live_score,
                "day": today.map(|day| day.date.to_string()),
                "samples": today.map(|day| day.samples),
                "mean": figures.map(|day| day.mean),
                "min": figures.map(|day| day.min),
                "max": figures.map(|day| day.max),
                "silent": state.silent_since().is_some(),
                "silent_since": state.silent_since().map(|since| since.to_string()),
            });
            let topic = format!("{}/{}/{id}/live", self.output_prefix, self.gateway);
            self.links.outputs.publish(
                topic,
                message.to_string().into_bytes(),
                QoS::AtMostOnce,
                true,
            );
        }
    }
}
