//! A real mosquitto with a configuration of its own.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
};

use crate::{
    ports::free_port,
    process::Process,
    scratch::Scratch,
    wait::{SHORT, wait_until},
};

/// How many unacknowledged messages a subscriber gets: the mosquitto default is 20, and 0 means
/// no limit.
pub const DEFAULT_INFLIGHT: u16 = 20;

/// How often a broker that keeps its sessions writes them down, in seconds: what came since is
/// lost with its power.
const SAVE_EVERY_S: u32 = 1;

/// Where Debian and others put it.
const PLACES: [&str; 4] = [
    "/usr/sbin/mosquitto",
    "/usr/local/sbin/mosquitto",
    "/usr/bin/mosquitto",
    "/opt/homebrew/sbin/mosquitto",
];

/// The running broker.
#[derive(Debug)]
pub struct Mosquitto {
    /// Its process.
    pub process: Process,
    port: u16,
}

impl Mosquitto {
    /// Starts one and waits until it answers. It keeps every message for absent subscribers, in
    /// memory.
    ///
    /// # Panics
    /// There is none on this machine, or it does not start.
    #[must_use]
    pub fn start(scratch: &Scratch, max_inflight: u16) -> Self {
        Self::start_with(scratch, max_inflight, "persistence false\n")
    }

    /// Starts one that writes sessions and messages to its own folder: every second, and when it
    /// is asked to end.
    ///
    /// # Panics
    /// There is none on this machine, or it does not start.
    #[must_use]
    pub fn start_keeping(scratch: &Scratch, max_inflight: u16) -> Self {
        let folder = scratch.file("mosquitto-state");
        std::fs::create_dir_all(&folder).unwrap();
        let persistence = format!(
            "persistence true\npersistence_location {}/\nautosave_interval {SAVE_EVERY_S}\n",
            folder.display()
        );
        Self::start_with(scratch, max_inflight, &persistence)
    }

    fn start_with(scratch: &Scratch, max_inflight: u16, persistence: &str) -> Self {
        let program = PLACES.iter().map(Path::new).find(|place| place.exists());
        let program = program.expect("mosquitto is needed: apt-get install mosquitto");
        let port = free_port();
        // As root it would otherwise change to a user that cannot read the directory.
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\n{persistence}\
             set_tcp_nodelay true\nmax_inflight_messages {max_inflight}\nmax_queued_messages 0\n\
             log_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\nuser root\n"
        );
        let config: PathBuf = scratch.write("mosquitto.conf", config);
        let log = scratch.file("mosquitto.log");
        let process = Process::start(program, &["-c", config.to_str().unwrap()], log);
        let mut broker = Self { process, port };
        broker.wait_until_up();
        broker
    }

    /// Ends it without warning, and with it all that it held and had not written down.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again and waits until it answers.
    ///
    /// # Panics
    /// It does not.
    pub fn start_again(&mut self) {
        self.process.start_again();
        self.wait_until_up();
    }

    fn wait_until_up(&mut self) {
        wait_until("mosquitto answers", SHORT, || {
            assert!(!self.process.has_ended(), "mosquitto ended: {}", self.process.log());
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address for configs.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }
}
