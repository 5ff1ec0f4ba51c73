//! The runs, files, notes and unreadable rows of joined tables.

use crate::{
    config::data::{Data, FlowBins},
    data::{
        paths::file_name,
        samples::{Rejected, Run, Samples, Source},
        table::Table,
    },
};
use std::collections::{HashMap, HashSet};

/// Moves notes and unreadable rows of tables, each with the index of its file, to the samples.
pub fn describe<'t>(
    samples: &mut Samples,
    mut sources: Vec<Source>,
    tables: impl Iterator<Item = (usize, &'t mut Table)>,
    data: &Data,
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
            // Layers of one file have the same notes.
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        samples
            .rejected
            .extend(table.faults.drain(..).map(|fault| Rejected::unreadable(source as u32, fault)));
    }
    if data.flow_bins == FlowBins::Strip && !strips {
        samples.notes.push("data.flow_bins = \"strip\": no file says that it has underflow and overflow bins, so none are removed".into());
    }
    samples.notes.extend(notes);
    samples.sources = sources;
}

/// Sets the runs of tables, each with the index of its file, in order; returns their positions.
pub fn index_runs<'t>(
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

/// The key of a run: its number, or the index of its file if it has none.
pub fn run_key(run: Option<u32>, source: usize) -> (Option<u32>, u32) {
    (run, if run.is_some() { 0 } else { source as u32 })
}
