//! The demo's processes: one server with its broker and one agent, real ones, on loopback.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::mqtt;
use crate::{
    http,
    process::{Interrupt, POLL, Process},
};

/// The gateway's name.
const GATEWAY: &str = "demo";
/// Under the readings' own filter, because a broker keeps the order within a filter only.
const CLOCK_TOPIC: &str = "readings/_clock";
/// Starting takes well under a second.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing at all may change before the demo gives up.
const STALL: Duration = Duration::from_secs(45);
/// A day closes two hours after midnight; and a little.
const GRACE_MS: i64 = 2 * 3_600_000 + 60_000;
/// Late readings are gathered for ten minutes; and a little.
const SETTLE_MS: i64 = 11 * 60_000;

/// Paths of the programs.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) agent: PathBuf,
    pub(super) server: PathBuf,
}

/// Server and agent at work.
#[derive(Debug)]
pub(super) struct Fleet {
    // Dropped in this order: the agent first, its broker after it.
    agent: Process,
    server: Process,
    programs: Programs,
    agent_http: SocketAddr,
    server_http: SocketAddr,
    broker: SocketAddr,
    dir: PathBuf,
    interrupt: Interrupt,
    fed: Fed,
}

/// What was fed so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fed {
    /// Readings sent.
    pub(super) sent: u64,
    /// Rows of the file that are no readings.
    pub(super) rows_left_out: u64,
    /// From the first reading sent to the last one received, pauses between parts excepted.
    pub(super) time: Duration,
}

/// What the agent says of itself.
#[derive(Clone, Debug)]
pub(crate) struct AgentStatus(Value);

impl AgentStatus {
    /// What it answered.
    pub(crate) fn new(answer: Value) -> Self {
        Self(answer)
    }

    /// A count; 0 if it is not told.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A count at a JSON pointer; 0 if it is not told.
    pub(crate) fn at(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Whether it has a session with the sensors' broker.
    pub(crate) fn is_connected(&self) -> bool {
        self.0.get("mqtt_protocol").is_some_and(Value::is_string)
    }

    /// All of it.
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }

    /// Refusals by reason.
    pub(super) fn refused(&self) -> serde_json::Map<String, Value> {
        self.0.get("refused").and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// The version of the model that predicts; 0 for none.
    pub(super) fn model_version(&self) -> u64 {
        self.0.pointer("/model/version").and_then(Value::as_u64).unwrap_or(0)
    }

    /// Where the last update stands.
    pub(super) fn update(&self) -> String {
        self.0.get("update").and_then(Value::as_str).unwrap_or("unknown").into()
    }
}

impl Fleet {
    /// Starts both and waits until they work together.
    pub(super) fn start(
        dir: &Path,
        programs: Programs,
        timezone: &str,
        interrupt: Interrupt,
    ) -> anyhow::Result<Self> {
        let (server_dir, agent_dir) = (dir.join("server"), dir.join("agent"));
        let (server_config, agent_config) = (dir.join("server.toml"), dir.join("agent.toml"));
        for made in [&server_dir, &agent_dir] {
            fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
        }
        write(&server_config, &server_toml(&server_dir))?;
        let run = |program: &Path, config: &Path, log: &str| {
            let config = config.to_str().context("the temporary folder's name is not UTF-8")?;
            Process::start(program, &["run", "--config", config], &dir.join(log))
        };
        let mut server = run(&programs.server, &server_config, "server.log")?;
        let server_http = address(&mut server, &server_dir, &interrupt)?;
        // Written before the server answers.
        let broker = fs::read_to_string(server_dir.join("mqtt.addr")).unwrap_or_default();
        let broker =
            broker.trim().parse().context("the server does not say where its broker is")?;
        write(&agent_config, &agent_toml(&agent_dir, broker, timezone))?;
        let mut agent = run(&programs.agent, &agent_config, "agent.log")?;
        let agent_http = address(&mut agent, &agent_dir, &interrupt)?;
        let dir = dir.to_path_buf();
        let fed = Fed::default();
        Ok(Self { agent, server, programs, agent_http, server_http, broker, dir, interrupt, fed })
    }

    /// Waits until the agent hears what is published: a message to nobody is lost.
    pub(super) fn wait_for_subscription(&mut self, now_ms: i64) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while self.agent_status()?.count("messages") == 0 {
            if Instant::now() > deadline {
                bail!("the agent does not hear its broker:\n{}", self.agent.log_tail());
            }
            self.tick(now_ms)?;
            self.pause()?;
        }
        Ok(())
    }

    /// Replays a CSV file of `rows` rows; `progress` sees how many readings the agent has.
    pub(super) fn feed(
        &mut self,
        csv: &Path,
        timezone: &str,
        mut progress: impl FnMut(u64),
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let log = self.dir.join("replay.log");
        let csv = csv.to_str().context("the temporary folder's name is not UTF-8")?;
        let url = format!("mqtt://{}", self.broker);
        let args = [
            "replay",
            "--csv",
            csv,
            "--broker",
            &url,
            "--speed",
            "max",
            "--timezone",
            timezone,
            "--clock-topic",
            CLOCK_TOPIC,
            "--json",
        ];
        let mut replay = Process::start(&self.programs.agent, &args, &log)?;
        loop {
            let received = self.agent_status()?.count("received");
            progress(received);
            if let Some(status) = replay.try_wait()? {
                if !status.success() {
                    bail!("the replay failed ({status}):\n{}", replay.log_tail());
                }
                break;
            }
            self.pause()?;
        }
        let (sent, left_out) = outcome(&log)?;
        self.fed.sent += sent;
        self.fed.rows_left_out += left_out;
        let mut stall = Stall::new();
        loop {
            let received = self.agent_status()?.count("received");
            progress(received);
            if received >= self.fed.sent {
                break;
            }
            if stall.is_over(received) {
                bail!(
                    "{} readings were sent, but the agent has only {received}:\n{}",
                    self.fed.sent,
                    self.agent.log_tail()
                );
            }
            self.pause()?;
        }
        self.fed.time += started.elapsed();
        Ok(())
    }

    /// Moves the clock past the end of a day and waits until the server has all that closed.
    pub(super) fn close_days(&mut self, day_end_ms: i64) -> anyhow::Result<()> {
        for later_ms in [GRACE_MS, GRACE_MS + SETTLE_MS] {
            self.tick(day_end_ms + later_ms)?;
            let mut stall = Stall::new();
            loop {
                let status = self.agent_status()?;
                let clock_is_there = status.0.get("now_ms").and_then(Value::as_i64).unwrap_or(0)
                    >= day_end_ms + GRACE_MS;
                if clock_is_there && status.count("open_days") == 0 && status.count("outbox") == 0 {
                    break;
                }
                if stall.is_over(status.count("outbox") + status.count("sensor_days")) {
                    bail!("days do not reach the server: {}\n{}", status.0, self.agent.log_tail());
                }
                self.pause()?;
            }
        }
        Ok(())
    }

    /// Trains and waits until the agent runs the new version.
    pub(super) fn train_and_update(&mut self) -> anyhow::Result<u64> {
        let answer = http::request(self.server_http, "POST", "/api/v1/train")?;
        if answer.status != 200 {
            bail!(
                "training answered {}: {}\n{}",
                answer.status,
                answer.body,
                self.server.log_tail()
            );
        }
        let version = answer.body.get("version").and_then(Value::as_u64);
        let version = version.with_context(|| format!("training answered {}", answer.body))?;
        let deadline = Instant::now() + STALL;
        while self.agent_status()?.model_version() < version {
            if Instant::now() > deadline {
                bail!("the agent does not take over model {version}:\n{}", self.agent.log_tail());
            }
            self.pause()?;
        }
        Ok(version)
    }

    /// The agent's status.
    pub(super) fn agent_status(&mut self) -> anyhow::Result<AgentStatus> {
        self.agent.check_running()?;
        Ok(AgentStatus(http::get(self.agent_http, "/status")?))
    }

    /// Asks the server's API.
    pub(super) fn ask_server(&mut self, path: &str) -> anyhow::Result<Value> {
        self.server.check_running()?;
        http::get(self.server_http, path)
    }

    /// The agent's resident memory in KiB: now, and the most so far.
    pub(super) fn agent_memory_kb(&self) -> (u64, u64) {
        (self.agent.memory_kb("VmRSS"), self.agent.memory_kb("VmHWM"))
    }

    /// What was fed so far.
    pub(super) fn fed(&self) -> Fed {
        self.fed
    }

    /// Ends both as a service manager would.
    pub(super) fn stop(mut self) {
        self.agent.stop();
        self.server.stop();
    }

    fn tick(&mut self, now_ms: i64) -> anyhow::Result<()> {
        self.server.check_running()?;
        mqtt::publish(self.broker, CLOCK_TOPIC, &now_ms.to_string())
    }

    fn pause(&mut self) -> anyhow::Result<()> {
        self.agent.check_running()?;
        self.server.check_running()?;
        self.interrupt.pause(POLL)
    }
}

/// Notices that a figure has not moved for long.
struct Stall {
    last: Option<u64>,
    since: Instant,
}

impl Stall {
    fn new() -> Self {
        Self { last: None, since: Instant::now() }
    }

    fn is_over(&mut self, figure: u64) -> bool {
        if self.last != Some(figure) {
            *self = Self { last: Some(figure), since: Instant::now() };
        }
        self.since.elapsed() > STALL
    }
}

/// How many readings a replay says that it sent, and how many rows it left out.
fn outcome(log: &Path) -> anyhow::Result<(u64, u64)> {
    let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
    let said = text.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let said = said.context("the replay does not say what it did")?;
    let sent =
        said.get("sent").and_then(Value::as_u64).context("the replay does not say what it sent")?;
    let refused = said.get("refused").and_then(Value::as_object);
    Ok((sent, refused.into_iter().flat_map(|all| all.values()).filter_map(Value::as_u64).sum()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Waits for the address that a program writes into its state directory, and for an answer.
pub(crate) fn address(
    process: &mut Process,
    state_dir: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<SocketAddr> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        process.check_running()?;
        let said = fs::read_to_string(state_dir.join("http.addr")).unwrap_or_default();
        if let Ok(address) = said.trim().parse()
            && http::get(address, "/health").is_ok()
        {
            return Ok(address);
        }
        if Instant::now() > deadline {
            bail!("a program does not answer:\n{}", process.log_tail());
        }
        interrupt.pause(POLL)?;
    }
}

fn server_toml(state_dir: &Path) -> String {
    format!(
        r#"state_dir = '{}'

[broker]
listen = "127.0.0.1:0"

[http]
listen = "127.0.0.1:0"

[training]
every = "24h"  # the demo says when
"#,
        state_dir.display()
    )
}

fn agent_toml(state_dir: &Path, broker: SocketAddr, timezone: &str) -> String {
    format!(
        r#"gateway = "{GATEWAY}"
board = "generic-x86_64"
state_dir = '{}'

[site]
timezone = "{timezone}"

[mqtt]
url = "mqtt://{broker}"

[[sources]]
topic = "readings/{{sensor#}}"

[sync]
url = "mqtt://{broker}"

[http]
listen = "127.0.0.1:0"

[clock]
source = "topic"
topic = "{CLOCK_TOPIC}"
"#,
        state_dir.display()
    )
}
