//! The seven numbers of each quantity of a lumisection.

use super::{
    objects::{OBJECTS, Object, REACH, Spectrum, USUAL},
    runs::{Anomaly, Problem, Run},
};
use crate::{data::histogram_quantiles, random, synth::normal::normal};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1};
use std::f64::consts::PI;

/// Recorded luminosity of a lumisection, and the seven numbers of each quantity.
pub fn row(run: &Run, ls: u32, seed: u64) -> Vec<f32> {
    let mut chance = random::generator(
        seed,
        "certification lumisections",
        u64::from(run.number) << 32 | u64::from(ls),
    );
    let anomaly = run.anomaly(ls);
    let pile_up = run.pile_up(ls) * (1.0 + 0.01 * normal(&mut chance));
    // An inverse nanobarn or so for each collision.
    let mut row = vec![(pile_up * 11.5) as f32];
    for (place, object) in OBJECTS.iter().enumerate() {
        let standby = anomaly.is_some_and(|anomaly| anomaly.problem == Problem::Standby)
            && object.dataset == 0;
        let entries = object.entries * pile_up / USUAL * if standby { 0.3 } else { 1.0 };
        let entries = (entries + entries.sqrt() * normal(&mut chance)).max(10.0) as usize;
        let mut values: Vec<Vec<f64>> =
            object.quantities.iter().map(|_| Vec::with_capacity(entries)).collect();
        for _ in 0..entries {
            let of_object: Vec<f64> = object
                .quantities
                .iter()
                .map(|(_, shape)| shape.draw(run, object.dataset, pile_up, &mut chance))
                .collect();
            if let Some(of_object) = disturbed(of_object, (place, object), anomaly, &mut chance) {
                values.iter_mut().zip(of_object).for_each(|(values, value)| values.push(value));
            }
        }
        row.extend(
            values
                .iter_mut()
                .flat_map(|values| histogram_quantiles::of_values(values))
                .map(|number| number as f32),
        );
    }
    row
}

impl Spectrum {
    fn draw(self, run: &Run, dataset: usize, pile_up: f64, chance: &mut ChaCha8Rng) -> f64 {
        let calibration = run.calibration[dataset];
        let further = pile_up - USUAL;
        match self {
            Self::Falling { from, scale } => {
                let exponential: f64 = Exp1.sample(chance);
                from + scale * (1.0 + 0.02 * calibration + 0.002 * further) * exponential.powf(1.15)
            }
            Self::Eta { width } => {
                let eta = width * normal(chance) + 0.04 * run.spot[1];
                if eta.abs() < REACH { eta } else { chance.random_range(-REACH..REACH) }
            }
            Self::Phi => {
                // Off the axis, one side of the detector is nearer.
                let phi = chance.random_range(-PI..PI);
                phi + 0.06 * run.spot[0] * phi.sin()
            }
            Self::Bell { mean, width, by_pile_up } => {
                let moved = mean * (1.0 + by_pile_up * further)
                    + width * (0.05 * calibration + 0.08 * run.spot[1]);
                moved + width * normal(chance)
            }
            Self::Count { mean, by_pile_up } => {
                let expected = mean * (1.0 + by_pile_up * further / USUAL);
                (expected + expected.sqrt() * normal(chance)).round().max(0.0)
            }
            Self::Share { below } => {
                let exponential: f64 = Exp1.sample(chance);
                (1.0 - below * (1.0 + 0.03 * calibration + 0.003 * further) * exponential).max(0.0)
            }
        }
    }
}

/// The values of an object under an anomaly; `None` where it is lost.
fn disturbed(
    mut values: Vec<f64>,
    (place, object): (usize, &Object),
    anomaly: Option<&Anomaly>,
    chance: &mut ChaCha8Rng,
) -> Option<Vec<f64>> {
    let Some(&Anomaly { problem, strength, .. }) = anomaly else { return Some(values) };
    let shapes = || object.quantities.iter().map(|(_, shape)| *shape);
    match problem {
        Problem::Shift(wrong, quantity) if wrong == place => {
            values[quantity] += 0.6 * strength * object.quantities[quantity].1.spread()
        }
        Problem::DeadSector { dataset, phi: centre, side } if dataset == object.dataset => {
            let mut dead = chance.random_bool(strength);
            for (value, shape) in values.iter().zip(shapes()) {
                dead &= match shape {
                    Spectrum::Eta { .. } => value * side > 0.0,
                    Spectrum::Phi => {
                        (value - centre - 2.0 * PI * ((value - centre) / (2.0 * PI)).round()).abs()
                            < 0.7
                    }
                    _ => true,
                };
            }
            // What has no direction is not in a sector.
            if dead && shapes().any(|shape| matches!(shape, Spectrum::Phi)) {
                return None;
            }
        }
        Problem::Noise { dataset }
            if dataset == object.dataset && chance.random_bool(0.3 * strength) =>
        {
            for (value, (shape, (name, _))) in
                values.iter_mut().zip(shapes().zip(object.quantities))
            {
                match shape {
                    Spectrum::Falling { from, .. } => *value = from + 0.15 * (*value - from),
                    Spectrum::Bell { width, .. } if *name == "chi2" => *value += 2.0 * width,
                    Spectrum::Bell { width, .. } => *value -= 1.5 * width,
                    _ => {}
                }
            }
        }
        Problem::BadRun => {
            for (value, shape) in values.iter_mut().zip(shapes()) {
                match shape {
                    Spectrum::Phi | Spectrum::Eta { .. } => {}
                    shape => *value += 0.1 * strength * shape.spread(),
                }
            }
        }
        Problem::Standby if object.dataset == 0 => {
            for (value, shape) in values.iter_mut().zip(shapes()) {
                match shape {
                    Spectrum::Bell { mean, .. } => *value -= 0.5 * strength * mean,
                    Spectrum::Count { .. } => *value = (*value * (1.0 - 0.6 * strength)).round(),
                    _ => {}
                }
            }
        }
        _ => {}
    }
    Some(values)
}
