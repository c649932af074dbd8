//! A mosquitto of our own, on a port of loopback.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{
    process::{Interrupt, POLL, Process},
    system,
};

const START_PATIENCE: Duration = Duration::from_secs(30);

/// The running broker. It holds every message for whoever is away, in memory.
#[derive(Debug)]
pub(crate) struct Mosquitto {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Mosquitto {
    /// Starts one with its config and log in `folder`, and waits until it answers.
    pub(crate) fn start(folder: &Path, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let program =
            system::find("mosquitto").context("mosquitto is needed: apt-get install mosquitto")?;
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .context("cannot find a free port")?;
        // As root it would otherwise change to a user that cannot read the folder.
        let text = format!(
            "listener {} {}\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n\
             log_dest stderr\nlog_type error\nlog_type warning\nuser root\n",
            address.port(),
            address.ip()
        );
        let config = folder.join("mosquitto.conf");
        fs::write(&config, text).context("cannot write mosquitto's config")?;
        let config = config.to_str().context("the folder's name is not UTF-8")?;
        let process = Process::start(&program, &["-c", config], &folder.join("mosquitto.log"))?;
        let mut broker = Self { address, process };
        let deadline = Instant::now() + START_PATIENCE;
        while TcpStream::connect(address).is_err() {
            broker.check_running()?;
            if Instant::now() > deadline {
                bail!("mosquitto does not answer:\n{}", broker.process.log_tail());
            }
            interrupt.pause(POLL)?;
        }
        Ok(broker)
    }

    /// Fails with the end of its log if it has ended.
    pub(crate) fn check_running(&mut self) -> anyhow::Result<()> {
        self.process.check_running()
    }

    /// Asks it to end and waits.
    pub(crate) fn stop(&mut self) {
        self.process.stop();
    }
}
