//! Child processes that never outlive us, and interrupts that let us clean up.
//!
//! SIGINT, SIGTERM and SIGHUP only set a flag; every wait looks at it, returns an error, and the
//! guards end the children on the way out. Only SIGKILL on ourselves leaves them behind.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How long a process may take to end by itself after SIGTERM.
const DRAIN: Duration = Duration::from_secs(10);
/// How often waits look again.
pub(crate) const POLL: Duration = Duration::from_millis(50);
/// How much of a failed process's log is shown.
const SHOWN_LOG_LINES: usize = 30;

/// Runs a program to its end. What it prints goes to stderr, because reports go to stdout.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}

/// Runs a program to its end; what it printed.
pub(crate) fn output_of(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed ({}):\n{said}{why}", output.status);
    }
    Ok(said)
}

/// Set when someone wants us to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on signals set the flag instead of ending us.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .context("cannot listen for signals")?;
        }
        Ok(Self(flag))
    }

    /// Sleeps a little, or says that we are to stop.
    pub(crate) fn pause(&self, time: Duration) -> anyhow::Result<()> {
        sleep(time);
        self.check()
    }

    /// Says whether we are to stop.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.0.load(Relaxed) {
            bail!("interrupted");
        }
        Ok(())
    }
}

/// A process with a log file; ended when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; both of its outputs go to `log`.
    pub(crate) fn start(program: &Path, args: &[&str], log: &Path) -> anyhow::Result<Self> {
        Self::start_in(program, args, log, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn start_in(
        program: &Path,
        args: &[&str],
        log: &Path,
        environment: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let name =
            program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let child = Command::new(program)
            .args(args)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("cannot share the log")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name, child, log: log.into() })
    }

    /// Fails with the end of the log if the process has ended.
    pub(crate) fn check_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().context("cannot ask for a process")? {
            None => Ok(()),
            Some(status) => bail!("{} ended early ({status}):\n{}", self.name, self.log_tail()),
        }
    }

    /// How it ended, or `None` while it runs.
    pub(crate) fn try_wait(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.try_wait().context("cannot ask for a process")
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let skip = lines.len().saturating_sub(SHOWN_LOG_LINES);
        lines.into_iter().skip(skip).map(|line| format!("  | {line}\n")).collect()
    }

    /// A line `key: N kB` of the process's status in the proc file system; 0 elsewhere.
    pub(crate) fn memory_kb(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next())
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    }

    /// Asks it to drain and waits; kills it if it takes too long.
    pub(crate) fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // The standard library can only kill; the kill command is in every base system.
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let deadline = Instant::now() + DRAIN;
        while asked.as_ref().is_ok_and(ExitStatus::success) && Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            sleep(POLL);
        }
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let process =
            Process::start(Path::new("sleep"), &["600"], &dir.path().join("log")).unwrap();
        let proc = PathBuf::from(format!("/proc/{}", process.child.id()));
        assert!(proc.exists());
        assert!(process.memory_kb("VmRSS") > 0);
        drop(process);
        assert!(!proc.exists());
    }

    #[test]
    fn a_process_that_ends_early_is_reported_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut process =
            Process::start(Path::new("sh"), &["-c", "echo out of coffee; exit 3"], &log).unwrap();
        while process.try_wait().unwrap().is_none() {
            sleep(POLL);
        }
        let error = process.check_running().unwrap_err().to_string();
        assert!(error.contains("out of coffee") && error.contains('3'), "{error}");
    }
}
