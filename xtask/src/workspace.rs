//! Where the workspace and its build output are.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::process;

/// The workspace's root folder.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .context("xtask's folder has no parent")
}

/// Cargo, as the one that runs us or the one on the path.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// The folder that cargo builds into.
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    let root = root()?;
    Ok(std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |dir| root.join(dir)))
}

/// Runs cargo in the workspace; what it prints goes to stderr.
pub(crate) fn run_cargo(args: &[&str]) -> anyhow::Result<()> {
    process::run(Command::new(cargo()).args(args).current_dir(root()?))
}
