//! From files to [`Samples`]: rows with identities, in the order of (run, LS), each file read once.
//!
//! A row is known by its run and LS, never by its position. Files that carry no run number stand for a run each.

mod csv;
pub mod lumisections;
pub mod synth;
pub mod table;

use crate::{
    config::{
        Experiment,
        raw::{BadRows, FlowBins, Format},
    },
    error::{Error, Result},
};
use lumisections::Lumisection;
use rayon::prelude::*;
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};
use table::{Table, Wanted};

pub(crate) use csv::parse_flag;

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its rows are split into training, validation and test.
    Train,
    /// Its rows are only scored.
    Test,
}

/// A file that rows came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Source {
    /// How outputs name it: the file's name, or its path where two files share a name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// What it is for.
    pub role: Role,
    /// Its layout.
    pub format: Format,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Rows that were read.
    pub rows: usize,
}

/// One row's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Index into [`Samples::sources`].
    pub source: u32,
    /// Index into [`Samples::runs`].
    pub run: u32,
    /// Lumisection number.
    pub ls: u32,
    /// Line in the file, from 1.
    pub line: u32,
}

/// A run of the detector, or a file that does not say which run it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The run number, where it is known.
    pub number: Option<u32>,
    /// How outputs name it: the number, or the file.
    pub name: String,
}

/// A row that is not evaluated, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// Index into [`Samples::sources`].
    pub source: u32,
    /// Run and LS, where they could be read.
    pub id: Option<Lumisection>,
    /// Line in the file, from 1.
    pub line: u32,
    /// The first reason against it.
    pub reason: String,
    /// Whether the row could not even be read.
    pub unreadable: bool,
}

/// All rows of an experiment, sorted by (run, LS).
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// The files.
    pub sources: Vec<Source>,
    /// The runs, sorted by number, those without one in the order of their files.
    pub runs: Vec<Run>,
    /// Number of bins.
    pub width: usize,
    /// Whether the first and last bin are underflow and overflow.
    pub flow_bins: bool,
    /// The monitoring element, where the files name it.
    pub element: Option<String>,
    /// Identities.
    pub rows: Vec<Row>,
    /// Bin contents as read, `[rows, width]`.
    pub values: Vec<f32>,
    /// Further columns as text, one entry a row.
    pub columns: BTreeMap<String, Vec<String>>,
    /// Rows that are not evaluated.
    pub rejected: Vec<Rejected>,
}

impl Samples {
    /// The bins of row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// The source of row `i`.
    pub fn source(&self, i: usize) -> &Source {
        &self.sources[self.rows[i].source as usize]
    }

    /// Run and LS of row `i`.
    pub fn id(&self, i: usize) -> Lumisection {
        Lumisection { run: self.runs[self.rows[i].run as usize].number, ls: self.rows[i].ls }
    }

    /// `file:line` of row `i`, for messages.
    pub fn place(&self, i: usize) -> String {
        format!("{}:{}", self.source(i).path.display(), self.rows[i].line)
    }

    /// Ranges of rows that belong to one run, in order.
    pub fn run_ranges(&self) -> Vec<std::ops::Range<usize>> {
        let mut ranges: Vec<std::ops::Range<usize>> = vec![];
        for i in 0..self.rows.len() {
            match ranges.last_mut() {
                Some(range) if self.rows[range.start].run == self.rows[i].run => range.end = i + 1,
                _ => ranges.push(i..i + 1),
            }
        }
        ranges
    }

    /// Keeps the rows for which `reason` gives none; the others are rejected with it.
    pub fn reject(&mut self, reason: impl Fn(usize) -> Option<String>) {
        let reasons: Vec<Option<String>> = (0..self.rows.len()).map(reason).collect();
        let kept: Vec<usize> = (0..reasons.len()).filter(|&i| reasons[i].is_none()).collect();
        for (i, reason) in reasons.into_iter().enumerate() {
            if let Some(reason) = reason {
                let row = self.rows[i];
                self.rejected.push(Rejected { source: row.source, id: Some(self.id(i)), line: row.line, reason, unreadable: false });
            }
        }
        self.take(&kept);
    }

    /// Keeps the rows at these positions, in this order.
    fn take(&mut self, positions: &[usize]) {
        if positions.len() == self.rows.len() && positions.iter().enumerate().all(|(i, &at)| i == at) {
            return;
        }
        let mut values = Vec::with_capacity(positions.len() * self.width);
        positions.iter().for_each(|&i| values.extend_from_slice(self.row(i)));
        self.values = values;
        self.rows = positions.iter().map(|&i| self.rows[i]).collect();
        for column in self.columns.values_mut() {
            *column = positions.iter().map(|&i| std::mem::take(&mut column[i])).collect();
        }
    }
}

/// Further columns to bring with the histograms.
#[derive(Clone, Copy, Debug)]
pub enum Extra<'a> {
    /// A file without one of them is refused.
    Required(&'a [String]),
    /// A file without one of them has blanks there.
    Welcome(&'a [String]),
}

/// Reads the files of an experiment. `files` are paths or globs; `read` is told of each file that has been read.
pub fn load(experiment: &Experiment, files: &[(Role, &[PathBuf])], extra: Extra<'_>, read: &(dyn Fn(&Path) + Sync)) -> Result<Samples> {
    let mut paths: Vec<(Role, PathBuf)> = vec![];
    for (role, patterns) in files {
        for path in expand(patterns)? {
            paths.push((*role, path));
        }
    }
    let data = &experiment.config.data;
    let wanted = match extra {
        Extra::Required(names) => Wanted::new(data, names.to_vec()),
        Extra::Welcome(names) => Wanted { extra_required: false, ..Wanted::new(data, names.to_vec()) },
    };
    let tables = paths
        .par_iter()
        .map(|(role, path)| {
            let table = table::read(path, &wanted)?;
            read(path);
            Ok((*role, table))
        })
        .collect::<Result<Vec<_>>>()?;
    if data.bad_rows == BadRows::Error {
        for (_, table) in &tables {
            refuse_faults(table)?;
        }
    }
    let mut samples = join(tables, data.flow_bins)?;
    refuse_overlap(&samples)?;
    refuse_copies(&samples)?;
    duplicates(&mut samples, data.bad_rows)?;
    if samples.rows.is_empty() {
        let names: Vec<String> = samples.sources.iter().map(|source| source.path.display().to_string()).collect();
        return Err(Error::input(format!("no rows in {}", names.join(", "))));
    }
    Ok(samples)
}

/// Paths as they are, globs as the files they match, in the order of their names.
pub fn expand(patterns: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut paths = vec![];
    for pattern in patterns {
        let text = pattern.to_string_lossy();
        if pattern.exists() || !text.contains(['*', '?', '[']) {
            paths.push(pattern.clone());
            continue;
        }
        let matches = glob::glob(&text).map_err(|error| Error::input(format!("{text}: not a valid pattern: {error}")))?;
        let before = paths.len();
        for path in matches {
            paths.push(path.map_err(|error| Error::reading(error.path(), error.error()))?);
        }
        if paths.len() == before {
            return Err(Error::input(format!("{text}: no file matches")));
        }
    }
    Ok(paths)
}

fn refuse_faults(table: &Table) -> Result<()> {
    let Some(first) = table.faults.first() else { return Ok(()) };
    let more = match table.faults.len() - 1 {
        0 => String::new(),
        1 => "; one more row cannot be read".into(),
        n => format!("; {n} more rows cannot be read"),
    };
    let path = table.path.display();
    Err(Error::input(format!("{path}:{}: {}{more} (data.bad_rows = \"reject\" goes on without such rows)", first.line, first.reason)))
}

/// Puts tables together and sorts the rows by (run, LS).
fn join(tables: Vec<(Role, Table)>, flow_bins: FlowBins) -> Result<Samples> {
    let mut samples = Samples::default();
    let strip = |table: &Table| flow_bins == FlowBins::Strip && table.flow_bins && table.width > 2;
    let filled: Vec<&Table> = tables.iter().map(|(_, table)| table).filter(|table| !table.rows.is_empty()).collect();
    let width = |table: &Table| table.width - if strip(table) { 2 } else { 0 };
    if let Some(first) = filled.first() {
        samples.width = width(first);
        samples.flow_bins = first.flow_bins && !strip(first);
        samples.element = first.elements.keys().next().cloned();
        if let Some(other) = filled.iter().find(|table| width(table) != width(first)) {
            return Err(Error::input(format!("{}: {} bins, but {} has {}", other.path.display(), width(other), first.path.display(), width(first))));
        }
    }
    let names: Vec<String> = tables.iter().map(|(_, table)| file_name(&table.path)).collect();
    let mut runs: Vec<(Option<u32>, u32)> = vec![];
    for (index, (role, table)) in tables.iter().enumerate() {
        let unique = names.iter().filter(|name| **name == names[index]).count() == 1;
        samples.sources.push(Source {
            name: if unique { names[index].clone() } else { table.path.display().to_string() },
            path: table.path.clone(),
            role: *role,
            format: table.format,
            bytes: table.bytes,
            sha256: table.sha256.clone(),
            rows: table.rows.len(),
        });
        runs.extend(table.rows.iter().map(|row| run_key(row.run, index)));
    }
    runs.sort_unstable_by_key(|(number, source)| (number.is_none(), *number, *source));
    runs.dedup();
    let index_of: HashMap<(Option<u32>, u32), u32> = runs.iter().enumerate().map(|(i, key)| (*key, i as u32)).collect();
    samples.runs = runs
        .iter()
        .map(|(number, source)| Run {
            number: *number,
            name: number.map_or_else(|| samples.sources[*source as usize].name.clone(), |number| number.to_string()),
        })
        .collect();

    let names: Vec<String> = tables.iter().flat_map(|(_, table)| table.columns.keys().cloned()).collect();
    let mut columns: BTreeMap<String, Vec<String>> = names.into_iter().map(|name| (name, vec![])).collect();
    for (index, (_, mut table)) in tables.into_iter().enumerate() {
        let range = if strip(&table) { 1..table.width - 1 } else { 0..table.width };
        for (i, row) in table.rows.iter().enumerate() {
            samples.values.extend_from_slice(&table.row(i)[range.clone()]);
            samples.rows.push(Row { source: index as u32, run: index_of[&run_key(row.run, index)], ls: row.ls, line: row.line });
        }
        samples.rejected.extend(table.faults.drain(..).map(|fault| Rejected {
            source: index as u32,
            id: fault.ls.map(|ls| Lumisection { run: fault.run, ls }),
            line: fault.line,
            reason: fault.reason,
            unreadable: true,
        }));
        for (name, values) in &mut columns {
            values.extend(table.columns.remove(name).unwrap_or_else(|| vec![String::new(); table.rows.len()]));
        }
    }
    samples.columns = columns;
    let mut order: Vec<usize> = (0..samples.rows.len()).collect();
    order.sort_by_key(|&i| (samples.rows[i].run, samples.rows[i].ls));
    samples.take(&order);
    Ok(samples)
}

fn run_key(run: Option<u32>, source: usize) -> (Option<u32>, u32) {
    (run, if run.is_some() { 0 } else { source as u32 })
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Rows of the training files must not be among the test rows: by (run, LS), or by content where runs are unknown.
fn refuse_overlap(samples: &Samples) -> Result<()> {
    let role = |i: usize| samples.source(i).role;
    // A histogram of a hundred entries is not met twice by chance, bin by bin, at the same LS.
    let telling = |i: usize| samples.row(i).iter().sum::<f32>() >= 100.0;
    let content = |i: usize| -> Vec<u32> { samples.row(i).iter().map(|value| value.to_bits()).collect() };
    let key = |i: usize| match samples.id(i).run {
        Some(_) => Some((samples.rows[i].run, samples.rows[i].ls, None)),
        None if telling(i) => Some((u32::MAX, samples.rows[i].ls, Some(content(i)))),
        None => None,
    };
    let mut train: HashMap<_, usize> = HashMap::new();
    for i in (0..samples.rows.len()).filter(|&i| role(i) == Role::Train) {
        if let Some(key) = key(i) {
            train.insert(key, i);
        }
    }
    let both: Vec<(usize, usize)> =
        (0..samples.rows.len()).filter(|&i| role(i) == Role::Test).filter_map(|i| Some((*train.get(&key(i)?)?, i))).collect();
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
fn refuse_copies(samples: &Samples) -> Result<()> {
    for (i, source) in samples.sources.iter().enumerate() {
        if let Some(copy) = samples.sources[..i].iter().find(|other| other.sha256 == source.sha256) {
            return Err(Error::input(format!("{} and {} hold the same bytes; name a file once", copy.path.display(), source.path.display())));
        }
    }
    Ok(())
}

/// The same (run, LS) twice is an error, or the later one is rejected.
fn duplicates(samples: &mut Samples, bad_rows: BadRows) -> Result<()> {
    let same = |i: usize| i > 0 && (samples.rows[i].run, samples.rows[i].ls) == (samples.rows[i - 1].run, samples.rows[i - 1].ls);
    let count = (0..samples.rows.len()).filter(|&i| same(i)).count();
    let Some(first) = (0..samples.rows.len()).find(|&i| same(i)) else { return Ok(()) };
    if bad_rows == BadRows::Error {
        let more = if count > 1 { format!(" ({count} duplicates in all)") } else { String::new() };
        return Err(Error::input(format!(
            "{}: duplicate of {}: {} is there twice{more}; data.bad_rows = \"reject\" keeps the first of each",
            samples.place(first),
            samples.place(first - 1),
            samples.id(first)
        )));
    }
    let repeated: Vec<bool> = (0..samples.rows.len()).map(same).collect();
    samples.reject(|i| repeated[i].then(|| "duplicate of an earlier row".to_owned()));
    Ok(())
}

#[cfg(test)]
impl Samples {
    /// Rows of one bin for tests, LSs counted from 1: one list of values a run.
    pub(crate) fn made(runs: &[Vec<f32>]) -> Self {
        let source =
            Source { name: "a".into(), path: "a".into(), role: Role::Train, format: Format::LsBins, bytes: 0, sha256: String::new(), rows: 0 };
        let row = |run: usize, at: usize| Row { source: 0, run: run as u32, ls: at as u32 + 1, line: 1 };
        Self {
            sources: vec![source],
            runs: (0..runs.len() as u32).map(|run| Run { number: Some(run), name: run.to_string() }).collect(),
            width: 1,
            rows: runs.iter().enumerate().flat_map(|(run, values)| (0..values.len()).map(move |at| row(run, at))).collect(),
            values: runs.concat(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Document;

    fn experiment(text: &str, folder: &Path) -> Experiment {
        Experiment::check(&Document::parse(text, &folder.join("x.toml")).unwrap(), "x").unwrap()
    }

    fn load_texts(files: &[(&str, &str)], config: &str) -> Result<Samples> {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
        let experiment = experiment(config, folder.path());
        load(&experiment, &[(Role::Train, &experiment.train_files), (Role::Test, &experiment.test_files)], Extra::Required(&[]), &|_| {})
    }

    #[test]
    fn rows_are_sorted_by_run_and_ls_as_numbers() {
        let text = "fromrun,fromlumi,histo\n300000,10,\"[1]\"\n300000,9,\"[2]\"\n299999,100,\"[3]\"\n";
        let samples = load_texts(&[("a.csv", text)], "data.train = [\"a.csv\"]").unwrap();
        assert_eq!(samples.values, [3.0, 2.0, 1.0]);
        assert_eq!(samples.run_ranges(), [0..1, 1..3]);
        assert_eq!(samples.id(1), Lumisection { run: Some(300000), ls: 9 });
    }

    #[test]
    fn duplicates_are_an_error_or_rejected() {
        let text = "ls;histo\n1;[1]\n1;[2]\n2;[3]\n";
        let message = load_texts(&[("a.csv", text)], "data.train = [\"a.csv\"]").unwrap_err().to_string();
        assert!(message.contains("a.csv:3: duplicate of") && message.contains("LS 1 is there twice"), "{message}");
        let samples = load_texts(&[("a.csv", text)], "data = {train = [\"a.csv\"], bad_rows = \"reject\"}").unwrap();
        assert_eq!((samples.values, samples.rejected.len()), (vec![1.0, 3.0], 1));
    }

    #[test]
    fn training_rows_in_the_test_set_are_refused() {
        let text = "ls;histo\n1;[100,3]\n2;[300,4]\n";
        let config = "data = {train = [\"a.csv\"], test = [\"b.csv\"]}";
        let message = load_texts(&[("a.csv", text), ("b.csv", text)], config).unwrap_err().to_string();
        assert!(message.starts_with("training rows inside the test set: 2 lumisections"), "{message}");
        assert!(load_texts(&[("a.csv", text), ("b.csv", "ls;histo\n1;[100,4]\n2;[300,5]\n")], config).is_ok());
    }

    #[test]
    fn a_file_counts_once() {
        let text = "ls;histo\n1;[100,3]\n";
        let message = load_texts(&[("a.csv", text), ("b.csv", text)], "data.train = [\"*.csv\"]").unwrap_err().to_string();
        assert!(message.contains("a.csv and ") && message.contains("b.csv hold the same bytes"), "{message}");
    }

    #[test]
    fn flow_bins_are_stripped_where_asked() {
        let text = "fromrun,fromlumi,histo,Xbins\n1,1,\"[9,1,2,8]\",2\n";
        let samples = load_texts(&[("a.csv", text)], "data = {train = [\"a.csv\"], flow_bins = \"strip\"}").unwrap();
        assert_eq!((samples.values, samples.width, samples.flow_bins), (vec![1.0, 2.0], 2, false));
    }

    #[test]
    fn a_file_that_does_not_say_it_has_flow_bins_does_not_go_with_one_that_was_stripped() {
        let said = "fromrun,fromlumi,histo,Xbins\n1,1,\"[9,1,2,8]\",2\n";
        let unsaid = "fromrun,fromlumi,histo\n2,1,\"[9,1,2,8]\"\n";
        let message =
            load_texts(&[("a.csv", said), ("b.csv", unsaid)], "data = {train = [\"*.csv\"], flow_bins = \"strip\"}").unwrap_err().to_string();
        assert!(message.contains("b.csv: 4 bins, but") && message.contains("a.csv has 2"), "{message}");
    }

    #[test]
    fn files_of_different_width_do_not_go_together() {
        let message =
            load_texts(&[("a.csv", "ls;histo\n1;[1,2]\n"), ("b.csv", "ls;histo\n1;[1,2,3]\n")], "data.train = [\"*.csv\"]").unwrap_err().to_string();
        assert!(message.contains("b.csv: 3 bins, but") && message.contains("a.csv has 2"), "{message}");
    }
}
