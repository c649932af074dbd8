//! What the developer commands need of the machine: as root on Debian it is installed, anywhere
//! else the one command is printed.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::{process, workspace};

/// Where Debian and others keep what is not on everybody's path.
const MORE_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/homebrew/sbin"];

/// Installs Debian packages, or says how. Without any there is nothing to do.
pub(crate) fn install(packages: &[impl AsRef<str>]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
    let names = packages.join(" ");
    if !(is_debian() && is_root()) {
        let install = format!("sudo apt-get update && sudo apt-get install -y {names}");
        bail!("missing: {names}; on Debian run: {install}");
    }
    apt_get(&["update", "-q"])?;
    apt_get(&[&["install", "-q", "-y", "--no-install-recommends"], &*packages].concat())
}

fn apt_get(args: &[&str]) -> anyhow::Result<()> {
    eprintln!("$ apt-get {}", args.join(" "));
    process::run(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Adds a target's standard library to the toolchain; says whether it was there already.
pub(crate) fn add_target(triple: &str) -> anyhow::Result<bool> {
    let libraries = Command::new(rustc())
        .args(["--print", "target-libdir", "--target", triple])
        .current_dir(workspace::root()?)
        .stdin(Stdio::null())
        .output()
        .context("cannot run rustc")?;
    let folder = String::from_utf8_lossy(&libraries.stdout).trim().to_owned();
    if libraries.status.success() && Path::new(&folder).is_dir() {
        return Ok(true);
    }
    rustup(&["target", "add", triple])?;
    Ok(false)
}

/// Adds the sources that a standard library is built from.
pub(crate) fn add_library_sources() -> anyhow::Result<()> {
    rustup(&["component", "add", "rust-src"])
}

fn rustup(args: &[&str]) -> anyhow::Result<()> {
    eprintln!("$ rustup {}", args.join(" "));
    process::run(Command::new("rustup").args(args).current_dir(workspace::root()?))
        .context("rustup has the standard libraries")
}

/// The compiler that cargo uses.
pub(crate) fn rustc() -> PathBuf {
    std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from)
}

/// Where that program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

fn is_debian() -> bool {
    Path::new("/etc/debian_version").exists()
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_found() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program"), None);
    }
}
