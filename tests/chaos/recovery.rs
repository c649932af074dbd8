//! How long an agent takes to come back from `kill -9` with 1,000 sensors and an outbox that is
//! full because the server has been away for a hundred days.

use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    os::unix::process::ExitStatusExt,
    sync::Arc,
    thread::sleep,
    time::{Duration, Instant},
};

use e2e::{
    Agent, AgentSettings, Mosquitto, Scratch,
    agent::{CLOCK, READINGS},
    command,
    ports::free_port,
    process::Process,
    proxy::Proxy,
    readings::{DAY_MS, HOUR_MS, berlin_day, sensor_id},
    tap::Tap,
    wait::{SHORT, wait_until},
};

const SENSORS: usize = 1_000;
/// Enough sensor-days for an outbox of 100,000 entries, or of 32 MB, whichever is full first.
const DAYS: i64 = 101;
/// Readings of each sensor on the day that is open when the power goes: one every ten minutes,
/// until the evening.
const STEP_MS: i64 = 10 * 60_000;
const UNTIL_MS: i64 = 20 * HOUR_MS;
const KILLS: usize = 5;
const FED_WITHIN: Duration = Duration::from_secs(900);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What was measured.
#[derive(Debug)]
pub(crate) struct Recovery {
    pub(crate) sensors: u64,
    pub(crate) outbox_entries: u64,
    /// Entries that were given up: the outbox was full.
    pub(crate) outbox_given_up: u64,
    pub(crate) store_kb: u64,
    pub(crate) open_readings: usize,
    /// From the start of the process to its answer on `/health`, for which it has restored what
    /// was open, and to its session with the sensors' broker, over which readings come.
    pub(crate) took_ms: Vec<u64>,
}

/// Fills a store, and kills its agent several times.
pub(crate) fn measure() -> Recovery {
    let scratch = Scratch::new();
    let broker = Mosquitto::start(&scratch, 0);
    let tap = Arc::new(Tap::default());
    let wire = Proxy::to(broker.port(), Some(Arc::clone(&tap)));
    let settings = AgentSettings {
        // Nobody listens there.
        sync_broker: Some(format!("mqtt://127.0.0.1:{}", free_port())),
        commit_every: "1s".into(),
        ..AgentSettings::at(&broker.url())
    };
    let mut agent = Agent::start(&scratch, &settings);
    let open_readings = feed(&scratch, &broker);
    let fed = |agent: &Agent| agent.figure("accepted");
    let mut before = u64::MAX;
    wait_until("the agent has taken everything", FED_WITHIN, || {
        sleep(Duration::from_secs(1));
        let now = fed(&agent);
        std::mem::replace(&mut before, now) == now
    });
    agent.terminate();
    // From now on over a wire that shows when the agent's session is up.
    let settings = AgentSettings { sensor_broker: wire.url(), ..settings };
    let mut agent = Agent::start(&scratch, &settings);
    let mut took_ms = Vec::new();
    for _ in 0..KILLS {
        assert_eq!(agent.kill().signal(), Some(9), "it ran");
        took_ms.push(restart(&mut agent, &tap));
    }
    wait_until("it knows its sensors", SHORT, || agent.figure("sensors") > 0);
    let status = agent.status();
    let figure = |name: &str| status[name].as_u64().unwrap_or(0);
    Recovery {
        sensors: figure("sensors"),
        outbox_entries: figure("outbox"),
        outbox_given_up: given_up(figure("outbox")),
        store_kb: figure("store_kb"),
        open_readings,
        took_ms,
    }
}

/// Of all that was computed, what is not in the outbox any more.
fn given_up(entries: u64) -> u64 {
    u64::try_from(SENSORS).unwrap() * u64::try_from(DAYS).unwrap() - entries
}

fn restart(agent: &mut Agent, tap: &Tap) -> u64 {
    let welcomes = tap.welcomes();
    let restored = |agent: &Agent| agent.process.log().matches("restored from the store").count();
    let restored_before = restored(agent);
    let since = Instant::now();
    agent.process.start_again();
    while !(agent.is_up() && tap.welcomes() > welcomes) {
        assert!(since.elapsed() < SHORT, "{}", agent.process.log());
        sleep(LOOK_EVERY);
    }
    let took = u64::try_from(since.elapsed().as_millis()).unwrap();
    assert_eq!(restored(agent), restored_before + 1, "it takes up where it left off");
    took
}

/// Two readings a day of every sensor, and a day that is still open.
fn feed(scratch: &Scratch, broker: &Mosquitto) -> usize {
    let path = scratch.file("full.csv");
    let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
    writeln!(file, "ts,sensor_id,value").unwrap();
    let mut open = 0;
    let first = berlin_day(3);
    let mut say = |at: i64, value: i64| {
        let mut rows = String::new();
        for number in 0..SENSORS {
            writeln!(rows, "{at},{},{}", sensor_id(number), 20 + value % 7).unwrap();
        }
        file.write_all(rows.as_bytes()).unwrap();
    };
    for day in 0..DAYS {
        say(first + day * DAY_MS + 6 * HOUR_MS, day);
        say(first + day * DAY_MS + 18 * HOUR_MS, day + 3);
    }
    let today = first + DAYS * DAY_MS;
    for step in 0..UNTIL_MS / STEP_MS {
        say(today + step * STEP_MS, step);
        open += SENSORS;
    }
    file.flush().unwrap();
    let (url, path) = (broker.url(), path.to_str().unwrap());
    let arguments = [
        "replay",
        "--csv",
        path,
        "--broker",
        &url,
        "--topic-prefix",
        READINGS,
        "--clock-topic",
        CLOCK,
    ];
    let log = scratch.file("replay.log");
    let mut replay = Process::start(&command::agent(), &arguments, log);
    assert_eq!(replay.wait_for_end(FED_WITHIN), Some(0), "{}", replay.log());
    open
}
