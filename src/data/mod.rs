//! From files to [`Samples`]: rows with identities, in the order of (run, LS), each file read once.
//!
//! A row is known by its run and LS, never by its position. Files that carry no run number stand
//! for a run each.

pub mod areas;
mod bins;
pub mod cells;
pub mod channels;
pub mod histogram_quantiles;
pub mod json;
pub mod layers;
pub mod lumi;
pub mod lumisections;
mod part;
pub mod read;
mod samples;
pub mod side_table;
pub mod table;

use crate::{
    config::{
        Experiment, Part,
        channels::Channels,
        data::{BadRows, Data as Config, FlowBins},
    },
    error::{Error, Result, listed, suggestion},
};
use bins::Binning;
use lumisections::Lumisection;
use rayon::prelude::*;
use read::{builder, dials, layout, npy};
pub use samples::{Rejected, Role, Row, Run, Samples, Source};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};
use table::{Column, Shape, Table, Wanted};

/// Columns to bring beside the usual ones.
#[derive(Clone, Debug, Default)]
pub struct Further {
    /// A file without one of them is refused.
    pub required: Vec<String>,
    /// A file without one of them has unknowns there.
    pub welcome: Vec<String>,
    /// The features of a trained model: taken in this order, whatever else a file has.
    pub features: Option<Vec<String>>,
    /// The layers of a trained model.
    pub layers: Vec<layers::Wanted>,
    /// Only this part of the runs.
    pub part: Option<Part>,
}

/// Reads the files of an experiment, side by side. `files` are paths or globs; `read` is told of
/// each file that has been read.
pub fn load(
    experiment: &Experiment,
    files: &[(Role, &[PathBuf])],
    further: Further,
    read: &(dyn Fn(&Path) + Sync),
) -> Result<Samples> {
    let mut paths: Vec<(Role, PathBuf)> = vec![];
    let mut skipped = vec![];
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
    let data = &experiment.data;
    let wanted = Wanted {
        dials: read_dials_lumisections(&experiment.data.lumisections)?,
        channels: if further.features.is_none() {
            experiment.channels.clone()
        } else {
            Channels::default()
        },
        // Those of a trained model are made of histograms, not read.
        features: further.features.filter(|_| !data.summary),
        ..Wanted::new(data).with_columns(further.required, further.welcome)
    };
    let survey =
        if wanted.layered || further.part.is_some() { survey(&paths, &wanted)? } else { vec![] };
    let layers = match wanted.layered {
        true => choose_layers(experiment, further.layers, &paths, &survey)?,
        false => vec![],
    };
    let dealt = further.part.map(|part| part::deal(part, &paths, &survey)).transpose()?;
    let is_taken =
        |at: usize| dealt.as_ref().is_none_or(|dealt| dealt.has(at, paths[at].0, &survey[at]));
    // What to read of each file: each of its layers, or all there is.
    let reads: Vec<_> = (0..paths.len())
        .filter(|at| is_taken(*at))
        .map(|at| {
            let wanted = Wanted {
                runs: dealt.as_ref().map(|dealt| dealt.runs(paths[at].0)),
                ..wanted.clone()
            };
            let of_layer = |layer: usize| {
                (layer, Wanted { me: Some(layers[layer].element.clone()), ..wanted.clone() })
            };
            let has = |layer: &usize| survey[at].elements.contains_key(&layers[*layer].element);
            (
                &paths[at],
                if wanted.layered {
                    (0..layers.len()).filter(has).map(of_layer).collect()
                } else {
                    vec![(0, wanted)]
                },
            )
        })
        .collect();
    let without_layers: Vec<String> = reads
        .iter()
        .filter(|(_, wanted)| wanted.is_empty())
        .map(|((_, path), _)| format!("{} holds none of the layers", path.display()))
        .collect();
    let files = reads
        .par_iter()
        .map(|((role, path), wanted)| {
            let before = stamp(path);
            let read_all = || {
                wanted
                    .par_iter()
                    .map(|(layer, wanted)| Ok((*layer, table::read(path, wanted)?)))
                    .collect::<Result<Vec<_>>>()
            };
            let (tables, fingerprint) = rayon::join(read_all, || table::fingerprint(path));
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
            let format = known.map_or(data.format, |table| table.format);
            let rows = tables.iter().map(|(_, table)| table.rows.len()).sum();
            Ok((
                Source {
                    name: String::new(),
                    path: path.clone(),
                    role: *role,
                    format,
                    bytes,
                    sha256,
                    rows,
                },
                tables,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    refuse_copies(&files)?;
    if data.bad_rows == BadRows::Error && !wanted.layered {
        files
            .iter()
            .flat_map(|(_, tables)| tables)
            .try_for_each(|(_, table)| refuse_faults(table))?;
    }
    let mut samples = if wanted.layered {
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
                parts.push(layers::Part { source, layer, table });
            }
        }
        layers::join(sources, parts, &layers, experiment)?
    } else {
        let tables: Vec<(Source, Table)> = files
            .into_iter()
            .flat_map(|(source, tables)| {
                tables.into_iter().map(move |(_, table)| (source.clone(), table))
            })
            .collect();
        refuse_missing_element(&tables, data.me.as_deref())?;
        if let Some((source, _)) = tables
            .iter()
            .find(|(_, table)| !wanted.channels.is_empty() && table.hierarchy.is_none())
        {
            return Err(Error::input(format!(
                "[channels]: {} holds no named features; channels are made of those",
                source.path.display()
            )));
        }
        join(tables, experiment)?
    };
    samples.notes.extend(dealt.map(|dealt| dealt.note));
    samples.notes.extend(without_layers);
    if data.summary && !samples.rows.is_empty() {
        histogram_quantiles::summarise(&mut samples)?;
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

/// The rows and monitoring elements of each file, without their values.
fn survey(paths: &[(Role, PathBuf)], wanted: &Wanted) -> Result<Vec<Table>> {
    let wanted = Wanted {
        bring: table::Bring::Identities,
        required: vec![],
        welcome: vec![],
        features: None,
        channels: Channels::default(),
        ..wanted.clone()
    };
    paths.par_iter().map(|(_, path)| table::read(path, &wanted)).collect()
}

/// The layers to read: those of a trained model, or those that the config's patterns mean.
fn choose_layers(
    experiment: &Experiment,
    trained: Vec<layers::Wanted>,
    paths: &[(Role, PathBuf)],
    survey: &[Table],
) -> Result<Vec<layers::Wanted>> {
    let elements: BTreeSet<&str> =
        survey.iter().flat_map(|table| table.elements.keys().map(String::as_str)).collect();
    let chosen = if trained.is_empty() {
        layers::choose(experiment, &elements)
    } else {
        layers::refuse_missing(&trained, &elements).map(|()| trained)
    };
    let files: Vec<String> = paths.iter().map(|(_, path)| path.display().to_string()).collect();
    chosen.map_err(|error| {
        error.map(|message| format!("{}: {message}", listed(files.iter().map(String::as_str))))
    })
}

/// What changes when a file is written to: its length and when that was.
fn stamp(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let known = std::fs::metadata(path).ok()?;
    Some((known.len(), known.modified().ok()?))
}

/// Paths as they are, globs as the files they match, folders as the files in them, in the order of
/// their names.
pub fn expand(patterns: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut paths = vec![];
    for pattern in patterns {
        let text = pattern.to_string_lossy();
        if pattern.is_dir() {
            paths.extend(files_in(pattern)?);
            continue;
        }
        if pattern.exists() || !text.contains(['*', '?', '[']) {
            paths.push(pattern.clone());
            continue;
        }
        // As in a shell: hidden files are meant by their dot only.
        let visible =
            glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
        let matches = glob::glob_with(&text, visible)
            .map_err(|error| Error::input(format!("{text}: not a valid pattern: {error}")))?;
        let before = paths.len();
        for path in matches {
            let path = path.map_err(|error| Error::reading(error.path(), error.error()))?;
            if !path.is_dir() {
                paths.push(path);
            }
        }
        if paths.len() == before {
            return Err(Error::input(format!("{text}: no file matches")));
        }
    }
    Ok(paths)
}

/// What DIALS calls lumisections by, from its pages of lumisections: number in DIALS to (run, LS).
pub fn read_dials_lumisections(patterns: &[PathBuf]) -> Result<Arc<BTreeMap<u64, (u32, u32)>>> {
    let mut numbers = BTreeMap::new();
    expand(patterns)?.iter().try_for_each(|path| dials::read_lumisections(path, &mut numbers))?;
    Ok(Arc::new(numbers))
}

/// The one column of a .npy file.
pub fn read_column(path: &Path) -> Result<Column> {
    use read::arrays::Arrays;
    crate::files::regular(path)?;
    crate::guard::decode(path, || {
        let wrong = |reason: String| Error::input(format!("{}: {reason}", path.display()));
        let file = npy::Npy::open(path).map_err(wrong)?;
        let info = &file.list()[0];
        match (info.shape.len(), info.kind) {
            (1, layout::Kind::Number | layout::Kind::Flag) => {
                Ok(Column::Numbers(file.doubles(0).map_err(wrong)?))
            }
            (1, layout::Kind::Text) => Ok(Column::Texts(file.texts(0).map_err(wrong)?)),
            _ => Err(wrong(format!(
                "holds {} of {}; expected one number a row",
                info.show_shape(),
                info.type_name
            ))),
        }
    })
}

/// The files of a folder and of the partitions in it (folders such as `run=297050`); hidden files
/// and other folders apart.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut paths, mut folders) = (vec![], vec![]);
    look_into(folder, &mut paths, &mut folders)?;
    if paths.is_empty()
        && let Some(inner) = folders.first()
    {
        let inner = inner.display();
        return Err(Error::input(format!(
            "{}: holds no files, only folders; name them, as in \"{inner}\" or \"{inner}/*.parquet\"",
            folder.display()
        )));
    }
    if paths.is_empty() {
        Err(Error::input(format!("{}: holds no files", folder.display())))
    } else {
        Ok(paths)
    }
}

fn look_into(folder: &Path, paths: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries = vec![];
    for entry in std::fs::read_dir(folder).map_err(|error| Error::reading(folder, &error))? {
        entries.push(entry.map_err(|error| Error::reading(folder, &error))?.path());
    }
    entries.sort();
    for path in entries.into_iter().filter(|path| !file_name(path).starts_with(['.', '_'])) {
        if path.is_file() {
            paths.push(path);
        } else if path.is_dir()
            && builder::partition(&file_name(&path)).is_some()
            && !path.is_symlink()
        {
            look_into(&path, paths, folders)?;
        } else if path.is_dir() {
            folders.push(path);
        }
    }
    Ok(())
}

/// What a file of a folder or pattern is, where its name says that it holds no data.
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
        "json" if matches!(lumi::recognise(path), Ok(Some(_))) => Some("JSON without histograms"),
        _ => None,
    }
}

/// The monitoring element must be in some file; a file without it has no rows.
fn refuse_missing_element(tables: &[(Source, Table)], me: Option<&str>) -> Result<()> {
    let Some(me) =
        me.filter(|me| !tables.iter().any(|(_, table)| table.elements.contains_key(*me)))
    else {
        return Ok(());
    };
    let mut names: Vec<&str> =
        tables.iter().flat_map(|(_, table)| table.elements.keys().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    let files: Vec<String> =
        tables.iter().map(|(source, _)| source.path.display().to_string()).collect();
    let found = if names.is_empty() {
        "; the files name no monitoring elements".into()
    } else {
        format!("; there are {}", listed(names.iter().copied()))
    };
    Err(Error::input(format!(
        "{}: no monitoring element \"{me}\"{}{found}",
        files.join(", "),
        suggestion(me, names.iter().copied())
    )))
}

fn refuse_faults(table: &Table) -> Result<()> {
    let Some(first) = table.faults.first() else { return Ok(()) };
    let more = match table.faults.len() - 1 {
        0 => String::new(),
        1 => "; one more row cannot be read".into(),
        n => format!("; {n} more rows cannot be read"),
    };
    let place = table::place_in(&table.path, first.line, first.index);
    Err(Error::input(format!(
        "{place}: {}{more} (data.bad_rows = \"reject\" goes on without such rows)",
        first.reason
    )))
}

/// Takes over what tables say beside their rows, each with the index of its file: notes, and rows
/// that cannot be read.
fn describe<'t>(
    samples: &mut Samples,
    mut sources: Vec<Source>,
    tables: impl Iterator<Item = (usize, &'t mut Table)>,
    experiment: &Experiment,
) {
    let names: Vec<String> = sources.iter().map(|source| file_name(&source.path)).collect();
    for (source, name) in sources.iter_mut().zip(&names) {
        let unique = names.iter().filter(|other| *other == name).count() == 1;
        source.name = if unique { name.clone() } else { source.path.display().to_string() };
    }
    let mut strips = false;
    let mut notes: Vec<String> = vec![];
    for (source, table) in tables {
        strips |= table.flow_bins;
        for note in table.notes.drain(..).map(|note| format!("{}: {note}", sources[source].name)) {
            // Layers of one file say the same.
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        samples
            .rejected
            .extend(table.faults.drain(..).map(|fault| Rejected::unreadable(source as u32, fault)));
    }
    if experiment.data.flow_bins == FlowBins::Strip && !strips {
        samples.notes.push("data.flow_bins = \"strip\": no file says that it has underflow and overflow bins, so none are left out".into());
    }
    samples.notes.extend(notes);
    samples.sources = sources;
}

/// Sets the runs of tables, each with the index of its file, in order; returns their positions.
fn index_runs<'t>(
    samples: &mut Samples,
    tables: impl Iterator<Item = (usize, &'t Table)>,
) -> HashMap<(Option<u32>, u32), u32> {
    let runs: HashSet<(Option<u32>, u32)> = tables
        .flat_map(|(source, table)| table.rows.iter().map(move |row| run_key(row.run, source)))
        .collect();
    let mut runs: Vec<(Option<u32>, u32)> = runs.into_iter().collect();
    runs.sort_unstable_by_key(|(number, source)| (number.is_none(), *number, *source));
    let name = |(number, source): &(Option<u32>, u32)| {
        number.map_or_else(
            || samples.sources[*source as usize].name.clone(),
            |number| number.to_string(),
        )
    };
    samples.runs = runs.iter().map(|key| Run { number: key.0, name: name(key) }).collect();
    runs.into_iter().enumerate().map(|(i, key)| (key, i as u32)).collect()
}

/// Puts tables together and sorts the rows by (run, LS). Each value is copied at most once, and the
/// rows of one file are sorted in their place.
fn join(mut tables: Vec<(Source, Table)>, experiment: &Experiment) -> Result<Samples> {
    let mut samples = Samples::default();
    let filled: Vec<&Table> =
        tables.iter().map(|(_, table)| table).filter(|table| !table.rows.is_empty()).collect();
    if let Some((first, others)) = filled.split_first() {
        let binning = Binning::new(first, experiment)?;
        samples.shape = binning.shape();
        samples.frames = vec![binning.frame(channels::ALL_FEATURES)];
        others.iter().try_for_each(|other| {
            same_kind(first, other, samples.shape, Binning::new(other, experiment)?.shape())
        })?;
        samples.flow_bins = first.flow_bins && binning.keeps_flow_bins();
        samples.edges = if binning.keeps_axes() { first.edges } else { [None; 4] };
        if experiment.data.summary && samples.shape.y == 1 && !binning.keeps_axes() {
            let reason = "leaves bins of different widths, or adds underflow and overflow to them";
            let expected =
                "data.flow_bins = \"strip\" and a number that divides the number of bins";
            return Err(Error::input(format!(
                "data.rebin: with data.summary, it {reason} in {}; expected {expected}",
                first.path.display()
            )));
        }
        same_axes(&mut samples, first, others, experiment.data.summary)?;
        samples.features = first.features.clone();
        samples.hierarchy = first.hierarchy.clone();
        samples.events = first.events;
        samples.element = element(first, experiment);
    }
    let sources = tables.iter().map(|(source, _)| source.clone()).collect();
    describe(
        &mut samples,
        sources,
        tables.iter_mut().map(|(_, table)| table).enumerate(),
        experiment,
    );
    let index_of = index_runs(&mut samples, tables.iter().map(|(_, table)| table).enumerate());

    // (run, LS, file, position in the file's table)
    let mut order: Vec<(u32, u32, u32, u32)> = vec![];
    for (index, (_, table)) in tables.iter().enumerate() {
        order.extend(table.rows.iter().enumerate().map(|(at, row)| {
            (index_of[&run_key(row.run, index)], row.ls, index as u32, at as u32)
        }));
    }
    let in_order = order.is_sorted();
    order.sort_unstable();
    let columns: BTreeSet<String> =
        tables.iter().flat_map(|(_, table)| table.columns.keys().cloned()).collect();
    for name in columns {
        let mut column = Column::Numbers(vec![]);
        let unknown = Column::unknown(1);
        for &(_, _, file, at) in &order {
            match tables[file as usize].1.columns.get(&name) {
                Some(from) => column.push(from, at as usize),
                None => column.push(&unknown, 0),
            }
        }
        samples.columns.insert(name, column);
    }
    if tables.iter().any(|(_, table)| !table.axes.is_empty()) {
        samples.axes = order
            .iter()
            .map(|&(_, _, file, at)| tables[file as usize].1.axes[at as usize])
            .collect();
    }
    samples.rows = order
        .iter()
        .map(|&(run, ls, source, at)| {
            let row = tables[source as usize].1.rows[at as usize];
            Row { source, run, ls, line: row.line, index: row.index }
        })
        .collect();
    let binnings = tables
        .iter()
        .map(|(_, table)| Binning::new(table, experiment))
        .collect::<Result<Vec<_>>>()?;
    if tables.len() == 1 && binnings[0].is_identity() {
        samples.values = std::mem::take(&mut tables[0].1.values);
        if !in_order {
            reorder(
                &mut samples.values,
                samples.shape.width(),
                order.iter().map(|&(_, _, _, at)| at as usize).collect(),
            );
        }
    } else {
        samples.values.reserve_exact(order.len() * samples.shape.width());
        let mut left: Vec<usize> = tables.iter().map(|(_, table)| table.rows.len()).collect();
        for (_, _, file, at) in order {
            let file = file as usize;
            binnings[file].apply(tables[file].1.row(at as usize), &mut samples.values);
            left[file] -= 1;
            if left[file] == 0 {
                // A file whose rows are all taken makes room for the next.
                tables[file].1.values = vec![];
            }
        }
    }
    Ok(samples)
}

/// Files whose bins are not the same quantity are told, and files whose seven numbers would not be
/// are refused.
fn same_axes(samples: &mut Samples, first: &Table, others: &[&Table], summary: bool) -> Result<()> {
    let says = |table: &Table| if table.axes.is_empty() { "does not say" } else { "says" };
    let flow = |table: &Table| if table.flow_bins { "has" } else { "does not say that it has" };
    for other in others {
        let (a, b) = (first.path.display(), other.path.display());
        if summary && first.axes.is_empty() != other.axes.is_empty() {
            return Err(Error::input(format!(
                "data.summary: {b} {} the axis of its histograms, {a} {}; expected files that all do, or none",
                says(other),
                says(first)
            )));
        }
        if summary && first.flow_bins != other.flow_bins {
            return Err(Error::input(format!(
                "data.summary: {b} {} underflow and overflow bins, {a} {}",
                flow(other),
                flow(first)
            )));
        }
        if !summary && samples.edges != [None; 4] && other.edges != first.edges {
            samples.edges = [None; 4];
            let (first, other) =
                (builder::show_edges(first.edges), builder::show_edges(other.edges));
            samples.notes.push(format!(
                "the axis of the histograms goes from {first} in {a} and from {other} in {b}, so that a bin is not the same quantity in both; keep the files of one axis"
            ));
        }
    }
    Ok(())
}

/// Brings rows into an order, in place: row `i` becomes what stands at `from[i]`.
fn reorder(values: &mut [f32], width: usize, mut from: Vec<usize>) {
    let mut first = vec![0.0; width];
    for start in 0..from.len() {
        if from[start] == start {
            continue;
        }
        // A ring of rows, each of which moves to the place of the one before it.
        first.copy_from_slice(&values[start * width..(start + 1) * width]);
        let mut at = start;
        while from[at] != start {
            let next = from[at];
            values.copy_within(next * width..(next + 1) * width, at * width);
            from[at] = at;
            at = next;
        }
        values[at * width..(at + 1) * width].copy_from_slice(&first);
        from[at] = at;
    }
}

/// Tables must agree in what a row is.
fn same_kind(first: &Table, other: &Table, shape: Shape, other_shape: Shape) -> Result<()> {
    let (a, b) = (first.path.display(), other.path.display());
    if first.events != other.events {
        let what = |table: &Table| if table.events { "events" } else { "lumisections" };
        return Err(Error::input(format!(
            "{b}: its rows are {}, but those of {a} are {}",
            what(other),
            what(first)
        )));
    }
    if let (Some(names), Some(others)) = (&first.features, &other.features)
        && let Some((name, found)) =
            names.iter().zip(others.iter()).find(|(name, found)| name != found)
    {
        return Err(Error::input(format!(
            "{b}: has the feature \"{found}\" where {a} has \"{name}\"; both need the same features in the same order"
        )));
    }
    if first.features.is_some() != other.features.is_some() {
        let what = |table: &Table| if table.features.is_some() { "features" } else { "histograms" };
        return Err(Error::input(format!(
            "{b}: holds {}, but {a} holds {}",
            what(other),
            what(first)
        )));
    }
    if shape != other_shape {
        return Err(Error::input(format!("{b}: {other_shape} bins, but {a} has {shape}")));
    }
    match (first.elements.keys().next(), other.elements.keys().next()) {
        (Some(name), Some(found))
            if first.elements.len() == 1 && other.elements.len() == 1 && name != found =>
        {
            Err(Error::input(format!(
                "{b}: holds the monitoring element {found}, but {a} holds {name}; choose one with data.me"
            )))
        }
        _ => Ok(()),
    }
}

fn element(table: &Table, experiment: &Experiment) -> Option<String> {
    experiment
        .data
        .me
        .clone()
        .filter(|me| table.elements.contains_key(me))
        .or_else(|| table.elements.keys().next().cloned())
}

fn run_key(run: Option<u32>, source: usize) -> (Option<u32>, u32) {
    (run, if run.is_some() { 0 } else { source as u32 })
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Rows of the training files must not be among the test rows: by (run, LS), or by content where
/// runs are unknown. Events are not compared: equal ones may be met by chance.
fn refuse_overlap(samples: &Samples) -> Result<()> {
    if samples.events {
        return Ok(());
    }
    // A histogram of a hundred entries is not met twice by chance, bin by bin, at the same LS.
    let telling =
        |i: usize| samples.row(i).iter().filter(|value| !value.is_nan()).sum::<f32>() >= 100.0;
    let content = |i: usize| {
        let mut hash = DefaultHasher::new();
        samples.row(i).iter().for_each(|value| value.to_bits().hash(&mut hash));
        hash.finish()
    };
    let key = |i: usize| match samples.id(i).run {
        Some(_) => Some((samples.rows[i].run, samples.rows[i].ls, 0)),
        None if telling(i) => Some((u32::MAX, samples.rows[i].ls, content(i))),
        None => None,
    };
    let of_role =
        |role: Role| (0..samples.rows.len()).filter(move |&i| samples.source(i).role == role);
    if of_role(Role::Test).next().is_none() {
        return Ok(());
    }
    let train: HashMap<_, usize> =
        of_role(Role::Train).filter_map(|i| Some((key(i)?, i))).collect();
    let bits = |i: usize| samples.row(i).iter().map(|value| value.to_bits());
    let same = |a: usize, b: usize| samples.id(a).run.is_some() || bits(a).eq(bits(b));
    let both: Vec<(usize, usize)> = of_role(Role::Test)
        .filter_map(|i| Some((*train.get(&key(i)?)?, i)))
        .filter(|&(a, b)| same(a, b))
        .collect();
    match both.first() {
        None => Ok(()),
        Some(&(a, b)) => Err(Error::input(format!(
            "training rows inside the test set: {} lumisections are in both, the first {} at {} and {}",
            both.len(),
            samples.id(a),
            samples.place(a),
            samples.place(b)
        ))),
    }
}

/// A file that is named twice, or copied, would count twice.
fn refuse_copies(files: &[(Source, Vec<(usize, Table)>)]) -> Result<()> {
    for (i, (source, tables)) in files.iter().enumerate().filter(|(_, (source, _))| source.rows > 0)
    {
        let copy = files[..i]
            .iter()
            .find(|(other, _)| other.sha256 == source.sha256 && other.role == source.role);
        let between_roles = files[..i].iter().find(|(other, _)| other.sha256 == source.sha256);
        if let Some((copy, _)) = copy {
            return Err(Error::input(format!(
                "{} and {} hold the same bytes; name a file once",
                copy.path.display(),
                source.path.display()
            )));
        }
        if let (Some((copy, _)), true) =
            (between_roles, tables.iter().any(|(_, table)| table.events))
        {
            let (a, b) = (copy.path.display(), source.path.display());
            return Err(Error::input(format!(
                "training rows inside the test set: {a} and {b} hold the same bytes"
            )));
        }
    }
    Ok(())
}

/// The same (run, LS) twice is an error, or the later one is rejected.
fn duplicates(samples: &mut Samples, config: &Config) -> Result<()> {
    let same = |i: usize| {
        i > 0
            && (samples.rows[i].run, samples.rows[i].ls)
                == (samples.rows[i - 1].run, samples.rows[i - 1].ls)
    };
    let count = (0..samples.rows.len()).filter(|&i| same(i)).count();
    let Some(first) = (0..samples.rows.len()).find(|&i| same(i)) else { return Ok(()) };
    if config.keep_duplicates {
        samples.notes.push(format!("{count} rows are of a lumisection that another row is of: all stay (data.keep_duplicates)"));
        return Ok(());
    }
    if config.bad_rows == BadRows::Error {
        let more = if count > 1 { format!(" ({count} duplicates in all)") } else { String::new() };
        let no_run = if samples.id(first).run.is_none() {
            "; the file says no runs: is there a column that data.columns.run should name?"
        } else {
            ""
        };
        return Err(Error::input(format!(
            "{}: duplicate of {}: {} is there twice{more}{no_run}; data.bad_rows = \"reject\" keeps the first of each, data.keep_duplicates = true all",
            samples.place(first),
            samples.place(first - 1),
            samples.id(first)
        )));
    }
    let reasons = (0..samples.rows.len())
        .map(|i| same(i).then(|| "duplicate of an earlier row".to_owned()))
        .collect();
    samples.reject(reasons);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Document;
    use proptest::strategy::Strategy;

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
            &experiment,
            &[(Role::Train, &experiment.data.train), (Role::Test, &experiment.data.test)],
            Further::default(),
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

    proptest::proptest! {
        #[test]
        fn rows_are_sorted_in_place(order in proptest::prelude::Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let mut values: Vec<f32> = (0..24).map(|i| i as f32).collect();
            reorder(&mut values, 2, order.clone());
            let expected: Vec<f32> = order.iter().flat_map(|&at| [2.0 * at as f32, 2.0 * at as f32 + 1.0]).collect();
            proptest::prop_assert_eq!(values, expected);
        }
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
                && samples.notes[0].contains("1 rows are of a lumisection"),
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
            load(&experiment, &[(Role::Train, &experiment.data.train)], Further::default(), read)
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

    /// Rows of four entries in the second of four bins, with these columns behind.
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
