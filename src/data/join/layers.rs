//! Joins the layers of a detector, row by row.
//!
//! A row of the samples is a lumisection, with the bins of one layer after the other. A lumisection
//! that lacks a layer is rejected.

use super::runs::{describe, index_runs, run_key};
use crate::{
    config::data::{BadRows, Data},
    data::{
        bins::Binning,
        layers::{Layer, LayerSpec},
        lumisections::Lumisection,
        samples::{Rejected, Role, SampleRow, Samples, Source},
        shape::Shape,
        table::{Column, Table, place_in},
    },
    error::{Error, Result},
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The rows of one layer in one file.
pub struct LayerTable {
    /// Index into the sources.
    pub source: usize,
    /// Index into the layers.
    pub layer: usize,
    /// The table of the layer.
    pub table: Table,
}

/// Position of a row: index of the part, and of the row in its table.
type RowPlace = (u32, u32);

/// Joins layers row by row and sorts the rows by (run, LS). The values of a layer are freed after
/// they are copied.
pub fn join_layers(
    sources: Vec<Source>,
    mut parts: Vec<LayerTable>,
    wanted: &[LayerSpec],
    data: &Data,
) -> Result<Samples> {
    let mut samples = Samples::default();
    let binnings =
        parts.iter().map(|part| Binning::new(&part.table, data)).collect::<Result<Vec<_>>>()?;
    let frame = |(at, wanted): (usize, &LayerSpec)| {
        Some(binnings[parts.iter().position(|part| part.layer == at)?].frame(&wanted.name))
    };
    samples.frames = wanted.iter().enumerate().filter_map(frame).collect();
    samples.layers = layers(&parts, &binnings, wanted)?;
    samples.shape = Shape::line(samples.layers.last().map_or(0, |layer| layer.columns.end));
    let filled = || parts.iter().zip(&binnings).filter(|(part, _)| !part.table.rows.is_empty());
    samples.flow_bins =
        filled().any(|(part, binning)| part.table.flow_bins && binning.keeps_flow_bins());
    samples.events = filled().any(|(part, _)| part.table.events);
    refuse_mixture(&parts, wanted, samples.events)?;

    let faults: HashSet<(usize, Lumisection)> = parts
        .iter()
        .flat_map(|part| {
            part.table.faults.iter().filter_map(|fault| {
                Some((part.layer, Lumisection { run: fault.run, ls: fault.ls? }))
            })
        })
        .collect();
    describe(
        &mut samples,
        sources,
        parts.iter_mut().map(|part| (part.source, &mut part.table)),
        data,
    );
    let bad_rows = data.bad_rows;
    let index_of = index_runs(&mut samples, parts.iter().map(|part| (part.source, &part.table)));

    let rows = place_rows(&mut samples, &parts, wanted, &index_of, bad_rows)?;
    let complete = complete_rows(&mut samples, &parts, wanted, &faults, rows);
    if complete.is_empty() {
        return Err(nothing_in_common(&parts, wanted));
    }
    samples.columns = columns(&parts, &complete);

    fill_values(&mut samples, parts, &binnings, &complete);
    Ok(samples)
}

/// Position of the row of each layer, for each (run, LS, whether of a test file).
type PlacedRows = BTreeMap<(u32, u32, bool), Vec<Option<RowPlace>>>;

/// Finds the row of each layer. A duplicate row is an error, or the later one is rejected.
fn place_rows(
    samples: &mut Samples,
    parts: &[LayerTable],
    wanted: &[LayerSpec],
    index_of: &HashMap<(Option<u32>, u32), u32>,
    bad_rows: BadRows,
) -> Result<PlacedRows> {
    let mut rows = PlacedRows::new();
    for (at, LayerTable { source, layer, table }) in parts.iter().enumerate() {
        for (i, row) in table.rows.iter().enumerate() {
            let test = samples.sources[*source].role == Role::Test;
            let run = index_of[&run_key(row.run, *source)];
            let place = &mut rows
                .entry((run, row.ls, test))
                .or_insert_with(|| vec![None; wanted.len()])[*layer];
            let Some((other, first)) = *place else {
                *place = Some((at as u32, i as u32));
                continue;
            };
            if bad_rows == BadRows::Error {
                let other = &parts[other as usize].table;
                let first = other.rows[first as usize];
                let (a, b) = (
                    table.place(row.line, row.index),
                    place_in(&other.path, first.line, first.index),
                );
                let (id, name) = (Lumisection { run: row.run, ls: row.ls }, &wanted[*layer].name);
                return Err(Error::input(format!(
                    "{a}: duplicate of {b}: {id} is there twice in {name}; data.bad_rows = \"reject\" keeps the first of each"
                )));
            }
            let (source, id) = (*source as u32, Some(Lumisection { run: row.run, ls: row.ls }));
            let reason = format!("duplicate of an earlier row of {}", wanted[*layer].name);
            samples.rejected.push(Rejected {
                source,
                id,
                line: row.line,
                index: row.index,
                reason,
                ..Rejected::default()
            });
        }
    }
    Ok(rows)
}

/// Sets the rows that all layers have, and returns their positions; the others are rejected.
fn complete_rows(
    samples: &mut Samples,
    parts: &[LayerTable],
    wanted: &[LayerSpec],
    faults: &HashSet<(usize, Lumisection)>,
    rows: PlacedRows,
) -> Vec<Vec<RowPlace>> {
    let mut complete: Vec<Vec<RowPlace>> = vec![];
    for ((run, ls, _), places) in rows {
        let Some(&(at, i)) = places.iter().flatten().next() else { continue };
        let LayerTable { source, table, .. } = &parts[at as usize];
        let (source, row) = (*source as u32, table.rows[i as usize]);
        if let Some(lacks) = places.iter().position(Option::is_none) {
            let id = Lumisection { run: row.run, ls };
            // An unreadable row has been reported already.
            if !faults.contains(&(lacks, id)) {
                let what = if samples.layers[lacks].shape.y > 1 { "map" } else { "histogram" };
                let reason = format!("no {what} of {}", wanted[lacks].name);
                samples.rejected.push(Rejected {
                    source,
                    id: Some(id),
                    line: row.line,
                    index: row.index,
                    reason,
                    ..Rejected::default()
                });
            }
            continue;
        }
        samples.rows.push(SampleRow { source, run, ls, line: row.line, index: row.index });
        complete.push(places.into_iter().flatten().collect());
    }
    complete
}

/// Copies the values of all rows, layer by layer; the tables of a layer are freed after it.
fn fill_values(
    samples: &mut Samples,
    mut parts: Vec<LayerTable>,
    binnings: &[Binning],
    complete: &[Vec<RowPlace>],
) {
    let width = samples.width();
    samples.values = vec![0.0; complete.len() * width];
    let mut bins = vec![];
    for (at, layer) in samples.layers.iter().enumerate() {
        for (row, places) in complete.iter().enumerate() {
            let (part, i) = (places[at].0 as usize, places[at].1 as usize);
            bins.clear();
            binnings[part].apply(parts[part].table.row(i), &mut bins);
            samples.values[row * width..][layer.columns.clone()].copy_from_slice(&bins);
        }
        parts
            .iter_mut()
            .filter(|part| part.layer == at)
            .for_each(|part| part.table.values = vec![]);
    }
}

/// The layers with their shapes. Fails if a shape differs between files or from the model.
fn layers(parts: &[LayerTable], binnings: &[Binning], wanted: &[LayerSpec]) -> Result<Vec<Layer>> {
    let mut layers: Vec<Layer> = vec![];
    for (at, LayerSpec { name, element, shape }) in wanted.iter().enumerate() {
        let mut own = parts
            .iter()
            .zip(binnings)
            .filter(|(part, _)| part.layer == at && !part.table.rows.is_empty());
        let Some((first, binning)) = own.next() else {
            return Err(Error::input(format!(
                "{name}: no row of the monitoring element {element} can be read"
            )));
        };
        let (found, path) = (binning.shape(), first.table.path.display());
        if let Some(trained) = shape.filter(|shape| *shape != found) {
            return Err(Error::input(format!(
                "{path}: {name} has {found} bins, but the model was trained on {trained}"
            )));
        }
        if let Some((other, binning)) = own.find(|(_, binning)| binning.shape() != found) {
            let (shape, other) = (binning.shape(), other.table.path.display());
            return Err(Error::input(format!(
                "{other}: {name} has {shape} bins, but in {path} {found}"
            )));
        }
        let start = layers.last().map_or(0, |layer| layer.columns.end);
        let edges = if binning.keeps_axes() { first.table.edges } else { [None; 4] };
        layers.push(Layer {
            name: name.clone(),
            element: element.clone(),
            shape: found,
            edges,
            columns: start..start + found.width(),
        });
    }
    Ok(layers)
}

/// Fails if layers are not histograms or maps, or if only some have lumisection numbers.
fn refuse_mixture(parts: &[LayerTable], wanted: &[LayerSpec], events: bool) -> Result<()> {
    for LayerTable { layer, table, .. } in parts {
        let (path, name) = (table.path.display(), &wanted[*layer].name);
        if table.features.is_some() {
            return Err(Error::input(format!(
                "{path}: holds features; the layers of data.layers are histograms or maps"
            )));
        }
        if !table.rows.is_empty() && table.events != events {
            return Err(Error::input(format!(
                "{path}: the rows of {name} have lumisection numbers, but those of other layers do not"
            )));
        }
    }
    // Rows that are identified by their position must all be present.
    let rows = |part: &LayerTable| part.table.rows.len() + part.table.faults.len();
    for part in parts.iter().filter(|_| events) {
        if let Some(other) =
            parts.iter().find(|other| other.source == part.source && rows(other) != rows(part))
        {
            let (path, name, other_name) =
                (part.table.path.display(), &wanted[part.layer].name, &wanted[other.layer].name);
            let (found, expected) = (rows(part), rows(other));
            return Err(Error::input(format!(
                "{path}: {name} has {found} rows, but {other_name} has {expected}; rows that name no lumisection are joined by their position"
            )));
        }
    }
    Ok(())
}

/// The error that no lumisection is in all layers; names the range of each layer.
fn nothing_in_common(parts: &[LayerTable], wanted: &[LayerSpec]) -> Error {
    let of_layer = |(at, layer): (usize, &LayerSpec)| {
        let ids: Vec<Lumisection> = parts
            .iter()
            .filter(|part| part.layer == at)
            .flat_map(|part| {
                part.table.rows.iter().map(|row| Lumisection { run: row.run, ls: row.ls })
            })
            .collect();
        let range = ids
            .iter()
            .min()
            .zip(ids.iter().max())
            .map(|(first, last)| format!(" ({first} to {last})"));
        format!("{} has {}{}", layer.name, ids.len(), range.unwrap_or_default())
    };
    let told: Vec<String> = wanted.iter().enumerate().map(of_layer).collect();
    let no_runs =
        parts.iter().any(|part| part.table.rows.first().is_some_and(|row| row.run.is_none()));
    let no_runs = if no_runs {
        "; rows without a run number are joined only within their own file"
    } else {
        ""
    };
    Error::input(format!(
        "data.layers: no lumisection is in all layers: {}{no_runs}",
        told.join(", ")
    ))
}

/// Further columns, each from the first layer that has it.
fn columns(parts: &[LayerTable], rows: &[Vec<RowPlace>]) -> BTreeMap<String, Column> {
    let names: BTreeSet<&String> =
        parts.iter().flat_map(|part| part.table.columns.keys()).collect();
    let unknown = Column::unknown(1);
    let column = |name: &String| {
        let mut column = Column::Numbers(vec![]);
        for places in rows {
            let mut known = places.iter().filter_map(|&(part, i)| {
                Some((parts[part as usize].table.columns.get(name)?, i as usize))
            });
            match known.find(|(from, i)| from.is_known(*i)) {
                Some((from, i)) => column.push(from, i),
                None => column.push(&unknown, 0),
            }
        }
        column
    };
    names.into_iter().map(|name| (name.clone(), column(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Document, Experiment},
        data::{LoadOptions, load},
    };
    use proptest::prelude::*;
    use std::path::Path;

    const DATA: &str = "data = {train = [\"*.csv\"], layers = [\"D/L_*\"]";

    /// A monitoring element, run, LS, and bins.
    type Given<'a> = (&'a str, u32, u32, &'a [f32]);

    /// Reads files of rows.
    fn load_rows(files: &[(&str, &[Given<'_>])], config: &str) -> Result<Samples> {
        let folder = tempfile::tempdir().unwrap();
        for (name, rows) in files {
            let row = |(me, run, ls, bins): &Given<'_>| format!("{run},{ls},{me},\"{bins:?}\"\n");
            let text = format!(
                "fromrun,fromlumi,hname,histo\n{}",
                rows.iter().map(row).collect::<String>()
            );
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let experiment = Experiment::check(
            &Document::parse(config, &folder.path().join("x.toml")).unwrap(),
            "x",
        )
        .unwrap();
        let files: [(Role, &[std::path::PathBuf]); 2] =
            [(Role::Train, &experiment.data.train), (Role::Test, &experiment.data.test)];
        load(
            &experiment.data,
            &experiment.channels,
            &files,
            LoadOptions { part: *experiment.data.part, ..LoadOptions::default() },
            &|_: &Path| {},
        )
    }

    fn reasons(samples: &Samples) -> Vec<String> {
        samples
            .rejected
            .iter()
            .map(|row| format!("{} {}", row.id.unwrap().ls, row.reason))
            .collect()
    }

    #[test]
    fn layers_of_several_files_are_joined_by_run_and_ls() {
        let a: &[Given<'_>] = &[
            ("D/L_10", 7, 2, &[5., 6.]),
            ("D/L_9", 7, 2, &[1., 2., 3.]),
            ("D/L_9", 7, 1, &[7., 8., 9.]),
        ];
        let b: &[Given<'_>] = &[
            ("D/L_10", 7, 1, &[3., 4.]),
            ("D/other", 7, 1, &[9.]),
            ("D/L_9", 8, 1, &[1., 1., 1.]),
        ];
        let samples = load_rows(&[("a.csv", a), ("b.csv", b)], &format!("{DATA}}}")).unwrap();
        assert_eq!(samples.values, [7., 8., 9., 3., 4., 1., 2., 3., 5., 6.]);
        assert_eq!(
            samples
                .layers
                .iter()
                .map(|layer| (layer.name.as_str(), layer.columns.clone()))
                .collect::<Vec<_>>(),
            [("L_9", 0..3), ("L_10", 3..5)]
        );
        assert_eq!(reasons(&samples), ["1 no histogram of L_10"]);
        assert_eq!(samples.feature_names()[2..4], ["L_9/bin_2", "L_10/bin_0"]);
        assert_eq!(samples.sources.iter().map(|source| source.rows).collect::<Vec<_>>(), [3, 2]);
    }

    #[test]
    fn what_is_wrong_with_a_layer_is_told_or_rejected() {
        let other: Given<'_> = ("D/L_2", 7, 1, &[1., 1.]);
        let told = |rows: &[Given<'_>]| {
            let rows: Vec<_> = rows
                .iter()
                .copied()
                .chain([other, ("D/L_2", 7, 2, &[1., 1.]), ("D/L_2", 7, 3, &[1., 1.])])
                .collect();
            let error = load_rows(&[("a.csv", &rows)], &format!("{DATA}}}"))
                .map(|_| ())
                .unwrap_err()
                .to_string();
            let rejected =
                load_rows(&[("a.csv", &rows)], &format!("{DATA}, bad_rows = \"reject\"}}"))
                    .unwrap();
            assert_eq!(
                rejected.rows.iter().map(|row| row.ls).collect::<Vec<_>>(),
                [1, 3],
                "{error}"
            );
            (error, reasons(&rejected))
        };
        let (one, three): (Given<'_>, Given<'_>) =
            (("D/L_1", 7, 1, &[1., 2.]), ("D/L_1", 7, 3, &[1., 2.]));
        let (error, rejected) = told(&[one, ("D/L_1", 7, 2, &[1., 2., 3.]), three]);
        assert!(error.contains("a.csv:3: L_1: 3 bins where most rows have 2 bins"), "{error}");
        assert_eq!(rejected, ["2 L_1: 3 bins where most rows have 2 bins"]);
        let (error, rejected) = told(&[one, ("D/L_1", 7, 2, &[1., f32::NAN]), three]);
        assert!(error.contains("a.csv:3: L_1: bin 1 is nan; expected a finite number"), "{error}");
        assert_eq!(rejected.len(), 1);
        let (error, _) = told(&[one, ("D/L_1", 7, 2, &[-1., 3.]), three]);
        assert!(error.contains("a.csv:3: L_1: bin 0 is -1; counts cannot be negative"), "{error}");
        let twice = load_rows(&[("a.csv", &[one, one, other])], &format!("{DATA}}}"))
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            twice.contains("a.csv:3: duplicate of")
                && twice.contains("run 7 LS 1 is there twice in L_1"),
            "{twice}"
        );
        let twice = load_rows(
            &[("a.csv", &[one, one, other])],
            &format!("{DATA}, bad_rows = \"reject\"}}"),
        )
        .unwrap();
        assert_eq!(
            (twice.rows.len(), reasons(&twice)),
            (1, vec!["1 duplicate of an earlier row of L_1".to_owned()])
        );
    }

    #[test]
    fn layers_that_never_meet_or_are_not_there_are_an_error() {
        let rows: &[Given<'_>] = &[("D/L_1", 7, 1, &[1., 2.]), ("D/L_2", 7, 2, &[1., 1.])];
        let message = load_rows(&[("a.csv", rows)], &format!("{DATA}}}"))
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(
                "no lumisection is in all layers: L_1 has 1 (run 7 LS 1 to run 7 LS 1), L_2 has 1"
            ),
            "{message}"
        );
        let config = "data = {train = [\"*.csv\"], layers = [\"D/L_1\", \"D/M_*\"]}";
        let message = load_rows(&[("a.csv", rows)], config).map(|_| ()).unwrap_err().to_string();
        assert!(
            message.contains(
                "no monitoring element \"D/M_*\" (did you mean \"D/L_1\"?); there are D/L_1, D/L_2"
            ),
            "{message}"
        );
    }

    #[test]
    fn training_rows_in_the_test_set_are_refused_layer_by_layer() {
        let rows: &[Given<'_>] = &[("D/L_1", 7, 1, &[1., 2.]), ("D/L_2", 7, 1, &[1., 1.])];
        let others: &[Given<'_>] = &[("D/L_1", 7, 1, &[1., 3.]), ("D/L_2", 7, 1, &[1., 1.])];
        let config = "data = {train = [\"a.csv\"], test = [\"b.csv\"], layers = [\"D/L_*\"]}";
        let message = load_rows(&[("a.csv", rows), ("b.csv", others)], config)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("training rows inside the test set: 1 lumisections"),
            "{message}"
        );
    }

    proptest! {
        #[test]
        fn joining_is_what_looking_every_row_up_gives(rows in prop::collection::btree_map((0_usize..3, 1_u32..4, 1_u32..5), 0_u32..99, 1..40), files in 1_usize..4) {
            let mut of_file = vec![vec![]; files];
            let elements = ["D/L_1", "D/L_2", "D/L_3"];
            for (at, ((layer, run, ls), value)) in rows.iter().enumerate() {
                of_file[at * 7 % files].push((elements[*layer], *run, *ls, vec![*value as f32; layer + 1]));
            }
            let borrowed: Vec<Vec<Given<'_>>> =
                of_file.iter().map(|rows| rows.iter().map(|(me, run, ls, bins)| (*me, *run, *ls, bins.as_slice())).collect()).collect();
            let names = ["a.csv", "b.csv", "c.csv"];
            let given: Vec<(&str, &[Given<'_>])> =
                names.into_iter().zip(&borrowed).filter(|(_, rows)| !rows.is_empty()).map(|(name, rows)| (name, rows.as_slice())).collect();
            let present: BTreeSet<usize> = rows.keys().map(|(layer, ..)| *layer).collect();
            let mut expected: Vec<((u32, u32), Vec<f32>)> = vec![];
            let mut lacking = 0;
            for id in rows.keys().map(|(_, run, ls)| (*run, *ls)).collect::<BTreeSet<_>>() {
                let found: Vec<Option<&u32>> = present.iter().map(|layer| rows.get(&(*layer, id.0, id.1))).collect();
                if found.iter().any(Option::is_none) {
                    lacking += 1;
                } else {
                    expected.push((id, present.iter().zip(found).flat_map(|(layer, value)| vec![*value.unwrap() as f32; layer + 1]).collect()));
                }
            }
            match load_rows(&given, &format!("{DATA}}}")) {
                Err(error) => prop_assert!(expected.is_empty() && error.to_string().contains("no lumisection is in all layers"), "{}", error),
                Ok(samples) => {
                    let found: Vec<((u32, u32), Vec<f32>)> =
                        (0..samples.rows.len()).map(|i| ((samples.id(i).run.unwrap(), samples.id(i).ls), samples.row(i).to_vec())).collect();
                    prop_assert_eq!(found, expected);
                    prop_assert_eq!(samples.rejected.len(), lacking);
                }
            }
        }

        #[test]
        fn parts_of_files_are_disjoint_and_complete(rows in prop::collection::btree_set((1_u32..9, 1_u32..6), 4..40), of in 1_u32..4) {
            let own: Vec<Given<'_>> = rows.iter().flat_map(|(run, ls)| [("D/L_1", *run, *ls, &[1_f32][..]), ("D/L_2", *run, *ls, &[2_f32][..])]).collect();
            let (first, second) = own.split_at(own.len() / 2);
            let mut all = vec![];
            for number in 1..=of {
                match load_rows(&[("a.csv", first), ("b.csv", second)], &format!("{DATA}, part = \"{number} of {of}\"}}")) {
                    Err(error) => prop_assert!(error.to_string().contains("no run falls into it"), "{}", error),
                    Ok(samples) => {
                        let told = format!("part {number} of {of}: ");
                        prop_assert!(samples.rejected.is_empty() && samples.notes.iter().any(|note| note.starts_with(&told)));
                        all.extend((0..samples.rows.len()).map(|i| (samples.id(i).run.unwrap(), samples.id(i).ls)));
                    }
                }
            }
            prop_assert_eq!(all, rows.into_iter().collect::<Vec<_>>());
        }
    }
}
