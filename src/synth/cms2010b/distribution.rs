//! Distributions and their statistics, with the errors of a number of events.

use crate::synth::normal::normal;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// The percentiles among the statistics.
const POINTS: [f64; 5] = [0.01, 0.25, 0.5, 0.75, 0.99];

/// The shape of a distribution: its quantile function is `b0 + skew·b1 + tail·b2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    Flat,
    Broad,
    Peak,
    Heavy,
    Positive,
}

pub const FORMS: [Form; 5] = [Form::Flat, Form::Broad, Form::Peak, Form::Heavy, Form::Positive];

impl Form {
    pub fn basis(self, u: f64) -> [f64; 3] {
        let tukey = |power: f64| u.powf(power) - (1.0 - u).powf(power);
        match self {
            Self::Flat => {
                let x = 2.0 * u - 1.0;
                [x, 1.0 - x * x, 1.5 * (x - x * x * x)]
            }
            Self::Broad => {
                let x = tukey(0.6);
                [x, 1.0 - x * x, 1.5 * (x - x * x * x)]
            }
            Self::Peak => {
                let x = tukey(0.14) * 4.9;
                [x, 0.15 * (x * x - 1.0), 0.08 * (x * x * x - 3.0 * x)]
            }
            Self::Heavy => {
                let x = tukey(-0.08) * -5.5;
                [x, 0.1 * (x * x - 1.0), 0.02 * (x * x * x - 3.0 * x)]
            }
            Self::Positive => {
                let x = -(1.0 - u).ln();
                [x.powf(0.9), x / (1.0 + x) - 0.4, 0.12 * x * x]
            }
        }
    }
}

/// A form's basis at the five points, its moments and the errors of its statistics.
pub struct Basis {
    pub points: [[f64; 3]; 5],
    pub mean: [f64; 3],
    pub second: [[f64; 3]; 3],
    /// Width, and errors for one event: of the mean, the width and the points.
    pub width: f64,
    pub errors: [f64; 7],
}

impl Basis {
    pub fn new(form: Form) -> Self {
        const GRID: usize = 2_000;
        let points = POINTS.map(|u| form.basis(u));
        let mut mean = [0.0; 3];
        let mut second = [[0.0; 3]; 3];
        let grid: Vec<[f64; 3]> =
            (0..GRID).map(|i| form.basis((i as f64 + 0.5) / GRID as f64)).collect();
        for b in &grid {
            for i in 0..3 {
                mean[i] += b[i] / GRID as f64;
                for j in 0..3 {
                    second[i][j] += b[i] * b[j] / GRID as f64;
                }
            }
        }
        let variance = second[0][0] - mean[0] * mean[0];
        let fourth = grid.iter().map(|b| (b[0] - mean[0]).powi(4)).sum::<f64>() / GRID as f64;
        let slope = |u: f64| (form.basis(u + 1e-4)[0] - form.basis(u - 1e-4)[0]) / 2e-4;
        let mut errors = [
            variance.sqrt(),
            (variance * (fourth / (variance * variance) - 1.0).max(0.0) / 4.0).sqrt(),
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
        ];
        for (error, u) in errors[2..].iter_mut().zip(POINTS) {
            *error = (u * (1.0 - u)).sqrt() * slope(u);
        }
        Self { points, mean, second, width: variance.sqrt(), errors }
    }
}

/// A distribution in an LS.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub location: f64,
    pub scale: f64,
    pub skew: f64,
    pub tail: f64,
}

impl Now {
    pub fn at(&self, basis: [f64; 3]) -> f64 {
        self.location + self.scale * (basis[0] + self.skew * basis[1] + self.tail * basis[2])
    }

    /// Mean, standard deviation and the five points.
    pub fn statistics(&self, shape: &Basis) -> [f64; 7] {
        let factors = [1.0, self.skew, self.tail];
        let mean: f64 = (0..3).map(|i| factors[i] * shape.mean[i]).sum();
        let second: f64 = (0..3)
            .flat_map(|i| (0..3).map(move |j| (i, j)))
            .map(|(i, j)| factors[i] * factors[j] * shape.second[i][j])
            .sum();
        let [a, b, c, d, e] = shape.points.map(|basis| self.at(basis));
        [
            self.location + self.scale * mean,
            self.scale * (second - mean * mean).max(0.0).sqrt(),
            a,
            b,
            c,
            d,
            e,
        ]
    }

    /// The same where only a share of the events in a region is kept (or, above 1, more come).
    pub fn statistics_with(&self, form: Form, region: &Range<f64>, kept: f64) -> [f64; 7] {
        const GRID: usize = 64;
        let inside = kept * (region.end - region.start);
        let total = region.start + inside + 1.0 - region.end;
        let value = |u: f64| {
            let mass = u * total;
            let before = match mass {
                mass if mass <= region.start => mass,
                mass if mass <= region.start + inside => {
                    region.start + (mass - region.start) / kept
                }
                mass => region.end + mass - region.start - inside,
            };
            self.at(form.basis(before.clamp(1e-6, 1.0 - 1e-6)))
        };
        let grid: Vec<f64> = (0..GRID).map(|i| value((i as f64 + 0.5) / GRID as f64)).collect();
        let mean = grid.iter().sum::<f64>() / GRID as f64;
        let variance = grid.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / GRID as f64;
        let [a, b, c, d, e] = POINTS.map(value);
        [mean, variance.sqrt(), a, b, c, d, e]
    }
}

/// Measured statistics, with correlated errors, in order and inside the limits.
pub fn observed(
    statistics: [f64; 7],
    shape: &Basis,
    error: f64,
    limits: (f64, f64),
    chance: &mut ChaCha8Rng,
) -> [f32; 7] {
    /// How much each statistic feels a moved distribution, a widened one, and its own chance.
    const SHARES: [[f64; 3]; 7] = [
        [0.95, 0.0, 0.31],
        [0.0, 0.85, 0.53],
        [0.25, -0.5, 0.83],
        [0.7, -0.4, 0.59],
        [0.75, 0.0, 0.66],
        [0.7, 0.4, 0.59],
        [0.25, 0.5, 0.83],
    ];
    let moved = normal(chance);
    let widened = normal(chance);
    let error = if chance.random_bool(0.02) { 3.0 * error } else { error };
    let mut seen: [f32; 7] = std::array::from_fn(|i| {
        let [location, width, own] = SHARES[i];
        let noise = location * moved + width * widened + own * normal(chance);
        (statistics[i] + error * shape.errors[i] * noise) as f32
    });
    let (low, high) = (limits.0 as f32, limits.1 as f32);
    let mut least = low;
    for point in &mut seen[2..] {
        *point = point.clamp(low, high).max(least);
        least = *point;
    }
    seen[0] = seen[0].clamp(seen[2], seen[6]);
    seen[1] = seen[1].max((0.05 * statistics[1].max(1e-6 * shape.width)) as f32);
    seen
}
