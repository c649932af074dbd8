//! A Python of the tests' own, with packages from PyPI.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::wait::wait_for;

/// For packages that come over a slow line.
const DOWNLOAD: Duration = Duration::from_secs(300);
/// What a finished environment was made of.
const MADE_OF: &str = "made-of";

/// A virtual environment.
#[derive(Clone, Debug)]
pub struct Python {
    folder: PathBuf,
}

impl Python {
    /// The environment in `folder`, with the packages that `requirements` lists. One that was made
    /// of the same before is taken as it is; any other one is made anew.
    ///
    /// # Panics
    /// There is no `python3` that can make environments, or PyPI cannot be reached, or it has no
    /// such packages for this machine.
    #[track_caller]
    #[must_use]
    pub fn with(folder: &Path, requirements: &Path) -> Self {
        let version = step("python3", Command::new("python3").arg("--version"));
        let made_of = format!("{version}{}", fs::read_to_string(requirements).unwrap());
        let python = Self { folder: folder.to_owned() };
        let stamp = folder.join(MADE_OF);
        if fs::read_to_string(&stamp).is_ok_and(|made| made == made_of) {
            return python;
        }
        println!("making {}", folder.display());
        let venv = ["-m", "venv", "--clear"];
        step(
            "python3 -m venv (on Debian: apt-get install python3-venv)",
            Command::new("python3").args(venv).arg(folder),
        );
        let pip = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check"];
        let mut install = Command::new(python.program());
        install.args(pip).arg("--requirement").arg(requirements);
        step("pip install (it needs PyPI, or a mirror that pip is set to)", &mut install);
        fs::write(stamp, made_of).unwrap();
        python
    }

    /// Its interpreter.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.folder.join("bin/python")
    }
}

/// Runs a step of the making; what it printed.
#[track_caller]
fn step(what: &str, command: &mut Command) -> String {
    // Into a file: a full pipe would hold it up.
    let mut output = tempfile::NamedTempFile::new().unwrap();
    let file = || output.as_file().try_clone().unwrap();
    let (stdout, stderr) = (file(), file());
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{what} cannot be run: {error}"));
    let status = wait_for(&format!("{what} ends"), DOWNLOAD, || child.try_wait().unwrap());
    let mut printed = String::new();
    std::io::Seek::rewind(output.as_file_mut()).unwrap();
    std::io::Read::read_to_string(output.as_file_mut(), &mut printed).unwrap();
    assert!(status.success(), "{what} failed with {status}:\n{printed}");
    printed
}
