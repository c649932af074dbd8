//! What the tests need of the machine: a broker, disks whose power can be cut, a clock that can be
//! wrong, a Python that can make virtual environments, and the bare target's core library.
//!
//! As root on Debian it is installed; anywhere else the one command is printed.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;

use super::{BARE_TARGET, Outcome, command};

/// What is needed, and the Debian packages that hold it.
const NEEDED: [(Needed, &str); 4] = [
    (Needed::Program("mosquitto"), "mosquitto"),
    (Needed::Program("mkfs.ext4"), "e2fsprogs"),
    (Needed::Program("faketime"), "faketime"),
    // Debian's Python has `venv`, but not what it puts into an environment to begin with.
    (Needed::PythonModule("ensurepip"), "python3-venv"),
];
/// Where Debian keeps what is not on everybody's path.
const MORE_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

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
            Self::Program(name) => find(name).is_some(),
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
    let packages = missing.join(" ");
    if !(is_debian() && is_root()) {
        let install = format!("sudo apt-get update && sudo apt-get install -y {packages}");
        return Ok(Outcome::Failed(format!("missing: {packages}; on Debian run: {install}")));
    }
    let quiet = [("DEBIAN_FRONTEND", "noninteractive")];
    match command("apt-get", &["update", "-q"], &quiet)? {
        Outcome::Passed => {}
        other => return Ok(other),
    }
    let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
    args.extend(missing);
    command("apt-get", &args, &quiet)
}

/// Adds the bare target's core library.
pub(super) fn targets() -> anyhow::Result<Outcome> {
    let rustc = std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
    let libraries = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", BARE_TARGET])
        .current_dir(crate::workspace::root()?)
        .stdin(Stdio::null())
        .output()
        .context("cannot run rustc")?;
    let folder = String::from_utf8_lossy(&libraries.stdout).trim().to_owned();
    if libraries.status.success() && Path::new(&folder).is_dir() {
        println!("all there: {BARE_TARGET}");
        return Ok(Outcome::Passed);
    }
    command("rustup", &["target", "add", BARE_TARGET], &[])
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists()
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
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
