use super::*;
use crate::data::{
    read::{ReadOptions, read_file},
    table::{Column, Table, TableRow},
};
use runs::LARGE;
use std::collections::{BTreeMap, BTreeSet};

const SMALL: Size =
    Size { lumisections: 300, test_lumisections: 300, layers: 3, true_shapes: false };

fn made(size: Size, seed: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), size, seed).unwrap();
    folder
}

fn table(folder: &Path, name: &str) -> Table {
    read_file(&folder.join(name), &ReadOptions::default()).unwrap()
}

/// The lines of a CSV file after its header, in fields.
fn lines(folder: &Path, name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(folder.join(name)).unwrap();
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// A line of truth.csv.
struct True {
    run: u32,
    ls: std::ops::RangeInclusive<u32>,
    layer: String,
    region: [usize; 4],
    factor: f64,
    known: bool,
    large: bool,
}

fn truths(folder: &Path) -> Vec<True> {
    let of = |line: Vec<String>| True {
        run: line[0].parse().unwrap(),
        ls: line[1].parse().unwrap()..=line[2].parse().unwrap(),
        layer: line[3].clone(),
        region: [4, 5, 6, 7].map(|at| line[at].parse().unwrap()),
        factor: line[8].parse().unwrap(),
        known: line[10] == "true",
        large: line[11] == "true",
    };
    lines(folder, "truth.csv").into_iter().map(of).collect()
}

fn sum(map: &[f32], columns: usize, [x_first, x_last, y_first, y_last]: [usize; 4]) -> f64 {
    (y_first..=y_last)
        .flat_map(|y| &map[y * columns + x_first..=y * columns + x_last])
        .map(|count| f64::from(*count))
        .sum()
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    const FILES: [&str; 6] = [
        "train/PXLayer_1.parquet",
        "test/PXLayer_2.parquet",
        "oms.json",
        "hlt.json",
        "automasks.csv",
        "truth.csv",
    ];
    let size = Size { lumisections: 200, test_lumisections: 200, layers: 2, ..SMALL };
    let bytes = |seed| {
        let folder = made(size, seed);
        FILES.map(|name| fs::read(folder.path().join(name)).unwrap())
    };
    let one = bytes(7);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert!(one == alone.install(|| bytes(7)));
    assert!(one.iter().zip(bytes(8)).all(|(one, other)| *one != other));
}

#[test]
fn maps_have_an_empty_cross_and_dead_modules_and_otherwise_count() {
    let folder = made(SMALL, 1);
    for name in ["train/PXLayer_1.parquet", "train/PXLayer_3.parquet"] {
        let table = table(folder.path(), name);
        assert_eq!((table.rows.len(), table.shape.y, table.shape.x), (300, 26, 72));
        let sums: Vec<f64> = (0..26 * 72)
            .map(|bin| (0..300).map(|row| f64::from(table.row(row)[bin])).sum())
            .collect();
        let cross = |bin: &usize| (32..40).contains(&(bin % 72)) || (12..14).contains(&(bin / 72));
        assert!((0..26 * 72).filter(cross).all(|bin| sums[bin] == 0.0));
        let dead = (0..26 * 72).filter(|bin| !cross(bin) && sums[*bin] == 0.0).count();
        assert!((16..=48).contains(&dead) && dead.is_multiple_of(16), "{dead}");
    }
}

#[test]
fn entries_are_the_sum_and_go_with_pile_up() {
    let folder = made(SMALL, 2);
    let wanted = ReadOptions { required: vec!["entries".into()], ..ReadOptions::default() };
    let table = read_file(&folder.path().join("train/PXLayer_2.parquet"), &wanted).unwrap();
    let oms: BTreeMap<String, Vec<Value>> =
        serde_json::from_slice(&fs::read(folder.path().join("oms.json")).unwrap()).unwrap();
    assert!(oms.values().all(|column| column.len() == oms["pileup"].len()));
    let ids = oms["run_number"]
        .iter()
        .zip(&oms["lumisection_number"])
        .map(|(run, ls)| (run.as_u64().unwrap(), ls.as_u64().unwrap()));
    let known: BTreeMap<(u64, u64), usize> = ids.enumerate().map(|(at, id)| (id, at)).collect();
    assert!((585..600).contains(&known.len()), "{} of 600", known.len());
    let (mut unstable, mut low) = (0, 0);
    for (row, id) in table.rows.iter().enumerate() {
        let sum: f64 = table.row(row).iter().map(|count| f64::from(*count)).sum();
        let Column::Numbers(entries) = &table.columns["entries"] else {
            panic!("entries are numbers")
        };
        assert_eq!(entries[row], sum);
        let Some(&at) = known.get(&(u64::from(id.run.unwrap()), u64::from(id.ls))) else {
            continue;
        };
        let pile_up = oms["pileup"][at].as_f64().unwrap();
        match oms["beams_stable"][at].as_bool().unwrap() {
            true => assert!(
                (0.9..1.1).contains(&(sum / (4.2e6 * pile_up / FULL))) || id.ls < 4,
                "{sum} at {pile_up}"
            ),
            false => assert!(pile_up < 5.0 && sum < 0.5e6),
        }
        unstable += usize::from(oms["beams_stable"][at] == false);
        low += usize::from(pile_up < 25.0);
    }
    assert!(unstable >= 20 && low > unstable && low < 100, "{unstable} {low}");
}

#[test]
fn what_is_wrong_is_where_the_truth_says_and_twelve_are_large() {
    for true_shapes in [false, true] {
        let folder = made(Size { true_shapes, ..SMALL }, 3);
        let truths = truths(folder.path());
        let tables: BTreeMap<String, Table> = (1..=3)
            .map(|at| {
                (
                    format!("PXLayer_{at}"),
                    table(folder.path(), &format!("test/PXLayer_{at}.parquet")),
                )
            })
            .collect();
        let mut large: BTreeMap<(u32, u32, u32, [usize; 2]), BTreeSet<&str>> = BTreeMap::new();
        for truth in &truths {
            let table = &tables[&truth.layer];
            let [x_first, x_last, y_first, y_last] = truth.region;
            assert!(
                x_first <= x_last
                    && x_last < table.shape.x
                    && y_first <= y_last
                    && y_last < table.shape.y
            );
            assert!(x_last < 32 || x_first >= 40);
            assert!(y_last < table.shape.y / 2 - 1 || y_first > table.shape.y / 2);
            // Shares of the map's entries, within the defect and in the rest of the run.
            let (mut inside, mut outside) = (vec![], vec![]);
            for (row, id) in
                table.rows.iter().enumerate().filter(|(_, id)| id.run == Some(truth.run))
            {
                let map = table.row(row);
                let all = sum(map, table.shape.x, [0, table.shape.x - 1, 0, table.shape.y - 1]);
                let touched = truths.iter().any(|other| {
                    other.layer == truth.layer
                        && other.run == truth.run
                        && other.ls.contains(&id.ls)
                });
                if truth.ls.contains(&id.ls) {
                    inside.push(sum(map, table.shape.x, truth.region) / all);
                } else if !touched && all > 0.5e6 {
                    outside.push(sum(map, table.shape.x, truth.region) / all);
                }
            }
            let mean = |shares: &[f64]| shares.iter().sum::<f64>() / shares.len() as f64;
            let ratio = mean(&inside) / mean(&outside);
            assert!(
                inside.len() >= 4 && (ratio - truth.factor).abs() <= 0.2 * truth.factor,
                "{ratio} for {} at {:?}",
                truth.factor,
                truth.ls
            );
            if truth.large {
                assert!(x_last - x_first >= 7 && y_last - y_first >= 2);
                large
                    .entry((truth.run, *truth.ls.start(), *truth.ls.end(), [x_first, x_last]))
                    .or_default()
                    .insert(&truth.layer);
            }
        }
        assert_eq!(large.len(), LARGE);
        assert!(large.values().all(|layers| layers.len() >= 2));
        assert!(truths.iter().any(|truth| !truth.large) && truths.iter().any(|truth| truth.known));
    }
}

#[test]
fn masked_chips_count_nothing_until_the_next_entry() {
    let folder = made(SMALL, 4);
    let entries = lines(folder.path(), "automasks.csv");
    let (blank, masked): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry[2].is_empty());
    assert!(!blank.is_empty() && !masked.is_empty());
    let tables: Vec<Table> = ["train", "test"]
        .iter()
        .flat_map(|part| (1..=3).map(move |at| format!("{part}/PXLayer_{at}.parquet")))
        .map(|name| table(folder.path(), &name))
        .collect();
    for entry in masked {
        let (run, ls): (u32, u32) = (entry[0].parse().unwrap(), entry[1].parse().unwrap());
        let next = entries
            .iter()
            .filter(|other| other[0] == entry[0])
            .filter_map(|other| other[1].parse().ok())
            .find(|other| *other > ls);
        let layer: usize = entry[2].trim_start_matches("PXLayer_").parse().unwrap();
        let region = [3, 4, 5, 6].map(|at| entry[at].parse().unwrap());
        let of_layer = [&tables[layer - 1], &tables[layer + 2]];
        let mut found = 0;
        for table in of_layer {
            let here = |id: &TableRow| {
                id.run == Some(run) && id.ls >= ls && next.is_none_or(|next| id.ls < next)
            };
            for (row, _) in table.rows.iter().enumerate().filter(|(_, id)| here(id)) {
                assert_eq!(sum(table.row(row), table.shape.x, region), 0.0);
                found += 1;
            }
        }
        assert!(found > 0);
    }
    for run in entries.iter().map(|entry| &entry[0]).collect::<BTreeSet<_>>() {
        assert!(entries.iter().any(|entry| entry[0] == *run && entry[1] == "1"));
    }
}

#[test]
fn layers_have_the_rows_of_the_real_ones_if_asked() {
    let folder =
        made(Size { lumisections: 200, test_lumisections: 200, layers: 4, true_shapes: true }, 1);
    let rows =
        [1, 2, 3, 4].map(|at| table(folder.path(), &format!("train/PXLayer_{at}.parquet")).shape.y);
    assert_eq!(rows, [26, 58, 90, 130]);
}

#[test]
fn the_version_of_the_trigger_changes_within_each_run() {
    let folder = made(SMALL, 5);
    let hlt: BTreeMap<String, BTreeMap<String, BTreeMap<String, Vec<f64>>>> =
        serde_json::from_slice(&fs::read(folder.path().join("hlt.json")).unwrap()).unwrap();
    assert_eq!(hlt.len(), 9);
    for paths in hlt.values() {
        let lumisections: Vec<f64> =
            paths.values().flat_map(|path| path["first_lumisection_number"].clone()).collect();
        let mut sorted = lumisections.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(
            paths.len() == 2 && sorted.iter().enumerate().all(|(at, ls)| *ls == (at + 1) as f64),
            "{lumisections:?}"
        );
        assert!(paths.values().all(|path| path["rate"].len() == path["run_number"].len()));
    }
}

#[test]
fn sizes_out_of_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for size in [
        Size { lumisections: 199, ..SMALL },
        Size { test_lumisections: 10, ..SMALL },
        Size { layers: 5, ..SMALL },
        Size { layers: 1, ..SMALL },
    ] {
        assert_eq!(write(folder.path(), size, 1).unwrap_err().exit_code(), 2);
    }
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}
