//! A sync server under test: its configuration, its process, its API.

use std::{path::PathBuf, process::ExitStatus};

use serde_json::Value;

use crate::{
    command,
    days::{Day, Days, differences},
    http::{self, Answer},
    process::Process,
    scratch::Scratch,
    wait::{LONG, SHORT, is_so_within, wait_for, wait_until},
};

/// Where the server's broker is.
#[derive(Clone, Debug)]
pub enum ServerBroker {
    /// In the server, on this port.
    Embedded(u16),
    /// At this address.
    External(String),
}

/// The server.
#[derive(Debug)]
pub struct Server {
    /// Its process.
    pub process: Process,
    address_file: PathBuf,
}

impl Server {
    /// Starts one and waits until it answers. It trains only when told to.
    ///
    /// # Panics
    /// It ends at once or does not answer.
    #[track_caller]
    #[must_use]
    pub fn start(scratch: &Scratch, broker: &ServerBroker) -> Self {
        let state_dir = scratch.file("server-state");
        let broker = match broker {
            ServerBroker::Embedded(port) => format!("listen = \"127.0.0.1:{port}\""),
            ServerBroker::External(url) => format!("url = \"{url}\""),
        };
        let toml = format!(
            "state_dir = \"{}\"\n[broker]\n{broker}\n[http]\nlisten = \"127.0.0.1:0\"\n\
             [training]\nevery = \"24h\"\nmin_new_sensor_days = 1000000\nwindow_days = 3650\nk = 2\n",
            state_dir.display()
        );
        let config = scratch.write("server.toml", toml);
        let arguments = ["run", "--config", config.to_str().unwrap()];
        let process = Process::start(&command::server(), &arguments, scratch.file("server.log"));
        let mut server = Self { process, address_file: state_dir.join("http.addr") };
        server.wait_until_up();
        server
    }

    #[track_caller]
    fn wait_until_up(&mut self) {
        wait_until("the server answers", SHORT, || {
            assert!(!self.process.has_ended(), "the server ended: {}", self.process.log());
            let answer = http::request(&self.address_file, "GET", "/health");
            answer.is_ok_and(|answer| answer.status == 200)
        });
    }

    /// Ends it without warning; says how it ended.
    pub fn kill(&mut self) -> ExitStatus {
        let status = self.process.kill();
        drop(std::fs::remove_file(&self.address_file));
        status
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

    /// Gets a document of the API.
    ///
    /// # Panics
    /// It does not answer, or not with 200.
    #[track_caller]
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        let answer = wait_for("the server answers", SHORT, || {
            http::request(&self.address_file, "GET", path).ok()
        });
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }

    /// Trains now.
    ///
    /// # Panics
    /// It does not answer.
    #[track_caller]
    #[must_use]
    pub fn train(&self) -> Answer {
        http::request(&self.address_file, "POST", "/api/v1/train").unwrap()
    }

    /// Trains now and returns the new model.
    ///
    /// # Panics
    /// It could not be trained.
    #[track_caller]
    pub fn train_well(&self) -> Value {
        let answer = self.train();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// A gateway's sensor-days as the API lists them.
    ///
    /// # Panics
    /// It does not list them.
    #[track_caller]
    #[must_use]
    pub fn sensor_days(&self, gateway: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/v1/sensor-days?gateway={gateway}"));
        answer.as_array().unwrap_or_else(|| panic!("no list: {answer}")).clone()
    }

    /// A gateway's sensor-days, each once.
    ///
    /// # Panics
    /// One is there twice.
    #[track_caller]
    #[must_use]
    pub fn days(&self, gateway: &str) -> Days {
        let mut days = Days::new();
        for row in self.sensor_days(gateway) {
            let (key, day) = Day::from_server(&row);
            assert!(days.insert(key, day).is_none(), "twice in the list: {row:#}");
        }
        days
    }

    /// Waits until a gateway's sensor-days are these: no less, no more, no other content.
    ///
    /// # Panics
    /// They are not, and how they differ.
    #[track_caller]
    pub fn wait_for_days(&self, gateway: &str, expected: &Days) {
        let mut found = Days::new();
        let equal = is_so_within(LONG, || {
            found = self.days(gateway);
            found == *expected
        });
        assert!(equal, "expected and found:\n{}", differences(expected, &found));
    }
}
