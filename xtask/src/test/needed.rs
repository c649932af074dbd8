//! What the tests need of the machine: a broker, disks whose power can be cut, a clock that can be
//! wrong, a Python that can make virtual environments, and the bare target's core library.
//!
//! As root on Debian it is installed; anywhere else the one command is printed.

use std::process::{Command, Stdio};

use super::{BARE_TARGET, Outcome};
use crate::system;

/// What is needed, and the Debian packages that hold it.
const NEEDED: [(Needed, &str); 4] = [
    (Needed::Program("mosquitto"), "mosquitto"),
    (Needed::Program("mkfs.ext4"), "e2fsprogs"),
    (Needed::Program("faketime"), "faketime"),
    // Debian's Python has `venv`, but not what it puts into an environment to begin with.
    (Needed::PythonModule("ensurepip"), "python3-venv"),
];

/// How it shows that a package is there.
#[derive(Clone, Copy, Debug)]
enum Needed {
    Program(&'static str),
    /// Of the `python3` that is found first.
    PythonModule(&'static str),
}

impl Needed {
    fn is_there(self) -> bool {
        match self {
            Self::Program(name) => system::find(name).is_some(),
            Self::PythonModule(name) => {
                let asked = Command::new("python3")
                    .args(["-c", &format!("import {name}")])
                    .stdin(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
                asked.is_ok_and(|status| status.success())
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Program(name) | Self::PythonModule(name) => name,
        }
    }
}

/// Installs what is missing, or says how.
pub(super) fn packages() -> anyhow::Result<Outcome> {
    let missing = NEEDED.iter().filter(|(needed, _)| !needed.is_there());
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if missing.is_empty() {
        println!("all there: {}", NEEDED.map(|(needed, _)| needed.name()).join(", "));
        return Ok(Outcome::Passed);
    }
    system::install(&missing)?;
    Ok(Outcome::Passed)
}

/// Adds the bare target's core library.
pub(super) fn targets() -> anyhow::Result<Outcome> {
    if system::add_target(BARE_TARGET)? {
        println!("all there: {BARE_TARGET}");
    }
    Ok(Outcome::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_noticed() {
        assert!(Needed::Program("sh").is_there());
        assert!(!Needed::Program("no-such-program").is_there());
        assert!(!Needed::PythonModule("no_such_module").is_there());
    }
}
