//! Exit codes and messages for what people and files get wrong.

use e2e::{
    Scratch, command,
    readings::{HOUR_MS, berlin_day, building, to_csv},
};

const MODEL_ERRORS: [(&str, &[u8], &str); 3] = [
    ("foreign", b"PK\x03\x04 surely not a model", "not a Daywise model"),
    ("empty", b"", "not a Daywise model"),
    ("short", b"DWMODEL\0\x01\0\xff\xff\0\0", "cut short"),
];

#[test]
fn config_with_three_mistakes_names_all_three_at_once() {
    let scratch = Scratch::new();
    let agent = scratch.write(
        "agent.toml",
        "gateway = \"gw-1\"\nstate_dir = \"state\"\ncolour = \"green\"\n\
         [site]\ntimezone = \"Europe/Berlin\"\n\
         [mqtt]\nurl = \"http://localhost\"\n\
         [[sources]]\ntopic = \"readings/{sensor#}\"\n\
         [days]\ngrace = \"two hours\"\n",
    );
    let server = scratch.write(
        "server.toml",
        "state_dir = \"state\"\n[broker]\nurl = \"http://localhost\"\n\
         [training]\nevery = \"daily\"\nk = 0\n",
    );
    let cases = [
        (command::agent(), agent, ["colour", "url", "grace"]),
        (command::server(), server, ["broker.url", "training.every", "training.k"]),
    ];
    for (program, config, mistakes) in cases {
        let done = command::run(&scratch, program, &["run", "--config", config.to_str().unwrap()]);
        assert_eq!(done.code, Some(78), "{done:#?}");
        for mistake in mistakes {
            assert!(done.stderr.contains(mistake), "{mistake}: {}", done.stderr);
        }
        assert_eq!(done.stdout, "");
    }
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    let scratch = Scratch::new();
    for program in [command::agent(), command::server()] {
        let run = |arguments: &[&str]| command::run(&scratch, program.clone(), arguments);
        assert_eq!(run(&["run"]).code, Some(2));
        assert_eq!(run(&["--version"]).code, Some(0));
        assert_eq!(run(&["--help"]).code, Some(0));
    }
}

#[test]
fn model_file_that_is_none_gives_one_clear_message() {
    let scratch = Scratch::new();
    let features = features(&scratch);
    let sound = model(&scratch, &features);
    let mut damaged = std::fs::read(&sound).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    let out = scratch.file("predictions.csv");
    let cases = MODEL_ERRORS.map(|(name, bytes, reason)| (name, bytes.to_vec(), reason));
    let damaged = ("damaged", damaged, "damaged");
    for (name, bytes, reason) in cases.into_iter().chain([damaged]) {
        let file = scratch.write(name, bytes);
        let arguments = ["predict", "--features", &features, "--model", file.to_str().unwrap()];
        let arguments = [&arguments[..], &["--out", out.to_str().unwrap()]].concat();
        let done = command::run(&scratch, command::agent(), &arguments);
        assert_eq!(done.code, Some(1), "{done:#?}");
        assert_eq!(done.stderr.trim().lines().count(), 1, "one message: {}", done.stderr);
        assert!(done.stderr.contains(reason) && done.stderr.contains(name), "{}", done.stderr);
        assert!(!out.exists(), "no output from nothing");
    }
}

#[test]
fn bad_row_is_named_by_its_line_and_the_rest_is_used() {
    let scratch = Scratch::new();
    let mut csv = to_csv(&building(2, berlin_day(0), berlin_day(2), HOUR_MS));
    csv.push_str("yesterday,room-0/temperature,20\n1711670400000,room-0/temperature,NaN\n");
    let lines = csv.lines().count();
    let csv = scratch.write("readings.csv", csv);
    let out = scratch.file("features.csv");
    let (csv, out) = (csv.to_str().unwrap(), out.to_str().unwrap());
    let arguments =
        ["features", "--csv", csv, "--timezone", "Europe/Berlin", "--out", out, "--json"];
    let done = command::run(&scratch, command::agent(), &arguments).ok();
    let summary = done.json();
    assert_eq!(summary["sensor_days"], 4, "{summary:#}");
    assert_eq!(summary["refused"]["bad_timestamp"], 1, "{summary:#}");
    assert_eq!(summary["refused"]["not_finite"], 1, "{summary:#}");
    for line in [lines - 1, lines] {
        assert!(
            done.stderr.contains(&format!("line {line} refused")),
            "line {line}: {}",
            done.stderr
        );
    }

    let nothing = scratch.write("nothing.csv", "ts,sensor_id,value\nyesterday,a,1\n");
    let arguments =
        ["features", "--csv", nothing.to_str().unwrap(), "--timezone", "UTC", "--out", out];
    assert_eq!(command::run(&scratch, command::agent(), &arguments).code, Some(1));
}

/// A features file.
fn features(scratch: &Scratch) -> String {
    let csv =
        scratch.write("readings.csv", to_csv(&building(4, berlin_day(0), berlin_day(6), HOUR_MS)));
    let out = scratch.file("features.csv").to_str().unwrap().to_owned();
    let csv = csv.to_str().unwrap();
    let arguments = ["features", "--csv", csv, "--timezone", "Europe/Berlin", "--out", &out];
    assert_eq!(command::run(scratch, command::agent(), &arguments).code, Some(0));
    out
}

/// A model trained on it.
fn model(scratch: &Scratch, features: &str) -> String {
    let out = scratch.file("sound.dwm").to_str().unwrap().to_owned();
    let arguments = ["train", "--features", features, "--out", &out, "--k", "2"];
    let done = command::run(scratch, command::server(), &arguments);
    assert_eq!(done.code, Some(0), "{done:#?}");
    out
}
