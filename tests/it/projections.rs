//! Latents in two dimensions: held to scikit-learn, and written beside the scores.

use crate::common::{config, metsig, report, root, succeed};
use lumisift::{
    random,
    score::{pca::Pca, tsne::tsne},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs::File, path::Path};

fn normal(count: usize, name: &str) -> Vec<f32> {
    let mut chance = random::generator(1, name, 0);
    (0..count).map(|_| StandardNormal.sample(&mut chance)).collect()
}

/// `[rows, rank]` times `[rank, width]`, off the origin.
fn of_rank(rows: usize, rank: usize, width: usize) -> Vec<f32> {
    let (left, right) = (normal(rows * rank, "left"), normal(rank * width, "right"));
    let entry = |at: usize| {
        3.0 + (0..rank)
            .map(|k| left[at / width * rank + k] * right[k * width + at % width] / (k + 1) as f32)
            .sum::<f32>()
    };
    (0..rows * width).map(entry).collect()
}

fn by_pca(name: &str, values: Vec<f32>, width: usize) -> Value {
    let pca = Pca::fit(&values, width, 2);
    let (rows, points) = (values.len() / width, pca.project(&values));
    json!({"name": name, "method": "pca", "rows": rows, "width": width, "values": values, "points": points, "shares": pca.shares})
}

fn by_tsne(name: &str, values: Vec<f32>, width: usize) -> Value {
    let (rows, points) = (values.len() / width, tsne(&values, width, 1).unwrap());
    json!({"name": name, "method": "t-sne", "rows": rows, "width": width, "values": values, "points": points, "shares": null})
}

#[test]
fn projections_are_those_of_scikit_learn() {
    let Some(python) = crate::common::python("scikit-learn") else { return };
    // Three clusters, and a curve that is bent in ten dimensions.
    let mut clusters = normal(600 * 16, "clusters");
    clusters.chunks_exact_mut(16).enumerate().for_each(|(i, row)| row[i % 3] += 6.0);
    let mut curve = normal(800 * 10, "curve");
    for (i, row) in curve.chunks_exact_mut(10).enumerate() {
        row.iter_mut().enumerate().for_each(|(k, value)| {
            *value = 0.05 * *value + (i as f32 / 800.0 * (k + 1) as f32).sin()
        });
    }
    let cases = [
        by_pca("random", normal(500 * 8, "random"), 8),
        by_pca("correlated", of_rank(1000, 6, 12), 12),
        by_pca("rank 1", of_rank(300, 1, 5), 5),
        by_pca("rank 1, wide", of_rank(100, 1, 200), 200),
        by_pca("constant", vec![0.1; 300], 3),
        by_pca("one column", normal(100, "column"), 1),
        by_pca("one row more", normal(2 * 4, "two rows"), 4),
        by_pca("wide", of_rank(200, 20, 400), 400),
        by_pca("wide and random", normal(600 * 300, "wide"), 300),
        by_tsne("clusters", clusters, 16),
        by_tsne("curve", curve, 10),
    ];
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("cases.json");
    std::fs::write(&file, serde_json::to_vec(&cases).unwrap()).unwrap();
    let script = root().join("scripts/reference/check_projections.py");
    let output = std::process::Command::new(python).arg(script).arg(&file).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(told.lines().count(), cases.len());
    eprint!("{told}");
}

/// Rows of `projections.parquet` by method.
fn written(folder: &Path) -> BTreeMap<String, usize> {
    let file = File::open(folder.join("projections.parquet")).unwrap();
    let mut rows = BTreeMap::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let names: Vec<String> =
            batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["channel", "method", "file", "run", "ls", "x", "y"]);
        assert!(batch.columns()[5..].iter().all(|column| column.null_count() == 0));
        let methods = arrow_array::cast::AsArray::as_string::<i32>(batch.column(1)).clone();
        methods.iter().for_each(|method| *rows.entry(method.unwrap().to_owned()).or_insert(0) += 1);
    }
    rows
}

#[test]
fn an_experiment_has_its_latents_in_two_dimensions() {
    let place = metsig("0.1");
    let folder = place.path().join("out");
    let set = [
        "--set",
        "train.epochs=2",
        "--set",
        "data.train=[\"good.csv\"]",
        "--set",
        "data.test=[\"bad1.csv\"]",
    ];
    let methods = [
        "--set",
        "report.projections=[\"pca\",\"t-sne\"]",
        "--set",
        "train.ensemble=2",
        "--out",
        "out",
        "-q",
    ];
    let config = config("metsig.toml");
    std::fs::copy(config, place.path().join("metsig.toml")).unwrap();
    succeed(place.path(), &[&["train", "metsig.toml"][..], &set, &methods].concat());
    let figures = report(&folder);
    let [pca, tsne] = &figures.projections[..] else { panic!("{:?}", figures.projections) };
    assert_eq!((pca.method.as_str(), tsne.method.as_str()), ("pca", "t-sne"));
    assert!(
        pca.axes[0].starts_with("PC 1 (") && tsne.axes[1] == "t-SNE 2",
        "{:?} {:?}",
        pca.axes,
        tsne.axes
    );
    assert_eq!(
        (pca.rows, pca.of, pca.note.as_deref()),
        (figures.data.test, figures.data.test, Some("latents of member 1 of 2"))
    );
    assert_eq!(written(&folder), [("pca".into(), pca.rows), ("t-sne".into(), tsne.rows)].into());
    let bytes = || std::fs::read(folder.join("projections.parquet")).unwrap();
    let before = bytes();
    succeed(place.path(), &["report", "out", "-q"]);
    assert_eq!(bytes(), before);
    assert_eq!(report(&folder).projections, figures.projections);
}
