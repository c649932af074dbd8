//! What the demo says at its end: a page for people, an object for machines.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value, json};

use super::findings::{FaultOutcome, Unusual, short};

/// How many sensors the page names as unusual.
const SHOWN_UNUSUAL: usize = 10;
/// How many sensor-days the object names as unusual.
const LISTED_UNUSUAL: usize = 200;
/// How many clusters of a family the page draws.
const SHOWN_CLUSTERS: usize = 8;

/// All that is reported.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) source: String,
    pub(super) days: usize,
    pub(super) first_day: String,
    pub(super) last_day: String,
    pub(super) readings: u64,
    /// Rows of the file that are no readings and were not sent.
    pub(super) rows_left_out: u64,
    pub(super) accepted: u64,
    pub(super) refused: Map<String, Value>,
    pub(super) sensors: u64,
    pub(super) sensor_days: u64,
    pub(super) gateways: u64,
    pub(super) predictions: u64,
    /// The registry's entries, oldest first, clusters included.
    pub(super) models: Vec<Value>,
    pub(super) update: String,
    pub(super) ranking: Vec<Unusual>,
    pub(super) looked_through: usize,
    pub(super) faults: Vec<FaultOutcome>,
    pub(super) rss_kb: u64,
    pub(super) peak_rss_kb: u64,
    pub(super) readings_per_s: f64,
    pub(super) seconds: f64,
}

impl Report {
    /// Why the figures do not add up, if they do not.
    pub(super) fn imbalance(&self) -> Option<String> {
        let refused: u64 = self.refused.values().filter_map(Value::as_u64).sum();
        (self.accepted + refused != self.readings).then(|| {
            format!(
                "{} readings were sent, but {} were accepted and {refused} refused",
                self.readings, self.accepted
            )
        })
    }

    /// The object for machines.
    pub(super) fn to_json(&self) -> Value {
        let lineage = self.models.iter().map(|model| {
            let of = |key: &str| model.get(key).cloned().unwrap_or(Value::Null);
            json!({
                "version": of("version"), "parent": of("parent"), "status": of("status"),
                "sensor_days": of("sensor_days"), "inertia": of("inertia"),
                "window_from": of("window_from"), "window_to": of("window_to"),
            })
        });
        let found = self.faults.iter().filter(|fault| fault.found).count();
        json!({
            "source": self.source,
            "days": self.days,
            "readings": self.readings,
            "rows_left_out": self.rows_left_out,
            "accepted": self.accepted,
            "refused": self.refused,
            "sensors": self.sensors,
            "sensor_days": self.sensor_days,
            "gateways": self.gateways,
            "model_versions": self.models.len(),
            "lineage": lineage.collect::<Vec<_>>(),
            "update": self.update,
            "predictions": self.predictions,
            "faults_planted": self.faults.len(),
            "faults_found": found,
            "faults": self.faults,
            "looked_through": self.looked_through,
            "unusual": self.ranking.iter().take(LISTED_UNUSUAL).collect::<Vec<_>>(),
            "agent_rss_kb": self.rss_kb,
            "agent_peak_rss_kb": self.peak_rss_kb,
            "readings_per_s": self.readings_per_s,
            "seconds": self.seconds,
        })
    }

    /// The page for people.
    pub(super) fn to_text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        self.write(&mut text)?;
        Ok(text)
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let refused: u64 = self.refused.values().filter_map(Value::as_u64).sum();
        writeln!(out, "\nDaywise, the whole loop on {}\n", self.source)?;
        writeln!(out, "Days       {} ({} to {})", self.days, self.first_day, self.last_day)?;
        writeln!(
            out,
            "Readings   {} sent = {} accepted + {refused} refused{}",
            grouped(self.readings),
            grouped(self.accepted),
            by_reason(&self.refused)
        )?;
        if self.rows_left_out > 0 {
            writeln!(out, "           {} bad rows of the file were not sent", self.rows_left_out)?;
        }
        writeln!(
            out,
            "Days seen  {} sensor-days of {} sensors, {} predictions by the gateway",
            grouped(self.sensor_days),
            self.sensors,
            grouped(self.predictions)
        )?;
        writeln!(
            out,
            "Speed      {} readings/s through broker and agent, {:.0} s in all",
            grouped(whole(self.readings_per_s)),
            self.seconds
        )?;
        writeln!(
            out,
            "Memory     agent {:.1} MB now, {:.1} MB at most",
            megabytes(self.rss_kb),
            megabytes(self.peak_rss_kb)
        )?;
        self.write_models(out)?;
        self.write_clusters(out)?;
        self.write_unusual(out)?;
        self.write_faults(out)
    }

    fn write_models(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\nModels")?;
        for model in &self.models {
            let text = |key: &str| plain(model.get(key));
            let parent = match model.get("parent") {
                Some(Value::Null) | None => "first training".into(),
                Some(parent) => format!("continues v{parent}"),
            };
            writeln!(
                out,
                "  v{}  {parent}, {} sensor-days up to {}, {}",
                text("version"),
                text("sensor_days"),
                text("window_to"),
                text("status")
            )?;
        }
        writeln!(out, "  the gateway's last update: {}", self.update)
    }

    fn write_clusters(&self, out: &mut String) -> std::fmt::Result {
        let Some(model) = self.models.last() else { return Ok(()) };
        let families = model.get("families").and_then(Value::as_array);
        writeln!(
            out,
            "\nKinds of day in v{}: sensor-days, the day from 0 to 24 h, its range",
            plain(model.get("version"))
        )?;
        for family in families.into_iter().flatten() {
            writeln!(out, "  {}", plain(family.get("quantity")))?;
            for (size, cluster) in clusters(family).into_iter().take(SHOWN_CLUSTERS) {
                let hours: Vec<f64> =
                    numbers(cluster.get("centroid")).into_iter().take(24).collect();
                let (low, high) = range(&hours);
                writeln!(
                    out,
                    "    {size:>5}  {}  {} to {}",
                    sparkline(&hours),
                    short(low),
                    short(high)
                )?;
            }
        }
        Ok(())
    }

    fn write_unusual(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\nMost unusual (score: times as far out as the median day of its quantity)"
        )?;
        for sensor in by_sensor(&self.ranking, LISTED_UNUSUAL).into_iter().take(SHOWN_UNUSUAL) {
            let Some(worst) = sensor.first() else { continue };
            let more = sensor.len() - 1;
            let others =
                if more == 0 { String::new() } else { format!(" and {more} more of its days") };
            writeln!(
                out,
                "  {:>3}. {}  {}{others}  score {}, novelty {}",
                worst.rank,
                worst.sensor,
                worst.day,
                // Beyond that it says how constant the sensor was, not how odd the day is.
                if worst.score > 100.0 { "over 100".into() } else { format!("{:.1}", worst.score) },
                worst.novelty.map_or("unknown".into(), |novelty| format!("{novelty:.3}"))
            )?;
            for reason in &worst.why {
                writeln!(out, "         {reason}")?;
            }
        }
        Ok(())
    }

    fn write_faults(&self, out: &mut String) -> std::fmt::Result {
        if self.faults.is_empty() {
            return Ok(());
        }
        let found = self.faults.iter().filter(|fault| fault.found).count();
        writeln!(
            out,
            "\nPlanted faults: {found} of {} found (among the {} most unusual sensor-days)",
            self.faults.len(),
            self.looked_through
        )?;
        for fault in &self.faults {
            let word = if fault.found { "found " } else { "MISSED" };
            let rank = fault.rank.map_or("not judged".into(), |rank| format!("rank {rank}"));
            let days = fault.days.join(", ");
            writeln!(out, "  {word}  {rank:>10}  {}  {}  ({days})", fault.sensor, fault.kind)?;
        }
        Ok(())
    }
}

/// Clusters with their sizes, the largest first.
fn clusters(family: &Value) -> Vec<(u64, &Value)> {
    let sizes = family.get("cluster_sizes").and_then(Value::as_array);
    let sizes = sizes.into_iter().flatten().map(|size| size.as_u64().unwrap_or(0));
    let clusters = family.get("clusters").and_then(Value::as_array);
    let mut both: Vec<(u64, &Value)> = sizes.zip(clusters.into_iter().flatten()).collect();
    both.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    both
}

/// The first `count` of the ranking by sensor, in the order of each sensor's worst day.
fn by_sensor(ranking: &[Unusual], count: usize) -> Vec<Vec<&Unusual>> {
    let mut places = BTreeMap::new();
    let mut sensors: Vec<Vec<&Unusual>> = Vec::new();
    for day in ranking.iter().take(count).filter(|day| day.score >= 2.0) {
        let place = *places.entry(&day.sensor).or_insert_with(|| {
            sensors.push(Vec::new());
            sensors.len() - 1
        });
        if let Some(days) = sensors.get_mut(place) {
            days.push(day);
        }
    }
    sensors
}

/// One block character for each value, from the lowest to the highest of them.
fn sparkline(values: &[f64]) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (low, high) = range(values);
    let block = |value: &f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of seven"
        )]
        let place = (share * 7.0).round() as usize;
        BLOCKS.get(place).copied().unwrap_or(' ')
    };
    values.iter().map(block).collect()
}

fn range(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() { (0.0, 0.0) } else { (low, high) }
}

fn numbers(value: Option<&Value>) -> Vec<f64> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn plain(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "?".into(),
    }
}

fn by_reason(refused: &Map<String, Value>) -> String {
    let reasons: Vec<String> = refused
        .iter()
        .map(|(reason, count)| format!("{count} {}", reason.replace('_', " ")))
        .collect();
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) }
}

/// A number with its thousands set apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn megabytes(kb: u64) -> f64 {
    kb as f64 / 1_024.0
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, not negative")]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_drawn_from_its_lowest_to_its_highest_hour() {
        assert_eq!(sparkline(&[1.0, 2.0, 8.0, 1.0]), "▁▂█▁");
        assert_eq!(sparkline(&[5.0, 5.0]), "▁▁", "a level day");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
    }

    #[test]
    fn readings_that_got_lost_are_noticed() {
        let mut report = Report {
            source: String::new(),
            days: 1,
            first_day: String::new(),
            last_day: String::new(),
            readings: 10,
            rows_left_out: 0,
            accepted: 7,
            refused: Map::from_iter([
                ("duplicate".to_owned(), json!(2)),
                ("sentinel".to_owned(), json!(1)),
            ]),
            sensors: 1,
            sensor_days: 1,
            gateways: 1,
            predictions: 0,
            models: Vec::new(),
            update: String::new(),
            ranking: Vec::new(),
            looked_through: 0,
            faults: Vec::new(),
            rss_kb: 0,
            peak_rss_kb: 0,
            readings_per_s: 0.0,
            seconds: 0.0,
        };
        assert_eq!(report.imbalance(), None);
        report.accepted = 6;
        assert!(report.imbalance().is_some());
    }
}
