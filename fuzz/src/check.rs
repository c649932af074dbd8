//! What must hold of every decoder, whatever it is fed. The fuzz targets and the property tests of
//! `core/tests/decoders` both check it here.
//!
//! An input is a sequence of messages with [`SEPARATOR`] between them, because some decoders
//! remember what they heard. A message is its topic, a line end and its payload:
//!
//! ```text
//! homeassistant/sensor/outside/unit_of_measurement
//! "°F"
//! --
//! homeassistant/sensor/outside/state
//! 68.9
//! ```

use std::borrow::Cow;

use daywise_core::{
    decode::{
        Detected, Devices, Format, Found, MAX_VALUES, Message, Request, check_sensor_id, detect,
        discovery::{self, Hints},
    },
    time::UtcMillis,
};

/// What is between two messages.
pub const SEPARATOR: &[u8] = b"\n--\n";

/// When the first message arrives: 2024-03-25T00:00:00Z.
const START: UtcMillis = UtcMillis(1_711_324_800_000);
/// The next ones come a minute after each other.
const APART_MS: i64 = 60_000;
/// A name is made of the messages so far, and of no more than this beside them: `alias` and a
/// number, or the device's name as it is given from outside.
const MORE_NAME: usize = 64;
/// A name from outside, as a source's template gives it.
const GIVEN: &str = "boiler";

/// One message of an input.
pub struct Part<'i> {
    /// Its topic. What is no UTF-8 in it is replaced, as brokers let none through.
    pub topic: Cow<'i, str>,
    /// Its content.
    pub payload: &'i [u8],
}

/// The messages of an input.
pub fn parts(input: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut rest = Some(input);
    std::iter::from_fn(move || {
        let (part, tail) = split(rest?, SEPARATOR);
        rest = tail;
        let (topic, payload) = split(part, b"\n");
        Some(Part { topic: String::from_utf8_lossy(topic), payload: payload.unwrap_or_default() })
    })
}

/// What is before `separator`, and what is behind it if it is there.
fn split<'i>(input: &'i [u8], separator: &[u8]) -> (&'i [u8], Option<&'i [u8]>) {
    let place = input.windows(separator.len()).position(|window| window == separator);
    match place.and_then(|place| input.split_at_checked(place)) {
        Some((front, back)) => (front, back.get(separator.len()..)),
        None => (input, None),
    }
}

/// Decodes an input's messages as `format`, one after the other, and gives how many values that
/// were not refused are in them.
///
/// # Panics
/// If something does not hold that must.
pub fn decode(format: Format, input: &[u8]) -> usize {
    [None, Some(GIVEN)].map(|device| sequence(format, device, input)).into_iter().sum()
}

fn sequence(format: Format, device: Option<&str>, input: &[u8]) -> usize {
    let mut devices = Devices::default();
    let (mut accepted, mut now) = (0, START);
    for part in parts(input) {
        let message = Message { topic: &part.topic, payload: part.payload, device, now };
        accepted += one(&mut devices, format, &message, input.len() + part.topic.len());
        now = now + APART_MS;
    }
    accepted
}

/// Decodes one message. No name in it may be longer than `longest` and a little.
fn one(devices: &mut Devices, format: Format, message: &Message<'_>, longest: usize) -> usize {
    let (mut count, mut accepted) = (0, 0);
    let outcome = devices.decode(format, message, &mut |found| {
        check(&found, longest);
        count += 1;
        accepted += usize::from(found.value.is_ok());
    });
    assert!(count <= MAX_VALUES, "{count} values in one message");
    assert!(outcome.is_err() || count > 0, "a message that is understood gives something");
    for Request::Publish { topic, payload } in devices.take_requests() {
        assert!(topic.len() <= longest + MORE_NAME, "a topic of {} bytes", topic.len());
        assert!(payload.len() <= MORE_NAME, "a request of {} bytes", payload.len());
    }
    accepted
}

fn check(found: &Found<'_>, longest: usize) {
    if let Ok(value) = found.value {
        assert!(value.is_finite(), "{value} is given for a value");
    }
    let id = [found.device, "/", found.field].concat();
    assert!(id.len() <= longest + MORE_NAME, "a name of {} bytes", id.len());
    // Accepted or refused, but for a reason that can be shown.
    if let Err(reason) = check_sensor_id(&id) {
        assert!(!reason.to_string().is_empty());
    }
}

/// Tells the formats of an input's messages, and decodes them as what they are.
///
/// # Panics
/// If something does not hold that must.
pub fn detected(input: &[u8]) {
    let mut devices = Devices::default();
    for part in parts(input) {
        let message =
            Message { topic: &part.topic, payload: part.payload, device: None, now: START };
        let found = detect(&message);
        assert_eq!(found, detect(&message), "it depends on the message alone");
        if let Detected::Format(format) = found {
            one(&mut devices, format, &message, input.len() + part.topic.len());
        }
    }
}

/// Reads an input's messages as announcements, learns from them, and takes them back. Gives how
/// many values were announced.
///
/// # Panics
/// If something does not hold that must.
pub fn announced(input: &[u8]) -> usize {
    let (mut known, mut announced) = (Hints::default(), 0);
    for part in parts(input) {
        let Ok(hints) = discovery::read(discovery::PREFIX, &part.topic, part.payload) else {
            continue;
        };
        for hint in &hints {
            let texts = [&hint.unit, &hint.device_class, &hint.state_class, &hint.name];
            let texts = texts.into_iter().flatten().map(String::len);
            let longest = texts.chain([hint.state_topic.len(), hint.path.len()]).max();
            assert!(longest <= Some(256), "{hint:?}");
            assert!(!hint.state_topic.contains(['+', '#']), "{hint:?}");
        }
        announced += hints.len();
        let expected = hints.first().cloned();
        let left_out = known.learn(&part.topic, hints);
        if let Some(hint) = expected.filter(|_| left_out == 0) {
            assert!(known.find(&hint.state_topic, &hint.path).is_some(), "{hint:?}");
        }
    }
    for part in parts(input) {
        assert_eq!(known.learn(&part.topic, Vec::new()), 0);
    }
    assert!(known.is_empty(), "{} are left of what was taken back", known.len());
    announced
}
