//! Loads the files of an experiment into [`Samples`]: rows with identities, sorted by (run, LS).
//! Each file is read once.
//!
//! A row is identified by its run and LS, never by its position. Each file without run numbers
//! counts as a separate run.

use super::{
    join::{
        checks::{
            duplicates, refuse_copies, refuse_faults, refuse_missing_element, refuse_overlap,
        },
        layers::{LayerTable, join_layers},
        summarise::summarise,
        tables::join_tables,
    },
    layers::{self, LayerSpec},
    lumi::recognise,
    part,
    paths::{expand, file_name, fingerprint},
    read::{Detail, ReadOptions, dials::lumisection_numbers, read_file},
    samples::{Role, Samples, Source},
    table::Table,
};
use crate::{
    config::{
        Part,
        channels::Channels,
        data::{BadRows, Data, Format},
    },
    error::{Error, Result, listed},
};
use rayon::prelude::*;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// What to load in addition to the data of an experiment.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Further columns; a file that lacks one is refused.
    pub required: Vec<String>,
    /// Further columns; unknown in a file that lacks one.
    pub welcome: Vec<String>,
    /// The features of a trained model, read in this order; other columns are ignored.
    pub features: Option<Vec<String>>,
    /// The layers of a trained model.
    pub layers: Vec<LayerSpec>,
    /// Restricts to this part of the runs.
    pub part: Option<Part>,
}

/// A file and its tables, each with the index of its layer.
type FileTables = (Source, Vec<(usize, Table)>);

/// Reads the files of an experiment in parallel. `files` are paths or globs; `read` is called
/// after each file has been read.
pub fn load(
    data: &Data,
    channels: &Channels,
    files: &[(Role, &[PathBuf])],
    options: LoadOptions,
    read: &(dyn Fn(&Path) + Sync),
) -> Result<Samples> {
    let (paths, skipped) = find_files(files)?;
    let wanted = ReadOptions {
        dials: lumisection_numbers(&data.lumisections)?,
        channels: if options.features.is_none() { channels.clone() } else { Channels::default() },
        // The features of such a model are computed from histograms, not read.
        features: options.features.filter(|_| !data.summary),
        ..ReadOptions::new(data).with_columns(options.required, options.welcome)
    };
    let survey =
        if wanted.layered || options.part.is_some() { survey(&paths, &wanted)? } else { vec![] };
    let layers = match wanted.layered {
        true => choose_layers(data, options.layers, &paths, &survey)?,
        false => vec![],
    };
    let dealt = options.part.map(|part| part::deal(part, &paths, &survey)).transpose()?;
    let is_taken =
        |at: usize| dealt.as_ref().is_none_or(|dealt| dealt.has(at, paths[at].0, &survey[at]));
    // The parts to read of each file: each of its layers, or everything.
    let reads: Vec<_> = (0..paths.len())
        .filter(|at| is_taken(*at))
        .map(|at| {
            let wanted = ReadOptions {
                runs: dealt.as_ref().map(|dealt| dealt.runs(paths[at].0)),
                ..wanted.clone()
            };
            (
                &paths[at],
                if wanted.layered {
                    of_layers(&wanted, &layers, &survey[at])
                } else {
                    vec![(0, wanted)]
                },
            )
        })
        .collect();
    let without_layers: Vec<String> = reads
        .iter()
        .filter(|(_, wanted)| wanted.is_empty())
        .map(|((_, path), _)| format!("{} has none of the layers", path.display()))
        .collect();
    let files = reads
        .par_iter()
        .map(|((role, path), wanted)| read_tables(*role, path, wanted, &survey, data.format, read))
        .collect::<Result<Vec<_>>>()?;
    refuse_copies(&files)?;
    if data.bad_rows == BadRows::Error && !wanted.layered {
        files
            .iter()
            .flat_map(|(_, tables)| tables)
            .try_for_each(|(_, table)| refuse_faults(table))?;
    }
    let mut samples = if wanted.layered {
        join_files_of_layers(files, &layers, data)?
    } else {
        join_files(files, !wanted.channels.is_empty(), data)?
    };
    samples.notes.extend(dealt.map(|dealt| dealt.note));
    samples.notes.extend(without_layers);
    if data.summary && !samples.rows.is_empty() {
        summarise(&mut samples)?;
    }
    samples.notes.extend(skipped);
    refuse_overlap(&samples)?;
    duplicates(&mut samples, data)?;
    if samples.rows.is_empty() {
        let names: Vec<String> =
            samples.sources.iter().map(|source| source.path.display().to_string()).collect();
        return Err(Error::input(format!("no rows in {}", names.join(", "))));
    }
    Ok(samples)
}

/// Files with their roles.
type RoleFiles = Vec<(Role, PathBuf)>;

/// The files that match patterns, and notes on the excluded ones.
fn find_files(files: &[(Role, &[PathBuf])]) -> Result<(RoleFiles, Vec<String>)> {
    let (mut paths, mut skipped) = (vec![], vec![]);
    for (role, patterns) in files {
        for path in expand(patterns)? {
            let from_folder = !patterns.contains(&path);
            if from_folder && let Some(what) = no_data(&path) {
                skipped.push(format!("{} is left out: {what}", path.display()));
            } else {
                paths.push((*role, path));
            }
        }
    }
    Ok((paths, skipped))
}

/// The options to read each layer in a file.
fn of_layers(
    wanted: &ReadOptions,
    layers: &[LayerSpec],
    survey: &Table,
) -> Vec<(usize, ReadOptions)> {
    layers
        .iter()
        .enumerate()
        .filter(|(_, layer)| survey.elements.contains_key(&layer.element))
        .map(|(at, layer)| (at, ReadOptions { me: Some(layer.element.clone()), ..wanted.clone() }))
        .collect()
}

/// Reads the tables and the fingerprint of one file. Fails if the file changes meanwhile.
fn read_tables(
    role: Role,
    path: &Path,
    wanted: &[(usize, ReadOptions)],
    survey: &[Table],
    format: Format,
    read: &(dyn Fn(&Path) + Sync),
) -> Result<FileTables> {
    let before = stamp(path);
    let read_all = || {
        wanted
            .par_iter()
            .map(|(layer, wanted)| Ok((*layer, read_file(path, wanted)?)))
            .collect::<Result<Vec<_>>>()
    };
    let (tables, fingerprint) = rayon::join(read_all, || fingerprint(path));
    read(path);
    if stamp(path) != before {
        return Err(Error::failed(format!(
            "{} changed while it was read; start again when it is complete",
            path.display()
        )));
    }
    let (tables, (bytes, sha256)) = (tables?, fingerprint?);
    let known = tables
        .first()
        .map(|(_, table)| table)
        .or_else(|| survey.iter().find(|table| table.path == *path));
    let format = known.map_or(format, |table| table.format);
    let rows = tables.iter().map(|(_, table)| table.rows.len()).sum();
    let source =
        Source { name: String::new(), path: path.into(), role, format, bytes, sha256, rows };
    Ok((source, tables))
}

/// Joins files of layers. The reason for an unreadable row names its layer.
fn join_files_of_layers(
    files: Vec<FileTables>,
    layers: &[LayerSpec],
    data: &Data,
) -> Result<Samples> {
    let (mut sources, mut parts) = (vec![], vec![]);
    for (source, (file, tables)) in files.into_iter().enumerate() {
        sources.push(file);
        for (layer, mut table) in tables {
            table.faults.iter_mut().for_each(|fault| {
                fault.reason = format!("{}: {}", layers[layer].name, fault.reason)
            });
            if data.bad_rows == BadRows::Error {
                refuse_faults(&table)?;
            }
            parts.push(LayerTable { source, layer, table });
        }
    }
    join_layers(sources, parts, layers, data)
}

/// Joins files of one monitoring element or of features. `has_channels` requires named features.
fn join_files(files: Vec<FileTables>, has_channels: bool, data: &Data) -> Result<Samples> {
    let tables: Vec<(Source, Table)> = files
        .into_iter()
        .flat_map(|(source, tables)| {
            tables.into_iter().map(move |(_, table)| (source.clone(), table))
        })
        .collect();
    refuse_missing_element(&tables, data.me.as_deref())?;
    if let Some((source, _)) =
        tables.iter().find(|(_, table)| has_channels && table.hierarchy.is_none())
    {
        return Err(Error::input(format!(
            "[channels]: {} has no named features, which channels need",
            source.path.display()
        )));
    }
    join_tables(tables, data)
}

/// The rows and monitoring elements of each file, without their values.
fn survey(paths: &[(Role, PathBuf)], wanted: &ReadOptions) -> Result<Vec<Table>> {
    let wanted = ReadOptions {
        detail: Detail::Identities,
        required: vec![],
        welcome: vec![],
        features: None,
        channels: Channels::default(),
        ..wanted.clone()
    };
    paths.par_iter().map(|(_, path)| read_file(path, &wanted)).collect()
}

/// The layers to read: those of a trained model, or those that match the config's patterns.
fn choose_layers(
    data: &Data,
    trained: Vec<LayerSpec>,
    paths: &[(Role, PathBuf)],
    survey: &[Table],
) -> Result<Vec<LayerSpec>> {
    let elements: BTreeSet<&str> =
        survey.iter().flat_map(|table| table.elements.keys().map(String::as_str)).collect();
    let chosen = if trained.is_empty() {
        layers::choose(data, &elements)
    } else {
        layers::refuse_missing(&trained, &elements).map(|()| trained)
    };
    let files: Vec<String> = paths.iter().map(|(_, path)| path.display().to_string()).collect();
    chosen.map_err(|error| {
        error.map(|message| format!("{}: {message}", listed(files.iter().map(String::as_str))))
    })
}

/// Length and modification time of a file, which change when it is written to.
fn stamp(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let known = std::fs::metadata(path).ok()?;
    Some((known.len(), known.modified().ok()?))
}

/// The kind of a file from a folder or pattern whose name shows that it has no data.
fn no_data(path: &Path) -> Option<&'static str> {
    let name = file_name(path).to_lowercase();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending {
        "md" | "rst" | "pdf" | "html" | "tex" => Some("a document"),
        "py" | "ipynb" | "sh" | "toml" | "yaml" | "yml" | "log" | "rs" => {
            Some("a program or its settings")
        }
        "png" | "jpg" | "jpeg" | "svg" | "gif" => Some("a picture"),
        "root" => Some("a ROOT file"),
        "" if matches!(name.as_str(), "license" | "readme" | "makefile") => Some("a document"),
        "json" if matches!(recognise(path), Ok(Some(_))) => Some("JSON without histograms"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Document;
    use crate::config::Experiment;
    use crate::data::{histogram_quantiles, lumisections::Lumisection, shape::Shape};

    fn experiment(text: &str, folder: &Path) -> Experiment {
        Experiment::check(&Document::parse(text, &folder.join("x.toml")).unwrap(), "x").unwrap()
    }

    fn load_texts(files: &[(&str, &str)], config: &str) -> Result<Samples> {
        let folder = tempfile::tempdir().unwrap();
        files
            .iter()
            .for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
        let experiment = experiment(config, folder.path());
        load(
            &experiment.data,
            &experiment.channels,
            &[(Role::Train, &experiment.data.train), (Role::Test, &experiment.data.test)],
            LoadOptions::default(),
            &|_| {},
        )
    }

    #[test]
    fn rows_are_sorted_by_run_and_ls_as_numbers() {
        let text =
            "fromrun,fromlumi,histo\n300000,10,\"[1]\"\n300000,9,\"[2]\"\n299999,100,\"[3]\"\n";
        let samples = load_texts(&[("a.csv", text)], "data.train = [\"a.csv\"]").unwrap();
        assert_eq!(samples.values, [3.0, 2.0, 1.0]);
        assert_eq!(samples.run_ranges(), [0..1, 1..3]);
        assert_eq!(samples.id(1), Lumisection { run: Some(300000), ls: 9 });
    }

    #[test]
    fn duplicates_are_an_error_or_rejected() {
        let text = "ls;histo\n1;[1]\n1;[2]\n2;[3]\n";
        let message =
            load_texts(&[("a.csv", text)], "data.train = [\"a.csv\"]").unwrap_err().to_string();
        assert!(
            message.contains("a.csv:3: duplicate of") && message.contains("LS 1 is there twice"),
            "{message}"
        );
        let samples =
            load_texts(&[("a.csv", text)], "data = {train = [\"a.csv\"], bad_rows = \"reject\"}")
                .unwrap();
        assert_eq!((samples.values, samples.rejected.len()), (vec![1.0, 3.0], 1));
        let samples =
            load_texts(&[("a.csv", text)], "data = {train = [\"a.csv\"], keep_duplicates = true}")
                .unwrap();
        assert!(
            samples.values == [1.0, 2.0, 3.0]
                && samples.notes[0].contains("1 rows repeat the lumisection"),
            "{:?}",
            samples.notes
        );
    }

    #[test]
    fn training_rows_in_the_test_set_are_refused() {
        let text = "ls;histo\n1;[100,3]\n2;[300,4]\n";
        let config = "data = {train = [\"a.csv\"], test = [\"b.csv\"]}";
        let message =
            load_texts(&[("a.csv", text), ("b.csv", text)], config).unwrap_err().to_string();
        assert!(
            message.starts_with("training rows inside the test set: 2 lumisections"),
            "{message}"
        );
        assert!(
            load_texts(&[("a.csv", text), ("b.csv", "ls;histo\n1;[100,4]\n2;[300,5]\n")], config)
                .is_ok()
        );
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "ls;histo\n1;[100,3]\n2;[100,4]\n").unwrap();
        let experiment = experiment("data.train = [\"a.csv\"]", folder.path());
        let load = |read: &(dyn Fn(&Path) + Sync)| {
            load(
                &experiment.data,
                &experiment.channels,
                &[(Role::Train, &experiment.data.train)],
                LoadOptions::default(),
                read,
            )
        };
        assert!(load(&|_| {}).is_ok());
        let cut = |path: &Path| {
            std::fs::File::options().write(true).open(path).unwrap().set_len(20).unwrap()
        };
        let error = load(&cut).unwrap_err();
        assert!(
            error.to_string().contains("a.csv changed while it was read") && error.exit_code() == 1,
            "{error}"
        );
    }

    #[test]
    fn a_file_counts_once() {
        let text = "ls;histo\n1;[100,3]\n";
        let message = load_texts(&[("a.csv", text), ("b.csv", text)], "data.train = [\"*.csv\"]")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("a.csv and ") && message.contains("b.csv hold the same bytes"),
            "{message}"
        );
    }

    #[test]
    fn flow_bins_are_stripped_where_asked() {
        let text = "fromrun,fromlumi,histo,Xbins\n1,1,\"[9,1,2,8]\",2\n";
        let samples =
            load_texts(&[("a.csv", text)], "data = {train = [\"a.csv\"], flow_bins = \"strip\"}")
                .unwrap();
        assert_eq!(
            (samples.values, samples.shape, samples.flow_bins),
            (vec![1.0, 2.0], Shape::line(2), false)
        );
    }

    #[test]
    fn a_file_that_does_not_say_it_has_flow_bins_does_not_go_with_one_that_was_stripped() {
        let said = "fromrun,fromlumi,histo,Xbins\n1,1,\"[9,1,2,8]\",2\n";
        let unsaid = "fromrun,fromlumi,histo\n2,1,\"[9,1,2,8]\"\n";
        let message = load_texts(
            &[("a.csv", said), ("b.csv", unsaid)],
            "data = {train = [\"*.csv\"], flow_bins = \"strip\"}",
        )
        .unwrap_err()
        .to_string();
        assert!(
            message.contains("b.csv: 4 bins, but") && message.contains("a.csv has 2"),
            "{message}"
        );
    }

    /// Rows of four entries in the second of four bins, followed by these columns.
    fn histograms(header: &str, run: u32, axes: &[&str]) -> String {
        let rows =
            axes.iter().enumerate().map(|(i, axis)| format!("{run},{i},\"[0, 4, 0, 0]\"{axis}\n"));
        format!("fromrun,fromlumi,histo{header}\n{}", rows.collect::<String>())
    }

    const SUMMARY: &str = "data = {train = [\"a.csv\"], summary = true}";

    #[test]
    fn seven_numbers_are_in_units_of_the_axis_of_their_row() {
        let text = histograms(",Xmin,Xmax", 1, &[",0,4", ",0,8", ",-1,1"]);
        let samples = load_texts(&[("a.csv", &text)], SUMMARY).unwrap();
        let medians: Vec<f32> = samples.values.chunks(7).map(|numbers| numbers[2]).collect();
        assert_eq!(
            (medians, samples.summarised),
            (vec![1.5, 3.0, -0.25], Some(histogram_quantiles::Unit::Axis))
        );
        assert!(samples.notes.is_empty(), "{:?}", samples.notes);
        // Test files have their own.
        let (a, b) =
            (histograms(",Xmin,Xmax", 1, &[",0,4"]), histograms(",Xmin,Xmax", 2, &[",0,40"]));
        let config = "data = {train = [\"a.csv\"], test = [\"b.csv\"], summary = true}";
        let samples = load_texts(&[("a.csv", &a), ("b.csv", &b)], config).unwrap();
        assert_eq!((samples.values[2], samples.values[9]), (1.5, 15.0));
        let message = load_texts(&[("a.csv", &a), ("b.csv", &histograms("", 2, &[""]))], config)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("b.csv does not say the axis of its histograms")
                && message.contains("a.csv says"),
            "{message}"
        );
    }

    #[test]
    fn an_axis_without_length_or_end_is_a_row_that_cannot_be_read() {
        for (axis, part) in [
            (",1,1", "from 1 to 1;"),
            (",2,1", "from 2 to 1;"),
            (",-inf,inf", "from -inf to inf;"),
            (",,1", "edge of the axis is missing"),
            (",nan,1", "edge of the axis is missing"),
        ] {
            let text = histograms(",Xmin,Xmax", 1, &[",0,4", axis, ",0,4"]);
            let message = load_texts(&[("a.csv", &text)], SUMMARY).unwrap_err().to_string();
            assert!(message.contains("a.csv:3: ") && message.contains(part), "{message}");
            let samples = load_texts(
                &[("a.csv", &text)],
                "data = {train = [\"a.csv\"], summary = true, bad_rows = \"reject\"}",
            )
            .unwrap();
            assert_eq!((samples.rows.len(), samples.rejected.len()), (2, 1));
            assert!(
                load_texts(&[("a.csv", &text)], "data.train = [\"a.csv\"]").is_ok(),
                "without data.summary the axis does not count"
            );
        }
    }

    #[test]
    fn numbers_in_bins_are_told() {
        let samples = load_texts(&[("a.csv", &histograms("", 1, &["", ""]))], SUMMARY).unwrap();
        assert_eq!(
            (samples.values[2], samples.summarised),
            (1.5, Some(histogram_quantiles::Unit::Bins))
        );
        assert!(samples.notes[0].contains("in bins from 0"), "{:?}", samples.notes);
        let rebinned = |rebin: u32| {
            let config = format!("data = {{train = [\"a.csv\"], summary = true, rebin = {rebin}}}");
            load_texts(&[("a.csv", &histograms(",Xmin,Xmax", 1, &[",0,4"]))], &config)
        };
        assert_eq!(rebinned(2).unwrap().values[2], 1.0);
        assert!(
            rebinned(3)
                .unwrap_err()
                .to_string()
                .contains("a number that divides the number of bins")
        );
    }

    #[test]
    fn bins_of_different_axes_are_told() {
        let text = histograms(",Xmin,Xmax", 1, &[",0,4", ",0,8"]);
        let samples = load_texts(&[("a.csv", &text)], "data.train = [\"a.csv\"]").unwrap();
        assert!(
            samples.notes[0].contains("(0 to 4 and 0 to 8)") && samples.edges == [None; 4],
            "{:?}",
            samples.notes
        );
        let (a, b) =
            (histograms(",Xmin,Xmax", 1, &[",0,4"]), histograms(",Xmin,Xmax", 2, &[",0,8"]));
        let samples = load_texts(
            &[("a.csv", &a), ("b.csv", &b)],
            "data = {train = [\"a.csv\"], test = [\"b.csv\"]}",
        )
        .unwrap();
        assert!(
            samples.notes[0].contains("from 0 to 4 in")
                && samples.notes[0].contains("from 0 to 8 in"),
            "{:?}",
            samples.notes
        );
    }

    #[test]
    fn files_of_different_width_do_not_go_together() {
        let message = load_texts(
            &[("a.csv", "ls;histo\n1;[1,2]\n"), ("b.csv", "ls;histo\n1;[1,2,3]\n")],
            "data.train = [\"*.csv\"]",
        )
        .unwrap_err()
        .to_string();
        assert!(
            message.contains("b.csv: 3 bins, but") && message.contains("a.csv has 2"),
            "{message}"
        );
    }
}
