//! The upload against a server that is a set of numbers, on a paused clock.

use std::collections::{BTreeMap, BTreeSet};

use daywise_core::{
    quantity::Quantity,
    time::{LocalDate, UtcMillis},
    wire::{Item, SensorDay, Silence},
};
use proptest::prelude::*;
use tokio::time::advance;

use super::*;
use crate::store::StoreOptions;

const SECOND: Duration = Duration::from_secs(1);

fn day(date: i32) -> Item {
    Item::Day(SensorDay {
        sensor: format!("room-{}/temperature", date.rem_euclid(7)),
        quantity: Quantity::Temperature,
        date: LocalDate(date),
        revision: 1,
        samples: 24,
        coverage: 1.0,
        features: None,
        prediction: None,
        deviation: None,
        score: None,
        reasons: heapless::Vec::new(),
        drift: None,
    })
}

/// What has arrived at the server, and how it would answer.
#[derive(Default)]
struct Server {
    /// How often each entry came.
    times: BTreeMap<u64, usize>,
    /// The order in which they came first.
    order: Vec<u64>,
    up_to: u64,
    bytes: usize,
}

impl Server {
    fn receive(&mut self, message: &[u8]) -> Ack {
        let up: Up = wire::decode(message).unwrap();
        assert!(up.entries.is_sorted_by_key(|entry| entry.seq));
        for Entry { seq, .. } in &up.entries {
            let times = self.times.entry(*seq).or_default();
            *times += 1;
            if *times == 1 {
                self.order.push(*seq);
            }
        }
        if !up.entries.is_empty() {
            self.bytes += message.len();
        }
        self.up_to = self.up_to.max(up.floor - 1);
        while self.times.contains_key(&(self.up_to + 1)) {
            self.up_to += 1;
        }
        let mut received: Vec<SeqRange> = Vec::new();
        for seq in self.times.keys().copied().filter(|seq| *seq > self.up_to) {
            match received.last_mut() {
                Some(range) if range.last + 1 == seq => range.last = seq,
                _ => received.push(SeqRange { first: seq, last: seq }),
            }
        }
        received.truncate(wire::MAX_RANGES);
        Ack { stream: up.stream, up_to: self.up_to, answers: up.number, received }
    }
}

/// An agent's outbox and upload, and the server at the other end.
struct Line {
    dir: tempfile::TempDir,
    store: Arc<Store>,
    upload: Upload,
    server: Server,
}

fn open(dir: &tempfile::TempDir) -> Arc<Store> {
    Arc::new(Store::open(&dir.path().join("store"), &StoreOptions::default()).unwrap().store)
}

fn line(kb_per_s: u32, waiting: i32) -> Line {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    store.outbox_put(&(0..waiting).map(day).collect::<Vec<_>>()).unwrap();
    store.flush().unwrap();
    let rate = NonZeroU32::new(kb_per_s).unwrap();
    let upload = Upload::new(Arc::clone(&store), rate);
    Line { dir, store, upload, server: Server::default() }
}

impl Line {
    fn send(&mut self) -> Option<Message> {
        let message = self.upload.poll().unwrap()?;
        self.upload.sent(&message);
        Some(message)
    }

    /// Sends and answers all that may go now.
    fn exchange(&mut self) {
        while let Some(message) = self.send() {
            let ack = self.server.receive(&message.bytes);
            self.upload.handle_ack(&ack).unwrap();
        }
    }

    /// Lets time pass until nothing waits; how many seconds that took.
    async fn catch_up(&mut self) -> u64 {
        for seconds in 0..10_000 {
            self.exchange();
            if self.store.outbox_len() == 0 {
                return seconds;
            }
            advance(SECOND).await;
        }
        panic!("{} entries still wait", self.store.outbox_len());
    }

    /// The agent ends and starts again.
    fn restart(self, kb_per_s: u32) -> Self {
        let Self { dir, store, upload, server } = self;
        drop((store, upload));
        let store = open(&dir);
        let upload = Upload::new(Arc::clone(&store), NonZeroU32::new(kb_per_s).unwrap());
        Self { dir, store, upload, server }
    }
}

fn put(line: &Line, date: i32) {
    line.store.outbox_put(&[day(date)]).unwrap();
    line.store.flush().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_asked_and_sent_nothing() {
    let mut line = line(64, 50);
    for _ in 0..20 {
        let question = line.send().unwrap();
        assert_eq!(question.entries, 0);
        assert!(line.send().is_none());
        advance(ASK_AFTER - SECOND).await;
        assert!(line.send().is_none(), "not again so soon");
        advance(SECOND).await;
    }
    assert_eq!(line.upload.sent.len(), 1, "questions do not pile up");
    line.catch_up().await;
    assert!(line.server.times.values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn the_backlog_goes_newest_first_and_each_entry_once() {
    let mut line = line(1, 400);
    line.exchange();
    let held = line.store.outbox_len();
    assert!(held < 400, "what the server has makes room, although the oldest is still to go");
    line.catch_up().await;
    assert_eq!(line.server.up_to, 400);
    assert!(line.server.times.values().all(|times| *times == 1));
    // Within a message in rising order; from one to the next falling.
    let rises = line.server.order.windows(2).filter(|pair| pair[1] > pair[0] + 1).count();
    assert_eq!(rises, 0, "{:?}", line.server.order);
    assert!(line.server.order[0] > 350 && line.server.order.last() < Some(&50));
}

#[tokio::test(start_paused = true)]
async fn the_backlog_keeps_to_its_rate() {
    let mut line = line(2, 2_000);
    line.exchange();
    let rate = 2 * 1_024;
    let burst = rate + 2 * MIN_BACKLOG_BATCH_BYTES;
    assert!(line.server.bytes <= burst, "{} at once", line.server.bytes);
    for seconds in 1..10 {
        advance(SECOND).await;
        line.exchange();
        assert!(line.server.bytes <= seconds * rate + burst, "{}", line.server.bytes);
        assert!(line.server.bytes >= seconds * rate, "{}", line.server.bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn live_entries_go_at_once_whatever_the_backlog() {
    let mut line = line(1, 1_000);
    line.exchange();
    assert!(line.store.outbox_len() > 900);
    for date in 1_000..1_100 {
        put(&line, date);
        line.exchange();
        assert_eq!(line.server.order.last(), Some(&u64::try_from(date + 1).unwrap()));
    }
    assert!(!line.server.times.contains_key(&1));
    line.catch_up().await;
    assert!(line.server.times.values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn little_of_the_backlog_is_on_the_way_at_a_time() {
    let mut line = line(1_000, 3_000);
    let question = line.send().unwrap();
    let ack = line.server.receive(&question.bytes);
    line.upload.handle_ack(&ack).unwrap();
    let waiting: Vec<Message> = std::iter::from_fn(|| line.send()).collect();
    assert_eq!(waiting.len(), BACKLOG_WINDOW);
    assert!(waiting.iter().all(|message| message.bytes.len() <= MAX_BACKLOG_BATCH_BYTES + 100));
    put(&line, 3_000);
    assert_eq!(line.send().unwrap().kind, Kind::Live, "it does not wait for answers");
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_is_sent_again_and_nothing_else() {
    let mut line = line(64, 0);
    line.exchange();
    put(&line, 0);
    let lost = line.send().unwrap();
    assert_eq!(lost.kind, Kind::Live);
    put(&line, 1);
    line.exchange();
    assert_eq!(line.server.order, [2, 1], "the answer to the second tells that the first is lost");
    assert!(line.server.times.values().all(|times| *times == 1));
    assert_eq!(line.store.outbox_len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_asked_and_not_sent_again_what_it_had() {
    let mut line = line(64, 0);
    line.exchange();
    put(&line, 0);
    let arrived = line.send().unwrap();
    drop(line.server.receive(&arrived.bytes)); // The answer is lost.
    put(&line, 1);
    let lost = line.send().unwrap();
    assert!(line.send().is_none());
    advance(ASK_AFTER).await;
    put(&line, 2);
    let question = line.send().unwrap();
    assert_eq!((lost.entries, question.entries), (1, 0), "it may be away: nothing is sent to it");
    let ack = line.server.receive(&question.bytes);
    line.upload.handle_ack(&ack).unwrap();
    line.exchange();
    assert_eq!(line.server.times, BTreeMap::from([(1, 1), (2, 1), (3, 1)]));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_hears_what_the_server_has_before_it_sends() {
    let mut line = line(1, 300);
    let question = line.send().unwrap();
    let ack = line.server.receive(&question.bytes);
    line.upload.handle_ack(&ack).unwrap();
    while let Some(message) = line.send() {
        drop(line.server.receive(&message.bytes)); // It ends before the answer.
    }
    let arrived = line.server.order.len();
    assert!(arrived > 0 && line.store.outbox_len() == 300);
    let mut line = line.restart(1);
    line.exchange();
    assert!(line.store.outbox_len() <= u64::try_from(300 - arrived).unwrap());
    line.catch_up().await;
    assert!(line.server.times.values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_something_else_settles_nothing() {
    let mut line = line(64, 5);
    let question = line.send().unwrap();
    let ack = line.server.receive(&question.bytes);
    line.upload.handle_ack(&Ack { answers: ack.answers + 1, ..ack.clone() }).unwrap();
    line.upload.handle_ack(&Ack { stream: ack.stream + 1, up_to: 5, ..ack.clone() }).unwrap();
    let backwards = vec![SeqRange { first: 9, last: 2 }];
    line.upload.handle_ack(&Ack { answers: 0, received: backwards, ..ack.clone() }).unwrap();
    assert!(line.send().is_none());
    assert_eq!(line.store.outbox_len(), 5);
    line.upload.handle_ack(&ack).unwrap();
    assert_eq!(line.send().unwrap().entries, 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_durable_yet_waits_and_is_live_then() {
    let mut line = line(1, 40);
    line.exchange();
    line.store.outbox_put(&[day(40)]).unwrap();
    line.upload.connected();
    line.exchange();
    assert!(!line.server.times.contains_key(&41));
    line.store.flush().unwrap();
    assert_eq!(line.send().map(|message| message.kind), Some(Kind::Live));
}

#[tokio::test(start_paused = true)]
async fn silences_go_the_same_way() {
    let mut line = line(64, 1);
    let silence = Silence {
        sensor: "room-1/temperature".into(),
        quantity: Quantity::Temperature,
        since: UtcMillis(1_710_000_000_000),
        until: None,
        expected_every_ms: 60_000,
    };
    line.store.outbox_put(&[Item::Silence(silence.clone())]).unwrap();
    line.store.flush().unwrap();
    let question = line.send().unwrap();
    let ack = line.server.receive(&question.bytes);
    line.upload.handle_ack(&ack).unwrap();
    let up: Up = wire::decode(&line.send().unwrap().bytes).unwrap();
    assert_eq!(up.entries[1], Entry { seq: 2, item: Item::Silence(silence) });
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Put(i32),
    Exchange,
    /// The server gets what is sent, and its answers are lost.
    LoseAnswers,
    /// What is sent is lost.
    LoseMessages,
    Reconnect,
    Wait(u64),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1..40_i32).prop_map(Event::Put),
        3 => Just(Event::Exchange),
        1 => Just(Event::LoseAnswers),
        1 => Just(Event::LoseMessages),
        1 => Just(Event::Reconnect),
        2 => (1..15_u64).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is lost on the way and whenever: all arrives, and what arrived never comes again.
    #[test]
    fn everything_arrives_once(events in prop::collection::vec(any_event(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut line = line(4, 30);
            let mut put_so_far = 30;
            for event in events {
                match event {
                    Event::Put(count) => {
                        (0..count).for_each(|n| put(&line, put_so_far + n));
                        put_so_far += count;
                    }
                    Event::Exchange => line.exchange(),
                    Event::LoseAnswers => {
                        while let Some(message) = line.send() {
                            drop(line.server.receive(&message.bytes));
                        }
                    }
                    Event::LoseMessages => while line.send().is_some() {},
                    Event::Reconnect => line.upload.connected(),
                    Event::Wait(seconds) => advance(SECOND * u32::try_from(seconds).unwrap()).await,
                }
            }
            line.catch_up().await;
            let all: BTreeSet<u64> = (1..=u64::try_from(put_so_far).unwrap()).collect();
            prop_assert_eq!(line.server.times.keys().copied().collect::<BTreeSet<_>>(), all);
            prop_assert!(line.server.times.values().all(|times| *times == 1));
            Ok(())
        })?;
    }
}
