//! Builds for a target, such that the bytes do not depend on where it is done.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::Target;
use crate::{system, workspace};

/// The profile of what is packaged.
const PROFILE: &str = "dist";
/// What separates flags in cargo's variable for them.
const BETWEEN_FLAGS: &str = "\u{1f}";

/// Builds the agent as it is packaged; says where it is.
pub(crate) fn agent(target: &Target) -> anyhow::Result<PathBuf> {
    build(target, &workspace::root()?, &workspace::target_dir()?)
}

/// Whether sources elsewhere, built into another folder, give the very same program.
pub(super) fn is_reproducible(target: &Target, first: &Path) -> anyhow::Result<bool> {
    let (root, target_dir) = (workspace::root()?, workspace::target_dir()?);
    let elsewhere = tempfile::Builder::new()
        .prefix("cross-again-")
        .tempdir_in(&target_dir)
        .context("cannot make a folder to build in")?;
    let sources = elsewhere.path().join("the same sources");
    copy_sources(&root, &sources)?;
    let second = build(target, &sources, &elsewhere.path().join("built"))?;
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    Ok(read(first)? == read(&second)?)
}

/// What git knows, and what is new and not ignored: what a build sees.
fn copy_sources(root: &Path, to: &Path) -> anyhow::Result<()> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .context("cannot run git")?;
    let names = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
    for name in names.split('\0').filter(|name| !name.is_empty() && root.join(name).is_file()) {
        let copy = to.join(name);
        let folder = copy.parent().context("a file without a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::copy(root.join(name), &copy).with_context(|| format!("cannot copy {name}"))?;
    }
    Ok(())
}

fn build(target: &Target, root: &Path, target_dir: &Path) -> anyhow::Result<PathBuf> {
    let args = [
        "build",
        "--locked",
        "--profile",
        PROFILE,
        "--package",
        "daywise-agent",
        "--bin",
        "daywise-agent",
        "--target",
        &target.triple,
    ];
    let status = cargo(target)
        .args(args)
        .current_dir(root)
        .env("CARGO_TARGET_DIR", target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(target, root, target_dir)?.join(BETWEEN_FLAGS))
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("the build for {} failed", target.triple);
    }
    Ok(target.folder(target_dir, PROFILE).join("daywise-agent"))
}

/// Cargo with what it must know of a target; what it prints goes to stderr.
pub(super) fn cargo(target: &Target) -> Command {
    let mut command = Command::new(workspace::cargo());
    command.args(target.cargo_arguments()).envs(target.environment());
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    command
}

/// What the target needs, and other names for paths: those of this machine are in panic messages, and
/// would make each machine's program another.
fn flags(target: &Target, root: &Path, target_dir: &Path) -> anyhow::Result<Vec<String>> {
    let home = cargo_home().context("neither CARGO_HOME nor HOME is set")?;
    let sysroot = ask_rustc(root, &["--print", "sysroot"])?;
    // Where the standard library's sources are installed, the compiler names that place instead.
    let library = Path::new(&sysroot).join("lib/rustlib/src/rust");
    let version = ask_rustc(root, &["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    let commit = commit.context("the compiler does not say which it is")?;
    let places = [
        (home, "/cargo".to_owned()),
        (root.to_path_buf(), "/daywise".to_owned()),
        (target_dir.to_path_buf(), "/target".to_owned()),
        (library, format!("/rustc/{commit}")),
    ];
    // Of several that fit the compiler takes the last: the build folder may be in the root.
    let renamed = places
        .into_iter()
        .map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display()));
    Ok(target.compiler_flags().iter().map(|flag| (*flag).to_owned()).chain(renamed).collect())
}

fn cargo_home() -> Option<PathBuf> {
    let own = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}

fn ask_rustc(root: &Path, args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(system::rustc())
        .args(args)
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .context("cannot run rustc")?;
    if !output.status.success() {
        bail!("rustc {} failed", args.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
