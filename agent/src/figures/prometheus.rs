//! The Prometheus text format:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.

use super::Figure;

/// A gauge: its name, what it is, and its value where a sensor has one, written as everywhere else.
type Gauge = (&'static str, &'static str, fn(&Figure) -> Option<String>);

const GAUGES: [Gauge; 8] = [
    ("value", "Newest reading, in the unit of the label", |figure| {
        Some(figure.last?.value.to_string())
    }),
    (
        "live_score",
        "Share of the sensor's readings that are less strange than the newest, 0 to 1",
        |figure| Some(figure.score?.to_string()),
    ),
    (
        "day_novelty",
        "Share of known days that are nearer to the usual than the last day, 0 to 1",
        { |figure| Some(figure.day.as_ref()?.prediction?.novelty.to_string()) },
    ),
    ("day_cluster", "Kind of the last day", |figure| {
        Some(figure.day.as_ref()?.prediction?.cluster.to_string())
    }),
    ("day_score", "How unusual the last day is, 0 to 1", |figure| {
        Some(figure.day.as_ref()?.score?.to_string())
    }),
    ("day_deviation", "Distance of the last day from the sensor's usual ones", |figure| {
        Some(figure.day.as_ref()?.deviation?.to_string())
    }),
    ("drift", "How much the sensor drifts, a warning from 1 on", |figure| {
        Some(figure.day.as_ref()?.drift?.drift.to_string())
    }),
    ("silent", "1 while the sensor does not report", |figure| {
        Some(u8::from(figure.silent_since.is_some()).to_string())
    }),
];

pub(super) fn write(gateway: &str, figures: &[Figure]) -> String {
    let labelled: Vec<String> = figures.iter().map(|figure| labels(gateway, figure)).collect();
    let mut text = String::new();
    for (name, help, value) in GAUGES {
        let name = format!("daywise_sensor_{name}");
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        for (figure, labels) in figures.iter().zip(&labelled) {
            if let Some(value) = value(figure) {
                text.push_str(&format!("{name}{{{labels}}} {value}\n"));
            }
        }
    }
    text
}

fn labels(gateway: &str, figure: &Figure) -> String {
    format!(
        "gateway=\"{}\",sensor=\"{}\",quantity=\"{}\",unit=\"{}\"",
        escaped(gateway),
        escaped(&figure.id),
        figure.quantity.name(),
        escaped(figure.quantity.unit())
    )
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{day, figure},
        *,
    };
    use daywise_core::time::{LocalDate, UtcMillis};

    #[test]
    fn each_figure_has_a_line() {
        let text = write("gw-1", &[figure("kitchen/temperature")]);
        let labels = "{gateway=\"gw-1\",sensor=\"kitchen/temperature\",\
                      quantity=\"temperature\",unit=\"Cel\"}";
        for (name, value) in [
            ("value", "21.5"),
            ("live_score", "0.3"),
            ("day_novelty", "0.5"),
            ("day_cluster", "4"),
            ("day_deviation", "1.5"),
            ("day_score", "0.4"),
            ("drift", "0.7"),
            ("silent", "0"),
        ] {
            let line = format!(
                "\n# TYPE daywise_sensor_{name} gauge\ndaywise_sensor_{name}{labels} {value}\n"
            );
            assert!(text.contains(&line), "{line} in {text}");
        }
    }

    #[test]
    fn what_is_not_known_has_no_line() {
        let mut unknown = figure("a");
        (unknown.last, unknown.score) = (None, None);
        unknown.day = Some(day(LocalDate(0), None));
        unknown.silent_since = Some(UtcMillis(0));
        let text = write("gw", &[unknown]);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let names: Vec<&str> = lines.map(|line| line.split('{').next().unwrap()).collect();
        let known = ["day_score", "day_deviation", "drift", "silent"];
        assert_eq!(names, known.map(|name| format!("daywise_sensor_{name}")));
        assert!(text.ends_with("} 1\n"));
    }

    #[test]
    fn labels_are_escaped() {
        let text = write("gw", &[figure("a\"b\\c}d")]);
        assert!(text.contains(r#"sensor="a\"b\\c}d""#), "{text}");
    }
}
