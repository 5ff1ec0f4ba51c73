//! Joins the tables of all files of one monitoring element or set of features.

use super::runs::{describe, index_runs, run_key};
use crate::{
    config::data::Data,
    data::{
        bins::Binning,
        channels,
        samples::{SampleRow, Samples, Source},
        shape::Shape,
        table::{Column, Table, show_edges},
    },
    error::{Error, Result},
};
use std::collections::BTreeSet;

/// Joins tables and sorts the rows by (run, LS). Each value is copied at most once; the rows of a
/// single file are sorted in place.
pub fn join_tables(mut tables: Vec<(Source, Table)>, data: &Data) -> Result<Samples> {
    let mut samples = Samples::default();
    let filled: Vec<&Table> =
        tables.iter().map(|(_, table)| table).filter(|table| !table.rows.is_empty()).collect();
    if let Some((first, others)) = filled.split_first() {
        let binning = Binning::new(first, data)?;
        samples.shape = binning.shape();
        samples.frames = vec![binning.frame(channels::ALL_FEATURES)];
        others.iter().try_for_each(|other| {
            same_kind(first, other, samples.shape, Binning::new(other, data)?.shape())
        })?;
        samples.flow_bins = first.flow_bins && binning.keeps_flow_bins();
        samples.edges = if binning.keeps_axes() { first.edges } else { [None; 4] };
        if data.summary && samples.shape.y == 1 && !binning.keeps_axes() {
            let reason = "leaves bins of different widths, or adds underflow and overflow to them";
            let expected =
                "data.flow_bins = \"strip\" and a number that divides the number of bins";
            return Err(Error::input(format!(
                "data.rebin: with data.summary, it {reason} in {}; expected {expected}",
                first.path.display()
            )));
        }
        same_axes(&mut samples, first, others, data.summary)?;
        samples.features = first.features.clone();
        samples.hierarchy = first.hierarchy.clone();
        samples.events = first.events;
        samples.element = element(first, data);
    }
    let sources = tables.iter().map(|(source, _)| source.clone()).collect();
    describe(&mut samples, sources, tables.iter_mut().map(|(_, table)| table).enumerate(), data);
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
            SampleRow { source, run, ls, line: row.line, index: row.index }
        })
        .collect();
    let binnings =
        tables.iter().map(|(_, table)| Binning::new(table, data)).collect::<Result<Vec<_>>>()?;
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
                // Frees the values of a copied file before the next.
                tables[file].1.values = vec![];
            }
        }
    }
    Ok(samples)
}

/// Notes files with different axes; fails if their seven numbers would not be comparable.
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
            let (first, other) = (show_edges(first.edges), show_edges(other.edges));
            samples.notes.push(format!(
                "the axis of the histograms goes from {first} in {a} and from {other} in {b}, so that a bin is not the same quantity in both; keep the files of one axis"
            ));
        }
    }
    Ok(())
}

/// Reorders rows in place: row `i` becomes the former row `from[i]`.
fn reorder(values: &mut [f32], width: usize, mut from: Vec<usize>) {
    let mut first = vec![0.0; width];
    for start in 0..from.len() {
        if from[start] == start {
            continue;
        }
        // A cycle of the permutation: each row moves to the position of the one before it.
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

/// Fails if tables differ in the kind of their rows.
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

fn element(table: &Table, data: &Data) -> Option<String> {
    data.me
        .clone()
        .filter(|me| table.elements.contains_key(me))
        .or_else(|| table.elements.keys().next().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::strategy::Strategy;

    proptest::proptest! {
        #[test]
        fn rows_are_sorted_in_place(order in proptest::prelude::Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let mut values: Vec<f32> = (0..24).map(|i| i as f32).collect();
            reorder(&mut values, 2, order.clone());
            let expected: Vec<f32> = order.iter().flat_map(|&at| [2.0 * at as f32, 2.0 * at as f32 + 1.0]).collect();
            proptest::prop_assert_eq!(values, expected);
        }
    }
}
