//! How often one place in the code may speak: a bucket of lines each, filled slowly.
//!
//! Every place's first lines are always written, those of level `error` as well as others. Lines
//! of level `debug` and `trace` are there for who asked for them and are not limited.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Lines of one place at once.
const BURST: u32 = 20;
/// One more line after each such time.
const EVERY: Duration = Duration::from_secs(10);
/// Places known, some times as many as there are. Were there more, the rest would share a bucket
/// for each level.
const MAX_PLACES: usize = 512;

static SUPPRESSED: AtomicU64 = AtomicU64::new(0);

/// Lines left out since the start of the process.
#[must_use]
pub fn suppressed() -> u64 {
    SUPPRESSED.load(Relaxed)
}

/// What shares a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// A place in the code: its metadata is static, so where that lies names it.
    Own(usize),
    Shared(Level),
}

#[derive(Debug)]
struct Bucket {
    lines: u32,
    filled_at: Instant,
    left_out: u64,
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self { lines: BURST, filled_at: now, left_out: 0 }
    }

    fn take(&mut self, now: Instant) -> bool {
        while self.lines < BURST && now.saturating_duration_since(self.filled_at) >= EVERY {
            self.lines += 1;
            self.filled_at += EVERY;
        }
        if self.lines == BURST {
            // What is full gains nothing from waiting longer.
            self.filled_at = now;
        }
        let may = self.lines > 0;
        self.lines = self.lines.saturating_sub(1);
        self.left_out += u64::from(!may);
        may
    }
}

/// All buckets.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    buckets: Mutex<HashMap<Place, Bucket>>,
}

impl Limiter {
    fn allows(&self, place: &'static Metadata<'static>, now: Instant) -> bool {
        if *place.level() > Level::INFO {
            return true;
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(&buckets, place);
        let may = buckets.entry(key).or_insert_with(|| Bucket::full(now)).take(now);
        SUPPRESSED.fetch_add(u64::from(!may), Relaxed);
        may
    }

    /// How many lines of that place were left out since this was asked last.
    pub(super) fn take_left_out(&self, place: &'static Metadata<'static>) -> u64 {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(&buckets, place);
        buckets.get_mut(&key).map_or(0, |bucket| std::mem::take(&mut bucket.left_out))
    }

    #[cfg(test)]
    pub(super) fn let_time_pass(&self) {
        let mut buckets = self.buckets.lock().unwrap();
        buckets.values_mut().for_each(|bucket| bucket.filled_at -= EVERY);
    }
}

fn key(buckets: &HashMap<Place, Bucket>, place: &'static Metadata<'static>) -> Place {
    let own = Place::Own(std::ptr::from_ref(place).addr());
    if buckets.contains_key(&own) || buckets.len() < MAX_PLACES {
        own
    } else {
        Place::Shared(*place.level())
    }
}

/// Keeps lines beyond the limit from being written.
#[derive(Debug)]
pub(super) struct Limit(pub(super) Arc<Limiter>);

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        self.0.allows(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use tracing::{Callsite as _, debug, error, info};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn after_a_burst_one_line_is_written_now_and_then() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        let written = |bucket: &mut Bucket, at: Instant, times: u32| {
            (0..times).filter(|_| bucket.take(at)).count()
        };
        assert_eq!(written(&mut bucket, start, 100), 20);
        assert_eq!(bucket.left_out, 80);
        assert_eq!(written(&mut bucket, start + EVERY / 2, 100), 0);
        assert_eq!(written(&mut bucket, start + EVERY, 100), 1);
        assert_eq!(written(&mut bucket, start + EVERY * 3, 100), 2);
        assert_eq!(written(&mut bucket, start + EVERY * 1_000, 100), 20, "no more than a burst");
        assert_eq!(written(&mut bucket, start + EVERY * 1_000, 1), 0);
    }

    #[test]
    fn a_flood_in_one_place_takes_nothing_from_another_and_details_are_not_limited() {
        let limiter = Arc::new(Limiter::default());
        let seen: Arc<Mutex<Vec<Level>>> = Arc::default();
        let logs = tracing_subscriber::registry()
            .with(Limit(limiter.clone()))
            .with(Count(Arc::clone(&seen)));
        let before = suppressed();
        tracing::subscriber::with_default(logs, || {
            for _ in 0..50 {
                info!("flood");
                debug!("details");
            }
            error!("the first of its kind");
        });
        let seen = seen.lock().unwrap();
        let of = |level: Level| seen.iter().filter(|seen| **seen == level).count();
        assert_eq!((of(Level::INFO), of(Level::DEBUG), of(Level::ERROR)), (20, 50, 1));
        assert!(suppressed() >= before + 30);
        assert_eq!(limiter.buckets.lock().unwrap().len(), 2);
    }

    struct Count(Arc<Mutex<Vec<Level>>>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            self.0.lock().unwrap().push(*event.metadata().level());
        }
    }

    #[test]
    fn places_that_find_no_room_share_a_bucket_of_their_level() {
        let limiter = Limiter::default();
        let now = Instant::now();
        let mut buckets = HashMap::new();
        for place in 0..MAX_PLACES {
            buckets.insert(Place::Own(place), Bucket::full(now));
        }
        *limiter.buckets.lock().unwrap() = buckets;
        let place = tracing::callsite! {
            name: "late", kind: tracing::metadata::Kind::EVENT, target: "late", level: Level::INFO,
            fields: message
        };
        let written = (0..50).filter(|_| limiter.allows(place.metadata(), now)).count();
        assert_eq!(written, 20);
        assert_eq!(limiter.buckets.lock().unwrap().len(), MAX_PLACES + 1);
        assert_eq!(limiter.take_left_out(place.metadata()), 30);
    }
}
