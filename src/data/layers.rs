//! Several monitoring elements of one detector, each a layer: which they are, what they are called,
//! and how their rows are joined.
//!
//! A row of the samples is a lumisection, with the bins of one layer after the other. A lumisection
//! that lacks a layer is rejected.

use super::{
    Lumisection, Rejected, Role, Row, Samples, Source,
    bins::Binning,
    channels, describe, index_runs, run_key,
    table::{Column, Shape, Table, place_in},
};
use crate::{
    config::{Experiment, data::BadRows},
    error::{Error, Result, listed, suggestion},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::Range,
};

/// A layer of the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What its channel is called.
    pub name: String,
    /// Its monitoring element.
    pub element: String,
    /// How its bins are laid out.
    pub shape: Shape,
    /// Edges of its axes, where the files say them: x from, x to, y from, y to.
    pub edges: [Option<f64>; 4],
    /// Which of a row's values are its bins.
    pub columns: Range<usize>,
}

/// A layer that is to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// What its channel is called.
    pub name: String,
    /// Its monitoring element.
    pub element: String,
    /// The shape that it must have, where a model was trained on it.
    pub shape: Option<Shape>,
}

/// The rows of one layer in one file.
pub struct Part {
    /// Index into the sources.
    pub source: usize,
    /// Index into the layers.
    pub layer: usize,
    /// What was read.
    pub table: Table,
}

/// Where a row stands: index of the part, and of its table's row.
type Place = (u32, u32);

/// The layers that the patterns of `data.layers` mean among the monitoring elements of all files,
/// in the order of the patterns and, within one, of their names with numbers as numbers.
pub fn choose(experiment: &Experiment, elements: &BTreeSet<&str>) -> Result<Vec<Wanted>> {
    let texts = &experiment.data.layers;
    let mut chosen: Vec<&str> = vec![];
    for (pattern, text) in experiment.data.layer_patterns().iter().zip(texts) {
        let mut own: Vec<&str> = elements
            .iter()
            .copied()
            .filter(|element| element == text || pattern.matches(element))
            .collect();
        if own.is_empty() {
            return Err(Error::input(format!(
                "data.layers: no monitoring element \"{text}\"{}",
                there_are(text, elements)
            )));
        }
        own.sort_by_cached_key(|element| natural(element));
        own.retain(|element| !chosen.contains(element));
        chosen.extend(own);
    }
    let names = names(&chosen)?;
    Ok(names
        .into_iter()
        .zip(chosen)
        .map(|(name, element)| Wanted { name, element: element.to_owned(), shape: None })
        .collect())
}

/// Refuses files that lack a layer of a trained model.
pub fn refuse_missing(layers: &[Wanted], elements: &BTreeSet<&str>) -> Result<()> {
    match layers.iter().find(|layer| !elements.contains(layer.element.as_str())) {
        None => Ok(()),
        Some(Wanted { name, element, .. }) => {
            let there_are = there_are(element, elements);
            Err(Error::input(format!(
                "no monitoring element \"{element}\", the layer {name} of the model{there_are}"
            )))
        }
    }
}

/// The nearest of the elements and all of them. The parts before the last are mostly alike, so that
/// the last is compared as well.
fn there_are(text: &str, elements: &BTreeSet<&str>) -> String {
    if elements.is_empty() {
        return "; the files name no monitoring elements".into();
    }
    let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = last(text).replace(['*', '?'], "");
    let by_last = elements.iter().map(|element| last(element)).collect::<Vec<_>>();
    let whole = suggestion(text, elements.iter().copied());
    let near = if whole.is_empty() {
        suggestion(&wanted, by_last.iter().map(String::as_str))
    } else {
        whole
    };
    format!("{near}; there are {}", listed(elements.iter().copied()))
}

/// A name as texts and the numbers behind them, so that layer 10 comes after layer 9.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = vec![];
    let mut rest = name;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[text..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |digits| text + digits);
        parts.push((rest[..text].to_owned(), rest[text..digits].parse().unwrap_or(u64::MAX)));
        rest = &rest[digits..];
    }
    parts
}

/// What the layers of some elements are called: the last part of their path without the words that
/// all begin with, as long as what is left begins with a letter; where that is ambiguous, the last
/// part, or the whole element.
fn names(elements: &[&str]) -> Result<Vec<String>> {
    let last: Vec<&str> =
        elements.iter().map(|element| element.rsplit('/').next().unwrap_or_default()).collect();
    let Some(first) = last.first() else { return Ok(vec![]) };
    let alike = |other: &&str| first.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let common = last.iter().map(alike).min().unwrap_or_default();
    let begins =
        |cut: &usize| last.iter().all(|name| name[*cut..].starts_with(char::is_alphabetic));
    let cut = (1..=common)
        .rev()
        .filter(|&at| first.as_bytes()[at - 1] == b'_')
        .find(begins)
        .unwrap_or_default();
    let short: Vec<String> = last.iter().map(|name| name[cut..].to_owned()).collect();
    let whole = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for names in [short, whole(&last), whole(elements)] {
        let files: HashSet<String> =
            names.iter().map(|name: &String| name.replace('/', "_")).collect();
        let taken = [channels::ALL_FEATURES, channels::COMBINED, ""];
        if files.len() == names.len() && !names.iter().any(|name| taken.contains(&name.as_str())) {
            return Ok(names);
        }
    }
    Err(Error::input(format!(
        "data.layers: the monitoring elements {} cannot be told apart in file names",
        listed(elements.iter().copied())
    )))
}

/// Puts layers together, row by row, and sorts the rows by (run, LS). The values of a layer are
/// given back once they are copied.
pub fn join(
    sources: Vec<Source>,
    mut parts: Vec<Part>,
    wanted: &[Wanted],
    experiment: &Experiment,
) -> Result<Samples> {
    let mut samples = Samples::default();
    let binnings = parts
        .iter()
        .map(|part| Binning::new(&part.table, experiment))
        .collect::<Result<Vec<_>>>()?;
    let frame = |(at, wanted): (usize, &Wanted)| {
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
        experiment,
    );
    let index_of = index_runs(&mut samples, parts.iter().map(|part| (part.source, &part.table)));

    // Where the row of each layer stands, for each (run, LS, role).
    let mut rows: BTreeMap<(u32, u32, bool), Vec<Option<Place>>> = BTreeMap::new();
    for (at, Part { source, layer, table }) in parts.iter().enumerate() {
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
            if experiment.data.bad_rows == BadRows::Error {
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
    let mut complete: Vec<Vec<Place>> = vec![];
    for ((run, ls, _), places) in rows {
        let Some(&(at, i)) = places.iter().flatten().next() else { continue };
        let Part { source, table, .. } = &parts[at as usize];
        let (source, row) = (*source as u32, table.rows[i as usize]);
        if let Some(lacks) = places.iter().position(Option::is_none) {
            let id = Lumisection { run: row.run, ls };
            // One that is there and cannot be read has been told.
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
        samples.rows.push(Row { source, run, ls, line: row.line, index: row.index });
        complete.push(places.into_iter().flatten().collect());
    }
    if complete.is_empty() {
        return Err(nothing_in_common(&parts, wanted));
    }
    samples.columns = columns(&parts, &complete);

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
    Ok(samples)
}

/// The layers with their shapes, which must be those of all their files and of the model.
fn layers(parts: &[Part], binnings: &[Binning], wanted: &[Wanted]) -> Result<Vec<Layer>> {
    let mut layers: Vec<Layer> = vec![];
    for (at, Wanted { name, element, shape }) in wanted.iter().enumerate() {
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

/// Layers are made of histograms and maps whose rows are all known in the same way.
fn refuse_mixture(parts: &[Part], wanted: &[Wanted], events: bool) -> Result<()> {
    for Part { layer, table, .. } in parts {
        let (path, name) = (table.path.display(), &wanted[*layer].name);
        if table.features.is_some() {
            return Err(Error::input(format!(
                "{path}: holds features; the layers of data.layers are histograms or maps"
            )));
        }
        if !table.rows.is_empty() && table.events != events {
            return Err(Error::input(format!(
                "{path}: the rows of {name} say which lumisection they are, but those of other layers do not"
            )));
        }
    }
    // Rows that are known by their position alone must all be there.
    let rows = |part: &Part| part.table.rows.len() + part.table.faults.len();
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

/// No lumisection is in all layers: what each of them covers.
fn nothing_in_common(parts: &[Part], wanted: &[Wanted]) -> Error {
    let of_layer = |(at, layer): (usize, &Wanted)| {
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
        "; rows that say no run are joined only with those of their own file"
    } else {
        ""
    };
    Error::input(format!(
        "data.layers: no lumisection is in all layers: {}{no_runs}",
        told.join(", ")
    ))
}

/// Further columns, each from the first layer that knows it.
fn columns(parts: &[Part], rows: &[Vec<Place>]) -> BTreeMap<String, Column> {
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

    fn named(elements: &[&str]) -> Vec<String> {
        names(elements).unwrap()
    }

    #[test]
    fn names_are_as_short_as_they_can_be() {
        assert_eq!(
            named(&[
                "P/B/clusterposition_zphi_ontrack_PXLayer_1",
                "P/B/clusterposition_zphi_ontrack_PXLayer_2"
            ]),
            ["PXLayer_1", "PXLayer_2"]
        );
        assert_eq!(named(&["P/B/clusterposition_zphi_ontrack_PXLayer_1"]), ["PXLayer_1"]);
        assert_eq!(
            named(&["DigiTask_Occupancy_depth_depth1", "DigiTask_Occupancy_depth_depth7"]),
            ["depth1", "depth7"]
        );
        assert_eq!(
            named(&["F/position_xy_PXDisk_+1", "F/position_xy_PXDisk_-1"]),
            ["PXDisk_+1", "PXDisk_-1"]
        );
        assert_eq!(
            named(&["P_zphi_PXLayer_1", "P_xy_PXDisk_1"]),
            ["zphi_PXLayer_1", "xy_PXDisk_1"]
        );
        assert_eq!(named(&["occupancy", "occupancy_fine"]), ["occupancy", "occupancy_fine"]);
    }

    #[test]
    fn names_that_are_alike_or_taken_are_longer() {
        assert_eq!(named(&["A/charge_1", "B/charge_1"]), ["A/charge_1", "B/charge_1"]);
        assert_eq!(named(&["D/hits_all", "D/hits_combined"]), ["hits_all", "hits_combined"]);
        assert_eq!(named(&["D/all"]), ["D/all"]);
        assert!(
            names(&["A/b_1", "A_b/1", "A/b/1"])
                .unwrap_err()
                .to_string()
                .contains("cannot be told apart")
        );
    }

    use crate::{
        config::Document,
        data::{Further, load},
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
            &experiment,
            &files,
            Further { part: *experiment.data.part, ..Further::default() },
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

    #[test]
    fn layer_10_comes_after_layer_9() {
        let mut elements = ["L_10", "L_9", "L_+2", "M_1", "L_9_b"];
        elements.sort_by_cached_key(|name| natural(name));
        assert_eq!(elements, ["L_9", "L_9_b", "L_10", "L_+2", "M_1"]);
    }
}
