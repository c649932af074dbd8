//! Replays against a broker of a few lines, which can break connections and withhold acks.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
};

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: ReplayArgs,
}

fn args(broker: &str, more: &[&str]) -> ReplayArgs {
    let all = ["replay", "--broker", broker].into_iter().chain(more.iter().copied());
    Cli::try_parse_from(all).unwrap().args
}

/// What a broker was given: topic and payload, in order, repeats included.
type Received = Arc<Mutex<Vec<(String, String)>>>;

/// Takes connections one after the other; each is broken after so many publishes (`None` for
/// never), of which the last `unacked` are not acknowledged.
fn broker(breaks: Vec<Option<usize>>, unacked: usize) -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("mqtt://{}", listener.local_addr().unwrap());
    let received = Received::default();
    let log = Arc::clone(&received);
    thread::spawn(move || {
        for limit in breaks {
            let (stream, _) = listener.accept().unwrap();
            drop(serve(stream, limit.unwrap_or(usize::MAX), unacked, &log));
        }
    });
    (address, received)
}

fn serve(mut stream: TcpStream, limit: usize, unacked: usize, log: &Received) -> io::Result<()> {
    let mut input = io::BufReader::new(stream.try_clone()?);
    let mut published = 0;
    while published < limit {
        let mut first = [0];
        input.read_exact(&mut first)?;
        let mut body = vec![0; remaining_length(&mut input)?];
        input.read_exact(&mut body)?;
        match first[0] >> 4 {
            1 => stream.write_all(&[0x20, 2, 0, 0])?,
            3 => {
                let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let message = (text(&body[2..topic_end]), text(&body[topic_end + 2..]));
                log.lock().unwrap().push(message);
                published += 1;
                if limit == usize::MAX || published + unacked <= limit {
                    stream.write_all(&[0x40, 2, body[topic_end], body[topic_end + 1]])?;
                }
            }
            12 => stream.write_all(&[0xd0, 0])?,
            14 => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

fn remaining_length(input: &mut impl Read) -> io::Result<usize> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            return Ok(length);
        }
    }
}

/// A CSV file of `rows` readings, ten seconds apart, from midnight.
fn write_csv(folder: &Path, rows: i64) -> String {
    let mut text = String::from("ts,sensor_id,value\n");
    for row in 0..rows {
        text.push_str(&format!("{},a/temp,{row}\n", 1_704_067_200 + row * 10));
    }
    let path = folder.join("x.csv");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn payload(row: i64) -> String {
    format!("{{\"ts\":{},\"value\":{row}.0}}", (1_704_067_200 + row * 10) * 1_000)
}

#[tokio::test]
async fn rows_arrive_in_order_with_the_clock_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let csv = write_csv(folder.path(), 13);
    let (broker, received) = broker(vec![None], 0);
    let more = ["--csv", &csv, "--clock-topic", "clock", "--then-advance", "2h"];
    let summary = run(&args(&broker, &more)).await.unwrap();
    assert_eq!((summary.rows, summary.sent, summary.acked), (13, 13, 13));
    assert_eq!((summary.clock_ticks, summary.resent), (5, 0));
    let tick = |seconds: i64| ("clock".to_owned(), ((1_704_067_200 + seconds) * 1_000).to_string());
    let mut expected = Vec::new();
    for row in 0..13 {
        if row % 6 == 0 {
            expected.push(tick(row * 10));
        }
        expected.push(("readings/a/temp".to_owned(), payload(row)));
    }
    expected.extend([tick(120), tick(120 + 7_200)]);
    assert_eq!(*received.lock().unwrap(), expected);
}

#[tokio::test]
async fn broken_connections_neither_skip_nor_reorder() {
    const ROWS: i64 = 5_000;
    let folder = tempfile::tempdir().unwrap();
    let csv = write_csv(folder.path(), ROWS);
    // Ids wrap around several times; one connection dies before it acknowledges anything.
    let (broker, received) = broker(vec![Some(1_777), Some(40), Some(1_003), None], 100);
    let summary = run(&args(&broker, &["--csv", &csv])).await.unwrap();
    assert_eq!((summary.sent, summary.acked), (5_000, 5_000));
    assert!(summary.resent >= 100, "{summary:?}");
    let mut seen = 0;
    for (_, found) in received.lock().unwrap().iter() {
        let at: i64 = found[6..19].parse().unwrap();
        let row = (at / 1_000 - 1_704_067_200) / 10;
        assert!(row <= seen, "row {row} before {seen}");
        seen = seen.max(row + 1);
    }
    assert_eq!(seen, ROWS);
}

#[tokio::test]
async fn bad_rows_and_other_days_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.csv");
    let text = "time,value\n2024-03-30 23:59,1\n2024-03-31 00:00,2\n2024-03-31 12:00,nan\nx,1\n\
                2024-03-31 23:59,3\n2024-04-01 00:00,4\n2024-03-31 20:00,5\n";
    fs::write(&path, text).unwrap();
    let (broker, received) = broker(vec![None], 0);
    let csv = path.display().to_string();
    let day = "2024-03-31";
    let zone = ["--timezone", "Europe/Berlin", "--topic-prefix", "p/"];
    let more = [&["--csv", &csv, "--from", day, "--to", day, "--limit", "2"], &zone[..]].concat();
    let summary = run(&args(&broker, &more)).await.unwrap();
    assert_eq!((summary.acked, summary.outside), (2, 1));
    assert_eq!((summary.refused.of("not_finite"), summary.refused.of("bad_timestamp")), (1, 1));
    let expected = [
        ("p/x".to_owned(), "{\"ts\":1711839600000,\"value\":2.0}".to_owned()),
        ("p/x".to_owned(), "{\"ts\":1711922340000,\"value\":3.0}".to_owned()),
    ];
    assert_eq!(*received.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_pace_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let csv = write_csv(folder.path(), 4);
    let (broker, received) = broker(vec![None], 0);
    let start = Instant::now();
    let summary = run(&args(&broker, &["--csv", &csv, "--speed", "100"])).await.unwrap();
    assert_eq!(summary.acked, 4);
    assert_eq!(received.lock().unwrap().len(), 4);
    assert!(start.elapsed().as_millis() >= 300, "30 s of data at 100 s a second");
}

#[tokio::test]
async fn a_file_without_a_usable_row_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    fs::write(&path, "{}\nnonsense\n").unwrap();
    let (broker, _) = broker(vec![None], 0);
    let outcome = run(&args(&broker, &["--jsonl", &path.display().to_string()])).await;
    let error = outcome.unwrap_err().to_string();
    assert!(error.ends_with("none of its 2 rows can be used"), "{error}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let csv = write_csv(folder.path(), 1);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    tokio::time::pause();
    let outcome = run(&args(&format!("mqtt://{free}"), &["--csv", &csv])).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.to_string(), "the replay stopped: 0 messages sent, 0 acknowledged");
}

#[test]
fn arguments_that_make_no_sense_are_usage_errors() {
    let parse = |more: &[&str]| Cli::try_parse_from([&["replay"], more].concat()).is_ok();
    let broker = ["--broker", "mqtt://h:1"];
    assert!(parse(&[&broker[..], &["--csv", "x"]].concat()));
    assert!(!parse(&["--csv", "x"]));
    assert!(!parse(&broker));
    assert!(!parse(&[&broker[..], &["--csv", "x", "--jsonl", "y"]].concat()));
    for wrong in [
        ["--speed", "0"],
        ["--speed", "fast"],
        ["--timezone", "Mars/Olympus"],
        ["--topic-prefix", "a/#"],
        ["--from", "2024-02-30"],
        ["--then-advance", "1h"],
    ] {
        assert!(!parse(&[&broker[..], &["--csv", "x"], &wrong[..]].concat()), "{wrong:?}");
    }
}
