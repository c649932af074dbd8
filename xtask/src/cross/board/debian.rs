//! Debian's packages for the board.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

use crate::process::output_of;

/// Debian's packages for arm64, unpacked; kept from one run to the next.
pub(super) struct Debian {
    pub(super) kernel: PathBuf,
    /// Systemd with all that it needs, and busybox.
    pub(super) system: PathBuf,
}

pub(super) fn fetch(cache: &Path) -> anyhow::Result<Debian> {
    let debian = Debian { kernel: cache.join("kernel"), system: cache.join("system") };
    let done = cache.join("done");
    if done.is_file() {
        return Ok(debian);
    }
    // What an interrupted run left.
    if cache.exists() {
        fs::remove_dir_all(cache).context("cannot clear the board's folder")?;
    }
    for folder in ["lists/partial", "cache/archives/partial", "packages"] {
        fs::create_dir_all(cache.join(folder)).context("cannot make the board's folder")?;
    }
    let config = cache.join("apt.conf");
    let place = cache.display();
    let text = format!(
        "APT::Architecture \"arm64\";\nAPT::Architectures {{ \"arm64\"; }};\n\
         APT::Sandbox::User \"root\";\nDir::State::lists \"{place}/lists\";\n\
         Dir::State::status \"/dev/null\";\nDir::Cache \"{place}/cache\";\n"
    );
    fs::write(&config, text).context("cannot write apt's config")?;
    let packages = cache.join("packages");
    let apt = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        output_of(command.args(args).env("APT_CONFIG", &config).current_dir(&packages))
    };
    eprintln!("cross: fetching Debian's kernel and systemd for arm64");
    apt("apt-get", &["update", "-q"])?;
    let depends = apt("apt-cache", &["depends", "linux-image-cloud-arm64"])?;
    let kernel = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let kernel = kernel.context("there is no kernel for arm64 in this Debian")?;
    apt("apt-get", &["download", "-q", kernel])?;
    let only_download = ["install", "-q", "-y", "--download-only", "--no-install-recommends"];
    apt("apt-get", &[&only_download[..], &["systemd", "busybox-static"]].concat())?;
    unpack(&packages, &debian.kernel)?;
    // Packages of this Debian have files in folders that are links since.
    for folder in ["bin", "sbin", "lib"] {
        fs::create_dir_all(debian.system.join("usr").join(folder))
            .and_then(|()| symlink(format!("usr/{folder}"), debian.system.join(folder)))
            .with_context(|| format!("cannot make the board's {folder}"))?;
    }
    unpack(&cache.join("cache/archives"), &debian.system)?;
    fs::write(done, "").context("cannot finish the board's folder")?;
    Ok(debian)
}

/// Unpacks all packages in a folder.
pub(super) fn unpack(packages: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(packages).context("cannot list the packages")? {
        let package = entry.context("cannot list the packages")?.path();
        if package.extension().is_none_or(|extension| extension != "deb") {
            continue;
        }
        let mut read = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(&package)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run dpkg-deb")?;
        let files = read.stdout.take().context("dpkg-deb says nothing")?;
        let written = Command::new("tar")
            .args(["-x", "--keep-directory-symlink", "--no-same-owner", "-C"])
            .arg(to)
            .stdin(files)
            .status()
            .context("cannot run tar")?;
        let is_read = read.wait().context("dpkg-deb is gone")?.success();
        ensure!(is_read && written.success(), "cannot unpack {}", package.display());
    }
    Ok(())
}
