//! The processes of one trial, the wires between them, and the faults they are given.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use e2e::{
    Agent, AgentSettings, Mosquitto, Scratch, Server,
    image::{Filler, Image},
    mosquitto::DEFAULT_INFLIGHT,
    ports::free_port,
    process::Process,
    proxy::{Proxy, Wire},
    server::ServerBroker,
    tap::{Content, Tap},
    wait::{SHORT, wait_until},
};

use crate::{
    plan::{Fault, Planned, Who, Wiring},
    store,
};

/// The gateway's name.
pub(crate) const GATEWAY: &str = "gw-1";
const SIGKILL: i32 = 9;
/// Finer than the harness otherwise looks, because it is measured.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Everything that runs. Fields are in the order they are to end.
pub(crate) struct Site {
    pub(crate) agent: Agent,
    pub(crate) server: Server,
    pub(crate) broker: Mosquitto,
    pub(crate) tap: Arc<Tap>,
    pub(crate) settings: AgentSettings,
    pub(crate) seen: Seen,
    to_broker: Proxy,
    to_server: Proxy,
    image: Option<Image>,
    pub(crate) scratch: Scratch,
}

/// What really happened.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Faults by name.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// From the agent's start to when it answers and its broker has taken it, in milliseconds.
    pub(crate) recoveries_ms: Vec<u64>,
    /// Processes that ended by themselves, and how.
    pub(crate) ends: Vec<String>,
    /// Readings that the agent had acknowledged and that its store did not hold after a crash.
    pub(crate) lost: BTreeSet<Content>,
}

impl Seen {
    fn count(&mut self, name: &'static str, times: u64) {
        if times > 0 {
            *self.faults.entry(name).or_default() += times;
        }
    }
}

/// What is to be undone when a fault is over.
enum Undo {
    StartAgent,
    StartBroker,
    StartServer,
    Resume(Who),
    Mend(Who, bool),
    Empty(Filler),
}

impl Site {
    /// Starts everything; the agent's state is on a disk whose power can be cut if there is one.
    pub(crate) fn start(has_image: bool) -> Self {
        let scratch = Scratch::new();
        let state_dir = scratch.file(&format!("{GATEWAY}-state"));
        let image = has_image.then(|| Image::mount(&state_dir).unwrap());
        let broker = Mosquitto::start_keeping(&scratch, DEFAULT_INFLIGHT);
        let port = free_port();
        let server = Server::start(&scratch, &ServerBroker::Embedded(port));
        let tap = Arc::new(Tap::default());
        let to_broker = Proxy::to(broker.port(), Some(Arc::clone(&tap)));
        let to_server = Proxy::to(port, None);
        let settings = AgentSettings {
            gateway: GATEWAY.into(),
            sync_broker: Some(to_server.url()),
            commit_every: "100ms".into(),
            ..AgentSettings::at(&to_broker.url())
        };
        let agent = Agent::start(&scratch, &settings);
        let seen = Seen::default();
        let site = Self {
            agent,
            server,
            broker,
            tap,
            settings,
            seen,
            to_broker,
            to_server,
            image,
            scratch,
        };
        wait_until("the agent has subscribed", SHORT, || site.tap.subscriptions() > 0);
        site
    }

    /// Lets a fault happen, with another within it, and mends it.
    pub(crate) fn suffer(&mut self, planned: &Planned) {
        let undo = self.begin(planned.fault);
        let since = Instant::now();
        if let Some((fault, length)) = planned.meanwhile {
            sleep(planned.length / 2);
            let undo = self.begin(fault);
            sleep(length);
            self.end(undo, true);
        }
        sleep(planned.length.saturating_sub(since.elapsed()));
        self.end(undo, false);
    }

    /// Asks the agent to end; it has to do so in order.
    pub(crate) fn stop_agent(&mut self) {
        let code = self.agent.terminate();
        if code != Some(0) {
            self.seen.ends.push(format!("the agent drained and ended with {code:?}"));
        }
    }

    /// Whether the agent and the server run; what ended by itself is noted.
    pub(crate) fn is_alive(&mut self) -> bool {
        let mut is_alive = true;
        for (who, process) in
            [("agent", &mut self.agent.process), ("server", &mut self.server.process)]
        {
            if process.has_ended() {
                self.seen.ends.push(format!("the {who} ended by itself"));
                is_alive = false;
            }
        }
        is_alive
    }

    /// Ends everything but the scratch folder.
    pub(crate) fn into_scratch(self) -> Scratch {
        self.scratch
    }

    /// Cuts the wire to the server, so that what waits for an answer that got lost is sent now.
    pub(crate) fn nudge_sync(&self) {
        self.to_server.cut();
    }

    fn process(&mut self, who: Who) -> &mut Process {
        match who {
            Who::Agent => &mut self.agent.process,
            Who::Broker => &mut self.broker.process,
            Who::Server => &mut self.server.process,
        }
    }

    fn wire(&self, who: Who) -> &Proxy {
        match who {
            Who::Agent | Who::Broker => &self.to_broker,
            Who::Server => &self.to_server,
        }
    }

    fn begin(&mut self, fault: Fault) -> Undo {
        let (undo, times) = match fault {
            Fault::Kill(who) => {
                let status = match who {
                    Who::Agent => self.agent.kill(),
                    Who::Broker => self.broker.process.kill(),
                    Who::Server => self.server.kill(),
                };
                let undo = match who {
                    Who::Agent => Undo::StartAgent,
                    Who::Broker => Undo::StartBroker,
                    Who::Server => Undo::StartServer,
                };
                (undo, u64::from(self.note_end(who, status)))
            }
            Fault::StopBroker => {
                self.broker.process.terminate(SHORT);
                (Undo::StartBroker, 1)
            }
            Fault::Pause(who) => {
                // One that ended by itself is noted when it is to be killed or has to end.
                let runs = !self.process(who).has_ended();
                if runs {
                    self.process(who).pause();
                }
                (Undo::Resume(who), u64::from(runs))
            }
            Fault::Network(who, wiring) => self.damage(who, wiring),
            Fault::PowerCut => (Undo::StartAgent, self.cut_power()),
            Fault::DiskFull => {
                let filler = self.image.as_ref().expect("planned only with one").fill().unwrap();
                (Undo::Empty(filler), 1)
            }
        };
        self.seen.count(fault.name(), times);
        undo
    }

    fn damage(&self, who: Who, wiring: Wiring) -> (Undo, u64) {
        let wire = self.wire(who);
        let connections = match wiring {
            Wiring::Cut => {
                wire.set(Wire::Refusing);
                wire.cut()
            }
            Wiring::Stall | Wiring::StallAndCut => {
                wire.set(Wire::Stalled);
                wire.connections()
            }
            Wiring::Slow => {
                wire.set(Wire::Slow);
                wire.connections()
            }
        };
        (Undo::Mend(who, wiring == Wiring::StallAndCut), u64::from(connections > 0))
    }

    /// The agent, its disk and its wire stop at one moment; of what it says later nothing is
    /// heard, and of what it writes later nothing is kept.
    fn cut_power(&mut self) -> u64 {
        if !self.agent.process.has_ended() {
            self.agent.process.pause();
        }
        let image = self.image.as_mut().expect("planned only with one");
        let noted = image.note().unwrap();
        self.tap.stop_listening();
        let status = self.agent.kill();
        let image = self.image.as_mut().expect("it is still there");
        image.cut_power(noted).unwrap();
        self.agent.forget_address();
        self.to_broker.cut();
        self.to_server.cut();
        self.tap.listen();
        u64::from(self.note_end(Who::Agent, status))
    }

    /// Whether its end was ours. One that had ended before is noted.
    fn note_end(&mut self, who: Who, status: ExitStatus) -> bool {
        let was_ours = status.signal() == Some(SIGKILL);
        if !was_ours {
            self.seen.ends.push(format!("{who:?} had ended by itself: {status}"));
        }
        was_ours
    }

    fn start_agent(&mut self, is_measured: bool) {
        self.seen.lost.extend(store::missing(self));
        let welcomes = self.tap.welcomes();
        let said = self.agent.process.log().len();
        let since = Instant::now();
        self.agent.process.start_again();
        // On a full disk it has come as far as it can when it says that it waits for space.
        let waits = |site: &Self| {
            !is_measured
                && site.agent.process.log()[said..].contains(r#"condition="store_waiting""#)
        };
        self.await_agent(since, |site| {
            let is_up = site.agent.is_up() && (!is_measured || site.tap.welcomes() > welcomes);
            is_up || waits(site)
        });
        if is_measured {
            let took = since.elapsed().as_millis();
            self.seen.recoveries_ms.push(u64::try_from(took).unwrap());
        }
    }

    fn await_agent(&mut self, since: Instant, has_recovered: impl Fn(&Self) -> bool) {
        while !has_recovered(self) {
            if since.elapsed() > SHORT || self.agent.process.has_ended() {
                panic!("the agent does not recover: {}", self.agent.process.log());
            }
            sleep(LOOK_EVERY);
        }
    }

    fn end(&mut self, undo: Undo, is_within_another: bool) {
        match undo {
            Undo::StartAgent => self.start_agent(!is_within_another),
            Undo::StartBroker => self.broker.start_again(),
            Undo::StartServer => self.server.start_again(),
            Undo::Resume(who) if self.process(who).has_ended() => {}
            Undo::Resume(who) => self.process(who).resume(),
            Undo::Mend(who, and_cut) => {
                let wire = self.wire(who);
                wire.set(Wire::Good);
                if and_cut {
                    wire.cut();
                }
            }
            Undo::Empty(filler) => {
                drop(filler);
                // It may have been started while there was no space.
                if !self.agent.process.has_ended() {
                    self.await_agent(Instant::now(), |site| site.agent.is_up());
                }
            }
        }
    }
}
