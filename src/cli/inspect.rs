//! `lumisift inspect`: what is in a file.

use super::ui::Ui;
use crate::{
    config::raw::Data,
    data::{
        lumisections::show_ranges,
        table::{self, Table, Wanted},
    },
    error::Result,
    report::terminal,
};
use clap::Args;
use console::style;
use serde::Serialize;
use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

/// Say what is in data files: format, shapes, runs, LS ranges, gaps, duplicates, empties, rows that cannot be read
#[derive(Debug, Args)]
pub struct Arguments {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Inspected {
    file: PathBuf,
    format: String,
    bytes: u64,
    columns: Vec<String>,
    rows: usize,
    bins: usize,
    flow_bins: bool,
    elements: BTreeMap<String, usize>,
    entries_per_row: Option<(f64, f64, f64)>,
    runs: Vec<RunInspected>,
    unreadable: Vec<Unreadable>,
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
    reason: String,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let wanted = Wanted { any_element: true, ..Wanted::new(&Data::default(), vec![]) };
    let files = crate::data::expand(&arguments.files)?;
    let inspected = files.iter().map(|file| Ok(inspect(&table::read(file, &wanted)?))).collect::<Result<Vec<_>>>()?;
    if ui.json {
        return ui.print_json(&inspected);
    }
    for file in &inspected {
        ui.print(&render(file, ui.width()))?;
    }
    Ok(())
}

fn inspect(table: &Table) -> Inspected {
    let mut by_run: BTreeMap<Option<u32>, Vec<usize>> = BTreeMap::new();
    table.rows.iter().enumerate().for_each(|(i, row)| by_run.entry(row.run).or_default().push(i));
    // Several elements have one row each for a lumisection: those are no duplicates.
    let allowed = table.elements.len().max(1);
    let runs = by_run
        .into_iter()
        .map(|(run, mut rows)| {
            rows.sort_by_key(|&i| table.rows[i].ls);
            let ls: Vec<u32> = rows.iter().map(|&i| table.rows[i].ls).collect();
            let mut present = ls.clone();
            present.dedup();
            let filled: Vec<usize> = (0..rows.len()).filter(|&at| table.row(rows[at]).iter().any(|value| *value != 0.0)).collect();
            let (leading, trailing) = match (filled.first(), filled.last()) {
                (Some(first), Some(last)) => (*first, rows.len() - 1 - last),
                _ => (rows.len(), 0),
            };
            let (first_ls, last_ls) = (ls[0], ls[ls.len() - 1]);
            RunInspected {
                run,
                rows: rows.len(),
                first_ls,
                last_ls,
                gaps: (last_ls - first_ls) as usize + 1 - present.len(),
                duplicates: ls.chunk_by(|a, b| a == b).filter(|same| same.len() > allowed).map(|same| same[0]).collect(),
                empty_leading: leading,
                empty_interior: rows.len() - leading - trailing - filled.len(),
                empty_trailing: trailing,
            }
        })
        .collect();
    let entries: Vec<f64> = (0..table.rows.len()).map(|i| table.row(i).iter().map(|value| f64::from(*value)).sum()).collect();
    let at = |p: f64| crate::score::threshold::percentile(&entries, p);
    Inspected {
        file: table.path.clone(),
        format: table.format.to_string(),
        bytes: table.bytes,
        columns: table.header.clone(),
        rows: table.rows.len(),
        bins: table.width,
        flow_bins: table.flow_bins,
        elements: table.elements.clone(),
        entries_per_row: at(0.0).zip(at(50.0)).zip(at(100.0)).map(|((low, middle), high)| (low, middle, high)),
        runs,
        unreadable: table.faults.iter().map(|fault| Unreadable { line: fault.line, reason: fault.reason.clone() }).collect(),
    }
}

const MOST_RUNS: usize = 20;
const MOST_FAULTS: usize = 10;

fn render(file: &Inspected, width: u16) -> String {
    let mut text = String::new();
    let flow = if file.flow_bins { format!(" ({} + underflow + overflow)", file.bins - 2) } else { String::new() };
    let _ = writeln!(text, "{}  {}, {} bytes", style(file.file.display()).bold(), file.format, file.bytes);
    let _ = writeln!(text, "columns    {}", if file.columns.is_empty() { "no header row".into() } else { file.columns.join(", ") });
    let _ = writeln!(text, "rows       {} of {} bins{flow} in {}", file.rows, file.bins, terminal::count(file.runs.len(), "run"));
    for (name, rows) in &file.elements {
        let _ = writeln!(text, "element    {name} ({rows} rows)");
    }
    if let Some((low, middle, high)) = file.entries_per_row {
        let _ = writeln!(text, "entries    {low} to {high} a row, median {middle}");
    }
    let mut runs: Vec<&RunInspected> = file.runs.iter().collect();
    let sum = |get: fn(&RunInspected) -> usize| file.runs.iter().map(get).sum::<usize>();
    let (gaps, duplicates) = (sum(|run| run.gaps), sum(|run| run.duplicates.len()));
    let empties = (sum(|run| run.empty_leading), sum(|run| run.empty_interior), sum(|run| run.empty_trailing));
    let _ = writeln!(text, "empty      {} leading, {} interior, {} trailing", empties.0, empties.1, empties.2);
    let _ = writeln!(text, "missing    {gaps} LS numbers between the first and last of their runs; {duplicates} duplicates");
    if runs.len() > MOST_RUNS {
        runs.sort_by_key(|run| std::cmp::Reverse(run.rows));
        runs.truncate(MOST_RUNS);
        let _ = writeln!(text, "the {MOST_RUNS} longest of {} runs:", file.runs.len());
    }
    let mut table = terminal::table(&["run", "rows", "LSs", "gaps", "empty", "duplicates"], width);
    for run in runs {
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
    for fault in file.unreadable.iter().take(MOST_FAULTS) {
        let _ = writeln!(text, "{} line {}: {}", style("cannot be read:").yellow(), fault.line, fault.reason);
    }
    if file.unreadable.len() > MOST_FAULTS {
        let _ = writeln!(text, "… and {} more rows", file.unreadable.len() - MOST_FAULTS);
    }
    text
}
