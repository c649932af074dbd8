//! The product's own commands, with their defaults: only the zone is given.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::process::{Interrupt, POLL, Process};

use super::input::{self, PredictedDay};

/// The programs, and a folder for what they write.
#[derive(Debug)]
pub(super) struct Product {
    agent: PathBuf,
    server: PathBuf,
    dir: tempfile::TempDir,
    interrupt: Interrupt,
}

/// What `score` wrote.
#[derive(Debug)]
pub(super) struct Scores {
    pub(super) readings: PathBuf,
    pub(super) days: PathBuf,
}

impl Product {
    pub(super) fn new(programs: &Path, interrupt: Interrupt) -> anyhow::Result<Self> {
        Ok(Self {
            agent: programs.join("daywise-agent"),
            server: programs.join("daywise-server"),
            dir: tempfile::tempdir().context("cannot make a temporary folder")?,
            interrupt,
        })
    }

    /// Says whether we are to stop.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.interrupt.check()
    }

    /// A file of the temporary folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the live path says of each reading and each day.
    pub(super) fn score(&self, csv: &Path, zone: &str) -> anyhow::Result<Scores> {
        let scores = Scores { readings: self.file("scores.csv"), days: self.file("days.csv") };
        let (readings, days) = (text(&scores.readings)?, text(&scores.days)?);
        let csv = text(csv)?;
        let arguments =
            ["score", "--csv", csv, "--timezone", zone, "--out", readings, "--days", days];
        self.run(&self.agent, &arguments)?;
        Ok(scores)
    }

    /// Features of every sensor-day.
    pub(super) fn features(&self, csv: &Path, zone: &str, name: &str) -> anyhow::Result<PathBuf> {
        let out = self.file(name);
        let arguments = ["features", "--csv", text(csv)?, "--timezone", zone, "--out", text(&out)?];
        self.run(&self.agent, &arguments)?;
        Ok(out)
    }

    /// A model of these features; the default number of clusters without `k`.
    pub(super) fn train(&self, features: &Path, k: Option<usize>) -> anyhow::Result<PathBuf> {
        let out = self.file("model.dwm");
        let k = k.map(|k| k.to_string());
        let mut arguments = vec!["train", "--features", text(features)?, "--out", text(&out)?];
        if let Some(k) = &k {
            arguments.extend(["--k", k]);
        }
        self.run(&self.server, &arguments)?;
        Ok(out)
    }

    /// Cluster and novelty of every sensor-day.
    pub(super) fn predict(
        &self,
        features: &Path,
        model: &Path,
    ) -> anyhow::Result<Vec<PredictedDay>> {
        let out = self.file("predictions.csv");
        let (features, model) = (text(features)?, text(model)?);
        let arguments = ["predict", "--features", features, "--model", model, "--out", text(&out)?];
        self.run(&self.agent, &arguments)?;
        input::predicted_days(&out)
    }

    /// Features, a model of them, and what it says of the same days.
    pub(super) fn cluster(
        &self,
        csv: &Path,
        zone: &str,
        k: usize,
    ) -> anyhow::Result<Vec<PredictedDay>> {
        let features = self.features(csv, zone, "features.csv")?;
        let model = self.train(&features, Some(k))?;
        self.predict(&features, &model)
    }

    fn run(&self, program: &Path, arguments: &[&str]) -> anyhow::Result<()> {
        let mut process = Process::start(program, arguments, &self.file("log"))?;
        loop {
            if let Some(status) = process.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                let command = arguments.first().copied().unwrap_or_default();
                bail!("{command} failed ({status}):\n{}", process.log_tail());
            }
            self.interrupt.pause(POLL)?;
        }
    }
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
