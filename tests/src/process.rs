//! A long-running child process: started, killed, paused, and gone with its owner.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_for;

/// Lines of the log shown when a test fails.
const LOG_LINES: usize = 40;

/// The process, or what is needed to start it again.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts `program`; its output is appended to `log`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(program: &Path, arguments: &[&str], log: PathBuf) -> Self {
        Self::start_with(program, arguments, &[], log)
    }

    /// Starts `program` with more in its environment; its output is appended to `log`.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start_with(
        program: &Path,
        arguments: &[&str],
        environment: &[(String, String)],
        log: PathBuf,
    ) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (program, environment) = (program.to_owned(), environment.to_vec());
        let mut process = Self { program, arguments, environment, log, child: None };
        process.start_again();
        process
    }

    /// Starts it again after it ended or was killed.
    ///
    /// # Panics
    /// It cannot be started, or still runs.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "{} still runs", self.program.display());
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap_or_else(|e| panic!("{}: {e}", self.program.display())));
    }

    /// Ends it without warning, as a power cut would, and says how it ended: not by this, if it
    /// had ended already.
    ///
    /// # Panics
    /// It was not started.
    pub fn kill(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it is to be killed while it runs");
        child.kill().unwrap();
        child.wait().unwrap()
    }

    /// Asks it to end, and returns its exit code; `None` if a signal ended it.
    ///
    /// # Panics
    /// It does not end within `deadline`.
    #[track_caller]
    pub fn terminate(&mut self, deadline: Duration) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait_for_end(deadline)
    }

    /// Waits until it ends by itself, and returns its exit code.
    ///
    /// # Panics
    /// It does not end within `deadline`.
    #[track_caller]
    pub fn wait_for_end(&mut self, deadline: Duration) -> Option<i32> {
        let child = self.child.as_mut().expect("it was started");
        let status = wait_for("the process ends", deadline, || child.try_wait().unwrap());
        self.child = None;
        status.code()
    }

    /// Stops its time: it neither works nor answers, but its connections stay up.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused one go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Whether it has ended by itself.
    ///
    /// # Panics
    /// The system cannot say.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// Whether it was started and has not been waited for since.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// All that it wrote, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already, which is fine here.
            drop(child.kill());
            drop(child.wait());
        }
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            eprintln!("--- end of {}\n{end}\n---", self.log.display());
        }
    }
}
