//! What is asked of each set.

mod beehive;
mod clusters;
mod gecco;
mod generic;
mod intel_faults;
mod intel_lab;
mod nab;

use std::path::{Path, PathBuf};

use super::{product::Product, rows::Row};

/// A set of the data folder and the programs that are judged by it.
#[derive(Debug)]
pub(super) struct Set<'a> {
    pub(super) name: &'a str,
    pub(super) folder: PathBuf,
    pub(super) product: &'a Product,
}

impl Set<'_> {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn readings(&self) -> PathBuf {
        self.file("readings.csv.gz")
    }

    fn row(&self, task: &str, figure: Option<f64>) -> Row {
        Row::new(self.name, task, figure)
    }

    /// Says something about this set.
    fn say(&self, what: &str) {
        eprintln!("eval: {}: {what}", self.name);
    }
}

/// The figures of a set.
type Task = fn(&Set<'_>) -> anyhow::Result<Vec<Row>>;

/// The sets that are known, in the order of the table.
const KNOWN: [(&str, Task); 8] = [
    ("power_cons", clusters::power_cons),
    ("italy_power", clusters::italy_power),
    ("pedestrian", clusters::pedestrian),
    ("nab", nab::figures),
    ("intel_faults", intel_faults::figures),
    ("intel_lab", intel_lab::figures),
    ("gecco_water", gecco::figures),
    ("beehive", beehive::figures),
];

/// Those that `--quick` is content with.
pub(super) const QUICK: [&str; 4] = ["power_cons", "pedestrian", "nab", "intel_faults"];

/// The known sets by their names.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(name, _)| *name)
}

/// What a set is judged by: its own tasks, the generic ones, or nothing.
pub(super) fn task(name: &str, folder: &Path) -> Option<Task> {
    let own = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, task)| *task);
    let is_labelled =
        ["readings.csv.gz", "labels.csv"].iter().all(|file| folder.join(file).exists());
    own.or(is_labelled.then_some(generic::figures as Task))
}
