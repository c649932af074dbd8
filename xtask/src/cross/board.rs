//! A whole emulated board: Debian's kernel and systemd for arm64 on a Cortex-A53, the agent's
//! package on its disk, and a program of `tests/board/` that loads it and cuts its power.
//!
//! All but the agent are Debian's packages, fetched with lists of their own, so that this machine's
//! are left alone. They are unpacked, not configured, which would take the board's own processor.
//! Nothing here needs root once QEMU is installed.

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
/// What the board's owner and its network do, before the agent and beside it.
const BEGIN_UNIT: &str = "[Unit]\nBefore=daywise-agent.service\n\
    [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/board begin\n\
    StandardOutput=tty\nTTYPath=/dev/ttyAMA0\n";
const UNIT: &str = "[Unit]\nAfter=board-begin.service\n\
    [Service]\nExecStart=/usr/sbin/board go-on\nStandardInput=tty\nStandardOutput=tty\n\
    TTYPath=/dev/ttyAMA0\n";

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
    let kernel = only(&debian.kernel.join("boot"), "vmlinuz-")?;
    let initramfs = initramfs(&debian, folder.path())?;
    let disk = disk(&board, &debian, folder.path())?;
    trial(&board, [&kernel, &initramfs, &disk], cuts, seed)
}

/// Debian's packages for arm64, unpacked; kept from one run to the next.
struct Debian {
    kernel: PathBuf,
    /// Systemd with all that it needs, and busybox.
    system: PathBuf,
}

fn fetch(cache: &Path) -> anyhow::Result<Debian> {
    let debian = Debian { kernel: cache.join("kernel"), system: cache.join("system") };
    let done = cache.join("done");
    if done.is_file() {
        return Ok(debian);
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
fn unpack(packages: &Path, to: &Path) -> anyhow::Result<()> {
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

/// What the kernel starts with: busybox, the modules, and a script that goes on to the disk.
fn initramfs(debian: &Debian, folder: &Path) -> anyhow::Result<PathBuf> {
    let tree = folder.join("initramfs");
    for made in ["bin", "proc", "dev", "disk"] {
        fs::create_dir_all(tree.join(made)).context("cannot make the initramfs")?;
    }
    program(&debian.system.join("bin/busybox"), &tree.join("bin/busybox"))?;
    let modules = only(&debian.kernel.join("lib/modules"), "")?.join("kernel");
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

/// The board's card: Debian's systemd, the agent as its package lays it out, and what a board's
/// owner would have set up.
fn disk(board: &Board, debian: &Debian, folder: &Path) -> anyhow::Result<PathBuf> {
    let tree = folder.join("disk");
    said(Command::new("cp").arg("-a").arg(&debian.system).arg(&tree))?;
    let package = folder.join("package");
    fs::create_dir_all(&package).context("cannot make a folder for the package")?;
    dist::package(&board.triple, &package)?;
    unpack(&package, &tree)?;
    for made in ["proc", "sys", "dev", "run", "tmp", "root", "etc/systemd/system", "var/tmp"] {
        fs::create_dir_all(tree.join(made)).context("cannot make the disk")?;
    }
    for applet in ["sh", "ip", "sed", "tr", "date", "sleep", "touch", "cat", "grep"] {
        let place = tree.join("bin").join(applet);
        if !place.exists() {
            symlink("busybox", place).context("cannot link busybox")?;
        }
    }
    symlink("/lib/systemd/systemd", tree.join("sbin/init")).context("cannot link systemd")?;
    let files = [
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\ndaywise:x:100:100::/var/lib/daywise:/bin/sh\n"),
        ("etc/group", "root:x:0:\ntty:x:5:\ndaywise:x:100:\n"),
        ("etc/machine-id", "00000000000000000000000000000001\n"),
        ("etc/daywise/board.toml", AGENT_TOML),
        ("etc/systemd/system/board-begin.service", BEGIN_UNIT),
        ("etc/systemd/system/board.service", UNIT),
    ];
    for (place, text) in files {
        fs::write(tree.join(place), text).with_context(|| format!("cannot write {place}"))?;
    }
    script(include_str!("../../../tests/board/board.sh"), &tree.join("usr/sbin/board"))?;
    let wanted = tree.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wanted).context("cannot make the disk")?;
    let links = [
        ("/lib/systemd/system/multi-user.target", "default.target"),
        // The console is the trial's.
        ("/dev/null", "getty.target"),
        ("../board-begin.service", "multi-user.target.wants/board-begin.service"),
        ("../board.service", "multi-user.target.wants/board.service"),
        // As the package's script enables it.
        (
            "/lib/systemd/system/daywise-agent.service",
            "multi-user.target.wants/daywise-agent.service",
        ),
    ];
    for (to, place) in links {
        symlink(to, tree.join("etc/systemd/system").join(place))
            .with_context(|| format!("cannot link {place}"))?;
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
