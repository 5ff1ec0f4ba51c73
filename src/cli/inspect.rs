//! `lumisift inspect`: shows the contents of files.

use super::ui::Ui;
use crate::{
    config::data::{Data, Format},
    data::{
        cells::{self, Cells},
        field::{Field, show_names},
        lumi::{self, LumiFile, golden_json::LumisectionSet},
        lumisections::show_ranges,
        read::{Detail, ReadOptions, format::format_of, read_file},
        shape::Shape,
        table::{Summary, Table},
    },
    error::{Error, Result},
    report::terminal::{self, printable},
    text::count,
};
use clap::Args;
use console::style;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// Show the contents of files: format, columns, monitoring elements, runs, LS ranges, gaps,
/// duplicates, empties, unreadable rows; for JSONs of lumisections, OMS and HLT their coverage
#[derive(Debug, Args)]
pub struct Arguments {
    /// Files, folders or patterns
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Read all values of large files too
    #[arg(long)]
    full: bool,
    /// A DIALS page of lumisections that histogram pages refer to (repeatable; may be a pattern)
    #[arg(long, value_name = "FILE")]
    lumisections: Vec<PathBuf>,
}

/// The contents of a file.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Inspected {
    Data(Box<DataInspected>),
    Known(KnownInspected),
}

/// A file of histograms or features.
#[derive(Debug, Serialize)]
struct DataInspected {
    file: PathBuf,
    format: String,
    bytes: u64,
    columns: Vec<Field>,
    /// "lumisection" or "event"
    row: &'static str,
    rows: usize,
    /// Number of distinct lumisections; absent for events.
    lumisections: Option<usize>,
    features: Vec<FeatureInspected>,
    elements: Vec<ElementInspected>,
    runs: Vec<RunInspected>,
    /// Whether values were read, or identities only.
    values_read: bool,
    notes: Vec<String>,
    unreadable: Vec<Unreadable>,
}

#[derive(Debug, Serialize)]
struct FeatureInspected {
    name: String,
    /// Lowest, mean and highest value, if values were read.
    values: Option<(f32, f64, f32)>,
    /// Number of rows in which it is missing.
    missing: Option<usize>,
}

#[derive(Debug, Serialize)]
struct ElementInspected {
    name: Option<String>,
    rows: usize,
    /// `[y, x]` for a map, else `[bins]`; several if rows differ.
    shapes: Vec<Vec<usize>>,
    flow_bins: bool,
    empty: Option<usize>,
    /// Number of rows with missing bins (blank or NaN), and total number of such bins.
    missing: Option<(usize, usize)>,
    /// Lowest, median and highest sum of a row's bins.
    sum: Option<(f64, f64, f64)>,
}

#[derive(Debug, Serialize)]
struct RunInspected {
    run: Option<u32>,
    rows: usize,
    first_ls: u32,
    last_ls: u32,
    gaps: usize,
    duplicates: Vec<u32>,
    empty_leading: usize,
    empty_interior: usize,
    empty_trailing: usize,
}

#[derive(Debug, Serialize)]
struct Unreadable {
    line: u32,
    row: u32,
    reason: String,
}

/// A file with information on lumisections.
#[derive(Debug, Serialize)]
struct KnownInspected {
    file: PathBuf,
    format: String,
    bytes: u64,
    runs: usize,
    /// Number of whole runs.
    whole_runs: usize,
    lumisections: Option<u64>,
    first_run: Option<u32>,
    last_run: Option<u32>,
    names: Vec<String>,
}

/// Only identities are read from larger files, unless --full is given.
const LARGE: u64 = 256 << 20;

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let files = crate::data::paths::expand(&arguments.files)?;
    let lumisections = crate::data::read::dials::lumisection_numbers(&arguments.lumisections)?;
    let one = |file: &PathBuf| {
        let bytes = std::fs::metadata(file).map_err(|error| Error::reading(file, error))?.len();
        let detail =
            if bytes > LARGE && !arguments.full { Detail::Identities } else { Detail::Summaries };
        let wanted = ReadOptions {
            detail,
            dials: lumisections.clone(),
            keeps_missing: true,
            ..ReadOptions::new(&Data::default())
        };
        inspect(file, bytes, &wanted)
    };
    // A file that cannot be read does not stop the inspection of others.
    let (mut inspected, mut refused) = (vec![], None);
    for file in &files {
        match one(file) {
            Ok(found) => inspected.push(found),
            Err(error) => {
                if let Some(before) = refused.replace(error) {
                    ui.error(&before);
                }
            }
        }
    }
    if ui.json && (refused.is_none() || files.len() > 1) {
        ui.print_json(&inspected)?;
    } else {
        for file in &inspected {
            ui.print(&match file {
                Inspected::Data(data) => render(data, ui.width()),
                Inspected::Known(known) => render_known(known),
            })?;
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Inspects a file of data, or one with information on lumisections.
fn inspect(file: &Path, bytes: u64, wanted: &ReadOptions) -> Result<Inspected> {
    let format = format_of(file, Format::Auto)?;
    if format == Format::Dials
        && let Some(known) = lumi::recognise(file)?
    {
        return Ok(Inspected::Known(known_inspected(file, bytes, known)));
    }
    // A brilcalc file is also a table, with column names in a comment.
    let known =
        match if format == Format::Csv { lumi::recognise(file).ok().flatten() } else { None } {
            Some(known @ LumiFile::Quantities { .. }) => {
                return Ok(Inspected::Known(known_inspected(file, bytes, known)));
            }
            known => known,
        };
    match read_file(file, wanted) {
        Ok(table) => Ok(Inspected::Data(Box::new(data_inspected(&table, bytes, wanted.detail)))),
        // Not a table: possibly a list of `run ls` lines.
        Err(error) => known
            .map_or(Err(error), |known| Ok(Inspected::Known(known_inspected(file, bytes, known)))),
    }
}

fn known_inspected(file: &Path, bytes: u64, known: LumiFile) -> KnownInspected {
    let of_set = |format: &str, set: LumisectionSet, names: Vec<String>| KnownInspected {
        file: file.to_path_buf(),
        format: format.into(),
        bytes,
        runs: set.runs().len(),
        whole_runs: set.whole_runs(),
        lumisections: set.count(),
        first_run: set.runs().keys().next().copied(),
        last_run: set.runs().keys().next_back().copied(),
        names,
    };
    match known {
        LumiFile::Lumisections(set) => of_set("lumisections", set, vec![]),
        LumiFile::Quantities { format, covered, names } => of_set(format, covered, names),
        LumiFile::Other { what, names } => KnownInspected {
            file: file.to_path_buf(),
            format: what,
            bytes,
            runs: 0,
            whole_runs: 0,
            lumisections: None,
            first_run: None,
            last_run: None,
            names,
        },
    }
}

fn data_inspected(table: &Table, bytes: u64, detail: Detail) -> DataInspected {
    let names: Vec<Option<String>> = if table.elements.is_empty() {
        vec![None]
    } else {
        table.elements.keys().cloned().map(Some).collect()
    };
    let elements = names
        .into_iter()
        .enumerate()
        .map(|(at, name)| element(table, at as u32, name, detail))
        .collect();
    let mut ids: Vec<(Option<u32>, u32)> = table.rows.iter().map(|row| (row.run, row.ls)).collect();
    ids.sort_unstable();
    ids.dedup();
    DataInspected {
        file: table.path.clone(),
        format: table.format.to_string(),
        bytes,
        columns: table.fields.clone(),
        row: if table.events { "event" } else { "lumisection" },
        rows: table.rows.len(),
        lumisections: (!table.events).then_some(ids.len()),
        features: features(table),
        elements,
        runs: if table.events { vec![] } else { runs(table) },
        values_read: detail == Detail::Summaries,
        notes: notes(table),
        unreadable: table
            .faults
            .iter()
            .map(|fault| Unreadable {
                line: fault.line,
                row: fault.index,
                reason: fault.reason.clone(),
            })
            .collect(),
    }
}

/// Notes on the file: how it was read, missing cells, and numbers that may mean missing ones.
fn notes(table: &Table) -> Vec<String> {
    let mut notes = table.notes.clone();
    let missing = table.summaries.iter().filter(|summary| summary.missing > 0).count();
    if missing > 0 {
        let what = if table.features.is_some() { "features" } else { "bins" };
        let rows = table.rows.len();
        notes.push(format!(
            "{missing} of {rows} rows lack some of their {what}, which makes them unreadable; set data.fill to replace missing values"
        ));
    }
    let names = table.features.iter().flat_map(|names| names.iter().map(String::as_str));
    notes.extend(cells::suspicion(names.zip(&table.cells)));
    notes
}

/// Names of the features and the range of their values.
fn features(table: &Table) -> Vec<FeatureInspected> {
    let Some(names) = &table.features else { return vec![] };
    // Features of several monitoring elements are unrelated.
    let cells = |at: usize| table.cells.get(at).filter(|_| table.elements.len() <= 1);
    let range = |cells: &Cells| (cells.low, cells.mean(), cells.high);
    let feature = |(at, name): (usize, &String)| FeatureInspected {
        name: name.clone(),
        values: cells(at).filter(|cells| cells.present > 0).map(range),
        missing: cells(at).map(|cells| cells.missing),
    };
    names.iter().enumerate().map(feature).collect()
}

fn element(table: &Table, at: u32, name: Option<String>, detail: Detail) -> ElementInspected {
    let of_element: Vec<&Summary> =
        table.summaries.iter().filter(|summary| summary.element == at).collect();
    let mut shapes: Vec<Shape> = of_element.iter().map(|summary| summary.shape).collect();
    shapes.sort_unstable();
    shapes.dedup();
    let sums: Vec<f64> =
        of_element.iter().map(|summary| summary.sum).filter(|sum| !sum.is_nan()).collect();
    let percentile = |p: f64| crate::statistics::percentile(&sums, p);
    ElementInspected {
        name,
        rows: of_element.len(),
        shapes: shapes
            .iter()
            .map(|shape| if shape.y == 1 { vec![shape.x] } else { vec![shape.y, shape.x] })
            .collect(),
        flow_bins: of_element.iter().any(|summary| summary.flow_bins),
        empty: (detail == Detail::Summaries)
            .then(|| of_element.iter().filter(|summary| summary.empty).count()),
        missing: (detail == Detail::Summaries && table.features.is_none()).then(|| {
            let missing = of_element
                .iter()
                .map(|summary| summary.missing as usize)
                .filter(|missing| *missing > 0);
            missing.fold((0, 0), |(rows, bins), missing| (rows + 1, bins + missing))
        }),
        sum: percentile(0.0)
            .zip(percentile(50.0))
            .zip(percentile(100.0))
            .map(|((low, middle), high)| (low, middle, high)),
    }
}

fn runs(table: &Table) -> Vec<RunInspected> {
    let mut by_run: BTreeMap<Option<u32>, BTreeMap<u32, Vec<Summary>>> = BTreeMap::new();
    for (row, summary) in table.rows.iter().zip(&table.summaries) {
        by_run.entry(row.run).or_default().entry(row.ls).or_default().push(*summary);
    }
    let of_run = |(run, lumisections): (Option<u32>, BTreeMap<u32, Vec<Summary>>)| {
        // Several elements have one row each per lumisection, which are not duplicates.
        let twice = |summaries: &[Summary]| {
            let mut elements: Vec<u32> = summaries.iter().map(|summary| summary.element).collect();
            elements.sort_unstable();
            elements.windows(2).any(|pair| pair[0] == pair[1])
        };
        let filled: Vec<bool> = lumisections
            .values()
            .map(|summaries| summaries.iter().any(|summary| !summary.empty))
            .collect();
        let leading = filled.iter().take_while(|filled| !**filled).count();
        let trailing = if leading == filled.len() {
            0
        } else {
            filled.iter().rev().take_while(|filled| !**filled).count()
        };
        let (first_ls, last_ls) =
            (lumisections.keys().next().copied(), lumisections.keys().next_back().copied());
        let (first_ls, last_ls) = (first_ls.unwrap_or_default(), last_ls.unwrap_or_default());
        RunInspected {
            run,
            rows: lumisections.values().map(Vec::len).sum(),
            first_ls,
            last_ls,
            gaps: (last_ls - first_ls) as usize + 1 - lumisections.len(),
            duplicates: lumisections
                .iter()
                .filter(|(_, summaries)| twice(summaries))
                .map(|(ls, _)| *ls)
                .collect(),
            empty_leading: leading,
            empty_interior: filled.iter().filter(|filled| !**filled).count() - leading - trailing,
            empty_trailing: trailing,
        }
    };
    by_run.into_iter().map(of_run).collect()
}

const MOST_RUNS: usize = 20;
const MOST_FAULTS: usize = 10;
const MOST_ELEMENTS: usize = 40;

fn title(file: &Path, format: &str, bytes: u64) -> String {
    format!("{}  {format}, {bytes} bytes\n", style(file.display()).bold())
}

fn render_known(known: &KnownInspected) -> String {
    let mut text = title(&known.file, &known.format, known.bytes);
    if let (Some(first), Some(last)) = (known.first_run, known.last_run) {
        let _ = writeln!(text, "covers     {}, {first} to {last}", count(known.runs, "run"));
    }
    if let Some(count) = known.lumisections {
        let _ = writeln!(text, "           {count} lumisections");
    }
    if known.whole_runs > 0 {
        let _ =
            writeln!(text, "           {} of them whole ([[-1]])", count(known.whole_runs, "run"));
    }
    if !known.names.is_empty() {
        let _ = writeln!(text, "has        {}", printable(&known.names.join(", ")));
    }
    text
}

fn render(file: &DataInspected, width: u16) -> String {
    let mut text = title(&file.file, &file.format, file.bytes);
    let named = file.columns.iter().any(|field| !field.name.is_empty());
    let types: BTreeMap<&str, usize> =
        file.columns.iter().fold(BTreeMap::new(), |mut types, field| {
            *types.entry(field.type_name.as_str()).or_insert(0) += 1;
            types
        });
    if !named {
        let _ = writeln!(text, "columns    no header row");
    } else if file.columns.len() <= 12 {
        let columns: Vec<String> = file
            .columns
            .iter()
            .map(|field| format!("{} {}", printable(&field.name), style(&field.type_name).dim()))
            .collect();
        let _ = writeln!(text, "columns    {}", columns.join(", "));
    } else {
        let types: Vec<String> =
            types.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let _ = writeln!(
            text,
            "columns    {} ({})",
            printable(&show_names(&file.columns)),
            types.join(", ")
        );
    }
    let several = if file.elements.len() > 1 {
        format!(" of {} monitoring elements", file.elements.len())
    } else {
        String::new()
    };
    let of = match file.lumisections {
        Some(lumisections) => {
            format!("{} in {}", count(lumisections, "lumisection"), count(file.runs.len(), "run"))
        }
        None => "events, or rows without lumisection numbers".into(),
    };
    let _ = writeln!(text, "rows       {}{several}: {of}", file.rows);
    if file.features.is_empty() {
        for element in file.elements.iter().take(MOST_ELEMENTS) {
            let _ = writeln!(text, "{}", render_element(element));
        }
    } else {
        text += &render_features(&file.features, width);
    }
    if file.elements.len() > MOST_ELEMENTS {
        let _ = writeln!(
            text,
            "           … and {} more elements",
            file.elements.len() - MOST_ELEMENTS
        );
    }
    if !file.values_read {
        let _ = writeln!(text, "values     not read: the file is large; --full reads them");
    }
    for note in &file.notes {
        let _ = writeln!(text, "note       {}", printable(note));
    }
    if !file.runs.is_empty() {
        text += &render_runs(&file.runs, width);
    }
    for fault in file.unreadable.iter().take(MOST_FAULTS) {
        let place = if fault.line > 0 {
            format!("line {}", fault.line)
        } else {
            format!("row {}", fault.row)
        };
        let _ = writeln!(
            text,
            "{} {place}: {}",
            style("cannot be read:").yellow(),
            printable(&fault.reason)
        );
    }
    if file.unreadable.len() > MOST_FAULTS {
        let _ = writeln!(text, "… and {} more rows", file.unreadable.len() - MOST_FAULTS);
    }
    text
}

const MOST_FEATURES: usize = 20;

fn render_features(features: &[FeatureInspected], width: u16) -> String {
    let mut text = format!("features   {}\n", features.len());
    let any_missing =
        features.iter().any(|feature| feature.missing.is_some_and(|missing| missing > 0));
    let columns = ["feature", "lowest", "mean", "highest", "missing"];
    let mut table = terminal::table(&columns[..if any_missing { 5 } else { 4 }], width);
    for feature in features.iter().take(MOST_FEATURES) {
        let (low, mean, high) =
            feature.values.map_or_else(Default::default, |(low, mean, high)| {
                (low.to_string(), format!("{mean:.6}"), high.to_string())
            });
        let missing = feature.missing.filter(|_| any_missing).map(|missing| missing.to_string());
        table.add_row([printable(&feature.name), low, mean, high].into_iter().chain(missing));
    }
    let _ = writeln!(text, "{table}");
    if features.len() > MOST_FEATURES {
        let _ = writeln!(
            text,
            "… and {} more features (--format json lists all)",
            features.len() - MOST_FEATURES
        );
    }
    text
}

/// One line per monitoring element: rows, bins, sums, empties.
fn render_element(element: &ElementInspected) -> String {
    let shape = |shape: &Vec<usize>| match (shape.as_slice(), element.flow_bins) {
        ([x], true) => format!("{x} ({} + underflow + overflow)", x.saturating_sub(2)),
        ([y, x], true) => format!(
            "{x} × {y} ({} × {} + underflow + overflow)",
            x.saturating_sub(2),
            y.saturating_sub(2)
        ),
        ([x], false) => x.to_string(),
        (lengths, _) => lengths.iter().rev().map(usize::to_string).collect::<Vec<_>>().join(" × "),
    };
    let shapes: Vec<String> = element.shapes.iter().map(shape).collect();
    let mut parts = vec![];
    if let Some(name) = &element.name {
        parts.push(format!("{}: {}", printable(name), count(element.rows, "row")));
    }
    parts.push(format!("{} bins", shapes.join(" or ")));
    if let Some((low, middle, high)) = element.sum {
        parts.push(format!("sum {low} to {high}, median {middle}"));
    }
    if let Some((rows, bins)) = element.missing.filter(|(rows, _)| *rows > 0) {
        parts.push(format!("{bins} bins missing in {}", count(rows, "row")));
    }
    if let Some(empty) = element.empty {
        parts.push(format!("{empty} empty"));
    }
    format!(
        "{:<10} {}",
        if element.name.is_some() { "element" } else { "values" },
        parts.join(", ")
    )
}

fn render_runs(runs: &[RunInspected], width: u16) -> String {
    let mut text = String::new();
    let sum = |get: fn(&RunInspected) -> usize| runs.iter().map(get).sum::<usize>();
    let (gaps, duplicates) = (sum(|run| run.gaps), sum(|run| run.duplicates.len()));
    let empties = (
        sum(|run| run.empty_leading),
        sum(|run| run.empty_interior),
        sum(|run| run.empty_trailing),
    );
    let _ = writeln!(
        text,
        "empty LSs  {} leading, {} interior, {} trailing",
        empties.0, empties.1, empties.2
    );
    let _ = writeln!(
        text,
        "missing    {gaps} LS numbers between the first and last of their runs; {duplicates} duplicates"
    );
    let mut shown: Vec<&RunInspected> = runs.iter().collect();
    if shown.len() > MOST_RUNS {
        shown.sort_by_key(|run| std::cmp::Reverse(run.rows));
        shown.truncate(MOST_RUNS);
        let _ = writeln!(text, "the {MOST_RUNS} longest of {} runs:", runs.len());
    }
    let mut table = terminal::table(&["run", "rows", "LSs", "gaps", "empty", "duplicates"], width);
    for run in shown {
        table.add_row([
            run.run.map_or_else(|| "(not said)".into(), |run| run.to_string()),
            run.rows.to_string(),
            format!("{}–{}", run.first_ls, run.last_ls),
            run.gaps.to_string(),
            format!("{} + {} + {}", run.empty_leading, run.empty_interior, run.empty_trailing),
            show_ranges(&run.duplicates),
        ]);
    }
    let _ = writeln!(text, "{table}");
    text
}
