//! The detector: layers of ladders and modules around the beam, and what each readout chip counts.

use crate::{data::shape::Shape, random};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::{f64::consts::PI, fmt};

/// Readout chips of a module: bins of a map.
pub(super) const MODULE: Shape = Shape { y: 2, x: 8 };
/// Modules of a ladder on either side of the middle.
const MODULES: usize = 4;
/// Length of a module in cm.
const LENGTH: f64 = 6.7;

/// What is known of each layer: its distance from the beam in cm, ladders of a half, entries of a
/// lumisection at full pile-up.
const LAYERS: [(f64, usize, f64); 4] =
    [(2.9, 6, 4.5e6), (6.8, 14, 4.2e6), (10.9, 22, 3.8e6), (16.0, 32, 3.5e6)];
/// The most layers.
pub(super) const MOST: usize = LAYERS.len();

/// What occupancy varies with: pile-up, and the place of the beams across and along.
pub(super) const MODES: usize = 3;
/// How much, in the first layer, and the share of it that is left in each further one.
const STRENGTHS: [f64; MODES] = [0.08, 0.12, 0.10];
const FURTHER: f64 = 0.8;

/// Modules of a layer that are dead for good, and that count less.
const DEAD: usize = 3;
const WEAK: usize = 3;

/// Bins of a map as filed, from 0, inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Region {
    pub x: (usize, usize),
    pub y: (usize, usize),
}

impl Region {
    /// Whether two regions have a bin in common.
    pub fn meets(&self, other: &Self) -> bool {
        let meet =
            |one: (usize, usize), other: (usize, usize)| one.0 <= other.1 && other.0 <= one.1;
        meet(self.x, other.x) && meet(self.y, other.y)
    }

    /// The bins, in a map of so many columns.
    pub fn bins(self, columns: usize) -> impl Iterator<Item = usize> {
        (self.y.0..=self.y.1).flat_map(move |y| (self.x.0..=self.x.1).map(move |x| y * columns + x))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{},{}", self.x.0, self.x.1, self.y.0, self.y.1)
    }
}

/// A quarter of a map: negative or positive ladders, modules on one side.
#[derive(Clone, Copy)]
pub(super) struct Quarter {
    pub above: bool,
    pub right: bool,
}

impl Quarter {
    pub fn any(chance: &mut ChaCha8Rng) -> Self {
        Self { above: chance.random(), right: chance.random() }
    }
}

/// A layer: the mean of its maps and how they vary.
pub(super) struct Layer {
    pub index: usize,
    /// Ladders of a half.
    ladders: usize,
    /// Entries of a lumisection at full pile-up.
    pub entries: f64,
    /// Of the entries, by bin.
    pub shares: Vec<f64>,
    /// By bin; how much it gains where the mode's amplitude is 1.
    pub modes: [Vec<f64>; MODES],
    /// Modules that are dead for good.
    pub dead: Vec<Region>,
}

impl Layer {
    /// A layer, from 0, with as many ladders as it has or with those of the first.
    pub fn new(index: usize, true_shape: bool, seed: u64) -> Self {
        let mut chance = random::generator(seed, "occupancy layers", index as u64);
        let (radius, own, entries) = LAYERS[index];
        let ladders = if true_shape { own } else { LAYERS[0].1 };
        let mut layer = Self {
            index,
            ladders,
            entries,
            shares: vec![],
            modes: Default::default(),
            dead: vec![],
        };
        let strength = FURTHER.powi(index as i32);
        let width = layer.shape().width();
        layer.modes = std::array::from_fn(|_| Vec::with_capacity(width));
        let forward = (MODULES as f64 * LENGTH / radius).asinh();
        // Where the beams usually are: nearer to some ladders.
        let nearer = chance.random_range(-PI..PI);
        for bin in 0..width {
            let place = layer.place(bin);
            let (z, phi, inner) = place.unwrap_or_default();
            let eta = (z / radius).asinh();
            // Chips differ, those at the ends of a module count less, and so do ladders that are
            // further out.
            let chip = 1.0 + chance.random_range(-0.06..0.06)
                - if matches!(bin % MODULE.x, 0 | 7) { 0.05 } else { 0.0 };
            let usual = chip
                * (1.0 + 0.05 * eta * eta)
                * (1.0 + if inner { 0.08 } else { -0.08 })
                * (1.0 + 0.08 * strength * (phi - nearer).cos());
            layer.shares.push(if place.is_some() { usual } else { 0.0 });
            for (mode, value) in [3.0 * (eta.abs() / forward - 0.5), 2.0 * phi.sin(), z / LENGTH]
                .map(f64::tanh)
                .into_iter()
                .enumerate()
            {
                layer.modes[mode].push(STRENGTHS[mode] * strength * value);
            }
        }
        for at in 0..DEAD + WEAK {
            let module = layer.module(&mut chance);
            let left = if at < DEAD { 0.0 } else { chance.random_range(0.7..0.9) };
            module.bins(layer.shape().x).for_each(|bin| layer.shares[bin] *= left);
            if at < DEAD {
                layer.dead.push(module);
            }
        }
        let sum: f64 = layer.shares.iter().sum();
        layer.shares.iter_mut().for_each(|share| *share /= sum);
        layer
    }

    pub fn name(&self) -> String {
        format!("PXLayer_{}", self.index + 1)
    }

    pub fn shape(&self) -> Shape {
        Shape { y: (2 * self.ladders + 1) * MODULE.y, x: (2 * MODULES + 1) * MODULE.x }
    }

    /// Ends of the axes, x and y: signed numbers of modules and ladders, of which none is 0.
    pub fn reach(&self) -> (f64, f64) {
        (MODULES as f64 + 0.5, self.ladders as f64 + 0.5)
    }

    /// Rows of a quarter.
    pub fn rows(&self) -> usize {
        self.ladders * MODULE.y
    }

    /// Columns of a quarter.
    pub const COLUMNS: usize = MODULES * MODULE.x;

    /// A region of a quarter, given in `rows` rows of which the quarter would have `of`.
    pub fn region(
        &self,
        quarter: Quarter,
        x: (usize, usize),
        rows: (usize, usize),
        of: usize,
    ) -> Region {
        let left = if quarter.right { Self::COLUMNS + MODULE.x } else { 0 };
        let below = if quarter.above { self.rows() + MODULE.y } else { 0 };
        let (first, end) = (rows.0 * self.rows() / of, ((rows.1 + 1) * self.rows()).div_ceil(of));
        Region { x: (left + x.0, left + x.1), y: (below + first, below + end - 1) }
    }

    /// Along the beam in cm, angle, and whether the ladder is an inner one; `None` in the cross.
    fn place(&self, bin: usize) -> Option<(f64, f64, bool)> {
        let Shape { x: columns, .. } = self.shape();
        let (module, ladder) = self.reach();
        let x = ((bin % columns) as f64 + 0.5) / MODULE.x as f64 - module;
        let y = ((bin / columns) as f64 + 0.5) / MODULE.y as f64 - ladder;
        // Module 1 begins in the middle of the detector.
        let z = LENGTH * x.signum() * (x.abs() - 0.5);
        let phi = y.signum() * PI * (y.abs() - 0.5) / self.ladders as f64;
        let inner = (y.abs().round() as usize).is_multiple_of(2) == (y > 0.0);
        (x.abs() > 0.5 && y.abs() > 0.5).then_some((z, phi, inner))
    }

    /// Any module.
    fn module(&self, chance: &mut ChaCha8Rng) -> Region {
        let quarter = Quarter::any(chance);
        let start = |modules: usize, size: usize, chance: &mut ChaCha8Rng| {
            let first = chance.random_range(0..modules) * size;
            (first, first + size - 1)
        };
        let (x, y) = (start(MODULES, MODULE.x, chance), start(self.ladders, MODULE.y, chance));
        self.region(quarter, x, y, self.rows())
    }

    /// A chip that works.
    pub fn chip(&self, chance: &mut ChaCha8Rng) -> Region {
        loop {
            let (x, y) =
                (chance.random_range(0..self.shape().x), chance.random_range(0..self.shape().y));
            if self.shares[y * self.shape().x + x] > 0.0 {
                return Region { x: (x, x), y: (y, y) };
            }
        }
    }
}
