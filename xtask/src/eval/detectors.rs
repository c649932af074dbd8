//! The simple detectors that the live score is measured against, on the same readings.

use std::collections::VecDeque;

/// Fewer tell nothing.
const ROLLING_LEAST: usize = 10;

/// How many standard deviations each reading is from the mean of so many before it.
pub(super) fn rolling_z(values: &[f64], look_back: usize) -> Vec<f64> {
    let z = |(row, value): (usize, &f64)| {
        let before = values.get(row.saturating_sub(look_back)..row).unwrap_or_default();
        if before.len() < ROLLING_LEAST {
            return 0.0;
        }
        let mean = before.iter().sum::<f64>() / before.len() as f64;
        let squares: f64 = before.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (before.len() - 1) as f64).sqrt();
        (value - mean).abs() / (deviation + 1e-9)
    };
    values.iter().enumerate().map(z).collect()
}

/// The window of the benchmark's windowed Gaussian, and how far it moves at a time.
const GAUSSIAN_WINDOW: usize = 6_400;
const GAUSSIAN_STEP: usize = 100;

/// The windowed Gaussian of the Numenta Anomaly Benchmark: the share of a normal distribution that
/// is nearer to its mean on this side; its mean and deviation are those of the window.
pub(super) fn windowed_gaussian(values: &[f64]) -> Vec<f64> {
    let mut window = VecDeque::with_capacity(GAUSSIAN_WINDOW);
    let mut waiting = Vec::with_capacity(GAUSSIAN_STEP);
    let mut moments = Moments::default();
    let score = |value: &f64| {
        let score = if window.is_empty() { 0.0 } else { moments.nearer(*value) };
        if window.len() < GAUSSIAN_WINDOW {
            window.push_back(*value);
            moments.add(*value);
        } else {
            waiting.push(*value);
            if waiting.len() == GAUSSIAN_STEP {
                drop(window.drain(..GAUSSIAN_STEP));
                window.extend(waiting.drain(..));
                moments = Moments::default();
                window.iter().for_each(|value| moments.add(*value));
            }
        }
        score
    };
    values.iter().map(score).collect()
}

/// Mean and variance by Welford's method.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.n += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.n;
        self.squares += delta * (value - self.mean);
    }

    fn nearer(&self, value: f64) -> f64 {
        let deviation = (self.squares / self.n).sqrt();
        let deviation = if deviation > 0.0 { deviation } else { 1e-6 };
        let z = (value - self.mean).abs() / deviation;
        1.0 - libm::erfc(z / std::f64::consts::SQRT_2) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rolling_z_is_in_deviations_of_the_readings_before() {
        let mut values: Vec<f64> = (0..12).map(|n| f64::from(n % 2)).collect();
        values.push(3.0);
        let z = rolling_z(&values, 288);
        assert!(z[..10].iter().all(|z| *z == 0.0), "too few before them");
        let deviation = (12.0_f64 * 0.25 / 11.0).sqrt();
        assert!((z[12] - 2.5 / deviation).abs() < 1e-6, "{}", z[12]);
    }

    #[test]
    fn the_rolling_z_forgets() {
        let mut values = vec![1000.0];
        values.extend([1.0; 300]);
        values.push(2.0);
        assert!(rolling_z(&values, 288)[301] > 1e8, "the first reading is out of sight");
    }

    #[test]
    fn the_windowed_gaussian_is_the_normal_distribution_of_its_window() {
        let scores = windowed_gaussian(&[1.0, -1.0, 1.0, -1.0, 2.0, 0.0]);
        assert_eq!(scores[0], 0.0);
        // Mean 0, deviation 1: Φ(2).
        assert!((scores[4] - 0.977_249_868_051_820_8).abs() < 1e-9, "{}", scores[4]);
    }

    #[test]
    fn the_window_moves_in_steps() {
        let mut values: Vec<f64> = [1.0, -1.0].repeat(GAUSSIAN_WINDOW / 2);
        values.extend([2.0; GAUSSIAN_STEP]);
        values.push(2.0);
        let scores = windowed_gaussian(&values);
        assert_eq!(scores[GAUSSIAN_WINDOW], scores[GAUSSIAN_WINDOW + 99]);
        assert!(scores[GAUSSIAN_WINDOW + 100] < scores[GAUSSIAN_WINDOW + 99]);
    }
}
