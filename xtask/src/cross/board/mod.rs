//! A whole emulated board: Debian's kernel and systemd for arm64 on a Cortex-A53, the agent's
//! package on its disk, and a program of `tests/board/` that loads it and cuts its power.
//!
//! All but the agent are Debian's packages, fetched with lists of their own, so that this machine's
//! are left alone. They are unpacked, not configured, which would take the board's own processor.
//! Nothing here needs root once QEMU is installed.

mod card;
mod debian;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use daywise_core::board::Board;
use serde_json::Value;

use crate::{boards, system, workspace};

/// Whose processor, memory and limits are emulated.
const BOARD: &str = "raspberry-pi-zero-2w";
const PROGRAMS: [(&str, &str); 5] = [
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("cpio", "cpio"),
    ("mkfs.ext4", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("mosquitto", "mosquitto"),
];

/// Boots it, loads it, cuts its power so many times; what the trial found.
pub(crate) fn run(cuts: u32, seed: u64) -> anyhow::Result<Value> {
    let board = boards::named(BOARD)?;
    let missing = PROGRAMS.iter().filter(|(program, _)| system::find(program).is_none());
    let mut missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    missing.dedup();
    system::install(&missing)?;
    let cache = workspace::target_dir()?.join("board");
    let debian = debian::fetch(&cache)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let kernel = only(&debian.kernel.join("boot"), "vmlinuz-")?;
    let initramfs = card::initramfs(&debian, folder.path())?;
    let disk = card::disk(&board, &debian, folder.path())?;
    trial(&board, [&kernel, &initramfs, &disk], cuts, seed)
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

/// The one entry of a folder whose name begins so.
fn only(folder: &Path, start: &str) -> anyhow::Result<PathBuf> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let found = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(start)));
    found.with_context(|| format!("nothing that begins with {start} in {}", folder.display()))
}
