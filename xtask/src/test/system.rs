//! What the tests need of the machine: a broker, disks whose power can be cut, a clock that can be
//! wrong, and the bare target's core library.
//!
//! As root on Debian it is installed; anywhere else the one command is printed.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;

use super::{BARE_TARGET, Outcome, command};

/// Programs and the Debian packages that hold them.
const PROGRAMS: [(&str, &str); 3] =
    [("mosquitto", "mosquitto"), ("mkfs.ext4", "e2fsprogs"), ("faketime", "faketime")];
/// Where Debian keeps what is not on everybody's path.
const MORE_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// Installs what is missing, or says how.
pub(super) fn packages() -> anyhow::Result<Outcome> {
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).map(|(_, p)| *p).collect();
    if missing.is_empty() {
        println!("all there: {}", PROGRAMS.map(|(program, _)| program).join(", "));
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
