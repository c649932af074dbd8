//! systemd hears of the agent, and no more of one whose pipeline does not move.

use std::{thread, time::Duration};

use e2e::{
    Agent, AgentSettings, Mosquitto, Publisher, Reading, Scratch,
    image::Image,
    mosquitto::DEFAULT_INFLIGHT,
    readings::berlin_day,
    systemd::Systemd,
    wait::{LONG, wait_until},
};

/// Longer than the pipeline rests, on a slow machine too.
const WATCHDOG: Duration = Duration::from_secs(4);

fn settings(broker: &Mosquitto, systemd: &Systemd) -> AgentSettings {
    AgentSettings {
        sync_broker: None,
        environment: systemd.environment(WATCHDOG),
        ..AgentSettings::at(&broker.url())
    }
}

fn reading(number: i64) -> Reading {
    Reading { sensor: "a".into(), at_ms: berlin_day(0) + number * 60_000, value: 20.5 }
}

#[test]
fn systemd_hears_when_the_agent_is_up_alive_and_on_its_way_out() {
    let scratch = Scratch::new();
    let broker = Mosquitto::start(&scratch, DEFAULT_INFLIGHT);
    let systemd = Systemd::listen(&scratch.file("notify"));
    let mut agent = Agent::start(&scratch, &settings(&broker, &systemd));
    systemd.wait_for("READY=1");
    for _ in 0..3 {
        systemd.wait_for("WATCHDOG=1");
    }
    // Without a tick the agent's clock is not to be believed.
    let mut publisher = Publisher::connect(&broker.url());
    publisher.feed(&[reading(0)]);
    publisher.flush();
    systemd.wait_for("STATUS=ok");
    assert_eq!(agent.terminate(), Some(0));
    assert!(systemd.heard().contains(&"STOPPING=1".to_owned()));
}

/// A disk that neither takes nor refuses what is written to it.
#[test]
fn a_pipeline_that_hangs_is_reported_and_its_watchdog_hears_nothing() {
    let scratch = Scratch::new();
    let disk = match Image::mount(&scratch.file("gw-1-state")) {
        Ok(disk) => disk,
        Err(error) => {
            println!("no disks to freeze: {error}");
            return;
        }
    };
    let broker = Mosquitto::start(&scratch, DEFAULT_INFLIGHT);
    let systemd = Systemd::listen(&scratch.file("notify"));
    let agent = Agent::start(&scratch, &settings(&broker, &systemd));
    let mut publisher = Publisher::connect(&broker.url());
    publisher.feed(&[reading(0)]);
    wait_until("the first reading is durable", LONG, || agent.figure("commits") > 0);

    let frozen = disk.freeze().unwrap();
    publisher.feed(&[reading(1)]);
    publisher.flush();
    wait_until("the agent says that it hangs", LONG, || agent.has_failed());
    let health = agent.health();
    assert_eq!(health["status"], "failed", "{health:#}");
    assert_eq!(health["why"][0]["condition"], "pipeline_stuck", "{health:#}");
    drop(systemd.heard());
    thread::sleep(WATCHDOG);
    let heard = systemd.heard();
    assert!(!heard.contains(&"WATCHDOG=1".to_owned()), "{heard:?}");
    assert!(heard.iter().any(|line| line.starts_with("STATUS=failed: nothing heard")), "{heard:?}");
    let log = agent.process.log();
    assert!(log.contains("ERROR not well condition=\"pipeline_stuck\""), "{log}");

    drop(frozen);
    systemd.wait_for("WATCHDOG=1");
    wait_until("it is well again", LONG, || !agent.has_failed());
    wait_until("the other reading is durable", LONG, || agent.figure("commits") > 1);
}
