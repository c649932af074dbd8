//! One alarm for one episode: strangeness that goes on is no news.

use serde::{Deserialize, Serialize};

use crate::time::{HOUR_MS, UtcMillis};

/// What was strange stays in mind with this time constant.
const MEMORY_MS: f32 = (48 * HOUR_MS) as f32;
/// Up to here nothing is held back: rarer than one in a hundred.
const CALM: f32 = 2.2;
/// What goes on counts by this much of what it exceeds calm by.
const GOES_ON: f32 = 0.2;
/// And comes to no more than this: 0.999.
const GOES_ON_MOST: f32 = 3.0;
/// Beyond this a score cannot be told from 1.
const RAREST: f32 = 6.5;

/// The strangest of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Episode {
    strangest: f32,
    at: UtcMillis,
}

impl Episode {
    /// The rarity of a reading as it is told: in full where it is stranger than all of late, held
    /// back where it only goes on.
    pub(super) fn add(&mut self, at: UtcMillis, rarity: f32) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "at most some days")]
        let passed = at.since(self.at).clamp(0, 1_000 * HOUR_MS) as f32;
        self.strangest *= libm::expf(-passed / MEMORY_MS);
        self.at = at;
        let goes_on = rarity > CALM && rarity <= self.strangest;
        self.strangest = self.strangest.max(rarity);
        if goes_on { (CALM + GOES_ON * (rarity - CALM)).min(GOES_ON_MOST) } else { rarity }
    }
}

/// The score of a rarity: 0.9 for 1, 0.99 for 2 and so on.
pub(super) fn score(rarity: f32) -> f32 {
    -libm::expm1f(-rarity.min(RAREST) * core::f32::consts::LN_10)
}
