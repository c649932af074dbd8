//! The soak's processes: mosquitto, a server, the agent, and the replay that feeds it.

use std::{
    fs,
    io::BufWriter,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::readings;
use crate::{
    demo::fleet::{AgentStatus, address},
    http,
    mosquitto::Mosquitto,
    process::{Interrupt, POLL, Process},
};

/// Under the readings' own filter, so that ticks stay between the readings.
const CLOCK_TOPIC: &str = "readings/_clock";
const START_PATIENCE: Duration = Duration::from_secs(30);
/// After the last reading the clock moves on by this, so that the last day closes.
const THEN_ADVANCE: &str = "3h";

/// How the agent is set up.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) programs: PathBuf,
    pub(super) board: String,
    pub(super) durability: String,
    /// Readings in a commit.
    pub(super) max_batch: u32,
    /// The agent's environment, as its service gives it.
    pub(super) environment: Vec<(String, String)>,
}

/// All of it, running.
#[derive(Debug)]
pub(super) struct Gateway {
    // Dropped in this order: their broker last.
    agent: Process,
    server: Process,
    mosquitto: Mosquitto,
    program: PathBuf,
    agent_http: SocketAddr,
    dir: PathBuf,
}

impl Gateway {
    pub(super) fn start(dir: &Path, setup: &Setup, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let mosquitto = Mosquitto::start(dir, interrupt)?;
        let broker = mosquitto.address;
        let (server_dir, agent_dir) = (dir.join("server"), dir.join("agent"));
        for made in [&server_dir, &agent_dir] {
            fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
        }
        let start = |program: &Path, name: &str, toml: String, environment: &[_]| {
            let config = dir.join(format!("{name}.toml"));
            fs::write(&config, toml).context("cannot write a config")?;
            let config = config.to_str().context("the folder's name is not UTF-8")?;
            let log = dir.join(format!("{name}.log"));
            Process::start_in(program, &["run", "--config", config], &log, environment)
        };
        let server_program = setup.programs.join("daywise-server");
        let mut server = start(&server_program, "server", server_toml(&server_dir, broker), &[])?;
        address(&mut server, &server_dir, interrupt)?;
        let program = setup.programs.join("daywise-agent");
        let toml = agent_toml(&agent_dir, broker, setup);
        let mut agent = start(&program, "agent", toml, &setup.environment)?;
        let agent_http = address(&mut agent, &agent_dir, interrupt)?;
        let dir = dir.to_path_buf();
        let mut gateway = Self { agent, server, mosquitto, program, agent_http, dir };
        let deadline = Instant::now() + START_PATIENCE;
        while !gateway.status()?.is_connected() {
            if Instant::now() > deadline {
                bail!("the agent does not reach its broker:\n{}", gateway.log_tail());
            }
            interrupt.pause(POLL)?;
        }
        Ok(gateway)
    }

    pub(super) fn status(&mut self) -> anyhow::Result<AgentStatus> {
        self.agent.check_running()?;
        self.server.check_running()?;
        self.mosquitto.check_running()?;
        Ok(AgentStatus::new(http::get(self.agent_http, "/status")?))
    }

    /// The agent's resident memory.
    pub(super) fn memory_kb(&self) -> u64 {
        self.agent.memory_kb("VmRSS")
    }

    /// Bytes of the store's files.
    pub(super) fn store_bytes(&self) -> u64 {
        bytes_below(&self.dir.join("agent/store"))
    }

    pub(super) fn log_tail(&self) -> String {
        self.agent.log_tail()
    }

    /// Begins to feed it.
    pub(super) fn feed(&self, sensors: u32, days: u16, speed: &str) -> anyhow::Result<Feed> {
        let log = fs::File::create(self.dir.join("replay.log")).context("cannot write a log")?;
        let broker = format!("mqtt://{}", self.mosquitto.address);
        let mut replay = Command::new(&self.program)
            .args(["replay", "--csv", "-", "--broker", &broker, "--speed", speed])
            .args(["--clock-topic", CLOCK_TOPIC, "--then-advance", THEN_ADVANCE])
            .stdin(Stdio::piped())
            .stdout(log.try_clone().context("cannot share the log")?)
            .stderr(log)
            .spawn()
            .context("cannot start the replay")?;
        let input = replay.stdin.take().context("the replay takes no input")?;
        let writer = thread::spawn(move || write(input, sensors, days));
        Ok(Feed { replay, writer: Some(writer) })
    }

    pub(super) fn stop(mut self) {
        self.agent.stop();
        self.server.stop();
        self.mosquitto.stop();
    }
}

fn write(input: ChildStdin, sensors: u32, days: u16) -> std::io::Result<()> {
    readings::write(sensors, days, &mut BufWriter::with_capacity(1 << 16, input))
}

/// The replay and the thread that gives it readings; ended when dropped.
#[derive(Debug)]
pub(super) struct Feed {
    replay: Child,
    writer: Option<JoinHandle<std::io::Result<()>>>,
}

impl Feed {
    /// Fails if the replay has failed.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.replay.try_wait().context("cannot ask for the replay")? {
            Some(status) if !status.success() => bail!("the replay failed ({status})"),
            _ => Ok(()),
        }
    }

    /// Waits for its end.
    pub(super) fn finish(mut self, interrupt: &Interrupt) -> anyhow::Result<()> {
        while self.replay.try_wait().context("cannot ask for the replay")?.is_none() {
            interrupt.pause(POLL)?;
        }
        self.check()?;
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) | None => Ok(()),
            Some(Ok(Err(error))) => Err(error).context("the replay did not take all readings"),
            Some(Err(_)) => bail!("the readings could not be made"),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // It may have ended already, which is fine here.
        if self.replay.kill().is_ok() {
            drop(self.replay.wait());
        }
    }
}

fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_below(&entry.path()),
            Ok(found) => found.len(),
            // It was removed just now.
            Err(_) => 0,
        })
        .sum()
}

fn server_toml(state_dir: &Path, broker: SocketAddr) -> String {
    format!(
        r#"state_dir = '{}'

[broker]
url = "mqtt://{broker}"

[http]
listen = "127.0.0.1:0"

[training]
every = "24h"  # of this machine's time: not while this runs
"#,
        state_dir.display()
    )
}

fn agent_toml(state_dir: &Path, broker: SocketAddr, setup: &Setup) -> String {
    let Setup { board, durability, max_batch, .. } = setup;
    format!(
        r#"gateway = "soak"
board = "{board}"
state_dir = '{}'

[site]
timezone = "Europe/Berlin"

[mqtt]
url = "mqtt://{broker}"

[[sources]]
topic = "readings/{{sensor#}}"

[sync]
url = "mqtt://{broker}"

[store]
max_batch = {max_batch}
durability = "{durability}"

[http]
listen = "127.0.0.1:0"

[clock]
source = "topic"
topic = "{CLOCK_TOPIC}"
"#,
        state_dir.display()
    )
}
