//! How strange is strange for this sensor: evidence on the scale of its own ordinary days.
//!
//! Each kind of evidence is measured by the largest that an ordinary day brings, so that a sensor
//! that jumps every day is not strange for jumping. Their combination, the strength, is measured
//! by the two levels that one in ten and one in a hundred of its readings exceed. All follow the
//! sensor's days slowly and in bounded steps.

use serde::{Deserialize, Serialize};

use super::running::{Evidence, HOUR, JUMP, KINDS, LASTING, LEVEL, NOISE, STUCK};

/// Largest evidence of an ordinary day, before any is known.
const PEAKS: Evidence = [8.0, 4.0, 3.0, 4.0, 4.0, 4.0];
/// How often its longest expected run of equal readings a sensor may stay at one value.
const RUNS: f32 = 2.0;
/// How fast peaks follow, from many days; the first few count the same.
const PEAK_SHARE: f32 = 0.07;
/// Logarithm of the largest step that one day moves a peak by, before its share.
const PEAK_STEP: f32 = 0.7;
/// A day with fewer readings has no peaks to speak of.
const LEAST_READINGS: u32 = 12;
/// Keeps what never shows from counting as infinitely strange.
const NEVER: f32 = 0.1;
/// Strength that one in ten and one in a hundred readings exceed, before that is known; medians
/// over many sensors of many kinds.
const LEVELS: [f32; 2] = [1.7, 3.0];
/// How many exceed them.
const EXCEED: [f32; 2] = [0.1, 0.01];
/// Of a day at most so many are believed, so that a day of faults moves the level by little.
const BELIEVED: [f32; 2] = [0.5, 0.1];
/// Logarithm of a level's step for each share of readings too many.
const LEVEL_GAIN: [f32; 2] = [0.6, 3.0];
/// Strength above the second level that is ten times as rare.
const DECADE: f32 = 0.8;

/// A sensor's own measures of strangeness.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Scale {
    peaks: Evidence,
    levels: [f32; 2],
    days: u8,
}

impl Default for Scale {
    fn default() -> Self {
        Self { peaks: PEAKS, levels: LEVELS, days: 0 }
    }
}

/// What one day's readings came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DayOfEvidence {
    readings: u32,
    peaks: Evidence,
    above: [u32; 2],
    /// Readings that equal the one before.
    repeats: u32,
}

impl DayOfEvidence {
    /// Counts one reading, whose strength is measured by `scale`.
    pub(super) fn add(&mut self, evidence: &Evidence, is_repeat: bool, scale: &Scale) {
        self.readings = self.readings.saturating_add(1);
        self.repeats += u32::from(is_repeat);
        for (peak, &seen) in self.peaks.iter_mut().zip(evidence) {
            *peak = peak.max(seen);
        }
        let strength = scale.strength(evidence);
        for (above, level) in self.above.iter_mut().zip(scale.levels) {
            *above += u32::from(strength > level);
        }
    }
}

impl Scale {
    /// Evidence in units of what an ordinary day brings at its strangest.
    fn relative(&self, evidence: &Evidence) -> Evidence {
        let mut relative = [0.0; KINDS];
        for ((relative, &seen), peak) in relative.iter_mut().zip(evidence).zip(self.peaks) {
            *relative = (seen + NEVER) / peak;
        }
        relative
    }

    /// All evidence in one number. Being at the wrong place for the hour counts in full; the other
    /// kinds saturate, since they are strange enough by then and spikes of any size are one thing;
    /// hanging counts beyond what is ordinary.
    pub(super) fn strength(&self, evidence: &Evidence) -> f32 {
        let relative = self.relative(evidence);
        let saturated = |one: f32| one / (1.0 + one);
        let stuck = (relative[STUCK] - 1.0).clamp(0.0, 3.0);
        let short = saturated(relative[JUMP]) + saturated(relative[NOISE]);
        let longer = saturated(relative[LEVEL]) + saturated(relative[LASTING]) / 2.0;
        short + longer + relative[HOUR] + stuck
    }

    /// How rare a strength is among the sensor's own readings: 1 for one in ten, 2 for one in a
    /// hundred, and so on.
    pub(super) fn rarity(&self, strength: f32) -> f32 {
        let [ten, hundred] = self.levels;
        let rarity = if strength < ten {
            strength / ten
        } else if strength < hundred {
            1.0 + (strength - ten) / (hundred - ten)
        } else {
            2.0 + (strength - hundred) / DECADE
        };
        rarity.max(0.0)
    }

    /// A day's largest evidence, in units of an ordinary day's.
    pub(super) fn relative_peaks(&self, day: &DayOfEvidence) -> Evidence {
        self.relative(&day.peaks)
    }

    /// Follows a day.
    #[expect(clippy::cast_precision_loss, reason = "a day's readings are counted in f32")]
    pub(super) fn learn(&mut self, day: &DayOfEvidence) {
        if day.readings == 0 {
            return;
        }
        let readings = day.readings as f32;
        // A day of few readings says less.
        let full = (readings / 24.0).min(1.0);
        let followed = EXCEED.into_iter().zip(BELIEVED).zip(LEVEL_GAIN).zip(day.above);
        for (level, (((exceed, believed), gain), above)) in self.levels.iter_mut().zip(followed) {
            let excess = (above as f32 / readings).min(believed) - exceed;
            *level *= libm::expf(full * gain * excess);
        }
        self.levels[0] = self.levels[0].clamp(0.05, 100.0);
        self.levels[1] = self.levels[1].clamp(1.1 * self.levels[0], 1_000.0);
        if day.readings < LEAST_READINGS {
            return;
        }
        if self.days == 0 {
            // How long a sensor stays at one value is its own nature, and nothing of it counts on
            // the first day. The longest run of a coin that repeats with probability p is about
            // ln(n (1 - p)) / -ln p; the runs of the day itself may have been a fault.
            let p = (day.repeats as f32 / readings).clamp(0.01, 1.0 - 1.0 / readings);
            let longest = libm::log1pf(readings * (1.0 - p)) / -libm::logf(p);
            self.peaks[STUCK] = self.peaks[STUCK].max(RUNS * longest);
        }
        self.days = self.days.saturating_add(1);
        let share = PEAK_SHARE.max(1.0 / (f32::from(self.days) + 1.0));
        for (peak, seen) in self.peaks.iter_mut().zip(day.peaks) {
            let step = libm::logf((seen + NEVER) / *peak).clamp(-PEAK_STEP, PEAK_STEP);
            *peak *= libm::expf(share * step);
        }
    }
}
