//! The effect of conditions and anomalies on a row.

use super::{
    channels::{CONSTANT, LATENT, PARTICLES, STATISTICS, STREAMS},
    distribution::{Basis, FORMS, Form, Now, observed},
    period::{Anomaly, Cause, ERAS, Period},
    quantity::{
        Quantity::{self, Eta, Fx, Fy, Fz, Mass, Phi, Pt, Px, Py, Pz},
        names, quantities, usual,
    },
};
use crate::{
    random,
    synth::normal::{normal, normals},
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::{collections::HashMap, f64::consts::PI, ops::Range};

const HIDDEN: usize = 12;

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

pub struct Model {
    pub names: Vec<String>,
    columns: Columns,
    channels: Vec<Channel>,
    bases: HashMap<Form, Basis>,
    /// By era and menu, stream and step.
    menus: Vec<[[f64; 12]; 3]>,
}

impl Model {
    pub fn new(seed: u64) -> Self {
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
        let bases = FORMS.iter().map(|form| (*form, Basis::new(*form))).collect();
        Self { names, columns, channels, bases, menus }
    }

    /// Makes a row; `values` are zeros, which is what stands where a stream has no data.
    pub fn fill(&self, period: &Period, row: u32, values: &mut [f32]) {
        let (run, at) = period.find(row);
        values[self.columns.run] = run.number as f32;
        values[self.columns.ls] = (run.first_ls + at) as f32;
        if !run.lit.contains(&at) {
            return;
        }
        let chance = &mut random::generator(period.seed, "2010B row", u64::from(row));
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
            let basis = &self.bases[&Form::Peak];
            let statistics = spread.statistics(basis);
            let seen = observed(
                statistics,
                basis,
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
            let basis = &self.bases[&form];
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
                None => now.statistics(basis),
            };
            let limits = match block.quantity {
                Phi => (-PI, PI),
                Eta => (-1.02 * block.scale, 1.02 * block.scale),
                Pt | Mass => (0.05 * block.location, f64::INFINITY),
                _ => (f64::NEG_INFINITY, f64::INFINITY),
            };
            let seen = observed(statistics, basis, now.scale * error, limits, chance);
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
    match (anomaly.cause, block.quantity) {
        (Cause::Off, Eta | Phi) => {
            return region.map(|region| (region, (1.0 - 0.8 * size).max(0.05)));
        }
        (Cause::Off, Pt | Mass) => now.scale *= 1.0 - 0.15 * size * rank,
        (Cause::Off, Fx | Fy | Fz) => now.scale *= 1.0 + 0.2 * size,
        (Cause::Off, _) => {
            (now.location, now.scale) =
                (now.location + 0.1 * size * now.scale, now.scale * (1.0 - 0.1 * size))
        }
        (Cause::Scale, Pt | Mass | Px | Py | Pz) => {
            let factor = 1.0 + (anomaly.size - 1.0) * strength;
            (now.location, now.scale) = (now.location * factor, now.scale * factor);
        }
        (Cause::Noise, Eta | Phi) => return region.map(|region| (region, 1.0 + 3.0 * size * rank)),
        (Cause::Noise, Pt | Mass | Px | Py | Pz) => now.tail += 0.8 * size * rank,
        (Cause::Hole, Eta | Phi) => {
            return region.map(|region| (region, (1.0 - 0.85 * size).max(0.05)));
        }
        (Cause::Drift, Fx | Fy | Fz) => now.location += 0.04 * size * now.scale,
        (Cause::Drift, Pt | Mass) => now.scale *= 1.0 + 0.015 * size,
        _ => {}
    }
    None
}
