//! A sensor that stops reporting: told on its live topic and at the server, and so is its return.

use e2e::{
    Agent, Broker, Reading, Site,
    readings::berlin_day,
    wait::{LONG, wait_until},
};

const GATEWAY: &str = "gw-1";
const MINUTE: i64 = 60_000;

#[test]
fn a_sensor_that_stops_is_told_here_and_at_the_server_and_so_is_its_return() {
    let site = Site::start(Broker::MOSQUITTO);
    let agent = Agent::start(&site.scratch, &site.agent_settings());
    let listener = site.subscriber("daywise/gw-1/hall/temperature/live");
    let mut publisher = site.publisher();
    let at = |minute: i64| berlin_day(5) + minute * MINUTE;
    let reading =
        |sensor: &str, minute| Reading { sensor: sensor.into(), at_ms: at(minute), value: 20.0 };
    for minute in 0..60 {
        publisher.tick(at(minute));
        publisher.reading(&reading("lab/temperature", minute));
        if minute < 20 {
            publisher.reading(&reading("hall/temperature", minute));
        }
    }
    wait_until("it is missed", LONG, || agent.figure("silent") == 1);
    let is_told = |silent: bool| {
        listener.messages().last().is_some_and(|last| last.json()["silent"] == silent)
    };
    wait_until("its live topic says so", LONG, || is_told(true));
    let at_server = || site.server.get("/api/v1/silences").as_array().cloned().unwrap_or_default();
    wait_until("the server knows", LONG, || at_server().len() == 1);
    let told = &at_server()[0];
    assert_eq!(
        (&told["gateway"], &told["sensor"]),
        (&GATEWAY.into(), &"hall/temperature".into()),
        "{told}"
    );
    assert!(told["until"].is_null(), "{told}");

    publisher.tick(at(61));
    publisher.reading(&reading("hall/temperature", 61));
    publisher.tick(at(62));
    wait_until("it is no longer missed", LONG, || agent.figure("silent") == 0);
    wait_until("its live topic says so", LONG, || is_told(false));
    wait_until("the server knows", LONG, || !at_server()[0]["until"].is_null());
    assert_eq!(at_server().len(), 1, "one silence");
}
