//! Made maps of what the layers of a pixel detector count in each lumisection, as DIALS gives them:
//! a bin is a readout chip, x the signed number of its module and y that of its ladder, so that the
//! middle is an empty cross.
//!
//! A layer's map has a mean, in which some modules are dead for good, and three ways to vary, with
//! pile-up and with the place of the beams across and along. Counts go with pile-up and with the
//! rate of the trigger. In the test part regions are dead or count five times too much for a while,
//! large ones at the same place of several layers.

mod detector;
mod runs;

use super::{files::beside, normal::normal};
use crate::{
    error::{Error, Result},
    random,
};
use arrow_array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray,
    builder::{Int64Builder, ListBuilder},
};
use arrow_schema::{DataType, Field, Schema};
use detector::Layer;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};
use rayon::prelude::*;
use runs::{Defect, DefectSize, FULL, RATE, Run};
use serde_json::{Map, Value, json};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    iter::repeat_n,
    path::Path,
    sync::Arc,
};

/// How much to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Lumisections of the training part, all good.
    pub lumisections: usize,
    /// Lumisections of the test part.
    pub test_lumisections: usize,
    /// Layers, from 2 to 4.
    pub layers: usize,
    /// Whether layers have as many ladders as the real ones, or all those of the first: 26 rows of
    /// 72 bins.
    pub true_shapes: bool,
}

const FEWEST: usize = 200;
const MOST: usize = 1_000_000;
const DATASET: &str = "/ZeroBias/Made-v1/DQMIO";
const ELEMENT: &str = "PixelPhase1/Phase1_MechanicalView/PXBarrel/digi_occupancy_per_SignedModuleCoord_per_SignedLadderCoord_";
/// Lumisections made at once, and in a row group.
const BATCH: usize = 200;
const GROUP: usize = 1_000;
/// Recorded luminosity of a lumisection for a pile-up of 1, as OMS has it, and the delivered that
/// it takes.
const LUMINOSITY: f64 = 0.00263;
const DELIVERED: f64 = 1.014;

/// The files that are written of so many layers.
pub fn files(layers: usize) -> Vec<String> {
    let layer = |part: &str, index: usize| format!("{part}/PXLayer_{}.parquet", index + 1);
    let layers = (0..layers.min(detector::MOST))
        .flat_map(|index| ["train", "test"].map(|part| layer(part, index)));
    layers
        .chain(["oms.json", "hlt.json", "automasks.csv", "truth.csv"].map(str::to_owned))
        .collect()
}

/// Writes train/ and test/ with a file a layer, oms.json, hlt.json, automasks.csv and truth.csv
/// into a folder; returns the names and rows of the tables.
pub fn write(folder: &Path, size: Size, seed: u64) -> Result<Vec<(String, usize)>> {
    for (option, found, fewest, most) in [
        ("--lumisections", size.lumisections, FEWEST, MOST),
        ("--test-lumisections", size.test_lumisections, FEWEST, MOST),
        ("--layers", size.layers, 2, detector::MOST),
    ] {
        if !(fewest..=most).contains(&found) {
            return Err(Error::input(format!(
                "{option} {found}: expected from {fewest} to {most}"
            )));
        }
    }
    let layers: Vec<Layer> =
        (0..size.layers).map(|index| Layer::new(index, size.true_shapes, seed)).collect();
    let runs = |part, first, shortest, lumisections| {
        runs::runs(part, first, shortest, lumisections, &layers, seed)
    };
    let train = runs(
        ("occupancy training runs", 1.0),
        378_981,
        (size.lumisections / 400).max(6),
        size.lumisections,
    );
    let after = train.last().map_or(0, |run| run.number);
    let mut test = runs(
        ("occupancy test runs", 0.5),
        after,
        (size.test_lumisections / 400).max(3),
        size.test_lumisections,
    );
    runs::break_things(&mut test, &layers, seed);
    let mut files = vec![];
    for (part, runs, lumisections) in
        [("train", &train, size.lumisections), ("test", &test, size.test_lumisections)]
    {
        let inner = folder.join(part);
        fs::create_dir_all(&inner).map_err(|error| Error::writing(&inner, error))?;
        for layer in &layers {
            let name = format!("{}.parquet", layer.name());
            beside(&inner.join(&name), |file| maps(file, layer, runs, seed))?;
            files.push((format!("{part}/{name}"), lumisections));
        }
    }
    let all = || train.iter().chain(&test);
    let json = |name: &str, value: &Value| {
        beside(&folder.join(name), |file| Ok(serde_json::to_writer(file, value)?))
    };
    json("oms.json", &oms(all(), seed))?;
    json("hlt.json", &hlt(all(), seed))?;
    for (name, text) in
        [("automasks.csv", automasks(all(), &layers, seed)), ("truth.csv", truth(&test, &layers))]
    {
        beside(&folder.join(name), |file| file.write_all(text.as_bytes()))?;
        files.push((name.into(), text.lines().count() - 1));
    }
    Ok(files)
}

fn maps(file: &mut BufWriter<File>, layer: &Layer, runs: &[Run], seed: u64) -> io::Result<()> {
    let list = |of: DataType| DataType::List(Arc::new(Field::new_list_field(of, true)));
    let fields = [
        ("dataset", DataType::Utf8),
        ("run_number", DataType::Int64),
        ("ls_number", DataType::Int64),
        ("me", DataType::Utf8),
        ("x_min", DataType::Float64),
        ("x_max", DataType::Float64),
        ("x_bin", DataType::Int64),
        ("y_min", DataType::Float64),
        ("y_max", DataType::Float64),
        ("y_bin", DataType::Int64),
        ("entries", DataType::Int64),
        ("data", list(list(DataType::Int64))),
    ];
    let schema =
        Arc::new(Schema::new(fields.map(|(name, of)| Field::new(name, of, true)).to_vec()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(GROUP))
        .build();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
    let (shape, (x_reach, y_reach), element) =
        (layer.shape(), layer.reach(), format!("{ELEMENT}{}", layer.name()));
    let mut lumisections =
        runs.iter().flat_map(|run| (1..=run.lumisections).map(move |ls| (run, ls)));
    loop {
        let batch: Vec<(&Run, u32)> = lumisections.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        let made: Vec<Vec<i64>> =
            batch.par_iter().map(|(run, ls)| counts(layer, run, *ls, seed)).collect();
        let text = |text: &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(repeat_n(text, batch.len())))
        };
        let number = |number: f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(repeat_n(number, batch.len())))
        };
        let whole = |of: &dyn Fn(usize) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values((0..batch.len()).map(of)))
        };
        let mut data = ListBuilder::new(ListBuilder::new(Int64Builder::new()));
        for map in &made {
            for row in map.chunks_exact(shape.x) {
                data.values().values().append_slice(row);
                data.values().append(true);
            }
            data.append(true);
        }
        let columns: Vec<ArrayRef> = vec![
            text(DATASET),
            whole(&|at| i64::from(batch[at].0.number)),
            whole(&|at| i64::from(batch[at].1)),
            text(&element),
            number(-x_reach),
            number(x_reach),
            whole(&|_| shape.x as i64),
            number(-y_reach),
            number(y_reach),
            whole(&|_| shape.y as i64),
            whole(&|at| made[at].iter().sum()),
            Arc::new(data.finish()),
        ];
        writer.write(
            &RecordBatch::try_new(Arc::clone(&schema), columns).map_err(io::Error::other)?,
        )?;
    }
    writer.close()?;
    Ok(())
}

/// The map of a layer, y rows of x.
fn counts(layer: &Layer, run: &Run, ls: u32, seed: u64) -> Vec<i64> {
    let conditions = run.conditions(ls, seed);
    let name = layer.name();
    let mut chance = random::generator(seed, &name, u64::from(run.number) << 32 | u64::from(ls));
    let amplitudes = [(conditions.pile_up - 44.0) / 18.0, conditions.spot[0], conditions.spot[1]];
    let entries = layer.entries * conditions.pile_up / FULL * conditions.rate / RATE;
    let mut expected: Vec<f64> = layer.shares.iter().map(|share| entries * share).collect();
    for (bin, expected) in expected.iter_mut().enumerate() {
        *expected *= 1.0
            + amplitudes
                .iter()
                .zip(&layer.modes)
                .map(|(amplitude, mode)| amplitude * mode[bin])
                .sum::<f64>();
    }
    for defect in
        run.defects.iter().filter(|defect| defect.layer == layer.index && defect.holds(ls))
    {
        defect.region.bins(layer.shape().x).for_each(|bin| expected[bin] *= defect.factor);
    }
    expected.into_iter().map(|expected| poisson(expected, &mut chance)).collect()
}

fn poisson(expected: f64, chance: &mut ChaCha8Rng) -> i64 {
    if expected > 100.0 {
        return (expected + expected.sqrt() * normal(chance)).round() as i64;
    }
    // What is expected to be 0 has no distribution.
    Poisson::new(expected).map_or(0, |poisson| poisson.sample(chance) as i64)
}

/// To six digits after the point.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

/// Equally long arrays, as OMS has them.
fn oms<'a>(runs: impl Iterator<Item = &'a Run>, seed: u64) -> Value {
    let mut columns: Map<String, Value> = Map::new();
    for (run, ls) in runs.flat_map(|run| (1..=run.lumisections).map(move |ls| (run, ls))) {
        let of = run.conditions(ls, seed);
        if !of.in_oms {
            continue;
        }
        let recorded = of.pile_up * LUMINOSITY;
        // Triggers are prescaled less as luminosity falls.
        let prescale = if of.stable { 2 + ((FULL - of.pile_up) / 10.0).max(0.0) as u32 } else { 1 };
        let entry = [
            ("delivered_lumi_per_lumisection", json!(rounded(recorded * DELIVERED))),
            ("recorded_lumi_per_lumisection", json!(rounded(recorded))),
            ("pileup", json!(rounded(of.pile_up))),
            ("physics_flag", json!(of.stable)),
            ("prescale_index", json!(prescale)),
            ("prescale_name", json!(if of.stable { "386b" } else { "Standby" })),
            ("beams_stable", json!(of.stable)),
            ("cms_active", json!(true)),
            ("bpix_ready", json!(of.stable)),
            ("fpix_ready", json!(of.stable)),
            ("tibtid_ready", json!(of.stable)),
            ("tob_ready", json!(of.stable)),
            ("tecp_ready", json!(of.stable)),
            ("tecm_ready", json!(of.stable)),
            ("fill_number", json!(run.fill)),
            ("run_number", json!(run.number)),
            ("lumisection_number", json!(ls)),
        ];
        for (name, value) in entry {
            if let Value::Array(column) = columns.entry(name).or_insert_with(|| json!([])) {
                column.push(value);
            }
        }
    }
    columns.into()
}

/// Rates by run and trigger path, whose version changes within a run.
fn hlt<'a>(runs: impl Iterator<Item = &'a Run>, seed: u64) -> Value {
    let of_run = |run: &Run| {
        let path = |lumisections: std::ops::Range<u32>| {
            let rates: Vec<f64> =
                lumisections.clone().map(|ls| rounded(run.conditions(ls, seed).rate)).collect();
            let runs = vec![run.number; rates.len()];
            json!({ "rate": rates, "first_lumisection_number": lumisections.collect::<Vec<u32>>(), "run_number": runs })
        };
        let (version, change) = run.version;
        let paths = [(version, 1..change), (version + 1, change..run.lumisections + 1)];
        let paths: Map<String, Value> = paths
            .into_iter()
            .map(|(version, ls)| (format!("HLT_ZeroBias_v{version}"), path(ls)))
            .collect();
        (run.number.to_string(), paths.into())
    };
    runs.map(of_run).collect::<Map<String, Value>>().into()
}

/// What is masked from a lumisection on, until the next entry of the run; without a layer, nothing
/// is.
fn automasks<'a>(runs: impl Iterator<Item = &'a Run>, layers: &[Layer], seed: u64) -> String {
    let mut text = String::from("run,ls,layer,x_first,x_last,y_first,y_last\n");
    for (run, ls) in runs.flat_map(|run| run.automasked(seed).into_iter().map(move |ls| (run, ls)))
    {
        let masked: Vec<&Defect> =
            run.defects.iter().filter(|defect| defect.known && defect.holds(ls)).collect();
        if masked.is_empty() {
            let _ = writeln!(text, "{},{ls},,,,,", run.number);
        }
        for defect in masked {
            let _ = writeln!(
                text,
                "{},{ls},{},{}",
                run.number,
                layers[defect.layer].name(),
                defect.region
            );
        }
    }
    text
}

fn truth(runs: &[Run], layers: &[Layer]) -> String {
    let mut text = String::from(
        "run,first_ls,last_ls,layer,x_first,x_last,y_first,y_last,factor,kind,known,large\n",
    );
    for run in runs {
        let mut defects: Vec<&Defect> =
            run.defects.iter().filter(|defect| defect.kind != DefectSize::Flicker).collect();
        defects.sort_by_key(|defect| (defect.first_ls, defect.layer));
        for defect in defects {
            let Defect { first_ls, last_ls, layer, region, factor, kind, known } = defect;
            let word = if *factor > 1.0 { "hot" } else { "dead" };
            let large = *kind == DefectSize::Large;
            let _ = writeln!(
                text,
                "{},{first_ls},{last_ls},{},{region},{factor},{word},{known},{large}",
                run.number,
                layers[*layer].name()
            );
        }
    }
    text
}

#[cfg(test)]
mod tests;
