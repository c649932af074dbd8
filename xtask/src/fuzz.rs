//! `cargo xtask fuzz`: feeds every decoder with what nobody sends, starting from what devices do.
//!
//! The targets are a crate of their own in `fuzz/`. They are built and run by `cargo fuzz`, which
//! needs a nightly compiler.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::workspace;

/// The compiler that the targets are built with.
const TOOLCHAIN: &str = "nightly";
/// The longest input: room for a sequence of real messages.
const MAX_INPUT_BYTES: &str = "8192";
/// How long one input may take, and how much memory.
const MAX_SECONDS: &str = "10";
const MAX_MEMORY_MB: &str = "1024";
/// The largest allocation. The largest input is far from needing it.
const MAX_ALLOCATION_MB: &str = "16";
/// How much of a failed target's output is shown.
const SHOWN_LINES: usize = 40;

/// `cargo xtask fuzz`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FuzzArgs {
    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Only this target; may be given several times. Without it, all in a row.
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
}

/// What a target's output says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Figures {
    executions: u64,
    /// Places in the code that were reached.
    coverage: u64,
    /// Inputs that are worth to go on from.
    corpus: u64,
    /// The input that did it, where something was found.
    found: Option<String>,
}

/// Runs the targets one after the other.
pub(crate) fn run(args: &FuzzArgs) -> anyhow::Result<()> {
    check_tools()?;
    let all = targets()?;
    if let Some(unknown) = args.target.iter().find(|name| !all.contains(name)) {
        bail!("there is no target {unknown}; there are {}", all.join(", "));
    }
    let chosen = if args.target.is_empty() { all } else { args.target.clone() };
    build()?;
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    for (number, name) in chosen.iter().enumerate() {
        eprintln!("{name} ({} of {}), {} s", number + 1, chosen.len(), args.seconds);
        let figures = fuzz(name, args.seconds)?;
        lines.push(line(name, &figures));
        if let Some(input) = figures.found {
            eprintln!("{name}: found {input}");
            failed.push(name.as_str());
        }
    }
    println!("{:<16} {:>11} {:>9} {:>7}  found", "target", "executions", "coverage", "corpus");
    println!("{}", lines.join("\n"));
    if !failed.is_empty() {
        bail!("something was found in {}; docs/fuzzing.md says how to go on", failed.join(", "));
    }
    println!("{} targets, {} s each: nothing found", chosen.len(), args.seconds);
    Ok(())
}

fn line(name: &str, figures: &Figures) -> String {
    let Figures { executions, coverage, corpus, found } = figures;
    let found = found.as_deref().unwrap_or("nothing");
    format!("{name:<16} {executions:>11} {coverage:>9} {corpus:>7}  {found}")
}

/// Fails with what to install, if something is missing.
fn check_tools() -> anyhow::Result<()> {
    let is_there = |program: &str, args: &[&str]| {
        let quiet = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        quiet.is_ok_and(|status| status.success())
    };
    let mut missing = Vec::new();
    if !is_there("rustup", &["run", TOOLCHAIN, "rustc", "--version"]) {
        missing.push("a nightly compiler: rustup toolchain install nightly --profile minimal");
    }
    if !is_there("cargo-fuzz", &["--version"]) {
        missing.push("cargo-fuzz: cargo install --locked cargo-fuzz");
    }
    if !["c++", "g++", "clang++"].iter().any(|name| is_there(name, &["--version"])) {
        missing.push("a C++ compiler, for libFuzzer: apt-get install g++");
    }
    if !missing.is_empty() {
        bail!("this is missing:\n  {}", missing.join("\n  "));
    }
    Ok(())
}

/// The targets' names, in order.
fn targets() -> anyhow::Result<Vec<String>> {
    let folder = workspace::root()?.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("no {}", folder.display()))? {
        let path = entry.context("cannot list the targets")?.path();
        let name = path.file_stem().and_then(OsStr::to_str);
        names.push(name.context("a target's name is no text")?.to_owned());
    }
    names.sort();
    Ok(names)
}

/// A command of `cargo fuzz`. Cargo as it runs us is of another toolchain.
fn cargo_fuzz(command: &str) -> anyhow::Result<Command> {
    let mut cargo = Command::new("rustup");
    cargo
        .args(["run", TOOLCHAIN, "cargo", "fuzz", command, "--target-dir"])
        .arg(workspace::target_dir()?.join("fuzz"))
        .current_dir(workspace::root()?.join("fuzz"))
        .env_remove("RUSTUP_TOOLCHAIN")
        .stdin(Stdio::null());
    Ok(cargo)
}

/// Checks format and lints of the targets, for which the usual compiler is enough: nothing is
/// linked, so that libFuzzer may be anywhere.
pub(crate) fn check() -> anyhow::Result<bool> {
    let folder = workspace::target_dir()?.join("fuzz");
    for args in
        [["fmt", "--check", "--"].as_slice(), &["clippy", "--locked", "--", "-D", "warnings"]]
    {
        let (command, rest) = args.split_first().context("a command has a name")?;
        let status = Command::new(workspace::cargo())
            .args([*command, "--manifest-path", "fuzz/Cargo.toml"])
            .args(rest)
            .current_dir(workspace::root()?)
            .env("CARGO_TARGET_DIR", &folder)
            .env("CUSTOM_LIBFUZZER_PATH", folder.join("libfuzzer.a"))
            .stdin(Stdio::null())
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn build() -> anyhow::Result<()> {
    let status = cargo_fuzz("build")?.status().context("cannot run cargo fuzz")?;
    if !status.success() {
        bail!("the targets cannot be built ({status})");
    }
    Ok(())
}

/// Runs one target. What it learns is kept in `fuzz/corpus`; the seeds are only read.
fn fuzz(name: &str, seconds: u32) -> anyhow::Result<Figures> {
    let folder = workspace::root()?.join("fuzz");
    let corpus = folder.join("corpus").join(name);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let options = [
        format!("-max_total_time={seconds}"),
        format!("-max_len={MAX_INPUT_BYTES}"),
        format!("-timeout={MAX_SECONDS}"),
        format!("-rss_limit_mb={MAX_MEMORY_MB}"),
        format!("-malloc_limit_mb={MAX_ALLOCATION_MB}"),
        "-print_final_stats=1".to_owned(),
    ];
    let mut child = cargo_fuzz("run")?
        .arg(name)
        .args([&corpus, &folder.join("seeds").join(name)])
        .arg("--")
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run cargo fuzz")?;
    let said = child.stderr.take().context("a child without its output")?;
    let (figures, last) = read(said);
    let status = child.wait().context("cannot wait for cargo fuzz")?;
    if !status.success() && figures.found.is_none() {
        bail!("{name} cannot run ({status}):\n{}", last.join("\n"));
    }
    if figures.found.is_some() {
        eprintln!("{}", last.join("\n"));
    }
    Ok(figures)
}

/// What a target says, and its last lines.
fn read(said: impl Read) -> (Figures, Vec<String>) {
    let (mut figures, mut last) = (Figures::default(), Vec::new());
    for line in BufReader::new(said).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        figures.read(&line);
        last.push(line);
        if last.len() > SHOWN_LINES {
            last.remove(0);
        }
    }
    (figures, last)
}

impl Figures {
    /// Takes in a line such as `#512 NEW cov: 1412 ft: 2207 corp: 61/9241b exec/s: 256 …`, or one
    /// of those at the end.
    fn read(&mut self, line: &str) {
        let after = |key: &str| {
            let rest = line.split_once(key)?.1.trim_start();
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            rest.get(..end)?.parse::<u64>().ok()
        };
        if let Some(count) = after("stat::number_of_executed_units:") {
            self.executions = count;
        }
        if line.starts_with('#') {
            self.executions = after("#").unwrap_or(self.executions);
            self.coverage = after(" cov:").unwrap_or(self.coverage);
            self.corpus = after(" corp:").unwrap_or(self.corpus);
        }
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            let file = Path::new(path.trim()).file_name().map(OsStr::to_string_lossy);
            self.found = Some(file.unwrap_or_default().into_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_run_are_its_last_ones() {
        let said = "INFO: Seed: 1\n\
                    #2\tINITED cov: 310 ft: 311 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                    #4096\tpulse  cov: 1412 ft: 2207 corp: 61/9241b lim: 512 exec/s: 2048 rss: 60Mb\n\
                    Done 5000 runs in 2 second(s)\n\
                    stat::number_of_executed_units: 5000\n";
        let (figures, last) = read(said.as_bytes());
        let expected = Figures { executions: 5_000, coverage: 1_412, corpus: 61, found: None };
        assert_eq!((figures, last.len()), (expected, 5));
    }

    #[test]
    fn what_was_found_is_told() {
        let said = "#77\tNEW    cov: 9 ft: 9 corp: 2/2b\n\
                    thread '<unnamed>' panicked at fuzz/src/check.rs:1:1:\n\
                    artifact_prefix='/a/'; Test unit written to /a/artifacts/json/crash-0123\n";
        let (figures, last) = read(said.as_bytes());
        assert_eq!((figures.executions, figures.found.as_deref()), (77, Some("crash-0123")));
        assert!(last[1].contains("panicked"));
    }

    #[test]
    fn every_target_has_seeds() {
        let seeds = workspace::root().unwrap().join("fuzz/seeds");
        for target in targets().unwrap() {
            assert!(fs::read_dir(seeds.join(&target)).unwrap().next().is_some(), "{target}");
        }
    }
}
