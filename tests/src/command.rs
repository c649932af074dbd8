//! Our binaries, and commands that run to their end.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    scratch::Scratch,
    wait::{LONG, wait_for},
};

/// The agent to start instead of our own: one for another processor, in an emulator.
const OTHER_AGENT: &str = "DAYWISE_E2E_AGENT";

/// The agent's binary, or the one that the environment names.
#[must_use]
pub fn agent() -> PathBuf {
    env::var_os(OTHER_AGENT).map_or_else(|| binary("daywise-agent"), PathBuf::from)
}

/// The server's binary.
#[must_use]
pub fn server() -> PathBuf {
    binary("daywise-server")
}

/// Beside this program, or beside this test's own directory: `target/debug/deps/e2e-…` finds
/// `target/debug/…`.
fn binary(name: &str) -> PathBuf {
    let own = env::current_exe().unwrap();
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| {
        panic!("{name} is missing; build it first: cargo build -p daywise-agent -p daywise-server")
    })
}

/// How a command ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// Its messages.
    pub stderr: String,
}

impl Finished {
    /// The JSON object in the last line of its output.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// Itself, if the command did its work.
    ///
    /// # Panics
    /// It did not.
    #[track_caller]
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }
}

/// Runs `program` to its end.
///
/// # Panics
/// It cannot be started, or takes too long.
#[track_caller]
pub fn run(scratch: &Scratch, program: PathBuf, arguments: &[&str]) -> Finished {
    // Into files: a full pipe would hold the command up.
    let files = tempfile::tempdir_in(scratch.path()).unwrap();
    let (stdout, stderr) = (files.path().join("stdout"), files.path().join("stderr"));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&stdout).unwrap())
        .stderr(fs::File::create(&stderr).unwrap())
        .spawn()
        .unwrap();
    let status = wait_for("the command ends", LONG, || child.try_wait().unwrap());
    let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Finished { code: status.code(), stdout: read(&stdout), stderr: read(&stderr) }
}
