//! Which faults a trial has, and when: drawn from its seed.

use std::time::Duration;

use e2e::Random;

/// Whom a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Agent,
    Broker,
    Server,
}

/// What happens to a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wiring {
    /// It is cut, and nobody gets through for a while.
    Cut,
    /// Nothing passes for a while.
    Stall,
    /// Nothing passes for a while, and then it is cut.
    StallAndCut,
    /// Little passes for a while.
    Slow,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9`, and a start a while later.
    Kill(Who),
    /// The broker is asked to end, writes its sessions down, and starts a while later.
    StopBroker,
    /// SIGSTOP for a while.
    Pause(Who),
    /// The wire between the agent and the other.
    Network(Who, Wiring),
    /// The power of the agent's disk.
    PowerCut,
    /// The agent's disk is full for a while.
    DiskFull,
}

impl Fault {
    /// Its name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill(Who::Agent) => "agent_kill",
            Self::Kill(Who::Broker) => "broker_kill",
            Self::Kill(Who::Server) => "server_kill",
            Self::StopBroker => "broker_stop",
            Self::Pause(_) => "pause",
            Self::Network(..) => "network_cut",
            Self::PowerCut => "power_cut",
            Self::DiskFull => "disk_full",
        }
    }

    /// Whose life or disk or wire it is about.
    fn subject(self) -> Who {
        match self {
            Self::Kill(who) | Self::Pause(who) | Self::Network(who, _) => who,
            Self::StopBroker => Who::Broker,
            Self::PowerCut | Self::DiskFull => Who::Agent,
        }
    }
}

/// A fault at its moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Once this many thousandths of the readings are acknowledged by the agent.
    pub(crate) at: u64,
    /// And this much later.
    pub(crate) delay: Duration,
    /// What goes wrong.
    pub(crate) fault: Fault,
    /// For how long.
    pub(crate) length: Duration,
    /// What goes wrong meanwhile.
    pub(crate) meanwhile: Option<(Fault, Duration)>,
}

/// What can go wrong on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Possible {
    /// There is a disk whose power can be cut.
    pub(crate) power_cut: bool,
    /// The disk may be full.
    pub(crate) disk_full: bool,
}

/// Draws a trial's faults.
pub(crate) fn draw(random: &mut Random, possible: Possible) -> Vec<Planned> {
    let count = random.between(3, 6);
    let mut plan: Vec<Planned> = (0..count).map(|_| draw_one(random, possible)).collect();
    plan.sort_by_key(|planned| planned.at);
    plan
}

fn draw_one(random: &mut Random, possible: Possible) -> Planned {
    let fault = draw_fault(random, possible);
    let length = draw_length(random, fault);
    let mut meanwhile = None;
    if random.chance(30) {
        let other = draw_fault(random, possible);
        if other.subject() != fault.subject() {
            meanwhile = Some((other, draw_length(random, other)));
        }
    }
    let (at, delay) = (random.between(20, 970), Duration::from_micros(random.between(0, 20_000)));
    Planned { at, delay, fault, length, meanwhile }
}

fn draw_fault(random: &mut Random, possible: Possible) -> Fault {
    const ALL: [Who; 3] = [Who::Agent, Who::Broker, Who::Server];
    const ENDS: [Who; 2] = [Who::Broker, Who::Server];
    const WIRINGS: [Wiring; 4] = [Wiring::Cut, Wiring::Stall, Wiring::StallAndCut, Wiring::Slow];
    match random.between(0, 100) {
        0..22 => Fault::Kill(Who::Agent),
        22..36 => Fault::Kill(Who::Broker),
        36..42 => Fault::StopBroker,
        42..54 => Fault::Kill(Who::Server),
        54..66 => Fault::Pause(pick(random, ALL)),
        66..80 => Fault::Network(pick(random, ENDS), pick(random, WIRINGS)),
        80..95 if possible.power_cut => Fault::PowerCut,
        95.. if possible.disk_full => Fault::DiskFull,
        _ => Fault::Kill(Who::Agent),
    }
}

fn draw_length(random: &mut Random, fault: Fault) -> Duration {
    Duration::from_millis(match fault {
        Fault::Kill(_) | Fault::StopBroker | Fault::PowerCut => random.between(0, 150),
        Fault::Network(_, Wiring::Cut) => random.between(0, 200),
        Fault::DiskFull => random.between(300, 1_500),
        // From 0.2 to 2 seconds, the long ones rarely.
        Fault::Pause(_) | Fault::Network(..) => {
            let share = random.between(0, 1_000);
            200 + 1_800 * share * share * share / 1_000_000_000
        }
    })
}

fn pick<T: Copy, const N: usize>(random: &mut Random, all: [T; N]) -> T {
    all[usize::try_from(random.between(0, u64::try_from(N).unwrap())).unwrap()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const ALL: Possible = Possible { power_cut: true, disk_full: true };

    fn names(seeds: u64, possible: Possible) -> BTreeSet<&'static str> {
        let plans = (0..seeds).flat_map(|seed| draw(&mut Random(seed), possible));
        plans.map(|planned| planned.fault.name()).collect()
    }

    #[test]
    fn a_few_hundred_trials_have_every_fault_and_none_that_is_impossible() {
        let all = names(200, ALL);
        assert_eq!(all.len(), 8, "{all:?}");
        let some = names(200, Possible { power_cut: false, disk_full: false });
        assert_eq!(all.difference(&some).copied().collect::<Vec<_>>(), ["disk_full", "power_cut"]);
    }

    #[test]
    fn the_same_seed_plans_the_same_in_order() {
        for seed in 0..50 {
            let plan = draw(&mut Random(seed), ALL);
            assert_eq!(plan, draw(&mut Random(seed), ALL));
            assert!(plan.is_sorted_by_key(|planned| planned.at));
        }
    }
}
