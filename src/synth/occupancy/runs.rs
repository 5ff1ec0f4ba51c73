//! Runs and their defects.

use super::detector::{Layer, Quarter, Region};
use crate::{random, synth::normal::normal};
use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::PI;

/// Full pile-up.
pub(super) const FULL: f64 = 62.0;
/// Pile-up below which a map is left out, usually.
const LOW: f64 = 25.0;
/// Rate of HLT_ZeroBias, in Hz.
pub(super) const RATE: f64 = 50.0;
/// Large defects of the test part.
pub(super) const LARGE: usize = 12;
/// Rows that a quarter has where layers are compared.
const ROWS: usize = 12;
/// How often a chip is dead for a while.
const FLICKERS: f64 = 2e-5;
/// The share of lumisections that OMS does not have.
const MISSING: f64 = 0.005;

/// A run, which is a fill: the beams are injected, then collide, and pile-up falls.
pub(super) struct Run {
    pub number: u32,
    pub fill: u32,
    pub lumisections: u32,
    /// Lumisections before beams are stable.
    standby: u32,
    /// Pile-up at the end.
    last: f64,
    /// Places of the beams across and along at the start and at the end, as amplitudes of modes.
    spot: [(f64, f64); 2],
    /// Version of HLT_ZeroBias, and the lumisection from which it is the next one.
    pub version: (u32, u32),
    pub defects: Vec<Defect>,
}

/// What a lumisection is like.
#[derive(Clone, Copy)]
pub(super) struct Conditions {
    pub stable: bool,
    /// Whether OMS has it.
    pub in_oms: bool,
    pub pile_up: f64,
    /// Of HLT_ZeroBias, in Hz.
    pub rate: f64,
    /// Places of the beams.
    pub spot: [f64; 2],
}

/// Bins of a layer that count otherwise for a while.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Defect {
    pub first_ls: u32,
    pub last_ls: u32,
    pub layer: usize,
    pub region: Region,
    pub factor: f64,
    pub kind: DefectSize,
    /// Whether the automasks say so.
    pub known: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DefectSize {
    /// A region, the same in several layers: what is to be found.
    Large,
    /// A few bins, or a region of one layer: what is not.
    Small,
    /// A chip that comes back by itself, as happens anywhere.
    Flicker,
}

impl Defect {
    pub fn holds(&self, ls: u32) -> bool {
        (self.first_ls..=self.last_ls).contains(&ls)
    }
}

impl Run {
    pub fn conditions(&self, ls: u32, seed: u64) -> Conditions {
        let mut chance = random::generator(
            seed,
            "occupancy lumisections",
            u64::from(self.number) << 32 | u64::from(ls),
        );
        let stable = ls > self.standby;
        let time = f64::from(ls.saturating_sub(self.standby))
            / f64::from(self.lumisections - self.standby);
        // Held level by moving the beams together, then falling.
        let usual = FULL * (self.last / FULL).powf(((time - 0.2) / 0.8).max(0.0));
        let pile_up = if stable {
            usual * (1.0 + 0.003 * normal(&mut chance))
        } else {
            3.0 * f64::from(ls) / f64::from(self.standby)
        };
        let rate = if ls < 4 { 0.3 } else { RATE * (1.0 + 0.02 * normal(&mut chance)) };
        let spot = self
            .spot
            .map(|(first, last)| first + (last - first) * time + 0.02 * normal(&mut chance));
        Conditions { stable, in_oms: !chance.random_bool(MISSING), pile_up, rate, spot }
    }

    /// Lumisections with an entry of the automasks: some, and those where something changes.
    pub fn automasked(&self, seed: u64) -> Vec<u32> {
        let mut chance = random::generator(seed, "occupancy automasks", u64::from(self.number));
        let changes = self
            .defects
            .iter()
            .filter(|defect| defect.known)
            .flat_map(|defect| [defect.first_ls, defect.last_ls + 1]);
        let mut entries: Vec<u32> = changes.filter(|ls| *ls <= self.lumisections).collect();
        let mut ls = 1;
        while ls <= self.lumisections {
            entries.push(ls);
            ls += chance.random_range(15..60);
        }
        entries.sort_unstable();
        entries.dedup();
        entries
    }
}

/// Runs of so many lumisections in all, with the chips that are dead for a while. A part has a name
/// and how far its beams move.
pub(super) fn runs(
    (part, reach): (&str, f64),
    first: u32,
    number: usize,
    lumisections: usize,
    layers: &[Layer],
    seed: u64,
) -> Vec<Run> {
    let mut chance = random::generator(seed, part, 0);
    let weights: Vec<f64> = (0..number).map(|_| chance.random_range(0.7..1.3)).collect();
    let sum: f64 = weights.iter().sum();
    let (mut left, mut run) = (lumisections as u32, first);
    let mut runs = vec![];
    for (at, weight) in weights.iter().enumerate() {
        let length =
            if at + 1 == number { left } else { (lumisections as f64 * weight / sum) as u32 };
        left -= length;
        run += chance.random_range(1..12);
        // Around the middle, over a third of a circle or so; training goes all around, and further
        // out than the test does.
        let (distance, from) = (
            chance.random_range(0.8..1.0) * reach,
            2.0 * PI * (at as f64 / number as f64 + chance.random_range(0.0..0.1)),
        );
        let to = from + chance.random_range(1.5..2.5);
        let spot = [
            (distance * from.cos(), distance * to.cos()),
            (distance * from.sin(), distance * to.sin()),
        ];
        let defects =
            layers.iter().flat_map(|layer| flickers(layer, length, &mut chance)).collect();
        runs.push(Run {
            number: run,
            fill: run - 369_500,
            lumisections: length,
            standby: chance.random_range(5..15).min(length / 6),
            last: chance.random_range(21.0..27.0),
            spot,
            version: (9 + run % 4, chance.random_range(length / 4..length * 3 / 4)),
            defects,
        });
    }
    runs
}

fn flickers(layer: &Layer, lumisections: u32, chance: &mut ChaCha8Rng) -> Vec<Defect> {
    const MEAN: f64 = 5.0;
    let expected = FLICKERS * layer.shape().width() as f64 * f64::from(lumisections) / MEAN;
    let number = expected as usize + usize::from(chance.random_bool(expected.fract()));
    let flicker = |chance: &mut ChaCha8Rng| {
        let first_ls = chance.random_range(1..=lumisections);
        let last_ls = lumisections.min(first_ls + chance.random_range(0..=2 * (MEAN as u32 - 1)));
        let (region, known) = (layer.chip(chance), chance.random_bool(0.5));
        Defect {
            first_ls,
            last_ls,
            layer: layer.index,
            region,
            factor: 0.0,
            kind: DefectSize::Flicker,
            known,
        }
    };
    (0..number).map(|_| flicker(chance)).collect()
}

/// Puts the large defects into runs, one after the other, and small ones anywhere else.
pub(super) fn break_things(runs: &mut [Run], layers: &[Layer], seed: u64) {
    let mut chance = random::generator(seed, "occupancy defects", 0);
    let good = |run: &Run, ls: u32| {
        let Conditions { stable, pile_up, .. } = run.conditions(ls, seed);
        stable && pile_up > 1.02 * LOW
    };
    let all = runs
        .iter()
        .enumerate()
        .flat_map(|(at, run)| (1..=run.lumisections).map(move |ls| (at, ls)));
    let usable: Vec<(usize, u32)> = all.filter(|(at, ls)| good(&runs[*at], *ls)).collect();
    let mut broken: Vec<(usize, Defect)> = vec![];
    for large in 0..LARGE {
        let slot = &usable[large * usable.len() / LARGE..(large + 1) * usable.len() / LARGE];
        let (run, first_ls, last_ls) = stretch(slot, 4, 40, &mut chance);
        let hot = large % 3 == 1;
        // The known ones are dead.
        let known = large % 6 == 5;
        // Whatever a model makes of a region spreads over its map, so large and hot ones would hide
        // where they are.
        let width = if hot { 8 } else { chance.random_range(8..=20) };
        let size = (width, if hot || width > 12 { 3 } else { chance.random_range(3..=4) });
        let mut touched: Vec<&Layer> = layers.iter().collect();
        touched.shuffle(&mut chance);
        touched.truncate(if chance.random_bool(0.25) { 3 } else { 2 });
        touched.sort_by_key(|layer| layer.index);
        let regions = loop {
            let regions = anywhere(&touched, size, Some(ROWS), &mut chance);
            if touched
                .iter()
                .zip(&regions)
                .all(|(layer, region)| layer.dead.iter().all(|dead| !dead.meets(region)))
            {
                break regions;
            }
        };
        for (layer, region) in touched.iter().zip(regions) {
            let factor = if hot { 5.0 } else { 0.0 };
            broken.push((
                run,
                Defect {
                    first_ls,
                    last_ls,
                    layer: layer.index,
                    region,
                    factor,
                    kind: DefectSize::Large,
                    known,
                },
            ));
        }
    }
    for (number, size) in [(6, (1, 1)), (4, (4, 1)), (3, (8, 3))] {
        for at in 0..number {
            let factor = if size == (1, 1) || (size == (4, 1) && at % 2 == 0) { 5.0 } else { 0.0 };
            broken.push(loop {
                let (run, first_ls, last_ls) = stretch(&usable, 4, 25, &mut chance);
                let layer = &layers[chance.random_range(0..layers.len())];
                let region = anywhere(&[layer], size, None, &mut chance)[0];
                let together = |(of, other): &(usize, Defect)| {
                    *of == run && other.first_ls <= last_ls && first_ls <= other.last_ls
                };
                let apart = broken
                    .iter()
                    .filter(|other| together(other))
                    .all(|(_, other)| !other.region.meets(&region));
                if apart && region.bins(layer.shape().x).all(|bin| layer.shares[bin] > 0.0) {
                    break (
                        run,
                        Defect {
                            first_ls,
                            last_ls,
                            layer: layer.index,
                            region,
                            factor,
                            kind: DefectSize::Small,
                            known: false,
                        },
                    );
                }
            });
        }
    }
    broken.into_iter().for_each(|(run, defect)| runs[run].defects.push(defect));
}

/// So many lumisections of one run, or fewer: run, first and last.
fn stretch(
    usable: &[(usize, u32)],
    fewest: usize,
    most: usize,
    chance: &mut ChaCha8Rng,
) -> (usize, u32, u32) {
    loop {
        let first = chance.random_range(0..=usable.len() - fewest);
        let last = (first + chance.random_range(fewest..=most) - 1).min(usable.len() - 1);
        let ((run, first_ls), (other, last_ls)) = (usable[first], usable[last]);
        if run == other {
            return (run, first_ls, last_ls);
        }
    }
}

/// A place for a region of x × y bins, the same in these layers. Rows are those of a quarter of so
/// many, or of the layers' own.
fn anywhere(
    layers: &[&Layer],
    (x, y): (usize, usize),
    rows: Option<usize>,
    chance: &mut ChaCha8Rng,
) -> Vec<Region> {
    let quarter = Quarter::any(chance);
    let first_x = chance.random_range(0..=Layer::COLUMNS - x);
    let of = rows.unwrap_or_else(|| layers[0].rows());
    let first_y = chance.random_range(0..=of - y);
    layers
        .iter()
        .map(|layer| {
            layer.region(quarter, (first_x, first_x + x - 1), (first_y, first_y + y - 1), of)
        })
        .collect()
}
