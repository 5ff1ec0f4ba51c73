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

mod objects;
mod rows;
mod runs;

use super::files::beside;
use crate::{
    data::histogram_quantiles::NAMES,
    error::{Error, Result},
};
use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use objects::{OBJECTS, column};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use rayon::prelude::*;
use rows::row;
use runs::{Anomaly, Problem, Run, runs};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::Arc,
};

const FEWEST: usize = 200;
const MOST: usize = 10_000_000;
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
    fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
    let runs = runs(lumisections, seed);
    beside(&folder.join("features.parquet"), |file| features(file, &runs, seed))?;
    let json = |name: &str, good: &dyn Fn(Option<Problem>) -> bool| {
        beside(&folder.join(name), |file| Ok(serde_json::to_writer(file, &ranges(&runs, good))?))
    };
    json("golden.json", &|problem| problem.is_none())?;
    json("dcs.json", &|problem| problem != Some(Problem::Standby))?;
    let mut truth = String::from("run,first_ls,last_ls,anomaly,where,strength\n");
    for (run, anomaly) in
        runs.iter().flat_map(|run| run.anomalies.iter().map(move |anomaly| (run, anomaly)))
    {
        let Anomaly { first_ls, last_ls, problem, strength } = anomaly;
        let _ = writeln!(
            truth,
            "{},{first_ls},{last_ls},{},{},{strength:.3}",
            run.number,
            problem.name(),
            problem.place()
        );
    }
    beside(&folder.join("truth.csv"), |file| file.write_all(truth.as_bytes()))?;
    Ok(vec![
        ("features.parquet".into(), lumisections),
        ("truth.csv".into(), truth.lines().count() - 1),
    ])
}

/// The lumisections of each run that are good, as ranges.
fn ranges(runs: &[Run], good: &dyn Fn(Option<Problem>) -> bool) -> BTreeMap<String, Vec<[u32; 2]>> {
    let of_run = |run: &Run| {
        let mut ranges: Vec<[u32; 2]> = vec![];
        for ls in (run.first_ls..run.first_ls + run.lumisections)
            .filter(|ls| good(run.anomaly(*ls).map(|anomaly| anomaly.problem)))
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
            i64::from(run.anomaly(ls).is_none_or(|anomaly| anomaly.problem != Problem::Standby))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{
        read::{ReadOptions, read_file},
        table::Table,
    };

    fn made(lumisections: usize, seed: u64) -> (tempfile::TempDir, Table) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), lumisections, seed).unwrap();
        let columns = crate::config::data::Columns { ls: Some("ls".into()), ..Default::default() };
        let table = read_file(
            &folder.path().join("features.parquet"),
            &ReadOptions { columns, ..ReadOptions::default() },
        )
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
