//! What Home Assistant would see at a real broker: announcements that are kept, whether the agent
//! is there, and what happens when either of them starts again.

use e2e::{
    Agent, AgentSettings, Broker, Mosquitto, Publisher, Reading, Scratch, Site, Subscriber,
    mosquitto::DEFAULT_INFLIGHT,
    readings::{HOUR_MS, berlin_day, building, sensor_id},
    subscriber::Message,
    wait::{LONG, wait_until},
};
use serde_json::Value;

const MINUTE: i64 = 60_000;
const GATEWAY: &str = "homeassistant/device/daywise-gw_-1/config";
const STATUS: &str = "daywise/gw-1/status";

fn announcement(sensor: &str) -> String {
    format!("homeassistant/device/daywise-gw_-1-{}/config", sensor.replace('/', "-"))
}

fn settings(broker: &Mosquitto, protocol: &str, more: &str) -> AgentSettings {
    AgentSettings {
        sync_broker: None,
        protocol: protocol.into(),
        more: format!("[home_assistant]\nenabled = true\n{more}"),
        ..AgentSettings::at(&broker.url())
    }
}

/// What the broker has kept under a filter and gives to whoever comes now.
fn kept(broker: &Mosquitto, filter: &str, count: usize) -> Vec<Message> {
    let newcomer = Subscriber::connect(&broker.url(), filter);
    wait_until("the broker gives what it kept", LONG, || newcomer.messages().len() >= count);
    newcomer.messages()
}

fn last(listener: &Subscriber, topic: &str) -> Option<Message> {
    listener.messages().into_iter().rfind(|message| message.topic == topic)
}

fn count(listener: &Subscriber, topic: &str) -> usize {
    listener.messages().iter().filter(|message| message.topic == topic).count()
}

fn says(listener: &Subscriber, status: &str) -> bool {
    last(listener, STATUS).is_some_and(|message| message.payload == status.as_bytes())
}

fn report(publisher: &mut Publisher, sensors: &[&str], minutes: std::ops::Range<i64>) {
    for minute in minutes {
        let at_ms = berlin_day(5) + minute * MINUTE;
        publisher.tick(at_ms);
        for sensor in sensors {
            publisher.reading(&Reading { sensor: (*sensor).into(), at_ms, value: 20.0 });
        }
    }
    publisher.flush();
}

#[test]
fn sensors_are_announced_and_kept_and_announced_again_when_home_assistant_starts() {
    let scratch = Scratch::new();
    let broker = Mosquitto::start(&scratch, DEFAULT_INFLIGHT);
    let agent = Agent::start(&scratch, &settings(&broker, "auto", ""));
    let listener = Subscriber::connect(&broker.url(), "#");
    let mut publisher = Publisher::connect(&broker.url());
    let sensors = ["hall/temperature", "lab/humidity"];
    report(&mut publisher, &sensors, 0..20);
    let all = || [announcement(sensors[0]), announcement(sensors[1]), GATEWAY.to_owned()];
    let are_announced = |times: usize| all().iter().all(|topic| count(&listener, topic) >= times);
    wait_until("all are announced", LONG, || are_announced(1));

    let retained = kept(&broker, "homeassistant/#", 3);
    let mut topics: Vec<&str> = retained.iter().map(|message| message.topic.as_str()).collect();
    topics.sort_unstable();
    let mut expected = all();
    expected.sort_unstable();
    assert_eq!(topics, expected);
    let hall = retained.iter().find(|message| message.topic == announcement(sensors[0])).unwrap();
    let hall: Value = hall.json();
    assert_eq!(hall["availability_topic"], STATUS);
    let state = hall["components"]["score"]["state_topic"].as_str().unwrap();
    wait_until("the live score is where it was announced", LONG, || {
        last(&listener, state).is_some_and(|message| message.json().get("score").is_some())
    });
    let problem = hall["components"]["problem"]["state_topic"].as_str().unwrap();
    wait_until("that there is no problem too", LONG, || {
        last(&listener, problem).is_some_and(|message| message.json()["problem"] == "OFF")
    });

    let before = count(&listener, GATEWAY);
    publisher.publish("homeassistant/status", "online");
    wait_until("all are announced again", LONG, || are_announced(before + 1));

    // None of it came back as a sensor.
    assert_eq!(agent.figure("sensors"), 2);
    let metrics = agent.text("/metrics");
    let labels =
        "{gateway=\"gw-1\",sensor=\"hall/temperature\",quantity=\"temperature\",unit=\"Cel\"}";
    assert!(metrics.contains(&format!("daywise_sensor_value{labels} 20\n")), "{metrics}");
    assert!(metrics.contains(&format!("daywise_sensor_silent{labels} 0\n")), "{metrics}");
    let influx = agent.text("/influx");
    let tags = "gateway=gw-1,sensor=hall/temperature,quantity=temperature,unit=Cel";
    assert!(influx.contains(&format!("daywise_live,{tags} value=20,")), "{influx}");
}

#[test]
fn the_broker_says_when_the_agent_is_gone_and_when_it_is_back() {
    for protocol in ["5", "3.1.1"] {
        let scratch = Scratch::new();
        let broker = Mosquitto::start(&scratch, DEFAULT_INFLIGHT);
        let listener = Subscriber::connect(&broker.url(), STATUS);
        let mut agent = Agent::start(&scratch, &settings(&broker, protocol, ""));
        wait_until("it is there", LONG, || says(&listener, "online"));
        agent.kill();
        wait_until("its last will is said", LONG, || says(&listener, "offline"));
        assert_eq!(kept(&broker, STATUS, 1)[0].payload, b"offline", "kept");
        agent.start_again();
        wait_until("it is there again", LONG, || says(&listener, "online"));
        assert_eq!(agent.terminate(), Some(0));
        wait_until("it says goodbye", LONG, || says(&listener, "offline"));
    }
}

#[test]
fn a_sensor_that_is_denied_is_gone_after_a_restart() {
    let scratch = Scratch::new();
    let broker = Mosquitto::start(&scratch, DEFAULT_INFLIGHT);
    let mut agent = Agent::start(&scratch, &settings(&broker, "auto", ""));
    let listener = Subscriber::connect(&broker.url(), "homeassistant/#");
    let mut publisher = Publisher::connect(&broker.url());
    report(&mut publisher, &["hall/temperature", "lab/humidity"], 0..5);
    let (hall, lab) = (announcement("hall/temperature"), announcement("lab/humidity"));
    wait_until("both are announced", LONG, || {
        count(&listener, &hall) > 0 && count(&listener, &lab) > 0
    });
    assert_eq!(agent.terminate(), Some(0));
    drop(agent);

    let denying = settings(&broker, "auto", "[sensors]\ndeny = [\"lab/*\"]\n");
    let _agent = Agent::start(&scratch, &denying);
    publisher.tick(berlin_day(5) + 6 * MINUTE);
    wait_until("the broker is told to forget it", LONG, || {
        last(&listener, &lab).is_some_and(|message| message.payload.is_empty())
    });
    let retained = kept(&broker, "homeassistant/#", 2);
    let topics: Vec<&String> = retained.iter().map(|message| &message.topic).collect();
    assert!(topics.contains(&&hall) && !topics.contains(&&lab), "{topics:?}");
}

#[test]
fn a_day_like_none_before_is_told_with_its_reasons() {
    const SENSORS: usize = 4;
    let site = Site::start(Broker::MOSQUITTO);
    let settings = AgentSettings {
        more: "[home_assistant]\nenabled = true\n".into(),
        ..site.agent_settings()
    };
    let agent = Agent::start(&site.scratch, &settings);
    let listener = site.subscriber("daywise/#");
    let mut publisher = site.publisher();
    publisher.feed(&building(SENSORS, berlin_day(0), berlin_day(6), HOUR_MS));
    publisher.tick(berlin_day(6) + 2 * HOUR_MS);
    wait_until("the days are there", LONG, || site.server.days("gw-1").len() == 6 * SENSORS);
    site.server.train_well();
    agent.wait_for_model(1);

    // The first sensor's afternoon is far too warm.
    let mut day = building(SENSORS, berlin_day(6), berlin_day(7), HOUR_MS);
    let odd = sensor_id(0);
    let afternoon = berlin_day(6) + 14 * HOUR_MS..berlin_day(6) + 18 * HOUR_MS;
    for reading in &mut day {
        if reading.sensor == odd && afternoon.contains(&reading.at_ms) {
            reading.value += 40.0;
        }
    }
    publisher.feed(&day);
    publisher.tick(berlin_day(7) + 2 * HOUR_MS);
    let topic = |output: &str| format!("daywise/gw-1/{odd}/{output}");
    wait_until("the day is told", LONG, || {
        let told = last(&listener, &topic("last_day"));
        told.is_some_and(|told| !told.json()["novelty"].is_null())
    });
    let told = last(&listener, &topic("last_day")).unwrap().json();
    assert!(told["novelty"].as_f64().unwrap() > 0.99, "{told}");
    assert_eq!(told["model_version"], 1, "{told}");
    assert!(told["cluster"].is_u64() && told["deviation"].is_number(), "{told}");
    let features = told["top_features"].as_array().unwrap();
    assert!(features[0].as_str().unwrap().contains("higher: "), "{told}");
    wait_until("there is a problem", LONG, || {
        last(&listener, &topic("problem")).is_some_and(|told| told.json()["problem"] == "ON")
    });
    let problem = last(&listener, &topic("problem")).unwrap().json();
    assert_eq!(problem["causes"], Value::from(vec!["day"]), "{problem}");
    assert_eq!(problem["why"].as_array().unwrap().len(), features.len(), "{problem}");
    assert!(agent.text("/influx").contains(",cluster="));
    let day = last(&listener, &topic("day")).unwrap().json();
    assert_eq!(day["novelty"], told["novelty"], "the same figures as in {day}");
}
