//! Made data of the CMS 2010B open-data study's kind: a wide table of one row per LS, labels,
//! certification files by subsystem and the truth about the anomalies put in.
//!
//! A dozen slow conditions (luminosity, pile-up, beam spot, temperature, era, trigger menu, run)
//! move the shapes of all distributions. The statistics are taken from the shapes, with the noise
//! that the number of events leaves. Bad LSs have their shapes changed in ways that no condition
//! changes them.

mod channels;
mod distribution;
mod model;
mod period;
mod quantity;

use super::files::beside;
use crate::error::{Error, Result};
use arrow_array::{ArrayRef, Float32Array, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use channels::SUBSYSTEMS;
use model::Model;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties},
};
use period::Period;
use rayon::prelude::*;
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::Arc,
};

const ROW_GROUP: usize = 4_000;
const BATCH: usize = 1_000;

/// The files that are written.
pub fn files() -> Vec<String> {
    let certified =
        SUBSYSTEMS.iter().map(|subsystem| format!("Quality2010/Cert_13TeV_2010_{subsystem}.txt"));
    ["features.parquet", "labels.npy", "truth.csv"]
        .map(str::to_owned)
        .into_iter()
        .chain(certified)
        .collect()
}

/// Writes features.parquet, labels.npy, Quality2010/Cert_13TeV_2010_*.txt and truth.csv; returns
/// the names and rows of the tables.
///
/// LSs without luminosity are labelled bad, as in the study, and are not in the truth.
pub fn write(folder: &Path, rows: usize, seed: u64) -> Result<Vec<(String, usize)>> {
    if !(100..=1_000_000).contains(&rows) {
        return Err(Error::input(format!("{rows} rows: expected from 100 to 1000000")));
    }
    let quality = folder.join("Quality2010");
    fs::create_dir_all(&quality).map_err(|error| Error::writing(&quality, error))?;
    let period = Period::new(rows, seed);
    let model = Model::new(seed);
    let order = period.order();
    let mut made = vec![];
    beside(&folder.join("features.parquet"), |file| features(file, &period, &model, &order))?;
    made.push(("features.parquet".to_owned(), rows));
    beside(&folder.join("labels.npy"), |file| labels(file, &period, &order))?;
    made.push(("labels.npy".to_owned(), rows));
    for (subsystem, good) in SUBSYSTEMS.iter().zip(period.certified()) {
        let path = quality.join(format!("Cert_13TeV_2010_{subsystem}.txt"));
        beside(&path, |file| serde_json::to_writer(file, &good).map_err(io::Error::from))?;
    }
    let truth = period.truth();
    beside(&folder.join("truth.csv"), |file| file.write_all(truth.as_bytes()))?;
    made.push(("truth.csv".to_owned(), truth.lines().count() - 1));
    Ok(made)
}

fn labels(file: &mut BufWriter<File>, period: &Period, order: &[u32]) -> io::Result<()> {
    let mut header =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({},), }}", order.len());
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for &row in order {
        let (run, at) = period.find(row);
        file.write_all(&f64::from(u8::from(period.is_good(run, at))).to_le_bytes())?;
    }
    Ok(())
}

fn features(
    file: &mut BufWriter<File>,
    period: &Period,
    model: &Model,
    order: &[u32],
) -> io::Result<()> {
    let is_wide = |name: &str| name == "_run" || name == "_luminosityBlock";
    let kind = |name: &str| if is_wide(name) { DataType::Float64 } else { DataType::Float32 };
    let fields: Vec<Field> =
        model.names.iter().map(|name| Field::new(name, kind(name), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    // Without statistics and page indices the footer of a large table stays small: it holds an
    // entry per column and row group.
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
        values
            .par_chunks_mut(width)
            .zip(rows)
            .for_each(|(values, &row)| model.fill(period, row, values));
        // Sixteen neighbours at once: they share cache lines.
        let columns: Vec<ArrayRef> = (0..width.div_ceil(16))
            .into_par_iter()
            .flat_map_iter(|block| {
                let here = block * 16..(block * 16 + 16).min(width);
                let mut columns = vec![Vec::with_capacity(rows.len()); here.len()];
                for row in values.chunks_exact(width) {
                    columns
                        .iter_mut()
                        .zip(&row[here.clone()])
                        .for_each(|(column, value)| column.push(*value));
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

#[cfg(test)]
mod tests {
    use super::channels::{CONSTANT, STATISTICS, STREAMS};
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Float32Type, Float64Type};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use std::f64::consts::PI;

    fn made(rows: usize, seed: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), rows, seed).unwrap();
        folder
    }

    fn read(folder: &Path) -> RecordBatch {
        let file = File::open(folder.join("features.parquet")).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .with_batch_size(1_000_000)
            .build()
            .unwrap();
        let batches: Vec<RecordBatch> = reader.map(|batch| batch.unwrap()).collect();
        assert_eq!(batches.len(), 1);
        batches.into_iter().next().unwrap()
    }

    fn wide(batch: &RecordBatch, name: &str) -> Vec<u32> {
        batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .map(|x| *x as u32)
            .collect()
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
        bytes[start..]
            .chunks_exact(8)
            .map(|x| f64::from_le_bytes(x.try_into().unwrap()) == 1.0)
            .collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_bytes() {
        let all = |folder: &Path| {
            let names = [
                "features.parquet",
                "labels.npy",
                "truth.csv",
                "Quality2010/Cert_13TeV_2010_Ecal.txt",
            ];
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
        let names: Vec<String> =
            batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert!(names.is_sorted());
        let count = |start: &str| names.iter().filter(|name| name.starts_with(start)).count();
        for (particle, size) in [("muons", 266), ("photons", 231), ("PF", 126), ("calo", 266)] {
            assert!(STREAMS.iter().all(|stream| count(&format!("{stream}_{particle}_")) == size));
        }
        assert_eq!(count("minibias_instantLumi__"), 7);
        assert_eq!(batch.schema().field_with_name("_run").unwrap().data_type(), &DataType::Float64);
        assert_eq!(
            batch.schema().field_with_name("muons_calo_Px_p25").unwrap().data_type(),
            &DataType::Float32
        );
        assert!(names.contains(&"photons_photons_pt__q5_p1".to_owned()));
    }

    #[test]
    fn statistics_agree_with_each_other() {
        let folder = made(300, 2);
        let batch = read(folder.path());
        let lit = narrow(&batch, "_instantLumi_minibias");
        let starts = [
            "minibias_calo_pt__q5",
            "minibias_PF_phi__q1",
            "minibias_muons_fZ__q3",
            "minibias_calo_Pz",
            "minibias_instantLumi_",
        ];
        for start in starts {
            let [mean, std, a, b, c, d, e] =
                STATISTICS.map(|statistic| narrow(&batch, &format!("{start}_{statistic}")));
            for i in 0..300 {
                assert!(
                    a[i] <= b[i]
                        && b[i] <= c[i]
                        && c[i] <= d[i]
                        && d[i] <= e[i]
                        && a[i] <= mean[i]
                        && mean[i] <= e[i]
                );
                assert_eq!(std[i] > 0.0, lit[i] > 0.0, "{start} {i}");
                assert!(
                    std[i].is_finite() && (!start.contains("phi") || f64::from(e[i]) <= PI + 1e-6)
                );
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
        let (runs, sections, good) =
            (wide(&batch, "_run"), wide(&batch, "_luminosityBlock"), good(folder.path()));
        let lumi = STREAMS.map(|stream| narrow(&batch, &format!("_instantLumi_{stream}")));
        let truth = truth(folder.path());
        let lit: Vec<bool> = (0..300).map(|i| lumi.iter().any(|lumi| lumi[i] > 0.0)).collect();
        for i in 0..300 {
            let is_hit =
                truth.iter().any(|row| row.0 == runs[i] && (row.1..=row.2).contains(&sections[i]));
            assert_eq!(good[i], lit[i] && !is_hit);
            assert!(lit[i] || !is_hit);
        }
        for row in &truth {
            let there = (0..300)
                .filter(|i| row.0 == runs[*i] && (row.1..=row.2).contains(&sections[*i]))
                .count();
            assert_eq!(there as u32, row.2 - row.1 + 1, "{row:?}");
        }
        let mut rows: Vec<(u32, u32)> = runs.into_iter().zip(sections).collect();
        assert!(!rows.is_sorted());
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), 300);
        let lit_rows = lit.iter().filter(|lit| **lit).count();
        let bad = (0..300).filter(|i| lit[*i] && !good[*i]).count();
        assert!(
            (150..=230).contains(&lit_rows)
                && (0.15..0.3).contains(&(bad as f64 / lit_rows as f64)),
            "{lit_rows} {bad}"
        );
    }

    #[test]
    fn certified_ranges_are_inside_the_runs() {
        let folder = made(300, 4);
        let batch = read(folder.path());
        let rows: Vec<(u32, u32)> =
            wide(&batch, "_run").into_iter().zip(wide(&batch, "_luminosityBlock")).collect();
        let good = good(folder.path());
        for subsystem in SUBSYSTEMS {
            let text = fs::read_to_string(
                folder.path().join(format!("Quality2010/Cert_13TeV_2010_{subsystem}.txt")),
            )
            .unwrap();
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
            let same =
                rows.iter().zip(&good).filter(|(row, good)| named.contains(row) == **good).count();
            assert!(subsystem == "Lumi" || same > 150, "{subsystem} {same}");
        }
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(folder.path(), 99, 1).is_err());
        assert!(write(folder.path(), 1_000_001, 1).is_err());
        assert!(write(folder.path(), 100, 1).is_ok());
        let left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| {
                entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part")
            })
            .collect();
        assert!(left.is_empty());
    }
}
