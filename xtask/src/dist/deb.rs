//! A Debian package, put together with `dpkg-deb`
//! ([decision 12](../../../docs/decisions/0012-packages.md)).

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::{Parts, files_in, name_of, put, put_bytes, source_date, unit};
use crate::{process::output_of, workspace};

const CONFIG: &str = "etc/daywise/agent.toml";
const DOCS: &str = "usr/share/doc/daywise-agent";
/// Where completions go, by how their files' names end.
const COMPLETIONS: [(&str, &str); 3] = [
    (".bash", "usr/share/bash-completion/completions/daywise-agent"),
    (".fish", "usr/share/fish/vendor_completions.d/daywise-agent.fish"),
    ("_daywise-agent", "usr/share/zsh/vendor-completions/_daywise-agent"),
];

/// Writes the package into `out`; says where.
pub(super) fn write(parts: &Parts, version: &str, out: &Path) -> anyhow::Result<PathBuf> {
    let config = fs::read_to_string(workspace::root()?.join("packaging/agent.toml"))
        .context("cannot read the config to begin with")?;
    write_with(parts, version, &config, out)
}

/// The same with another config to begin with.
pub(super) fn write_with(
    parts: &Parts,
    version: &str,
    config: &str,
    out: &Path,
) -> anyhow::Result<PathBuf> {
    let staging = tempfile::tempdir().context("cannot make a temporary folder")?;
    let tree = staging.path().join("tree");
    fill(parts, config, &tree)?;
    let size_kb = size_kb(&tree)?;
    control(parts, version, size_kb, &tree)?;
    let name = format!("daywise-agent_{version}_{}.deb", architecture(parts)?);
    let package = out.join(name);
    let mut command = Command::new("dpkg-deb");
    command.args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree).arg(&package);
    output_of(command.env("SOURCE_DATE_EPOCH", source_date()?))?;
    Ok(package)
}

fn architecture(parts: &Parts) -> anyhow::Result<&'static str> {
    let none = || format!("{} goes into no Debian package", parts.target.triple);
    parts.target.debian().with_context(none)
}

/// All files as they are to lie on the system.
fn fill(parts: &Parts, config: &str, tree: &Path) -> anyhow::Result<()> {
    let root = workspace::root()?;
    put(&parts.agent, tree, "usr/bin/daywise-agent", 0o755)?;
    put_bytes(config.as_bytes(), tree, CONFIG, 0o644)?;
    let unit = fs::read_to_string(root.join("configs/systemd/daywise-agent.service"))
        .context("cannot read the unit")?;
    let unit = unit::with_limits(&unit, &unit::smallest(&parts.boards)?)?;
    put_bytes(unit.as_bytes(), tree, "usr/lib/systemd/system/daywise-agent.service", 0o644)?;
    for board in &parts.boards {
        let place = format!("usr/share/daywise-agent/boards/{}.conf", board.name);
        put_bytes(unit::drop_in(board)?.as_bytes(), tree, &place, 0o644)?;
    }
    for (from, name) in [
        ("configs/agent.example.toml", "agent.example.toml"),
        ("configs/mosquitto.conf", "mosquitto.conf"),
        ("CHANGELOG.md", "changelog.md"),
        ("LICENSE-MIT", "copyright"),
    ] {
        put(&root.join(from), tree, &format!("{DOCS}/{name}"), 0o644)?;
    }
    for page in files_in(&parts.pages)? {
        let name = name_of(&page);
        let completion = COMPLETIONS.iter().find(|(ending, _)| name.ends_with(ending));
        match completion {
            Some((_, place)) => put(&page, tree, place, 0o644)?,
            None => put(&page, tree, &format!("usr/share/man/man1/{name}"), 0o644)?,
        }
    }
    output_of(Command::new("gzip").args(["-9", "-n", "-r"]).arg(tree.join("usr/share/man")))?;
    Ok(())
}

fn control(parts: &Parts, version: &str, size_kb: u64, tree: &Path) -> anyhow::Result<()> {
    let mut depends = "adduser".to_owned();
    if let Some(needed) = needed_libc(&parts.agent)? {
        depends = format!("{depends}, libc6 (>= {needed}), libgcc-s1");
    }
    let architecture = architecture(parts)?;
    let text = format!(
        "Package: daywise-agent\nVersion: {version}\nArchitecture: {architecture}\n\
         Maintainer: The Daywise maintainers <daywise@localhost>\nInstalled-Size: {size_kb}\n\
         Depends: {depends}\nRecommends: mosquitto\nSection: net\nPriority: optional\n\
         Description: learns what a normal day looks like for every sensor\n \
         Reads sensors over MQTT, keeps their readings through crashes and outages, reduces\n \
         each local day to a few features and says which days are not normal, and why.\n"
    );
    put_bytes(text.as_bytes(), tree, "DEBIAN/control", 0o644)?;
    put_bytes(format!("/{CONFIG}\n").as_bytes(), tree, "DEBIAN/conffiles", 0o644)?;
    let scripts = workspace::root()?.join("packaging/debian");
    for script in files_in(&scripts)? {
        put(&script, tree, &format!("DEBIAN/{}", name_of(&script)), 0o755)?;
    }
    let mut files = Vec::new();
    files_below(tree, &mut files)?;
    let mut sums = String::new();
    for path in files.iter().filter_map(|path| path.strip_prefix(tree).ok()) {
        if !path.starts_with("DEBIAN") && path != Path::new(CONFIG) {
            let sum = output_of(Command::new("md5sum").arg(path).current_dir(tree))?;
            write!(sums, "{sum}").context("cannot write to memory")?;
        }
    }
    put_bytes(sums.as_bytes(), tree, "DEBIAN/md5sums", 0o644)
}

/// The newest version of glibc's symbols that a program asks for; `None` for a static one.
fn needed_libc(program: &Path) -> anyhow::Result<Option<String>> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    Ok(newest_glibc(&bytes).map(|(major, minor)| format!("{major}.{minor}")))
}

fn newest_glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let places = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let versions = places.filter_map(|(place, _)| {
        let rest = bytes.get(place + MARK.len()..)?.iter();
        let text: String = rest
            .map(|byte| char::from(*byte))
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect();
        let mut numbers = text.split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.max()
}

fn size_kb(tree: &Path) -> anyhow::Result<u64> {
    let mut files = Vec::new();
    files_below(tree, &mut files)?;
    let sizes = files.iter().map(|path| fs::metadata(path).map_or(0, |data| data.len()));
    Ok(sizes.map(|bytes| bytes.div_ceil(1_024)).sum())
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for path in files_in(folder)? {
        if path.is_dir() {
            files_below(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_decides_which_library_is_needed() {
        let program = b"\x7fELF GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.17\0GLIBC_PRIVATE\0";
        assert_eq!(newest_glibc(program), Some((2, 34)));
        assert_eq!(newest_glibc(b"\x7fELF GCC_3.5 static"), None);
    }
}
