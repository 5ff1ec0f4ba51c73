//! Made data of the CMS 2010B open-data study's kind: a wide table of one row per LS, labels, certification files by
//! subsystem and the truth about the anomalies put in.
//!
//! A dozen slow conditions (luminosity, pile-up, beam spot, temperature, era, trigger menu, run) move the shapes of all
//! distributions. The statistics are taken from the shapes, with the noise that the number of events leaves. Bad LSs
//! have their shapes changed in ways that no condition changes them.

use crate::{
    error::{Error, Result},
    random,
};
use arrow_array::{ArrayRef, Float32Array, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties},
};
use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use std::{
    collections::{BTreeMap, HashMap},
    f64::consts::PI,
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    ops::Range,
    path::Path,
    sync::Arc,
};

const STREAMS: [&str; 3] = ["minibias", "muons", "photons"];
const PARTICLES: [&str; 4] = ["muons", "photons", "PF", "calo"];
const STATISTICS: [&str; 7] = ["mean", "std", "p1", "p25", "p50", "p75", "p99"];
const POINTS: [f64; 5] = [0.01, 0.25, 0.5, 0.75, 0.99];
const MUONS: usize = 0;
const PHOTONS: usize = 1;
const PF: usize = 2;
const CALO: usize = 3;

const SUBSYSTEMS: [&str; 16] =
    ["Muon", "L1tcalo", "Hlt", "Ecal", "Track", "Lumi", "Csc", "Pix", "Rpc", "L1tmu", "Strip", "Hcal", "Egamma", "Jetmet", "Dt", "Es"];
const LUMI: usize = 5;

/// Columns that stay 0: most events have no such particle.
const CONSTANT: [&str; 4] = ["photons_photons_pt__q5_p1", "minibias_muons_mass__q1_p1", "minibias_muons_pt__q1_p1", "photons_muons_mass__q1_p1"];

const FIRST_RUN: u32 = 146_430;
const LAST_RUN: u32 = 149_442;
const SHORTEST: u32 = 20;
const LONGEST: u32 = 1_500;
const ERAS: usize = 5;
const LUMINOSITY: [f64; ERAS] = [26.0, 55.0, 95.0, 140.0, 190.0];
const BUNCHES: [f64; ERAS] = [50.0, 100.0, 170.0, 260.0, 350.0];
/// Share of LSs without luminosity in any stream.
const EMPTY: f64 = 0.36;
/// Share of bad LSs among those with luminosity.
const BAD: f64 = 0.225;

const LATENT: usize = 12;
const HIDDEN: usize = 12;
const ROW_GROUP: usize = 4_000;
const BATCH: usize = 1_000;

/// Writes features.parquet, labels.npy, Quality2010/Cert_13TeV_2010_*.txt and truth.csv; returns the names and rows of the
/// tables.
///
/// LSs without luminosity are labelled bad, as in the study, and are not in the truth.
pub fn write(folder: &Path, rows: usize, seed: u64) -> Result<Vec<(String, usize)>> {
    if !(100..=1_000_000).contains(&rows) {
        return Err(Error::input(format!("{rows} rows: expected from 100 to 1000000")));
    }
    let quality = folder.join("Quality2010");
    fs::create_dir_all(&quality).map_err(|error| Error::writing(&quality, &error))?;
    let plan = Plan::new(rows, seed);
    let model = Model::new(seed);
    let order = plan.order();
    let mut made = vec![];
    beside(&folder.join("features.parquet"), |file| features(file, &plan, &model, &order))?;
    made.push(("features.parquet".to_owned(), rows));
    beside(&folder.join("labels.npy"), |file| labels(file, &plan, &order))?;
    made.push(("labels.npy".to_owned(), rows));
    for (subsystem, good) in SUBSYSTEMS.iter().zip(plan.certified()) {
        let path = quality.join(format!("Cert_13TeV_2010_{subsystem}.txt"));
        beside(&path, |file| serde_json::to_writer(file, &good).map_err(io::Error::from))?;
    }
    let truth = plan.truth();
    beside(&folder.join("truth.csv"), |file| file.write_all(truth.as_bytes()))?;
    made.push(("truth.csv".to_owned(), truth.lines().count() - 1));
    Ok(made)
}

/// Writes beside the target, then renames: a reader never sees a part of a file.
fn beside(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let part = path.with_file_name(format!(".{name}.part"));
    let written = File::create(&part).map(BufWriter::new).and_then(|mut file| {
        write(&mut file)?;
        file.flush()?;
        fs::rename(&part, path)
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&part);
        Error::writing(path, &error)
    })
}

fn labels(file: &mut BufWriter<File>, plan: &Plan, order: &[u32]) -> io::Result<()> {
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({},), }}", order.len());
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for &row in order {
        let (run, at) = plan.find(row);
        file.write_all(&f64::from(u8::from(plan.is_good(run, at))).to_le_bytes())?;
    }
    Ok(())
}

fn features(file: &mut BufWriter<File>, plan: &Plan, model: &Model, order: &[u32]) -> io::Result<()> {
    let is_wide = |name: &str| name == "_run" || name == "_luminosityBlock";
    let kind = |name: &str| if is_wide(name) { DataType::Float64 } else { DataType::Float32 };
    let fields: Vec<Field> = model.names.iter().map(|name| Field::new(name, kind(name), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    // Without statistics and page indices the footer of a large table stays small: it holds an entry per column and row group.
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .build();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
    let make = |rows: &[u32]| -> io::Result<RecordBatch> {
        let width = model.names.len();
        let mut values = vec![0_f32; rows.len() * width];
        values.par_chunks_mut(width).zip(rows).for_each(|(values, &row)| model.fill(plan, row, values));
        // Sixteen neighbours at once: they share cache lines.
        let columns: Vec<ArrayRef> = (0..width.div_ceil(16))
            .into_par_iter()
            .flat_map_iter(|block| {
                let here = block * 16..(block * 16 + 16).min(width);
                let mut columns = vec![Vec::with_capacity(rows.len()); here.len()];
                for row in values.chunks_exact(width) {
                    columns.iter_mut().zip(&row[here.clone()]).for_each(|(column, value)| column.push(*value));
                }
                here.zip(columns)
            })
            .map(|(i, column)| -> ArrayRef {
                match is_wide(&model.names[i]) {
                    true => Arc::new(column.into_iter().map(f64::from).collect::<Float64Array>()),
                    false => Arc::new(Float32Array::from(column)),
                }
            })
            .collect();
        RecordBatch::try_new(Arc::clone(&schema), columns).map_err(io::Error::other)
    };
    for rows in order.chunks(BATCH) {
        writer.write(&make(rows)?)?;
    }
    writer.close()?;
    Ok(())
}

fn normal(chance: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(chance)
}

fn normals<const N: usize>(chance: &mut ChaCha8Rng, size: f64) -> [f64; N] {
    std::array::from_fn(|_| size * normal(chance))
}

// Runs, luminosity and anomalies.

/// What may be wrong with an LS.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
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

/// How often each kind comes, in a round.
const ROUND: [(Kind, usize); 7] =
    [(Kind::Off, 4), (Kind::Scale, 3), (Kind::Noise, 2), (Kind::Hole, 3), (Kind::Prescale, 2), (Kind::Drift, 2), (Kind::Decision, 1)];

impl Kind {
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

/// What an anomaly touches and how much; a channel without a particle is a whole stream, one without both is nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Target {
    stream: Option<usize>,
    particle: Option<usize>,
    strength: f64,
}

impl Target {
    fn name(self) -> String {
        match (self.stream, self.particle) {
            (Some(stream), Some(particle)) => format!("{}/{}", STREAMS[stream], PARTICLES[particle]),
            (None, Some(particle)) => PARTICLES[particle].to_owned(),
            (Some(stream), None) => format!("{}/allChannels", STREAMS[stream]),
            (None, None) => "none".to_owned(),
        }
    }
}

/// An anomaly; `first` and `last` count from the run's first LS.
#[derive(Clone, Debug, PartialEq)]
struct Anomaly {
    first: u32,
    last: u32,
    kind: Kind,
    targets: Vec<Target>,
    /// A bit for each subsystem that calls it bad.
    subsystems: u16,
    /// Size in the kind's own measure.
    size: f64,
    /// Regions of eta and phi as shares of the events.
    regions: [Range<f64>; 2],
}

impl Anomaly {
    fn new(kind: Kind, first: u32, last: u32, chance: &mut ChaCha8Rng) -> Self {
        let mut uniform = |low: f64, high: f64| chance.random_range(low..high);
        let size = match kind {
            Kind::Off => uniform(0.75, 1.25),
            Kind::Scale => uniform(1.05, 1.3),
            Kind::Noise => uniform(0.5, 1.2),
            Kind::Hole => uniform(0.6, 1.1),
            Kind::Prescale => uniform(0.1, 0.4),
            Kind::Drift => uniform(0.4, 1.0),
            Kind::Decision => 0.0,
        };
        let width = match kind {
            Kind::Off => uniform(0.15, 0.3),
            Kind::Noise => uniform(0.01, 0.03),
            _ => uniform(0.08, 0.16),
        };
        let mut region = || {
            let start = uniform(0.05, 0.95 - width);
            start..start + width
        };
        let regions = [region(), region()];
        let particle = match kind {
            Kind::Noise => CALO,
            _ => chance.random_range(0..PARTICLES.len()),
        };
        let stream = chance.random_range(0..STREAMS.len());
        let target = |stream, particle, strength| Target { stream, particle: Some(particle), strength };
        let mut targets = match kind {
            Kind::Prescale => vec![Target { stream: Some(stream), particle: None, strength: 1.0 }],
            Kind::Decision => vec![Target { stream: None, particle: None, strength: 0.0 }],
            Kind::Off | Kind::Hole if chance.random_bool(0.25) => vec![target(Some(stream), particle, 1.0)],
            _ => vec![target(None, particle, 1.0)],
        };
        let subsystems = blamed(kind, particle, stream, chance);
        // Particle flow is made from all detectors, muons from tracks, and spikes in Ecal look like photons.
        if targets[0].stream.is_none() {
            match (kind, particle) {
                (Kind::Noise, _) => {
                    targets.push(target(None, PF, 0.35));
                    if is_in(subsystems, "Ecal") {
                        targets.push(target(None, PHOTONS, 0.4));
                    }
                }
                (Kind::Off | Kind::Hole, CALO | PHOTONS) => targets.push(target(None, PF, 0.2)),
                (Kind::Off | Kind::Hole, PF) => targets.push(target(None, MUONS, 0.15)),
                _ => {}
            }
        }
        Self { first, last, kind, targets, subsystems, size, regions }
    }

    /// How strongly it acts on a channel at an LS.
    fn strength(&self, at: u32, stream: usize, particle: usize) -> f64 {
        let ramp = match self.kind {
            Kind::Drift => f64::from(at - self.first + 1) / f64::from(self.last - self.first + 1),
            _ => 1.0,
        };
        let is_hit = |target: &&Target| target.stream.is_none_or(|s| s == stream) && target.particle == Some(particle);
        ramp * self.targets.iter().find(is_hit).map_or(0.0, |target| target.strength)
    }

    /// The share of events that remains in a stream.
    fn kept(&self, stream: usize) -> f64 {
        if self.kind == Kind::Prescale && self.targets[0].stream == Some(stream) { self.size } else { 1.0 }
    }
}

fn is_in(subsystems: u16, name: &str) -> bool {
    SUBSYSTEMS.iter().position(|other| *other == name).is_some_and(|i| subsystems >> i & 1 == 1)
}

/// The subsystems that call an anomaly bad.
fn blamed(kind: Kind, particle: usize, stream: usize, chance: &mut ChaCha8Rng) -> u16 {
    let mut pick = |names: &[&'static str]| names[chance.random_range(0..names.len())];
    let mut names: Vec<&str> = match (kind, particle) {
        (Kind::Prescale, _) => match stream {
            0 => vec!["Hlt", pick(&["L1tmu", "L1tcalo"])],
            1 => vec!["Hlt", "L1tmu"],
            _ => vec!["Hlt", "L1tcalo"],
        },
        (Kind::Decision, _) => vec![pick(&SUBSYSTEMS), pick(&SUBSYSTEMS)],
        (Kind::Drift, MUONS) => vec![pick(&["Muon", "Dt", "Csc", "Rpc"])],
        (Kind::Drift, PHOTONS) => vec![pick(&["Ecal", "Egamma", "Es"])],
        (Kind::Drift, PF) => vec![pick(&["Track", "Strip", "Pix"])],
        (Kind::Drift, _) => vec![pick(&["Hcal", "Jetmet"])],
        (Kind::Noise, _) => match pick(&["Ecal", "Hcal"]) {
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
    names.iter().filter_map(|name| SUBSYSTEMS.iter().position(|other| other == name)).fold(0, |mask, i| mask | 1 << i)
}

#[derive(Clone, Copy, Debug)]
struct Wave {
    size: f64,
    turns: f64,
    phase: f64,
}

/// A run; LSs count from 0 here, and ranges do not hold their end.
#[derive(Clone, Debug)]
struct Run {
    number: u32,
    first_ls: u32,
    length: u32,
    first_row: u32,
    lit: Range<u32>,
    era: usize,
    menu: usize,
    luminosity: f64,
    lifetime: f64,
    bunches: f64,
    offsets: [f64; LATENT],
    waves: [[Wave; 2]; LATENT],
    off: Vec<(usize, Range<u32>)>,
    anomalies: Vec<Anomaly>,
}

impl Run {
    fn luminosity(&self, at: u32) -> f64 {
        if self.lit.contains(&at) { self.luminosity * (-f64::from(at - self.lit.start) / self.lifetime).exp() } else { 0.0 }
    }

    fn anomaly(&self, at: u32) -> Option<&Anomaly> {
        self.anomalies.iter().find(|anomaly| (anomaly.first..=anomaly.last).contains(&at))
    }
}

struct Plan {
    seed: u64,
    rows: usize,
    runs: Vec<Run>,
}

impl Plan {
    fn new(rows: usize, seed: u64) -> Self {
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
            if let Some(last) = runs.last().filter(|last| last.lit.end == last.length && last.era == era && run.lit.start == 0) {
                let left = last.luminosity(last.length - 1);
                if left > 0.25 * LUMINOSITY[era] {
                    (run.luminosity, run.lifetime, run.bunches) = (left, last.lifetime, last.bunches);
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
    fn find(&self, row: u32) -> (&Run, u32) {
        let run = &self.runs[self.runs.partition_point(|run| run.first_row <= row) - 1];
        (run, row - run.first_row)
    }

    fn is_good(&self, run: &Run, at: u32) -> bool {
        run.lit.contains(&at) && run.anomaly(at).is_none()
    }

    /// The order of the rows in the file: runs are cut into pieces, which are shuffled, and so are the LSs of each.
    fn order(&self) -> Vec<u32> {
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

    fn truth(&self) -> String {
        let mut text = String::from("run,first_ls,last_ls,anomaly,channel\n");
        for run in &self.runs {
            for anomaly in &run.anomalies {
                let (first, last) = (run.first_ls + anomaly.first, run.first_ls + anomaly.last);
                for target in &anomaly.targets {
                    let _ = writeln!(text, "{},{first},{last},{},{}", run.number, anomaly.kind.name(), target.name());
                }
            }
        }
        text
    }

    /// Good LSs by subsystem and run.
    fn certified(&self) -> Vec<BTreeMap<String, Vec<[u32; 2]>>> {
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
    let mut spoil = |first: u32, last: u32| is_good[first as usize..=(last.min(run.length - 1)) as usize].fill(false);
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
    Wave { size: 0.45 * normal(chance), turns: 1.0 / chance.random_range(150.0..1200.0), phase: chance.random_range(0.0..2.0 * PI) }
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
    let factor = ((EMPTY * rows as f64 - sum(false, &empty)) / sum(true, &empty).max(1.0)).clamp(0.1, 1.8);
    empty.iter_mut().filter(|share| **share < 1.0).for_each(|share| *share = (*share * factor).min(0.95));
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
    let mut kinds = vec![];
    for _ in 0..100 * runs.len() + 1000 {
        if left == 0 || lit.is_empty() {
            break;
        }
        let run = &mut runs[lit[chance.random_range(0..lit.len())]];
        let size = run.lit.len() as u32;
        let wanted = (3.3 + 0.8 * normal(&mut chance)).exp() as u32;
        let whole = chance.random_bool(0.2) && size <= longest.min(left).min(250);
        let length = if whole { size } else { wanted.clamp(3, 200).min(longest).min(size).min(left) };
        let first = run.lit.start + chance.random_range(0..=size - length);
        let last = first + length - 1;
        if run.anomalies.iter().any(|other| first <= other.last + 3 && other.first <= last + 3) {
            continue;
        }
        if kinds.is_empty() {
            kinds = ROUND.iter().flat_map(|(kind, times)| std::iter::repeat_n(*kind, *times)).collect();
            kinds.shuffle(&mut chance);
        }
        let Some(kind) = kinds.pop() else { break };
        run.anomalies.push(Anomaly::new(kind, first, last, &mut chance));
        left -= length;
    }
    runs.iter_mut().for_each(|run| run.anomalies.sort_by_key(|anomaly| anomaly.first));
}

// Distributions and their statistics.

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

/// Location and width of a distribution in usual conditions; `q` is 0 for the sums over all particles.
fn usual(particle: usize, quantity: Quantity, q: usize) -> (f64, f64) {
    const PT: [[f64; 5]; 4] = [[4.0, 5.0, 6.5, 9.0, 15.0], [1.5, 2.4, 4.0, 8.0, 21.0], [0.4, 0.6, 0.9, 1.6, 4.2], [0.8, 1.2, 2.0, 4.0, 14.0]];
    const MASS: [[f64; 5]; 4] = [[0.3, 0.4, 0.6, 0.9, 1.6], [0.0; 5], [0.0; 5], [0.1, 0.2, 0.4, 0.9, 3.0]];
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
        let grid: Vec<[f64; 3]> = (0..GRID).map(|i| form.basis((i as f64 + 0.5) / GRID as f64)).collect();
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
        let mut errors = [variance.sqrt(), (variance * (fourth / (variance * variance) - 1.0).max(0.0) / 4.0).sqrt(), 0.0, 0.0, 0.0, 0.0, 0.0];
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
        let second: f64 = (0..3).flat_map(|i| (0..3).map(move |j| (i, j))).map(|(i, j)| factors[i] * factors[j] * shape.second[i][j]).sum();
        let [a, b, c, d, e] = shape.points.map(|basis| self.at(basis));
        [self.location + self.scale * mean, self.scale * (second - mean * mean).max(0.0).sqrt(), a, b, c, d, e]
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
                mass if mass <= region.start + inside => region.start + (mass - region.start) / kept,
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

struct Model {
    names: Vec<String>,
    columns: Columns,
    channels: Vec<Channel>,
    shapes: HashMap<Form, Shape>,
    /// By era and menu, stream and step.
    menus: Vec<[[f64; 12]; 3]>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let names = names();
        let index: HashMap<&str, usize> = names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let column = |name: String| index.get(name.as_str()).copied().unwrap_or_default();
        let stream = |f: &dyn Fn(&str) -> String| STREAMS.map(|stream| column(f(stream)));
        let columns = Columns {
            luminosity: stream(&|stream| format!("_instantLumi_{stream}")),
            statistics: STREAMS.map(|stream| STATISTICS.map(|statistic| column(format!("{stream}_instantLumi__{statistic}")))),
            events: stream(&|stream| format!("{stream}_nEvents")),
            weights: stream(&|stream| format!("{stream}_nonZeroWeights")),
            run: column("_run".into()),
            ls: column("_luminosityBlock".into()),
        };
        let mut channels = vec![];
        for (s, stream) in STREAMS.iter().enumerate() {
            for (p, particle) in PARTICLES.iter().enumerate() {
                let mut shared = random::generator(seed, "2010B particle", p as u64);
                let mut own = random::generator(seed, "2010B channel", (s * PARTICLES.len() + p) as u64);
                let mix = std::array::from_fn(|_| std::array::from_fn(|_| (0.85 * normal(&mut shared) + 0.5 * normal(&mut own)) / 2.6));
                let shift = std::array::from_fn(|_| 0.4 * normal(&mut shared) + 0.2 * normal(&mut own));
                let unit = 1.0 / (HIDDEN as f64).sqrt();
                let whole: [[f64; HIDDEN]; 4] = std::array::from_fn(|_| normals(&mut shared, 0.4 * unit));
                let mut blocks = vec![];
                let sums = [Px, Py, Pz];
                for (&quantity, ranks) in quantities(p).iter().map(|quantity| (quantity, 1..=5)).chain(sums.iter().map(|sum| (sum, 0..=0))) {
                    let related: [[f64; HIDDEN]; 4] = std::array::from_fn(|_| normals(&mut shared, 0.65 * unit));
                    for q in ranks {
                        let ranked: [[f64; HIDDEN]; 4] = std::array::from_fn(|_| normals(&mut shared, 0.5 * unit));
                        let single: [[f64; HIDDEN]; 4] = std::array::from_fn(|_| normals(&mut own, 0.4 * unit));
                        let weights = std::array::from_fn(|i| std::array::from_fn(|k| whole[i][k] + related[i][k] + ranked[i][k] + single[i][k]));
                        let bias = normals(&mut shared, 1.0);
                        let rank = if q == 0 { String::new() } else { format!("_q{q}") };
                        let columns = STATISTICS.map(|statistic| {
                            let name = format!("{stream}_{particle}_{}{rank}_{statistic}", quantity.name());
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
    fn fill(&self, plan: &Plan, row: u32, values: &mut [f32]) {
        let (run, at) = plan.find(row);
        values[self.columns.run] = run.number as f32;
        values[self.columns.ls] = (run.first_ls + at) as f32;
        if !run.lit.contains(&at) {
            return;
        }
        let chance = &mut random::generator(plan.seed, "2010B row", u64::from(row));
        let mut is_on = [true; 3];
        run.off.iter().filter(|(_, range)| range.contains(&at)).for_each(|(stream, _)| is_on[*stream] = false);
        if is_on == [true; 3] && chance.random_bool(0.006) {
            is_on[chance.random_range(0..3)] = false;
        }
        let luminosity = run.luminosity(at) * (1.0 + 0.001 * normal(chance));
        let pile_up = luminosity / run.bunches;
        let mut latent: [f64; LATENT] = std::array::from_fn(|i| {
            let waves = run.waves[i].iter().map(|wave| wave.size * (2.0 * PI * wave.turns * f64::from(at) + wave.phase).sin());
            run.offsets[i] + waves.sum::<f64>() + 0.03 * normal(chance)
        });
        latent[0] = (luminosity.ln() - 4.0) / 0.7;
        latent[1] = (pile_up.ln() + 1.0) / 0.35;
        let anomaly = run.anomaly(at);
        let step = ((luminosity.max(1.0).ln() / 0.5) as usize).min(11);
        for stream in (0..STREAMS.len()).filter(|stream| is_on[*stream]) {
            let menu = self.menus[run.era * 3 + run.menu][stream][step];
            latent[8] = menu + 0.3 * run.offsets[8];
            let rate = [1600.0, 1500.0 * (luminosity / 60.0).powf(0.35), 1500.0 * (luminosity / 60.0).powf(0.3)][stream] * (0.2 * menu).exp();
            let kept = anomaly.map_or(1.0, |anomaly| anomaly.kept(stream));
            let expected = rate * kept;
            let events = (expected + expected.sqrt() * normal(chance)).round().max(20.0);
            values[self.columns.events[stream]] = events as f32;
            let weight = 0.55 + 0.3 * (0.5 * latent[1] + 0.3 * latent[8]).tanh();
            values[self.columns.weights[stream]] = (weight + 0.3 * normal(chance) / events.sqrt()).clamp(0.01, 1.0) as f32;
            let measured = luminosity * [1.0, 1.004, 0.997][stream];
            values[self.columns.luminosity[stream]] = measured as f32;
            let mut spread =
                Now { location: measured, scale: measured * 0.004 * (0.3 * latent[5].tanh()).exp(), skew: 0.3 * latent[11].tanh(), tail: 0.0 };
            if kept < 1.0 {
                // Events are kept from a part of the LS only.
                (spread.location, spread.scale) = (measured * (1.0 + 0.02 * (0.4 - kept)), spread.scale * (1.0 + 0.8 / kept.sqrt()));
            }
            let shape = &self.shapes[&Form::Peak];
            let statistics = spread.statistics(shape);
            let seen = observed(statistics, shape, spread.scale / events.sqrt(), (0.0, f64::INFINITY), chance);
            self.columns.statistics[stream].iter().zip(seen).for_each(|(column, value)| values[*column] = value);
            for channel in self.channels.iter().filter(|channel| channel.stream == stream) {
                let strength = anomaly.map_or(0.0, |anomaly| anomaly.strength(at, stream, channel.particle));
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
        const PRESENT: [[f64; 4]; 3] = [[0.5, 0.75, 1.0, 1.0], [1.0, 0.75, 1.0, 1.0], [0.5, 1.0, 1.0, 1.0]];
        const NOISE: [f64; 4] = [1.0, 1.0, 1.1, 1.35];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let hidden: [f64; HIDDEN] = std::array::from_fn(|k| (channel.shift[k] + dot(&channel.mix[k], latent)).tanh());
        let loudness = NOISE[channel.particle] * (0.15 * normal(chance)).exp();
        let error = loudness / (events * PRESENT[channel.stream][channel.particle]).sqrt();
        for block in &channel.blocks {
            let form = block.quantity.form();
            let shape = &self.shapes[&form];
            let [a, b, c, d]: [f64; 4] = std::array::from_fn(|i| dot(&block.weights[i], &hidden).clamp(-1.8, 1.8));
            let beam = match block.quantity {
                Fx => latent[2],
                Fy => latent[3],
                Fz => latent[4],
                _ => 0.0,
            };
            let (location, scale, [left, skew]) = (block.location, block.scale, block.bias);
            let mut now = match form {
                Form::Flat => Now { location, scale, skew: 0.12 * c + 0.12 * skew, tail: 0.12 * d },
                Form::Broad => Now { location, scale: scale * (0.04 * b).exp(), skew: 0.11 * c + 0.13 * skew, tail: 0.12 * d },
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
                Form::Positive => {
                    Now { location: location * (0.13 * a).exp(), scale: scale * (0.13 * b).exp(), skew: 0.4 * c, tail: (0.4 * d).max(-0.45) }
                }
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
fn disturb<'a>(now: &mut Now, block: &Block, anomaly: &'a Anomaly, strength: f64) -> Option<(&'a Range<f64>, f64)> {
    let size = anomaly.size * strength;
    // The loudest particle, or the sum, feels most.
    let rank = if block.q == 0 { 1.0 } else { 0.2 * block.q as f64 };
    let region = match block.quantity {
        Eta => Some(&anomaly.regions[0]),
        Phi => Some(&anomaly.regions[1]),
        _ => None,
    };
    match (anomaly.kind, block.quantity) {
        (Kind::Off, Eta | Phi) => return region.map(|region| (region, (1.0 - 0.8 * size).max(0.05))),
        (Kind::Off, Pt | Mass) => now.scale *= 1.0 - 0.15 * size * rank,
        (Kind::Off, Fx | Fy | Fz) => now.scale *= 1.0 + 0.2 * size,
        (Kind::Off, _) => (now.location, now.scale) = (now.location + 0.1 * size * now.scale, now.scale * (1.0 - 0.1 * size)),
        (Kind::Scale, Pt | Mass | Px | Py | Pz) => {
            let factor = 1.0 + (anomaly.size - 1.0) * strength;
            (now.location, now.scale) = (now.location * factor, now.scale * factor);
        }
        (Kind::Noise, Eta | Phi) => return region.map(|region| (region, 1.0 + 3.0 * size * rank)),
        (Kind::Noise, Pt | Mass | Px | Py | Pz) => now.tail += 0.8 * size * rank,
        (Kind::Hole, Eta | Phi) => return region.map(|region| (region, (1.0 - 0.85 * size).max(0.05))),
        (Kind::Drift, Fx | Fy | Fz) => now.location += 0.04 * size * now.scale,
        (Kind::Drift, Pt | Mass) => now.scale *= 1.0 + 0.015 * size,
        _ => {}
    }
    None
}

/// Statistics as measured, with errors that hang together, in order and inside the limits.
fn observed(statistics: [f64; 7], shape: &Shape, error: f64, limits: (f64, f64), chance: &mut ChaCha8Rng) -> [f32; 7] {
    /// How much each statistic feels a moved distribution, a widened one, and its own chance.
    const SHARES: [[f64; 3]; 7] =
        [[0.95, 0.0, 0.31], [0.0, 0.85, 0.53], [0.25, -0.5, 0.83], [0.7, -0.4, 0.59], [0.75, 0.0, 0.66], [0.7, 0.4, 0.59], [0.25, 0.5, 0.83]];
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
fn names() -> Vec<String> {
    let mut names = vec!["_luminosityBlock".to_owned(), "_run".to_owned()];
    for stream in STREAMS {
        names.push(format!("_instantLumi_{stream}"));
        names.push(format!("{stream}_nEvents"));
        names.push(format!("{stream}_nonZeroWeights"));
        for statistic in STATISTICS {
            names.push(format!("{stream}_instantLumi__{statistic}"));
            for (p, particle) in PARTICLES.iter().enumerate() {
                for quantity in quantities(p) {
                    names.extend((1..=5).map(|q| format!("{stream}_{particle}_{}__q{q}_{statistic}", quantity.name())));
                }
                names.extend([Px, Py, Pz].map(|sum| format!("{stream}_{particle}_{}_{statistic}", sum.name())));
            }
        }
    }
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float32Type, Float64Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn made(rows: usize, seed: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), rows, seed).unwrap();
        folder
    }

    fn read(folder: &Path) -> RecordBatch {
        let file = File::open(folder.join("features.parquet")).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(1_000_000).build().unwrap();
        let batches: Vec<RecordBatch> = reader.map(|batch| batch.unwrap()).collect();
        assert_eq!(batches.len(), 1);
        batches.into_iter().next().unwrap()
    }

    fn wide(batch: &RecordBatch, name: &str) -> Vec<u32> {
        batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().iter().map(|x| *x as u32).collect()
    }

    fn narrow(batch: &RecordBatch, name: &str) -> Vec<f32> {
        batch.column_by_name(name).unwrap().as_primitive::<Float32Type>().values().to_vec()
    }

    /// (run, first, last, kind, channel)
    fn truth(folder: &Path) -> Vec<(u32, u32, u32, String, String)> {
        let text = fs::read_to_string(folder.join("truth.csv")).unwrap();
        let row = |line: &str| {
            let fields: Vec<&str> = line.split(',').collect();
            let number = |i: usize| fields[i].parse().unwrap();
            (number(0), number(1), number(2), fields[3].to_owned(), fields[4].to_owned())
        };
        assert!(text.starts_with("run,first_ls,last_ls,anomaly,channel\n"));
        text.lines().skip(1).map(row).collect()
    }

    fn good(folder: &Path) -> Vec<bool> {
        let bytes = fs::read(folder.join("labels.npy")).unwrap();
        let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!(start % 64, 0);
        bytes[start..].chunks_exact(8).map(|x| f64::from_le_bytes(x.try_into().unwrap()) == 1.0).collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_bytes() {
        let all = |folder: &Path| {
            let names = ["features.parquet", "labels.npy", "truth.csv", "Quality2010/Cert_13TeV_2010_Ecal.txt"];
            names.map(|name| fs::read(folder.join(name)).unwrap())
        };
        let one = all(made(300, 7).path());
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert!(one == alone.install(|| all(made(300, 7).path())));
        let other = all(made(300, 8).path());
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    }

    #[test]
    fn columns_are_the_studys() {
        let folder = made(300, 1);
        let batch = read(folder.path());
        assert_eq!((batch.num_rows(), batch.num_columns()), (300, 2_699));
        let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert!(names.is_sorted());
        let count = |start: &str| names.iter().filter(|name| name.starts_with(start)).count();
        for (particle, size) in [("muons", 266), ("photons", 231), ("PF", 126), ("calo", 266)] {
            assert!(STREAMS.iter().all(|stream| count(&format!("{stream}_{particle}_")) == size));
        }
        assert_eq!(count("minibias_instantLumi__"), 7);
        assert_eq!(batch.schema().field_with_name("_run").unwrap().data_type(), &DataType::Float64);
        assert_eq!(batch.schema().field_with_name("muons_calo_Px_p25").unwrap().data_type(), &DataType::Float32);
        assert!(names.contains(&"photons_photons_pt__q5_p1".to_owned()));
    }

    #[test]
    fn statistics_agree_with_each_other() {
        let folder = made(300, 2);
        let batch = read(folder.path());
        let lit = narrow(&batch, "_instantLumi_minibias");
        let starts = ["minibias_calo_pt__q5", "minibias_PF_phi__q1", "minibias_muons_fZ__q3", "minibias_calo_Pz", "minibias_instantLumi_"];
        for start in starts {
            let [mean, std, a, b, c, d, e] = STATISTICS.map(|statistic| narrow(&batch, &format!("{start}_{statistic}")));
            for i in 0..300 {
                assert!(a[i] <= b[i] && b[i] <= c[i] && c[i] <= d[i] && d[i] <= e[i] && a[i] <= mean[i] && mean[i] <= e[i]);
                assert_eq!(std[i] > 0.0, lit[i] > 0.0, "{start} {i}");
                assert!(std[i].is_finite() && (!start.contains("phi") || f64::from(e[i]) <= PI + 1e-6));
            }
        }
        for name in CONSTANT {
            assert!(narrow(&batch, name).iter().all(|x| *x == 0.0));
        }
    }

    #[test]
    fn labels_follow_luminosity_and_truth() {
        let folder = made(300, 3);
        let batch = read(folder.path());
        let (runs, sections, good) = (wide(&batch, "_run"), wide(&batch, "_luminosityBlock"), good(folder.path()));
        let lumi = STREAMS.map(|stream| narrow(&batch, &format!("_instantLumi_{stream}")));
        let truth = truth(folder.path());
        let lit: Vec<bool> = (0..300).map(|i| lumi.iter().any(|lumi| lumi[i] > 0.0)).collect();
        for i in 0..300 {
            let is_hit = truth.iter().any(|row| row.0 == runs[i] && (row.1..=row.2).contains(&sections[i]));
            assert_eq!(good[i], lit[i] && !is_hit);
            assert!(lit[i] || !is_hit);
        }
        for row in &truth {
            let there = (0..300).filter(|i| row.0 == runs[*i] && (row.1..=row.2).contains(&sections[*i])).count();
            assert_eq!(there as u32, row.2 - row.1 + 1, "{row:?}");
        }
        let mut rows: Vec<(u32, u32)> = runs.into_iter().zip(sections).collect();
        assert!(!rows.is_sorted());
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), 300);
        let lit_rows = lit.iter().filter(|lit| **lit).count();
        let bad = (0..300).filter(|i| lit[*i] && !good[*i]).count();
        assert!((150..=230).contains(&lit_rows) && (0.15..0.3).contains(&(bad as f64 / lit_rows as f64)), "{lit_rows} {bad}");
    }

    #[test]
    fn certified_ranges_are_inside_the_runs() {
        let folder = made(300, 4);
        let batch = read(folder.path());
        let rows: Vec<(u32, u32)> = wide(&batch, "_run").into_iter().zip(wide(&batch, "_luminosityBlock")).collect();
        let good = good(folder.path());
        for subsystem in SUBSYSTEMS {
            let text = fs::read_to_string(folder.path().join(format!("Quality2010/Cert_13TeV_2010_{subsystem}.txt"))).unwrap();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            let mut named = vec![];
            for (run, ranges) in json.as_object().unwrap() {
                let mut end = 0;
                for range in ranges.as_array().unwrap() {
                    let [first, last] = [0, 1].map(|i| range[i].as_u64().unwrap() as u32);
                    assert!(end < first && first <= last);
                    end = last + 1;
                    named.extend((first..=last).map(|ls| (run.parse::<u32>().unwrap(), ls)));
                }
            }
            assert!(named.iter().all(|row| rows.contains(row)));
            assert_eq!(named.is_empty(), subsystem == "Lumi");
            let same = rows.iter().zip(&good).filter(|(row, good)| named.contains(row) == **good).count();
            assert!(subsystem == "Lumi" || same > 150, "{subsystem} {same}");
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(folder.path(), 99, 1).is_err());
        assert!(write(folder.path(), 1_000_001, 1).is_err());
        assert!(write(folder.path(), 100, 1).is_ok());
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part")).collect();
        assert!(left.is_empty());
    }
}
