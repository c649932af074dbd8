//! An agent under test: its configuration, its process, its HTTP answers.

use std::{
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use serde_json::Value;

use crate::{
    command,
    fake_time::FakeTime,
    http::{self, Answer},
    process::Process,
    scratch::Scratch,
    wait::{LONG, SHORT, wait_for, wait_until},
};

/// Topics of readings are this and the sensor's id.
pub const READINGS: &str = "readings";
/// Ticks of the agent's clock; under the readings' filter, because brokers order messages within
/// one subscription only.
pub const CLOCK: &str = "readings/clock";

/// What the agent's time is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentClock {
    /// What ticks on [`CLOCK`] say.
    Ticks,
    /// The system's; or what a [`FakeTime`] says it is.
    System(Option<FakeTime>),
}

/// What tests vary.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// The gateway's name.
    pub gateway: String,
    /// The site's zone.
    pub timezone: String,
    /// The sensors' broker.
    pub sensor_broker: String,
    /// `[mqtt] protocol`.
    pub protocol: String,
    /// The sync server's broker.
    pub sync_broker: Option<String>,
    /// The feature set.
    pub set: String,
    /// How long readings are gathered before they are made durable.
    pub commit_every: String,
    /// `[days] max_future`.
    pub max_future: String,
    /// `[days] retention`.
    pub retention: String,
    /// `[sync] catch_up_kb_per_s`.
    pub catch_up_kb_per_s: u32,
    /// `[clock]`.
    pub clock: AgentClock,
    /// More lines for the end of the config: sections that are not there otherwise.
    pub more: String,
    /// More for its environment.
    pub environment: Vec<(String, String)>,
}

impl AgentSettings {
    /// One whose sensors and server are at the same broker.
    #[must_use]
    pub fn at(broker: &str) -> Self {
        Self {
            gateway: "gw-1".into(),
            timezone: "Europe/Berlin".into(),
            sensor_broker: broker.into(),
            protocol: "auto".into(),
            sync_broker: Some(broker.into()),
            set: "profile/1".into(),
            commit_every: "500ms".into(),
            max_future: "5m".into(),
            retention: "7d".into(),
            catch_up_kb_per_s: 64,
            clock: AgentClock::Ticks,
            more: String::new(),
            environment: Vec::new(),
        }
    }

    /// The config of an agent that keeps its state in `state_dir`.
    ///
    /// # Panics
    /// The path is no text.
    #[must_use]
    pub fn to_toml(&self, state_dir: &Path) -> String {
        let state_dir = state_dir.to_str().unwrap();
        let Self { gateway, timezone, set, commit_every, max_future, .. } = self;
        let Self { sensor_broker, protocol, .. } = self;
        let clock = match self.clock {
            AgentClock::Ticks => format!("source = \"topic\"\ntopic = \"{CLOCK}\"\n"),
            // However long this machine has been up, and sooner than people would.
            AgentClock::System(_) => {
                "source = \"system\"\nboot_grace = \"0s\"\nconfirm = \"1h\"\n".to_owned()
            }
        };
        let (more, retention) = (&self.more, &self.retention);
        let rate = self.catch_up_kb_per_s;
        let sync = self.sync_broker.as_ref();
        let sync = sync.map(|url| format!("[sync]\nurl = \"{url}\"\ncatch_up_kb_per_s = {rate}\n"));
        let sync = sync.unwrap_or_default();
        format!(
            "gateway = \"{gateway}\"\nboard = \"test-bench\"\nstate_dir = \"{state_dir}\"\n\
             [site]\ntimezone = \"{timezone}\"\n\
             [mqtt]\nurl = \"{sensor_broker}\"\nprotocol = \"{protocol}\"\n\
             [[sources]]\ntopic = \"{READINGS}/{{sensor#}}\"\n\
             {sync}\
             [days]\ngrace = \"2h\"\nretention = \"{retention}\"\nmax_future = \"{max_future}\"\n\
             [features]\nset = \"{set}\"\n\
             [store]\ncommit_every = \"{commit_every}\"\n\
             [http]\nlisten = \"127.0.0.1:0\"\n\
             [clock]\n{clock}\
             [outputs]\nlive_every = \"1s\"\n{more}"
        )
    }

    fn environment(&self) -> Vec<(String, String)> {
        let of_clock = match &self.clock {
            AgentClock::System(Some(fake)) => fake.environment(),
            AgentClock::System(None) | AgentClock::Ticks => Vec::new(),
        };
        [of_clock, self.environment.clone()].concat()
    }
}

/// The agent.
#[derive(Debug)]
pub struct Agent {
    /// Its process.
    pub process: Process,
    /// The gateway's name.
    pub gateway: String,
    state_dir: PathBuf,
    address_file: PathBuf,
}

impl Agent {
    /// Starts one and waits until it answers and is connected to the sensors' broker, which keeps
    /// nothing for it before that.
    ///
    /// # Panics
    /// It ends at once, does not answer or does not connect.
    #[track_caller]
    #[must_use]
    pub fn start(scratch: &Scratch, settings: &AgentSettings) -> Self {
        let gateway = settings.gateway.clone();
        let state_dir = scratch.file(&format!("{gateway}-state"));
        let config = scratch.write(&format!("{gateway}.toml"), settings.to_toml(&state_dir));
        let log = scratch.file(&format!("{gateway}.log"));
        let arguments = ["run", "--config", config.to_str().unwrap()];
        let environment = settings.environment();
        let process = Process::start_with(&command::agent(), &arguments, &environment, log);
        let address_file = state_dir.join("http.addr");
        let mut agent = Self { process, gateway, state_dir, address_file };
        agent.wait_until_up();
        wait_until("the agent is connected", LONG, || !agent.status()["mqtt_protocol"].is_null());
        agent
    }

    #[track_caller]
    fn wait_until_up(&mut self) {
        wait_until("the agent answers", SHORT, || {
            assert!(!self.process.has_ended(), "the agent ended: {}", self.process.log());
            self.is_up()
        });
    }

    /// Whether it says that all is well.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.request("/health").is_some_and(|answer| answer.status == 200)
    }

    /// Where its state is kept.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    fn request(&self, path: &str) -> Option<Answer> {
        http::request(&self.address_file, "GET", path).ok()
    }

    /// Ends it without warning; says how it ended.
    pub fn kill(&mut self) -> ExitStatus {
        let status = self.process.kill();
        self.forget_address();
        status
    }

    /// Asks it to end; its exit code.
    #[track_caller]
    pub fn terminate(&mut self) -> Option<i32> {
        let code = self.process.terminate(Duration::from_secs(40));
        self.forget_address();
        code
    }

    /// So that nobody asks the next one at the address of the last.
    pub fn forget_address(&self) {
        drop(std::fs::remove_file(&self.address_file));
    }

    /// Starts it again and waits until it answers.
    ///
    /// # Panics
    /// It ends at once or does not answer.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.process.start_again();
        self.wait_until_up();
    }

    /// Its status document.
    ///
    /// # Panics
    /// It does not answer.
    #[track_caller]
    #[must_use]
    pub fn status(&self) -> Value {
        let answer = wait_for("the agent tells its status", SHORT, || self.request("/status"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// What it answers at `path`.
    ///
    /// # Panics
    /// It does not answer, or has nothing there.
    #[track_caller]
    #[must_use]
    pub fn text(&self, path: &str) -> String {
        let answer = wait_for("the agent answers", SHORT, || self.request(path));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// How well it is, by its own word.
    ///
    /// # Panics
    /// It does not answer.
    #[track_caller]
    #[must_use]
    pub fn health(&self) -> Value {
        wait_for("the agent tells its health", SHORT, || self.request("/health")).json()
    }

    /// Whether it says that it does not work any more.
    ///
    /// # Panics
    /// It does not answer.
    #[track_caller]
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let answer = wait_for("the agent tells its health", SHORT, || self.request("/health"));
        answer.status == 503
    }

    /// A figure of its status.
    ///
    /// # Panics
    /// It is not there.
    #[track_caller]
    #[must_use]
    pub fn figure(&self, name: &str) -> u64 {
        let status = self.status();
        status[name].as_u64().unwrap_or_else(|| panic!("no figure {name} in {status:#}"))
    }

    /// How many it left out for that reason.
    #[track_caller]
    #[must_use]
    pub fn refused(&self, reason: &str) -> u64 {
        self.status()["refused"][reason].as_u64().unwrap_or(0)
    }

    /// The version of the model that predicts.
    #[track_caller]
    #[must_use]
    pub fn model_version(&self) -> Option<u64> {
        self.status()["model"]["version"].as_u64()
    }

    /// Waits until it predicts with that version.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn wait_for_model(&self, version: u64) {
        wait_until(&format!("the agent runs model version {version}"), LONG, || {
            self.model_version() == Some(version)
        });
    }
}
