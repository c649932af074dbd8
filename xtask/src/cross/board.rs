//! A whole emulated board: Debian's kernel for arm64 on a Cortex-A53, the agent's package on its
//! disk, and a program of `tests/board/` that loads it and cuts its power.
//!
//! Kernel and busybox are Debian's packages, fetched with lists of their own, so that this
//! machine's are left alone. Nothing here needs root once QEMU is installed.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use daywise_core::board::Board;
use serde_json::Value;

use crate::{boards, dist, system, workspace};

/// Whose processor, memory and limits are emulated.
const BOARD: &str = "raspberry-pi-zero-2w";
const PROGRAMS: [(&str, &str); 5] = [
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("cpio", "cpio"),
    ("mkfs.ext4", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("mosquitto", "mosquitto"),
];
/// What the kernel needs for its disk and its network, each after what it needs itself.
const MODULES: [&str; 9] = [
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
];
const DISK_BYTES: u64 = 256 << 20;
/// The first program of all; the disk's own takes over.
const FIRST: &str = "#!/bin/busybox sh\n\
    bb=/bin/busybox\n\
    $bb mount -t proc none /proc\n\
    $bb mount -t devtmpfs none /dev\n\
    for module in $($bb cat /modules); do $bb insmod /$module; done\n\
    $bb mount -t ext4 /dev/vda /disk\n\
    for folder in proc sys dev; do $bb mkdir -p /disk/$folder; done\n\
    $bb mount --move /proc /disk/proc\n\
    $bb mount --move /dev /disk/dev\n\
    $bb mount -t sysfs none /disk/sys\n\
    exec $bb switch_root /disk /sbin/init\n";
const AGENT_TOML: &str = "gateway = \"board\"\n\
    board = \"raspberry-pi-zero-2w\"\n\
    state_dir = \"/var/lib/daywise\"\n\
    [site]\ntimezone = \"Europe/Berlin\"\n\
    [mqtt]\nurl = \"mqtt://BROKER\"\n\
    [[sources]]\ntopic = \"readings/{sensor#}\"\n\
    [http]\nlisten = \"0.0.0.0:8080\"\n";

/// Boots it, loads it, cuts its power so many times; what the trial found.
pub(crate) fn run(cuts: u32, seed: u64) -> anyhow::Result<Value> {
    let board = boards::named(BOARD)?;
    let missing = PROGRAMS.iter().filter(|(program, _)| system::find(program).is_none());
    let mut missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    missing.dedup();
    system::install(&missing)?;
    let cache = workspace::target_dir()?.join("board");
    let debian = fetch(&cache)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let kernel = only(&debian.join("boot"), "vmlinuz-")?;
    let initramfs = initramfs(&debian, folder.path())?;
    let disk = disk(&board, &debian, folder.path())?;
    trial(&board, [&kernel, &initramfs, &disk], cuts, seed)
}

/// Kernel and busybox of arm64, unpacked; kept from one run to the next.
fn fetch(cache: &Path) -> anyhow::Result<PathBuf> {
    let unpacked = cache.join("debian");
    if unpacked.join("done").is_file() {
        return Ok(unpacked);
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
        said(command.args(args).env("APT_CONFIG", &config).current_dir(&packages))
    };
    eprintln!("cross: fetching Debian's kernel for arm64");
    apt("apt-get", &["update", "-q"])?;
    let depends = apt("apt-cache", &["depends", "linux-image-cloud-arm64"])?;
    let kernel = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let kernel = kernel.context("there is no kernel for arm64 in this Debian")?;
    apt("apt-get", &["download", "-q", kernel, "busybox-static"])?;
    for entry in fs::read_dir(&packages).context("cannot list the packages")? {
        let package = entry.context("cannot list the packages")?.path();
        said(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&unpacked))?;
    }
    fs::write(unpacked.join("done"), "").context("cannot finish the board's folder")?;
    Ok(unpacked)
}

/// What the kernel starts with: busybox, the modules, and a script that goes on to the disk.
fn initramfs(debian: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let tree = folder.join("initramfs");
    for made in ["bin", "proc", "dev", "disk"] {
        fs::create_dir_all(tree.join(made)).context("cannot make the initramfs")?;
    }
    program(&debian.join("bin/busybox"), &tree.join("bin/busybox"))?;
    let modules = only(&debian.join("lib/modules"), "")?.join("kernel");
    let mut list = String::new();
    for module in MODULES {
        let file = modules.join(format!("{module}.ko"));
        let name = file.file_name().context("a module without a name")?;
        fs::copy(&file, tree.join(name)).with_context(|| format!("no module {module}"))?;
        list.push_str(&format!("{}\n", name.to_string_lossy()));
    }
    fs::write(tree.join("modules"), list).context("cannot list the modules")?;
    script(FIRST, &tree.join("init"))?;
    let path = folder.join("initramfs.cpio");
    let archive = fs::File::create(&path).context("cannot write the initramfs")?;
    let mut cpio = Command::new("cpio")
        .args(["--quiet", "-o", "-H", "newc", "-R", "0:0"])
        .current_dir(&tree)
        .stdin(Stdio::piped())
        .stdout(archive)
        .spawn()
        .context("cannot run cpio")?;
    let listed = said(Command::new("find").arg(".").current_dir(&tree))?;
    let mut names = cpio.stdin.take().context("cpio does not listen")?;
    names.write_all(listed.as_bytes()).context("cpio does not listen")?;
    drop(names);
    ensure!(cpio.wait().context("cpio is gone")?.success(), "cpio failed");
    Ok(path)
}

/// The board's card: the agent as its package lays it out, and busybox for all else.
fn disk(board: &Board, debian: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let tree = folder.join("disk");
    let package = dist::package(&board.triple, folder)?;
    said(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&tree))?;
    for made in ["bin", "sbin", "proc", "sys", "dev", "run", "tmp", "var/lib/daywise"] {
        fs::create_dir_all(tree.join(made)).context("cannot make the disk")?;
    }
    let busybox = tree.join("bin/busybox");
    program(&debian.join("bin/busybox"), &busybox)?;
    for applet in [
        "sh",
        "ip",
        "mount",
        "mkdir",
        "chown",
        "chmod",
        "sed",
        "tr",
        "date",
        "sleep",
        "touch",
        "start-stop-daemon",
        "pidof",
        "kill",
        "sync",
        "poweroff",
        "cat",
    ] {
        symlink("busybox", tree.join("bin").join(applet)).context("cannot link busybox")?;
    }
    script(include_str!("../../../tests/board/init.sh"), &tree.join("sbin/init"))?;
    let files = [
        ("etc/passwd", "root:x:0:0::/:/bin/sh\ndaywise:x:100:100::/var/lib/daywise:/bin/sh\n"),
        ("etc/group", "root:x:0:\ndaywise:x:100:\n"),
        ("etc/daywise/board.toml", AGENT_TOML),
    ];
    for (place, text) in files {
        fs::write(tree.join(place), text).with_context(|| format!("cannot write {place}"))?;
    }
    let path = folder.join("disk.ext4");
    fs::File::create(&path)
        .and_then(|file| file.set_len(DISK_BYTES))
        .context("cannot make the disk")?;
    let mkfs = system::find("mkfs.ext4").context("mkfs.ext4 is missing")?;
    said(Command::new(mkfs).args(["-q", "-F", "-d"]).arg(&tree).arg(&path))?;
    Ok(path)
}

/// Builds and starts the program that does it.
fn trial(board: &Board, parts: [&Path; 3], cuts: u32, seed: u64) -> anyhow::Result<Value> {
    workspace::run_cargo(&["build", "--locked", "--package", "e2e", "--bin", "daywise-board"])?;
    let program = workspace::target_dir()?.join("debug/daywise-board");
    let mut command = Command::new(&program);
    for (name, part) in ["--kernel", "--initramfs", "--disk"].into_iter().zip(parts) {
        command.arg(name).arg(part);
    }
    let figures = [
        ("--ram-mb", u64::from(board.ram_mb)),
        ("--cores", u64::from(board.cores)),
        ("--sensors", u64::from(board.budget.sensors)),
        ("--agent-memory-mb", u64::from(board.budget.agent_memory_mb)),
        ("--memory-max-mb", u64::from(board.service.memory_max_mb)),
        ("--cuts", u64::from(cuts)),
        ("--seed", seed),
    ];
    for (name, figure) in figures {
        command.arg(name).arg(figure.to_string());
    }
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    ensure!(output.status.success(), "the emulated board's trial failed: {last}");
    serde_json::from_str(last).context("the trial does not say what it found")
}

fn program(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(to, executable).with_context(|| format!("{}", to.display()))
}

fn script(text: &str, to: &Path) -> anyhow::Result<()> {
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(to, executable).with_context(|| format!("{}", to.display()))
}

/// The one entry of a folder whose name begins so.
fn only(folder: &Path, start: &str) -> anyhow::Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let found = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(start)));
    found.with_context(|| format!("nothing that begins with {start} in {}", folder.display()))
}

/// What a program says that must succeed.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
