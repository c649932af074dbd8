//! The emulated board: switched on, watched, its power cut.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use e2e::{
    Scratch, http,
    ports::free_port,
    wait::{is_so_within, wait_for},
};
use serde_json::Value;

use crate::{Args, sensors::now_ms};

/// Emulated on a busy machine; on an idle one it takes a few seconds.
const BOOT: Duration = Duration::from_secs(120);

/// The board.
pub(crate) struct Guest {
    args: Args,
    broker: String,
    address_file: PathBuf,
    console: PathBuf,
    port: u16,
    machine: Option<Child>,
    /// How often it was switched on.
    pub(crate) boots: u32,
    /// From switching it on to an agent that is connected, the longest.
    pub(crate) slowest_boot: Duration,
}

impl Guest {
    /// Switched off; its broker is at that port of this machine.
    pub(crate) fn new(args: &Args, scratch: &Scratch, broker_port: u16) -> Self {
        let port = free_port();
        let address_file = scratch.write("guest.addr", format!("127.0.0.1:{port}"));
        Self {
            args: args.clone(),
            // What QEMU's network calls the machine that it runs on.
            broker: format!("10.0.2.2:{broker_port}"),
            address_file,
            console: scratch.file("console.log"),
            port,
            machine: None,
            boots: 0,
            slowest_boot: Duration::ZERO,
        }
    }

    /// Switches it on and waits until its agent is connected.
    pub(crate) fn boot(&mut self) {
        let started = Instant::now();
        let console = File::options().create(true).append(true).open(&self.console).unwrap();
        let machine = Command::new("qemu-system-aarch64")
            .args(self.arguments())
            .stdin(Stdio::piped())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .unwrap();
        self.machine = Some(machine);
        self.boots += 1;
        let is_up = is_so_within(BOOT, || {
            let machine = self.machine.as_mut().unwrap();
            assert!(machine.try_wait().unwrap().is_none(), "it went off: {}", self.console());
            // Before that its network takes a connection and leaves it hanging.
            let listens = self.console().matches("board: listens").count();
            u32::try_from(listens).is_ok_and(|listens| listens == self.boots)
                && self.status().is_some_and(|status| !status["mqtt_protocol"].is_null())
        });
        assert!(is_up, "the board does not come up: {}", self.console());
        self.slowest_boot = self.slowest_boot.max(started.elapsed());
    }

    fn arguments(&self) -> Vec<String> {
        let Args { kernel, initramfs, disk, ram_mb, cores, .. } = &self.args;
        let broker = &self.broker;
        let text = format!(
            "-machine virt -cpu cortex-a53 -smp {cores} -m {ram_mb} -display none -no-reboot \
             -serial stdio -monitor none -rtc base=2000-01-01T00:00:00 \
             -device virtio-blk-pci,drive=card -device virtio-net-pci,netdev=net,romfile="
        );
        let mut arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let pairs = [
            ("-kernel", kernel.display().to_string()),
            ("-initrd", initramfs.display().to_string()),
            (
                "-append",
                format!(
                    "console=ttyAMA0 quiet panic=1 systemd.show_status=false daywise.broker={broker}"
                ),
            ),
            ("-drive", format!("file={},format=raw,if=none,id=card", disk.display())),
            ("-netdev", format!("user,id=net,hostfwd=tcp:127.0.0.1:{}-:8080", self.port)),
        ];
        for (name, value) in pairs {
            arguments.extend([name.to_owned(), value]);
        }
        arguments
    }

    /// What its agent says of itself; `None` while it does not answer.
    pub(crate) fn status(&self) -> Option<Value> {
        let answer = http::request(&self.address_file, "GET", "/status").ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Cuts its power.
    pub(crate) fn cut_power(&mut self) {
        let mut machine = self.machine.take().unwrap();
        machine.kill().unwrap();
        machine.wait().unwrap();
    }

    /// Says something on its console.
    fn say(&mut self, line: &str) {
        let machine = self.machine.as_mut().unwrap();
        writeln!(machine.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Until then its clock goes on from 2000.
    pub(crate) fn tell_the_time(&mut self) {
        self.say(&format!("time {}", now_ms() / 1_000));
    }

    /// Ends the agent as a service manager would, lists its readings, and switches off.
    pub(crate) fn stop(&mut self) {
        self.say("stop");
        let mut machine = self.machine.take().unwrap();
        wait_for("the board switches itself off", BOOT, || machine.try_wait().unwrap());
    }

    /// All that its console showed.
    pub(crate) fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    /// What its console said after `board: name`.
    pub(crate) fn said(&self, name: &str) -> Option<String> {
        let console = self.console();
        let line =
            console.lines().rev().find_map(|line| line.strip_prefix("board: ")?.strip_prefix(name));
        line.map(|rest| rest.trim().to_owned())
    }

    /// A file of its disk, once it is off.
    pub(crate) fn file(&self, place: &str) -> String {
        let debugfs = ["/sbin/debugfs", "/usr/sbin/debugfs"].into_iter();
        let debugfs = debugfs.map(PathBuf::from).find(|path| path.exists());
        let output = Command::new(debugfs.unwrap_or_else(|| "debugfs".into()))
            .args(["-R", &format!("cat {place}")])
            .arg(&self.args.disk)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(mut machine) = self.machine.take() {
            drop(machine.kill());
            drop(machine.wait());
        }
    }
}
