//! Made data of the kind that runs are certified on: for each lumisection the distributions of
//! physics objects in four primary datasets (tracks and vertices in ZeroBias, muons in SingleMuon,
//! photons in EGamma, jets and missing momentum in JetHT), each summarised by seven numbers.
//!
//! Pile-up falls through a run with the luminosity and moves most distributions; so do the beam
//! spot, which differs from run to run, and the calibration of each dataset, which differs from era
//! to era. The seven numbers are those of values that are drawn, so that their noise is what the
//! number of objects leaves. What goes wrong has five kinds, of any strength: one quantity is
//! shifted, a part of the detector is dead, there is noise, a whole run is a little off, or the
//! tracker stands by.

use super::beside;
use crate::{
    data::histogram_quantiles::{self, NAMES},
    error::{Error, Result},
    random,
};
use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, StandardNormal};
use rayon::prelude::*;
use std::{
    collections::BTreeMap,
    f64::consts::PI,
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::Arc,
};

const DATASETS: [&str; 4] = ["ZeroBias", "SingleMuon", "EGamma", "JetHT"];

/// Objects of a dataset, how many of them a lumisection has at a usual pile-up, and what is known
/// of each.
struct Object {
    dataset: usize,
    name: &'static str,
    entries: f64,
    quantities: &'static [(&'static str, Shape)],
}

/// How a quantity is distributed.
#[derive(Clone, Copy)]
enum Shape {
    /// Falling from the lowest, with this scale: momenta, energies.
    Falling { from: f64, scale: f64 },
    /// Normal with this width, as far as the detector reaches.
    Eta { width: f64 },
    /// All around.
    Phi,
    /// Normal; the mean moves by this share of it for each further collision.
    Bell { mean: f64, width: f64, by_pile_up: f64 },
    /// Whole numbers, this many on average at a usual pile-up, of which this share goes with it.
    Count { mean: f64, by_pile_up: f64 },
    /// Just below 1.
    Share { below: f64 },
}

const USUAL: f64 = 35.0;
const REACH: f64 = 2.5;

const CHI2: (&str, Shape) = ("chi2", Shape::Bell { mean: 1.1, width: 0.3, by_pile_up: 0.003 });
const PHI: (&str, Shape) = ("phi", Shape::Phi);
const OBJECTS: [Object; 6] = [
    Object {
        dataset: 0,
        name: "track",
        entries: 500.0,
        quantities: &[
            ("pt", Shape::Falling { from: 0.5, scale: 0.9 }),
            ("eta", Shape::Eta { width: 1.5 }),
            PHI,
            CHI2,
            ("hits", Shape::Bell { mean: 15.0, width: 3.5, by_pile_up: -0.001 }),
        ],
    },
    Object {
        dataset: 0,
        name: "vertex",
        entries: 250.0,
        quantities: &[
            ("n", Shape::Count { mean: 25.0, by_pile_up: 1.0 }),
            ("z", Shape::Bell { mean: 0.8, width: 4.2, by_pile_up: 0.0 }),
        ],
    },
    Object {
        dataset: 1,
        name: "muon",
        entries: 220.0,
        quantities: &[
            ("pt", Shape::Falling { from: 24.0, scale: 16.0 }),
            ("eta", Shape::Eta { width: 1.2 }),
            PHI,
            CHI2,
            ("n", Shape::Count { mean: 1.4, by_pile_up: 0.05 }),
        ],
    },
    Object {
        dataset: 2,
        name: "photon",
        entries: 220.0,
        quantities: &[
            ("pt", Shape::Falling { from: 30.0, scale: 20.0 }),
            ("eta", Shape::Eta { width: 1.3 }),
            PHI,
            ("r9", Shape::Share { below: 0.08 }),
            ("hadronic", Shape::Falling { from: 0.0, scale: 0.02 }),
        ],
    },
    Object {
        dataset: 3,
        name: "jet",
        entries: 300.0,
        quantities: &[
            ("pt", Shape::Falling { from: 30.0, scale: 45.0 }),
            ("eta", Shape::Eta { width: 1.7 }),
            PHI,
            ("n", Shape::Count { mean: 5.0, by_pile_up: 0.3 }),
        ],
    },
    Object {
        dataset: 3,
        name: "met",
        entries: 150.0,
        quantities: &[("pt", Shape::Falling { from: 0.0, scale: 32.0 }), PHI],
    },
];

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
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

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Shift(..) => "shift",
            Self::DeadSector { .. } => "dead sector",
            Self::Noise { .. } => "noise",
            Self::BadRun => "bad run",
            Self::Standby => "standby",
        }
    }

    /// What it is in.
    fn place(self) -> String {
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

fn column(object: &Object, quantity: &str) -> String {
    format!("{}_{}_{quantity}", DATASETS[object.dataset], object.name)
}

struct Anomaly {
    first_ls: u32,
    last_ls: u32,
    kind: Kind,
    /// From 0 to 1.
    strength: f64,
}

struct Run {
    number: u32,
    first_ls: u32,
    lumisections: u32,
    /// At its first lumisection, and how many lumisections it takes to fall by a factor of e.
    pile_up: (f64, f64),
    /// Of each dataset, 0 where it is perfect.
    calibration: [f64; DATASETS.len()],
    /// Of the beams, in units of how much they usually differ.
    spot: [f64; 2],
    anomalies: Vec<Anomaly>,
}

impl Run {
    fn anomaly(&self, ls: u32) -> Option<&Anomaly> {
        self.anomalies.iter().find(|anomaly| (anomaly.first_ls..=anomaly.last_ls).contains(&ls))
    }

    fn pile_up(&self, ls: u32) -> f64 {
        self.pile_up.0 * (-f64::from(ls - self.first_ls) / self.pile_up.1).exp()
    }
}

const FEWEST: usize = 200;
const MOST: usize = 10_000_000;
/// Runs between two calibrations.
const ERA: usize = 12;
const BATCH: usize = 2_000;

/// The files that are written.
pub const FILES: [&str; 4] = ["features.parquet", "golden.json", "dcs.json", "truth.csv"];

/// Writes features.parquet, golden.json (the lumisections where nothing is wrong), dcs.json (those
/// where the tracker is on) and truth.csv into a folder; returns the names and rows of the tables.
pub fn write(folder: &Path, lumisections: usize, seed: u64) -> Result<Vec<(String, usize)>> {
    if !(FEWEST..=MOST).contains(&lumisections) {
        return Err(Error::input(format!(
            "--lumisections {lumisections}: expected from {FEWEST} to {MOST}"
        )));
    }
    fs::create_dir_all(folder).map_err(|error| Error::writing(folder, &error))?;
    let runs = runs(lumisections, seed);
    beside(&folder.join("features.parquet"), |file| features(file, &runs, seed))?;
    let json = |name: &str, good: &dyn Fn(Option<Kind>) -> bool| {
        beside(&folder.join(name), |file| Ok(serde_json::to_writer(file, &ranges(&runs, good))?))
    };
    json("golden.json", &|kind| kind.is_none())?;
    json("dcs.json", &|kind| kind != Some(Kind::Standby))?;
    let mut truth = String::from("run,first_ls,last_ls,anomaly,where,strength\n");
    for (run, anomaly) in
        runs.iter().flat_map(|run| run.anomalies.iter().map(move |anomaly| (run, anomaly)))
    {
        let Anomaly { first_ls, last_ls, kind, strength } = anomaly;
        let _ = writeln!(
            truth,
            "{},{first_ls},{last_ls},{},{},{strength:.3}",
            run.number,
            kind.name(),
            kind.place()
        );
    }
    beside(&folder.join("truth.csv"), |file| file.write_all(truth.as_bytes()))?;
    Ok(vec![
        ("features.parquet".into(), lumisections),
        ("truth.csv".into(), truth.lines().count() - 1),
    ])
}

/// The lumisections of each run that are good, as ranges.
fn ranges(runs: &[Run], good: &dyn Fn(Option<Kind>) -> bool) -> BTreeMap<String, Vec<[u32; 2]>> {
    let of_run = |run: &Run| {
        let mut ranges: Vec<[u32; 2]> = vec![];
        for ls in (run.first_ls..run.first_ls + run.lumisections)
            .filter(|ls| good(run.anomaly(*ls).map(|anomaly| anomaly.kind)))
        {
            match ranges.last_mut() {
                Some([_, last]) if *last + 1 == ls => *last = ls,
                _ => ranges.push([ls, ls]),
            }
        }
        (run.number.to_string(), ranges)
    };
    runs.iter().map(of_run).filter(|(_, ranges)| !ranges.is_empty()).collect()
}

/// Runs of so many lumisections in all.
fn runs(lumisections: usize, seed: u64) -> Vec<Run> {
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
                kind: Kind::BadRun,
                strength: chance.random_range(0.4..1.0),
            });
        }
        // Some stretches of other runs; a run starts now and then before the tracker is on.
        if !bad && chance.random_bool(0.25) {
            let last_ls = last_ls.min(run.first_ls + chance.random_range(1..6));
            run.anomalies.push(Anomaly {
                first_ls: run.first_ls,
                last_ls,
                kind: Kind::Standby,
                strength: chance.random_range(0.5..1.0),
            });
        }
        while !bad && chance.random_bool(0.35) {
            let first_ls = chance.random_range(run.first_ls..=last_ls);
            let last_ls = last_ls.min(first_ls + chance.random_range(2..30));
            let strength = chance.random_range(0.2..1.0);
            let anomaly = Anomaly { first_ls, last_ls, kind: kind(&mut chance), strength };
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

fn kind(chance: &mut ChaCha8Rng) -> Kind {
    let dataset = chance.random_range(0..DATASETS.len());
    match chance.random_range(0..3) {
        0 => {
            let object = chance.random_range(0..OBJECTS.len());
            // What is all around is nowhere else when it is shifted.
            let quantities: Vec<usize> = (0..OBJECTS[object].quantities.len())
                .filter(|&at| !matches!(OBJECTS[object].quantities[at].1, Shape::Phi))
                .collect();
            Kind::Shift(object, quantities[chance.random_range(0..quantities.len())])
        }
        1 => Kind::DeadSector {
            dataset,
            phi: chance.random_range(-PI..PI),
            side: if chance.random_bool(0.5) { 1.0 } else { -1.0 },
        },
        _ => Kind::Noise { dataset },
    }
}

fn normal(chance: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(chance)
}

fn features(file: &mut BufWriter<File>, runs: &[Run], seed: u64) -> io::Result<()> {
    let quantities = OBJECTS.iter().flat_map(|object| {
        object.quantities.iter().map(move |(quantity, _)| column(object, quantity))
    });
    let names: Vec<String> =
        quantities.flat_map(|name| NAMES.map(|number| format!("{name}_{number}"))).collect();
    let whole = ["run", "ls", "dcs"].map(|name| Field::new(name, DataType::Int64, false));
    let numbers = std::iter::once("lumi".to_owned())
        .chain(names)
        .map(|name| Field::new(name, DataType::Float32, false));
    let schema = Arc::new(Schema::new(whole.into_iter().chain(numbers).collect::<Vec<Field>>()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .build();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
    let mut rows = runs
        .iter()
        .flat_map(|run| (run.first_ls..run.first_ls + run.lumisections).map(move |ls| (run, ls)));
    loop {
        let batch: Vec<(&Run, u32)> = rows.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        let made: Vec<Vec<f32>> = batch.par_iter().map(|(run, ls)| row(run, *ls, seed)).collect();
        let whole = |of: &dyn Fn(&Run, u32) -> i64| -> ArrayRef {
            Arc::new(batch.iter().map(|(run, ls)| of(run, *ls)).collect::<Int64Array>())
        };
        let dcs = |run: &Run, ls: u32| {
            i64::from(run.anomaly(ls).is_none_or(|anomaly| anomaly.kind != Kind::Standby))
        };
        let mut columns = vec![
            whole(&|run, _| i64::from(run.number)),
            whole(&|_, ls| i64::from(ls)),
            whole(&dcs),
        ];
        columns.extend((0..schema.fields().len() - 3).map(|at| -> ArrayRef {
            Arc::new(made.iter().map(|row| row[at]).collect::<Float32Array>())
        }));
        writer.write(
            &RecordBatch::try_new(Arc::clone(&schema), columns).map_err(io::Error::other)?,
        )?;
    }
    writer.close()?;
    Ok(())
}

/// Recorded luminosity of a lumisection, and the seven numbers of each quantity.
fn row(run: &Run, ls: u32, seed: u64) -> Vec<f32> {
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
        let standby =
            anomaly.is_some_and(|anomaly| anomaly.kind == Kind::Standby) && object.dataset == 0;
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

impl Shape {
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

    /// How far apart values usually are.
    fn spread(self) -> f64 {
        match self {
            Self::Falling { scale, .. } => scale,
            Self::Eta { width } | Self::Bell { width, .. } => width,
            Self::Phi => PI,
            Self::Count { mean, .. } => mean.sqrt(),
            Self::Share { below } => below,
        }
    }
}

/// What becomes of an object, if anything.
fn disturbed(
    mut values: Vec<f64>,
    (place, object): (usize, &Object),
    anomaly: Option<&Anomaly>,
    chance: &mut ChaCha8Rng,
) -> Option<Vec<f64>> {
    let Some(&Anomaly { kind, strength, .. }) = anomaly else { return Some(values) };
    let shapes = || object.quantities.iter().map(|(_, shape)| *shape);
    match kind {
        Kind::Shift(wrong, quantity) if wrong == place => {
            values[quantity] += 0.6 * strength * object.quantities[quantity].1.spread()
        }
        Kind::DeadSector { dataset, phi: centre, side } if dataset == object.dataset => {
            let mut dead = chance.random_bool(strength);
            for (value, shape) in values.iter().zip(shapes()) {
                dead &= match shape {
                    Shape::Eta { .. } => value * side > 0.0,
                    Shape::Phi => {
                        (value - centre - 2.0 * PI * ((value - centre) / (2.0 * PI)).round()).abs()
                            < 0.7
                    }
                    _ => true,
                };
            }
            // What has no direction is not in a sector.
            if dead && shapes().any(|shape| matches!(shape, Shape::Phi)) {
                return None;
            }
        }
        Kind::Noise { dataset }
            if dataset == object.dataset && chance.random_bool(0.3 * strength) =>
        {
            for (value, (shape, (name, _))) in
                values.iter_mut().zip(shapes().zip(object.quantities))
            {
                match shape {
                    Shape::Falling { from, .. } => *value = from + 0.15 * (*value - from),
                    Shape::Bell { width, .. } if *name == "chi2" => *value += 2.0 * width,
                    Shape::Bell { width, .. } => *value -= 1.5 * width,
                    _ => {}
                }
            }
        }
        Kind::BadRun => {
            for (value, shape) in values.iter_mut().zip(shapes()) {
                match shape {
                    Shape::Phi | Shape::Eta { .. } => {}
                    shape => *value += 0.1 * strength * shape.spread(),
                }
            }
        }
        Kind::Standby if object.dataset == 0 => {
            for (value, shape) in values.iter_mut().zip(shapes()) {
                match shape {
                    Shape::Bell { mean, .. } => *value -= 0.5 * strength * mean,
                    Shape::Count { .. } => *value = (*value * (1.0 - 0.6 * strength)).round(),
                    _ => {}
                }
            }
        }
        _ => {}
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::table::{Table, Wanted, read};

    fn made(lumisections: usize, seed: u64) -> (tempfile::TempDir, Table) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), lumisections, seed).unwrap();
        let columns = crate::config::data::Columns { ls: Some("ls".into()), ..Default::default() };
        let table =
            read(&folder.path().join("features.parquet"), &Wanted { columns, ..Wanted::default() })
                .unwrap();
        (folder, table)
    }

    #[test]
    fn the_same_seed_makes_the_same_bytes() {
        let bytes = |folder: &Path| FILES.map(|name| fs::read(folder.join(name)).unwrap());
        let one = bytes(made(600, 7).0.path());
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert!(one == alone.install(|| bytes(made(600, 7).0.path())));
        assert!(one.iter().zip(bytes(made(600, 8).0.path())).all(|(one, other)| *one != other));
    }

    #[test]
    fn a_row_is_seven_numbers_of_each_quantity_and_quantiles_rise() {
        let (_folder, table) = made(300, 1);
        assert_eq!(table.rows.len(), 300);
        let names = table.features.as_ref().unwrap();
        let first = names.iter().position(|name| name == "ZeroBias_track_pt_q10").unwrap();
        assert_eq!(names.len() - first, 7 * 23);
        for row in 0..300 {
            for numbers in table.row(row)[first..].chunks_exact(7) {
                assert!(
                    numbers[..5].is_sorted()
                        && numbers[6] > 0.0
                        && numbers.iter().all(|number| number.is_finite()),
                    "{numbers:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_wrong_is_where_the_truth_says() {
        let (folder, table) = made(4_000, 3);
        let truth = crate::synth::read_truth(&folder.path().join("truth.csv")).unwrap();
        let golden: BTreeMap<String, Vec<[u32; 2]>> =
            serde_json::from_slice(&fs::read(folder.path().join("golden.json")).unwrap()).unwrap();
        let dcs: BTreeMap<String, Vec<[u32; 2]>> =
            serde_json::from_slice(&fs::read(folder.path().join("dcs.json")).unwrap()).unwrap();
        let names = |good: &BTreeMap<String, Vec<[u32; 2]>>, run: u32, ls: u32| {
            good.get(&run.to_string()).is_some_and(|ranges| {
                ranges.iter().any(|[first, last]| (*first..=*last).contains(&ls))
            })
        };
        let features = table.features.as_ref().unwrap();
        let at = |name: &str| features.iter().position(|feature| feature == name).unwrap();
        let (hits, dcs_column) = (at("ZeroBias_track_hits_mean"), at("dcs"));
        let (mut bad, mut standby) = (0, 0);
        for (place, row) in table.rows.iter().enumerate() {
            let run = row.run.unwrap();
            let kind = truth
                .iter()
                .find(|(of, first, last, _)| {
                    *of == run.to_string() && (*first..=*last).contains(&row.ls)
                })
                .map(|row| row.3.as_str());
            assert_eq!(names(&golden, run, row.ls), kind.is_none(), "{run} {}", row.ls);
            assert_eq!(names(&dcs, run, row.ls), kind != Some("standby"));
            assert_eq!(table.row(place)[dcs_column] == 1.0, kind != Some("standby"));
            assert_eq!(
                table.row(place)[hits] < 12.0,
                kind == Some("standby"),
                "{run} {}: {}",
                row.ls,
                table.row(place)[hits]
            );
            bad += usize::from(kind.is_some());
            standby += usize::from(kind == Some("standby"));
        }
        assert!((100..1_200).contains(&bad) && standby > 5, "{bad} bad, {standby} in standby");
        let kinds: std::collections::BTreeSet<&str> =
            truth.iter().map(|row| row.3.as_str()).collect();
        assert_eq!(
            kinds.into_iter().collect::<Vec<_>>(),
            ["bad run", "dead sector", "noise", "shift", "standby"]
        );
    }

    #[test]
    fn pile_up_moves_what_it_should() {
        let (_folder, table) = made(1_000, 2);
        let features = table.features.as_ref().unwrap();
        let of = |name: &str| -> Vec<f64> {
            let at = features.iter().position(|feature| feature == name).unwrap();
            (0..table.rows.len()).map(|row| f64::from(table.row(row)[at])).collect()
        };
        let lumi = of("lumi");
        let with_lumi = |name: &str| {
            let values = of(name);
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let (a, b) = (mean(&lumi), mean(&values));
            let product = |x: &[f64], y: &[f64], a: f64, b: f64| {
                x.iter().zip(y).map(|(x, y)| (x - a) * (y - b)).sum::<f64>()
            };
            product(&lumi, &values, a, b)
                / (product(&lumi, &lumi, a, a) * product(&values, &values, b, b)).sqrt()
        };
        assert!(with_lumi("ZeroBias_vertex_n_mean") > 0.8 && with_lumi("JetHT_jet_n_mean") > 0.6);
        assert!(with_lumi("EGamma_photon_phi_q50").abs() < 0.3);
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write(folder.path(), 199, 1).unwrap_err().exit_code(), 2);
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
