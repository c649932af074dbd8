//! A day's features in words.

use daywise_core::{
    baseline::{Drift, Reason, Subject},
    features::FeatureSet,
    quantity::Quantity,
};

use super::Part;

/// What a feature is, and its unit where it is not the quantity's.
enum Feature {
    /// A mean of that hour of the wall clock.
    Hour(u8),
    /// In the quantity's unit.
    Value(&'static str),
    /// A share, 0 to 1.
    Share(&'static str),
}

fn feature(name: &'static str) -> Feature {
    if let Some(hour) = name.strip_prefix("hour_").and_then(|hour| hour.parse().ok()) {
        return Feature::Hour(hour);
    }
    match name {
        "mean" | "daily_mean" => Feature::Value("mean"),
        "std" | "daily_std" => Feature::Value("spread"),
        "min" => Feature::Value("lowest value"),
        "q10" => Feature::Value("low values (10th percentile)"),
        "q50" => Feature::Value("median"),
        "q90" => Feature::Value("high values (90th percentile)"),
        "max" => Feature::Value("highest value"),
        "mean_abs_step" => Feature::Value("mean step between readings"),
        "max_abs_step" => Feature::Value("largest step between readings"),
        "repeat_share" => Feature::Share("share of repeated values"),
        "day_coverage" => Feature::Share("share of the day with readings"),
        "longest_gap" => Feature::Share("longest gap, as a share of the day"),
        other => Feature::Value(other),
    }
}

/// How a feature sets a day apart, such as `mean from 03:00 to 04:00 higher: 24.1 °C, usually
/// 20.3 °C`.
pub(crate) fn describe(part: &Part, set: FeatureSet, quantity: Quantity) -> String {
    let name = set.feature_names().get(usize::from(part.feature)).copied().unwrap_or("unknown");
    let feature = feature(name);
    let what = match feature {
        Feature::Hour(hour) => format!("mean from {hour:02}:00 to {:02}:00", hour + 1),
        Feature::Value(what) | Feature::Share(what) => what.to_owned(),
    };
    let number = |value: f32| match feature {
        Feature::Share(_) => format!("{} %", short(value * 100.0)),
        Feature::Hour(_) | Feature::Value(_) => {
            format!("{} {}", short(value), learnt_unit(quantity)).trim_end().to_owned()
        }
    };
    let direction = if part.deviation < 0.0 { "lower" } else { "higher" };
    let value = part.value.map(|value| format!(": {}", number(value))).unwrap_or_default();
    let usual = part.usual.map(|usual| format!(", usually {}", number(usual))).unwrap_or_default();
    format!("{what} {direction}{value}{usual}")
}

/// A reason in words, such as `night 3.1 °C warmer than usual` or `14 % fewer readings than usual`.
pub(crate) fn reason(reason: &Reason, set: FeatureSet, quantity: Quantity) -> String {
    let difference = reason.value - reason.usual;
    let unit = learnt_unit(quantity);
    let by = |difference: f32| format!("{} {unit}", about(difference.abs())).trim_end().to_owned();
    let direction = match (quantity, difference < 0.0) {
        (Quantity::Temperature, true) => "colder",
        (Quantity::Temperature, false) => "warmer",
        (_, true) => "lower",
        (_, false) => "higher",
    };
    let name = reason.subject.name(set);
    if let Subject::Part(_) = reason.subject {
        return format!("{name} {} {direction} than usual", by(difference));
    }
    let more = if difference < 0.0 { "less" } else { "more" };
    match (name, feature(name)) {
        ("day_coverage", _) => {
            let fewer = if difference < 0.0 { "fewer" } else { "more" };
            format!("{} % {fewer} readings than usual", about(100.0 * difference.abs()))
        }
        ("longest_gap", _) => {
            let hours = |share: f32| format!("{} h", about(24.0 * share));
            format!("longest gap {}, usually {}", hours(reason.value), hours(reason.usual))
        }
        ("repeat_share", _) => {
            format!("{} % {more} repeated values than usual", about(100.0 * difference.abs()))
        }
        ("std" | "daily_std" | "mean_abs_step" | "max_abs_step", Feature::Value(what)) => {
            let compared = if difference < 0.0 { "smaller" } else { "larger" };
            let times = match reason.usual.abs() {
                usual if usual > 0.0 && reason.value > 0.0 => {
                    let ratio = (reason.value / usual).max(usual / reason.value);
                    format!("{} times ", about(ratio))
                }
                _ => String::new(),
            };
            format!("{what} {times}{compared} than usual")
        }
        (_, Feature::Value(what) | Feature::Share(what)) => {
            format!("{what} {} {direction} than usual", by(difference))
        }
        (_, Feature::Hour(hour)) => {
            format!("{hour:02}:00 {} {direction} than usual", by(difference))
        }
    }
}

/// A drift in words, such as `mean falls by 0.014 V a day, out of its range about 2024-03-20`.
pub(crate) fn drift(drift: &Drift, set: FeatureSet, quantity: Quantity) -> String {
    let name = Subject::Feature(drift.feature).name(set);
    let what = match feature(name) {
        Feature::Value(what) | Feature::Share(what) => what,
        Feature::Hour(_) => name,
    };
    let direction = if drift.per_day < 0.0 { "falls" } else { "rises" };
    let by = match feature(name) {
        Feature::Share(_) => format!("{} %", about(100.0 * drift.per_day.abs())),
        _ => format!("{} {}", about(drift.per_day.abs()), learnt_unit(quantity))
            .trim_end()
            .to_owned(),
    };
    let ends = drift.ends.map(|date| format!(", out of its range about {date}"));
    format!("{what} {direction} by {by} a day{}", ends.unwrap_or_default())
}

/// A difference, in two or so significant digits.
fn about(size: f32) -> String {
    let digits = match size {
        size if size < 0.001 => 5,
        size if size < 0.01 => 4,
        size if size < 0.1 => 3,
        size if size < 1.0 => 2,
        size if size < 10.0 => 1,
        _ => 0,
    };
    format!("{size:.digits$}")
}

/// Three or so significant digits.
fn short(value: f32) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        size if size < 0.1 => 4,
        size if size < 10.0 => 2,
        size if size < 1_000.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

/// The unit of a day's features: of a counter it is learnt how fast it runs.
fn learnt_unit(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::EnergyTotal => "W",
        Quantity::VolumeTotal => "L/min",
        Quantity::CountTotal => "/h",
        other => unit(other),
    }
}

/// The unit as people write it.
pub(crate) fn unit(quantity: Quantity) -> &'static str {
    match quantity.unit() {
        "Cel" => "°C",
        "1" => "",
        "W.h" => "Wh",
        "[ppm]" => "ppm",
        "ug/m3" => "µg/m³",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_counter_its_rate_is_told() {
        let part = Part { feature: 26, deviation: 3.0, value: Some(900.0), usual: None };
        let (set, meter) = (FeatureSet::Profile1, Quantity::EnergyTotal);
        assert_eq!(describe(&part, set, meter), "lowest value higher: 900.0 W");
    }

    fn said(name: &str, deviation: f32, value: f32, usual: Option<f32>) -> String {
        let names = FeatureSet::Profile1.feature_names();
        let place = names.iter().position(|known| *known == name).unwrap();
        let feature = u8::try_from(place).unwrap();
        let part = Part { feature, deviation, value: Some(value), usual };
        describe(&part, FeatureSet::Profile1, Quantity::Temperature)
    }

    #[test]
    fn features_are_described_in_words() {
        assert_eq!(
            said("hour_03", 4.0, 24.123, Some(20.3)),
            "mean from 03:00 to 04:00 higher: 24.1 °C, usually 20.3 °C"
        );
        assert_eq!(
            said("hour_23", -1.0, -0.05, None),
            "mean from 23:00 to 24:00 lower: -0.0500 °C"
        );
        assert_eq!(
            said("day_coverage", -3.0, 0.5, Some(1.0)),
            "share of the day with readings lower: 50.0 %, usually 100.0 %"
        );
        assert_eq!(said("max", 2.0, 12_345.6, None), "highest value higher: 12346 °C");
    }

    #[test]
    fn every_feature_of_every_set_has_words() {
        for set in FeatureSet::ALL {
            for name in set.feature_names() {
                let is_told = match feature(name) {
                    Feature::Hour(hour) => hour < 24,
                    Feature::Value(words) | Feature::Share(words) => {
                        !words.contains('_') && (words != *name || ["mean"].contains(name))
                    }
                };
                assert!(is_told, "{name}");
            }
        }
    }
}
