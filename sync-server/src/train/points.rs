//! Sensor-days as points in scaled space, with their gaps.
//!
//! Distances follow prediction exactly: only observed coordinates count, and the sum is scaled
//! up to all of them. A missing coordinate is stored as 0.0 and only ever read through the mask.

use daywise_core::{features::Features, model::Scaling};

/// A cloud of points: one row per sensor-day, coordinates divided by the scale.
#[derive(Debug)]
pub(crate) struct Points {
    dimensions: usize,
    values: Vec<f64>,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    /// Bit i says that coordinate i was observed.
    observed: u64,
    /// Dimensions over observed coordinates: what brings a partial sum to full size.
    weight: f64,
}

/// One sensor-day in scaled space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point<'a> {
    values: &'a [f64],
    row: Row,
}

impl Points {
    /// Scales `days`, all of one feature set with as many features as `scale`, on the coordinates
    /// of `scaling`.
    pub(crate) fn new(days: &[Features], scaling: Scaling, scale: &[f32]) -> Self {
        let dimensions = scale.len();
        let mut values = Vec::with_capacity(days.len() * dimensions);
        let mut rows = Vec::with_capacity(days.len());
        for day in days.iter().map(|day| scaling.coordinates(day)) {
            let mut observed = 0;
            for (place, (value, &scale)) in day.iter().zip(scale).enumerate() {
                if value.is_some() {
                    observed |= 1 << place;
                }
                values.push(value.map_or(0.0, |value| f64::from(value) / f64::from(scale)));
            }
            rows.push(Row { observed, weight: rescale(dimensions, observed) });
        }
        Self { dimensions, values, rows }
    }

    pub(crate) fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Point<'_>> {
        // `max(1)` because chunks of nothing are not defined; without dimensions there are no rows.
        let values = self.values.chunks_exact(self.dimensions.max(1));
        values.zip(&self.rows).map(|(values, &row)| Point { values, row })
    }

    /// The points at those places, in that order.
    pub(crate) fn select(&self, places: &[usize]) -> Self {
        let mut chosen = Self { dimensions: self.dimensions, values: Vec::new(), rows: Vec::new() };
        for &place in places {
            let start = place * self.dimensions;
            let values = self.values.get(start..start + self.dimensions);
            if let (Some(values), Some(&row)) = (values, self.rows.get(place)) {
                chosen.values.extend_from_slice(values);
                chosen.rows.push(row);
            }
        }
        chosen
    }

    /// Mean of each coordinate over the points that have it; 0 where none has.
    pub(crate) fn column_means(&self) -> Vec<f64> {
        let mut sums = vec![(0.0, 0.0); self.dimensions];
        for point in self.iter() {
            for ((count, sum), value) in sums.iter_mut().zip(point.coordinates()) {
                if let Some(value) = value {
                    *count += 1.0;
                    *sum += value;
                }
            }
        }
        sums.into_iter().map(|(count, sum)| if count > 0.0 { sum / count } else { 0.0 }).collect()
    }

    /// How many different points there are, counted up to `limit`.
    pub(crate) fn distinct(&self, limit: usize) -> usize {
        let mut seen: std::collections::HashSet<(u64, Vec<u64>)> = std::collections::HashSet::new();
        for point in self.iter() {
            if seen.len() >= limit {
                break;
            }
            let bits = point.values.iter().map(|value| value.to_bits()).collect();
            seen.insert((point.row.observed, bits));
        }
        seen.len()
    }
}

impl Point<'_> {
    /// The coordinates in order, `None` where missing.
    pub(crate) fn coordinates(&self) -> impl Iterator<Item = Option<f64>> {
        let observed = self.row.observed;
        let values = self.values.iter().enumerate();
        values.map(move |(place, &value)| (observed & (1 << place) != 0).then_some(value))
    }

    /// How much the point weighs in its centroid, coordinate by coordinate.
    ///
    /// The same factor as in the distance: with it the centroid is the exact minimum of the
    /// inertia, so every iteration lowers it and the fit comes to rest. It is 1 without gaps.
    pub(crate) fn weight(&self) -> f64 {
        self.row.weight
    }

    /// The squared distance to a centroid.
    pub(crate) fn squared_distance(&self, centroid: &[f64]) -> f64 {
        let mut sum = 0.0;
        // Exactly 1 says that there is no gap; then the plain loop is several times faster.
        if self.row.weight <= 1.0 {
            for (value, center) in self.values.iter().zip(centroid) {
                sum += (value - center) * (value - center);
            }
            return sum;
        }
        for (place, (value, center)) in self.values.iter().zip(centroid).enumerate() {
            if self.row.observed & (1 << place) != 0 {
                sum += (value - center) * (value - center);
            }
        }
        sum * self.row.weight
    }

    /// The nearest of the centroids, laid out one after another, and the squared distance.
    pub(crate) fn nearest(&self, centroids: &[f64]) -> (usize, f64) {
        let mut best = (0, f64::INFINITY);
        for (index, centroid) in centroids.chunks_exact(self.values.len().max(1)).enumerate() {
            let squared = self.squared_distance(centroid);
            if squared < best.1 {
                best = (index, squared);
            }
        }
        best
    }

    /// The squared distance to another point over the coordinates both have; `None` if they
    /// share none.
    pub(crate) fn squared_distance_to(&self, other: &Point<'_>) -> Option<f64> {
        let both = self.row.observed & other.row.observed;
        if both == 0 {
            return None;
        }
        let mut sum = 0.0;
        for (place, (a, b)) in self.values.iter().zip(other.values).enumerate() {
            if both & (1 << place) != 0 {
                sum += (a - b) * (a - b);
            }
        }
        Some(sum * rescale(self.values.len(), both))
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most MAX_FEATURES")]
fn rescale(dimensions: usize, observed: u64) -> f64 {
    dimensions as f64 / f64::from(observed.count_ones().max(1))
}
