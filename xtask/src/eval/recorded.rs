//! The figures as they were recorded, so that a change that makes them worse is seen.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::Context as _;

use crate::{process::Interrupt, workspace};

use super::{data, input, judge, product::Product, rows::Row, tasks};

/// The table, from the workspace's root; `cargo xtask eval --bless` writes it.
const TABLE: &str = "xtask/src/eval/recorded.csv";
/// How much worse a score out of 100 may be.
const SCORE_TOLERANCE: f64 = 0.5;
/// How much worse any other figure may be.
const TOLERANCE: f64 = 0.01;

/// A recorded figure.
#[derive(Clone, Debug, PartialEq)]
struct Recorded {
    set: String,
    task: String,
    figure: f64,
}

/// What became of the figures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// None is worse.
    Kept,
    /// None is worse, but there is something to know.
    Noted(String),
    /// These are worse, or not recorded.
    Worse(String),
}

fn path() -> anyhow::Result<PathBuf> {
    Ok(workspace::root()?.join(TABLE))
}

/// Records the figures.
pub(super) fn write(rows: &[Row]) -> anyhow::Result<()> {
    let mut text = String::from("set,task,figure\n");
    for Row { set, task, figure, .. } in rows {
        let figure = figure.with_context(|| format!("{set}, {task}: no figure to record"))?;
        writeln!(text, "{set},\"{task}\",{figure:.4}")?;
    }
    fs::write(path()?, text).with_context(|| format!("cannot write {TABLE}"))
}

fn read() -> anyhow::Result<Vec<Recorded>> {
    let mut recorded = Vec::new();
    input::each_row(&path()?, ["set", "task", "figure"], |[set, task, figure]| {
        let (set, task) = (set.to_owned(), task.to_owned());
        recorded.push(Recorded { set, task, figure: figure.parse()? });
        Ok(())
    })?;
    Ok(recorded)
}

/// Judges the quick sets anew, and compares.
pub(crate) fn check(programs: &std::path::Path) -> anyhow::Result<Comparison> {
    let data = data()?;
    if !data.is_dir() {
        return Ok(Comparison::Noted(format!("skipped: no recordings at {}", data.display())));
    }
    let product = Product::new(programs, Interrupt::listen()?)?;
    let findings = judge(&data, &tasks::QUICK.map(str::to_owned), &product)?;
    print!("{}", super::rows::to_text(&findings.rows));
    if !findings.failed.is_empty() {
        return Ok(Comparison::Worse(findings.failed.join("; ")));
    }
    Ok(match compare(&findings.rows, &read()?) {
        Comparison::Kept if !findings.skipped.is_empty() => {
            Comparison::Noted(format!("skipped: {}", findings.skipped.join("; ")))
        }
        other => other,
    })
}

/// Figures of sets that are not there are not missed.
fn compare(rows: &[Row], recorded: &[Recorded]) -> Comparison {
    let mut worse = Vec::new();
    let mut better = Vec::new();
    for Row { set, task, figure, at_most, .. } in rows {
        let known = recorded.iter().find(|known| known.set == *set && known.task == *task);
        let (Some(known), Some(figure)) = (known, figure) else {
            worse.push(format!("{set}, {task}: no figure, or none recorded"));
            continue;
        };
        let gain = if *at_most { known.figure - figure } else { figure - known.figure };
        let said = format!("{set}, {task}: {figure:.4}, recorded {:.4}", known.figure);
        let tolerance = if task.ends_with("score") { SCORE_TOLERANCE } else { TOLERANCE };
        if gain < -tolerance {
            worse.push(said);
        } else if gain > tolerance {
            better.push(said);
        }
    }
    let is_judged = |known: &&Recorded| rows.iter().any(|row| row.set == known.set);
    let is_found =
        |known: &Recorded| rows.iter().any(|row| row.set == known.set && row.task == known.task);
    for known in recorded.iter().filter(is_judged).filter(|known| !is_found(known)) {
        worse.push(format!("{}, {}: recorded, but no longer judged", known.set, known.task));
    }
    match (worse.is_empty(), better.is_empty()) {
        (false, _) => Comparison::Worse(worse.join("; ")),
        (true, false) => Comparison::Noted(format!(
            "better than recorded, to be kept with `cargo xtask eval --bless`: {}",
            better.join("; ")
        )),
        (true, true) => Comparison::Kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(task: &str, figure: f64) -> Recorded {
        Recorded { set: "nab".into(), task: task.into(), figure }
    }

    fn row(task: &str, figure: f64) -> Row {
        Row::new("nab", task, Some(figure))
    }

    #[test]
    fn a_figure_may_be_a_little_worse_and_no_more() {
        let known = [recorded("standard score", 59.3), recorded("day, AUC", 0.92)];
        let judged =
            |score, auc| compare(&[row("standard score", score), row("day, AUC", auc)], &known);
        assert_eq!(judged(59.3, 0.92), Comparison::Kept);
        assert_eq!(judged(58.9, 0.911), Comparison::Kept);
        assert!(matches!(judged(58.7, 0.92), Comparison::Worse(why) if why.contains("58.7")));
        assert!(matches!(judged(59.3, 0.90), Comparison::Worse(why) if why.contains("AUC")));
        assert!(matches!(judged(61.0, 0.92), Comparison::Noted(why) if why.contains("bless")));
    }

    #[test]
    fn more_is_worse_where_less_is_wanted() {
        let known = [recorded("false warnings", 0.2)];
        let judged = |figure| compare(&[row("false warnings", figure).at_most(1.0)], &known);
        assert!(matches!(judged(0.5), Comparison::Worse(_)));
        assert!(matches!(judged(0.1), Comparison::Noted(_)));
    }

    #[test]
    fn a_task_that_comes_or_goes_is_seen_but_an_absent_set_is_not_missed() {
        let known = [recorded("day, AUC", 0.92)];
        let rows = [row("day, AUC", 0.92), row("new", 1.0)];
        assert!(matches!(compare(&rows, &known), Comparison::Worse(why) if why.contains("new")));
        let rows = [row("new", 1.0)];
        let known = [recorded("new", 1.0), recorded("day, AUC", 0.92)];
        assert!(matches!(compare(&rows, &known), Comparison::Worse(why) if why.contains("day")));
        assert_eq!(compare(&[], &known), Comparison::Kept);
    }

    #[test]
    fn the_recorded_table_is_of_the_quick_sets() {
        let known = read().unwrap();
        assert!(!known.is_empty());
        assert!(known.iter().all(|known| tasks::QUICK.contains(&known.set.as_str())));
    }
}
