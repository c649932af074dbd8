//! A tarball with an install script, for systems without Debian packages.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::{Parts, VERSION, files_in, name_of, put, put_bytes, source_date, unit};
use crate::{process::output_of, workspace};

/// Writes it into `out`; says where.
pub(super) fn write(parts: &Parts, out: &Path) -> anyhow::Result<PathBuf> {
    let name = format!("daywise-agent-{VERSION}-{}", parts.target.triple);
    let staging = tempfile::tempdir().context("cannot make a temporary folder")?;
    let tree = staging.path().join(&name);
    let root = workspace::root()?;
    put(&parts.agent, &tree, "daywise-agent", 0o755)?;
    put(&root.join("packaging/install.sh"), &tree, "install.sh", 0o755)?;
    put(&root.join("packaging/agent.toml"), &tree, "agent.toml", 0o644)?;
    for from in ["configs/agent.example.toml", "LICENSE-MIT", "LICENSE-APACHE"] {
        let file = root.join(from);
        put(&file, &tree, &name_of(&file), 0o644)?;
    }
    let unit = fs::read_to_string(root.join("configs/systemd/daywise-agent.service"))
        .context("cannot read the unit")?;
    let unit = unit::with_limits(&unit, &unit::smallest(&parts.boards)?)?;
    put_bytes(unit.as_bytes(), &tree, "daywise-agent.service", 0o644)?;
    for page in files_in(&parts.pages)? {
        let name = name_of(&page);
        let folder = if name.ends_with(".1") { "man" } else { "completions" };
        put(&page, &tree, &format!("{folder}/{name}"), 0o644)?;
    }
    let packed = out.join(format!("{name}.tar.gz"));
    let tar = packed.with_extension("");
    let time = format!("--mtime=@{}", source_date()?);
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", &time]);
    // The mode of folders is the umask's otherwise.
    command.args(["--mode=u=rwX,go=rX", "--format=ustar", "-C"]).arg(staging.path());
    output_of(command.arg("-cf").arg(&tar).arg(&name))?;
    output_of(Command::new("gzip").args(["-9", "-n", "-f"]).arg(&tar))?;
    Ok(packed)
}
