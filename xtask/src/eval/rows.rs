//! The figures side by side: a table for people, an object for programs.

use serde::Serialize;
use serde_json::{Value, json};

/// What a simple detector reaches on the same task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Baseline {
    /// Computed in this run, by `detectors.rs`.
    Measured(f64),
    /// Known from before, of a method that is not run here; see docs/evaluation.md.
    Quoted(f64),
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) set: String,
    pub(super) task: String,
    /// `None` where it is not defined, for instance because no day of a class is there.
    pub(super) figure: Option<f64>,
    pub(super) floor: Option<f64>,
    /// The floor is a ceiling.
    pub(super) at_most: bool,
    pub(super) baseline: Option<Baseline>,
}

impl Row {
    pub(super) fn new(set: &str, task: &str, figure: Option<f64>) -> Self {
        let (set, task) = (set.to_owned(), task.to_owned());
        Self { set, task, figure, floor: None, at_most: false, baseline: None }
    }

    pub(super) fn at_least(mut self, floor: f64) -> Self {
        self.floor = Some(floor);
        self
    }

    pub(super) fn at_most(mut self, ceiling: f64) -> Self {
        self.floor = Some(ceiling);
        self.at_most = true;
        self
    }

    pub(super) fn quoted(mut self, baseline: f64) -> Self {
        self.baseline = Some(Baseline::Quoted(baseline));
        self
    }

    pub(super) fn beside(mut self, baseline: Option<f64>) -> Self {
        self.baseline = baseline.map(Baseline::Measured);
        self
    }

    /// Whether it has a floor and misses it. A figure that is not defined does.
    pub(super) fn is_below_floor(&self) -> bool {
        let Some(floor) = self.floor else { return false };
        let is_kept = |figure: f64| if self.at_most { figure <= floor } else { figure >= floor };
        !self.figure.is_some_and(is_kept)
    }
}

#[derive(Serialize)]
struct JsonRow<'a> {
    set: &'a str,
    task: &'a str,
    figure: Option<f64>,
    floor: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    at_most: bool,
    baseline: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_is: Option<&'static str>,
}

impl<'a> From<&'a Row> for JsonRow<'a> {
    fn from(row: &'a Row) -> Self {
        let Row { set, task, figure, floor, at_most, baseline } = row;
        let (baseline, baseline_is) = match baseline {
            Some(Baseline::Measured(figure)) => (Some(*figure), Some("measured")),
            Some(Baseline::Quoted(figure)) => (Some(*figure), Some("quoted")),
            None => (None, None),
        };
        let (figure, floor) = (*figure, *floor);
        Self { set, task, figure, floor, at_most: *at_most, baseline, baseline_is }
    }
}

/// The whole for programs.
pub(super) fn to_json(rows: &[Row], skipped: &[String], failed: &[String]) -> Value {
    let all: Vec<JsonRow> = rows.iter().map(JsonRow::from).collect();
    let below: Vec<JsonRow> =
        rows.iter().filter(|row| row.is_below_floor()).map(JsonRow::from).collect();
    json!({ "rows": all, "below_floor": below, "skipped": skipped, "failed": failed })
}

/// The whole for people.
pub(super) fn to_text(rows: &[Row]) -> String {
    let widest = |part: fn(&Row) -> &str| {
        rows.iter().map(|row| part(row).chars().count()).max().unwrap_or(0).max(4)
    };
    let (set, task) = (widest(|row| &row.set), widest(|row| &row.task));
    let mut text = format!(
        "{:set$}  {:task$}  {:>8}  {:>9}  {:>8}\n",
        "set", "task", "figure", "floor", "baseline"
    );
    for row in rows {
        let floor = row.floor.map_or_else(String::new, |floor| {
            format!("{} {}", if row.at_most { "<=" } else { ">=" }, short(floor))
        });
        let baseline = match row.baseline {
            Some(Baseline::Measured(figure)) => short(figure),
            Some(Baseline::Quoted(figure)) => format!("{}*", short(figure)),
            None => String::new(),
        };
        let figure = row.figure.map_or_else(|| "none".to_owned(), short);
        let note = if row.is_below_floor() { "  MISSED" } else { "" };
        let Row { set: of, task: what, .. } = row;
        text.push_str(&format!(
            "{of:set$}  {what:task$}  {figure:>8}  {floor:>9}  {baseline:>8}{note}\n"
        ));
    }
    text.push_str("* quoted, not measured in this run\n");
    text
}

/// Scores out of 100 and counts with one digit, shares with three.
fn short(figure: f64) -> String {
    if figure.fract() == 0.0 && figure.abs() >= 1.0 {
        format!("{figure:.0}")
    } else if figure.abs() >= 2.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            Row::new("nab", "score", Some(59.25)).at_least(50.0).beside(Some(35.4)),
            Row::new("lab", "false warnings", Some(1.5)).at_most(1.0).quoted(2.0),
            Row::new("lab", "lead", None).at_least(3.0),
            Row::new("lab", "extra", Some(0.25)),
        ]
    }

    #[test]
    fn a_figure_misses_a_floor_from_below_and_a_ceiling_from_above() {
        let missed: Vec<bool> = rows().iter().map(Row::is_below_floor).collect();
        assert_eq!(missed, [false, true, true, false]);
        assert!(!Row::new("a", "b", Some(1.0)).at_most(1.0).is_below_floor());
        assert!(!Row::new("a", "b", Some(1.0)).at_least(1.0).is_below_floor());
    }

    #[test]
    fn programs_get_every_row_and_the_missed_ones_again() {
        let found = to_json(&rows(), &["gecco".into()], &[]);
        assert_eq!(found["rows"].as_array().unwrap().len(), 4);
        let first = json!({"set": "nab", "task": "score", "figure": 59.25, "floor": 50.0,
            "baseline": 35.4, "baseline_is": "measured"});
        assert_eq!(found["rows"][0], first);
        assert_eq!(found["rows"][1]["at_most"], true);
        assert_eq!(found["rows"][3]["floor"], Value::Null);
        let below: Vec<&Value> =
            found["below_floor"].as_array().unwrap().iter().map(|row| &row["task"]).collect();
        assert_eq!(below, ["false warnings", "lead"]);
        assert_eq!(found["skipped"], json!(["gecco"]));
    }

    #[test]
    fn people_see_what_is_missed_and_what_is_quoted() {
        let text = to_text(&rows());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with(">= 50      35.4"), "{text}");
        assert!(lines[2].contains("<= 1") && lines[2].ends_with("2*  MISSED"), "{text}");
        assert!(lines[3].contains("none") && lines[3].ends_with("MISSED"), "{text}");
    }
}
