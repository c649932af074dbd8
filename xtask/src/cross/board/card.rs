//! The board's card, and what its kernel starts with.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use daywise_core::board::Board;

use super::{
    debian::{self, Debian},
    only,
};
use crate::{dist, process::output_of, system};

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

/// What the kernel starts with: busybox, the modules, and a script that goes on to the disk.
pub(super) fn initramfs(debian: &Debian, folder: &Path) -> anyhow::Result<PathBuf> {
    let tree = folder.join("initramfs");
    for made in ["bin", "proc", "dev", "disk"] {
        fs::create_dir_all(tree.join(made)).context("cannot make the initramfs")?;
    }
    dist::put(&debian.system.join("bin/busybox"), &tree, "bin/busybox", 0o755)?;
    let modules = only(&debian.kernel.join("lib/modules"), "")?.join("kernel");
    let mut list = String::new();
    for module in MODULES {
        let file = modules.join(format!("{module}.ko"));
        let name = file.file_name().context("a module without a name")?;
        fs::copy(&file, tree.join(name)).with_context(|| format!("no module {module}"))?;
        list.push_str(&format!("{}\n", name.to_string_lossy()));
    }
    fs::write(tree.join("modules"), list).context("cannot list the modules")?;
    dist::put_bytes(FIRST.as_bytes(), &tree, "init", 0o755)?;
    let path = folder.join("initramfs.cpio");
    let archive = fs::File::create(&path).context("cannot write the initramfs")?;
    let mut cpio = Command::new("cpio")
        .args(["--quiet", "-o", "-H", "newc", "-R", "0:0"])
        .current_dir(&tree)
        .stdin(Stdio::piped())
        .stdout(archive)
        .spawn()
        .context("cannot run cpio")?;
    let listed = output_of(Command::new("find").arg(".").current_dir(&tree))?;
    let mut names = cpio.stdin.take().context("cpio does not listen")?;
    names.write_all(listed.as_bytes()).context("cpio does not listen")?;
    drop(names);
    ensure!(cpio.wait().context("cpio is gone")?.success(), "cpio failed");
    Ok(path)
}

/// The board's card: Debian's systemd, the agent as its package lays it out, and what a board's
/// owner would have set up.
pub(super) fn disk(board: &Board, debian: &Debian, folder: &Path) -> anyhow::Result<PathBuf> {
    let tree = folder.join("disk");
    output_of(Command::new("cp").arg("-a").arg(&debian.system).arg(&tree))?;
    let package = folder.join("package");
    fs::create_dir_all(&package).context("cannot make a folder for the package")?;
    dist::package(&board.triple, &package)?;
    debian::unpack(&package, &tree)?;
    for made in ["proc", "sys", "dev", "run", "tmp", "root", "etc/systemd/system", "var/tmp"] {
        fs::create_dir_all(tree.join(made)).context("cannot make the disk")?;
    }
    for applet in ["sh", "ip", "sed", "tr", "date", "mkdir", "touch", "sync"] {
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
        dist::put_bytes(text.as_bytes(), &tree, place, 0o644)?;
    }
    let beside = include_bytes!("../../../../tests/board/board.sh");
    dist::put_bytes(beside, &tree, "usr/sbin/board", 0o755)?;
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
    output_of(Command::new(mkfs).args(["-q", "-F", "-d"]).arg(&tree).arg(&path))?;
    Ok(path)
}
