//! Runs, luminosity and anomalies of the data-taking period.

use super::channels::{CALO, LATENT, MUONS, PARTICLES, PF, PHOTONS, STREAMS, SUBSYSTEMS};
use crate::{
    random,
    synth::normal::{normal, normals},
};
use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, f64::consts::PI, fmt::Write as _, ops::Range};

const LUMI: usize = 5;
const FIRST_RUN: u32 = 146_430;
const LAST_RUN: u32 = 149_442;
const SHORTEST: u32 = 20;
const LONGEST: u32 = 1_500;
pub const ERAS: usize = 5;
const LUMINOSITY: [f64; ERAS] = [26.0, 55.0, 95.0, 140.0, 190.0];
const BUNCHES: [f64; ERAS] = [50.0, 100.0, 170.0, 260.0, 350.0];
/// Share of LSs without luminosity in any stream.
const EMPTY: f64 = 0.36;
/// Share of bad LSs among those with luminosity.
const BAD: f64 = 0.225;

/// What may be wrong with an LS.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cause {
    /// A part of the detector is off: strong.
    Off,
    /// Momenta are too large by a factor.
    Scale,
    /// Noisy towers: tails and a hot spot.
    Noise,
    /// A region sees less.
    Hole,
    /// A trigger keeps fewer events.
    Prescale,
    /// A calibration that drifts away: nearly invisible.
    Drift,
    /// Someone said bad; nothing is to be seen.
    Decision,
}

/// How often each cause comes, in a round.
const ROUND: [(Cause, usize); 7] = [
    (Cause::Off, 4),
    (Cause::Scale, 3),
    (Cause::Noise, 2),
    (Cause::Hole, 3),
    (Cause::Prescale, 2),
    (Cause::Drift, 2),
    (Cause::Decision, 1),
];

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Scale => "scale",
            Self::Noise => "noise",
            Self::Hole => "hole",
            Self::Prescale => "prescale",
            Self::Drift => "drift",
            Self::Decision => "decision",
        }
    }
}

/// What an anomaly touches and how much; a channel without a particle is a whole stream, one
/// without both is nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    pub stream: Option<usize>,
    pub particle: Option<usize>,
    pub strength: f64,
}

impl Target {
    fn name(self) -> String {
        match (self.stream, self.particle) {
            (Some(stream), Some(particle)) => {
                format!("{}/{}", STREAMS[stream], PARTICLES[particle])
            }
            (None, Some(particle)) => PARTICLES[particle].to_owned(),
            (Some(stream), None) => format!("{}/allChannels", STREAMS[stream]),
            (None, None) => "none".to_owned(),
        }
    }
}

/// An anomaly; `first` and `last` count from the run's first LS.
#[derive(Clone, Debug, PartialEq)]
pub struct Anomaly {
    pub first: u32,
    pub last: u32,
    pub cause: Cause,
    pub targets: Vec<Target>,
    /// A bit for each subsystem that calls it bad.
    pub subsystems: u16,
    /// Size in the cause's own measure.
    pub size: f64,
    /// Regions of eta and phi as shares of the events.
    pub regions: [Range<f64>; 2],
}

impl Anomaly {
    pub fn new(cause: Cause, first: u32, last: u32, chance: &mut ChaCha8Rng) -> Self {
        let mut uniform = |low: f64, high: f64| chance.random_range(low..high);
        let size = match cause {
            Cause::Off => uniform(0.75, 1.25),
            Cause::Scale => uniform(1.05, 1.3),
            Cause::Noise => uniform(0.5, 1.2),
            Cause::Hole => uniform(0.6, 1.1),
            Cause::Prescale => uniform(0.1, 0.4),
            Cause::Drift => uniform(0.4, 1.0),
            Cause::Decision => 0.0,
        };
        let width = match cause {
            Cause::Off => uniform(0.15, 0.3),
            Cause::Noise => uniform(0.01, 0.03),
            _ => uniform(0.08, 0.16),
        };
        let mut region = || {
            let start = uniform(0.05, 0.95 - width);
            start..start + width
        };
        let regions = [region(), region()];
        let particle = match cause {
            Cause::Noise => CALO,
            _ => chance.random_range(0..PARTICLES.len()),
        };
        let stream = chance.random_range(0..STREAMS.len());
        let target =
            |stream, particle, strength| Target { stream, particle: Some(particle), strength };
        let mut targets = match cause {
            Cause::Prescale => vec![Target { stream: Some(stream), particle: None, strength: 1.0 }],
            Cause::Decision => vec![Target { stream: None, particle: None, strength: 0.0 }],
            Cause::Off | Cause::Hole if chance.random_bool(0.25) => {
                vec![target(Some(stream), particle, 1.0)]
            }
            _ => vec![target(None, particle, 1.0)],
        };
        let subsystems = blamed(cause, particle, stream, chance);
        // Particle flow is made from all detectors, muons from tracks, and spikes in Ecal look like
        // photons.
        if targets[0].stream.is_none() {
            match (cause, particle) {
                (Cause::Noise, _) => {
                    targets.push(target(None, PF, 0.35));
                    if is_in(subsystems, "Ecal") {
                        targets.push(target(None, PHOTONS, 0.4));
                    }
                }
                (Cause::Off | Cause::Hole, CALO | PHOTONS) => targets.push(target(None, PF, 0.2)),
                (Cause::Off | Cause::Hole, PF) => targets.push(target(None, MUONS, 0.15)),
                _ => {}
            }
        }
        Self { first, last, cause, targets, subsystems, size, regions }
    }

    /// How strongly it acts on a channel at an LS.
    pub fn strength(&self, at: u32, stream: usize, particle: usize) -> f64 {
        let ramp = match self.cause {
            Cause::Drift => f64::from(at - self.first + 1) / f64::from(self.last - self.first + 1),
            _ => 1.0,
        };
        let is_hit = |target: &&Target| {
            target.stream.is_none_or(|s| s == stream) && target.particle == Some(particle)
        };
        ramp * self.targets.iter().find(is_hit).map_or(0.0, |target| target.strength)
    }

    /// The share of events that remains in a stream.
    pub fn kept(&self, stream: usize) -> f64 {
        if self.cause == Cause::Prescale && self.targets[0].stream == Some(stream) {
            self.size
        } else {
            1.0
        }
    }
}

fn is_in(subsystems: u16, name: &str) -> bool {
    SUBSYSTEMS.iter().position(|other| *other == name).is_some_and(|i| subsystems >> i & 1 == 1)
}

/// The subsystems that call an anomaly bad.
fn blamed(cause: Cause, particle: usize, stream: usize, chance: &mut ChaCha8Rng) -> u16 {
    let mut pick = |names: &[&'static str]| names[chance.random_range(0..names.len())];
    let mut names: Vec<&str> = match (cause, particle) {
        (Cause::Prescale, _) => match stream {
            0 => vec!["Hlt", pick(&["L1tmu", "L1tcalo"])],
            1 => vec!["Hlt", "L1tmu"],
            _ => vec!["Hlt", "L1tcalo"],
        },
        (Cause::Decision, _) => vec![pick(&SUBSYSTEMS), pick(&SUBSYSTEMS)],
        (Cause::Drift, MUONS) => vec![pick(&["Muon", "Dt", "Csc", "Rpc"])],
        (Cause::Drift, PHOTONS) => vec![pick(&["Ecal", "Egamma", "Es"])],
        (Cause::Drift, PF) => vec![pick(&["Track", "Strip", "Pix"])],
        (Cause::Drift, _) => vec![pick(&["Hcal", "Jetmet"])],
        (Cause::Noise, _) => match pick(&["Ecal", "Hcal"]) {
            "Ecal" => vec!["Ecal", "Jetmet", "Egamma", pick(&["L1tcalo", "Es"])],
            _ => vec!["Hcal", "Jetmet"],
        },
        (_, MUONS) => vec!["Muon", pick(&["Csc", "Dt"]), pick(&["Csc", "Rpc", "Dt", "L1tmu"])],
        (_, PHOTONS) => vec!["Ecal", "Egamma", pick(&["Es", "Es", "L1tcalo"])],
        (_, PF) => vec!["Track", pick(&["Pix", "Strip"]), pick(&["Jetmet", "Strip", "Pix"])],
        _ => vec!["Jetmet", pick(&["Hcal", "Hcal", "Ecal"]), pick(&["L1tcalo", "Hcal"])],
    };
    // Some detectors look again at what others saw.
    names.extend(SUBSYSTEMS.iter().filter(|_| chance.random_bool(0.04)));
    names
        .iter()
        .filter_map(|name| SUBSYSTEMS.iter().position(|other| other == name))
        .fold(0, |mask, i| mask | 1 << i)
}

#[derive(Clone, Copy, Debug)]
pub struct Wave {
    pub size: f64,
    pub turns: f64,
    pub phase: f64,
}

/// A run; LSs count from 0 here, and ranges do not hold their end.
#[derive(Clone, Debug)]
pub struct Run {
    pub number: u32,
    pub first_ls: u32,
    pub length: u32,
    pub first_row: u32,
    pub lit: Range<u32>,
    pub era: usize,
    pub menu: usize,
    pub luminosity: f64,
    pub lifetime: f64,
    pub bunches: f64,
    pub offsets: [f64; LATENT],
    pub waves: [[Wave; 2]; LATENT],
    pub off: Vec<(usize, Range<u32>)>,
    pub anomalies: Vec<Anomaly>,
}

impl Run {
    pub fn luminosity(&self, at: u32) -> f64 {
        if self.lit.contains(&at) {
            self.luminosity * (-f64::from(at - self.lit.start) / self.lifetime).exp()
        } else {
            0.0
        }
    }

    pub fn anomaly(&self, at: u32) -> Option<&Anomaly> {
        self.anomalies.iter().find(|anomaly| (anomaly.first..=anomaly.last).contains(&at))
    }
}

/// The runs of the period.
pub struct Period {
    pub seed: u64,
    pub rows: usize,
    pub runs: Vec<Run>,
}

impl Period {
    pub fn new(rows: usize, seed: u64) -> Self {
        let lengths = lengths(rows, seed);
        let lit = lit(&lengths, rows, seed);
        let mut chance = random::generator(seed, "2010B eras", 0);
        let eras: Vec<[f64; LATENT]> = (0..ERAS).map(|_| normals(&mut chance, 1.0)).collect();
        let numbers = numbers(lengths.len(), &mut chance);
        let mut runs: Vec<Run> = vec![];
        let mut first_row = 0;
        for (i, (&length, lit)) in lengths.iter().zip(lit).enumerate() {
            let mut chance = random::generator(seed, "2010B run", i as u64);
            let era = i * ERAS / lengths.len();
            let mut run = Run {
                number: numbers[i],
                first_ls: if chance.random_bool(0.7) { 1 } else { chance.random_range(2..=40) },
                length,
                first_row,
                lit,
                era,
                menu: chance.random_range(0..3),
                luminosity: LUMINOSITY[era] * (0.15 * normal(&mut chance)).exp(),
                lifetime: chance.random_range(900.0..2500.0),
                bunches: BUNCHES[era] * chance.random_range(0.85..1.1),
                offsets: std::array::from_fn(|k| 0.6 * eras[era][k] + 0.5 * normal(&mut chance)),
                waves: std::array::from_fn(|_| std::array::from_fn(|_| wave(&mut chance))),
                off: vec![],
                anomalies: vec![],
            };
            // A run that begins lit after one that ended lit is in the same fill.
            if let Some(last) = runs
                .last()
                .filter(|last| last.lit.end == last.length && last.era == era && run.lit.start == 0)
            {
                let left = last.luminosity(last.length - 1);
                if left > 0.25 * LUMINOSITY[era] {
                    (run.luminosity, run.lifetime, run.bunches) =
                        (left, last.lifetime, last.bunches);
                }
            }
            let lit = run.lit.len() as u32;
            if lit >= 10 && chance.random_bool(0.25) {
                let span = (f64::from(lit) * chance.random_range(0.03..0.12)).ceil() as u32;
                let start = run.lit.start + chance.random_range(0..=lit - span);
                let stream = chance.random_range(0..STREAMS.len());
                run.off.push((stream, start..start + span));
                if chance.random_bool(0.25) {
                    run.off.push(((stream + 1) % STREAMS.len(), start..start + span));
                }
            }
            first_row += length;
            runs.push(run);
        }
        place(&mut runs, seed);
        Self { seed, rows, runs }
    }

    /// The run and the LS, counted from 0, of a row in time's order.
    pub fn find(&self, row: u32) -> (&Run, u32) {
        let run = &self.runs[self.runs.partition_point(|run| run.first_row <= row) - 1];
        (run, row - run.first_row)
    }

    pub fn is_good(&self, run: &Run, at: u32) -> bool {
        run.lit.contains(&at) && run.anomaly(at).is_none()
    }

    /// The order of the rows in the file: runs are cut into pieces, which are shuffled, and so are
    /// the LSs of each.
    pub fn order(&self) -> Vec<u32> {
        let mut chance = random::generator(self.seed, "2010B order", 0);
        let mut pieces = vec![];
        for run in &self.runs {
            let mut start = run.first_row;
            while start < run.first_row + run.length {
                let end = (start + chance.random_range(2..=24)).min(run.first_row + run.length);
                pieces.push(start..end);
                start = end;
            }
        }
        pieces.shuffle(&mut chance);
        let mut order = Vec::with_capacity(self.rows);
        for piece in pieces {
            let start = order.len();
            order.extend(piece);
            order[start..].shuffle(&mut chance);
        }
        order
    }

    pub fn truth(&self) -> String {
        let mut text = String::from("run,first_ls,last_ls,anomaly,channel\n");
        for run in &self.runs {
            for anomaly in &run.anomalies {
                let (first, last) = (run.first_ls + anomaly.first, run.first_ls + anomaly.last);
                for target in &anomaly.targets {
                    let _ = writeln!(
                        text,
                        "{},{first},{last},{},{}",
                        run.number,
                        anomaly.cause.name(),
                        target.name()
                    );
                }
            }
        }
        text
    }

    /// Good LSs by subsystem and run.
    pub fn certified(&self) -> Vec<BTreeMap<String, Vec<[u32; 2]>>> {
        let mut good = vec![BTreeMap::new(); SUBSYSTEMS.len()];
        for (i, run) in self.runs.iter().enumerate() {
            let mut chance = random::generator(self.seed, "2010B certification", i as u64);
            for (subsystem, good) in good.iter_mut().enumerate() {
                if subsystem == LUMI {
                    continue;
                }
                let ranges = certify(run, subsystem, &mut chance);
                if !ranges.is_empty() {
                    good.insert(run.number.to_string(), ranges);
                }
            }
        }
        good
    }
}

/// Ranges of LSs that a subsystem calls good, a little at odds with the labels.
fn certify(run: &Run, subsystem: usize, chance: &mut ChaCha8Rng) -> Vec<[u32; 2]> {
    let mut is_good: Vec<bool> = (0..run.length).map(|at| run.lit.contains(&at)).collect();
    if chance.random_bool(0.12) {
        is_good.fill(true);
    }
    let mut spoil = |first: u32, last: u32| {
        is_good[first as usize..=(last.min(run.length - 1)) as usize].fill(false)
    };
    for anomaly in &run.anomalies {
        let is_blamed = is_in(anomaly.subsystems, SUBSYSTEMS[subsystem]);
        let (before, after) = (chance.random_range(-2..=2), chance.random_range(-2..=2));
        if is_blamed && chance.random_bool(0.93) {
            let first = anomaly.first.saturating_add_signed(before);
            spoil(first, anomaly.last.saturating_add_signed(after).max(first));
        }
    }
    if chance.random_bool(0.12) {
        let first = chance.random_range(0..run.length);
        spoil(first, first + chance.random_range(2..=60));
    }
    let mut ranges: Vec<[u32; 2]> = vec![];
    for ls in (0..run.length).filter(|at| is_good[*at as usize]).map(|at| run.first_ls + at) {
        match ranges.last_mut() {
            Some(last) if last[1] + 1 == ls => last[1] = ls,
            _ => ranges.push([ls, ls]),
        }
    }
    ranges
}

fn wave(chance: &mut ChaCha8Rng) -> Wave {
    Wave {
        size: 0.45 * normal(chance),
        turns: 1.0 / chance.random_range(150.0..1200.0),
        phase: chance.random_range(0.0..2.0 * PI),
    }
}

/// Lengths of runs that sum to `rows`.
fn lengths(rows: usize, seed: u64) -> Vec<u32> {
    let mut chance = random::generator(seed, "2010B lengths", 0);
    let longest = ((rows / 8) as u32).clamp(SHORTEST, LONGEST);
    let mut left = rows as u32;
    let mut lengths: Vec<u32> = vec![];
    while left > 0 {
        let usual = (5.75 + 0.9 * normal(&mut chance)).exp() as u32;
        let mut length = usual.clamp(SHORTEST, longest);
        if left < length + SHORTEST {
            length = left;
        }
        lengths.push(length);
        left -= length;
    }
    lengths
}

/// Where each run has luminosity, so that about [`EMPTY`] of all LSs have none.
fn lit(lengths: &[u32], rows: usize, seed: u64) -> Vec<Range<u32>> {
    let mut chance = random::generator(seed, "2010B fills", 0);
    let mut empty: Vec<f64> = (0..lengths.len())
        .map(|i| match (i as f64 + chance.random_range(0.0..1.0)) / lengths.len() as f64 {
            at if at < 0.1 => 1.0,
            at if at < 0.35 => 0.0,
            at => 0.05 + 0.75 * (at - 0.35),
        })
        .collect();
    empty.shuffle(&mut chance);
    let sum = |partial: bool, empty: &[f64]| -> f64 {
        let sizes = empty.iter().zip(lengths).filter(|(share, _)| (**share < 1.0) == partial);
        sizes.map(|(share, &length)| share * f64::from(length)).sum()
    };
    let factor =
        ((EMPTY * rows as f64 - sum(false, &empty)) / sum(true, &empty).max(1.0)).clamp(0.1, 1.8);
    empty
        .iter_mut()
        .filter(|share| **share < 1.0)
        .for_each(|share| *share = (*share * factor).min(0.95));
    lengths
        .iter()
        .zip(empty)
        .map(|(&length, share)| {
            let dark = (f64::from(length) * share).round() as u32;
            let before = match chance.random_range(0..3) {
                0 => 0.0,
                1 => 1.0,
                _ => chance.random_range(0.0..1.0),
            };
            let start = (f64::from(dark) * before).round() as u32;
            start..start + length - dark
        })
        .collect()
}

/// Run numbers in order, spread over the period.
fn numbers(count: usize, chance: &mut ChaCha8Rng) -> Vec<u32> {
    let mut numbers: Vec<u32> = (FIRST_RUN..=LAST_RUN.max(FIRST_RUN + count as u32)).collect();
    numbers.shuffle(chance);
    numbers.truncate(count);
    numbers.sort_unstable();
    numbers
}

/// Puts anomalies into the runs until [`BAD`] of the LSs with luminosity are bad.
fn place(runs: &mut [Run], seed: u64) {
    let mut chance = random::generator(seed, "2010B anomalies", 0);
    let lit: Vec<usize> = (0..runs.len()).filter(|i| runs[*i].lit.len() >= 8).collect();
    let total: usize = runs.iter().map(|run| run.lit.len()).sum();
    let mut left = (BAD * total as f64).round() as u32;
    let longest = (left / 8).max(4);
    let mut causes = vec![];
    for _ in 0..100 * runs.len() + 1000 {
        if left == 0 || lit.is_empty() {
            break;
        }
        let run = &mut runs[lit[chance.random_range(0..lit.len())]];
        let size = run.lit.len() as u32;
        let wanted = (3.3 + 0.8 * normal(&mut chance)).exp() as u32;
        let whole = chance.random_bool(0.2) && size <= longest.min(left).min(250);
        let length =
            if whole { size } else { wanted.clamp(3, 200).min(longest).min(size).min(left) };
        let first = run.lit.start + chance.random_range(0..=size - length);
        let last = first + length - 1;
        if run.anomalies.iter().any(|other| first <= other.last + 3 && other.first <= last + 3) {
            continue;
        }
        if causes.is_empty() {
            causes = ROUND
                .iter()
                .flat_map(|(cause, times)| std::iter::repeat_n(*cause, *times))
                .collect();
            causes.shuffle(&mut chance);
        }
        let Some(cause) = causes.pop() else { break };
        run.anomalies.push(Anomaly::new(cause, first, last, &mut chance));
        left -= length;
    }
    runs.iter_mut().for_each(|run| run.anomalies.sort_by_key(|anomaly| anomaly.first));
}
