//! `cargo xtask dist`: everything that is given away, in `target/packages/`: for each target of the
//! boards a tarball, for each of Debian's architectures a package, their sums and what is in them.
//!
//! Only data decides what is in a package: the boards' files (limits of the service), `configs/`
//! (the unit, the example) and `packaging/` (the config to begin with, Debian's scripts). The same
//! commit gives the same bytes.

mod clean_root;
mod deb;
mod pages;
mod sbom;
mod tarball;
mod unit;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use daywise_core::board::Board;
use sha2::{Digest as _, Sha256};

use crate::{
    boards,
    cross::{self, Target},
    system, workspace,
};
pub(crate) use unit::exposure;

/// The version of all that is built here.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `cargo xtask dist`
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DistArgs {
    /// Only this target; may be given several times.
    #[arg(long, value_name = "TRIPLE")]
    triple: Vec<String>,
    /// Installs, updates, removes and purges this machine's package in a clean root, too.
    #[arg(long)]
    check: bool,
    /// Ends with one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

/// What a package is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    target: Target,
    /// The boards that it is for; their smallest limits are the service's.
    boards: Vec<Board>,
    agent: PathBuf,
    /// Man pages and completions.
    pages: PathBuf,
}

/// Builds all of it.
pub(crate) fn run(args: &DistArgs) -> anyhow::Result<()> {
    let out = workspace::target_dir()?.join("packages");
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let pages = pages::write()?;
    let mut written = Vec::new();
    for (triple, boards) in boards::by_triple()? {
        if !args.triple.is_empty() && !args.triple.contains(&triple) {
            continue;
        }
        let parts = Parts::build(&triple, boards, pages.path())?;
        written.push(tarball::write(&parts, &out)?);
        if parts.target.debian().is_some() {
            written.push(deb::write(&parts, VERSION, &out)?);
        }
        written.push(sbom::write(&parts.target, &out)?);
        if args.check && parts.target.is_native() {
            clean_root::check(&parts)?;
        }
    }
    if written.is_empty() {
        bail!("no board names such a target");
    }
    let exposure =
        unit::exposure(&workspace::root()?.join("configs/systemd/daywise-agent.service"))?;
    let sums = sums(&written)?;
    fs::write(out.join("SHA256SUMS"), &sums).context("cannot write the sums")?;
    print!("{sums}");
    match exposure {
        Some(exposure) => println!("exposure of the service: {exposure}"),
        None => println!("exposure of the service: systemd-analyze is not here to say"),
    }
    if args.json {
        let names: Vec<String> = written.iter().map(|path| name_of(path)).collect();
        println!("{}", serde_json::json!({ "written": names, "exposure": exposure }));
    }
    Ok(())
}

/// The Debian package of a target, built as `dist` builds it.
pub(crate) fn package(triple: &str, out: &Path) -> anyhow::Result<PathBuf> {
    let mut all = boards::by_triple()?;
    let boards = all.remove(triple).with_context(|| format!("no board names {triple}"))?;
    let pages = pages::write()?;
    deb::write(&Parts::build(triple, boards, pages.path())?, VERSION, out)
}

impl Parts {
    fn build(triple: &str, boards: Vec<Board>, pages: &Path) -> anyhow::Result<Self> {
        let target = Target::new(triple, &boards)?;
        system::install(&target.missing_packages().collect::<Vec<_>>())?;
        target.add_standard_library()?;
        let agent = cross::build_agent(&target)?;
        let bytes = fs::metadata(&agent).context("the agent is gone")?.len();
        if bytes > target.budget_bytes {
            bail!("{triple}: the agent is {bytes} bytes of {}", target.budget_bytes);
        }
        Ok(Self { target, boards, agent, pages: pages.into() })
    }
}

/// A line for each file, as `sha256sum --check` reads them.
fn sums(files: &[PathBuf]) -> anyhow::Result<String> {
    let mut files: Vec<&PathBuf> = files.iter().collect();
    files.sort();
    let mut lines = String::new();
    for path in files {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        for byte in Sha256::digest(&bytes) {
            write!(lines, "{byte:02x}").context("cannot write to memory")?;
        }
        writeln!(lines, "  {}", name_of(path)).context("cannot write to memory")?;
    }
    Ok(lines)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// When the commit was made, which is the time of all files in packages; or what the environment
/// says.
fn source_date() -> anyhow::Result<String> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(given);
    }
    let asked = Command::new("git")
        .args(["log", "-1", "--format=%ct"])
        .current_dir(workspace::root()?)
        .stdin(Stdio::null())
        .output()
        .context("cannot run git")?;
    let said = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    if said.is_empty() {
        bail!("git does not say when the last commit was made")
    }
    Ok(said)
}

/// Copies a file to a place in a tree that is being made.
pub(crate) fn put(from: &Path, tree: &Path, place: &str, mode: u32) -> anyhow::Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    put_bytes(&bytes, tree, place, mode)
}

/// Writes a file to a place in a tree that is being made.
pub(crate) fn put_bytes(bytes: &[u8], tree: &Path, place: &str, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = tree.join(place);
    let about = || format!("cannot write {}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(tree)).with_context(about)?;
    fs::write(&path, bytes).with_context(about)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).with_context(about)
}

/// Files in a folder, in order.
fn files_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::output_of;

    #[test]
    fn sums_are_what_sha256sum_checks() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.deb"), dir.path().join("b.tar.gz"));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        let sums = sums(&[b, a]).unwrap();
        fs::write(dir.path().join("SHA256SUMS"), &sums).unwrap();
        let mut check = Command::new("sha256sum");
        check.args(["--check", "SHA256SUMS"]).current_dir(dir.path());
        assert!(output_of(&mut check).is_ok());
        fs::write(dir.path().join("a.deb"), "not a").unwrap();
        assert!(output_of(&mut check).is_err());
        assert!(sums.starts_with(
            "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb  a.deb\n"
        ));
    }
}
