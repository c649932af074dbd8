//! How a gateway's days fall into the clusters, against how the training's did.
//!
//! The measure is the population stability index: over all clusters the sum of
//! `(p - q) ln(p / q)`, where `p` is a cluster's share of the gateway's recent sensor-days and `q`
//! the share that the training leads to expect. It is the symmetric Kullback-Leibler (Jeffreys)
//! divergence; formula and reading are those of N. Siddiqi, *Credit Risk Scorecards* (Wiley,
//! 2006): below 0.1 nothing has moved, above 0.25 the mix has shifted, in between something has
//! changed.
//!
//! - **Versions.** Models are trained often, so a fortnight's days come from several versions.
//!   Each day is expected to fall as the training of the version that predicted it did, and
//!   clusters keep their numbers from one version to the next, so days of different versions add
//!   up. Days of a version that the registry does not have, or in a cluster that the version does
//!   not have, do not count.
//! - **Empty cells.** A share of 0 has no logarithm, so half a day is added to each cluster's
//!   count, to what is found and to what is expected alike (Jeffreys' prior).
//! - **Few days.** By chance alone the index comes to about `(k - 1) / n` for `n` days in `k`
//!   clusters: it is then distributed as chi-square with `k - 1` degrees of freedom, over `n`
//!   (B. Yurdakul, *Statistical Properties of Population Stability Index*, Western Michigan
//!   University, 2018). So nothing is said below ten sensor-days for each cluster, nor before
//!   seven dates: working days and weekends are often different clusters.
//!
//! The fleet's mix is what is expected. A gateway that has only cold cellars differs from it from
//! the first day on; news is what changes.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use daywise_core::{
    features::FeatureSet,
    model::Model,
    quantity::Quantity,
    time::{LocalDate, UtcMillis},
};
use serde::Serialize;

use crate::storage::{Storage, StorageError};

/// The days that count: two weeks up to the newest.
const DATES: i32 = 14;
/// Nothing is said of fewer dates with predictions,
const MIN_DATES: usize = 7;
/// or of fewer sensor-days for each cluster.
const MIN_SENSOR_DAYS: u64 = 10;
/// Added to each cluster's count.
const SMOOTHING: f64 = 0.5;
/// Below this a mix is stable,
const STABLE: f64 = 0.1;
/// and above this it has shifted.
const SHIFTED: f64 = 0.25;
/// Gateways whose counts are held at once.
const GATEWAYS_AT_ONCE: usize = 256;

/// Sensor-days that one version put into one cluster on one date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predicted {
    /// When.
    pub date: LocalDate,
    /// The model's version.
    pub version: u32,
    /// The cluster's identity.
    pub cluster: u16,
    /// How many.
    pub sensor_days: u64,
}

/// What tells families apart.
type Family = (Quantity, FeatureSet);

/// A family's clusters by identity, with the training's sensor-days in each.
type Sizes = BTreeMap<u16, u64>;

/// What one version's training put into each cluster of each family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrainedMix {
    families: BTreeMap<Family, Sizes>,
}

impl TrainedMix {
    /// Of a model.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let families = model.families.iter().map(|family| {
            let sizes = family.clusters.iter().map(|cluster| (cluster.id, cluster.size));
            ((family.quantity, family.set), sizes.collect())
        });
        Self { families: families.collect() }
    }
}

/// How far a mix is from what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing has moved.
    Stable,
    /// Something has changed.
    Changed,
    /// It is another mix.
    Shifted,
}

/// The mix of one family at one gateway.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FamilyMix {
    /// What the family's sensors measure.
    pub quantity: Quantity,
    /// Its feature set.
    pub set: FeatureSet,
    /// The population stability index; `None` before there are enough days.
    pub psi: Option<f64>,
    /// Its usual reading.
    pub state: Option<State>,
    /// The cluster that contributes most.
    pub most: Option<Moved>,
    /// Sensor-days that count.
    pub sensor_days: u64,
    /// Dates that they are of.
    pub days: usize,
}

/// A cluster whose share is not as expected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Moved {
    /// Its identity.
    pub cluster: u16,
    /// Its share of the sensor-days.
    pub share: f64,
    /// Its share as the training leads to expect.
    pub expected: f64,
}

/// Sensor-days found in a cluster, and expected there.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    found: f64,
    expected: f64,
}

/// Compares the counts with what `sizes` says of each version's training; `None` where there is
/// only one cluster to fall into, or no day that counts.
fn family_mix<'a>(
    (quantity, set): Family,
    predicted: &[Predicted],
    sizes: impl Fn(u32) -> Option<&'a Sizes>,
) -> Option<FamilyMix> {
    let mut cells: BTreeMap<u16, Cell> = BTreeMap::new();
    let mut dates = BTreeSet::new();
    let mut sensor_days = 0;
    for one in predicted {
        let Some(sizes) = sizes(one.version).filter(|sizes| sizes.contains_key(&one.cluster))
        else {
            continue;
        };
        let trained: u64 = sizes.values().sum();
        if trained == 0 {
            continue;
        }
        for (cluster, size) in sizes {
            let share = float(*size) / float(trained);
            cells.entry(*cluster).or_default().expected += float(one.sensor_days) * share;
        }
        cells.entry(one.cluster).or_default().found += float(one.sensor_days);
        dates.insert(one.date);
        sensor_days += one.sensor_days;
    }
    if cells.len() < 2 {
        return None;
    }
    let clusters = u64::try_from(cells.len()).unwrap_or(u64::MAX);
    let is_enough = dates.len() >= MIN_DATES && sensor_days >= MIN_SENSOR_DAYS * clusters;
    let (psi, most) = is_enough.then(|| stability_index(&cells)).unzip();
    let state = psi.map(|psi| match psi {
        psi if psi < STABLE => State::Stable,
        psi if psi <= SHIFTED => State::Changed,
        _ => State::Shifted,
    });
    Some(FamilyMix { quantity, set, psi, state, most, sensor_days, days: dates.len() })
}

/// The index, and the cluster that contributes most.
fn stability_index(cells: &BTreeMap<u16, Cell>) -> (f64, Moved) {
    // Both sides have the same sum: what was found is what something was expected of.
    let total: f64 = cells.values().map(|cell| cell.found + SMOOTHING).sum();
    let mut psi = 0.0;
    let mut most = (-1.0, Moved { cluster: 0, share: 0.0, expected: 0.0 });
    for (cluster, cell) in cells {
        let share = (cell.found + SMOOTHING) / total;
        let expected = (cell.expected + SMOOTHING) / total;
        let part = (share - expected) * (share / expected).ln();
        psi += part;
        if part > most.0 {
            most = (part, Moved { cluster: *cluster, share, expected });
        }
    }
    (psi, most.1)
}

#[expect(clippy::cast_precision_loss, reason = "counts of sensor-days")]
fn float(count: u64) -> f64 {
    count as f64
}

/// The mixes of these gateways, which are in the database's order; those without any are left
/// out.
///
/// # Errors
/// The database cannot be read.
pub async fn of_gateways(
    storage: &Storage,
    gateways: &[&str],
    now: UtcMillis,
) -> Result<BTreeMap<String, Vec<FamilyMix>>, StorageError> {
    let mut mixes = BTreeMap::new();
    let Some(to) = storage.last_date(now).await? else { return Ok(mixes) };
    let dates = (to.plus_days(1 - DATES), to);
    let mut trained: BTreeMap<u32, Option<TrainedMix>> = BTreeMap::new();
    for group in gateways.chunks(GATEWAYS_AT_ONCE) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let mut families: BTreeMap<(String, Family), Vec<Predicted>> = BTreeMap::new();
        for days in storage.cluster_days((first, last), dates).await? {
            if let Entry::Vacant(unread) = trained.entry(days.predicted.version) {
                unread.insert(storage.trained_mix(days.predicted.version).await?);
            }
            let family = (days.quantity, days.set);
            families.entry((days.gateway, family)).or_default().push(days.predicted);
        }
        for ((gateway, family), predicted) in families {
            let sizes = |version: u32| trained.get(&version)?.as_ref()?.families.get(&family);
            let mix = family_mix(family, &predicted, sizes);
            mixes.entry(gateway).or_insert_with(Vec::new).extend(mix);
        }
    }
    Ok(mixes)
}

#[cfg(test)]
mod tests;
