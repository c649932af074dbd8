//! The same readings give the same features and predictions on every target, bit by bit.
//!
//! The readings are the demo's simulated building's. What must come out is in `tests/golden/`: a
//! digest for each file that the batch commands write, and the model that predicted, because what
//! a training gives may differ from one kind of processor to another. `--bless` writes them anew,
//! for when features or models have changed on purpose.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};

use super::Target;
use crate::{demo, workspace};

/// Enough for both halves of a week, twice, and the day on which the clock changes.
const DAYS: u16 = 21;
const SETS: [&str; 2] = ["moments", "profile"];
const PREDICTIONS: &str = "predictions";

/// Where the golden files are.
fn golden() -> anyhow::Result<PathBuf> {
    Ok(workspace::root()?.join("tests/golden/arithmetic"))
}

/// With `bless` what this machine computes becomes golden; without, the golden files must be there.
pub(super) fn prepare(bless: bool) -> anyhow::Result<()> {
    let folder = golden()?;
    if !bless {
        let missing = ["digests.txt", "model.dwm"].map(|name| folder.join(name));
        return match missing.iter().find(|path| !path.is_file()) {
            Some(path) => bail!("{} is missing: cargo xtask cross --bless", path.display()),
            None => Ok(()),
        };
    }
    let programs = demo::build()?;
    let agent = vec![programs.join("daywise-agent").display().to_string()];
    fs::create_dir_all(&folder).context("cannot make the folder of golden files")?;
    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    let features = features(&agent, dir.path())?;
    let (features, model) = (path_of(&features, "profile")?, folder.join("model.dwm"));
    let server = vec![programs.join("daywise-server").display().to_string()];
    run(
        &server,
        &[
            "train",
            "--k",
            "4",
            "--seed",
            "1",
            "--features",
            text(features)?,
            "--out",
            text(&model)?,
        ],
    )?;
    let digests = digests(&agent, dir.path())?;
    fs::write(folder.join("digests.txt"), digests).context("cannot write the golden digests")
}

/// Whether the program computes what is golden.
pub(super) fn is_golden(target: &Target, agent: &Path) -> anyhow::Result<bool> {
    computes_golden(&target.command(agent))
}

/// The same for a program of this machine.
pub(crate) fn is_golden_here(agent: &Path) -> anyhow::Result<bool> {
    computes_golden(&[text(agent)?.to_owned()])
}

fn computes_golden(agent: &[String]) -> anyhow::Result<bool> {
    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    let expected = fs::read_to_string(golden()?.join("digests.txt"))
        .context("cannot read the golden digests")?;
    let found = digests(agent, dir.path())?;
    if found != expected {
        eprintln!("expected:\n{expected}found:\n{found}");
    }
    Ok(found == expected)
}

/// A line for each file: its digest and its name.
fn digests(agent: &[String], dir: &Path) -> anyhow::Result<String> {
    let mut files = features(agent, dir)?;
    let model = golden()?.join("model.dwm");
    let out = dir.join("predictions.csv");
    let profile = path_of(&files, "profile")?;
    run(
        agent,
        &["predict", "--features", text(profile)?, "--model", text(&model)?, "--out", text(&out)?],
    )?;
    files.push((PREDICTIONS, out));
    let mut lines = String::new();
    for (name, path) in files {
        let bytes = fs::read(&path).with_context(|| format!("{name} were not written"))?;
        for byte in Sha256::digest(&bytes) {
            write!(lines, "{byte:02x}").context("cannot write to memory")?;
        }
        writeln!(lines, "  {name}").context("cannot write to memory")?;
    }
    Ok(lines)
}

/// A file of features for each set.
fn features(agent: &[String], dir: &Path) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let readings = dir.join("readings.csv");
    let timezone = demo::write_site(DAYS, &readings)?;
    let mut files = Vec::new();
    for set in SETS {
        let out = dir.join(format!("{set}.csv"));
        run(
            agent,
            &[
                "features",
                "--csv",
                text(&readings)?,
                "--timezone",
                timezone,
                "--set",
                set,
                "--out",
                text(&out)?,
            ],
        )?;
        files.push((set, out));
    }
    Ok(files)
}

fn path_of<'a>(files: &'a [(&str, PathBuf)], wanted: &str) -> anyhow::Result<&'a Path> {
    let found = files.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, path)| path.as_path()).with_context(|| format!("no file of {wanted}"))
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path is not UTF-8")
}

fn run(program: &[String], args: &[&str]) -> anyhow::Result<()> {
    let (first, rest) = program.split_first().context("nothing to run")?;
    let output = Command::new(first)
        .args(rest)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {first}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", args.first().unwrap_or(&""), output.status, said.trim());
    }
    Ok(())
}
