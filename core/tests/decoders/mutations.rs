//! Random bytes, and real messages that were cut, joined, flipped and changed.

use std::sync::LazyLock;

use daywise_core::decode::Format;
use proptest::{prelude::*, sample::Index};

use super::{check, seeds};

static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(seeds::all);

/// What numbers are swapped for: what is at the end of some range, or is no number.
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "1e999",
    "-1.7976931348623157e308",
    "5e-324",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1735689600",
    "1735689600123",
    "4102444800001",
    "65535",
    "-127",
    "85",
    "0.1",
    "1e",
    "NaN",
    "-Infinity",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "\"22,5 °C\"",
    "１",
];

/// One thing that is done to an input.
#[derive(Clone, Debug)]
enum Change {
    Cut(Index),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    /// A piece is there once more, so many times, somewhere.
    Repeat(Index, Index, Index, usize),
    /// From a place on it goes on as another seed does.
    Splice(Index, Index, Index),
    Number(Index, &'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        1 => index().prop_map(Change::Cut),
        1 => (index(), any::<u8>()).prop_map(|(at, bits)| Change::Flip(at, bits)),
        1 => (index(), prop::collection::vec(any::<u8>(), 1..6))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (index(), index()).prop_map(|(from, to)| Change::Remove(from, to)),
        1 => (index(), index(), index(), 1_usize..20)
            .prop_map(|(from, to, at, times)| Change::Repeat(from, to, at, times)),
        1 => (index(), index(), index()).prop_map(|(at, seed, from)| Change::Splice(at, seed, from)),
        4 => (index(), prop::sample::select(NUMBERS)).prop_map(|(at, by)| Change::Number(at, by)),
    ]
}

/// A place in `bytes`, or their end.
fn place(index: Index, bytes: &[u8]) -> usize {
    index.index(bytes.len() + 1)
}

/// A piece of `bytes`.
fn piece(from: Index, to: Index, bytes: &[u8]) -> std::ops::Range<usize> {
    let (from, to) = (place(from, bytes), place(to, bytes));
    from.min(to)..from.max(to)
}

/// The numbers that are written in `bytes`.
fn numbers(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for run in bytes.split(|byte| !byte.is_ascii_digit() && !matches!(byte, b'.' | b'-')) {
        if run.iter().any(u8::is_ascii_digit) {
            found.push(start..start + run.len());
        }
        start += run.len() + 1;
    }
    found
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        match change {
            Change::Cut(at) => bytes.truncate(place(*at, &bytes)),
            Change::Flip(at, bits) => {
                let at = place(*at, &bytes);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= bits;
                }
            }
            Change::Insert(at, more) => {
                let at = place(*at, &bytes);
                bytes.splice(at..at, more.iter().copied());
            }
            Change::Remove(from, to) => drop(bytes.drain(piece(*from, *to, &bytes))),
            Change::Repeat(from, to, at, times) => {
                let more = bytes.get(piece(*from, *to, &bytes)).unwrap().repeat(*times);
                let at = place(*at, &bytes);
                bytes.splice(at..at, more);
            }
            Change::Splice(at, seed, from) => {
                let other = seed.get(&SEEDS);
                bytes.truncate(place(*at, &bytes));
                bytes.extend(other.get(place(*from, other)..).unwrap());
            }
            Change::Number(at, by) => {
                let numbers = numbers(&bytes);
                if !numbers.is_empty() {
                    bytes.splice(at.get(&numbers).clone(), by.bytes());
                }
            }
        }
    }
    bytes
}

/// Feeds an input to everything.
fn feed(input: &[u8]) {
    for format in Format::ALL {
        check::decode(*format, input);
    }
    check::detected(input);
    check::announced(input);
}

/// An input with one message, of whatever topic.
fn with_topic(topic: &str, payload: &[u8]) -> Vec<u8> {
    [topic.as_bytes(), b"\n", payload].concat()
}

/// Levels that mean something to one decoder or another.
const LEVELS: &str = "zigbee2mqtt|tele|stat|cmnd|SENSOR|STATE|STATUS8|shellies|relay|emeter|status|\
                      switch:0|events|rpc|rtl_433|devices|BTtoMQTT|SYStoMQTT|zwave|49|50|0|meter|\
                      endpoint_0|set|v3|up|application|device|event|te|main|m|tedge|measurements|\
                      edgex|homeassistant|sensor|state|config|spBv1\\.0|NBIRTH|DDATA|||温度";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changed_messages_give_finite_values_or_a_reason(
        seed in any::<Index>(),
        changes in prop::collection::vec(change(), 1..5),
    ) {
        feed(&changed(seed.get(&SEEDS).clone(), &changes));
    }

    #[test]
    fn no_bytes_are_too_strange(
        topic in prop::sample::select(topics()),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        feed(&with_topic(&topic, &bytes));
    }

    #[test]
    fn no_text_of_json_signs_is_too_strange(
        topic in prop::sample::select(topics()),
        text in r#"[\[\]{}",:0-9eE.+\-\\utnfalsrINy ]{0,80}"#,
    ) {
        feed(&with_topic(&topic, text.as_bytes()));
    }

    #[test]
    fn no_topic_is_too_strange(
        levels in prop::collection::vec(LEVELS, 0..8),
        seed in any::<Index>(),
        place in any::<Index>(),
    ) {
        let parts: Vec<_> = check::parts(seed.get::<Vec<u8>>(&SEEDS)).collect();
        feed(&with_topic(&levels.join("/"), place.get(&parts).payload));
    }
}

/// The topics of the seeds.
fn topics() -> Vec<String> {
    SEEDS.iter().flat_map(|seed| check::parts(seed)).map(|part| part.topic.into_owned()).collect()
}

/// Each seed, in its own format.
fn each_seed(mut visit: impl FnMut(Format, &[u8])) {
    for format in Format::ALL {
        for seed in seeds::of(format.name()) {
            visit(*format, &seed);
        }
    }
}

#[test]
fn every_number_of_every_seed_may_be_anything() {
    each_seed(|format, seed| {
        for range in numbers(seed) {
            for number in NUMBERS {
                let mut input = seed.to_vec();
                input.splice(range.clone(), number.bytes());
                check::decode(format, &input);
            }
        }
    });
}

#[test]
fn every_seed_may_end_anywhere() {
    each_seed(|format, seed| {
        for end in 0..seed.len() {
            let input = seed.get(..end).unwrap();
            check::decode(format, input);
            check::detected(input);
        }
    });
}

#[test]
fn messages_and_numbers_are_found_in_an_input() {
    let input = b"a/b\n1\n--\na/c\n2";
    assert_eq!(check::parts(input).count(), 2);
    assert_eq!(check::decode(Format::Number, input), 4, "with the name told from outside too");
    assert_eq!(numbers(b"a1.5,b-2,c"), [1..4, 6..8]);
}
