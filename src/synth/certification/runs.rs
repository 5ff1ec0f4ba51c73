//! Runs and their anomalies.

use super::objects::{DATASETS, OBJECTS, Spectrum, column};
use crate::{random, synth::normal::normal};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::f64::consts::PI;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Problem {
    /// One quantity of one object is off: a wrong calibration. (Object, quantity.)
    Shift(usize, usize),
    /// One dataset has no objects in a part of the detector, around an angle on one side.
    DeadSector { dataset: usize, phi: f64, side: f64 },
    /// One dataset has soft, badly fitted objects among the others.
    Noise { dataset: usize },
    /// A little is wrong with everything, all run long.
    BadRun,
    /// The tracker stands by: the detector control system says so, and there are few hits.
    Standby,
}

impl Problem {
    pub fn name(self) -> &'static str {
        match self {
            Self::Shift(..) => "shift",
            Self::DeadSector { .. } => "dead sector",
            Self::Noise { .. } => "noise",
            Self::BadRun => "bad run",
            Self::Standby => "standby",
        }
    }

    /// What it is in.
    pub fn place(self) -> String {
        match self {
            Self::Shift(object, quantity) => {
                column(&OBJECTS[object], OBJECTS[object].quantities[quantity].0)
            }
            Self::DeadSector { dataset, .. } | Self::Noise { dataset } => DATASETS[dataset].into(),
            Self::BadRun => "all".into(),
            Self::Standby => "ZeroBias".into(),
        }
    }
}

pub struct Anomaly {
    pub first_ls: u32,
    pub last_ls: u32,
    pub problem: Problem,
    /// From 0 to 1.
    pub strength: f64,
}

pub struct Run {
    pub number: u32,
    pub first_ls: u32,
    pub lumisections: u32,
    /// At its first lumisection, and how many lumisections it takes to fall by a factor of e.
    pub pile_up: (f64, f64),
    /// Of each dataset, 0 where it is perfect.
    pub calibration: [f64; DATASETS.len()],
    /// Of the beams, in units of how much they usually differ.
    pub spot: [f64; 2],
    pub anomalies: Vec<Anomaly>,
}

impl Run {
    pub fn anomaly(&self, ls: u32) -> Option<&Anomaly> {
        self.anomalies.iter().find(|anomaly| (anomaly.first_ls..=anomaly.last_ls).contains(&ls))
    }

    pub fn pile_up(&self, ls: u32) -> f64 {
        self.pile_up.0 * (-f64::from(ls - self.first_ls) / self.pile_up.1).exp()
    }
}

/// Runs between two calibrations.
const ERA: usize = 12;

/// Runs of so many lumisections in all.
pub fn runs(lumisections: usize, seed: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = vec![];
    let (mut number, mut left) = (315_257, lumisections as u32);
    let mut calibration = [0.0; DATASETS.len()];
    while left > 0 {
        let mut chance = random::generator(seed, "certification runs", runs.len() as u64);
        if runs.len().is_multiple_of(ERA) {
            calibration = std::array::from_fn(|_| normal(&mut chance));
        }
        number += chance.random_range(1..9);
        let length = ((160.0 * (0.7 * normal(&mut chance)).exp()) as u32).clamp(20, 900).min(left);
        left -= length;
        let mut run = Run {
            number,
            first_ls: chance.random_range(1..60),
            lumisections: length,
            pile_up: (chance.random_range(30.0..52.0), chance.random_range(1_200.0..2_600.0)),
            calibration,
            spot: [normal(&mut chance), normal(&mut chance)],
            anomalies: vec![],
        };
        let bad = chance.random_bool(0.06);
        let last_ls = run.first_ls + run.lumisections - 1;
        if bad {
            run.anomalies.push(Anomaly {
                first_ls: run.first_ls,
                last_ls,
                problem: Problem::BadRun,
                strength: chance.random_range(0.4..1.0),
            });
        }
        // Some stretches of other runs; a run starts now and then before the tracker is on.
        if !bad && chance.random_bool(0.25) {
            let last_ls = last_ls.min(run.first_ls + chance.random_range(1..6));
            run.anomalies.push(Anomaly {
                first_ls: run.first_ls,
                last_ls,
                problem: Problem::Standby,
                strength: chance.random_range(0.5..1.0),
            });
        }
        while !bad && chance.random_bool(0.35) {
            let first_ls = chance.random_range(run.first_ls..=last_ls);
            let last_ls = last_ls.min(first_ls + chance.random_range(2..30));
            let strength = chance.random_range(0.2..1.0);
            let anomaly = Anomaly { first_ls, last_ls, problem: problem(&mut chance), strength };
            if run
                .anomalies
                .iter()
                .all(|other| other.last_ls < first_ls || last_ls < other.first_ls)
            {
                run.anomalies.push(anomaly);
            }
        }
        run.anomalies.sort_by_key(|anomaly| anomaly.first_ls);
        runs.push(run);
    }
    runs
}

fn problem(chance: &mut ChaCha8Rng) -> Problem {
    let dataset = chance.random_range(0..DATASETS.len());
    match chance.random_range(0..3) {
        0 => {
            let object = chance.random_range(0..OBJECTS.len());
            // What is all around is nowhere else when it is shifted.
            let quantities: Vec<usize> = (0..OBJECTS[object].quantities.len())
                .filter(|&at| !matches!(OBJECTS[object].quantities[at].1, Spectrum::Phi))
                .collect();
            Problem::Shift(object, quantities[chance.random_range(0..quantities.len())])
        }
        1 => Problem::DeadSector {
            dataset,
            phi: chance.random_range(-PI..PI),
            side: if chance.random_bool(0.5) { 1.0 } else { -1.0 },
        },
        _ => Problem::Noise { dataset },
    }
}
