//! What the worst messages cost: memory, allocations, time.

use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use daywise_core::{
    decode::{Devices, Format, MAX_PAYLOAD_BYTES, MAX_VALUES, Message, detect},
    time::UtcMillis,
};

use super::worst::{self, Worst};

/// A payload may take so many times its size while it is decoded. The worst is a list of objects
/// of one member, `{"":0}`: a tree of the standard library takes 700 bytes whatever it holds.
const TIMES: u64 = 128;
/// And this beside it, for what is remembered of devices.
const BESIDE: u64 = 1024 * 1024;
/// More than the largest message takes in a slow build, and less than what is not linear.
const LONGEST: Duration = Duration::from_millis(500);
/// How many times slower than usual this machine is: an emulated one, for instance.
const SLOWER: &str = "DAYWISE_TIMES_SLOWER";
/// The machine may be busy: one of so many attempts has to be in time.
const ATTEMPTS: usize = 5;
/// Names in topics: a usual one, and one that takes all that MQTT has room for.
const NAMES: [(&str, usize); 2] = [("a", 1), ("n_temperature ", 4_500)];

/// What reading a payload as a format takes, from telling that it is one.
fn cost(format: Format, topic: &str, payload: &[u8]) -> AllocationInfo {
    measure(|| {
        let message = Message { topic, payload, device: None, now: UtcMillis(1_735_689_600_000) };
        let (found, mut values) = (detect(&message), 0);
        let read = Devices::default().decode(format, &message, &mut |found| {
            values += 1;
            std::hint::black_box(found.value.is_ok());
        });
        std::hint::black_box((found, read.is_ok()));
        assert!(values <= MAX_VALUES, "{format}: {values} values");
    })
}

fn bound(topic: &str, payload: &[u8]) -> u64 {
    u64::try_from(topic.len() + payload.len()).unwrap() * TIMES + BESIDE
}

fn longest() -> Duration {
    let slower = std::env::var(SLOWER).ok().map(|times| times.parse().unwrap());
    LONGEST * slower.unwrap_or(1)
}

fn all() -> impl Iterator<Item = Worst> {
    worst::json().chain(worst::OWN.iter().copied())
}

#[test]
fn the_worst_messages_take_bounded_memory_and_time() {
    for Worst { name, format, topic, make } in all() {
        let payload = make(MAX_PAYLOAD_BYTES);
        let sizes = MAX_PAYLOAD_BYTES - 300..=MAX_PAYLOAD_BYTES;
        assert!(sizes.contains(&payload.len()), "{format}: {name}: {} bytes", payload.len());
        for (level, times) in NAMES {
            let topic = topic.replace('*', &level.repeat(times));
            let mut took = Duration::MAX;
            for _ in 0..ATTEMPTS {
                let started = Instant::now();
                let cost = cost(format, &topic, &payload);
                took = took.min(started.elapsed());
                let peak = cost.bytes_max;
                assert!(peak <= bound(&topic, &payload), "{format}: {name}: {peak} bytes");
                if took < longest() {
                    break;
                }
            }
            assert!(took < longest(), "{format}: {name}: {took:?} with {times} of {level:?}");
        }
    }
}

#[test]
fn twice_the_message_takes_at_most_about_twice_the_allocations() {
    for Worst { name, format, topic, make } in all() {
        let topic = topic.replace('*', "a");
        let [once, twice] = [MAX_PAYLOAD_BYTES / 4, MAX_PAYLOAD_BYTES / 2]
            .map(|size| cost(format, &topic, &make(size)).count_total);
        assert!(twice <= once * 5 / 2 + 64, "{format}: {name}: {once} and {twice}");
    }
}
