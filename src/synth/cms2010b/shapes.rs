//! Distributions and their statistics: how conditions and anomalies show in a row.

use super::{
    CONSTANT, LATENT, PARTICLES, PF, PHOTONS, STATISTICS, STREAMS, normal, normals,
    plan::{Anomaly, ERAS, Kind, Plan},
};
use crate::random;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::{collections::HashMap, f64::consts::PI, ops::Range};

const HIDDEN: usize = 12;
/// The percentiles among the statistics.
const POINTS: [f64; 5] = [0.01, 0.25, 0.5, 0.75, 0.99];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Quantity {
    Eta,
    Phi,
    Pt,
    Fx,
    Fy,
    Fz,
    Mass,
    Px,
    Py,
    Pz,
}

use Quantity::{Eta, Fx, Fy, Fz, Mass, Phi, Pt, Px, Py, Pz};

impl Quantity {
    fn name(self) -> &'static str {
        match self {
            Eta => "eta",
            Phi => "phi",
            Pt => "pt",
            Fx => "fX",
            Fy => "fY",
            Fz => "fZ",
            Mass => "mass",
            Px => "Px",
            Py => "Py",
            Pz => "Pz",
        }
    }

    fn form(self) -> Form {
        match self {
            Eta => Form::Broad,
            Phi => Form::Flat,
            Pt | Mass => Form::Positive,
            Fx | Fy | Fz => Form::Peak,
            Px | Py | Pz => Form::Heavy,
        }
    }
}

fn quantities(particle: usize) -> &'static [Quantity] {
    match particle {
        PHOTONS => &[Eta, Phi, Pt, Fx, Fy, Fz],
        PF => &[Eta, Phi, Pt],
        _ => &[Eta, Phi, Pt, Fx, Fy, Fz, Mass],
    }
}

/// Location and width of a distribution in usual conditions; `q` is 0 for the sums over all
/// particles.
fn usual(particle: usize, quantity: Quantity, q: usize) -> (f64, f64) {
    const PT: [[f64; 5]; 4] = [
        [4.0, 5.0, 6.5, 9.0, 15.0],
        [1.5, 2.4, 4.0, 8.0, 21.0],
        [0.4, 0.6, 0.9, 1.6, 4.2],
        [0.8, 1.2, 2.0, 4.0, 14.0],
    ];
    const MASS: [[f64; 5]; 4] =
        [[0.3, 0.4, 0.6, 0.9, 1.6], [0.0; 5], [0.0; 5], [0.1, 0.2, 0.4, 0.9, 3.0]];
    const ETA: [f64; 4] = [2.4, 3.0, 5.0, 5.0];
    let rank = q.saturating_sub(1);
    match quantity {
        Eta => (0.0, ETA[particle] * (1.0 - 0.04 * rank as f64)),
        Phi => (0.0, PI),
        Pt => (0.6 * PT[particle][rank], 0.5 * PT[particle][rank]),
        Mass => (0.4 * MASS[particle][rank], 0.6 * MASS[particle][rank]),
        Fx => (0.09, [0.03, 1.2, 0.1, 0.8][particle]),
        Fy => (0.02, [0.03, 1.2, 0.1, 0.8][particle]),
        Fz => (0.4, [5.0, 9.0, 5.0, 7.0][particle]),
        Px | Py => (0.0, 3.0 * PT[particle][3]),
        Pz => (0.0, 9.0 * PT[particle][3]),
    }
}

/// The shape of a distribution: its quantile function is `b0 + skew·b1 + tail·b2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    Flat,
    Broad,
    Peak,
    Heavy,
    Positive,
}

const FORMS: [Form; 5] = [Form::Flat, Form::Broad, Form::Peak, Form::Heavy, Form::Positive];

impl Form {
    fn basis(self, u: f64) -> [f64; 3] {
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
struct Shape {
    points: [[f64; 3]; 5],
    mean: [f64; 3],
    second: [[f64; 3]; 3],
    /// Width, and errors for one event: of the mean, the width and the points.
    width: f64,
    errors: [f64; 7],
}

impl Shape {
    fn new(form: Form) -> Self {
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
struct Now {
    location: f64,
    scale: f64,
    skew: f64,
    tail: f64,
}

impl Now {
    fn at(&self, basis: [f64; 3]) -> f64 {
        self.location + self.scale * (basis[0] + self.skew * basis[1] + self.tail * basis[2])
    }

    /// Mean, standard deviation and the five points.
    fn statistics(&self, shape: &Shape) -> [f64; 7] {
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
    fn statistics_with(&self, form: Form, region: &Range<f64>, kept: f64) -> [f64; 7] {
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

/// One distribution: its columns and how the channel's hidden conditions move it.
struct Block {
    quantity: Quantity,
    q: usize,
    location: f64,
    scale: f64,
    /// Column numbers of the seven statistics; none where the column is constant.
    columns: [Option<usize>; 7],
    weights: [[f64; HIDDEN]; 4],
    /// Location and skew that are always there: no detector is the same on both sides.
    bias: [f64; 2],
}

struct Channel {
    stream: usize,
    particle: usize,
    /// From conditions to hidden ones.
    mix: [[f64; LATENT]; HIDDEN],
    shift: [f64; HIDDEN],
    blocks: Vec<Block>,
}

struct Columns {
    luminosity: [usize; 3],
    statistics: [[usize; 7]; 3],
    events: [usize; 3],
    weights: [usize; 3],
    run: usize,
    ls: usize,
}

pub(super) struct Model {
    pub(super) names: Vec<String>,
    columns: Columns,
    channels: Vec<Channel>,
    shapes: HashMap<Form, Shape>,
    /// By era and menu, stream and step.
    menus: Vec<[[f64; 12]; 3]>,
}

impl Model {
    pub(super) fn new(seed: u64) -> Self {
        let names = names();
        let index: HashMap<&str, usize> =
            names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let column = |name: String| index.get(name.as_str()).copied().unwrap_or_default();
        let stream = |f: &dyn Fn(&str) -> String| STREAMS.map(|stream| column(f(stream)));
        let columns = Columns {
            luminosity: stream(&|stream| format!("_instantLumi_{stream}")),
            statistics: STREAMS.map(|stream| {
                STATISTICS.map(|statistic| column(format!("{stream}_instantLumi__{statistic}")))
            }),
            events: stream(&|stream| format!("{stream}_nEvents")),
            weights: stream(&|stream| format!("{stream}_nonZeroWeights")),
            run: column("_run".into()),
            ls: column("_luminosityBlock".into()),
        };
        let mut channels = vec![];
        for (s, stream) in STREAMS.iter().enumerate() {
            for (p, particle) in PARTICLES.iter().enumerate() {
                let mut shared = random::generator(seed, "2010B particle", p as u64);
                let mut own =
                    random::generator(seed, "2010B channel", (s * PARTICLES.len() + p) as u64);
                let mix = std::array::from_fn(|_| {
                    std::array::from_fn(|_| {
                        (0.85 * normal(&mut shared) + 0.5 * normal(&mut own)) / 2.6
                    })
                });
                let shift =
                    std::array::from_fn(|_| 0.4 * normal(&mut shared) + 0.2 * normal(&mut own));
                let unit = 1.0 / (HIDDEN as f64).sqrt();
                let whole: [[f64; HIDDEN]; 4] =
                    std::array::from_fn(|_| normals(&mut shared, 0.4 * unit));
                let mut blocks = vec![];
                let sums = [Px, Py, Pz];
                for (&quantity, ranks) in quantities(p)
                    .iter()
                    .map(|quantity| (quantity, 1..=5))
                    .chain(sums.iter().map(|sum| (sum, 0..=0)))
                {
                    let related: [[f64; HIDDEN]; 4] =
                        std::array::from_fn(|_| normals(&mut shared, 0.65 * unit));
                    for q in ranks {
                        let ranked: [[f64; HIDDEN]; 4] =
                            std::array::from_fn(|_| normals(&mut shared, 0.5 * unit));
                        let single: [[f64; HIDDEN]; 4] =
                            std::array::from_fn(|_| normals(&mut own, 0.4 * unit));
                        let weights = std::array::from_fn(|i| {
                            std::array::from_fn(|k| {
                                whole[i][k] + related[i][k] + ranked[i][k] + single[i][k]
                            })
                        });
                        let bias = normals(&mut shared, 1.0);
                        let rank = if q == 0 { String::new() } else { format!("_q{q}") };
                        let columns = STATISTICS.map(|statistic| {
                            let name = format!(
                                "{stream}_{particle}_{}{rank}_{statistic}",
                                quantity.name()
                            );
                            let name = if q == 0 { name } else { name.replacen("_q", "__q", 1) };
                            (!CONSTANT.contains(&name.as_str())).then(|| column(name))
                        });
                        let (location, scale) = usual(p, quantity, q);
                        blocks.push(Block { quantity, q, location, scale, columns, weights, bias });
                    }
                }
                channels.push(Channel { stream: s, particle: p, mix, shift, blocks });
            }
        }
        let menu = |i: u64| {
            let mut chance = random::generator(seed, "2010B menu", i);
            std::array::from_fn(|_| normals(&mut chance, 0.8))
        };
        let menus = (0..3 * ERAS as u64).map(menu).collect();
        let shapes = FORMS.iter().map(|form| (*form, Shape::new(*form))).collect();
        Self { names, columns, channels, shapes, menus }
    }

    /// Makes a row; `values` are zeros, which is what stands where a stream has no data.
    pub(super) fn fill(&self, plan: &Plan, row: u32, values: &mut [f32]) {
        let (run, at) = plan.find(row);
        values[self.columns.run] = run.number as f32;
        values[self.columns.ls] = (run.first_ls + at) as f32;
        if !run.lit.contains(&at) {
            return;
        }
        let chance = &mut random::generator(plan.seed, "2010B row", u64::from(row));
        let mut is_on = [true; 3];
        run.off
            .iter()
            .filter(|(_, range)| range.contains(&at))
            .for_each(|(stream, _)| is_on[*stream] = false);
        if is_on == [true; 3] && chance.random_bool(0.006) {
            is_on[chance.random_range(0..3)] = false;
        }
        let luminosity = run.luminosity(at) * (1.0 + 0.001 * normal(chance));
        let pile_up = luminosity / run.bunches;
        let mut latent: [f64; LATENT] = std::array::from_fn(|i| {
            let waves = run.waves[i]
                .iter()
                .map(|wave| wave.size * (2.0 * PI * wave.turns * f64::from(at) + wave.phase).sin());
            run.offsets[i] + waves.sum::<f64>() + 0.03 * normal(chance)
        });
        latent[0] = (luminosity.ln() - 4.0) / 0.7;
        latent[1] = (pile_up.ln() + 1.0) / 0.35;
        let anomaly = run.anomaly(at);
        let step = ((luminosity.max(1.0).ln() / 0.5) as usize).min(11);
        for stream in (0..STREAMS.len()).filter(|stream| is_on[*stream]) {
            let menu = self.menus[run.era * 3 + run.menu][stream][step];
            latent[8] = menu + 0.3 * run.offsets[8];
            let rate = [
                1600.0,
                1500.0 * (luminosity / 60.0).powf(0.35),
                1500.0 * (luminosity / 60.0).powf(0.3),
            ][stream]
                * (0.2 * menu).exp();
            let kept = anomaly.map_or(1.0, |anomaly| anomaly.kept(stream));
            let expected = rate * kept;
            let events = (expected + expected.sqrt() * normal(chance)).round().max(20.0);
            values[self.columns.events[stream]] = events as f32;
            let weight = 0.55 + 0.3 * (0.5 * latent[1] + 0.3 * latent[8]).tanh();
            values[self.columns.weights[stream]] =
                (weight + 0.3 * normal(chance) / events.sqrt()).clamp(0.01, 1.0) as f32;
            let measured = luminosity * [1.0, 1.004, 0.997][stream];
            values[self.columns.luminosity[stream]] = measured as f32;
            let mut spread = Now {
                location: measured,
                scale: measured * 0.004 * (0.3 * latent[5].tanh()).exp(),
                skew: 0.3 * latent[11].tanh(),
                tail: 0.0,
            };
            if kept < 1.0 {
                // Events are kept from a part of the LS only.
                (spread.location, spread.scale) = (
                    measured * (1.0 + 0.02 * (0.4 - kept)),
                    spread.scale * (1.0 + 0.8 / kept.sqrt()),
                );
            }
            let shape = &self.shapes[&Form::Peak];
            let statistics = spread.statistics(shape);
            let seen = observed(
                statistics,
                shape,
                spread.scale / events.sqrt(),
                (0.0, f64::INFINITY),
                chance,
            );
            self.columns.statistics[stream]
                .iter()
                .zip(seen)
                .for_each(|(column, value)| values[*column] = value);
            for channel in self.channels.iter().filter(|channel| channel.stream == stream) {
                let strength =
                    anomaly.map_or(0.0, |anomaly| anomaly.strength(at, stream, channel.particle));
                let anomaly = anomaly.filter(|_| strength > 0.0).map(|anomaly| (anomaly, strength));
                self.fill_channel(channel, &latent, events, anomaly, values, chance);
            }
        }
    }

    fn fill_channel(
        &self,
        channel: &Channel,
        latent: &[f64; LATENT],
        events: f64,
        anomaly: Option<(&Anomaly, f64)>,
        values: &mut [f32],
        chance: &mut ChaCha8Rng,
    ) {
        // Share of the events with such a particle, and how noisy its detector is.
        const PRESENT: [[f64; 4]; 3] =
            [[0.5, 0.75, 1.0, 1.0], [1.0, 0.75, 1.0, 1.0], [0.5, 1.0, 1.0, 1.0]];
        const NOISE: [f64; 4] = [1.0, 1.0, 1.1, 1.35];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let hidden: [f64; HIDDEN] =
            std::array::from_fn(|k| (channel.shift[k] + dot(&channel.mix[k], latent)).tanh());
        let loudness = NOISE[channel.particle] * (0.15 * normal(chance)).exp();
        let error = loudness / (events * PRESENT[channel.stream][channel.particle]).sqrt();
        for block in &channel.blocks {
            let form = block.quantity.form();
            let shape = &self.shapes[&form];
            let [a, b, c, d]: [f64; 4] =
                std::array::from_fn(|i| dot(&block.weights[i], &hidden).clamp(-1.8, 1.8));
            let beam = match block.quantity {
                Fx => latent[2],
                Fy => latent[3],
                Fz => latent[4],
                _ => 0.0,
            };
            let (location, scale, [left, skew]) = (block.location, block.scale, block.bias);
            let mut now = match form {
                Form::Flat => Now { location, scale, skew: 0.12 * c + 0.12 * skew, tail: 0.12 * d },
                Form::Broad => Now {
                    location,
                    scale: scale * (0.04 * b).exp(),
                    skew: 0.11 * c + 0.13 * skew,
                    tail: 0.12 * d,
                },
                Form::Peak => Now {
                    location: location + scale * (0.18 * a + 0.1 * beam + 0.25 * left),
                    scale: scale * (0.12 * b).exp(),
                    skew: 0.55 * c + 0.3 * skew,
                    tail: 0.4 * d,
                },
                Form::Heavy => Now {
                    location: location + scale * (0.18 * a + 0.25 * left),
                    scale: scale * (0.12 * b).exp(),
                    skew: 0.45 * c + 0.3 * skew,
                    tail: 0.6 * d,
                },
                Form::Positive => Now {
                    location: location * (0.13 * a).exp(),
                    scale: scale * (0.13 * b).exp(),
                    skew: 0.4 * c,
                    tail: (0.4 * d).max(-0.45),
                },
            };
            let mut region = None;
            if let Some((anomaly, strength)) = anomaly {
                region = disturb(&mut now, block, anomaly, strength);
            }
            let statistics = match region {
                Some((region, kept)) => now.statistics_with(form, region, kept),
                None => now.statistics(shape),
            };
            let limits = match block.quantity {
                Phi => (-PI, PI),
                Eta => (-1.02 * block.scale, 1.02 * block.scale),
                Pt | Mass => (0.05 * block.location, f64::INFINITY),
                _ => (f64::NEG_INFINITY, f64::INFINITY),
            };
            let seen = observed(statistics, shape, now.scale * error, limits, chance);
            for (column, value) in block.columns.iter().zip(seen) {
                if let Some(column) = column {
                    values[*column] = value;
                }
            }
        }
    }
}

/// Changes a distribution as an anomaly does; a returned region keeps only a share of its events.
fn disturb<'a>(
    now: &mut Now,
    block: &Block,
    anomaly: &'a Anomaly,
    strength: f64,
) -> Option<(&'a Range<f64>, f64)> {
    let size = anomaly.size * strength;
    // The loudest particle, or the sum, feels most.
    let rank = if block.q == 0 { 1.0 } else { 0.2 * block.q as f64 };
    let region = match block.quantity {
        Eta => Some(&anomaly.regions[0]),
        Phi => Some(&anomaly.regions[1]),
        _ => None,
    };
    match (anomaly.kind, block.quantity) {
        (Kind::Off, Eta | Phi) => {
            return region.map(|region| (region, (1.0 - 0.8 * size).max(0.05)));
        }
        (Kind::Off, Pt | Mass) => now.scale *= 1.0 - 0.15 * size * rank,
        (Kind::Off, Fx | Fy | Fz) => now.scale *= 1.0 + 0.2 * size,
        (Kind::Off, _) => {
            (now.location, now.scale) =
                (now.location + 0.1 * size * now.scale, now.scale * (1.0 - 0.1 * size))
        }
        (Kind::Scale, Pt | Mass | Px | Py | Pz) => {
            let factor = 1.0 + (anomaly.size - 1.0) * strength;
            (now.location, now.scale) = (now.location * factor, now.scale * factor);
        }
        (Kind::Noise, Eta | Phi) => return region.map(|region| (region, 1.0 + 3.0 * size * rank)),
        (Kind::Noise, Pt | Mass | Px | Py | Pz) => now.tail += 0.8 * size * rank,
        (Kind::Hole, Eta | Phi) => {
            return region.map(|region| (region, (1.0 - 0.85 * size).max(0.05)));
        }
        (Kind::Drift, Fx | Fy | Fz) => now.location += 0.04 * size * now.scale,
        (Kind::Drift, Pt | Mass) => now.scale *= 1.0 + 0.015 * size,
        _ => {}
    }
    None
}

/// Statistics as measured, with errors that hang together, in order and inside the limits.
fn observed(
    statistics: [f64; 7],
    shape: &Shape,
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

/// All column names, sorted.
pub(super) fn names() -> Vec<String> {
    let mut names = vec!["_luminosityBlock".to_owned(), "_run".to_owned()];
    for stream in STREAMS {
        names.push(format!("_instantLumi_{stream}"));
        names.push(format!("{stream}_nEvents"));
        names.push(format!("{stream}_nonZeroWeights"));
        for statistic in STATISTICS {
            names.push(format!("{stream}_instantLumi__{statistic}"));
            for (p, particle) in PARTICLES.iter().enumerate() {
                for quantity in quantities(p) {
                    names.extend((1..=5).map(|q| {
                        format!("{stream}_{particle}_{}__q{q}_{statistic}", quantity.name())
                    }));
                }
                names.extend(
                    [Px, Py, Pz]
                        .map(|sum| format!("{stream}_{particle}_{}_{statistic}", sum.name())),
                );
            }
        }
    }
    names.sort_unstable();
    names
}
