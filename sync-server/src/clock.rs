//! The only code that reads the system's wall clock.
//!
//! It only stamps what people read (when a gateway was seen, when a model was trained). Nothing
//! is decided by it: order comes from counters in the database, waiting from monotonic time.

use std::time::{SystemTime, UNIX_EPOCH};

use daywise_core::time::UtcMillis;

/// Now, as the system's clock has it; 1970 if that is before it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one reader")]
pub fn now() -> UtcMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
