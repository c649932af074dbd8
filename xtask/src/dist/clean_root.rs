//! A package's life in a clean Debian: installed, its config edited, its agent at work, updated
//! over a previous version, removed, purged; and the tarball's install script. Needs root.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use super::{Parts, VERSION, deb, tarball};
use crate::{
    demo::{fleet, mqtt},
    http,
    mosquitto::Mosquitto,
    process::{Interrupt, POLL, Process, output_of},
    system, workspace,
};

/// Sorts before every real one.
const PREVIOUS: &str = "0.0.1";
const CONFIG: &str = "etc/daywise/agent.toml";
const STATE: &str = "var/lib/daywise";
const READINGS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// Goes through all of it.
pub(super) fn check(parts: &Parts) -> anyhow::Result<()> {
    ensure!(system::is_root(), "a clean root can only be made, and entered, as root");
    let missing = [("debootstrap", "debootstrap"), ("mosquitto", "mosquitto")];
    let missing = missing.into_iter().filter(|(program, _)| system::find(program).is_none());
    system::install(&missing.map(|(_, package)| package).collect::<Vec<_>>())?;
    let base = base()?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let root = Root::copy(&base, &folder.path().join("root"))?;
    let old = deb::write_with(parts, PREVIOUS, "gateway = \"an-older-default\"\n", folder.path())?;
    let new = deb::write(parts, VERSION, folder.path())?;
    installed(&root, &old)?;
    let interrupt = Interrupt::listen()?;
    let broker = Mosquitto::start(folder.path(), &interrupt)?;
    root.write(CONFIG, &config(broker.address))?;
    // By root, before the service has ever run: what it leaves must not be in the service's way.
    root.run(&["daywise-agent", "check", "--config", &format!("/{CONFIG}")])?;
    root.works(broker.address, &interrupt)?;
    updated(&root, &new)?;
    purged(&root)?;
    let other = Root::copy(&base, &folder.path().join("other"))?;
    from_tarball(&other, &tarball::write(parts, folder.path())?)?;
    println!("installed, updated, removed and purged in a clean root; the tarball too");
    Ok(())
}

/// A minimal Debian of this machine's release; made once.
fn base() -> anyhow::Result<PathBuf> {
    let base = workspace::target_dir()?.join("clean-root");
    if base.join("done").is_file() {
        return Ok(base);
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = name.context("this Debian has no name")?;
    eprintln!("dist: making a clean {name}");
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", "--include=adduser,init-system-helpers", name]).arg(&base);
    output_of(&mut command)?;
    fs::write(base.join("done"), "").context("cannot finish the clean root")?;
    Ok(base)
}

fn installed(root: &Root, package: &Path) -> anyhow::Result<()> {
    root.dpkg(&["--install"], package)?;
    let said = root.run(&["daywise-agent", "--version"])?;
    ensure!(said.starts_with("daywise-agent "), "{said}");
    let owner = root.run(&["stat", "-c", "%U %a", "/var/lib/daywise"])?;
    ensure!(owner.trim() == "daywise 750", "the state directory is {owner}");
    let config = root.run(&["stat", "-c", "%U:%G %a", "/etc/daywise/agent.toml"])?;
    ensure!(config.trim() == "root:daywise 640", "the config is {config}");
    let enabled = "etc/systemd/system/multi-user.target.wants/daywise-agent.service";
    ensure!(fs::symlink_metadata(root.path(enabled)).is_ok(), "the service is not enabled");
    let missing = [
        "usr/share/man/man1/daywise-agent.1.gz",
        "usr/share/bash-completion/completions/daywise-agent",
    ]
    .into_iter()
    .find(|place| !root.path(place).is_file());
    ensure!(missing.is_none(), "{missing:?} is missing");
    Ok(())
}

/// The edited config and the store stay.
fn updated(root: &Root, package: &Path) -> anyhow::Result<()> {
    let edited = root.read(CONFIG)?;
    root.dpkg(&["--force-confdef", "--force-confold", "--install"], package)?;
    ensure!(root.read(CONFIG)? == edited, "the edited config was lost");
    let ours = root.read(&format!("{CONFIG}.dpkg-dist"))?;
    ensure!(ours.contains("/var/lib/daywise"), "the new default is not beside it");
    let said = root.run(&["dpkg-query", "-W", "-f", "${Version}", "daywise-agent"])?;
    ensure!(said == VERSION, "{said} is installed");
    let kept = root.samples()?;
    ensure!(kept == READINGS, "{kept} readings of {READINGS} are left of the old store");
    Ok(())
}

fn purged(root: &Root) -> anyhow::Result<()> {
    root.run(&["dpkg", "--remove", "daywise-agent"])?;
    ensure!(!root.path("usr/bin/daywise-agent").exists(), "the agent is still there");
    ensure!(root.path(CONFIG).exists(), "removing took the config");
    ensure!(root.path(STATE).join("store").exists(), "removing took the store");
    root.run(&["dpkg", "--purge", "daywise-agent"])?;
    for gone in ["etc/daywise", STATE, "usr/share/daywise-agent"] {
        ensure!(!root.path(gone).exists(), "purging left {gone}");
    }
    Ok(())
}

fn from_tarball(root: &Root, packed: &Path) -> anyhow::Result<()> {
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(packed).arg("-C").arg(root.path("tmp"));
    output_of(unpack.arg("--strip-components=1"))?;
    root.run(&["/tmp/install.sh"])?;
    root.run(&["/usr/local/bin/daywise-agent", "--version"])?;
    root.write(CONFIG, "gateway = \"mine\"\n")?;
    root.run(&["/tmp/install.sh"])?;
    ensure!(root.read(CONFIG)?.contains("mine"), "the script took the edited config");
    let owner = root.run(&["stat", "-c", "%U %a", "/var/lib/daywise"])?;
    ensure!(owner.trim() == "daywise 750", "the state directory is {owner}");
    let unit = root.read("etc/systemd/system/daywise-agent.service")?;
    ensure!(unit.contains("ExecStart=/usr/local/bin/daywise-agent"), "{unit}");
    root.run(&["/tmp/install.sh", "--uninstall"])?;
    ensure!(!root.path("usr/local/bin/daywise-agent").exists(), "the agent is still there");
    ensure!(root.path(CONFIG).exists(), "uninstalling took the config");
    Ok(())
}

fn config(broker: SocketAddr) -> String {
    format!(
        "gateway = \"clean\"\nstate_dir = \"/{STATE}\"\n[mqtt]\nurl = \"mqtt://{broker}\"\n\
         [[sources]]\ntopic = \"readings/{{sensor#}}\"\n[store]\ncommit_every = \"200ms\"\n\
         [clock]\nboot_grace = \"0s\"\n"
    )
}

/// A file system that programs can be run in.
struct Root(PathBuf);

impl Root {
    fn copy(base: &Path, to: &Path) -> anyhow::Result<Self> {
        output_of(Command::new("cp").arg("-a").arg(base).arg(to))?;
        Ok(Self(to.into()))
    }

    fn path(&self, place: &str) -> PathBuf {
        self.0.join(place)
    }

    fn read(&self, place: &str) -> anyhow::Result<String> {
        fs::read_to_string(self.path(place)).with_context(|| format!("cannot read {place}"))
    }

    /// Over what is there, as an editor would: mode and owner stay.
    fn write(&self, place: &str, text: &str) -> anyhow::Result<()> {
        fs::write(self.path(place), text).with_context(|| format!("cannot write {place}"))
    }

    fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("chroot");
        command.arg(&self.0).args(args).env("DEBIAN_FRONTEND", "noninteractive");
        output_of(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C"))
    }

    fn dpkg(&self, args: &[&str], package: &Path) -> anyhow::Result<()> {
        let copy = self.path("tmp/package.deb");
        fs::copy(package, copy).context("cannot copy the package")?;
        let command = [&["dpkg"], args, &["/tmp/package.deb"]].concat();
        self.run(&command).map(drop)
    }

    /// How many readings are in its store.
    fn samples(&self) -> anyhow::Result<u64> {
        let config = format!("/{CONFIG}");
        let listed = self.run(&["daywise-agent", "inspect", "samples", "--config", &config])?;
        let of = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            u64::try_from(line.get("values")?.as_array()?.len()).ok()
        };
        Ok(listed.lines().filter_map(of).sum())
    }

    /// Its agent, as its own user, takes readings and makes them durable.
    fn works(&self, broker: SocketAddr, interrupt: &Interrupt) -> anyhow::Result<()> {
        let root = self.0.to_str().context("the folder's name is not UTF-8")?;
        let config = format!("/{CONFIG}");
        let user = self.run(&["id", "-u", "daywise"])?;
        let group = self.run(&["id", "-g", "daywise"])?;
        let user = format!("--userspec={}:{}", user.trim(), group.trim());
        let args = [&user, root, "/usr/bin/daywise-agent", "run", "--config", &config];
        let log = self.0.with_extension("log");
        let mut agent = Process::start(Path::new("chroot"), &args, &log)?;
        let address = fleet::address(&mut agent, &self.path(STATE), interrupt)?;
        let deadline = Instant::now() + PATIENCE;
        let status = || http::get(address, "/status").map(fleet::AgentStatus::new);
        while !status()?.is_connected() {
            ensure!(Instant::now() < deadline, "it does not connect:\n{}", agent.log_tail());
            interrupt.pause(POLL)?;
        }
        for number in 0..READINGS {
            mqtt::publish(broker, "readings/room/temperature", &format!("2{number}.5"))?;
            // Two readings of one instant are one.
            interrupt.pause(Duration::from_millis(5))?;
        }
        while status()?.count("accepted") < READINGS {
            if Instant::now() > deadline {
                bail!("not all are taken: {}\n{}", status()?.text(), agent.log_tail());
            }
            interrupt.pause(POLL)?;
        }
        agent.stop();
        Ok(())
    }
}
