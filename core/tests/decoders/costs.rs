//! What the worst messages cost: memory, allocations, time.

use std::time::{Duration, Instant};

use super::worst::{self, Worst};
use allocation_counter::{AllocationInfo, measure};
use daywise_core::{
    decode::{Devices, Format, MAX_PAYLOAD_BYTES, Message, detect},
    time::UtcMillis,
};

/// A payload may take so many times its size while it is decoded. The worst is a list of objects
/// of one member, `{"":0}`: a tree of the standard library takes 700 bytes whatever it holds.
const TIMES: u64 = 128;
/// And this beside it, for what is remembered of devices.
const BESIDE: u64 = 1024 * 1024;
/// Far more than the largest message takes in a slow build, and far less than what is not linear.
const LONGEST: Duration = Duration::from_secs(2);

/// What reading a payload as a format takes, from telling that it is one.
fn cost(format: Format, topic: &str, payload: &[u8]) -> AllocationInfo {
    measure(|| {
        let message = Message { topic, payload, device: None, now: UtcMillis(1_735_689_600_000) };
        let found = detect(&message);
        let read = Devices::default().decode(format, &message, &mut |found| {
            std::hint::black_box(found.value.is_ok());
        });
        std::hint::black_box((found, read.is_ok()));
    })
}

fn bound(topic: &str, payload: &[u8]) -> u64 {
    u64::try_from(topic.len() + payload.len()).unwrap() * TIMES + BESIDE
}

fn all() -> impl Iterator<Item = Worst> {
    let own = worst::OWN.iter().map(|&Worst { name, format, topic, make }| Worst {
        name,
        format,
        topic,
        make,
    });
    worst::json().chain(own)
}

#[test]
fn the_worst_messages_take_bounded_memory_and_time() {
    for Worst { name, format, topic, make } in all() {
        let payload = make(MAX_PAYLOAD_BYTES);
        assert!(
            (MAX_PAYLOAD_BYTES - 300..=MAX_PAYLOAD_BYTES).contains(&payload.len()),
            "{format}: {name}: {} bytes",
            payload.len()
        );
        let started = Instant::now();
        let cost = cost(format, topic, &payload);
        let took = started.elapsed();
        println!(
            "{format:16} {name:32} {:>9} bytes {:>7} allocations {:>8.1} ms",
            cost.bytes_max,
            cost.count_total,
            took.as_secs_f64() * 1e3
        );
        assert!(cost.bytes_max <= bound(topic, &payload), "{format}: {name}: {cost:?}");
        assert!(took < LONGEST, "{format}: {name}: {took:?}");
    }
}

#[test]
fn twice_the_message_takes_at_most_about_twice_the_allocations() {
    for Worst { name, format, topic, make } in all() {
        let [once, twice] = [MAX_PAYLOAD_BYTES / 4, MAX_PAYLOAD_BYTES / 2]
            .map(|size| cost(format, topic, &make(size)).count_total);
        assert!(twice <= once * 5 / 2 + 64, "{format}: {name}: {once} and {twice}");
    }
}
