//! Reads files of named arrays (HDF5, NPY, NPZ). One-dimensional arrays are columns; others are
//! matrices whose first axis is the row.

use super::{
    array_file::{ArrayFile, ArrayInfo},
    usual_names::{is_histogram, is_ls, is_run},
};
use super::{
    builder::{Builder, Holds},
    hdf5::Hdf5,
    layout::{Contents, Layout},
    npy::Npy,
    row::{Incoming, identity, is_sound},
};
use crate::{
    config::data::Format,
    data::{
        field::{Field, FieldKind},
        read::options::{Detail, ReadOptions},
        shape::Shape,
        table::{Column, Table},
    },
    error::{ColumnProblem, Error, Result, listed, suggestion},
};
use rayon::prelude::*;
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// Maximum number of values per row.
const MOST_BINS: usize = 1 << 24;
const MOST_FEATURES: usize = 1 << 20;

/// Number of values read at a time.
const BATCH_VALUES: usize = 1 << 20;

/// Reads an HDF5, NPY or NPZ file.
pub fn read(path: &Path, format: Format, wanted: &ReadOptions) -> Result<Table> {
    let damaged = |reason: String| Error::input(format!("{}: {reason}", path.display()));
    let (arrays, notes): (Box<dyn ArrayFile>, Vec<String>) = match format {
        Format::Hdf5 => {
            let file = Hdf5::open(path).map_err(damaged)?;
            let notes = file.notes().to_vec();
            (Box::new(file), notes)
        }
        Format::Npz => (Box::new(Npy::open_archive(path).map_err(damaged)?), vec![]),
        _ => (Box::new(Npy::open(path).map_err(damaged)?), vec![]),
    };
    let arrays = arrays.as_ref();
    let plan = plan(path, arrays, wanted)?;
    let mut whole: Option<Builder> = None;
    for contents in &plan.matrices {
        let part = read_rows(path, format, arrays, &plan, *contents, wanted)?;
        match &mut whole {
            Some(whole) => whole.append(part),
            None => whole = Some(part),
        }
    }
    let mut whole = match whole {
        Some(whole) => whole,
        None => read_rows(path, format, arrays, &plan, None, wanted)?,
    };
    let same = same(path, arrays, &plan, wanted.detail)?;
    notes.into_iter().chain(plan.notes).chain(same).for_each(|note| whole.note(note));
    let mut table = whole.finish()?;
    if wanted.layered && wanted.detail == Detail::Identities && plan.elements {
        // Layers may have another number of rows.
        let matrices =
            arrays.list().iter().filter(|info| info.shape.len() > 1 && info.is_numeric());
        for info in matrices {
            table.elements.entry(info.name.clone()).or_insert(info.shape[0]);
        }
    }
    table.fields = fields_of(arrays);
    Ok(table)
}

/// The arrays to read from a file.
struct ArrayPlan {
    /// Positions in the file's list of the columns, and of the matrix if there is one.
    members: Vec<usize>,
    fields: Vec<Field>,
    layout: Layout,
    /// The run of all rows, if the file has it as a single value.
    run: Option<f64>,
    rows: usize,
    /// Positions in the list of the matrices to read one after the other; `None` if columns are
    /// features.
    matrices: Vec<Option<usize>>,
    /// Whether the matrices are several monitoring elements.
    elements: bool,
    notes: Vec<String>,
}

/// Chooses the matrix or the columns that contain the rows.
fn plan(path: &Path, arrays: &dyn ArrayFile, wanted: &ReadOptions) -> Result<ArrayPlan> {
    let list = arrays.list();
    refuse_absurd_shapes(path, list)?;
    // An array of shape (n, 1) is a column if there are other arrays.
    let is_column = |info: &ArrayInfo| {
        let is_histogram = wanted
            .columns
            .histogram
            .as_ref()
            .is_some_and(|name| name.trim_start_matches('/') == info.name);
        info.shape.len() == 1
            || info.is_narrow() && list.len() > 1 && !wanted.layered && !is_histogram
    };
    let matrices: Vec<usize> = (0..list.len())
        .filter(|&at| list[at].shape.len() > 1 && list[at].is_numeric() && !is_column(&list[at]))
        .collect();
    let chosen = match (&wanted.columns.histogram, &wanted.me) {
        (_, Some(me)) if wanted.layered && matrices.len() > 1 => {
            vec![named(path, list, me, &matrices, "monitoring element")?]
        }
        _ if !wanted.columns.features.is_empty() => vec![],
        (Some(name), _) => vec![named(path, list, name, &matrices, "matrix")?],
        (None, Some(me)) if matrices.len() > 1 && wanted.detail == Detail::Values => {
            vec![named(path, list, me, &matrices, "monitoring element")?]
        }
        _ if wanted.features.as_ref().is_some_and(|names| {
            list.iter().any(|info| is_column(info) && names.contains(&info.name))
        }) =>
        {
            vec![]
        }
        _ => matrices.clone(),
    };
    if chosen.len() > 1 && wanted.detail == Detail::Values {
        let names = listed(chosen.iter().map(|&at| list[at].name.as_str()));
        return Err(Error::input(format!(
            "{}: holds several monitoring elements; choose one with data.me: {names}",
            path.display()
        )));
    }
    let columns: Vec<usize> = (0..list.len())
        .filter(|&at| is_column(&list[at]) && list[at].kind != FieldKind::Other)
        .collect();
    let rows = match chosen.first() {
        Some(&at) => list[at].rows(),
        None => usual_length(list, &columns),
    };
    let (fitting, others): (Vec<usize>, Vec<usize>) =
        columns.into_iter().partition(|&at| list[at].rows() == rows);
    let mut members = fitting;
    members.extend(chosen.first());
    if members.is_empty() {
        let names: Vec<String> = list
            .iter()
            .map(|info| format!("{} {} of {}", info.name, info.show_shape(), info.type_name))
            .collect();
        let found = if names.is_empty() {
            "no arrays".into()
        } else {
            listed(names.iter().map(String::as_str))
        };
        return Err(Error::input(format!(
            "{}: holds no rows of numbers; found {found}",
            path.display()
        )));
    }
    let field = |&at: &usize| {
        let info = &list[at];
        let kind = if is_column(info) { info.kind } else { FieldKind::List };
        let type_name = if is_column(info) {
            info.type_name.clone()
        } else {
            format!("{} {}", info.type_name, info.show_shape())
        };
        Field { name: info.name.clone(), kind, type_name }
    };
    let fields: Vec<Field> = members.iter().map(field).collect();
    let (mut wanted, several, is_named) =
        (wanted.clone(), matrices.len() > 1, wanted.columns.histogram.is_some());
    wanted.columns.histogram = chosen.first().map(|&at| list[at].name.clone());
    let has = |name: &str| members.iter().any(|&at| list[at].name == name);
    for name in wanted.names().filter(|name| !has(name)) {
        if let Some(refusal) = refusal(list, name.trim_start_matches('/')) {
            let message = format!("{}: \"{name}\" cannot be read: {refusal}", path.display());
            return Err(Error::column(name, ColumnProblem::Unreadable, message));
        }
    }
    let layout = Layout::find(path, &fields, &wanted)?;
    // Without lumisections, rows would be events; without a run, they would be of another run.
    let run = match layout.run {
        Some(_) => None,
        None => only_value(arrays, |info| is_run(&info.name))
            .map_err(|reason| Error::input(format!("{}: {reason}", path.display())))?,
    };
    refuse_lost_identity(path, list, &layout, run, rows)?;
    // The name of a layer is that of its matrix, unless a column has it.
    let elements = !chosen.is_empty()
        && if wanted.layered { several || layout.me.is_none() } else { several && !is_named };
    let mut notes = enumerations(&fields, &layout).into_iter().collect::<Vec<_>>();
    notes.extend(not_read(list, others, rows, run.is_some()));
    let matrices = chosen.into_iter().filter(|&at| list[at].rows() == rows).map(Some).collect();
    Ok(ArrayPlan { members, fields, layout, run, rows, matrices, elements, notes })
}

/// Refuses arrays of absurd shape.
fn refuse_absurd_shapes(path: &Path, list: &[ArrayInfo]) -> Result<()> {
    let absurd = |info: &&ArrayInfo| {
        let most = if info.shape.len() == 2 { MOST_FEATURES } else { MOST_BINS };
        info.kind != FieldKind::Other
            && (info.values().is_none() || !(1..=most).contains(&info.inner()))
    };
    if let Some(info) = list.iter().find(absurd) {
        return Err(Error::input(format!(
            "{}: \"{}\" claims the shape {}",
            path.display(),
            info.name,
            info.show_shape()
        )));
    }
    Ok(())
}

/// The array of this name among some.
fn named(
    path: &Path,
    list: &[ArrayInfo],
    name: &str,
    among: &[usize],
    what: &str,
) -> Result<usize> {
    let plain = name.trim_start_matches('/');
    among.iter().copied().find(|&at| list[at].name == plain).ok_or_else(|| {
        let names = || among.iter().map(|&at| list[at].name.as_str());
        let near = refusal(list, plain)
            .map_or_else(|| suggestion(plain, names()), |refusal| format!(" ({refusal})"));
        Error::input(format!(
            "{}: no {what} \"{name}\"{near}; it holds {}",
            path.display(),
            listed(names())
        ))
    })
}

/// Refuses a file with runs or lumisections that cannot be read.
fn refuse_lost_identity(
    path: &Path,
    list: &[ArrayInfo],
    layout: &Layout,
    run: Option<f64>,
    rows: usize,
) -> Result<()> {
    let lost_run = list.iter().find(|info| {
        layout.run.is_none()
            && run.is_none()
            && is_run(&info.name)
            && refusal(list, &info.name).is_some()
    });
    let lost_ls = list.iter().find(|info| {
        layout.ls.is_none()
            && is_ls(&info.name)
            && (info.kind == FieldKind::Other || !info.shape.is_empty())
    });
    if let Some((info, what, key)) = lost_run
        .map(|info| (info, "run", "run"))
        .or(lost_ls.map(|info| (info, "lumisection", "ls")))
    {
        let refusal = refusal(list, &info.name).unwrap_or_else(|| {
            format!("it is of shape {}, but there are {rows} rows", info.show_shape())
        });
        let name =
            format!("{}: \"{}\" should be the {what} of each row", path.display(), info.name);
        return Err(Error::input(format!(
            "{name} and cannot be read: {refusal}; repair it, or name another column with data.columns.{key}"
        )));
    }
    Ok(())
}

/// A note on inputs that are enumerations.
fn enumerations(fields: &[Field], layout: &Layout) -> Option<String> {
    let enumerations: Vec<&str> = layout
        .contents()
        .iter()
        .map(|&at| &fields[at])
        .filter(|field| field.type_name.starts_with("enum("))
        .map(|field| field.name.as_str())
        .collect();
    (!enumerations.is_empty()).then(|| {
        format!(
            "the numbers of enumerations are inputs: {}; data.columns.ignore leaves them out",
            listed(enumerations)
        )
    })
}

/// Notes on arrays that are not read: those of another length, and those that are not columns.
fn not_read(
    list: &[ArrayInfo],
    others: Vec<usize>,
    rows: usize,
    has_only_run: bool,
) -> Vec<String> {
    let mut notes = vec![];
    let is_only_run = |info: &ArrayInfo| has_only_run && is_run(&info.name);
    let others: Vec<usize> = others.into_iter().filter(|&at| !is_only_run(&list[at])).collect();
    if !others.is_empty() {
        let names: Vec<String> = others
            .iter()
            .map(|&at| format!("{} {}", list[at].name, list[at].show_shape()))
            .collect();
        notes.push(format!(
            "not read, because the rows are {rows}: {}",
            listed(names.iter().map(String::as_str))
        ));
    }
    let unread = list.iter().filter(|info| {
        (info.kind == FieldKind::Other || info.shape.is_empty()) && !is_only_run(info)
    });
    let unread: Vec<String> = unread
        .map(|info| format!("{} ({})", info.name, refusal(list, &info.name).unwrap_or_default()))
        .collect();
    if !unread.is_empty() {
        notes.push(format!(
            "left out, because it cannot be read as a column: {}",
            listed(unread.iter().map(String::as_str))
        ));
    }
    notes
}

/// The reason why an array cannot be a column.
fn refusal(list: &[ArrayInfo], name: &str) -> Option<String> {
    let info = list.iter().find(|info| info.name == name)?;
    match info.kind {
        FieldKind::Other if info.shape.is_empty() => Some(info.type_name.clone()),
        FieldKind::Other => Some(format!("{} of {}", info.show_shape(), info.type_name)),
        _ if info.shape.is_empty() => Some(format!("a single value of {}", info.type_name)),
        _ => None,
    }
}

/// The value of a numeric array with a single value.
fn only_value(
    arrays: &dyn ArrayFile,
    is_it: impl Fn(&ArrayInfo) -> bool,
) -> std::result::Result<Option<f64>, String> {
    let Some(at) = arrays
        .list()
        .iter()
        .position(|info| is_it(info) && info.is_numeric() && info.values() == Some(1))
    else {
        return Ok(None);
    };
    Ok(arrays.doubles(at)?.first().copied())
}

/// Notes on columns that must be equal; fails if they differ.
fn same(
    path: &Path,
    arrays: &dyn ArrayFile,
    plan: &ArrayPlan,
    detail: Detail,
) -> Result<Vec<String>> {
    let mut notes = plan.layout.notes.clone();
    for twin in plan.layout.twins.iter().filter(|_| detail != Detail::Identities) {
        let entries = |at: usize| {
            let position = plan.members[at];
            let entries = match plan.fields[at].kind {
                FieldKind::Text => arrays.texts(position),
                FieldKind::Number | FieldKind::Flag => arrays
                    .doubles(position)
                    .map(|numbers| numbers.iter().map(f64::to_string).collect()),
                _ => return Ok(None),
            };
            entries
                .map(Some)
                .map_err(|reason| Error::input(format!("{}: {reason}", path.display())))
        };
        let differs = match (entries(twin.taken)?, entries(twin.left)?) {
            (Some(taken), Some(left)) if taken.len() == left.len() => {
                taken.iter().zip(&left).position(|(a, b)| a != b)
            }
            _ => Some(0),
        };
        match twin.settle(
            path,
            &plan.fields,
            differs.map(|row| format!("first in row {row}")).as_deref(),
        ) {
            Ok(note) => notes.extend(note),
            Err(error) if detail == Detail::Values => return Err(error),
            Err(error) => notes.push(error.to_string()),
        }
    }
    Ok(notes)
}

/// The most common length of columns; the longest if tied.
fn usual_length(list: &[ArrayInfo], columns: &[usize]) -> usize {
    let count = |length: usize| columns.iter().filter(|&&at| list[at].rows() == length).count();
    columns
        .iter()
        .map(|&at| list[at].rows())
        .max_by_key(|&length| (count(length), length))
        .unwrap_or(0)
}

/// Reads all rows of one matrix, or of the columns that are features, in batches on all cores.
fn read_rows(
    path: &Path,
    format: Format,
    arrays: &dyn ArrayFile,
    plan: &ArrayPlan,
    matrix: Option<usize>,
    wanted: &ReadOptions,
) -> Result<Builder> {
    let damaged = |reason: String| Error::input(format!("{}: {reason}", path.display()));
    let list = arrays.list();
    let ArrayPlan { layout, .. } = plan;
    let position = |at: usize| plan.members[at];
    let sources: Vec<usize> = match (matrix, &layout.contents) {
        (Some(at), _) => vec![at],
        (None, Contents::Bins(columns) | Contents::Features(columns)) => {
            columns.iter().map(|&at| position(at)).collect()
        }
        (None, Contents::List(at)) => vec![position(*at)],
    };
    let first = &list[sources[0]];
    let shape = match (matrix, first.shape.len()) {
        (Some(_), axes) if axes > 2 => {
            Some(Shape { y: first.shape[1..axes - 1].iter().product(), x: first.shape[axes - 1] })
        }
        _ => None,
    };
    let width = if matrix.is_some() { first.inner() } else { sources.len() };
    // A matrix of two axes may be anything: unless declared as histograms, its columns are
    // features.
    let holds = match (shape, &layout.contents) {
        (Some(_), _) | (None, Contents::Bins(_)) => Holds::Histograms,
        (None, Contents::Features(_)) => {
            Holds::Features(sources.iter().map(|&at| list[at].name.clone()).collect())
        }
        (None, Contents::List(_))
            if wanted.layered
                || wanted.columns.histogram.is_some()
                || is_histogram(&first.name) =>
        {
            Holds::Histograms
        }
        (None, Contents::List(_)) => {
            Holds::Features((0..width).map(|i| format!("{}_{i}", first.name)).collect())
        }
    };
    let histograms = matches!(holds, Holds::Histograms);
    let mut builder = Builder::new(path, format, vec![], holds, layout.extra_names(), wanted);
    builder.has_axis(layout.edges[0].is_some() && layout.edges[1].is_some());
    builder.make_room(
        plan.rows,
        if wanted.detail == Detail::Values { plan.rows.saturating_mul(width) } else { 0 },
    )?;
    let doubles =
        |at: Option<usize>| at.map(|at| arrays.doubles(position(at)).map_err(damaged)).transpose();
    let run = doubles(layout.run)?.or_else(|| plan.run.map(|run| vec![run; plan.rows]));
    let ls = doubles(layout.ls)?;
    let mut edges = vec![];
    for at in layout.edges {
        edges.push(doubles(at)?);
    }
    let me = layout.me.map(|at| arrays.texts(position(at)).map_err(damaged)).transpose()?;
    let mut extra = vec![];
    for (_, at) in &layout.extra {
        extra.push(match plan.fields[*at].kind {
            FieldKind::Text => Column::Texts(arrays.texts(position(*at)).map_err(damaged)?),
            _ => Column::Numbers(arrays.doubles(position(*at)).map_err(damaged)?),
        });
    }
    let element = plan.elements.then_some(first.name.as_str());
    let step =
        if arrays.seekable() { (BATCH_VALUES / width.max(1)).max(1) } else { plan.rows.max(1) };
    // Values that are kept are allocated at once, and each thread is the first to touch its part;
    // summaries need only a few at a time.
    let at_once = if wanted.detail == Detail::Values {
        plan.rows.max(1)
    } else {
        step.saturating_mul(2 * rayon::current_num_threads())
    };
    for start in (0..plan.rows).step_by(at_once) {
        let rows = start..(start + at_once).min(plan.rows);
        if wanted.detail != Detail::Identities {
            builder.make_room(rows.len(), rows.len().saturating_mul(width))?;
            let values = builder.values();
            let before = values.len();
            grow(values, rows.len().saturating_mul(width)).map_err(damaged)?;
            let all_sound = AtomicBool::new(true);
            let fill = |(i, target): (usize, &mut [f32])| {
                let from = start + i * step;
                let rows = from..from + target.len() / width.max(1);
                crate::guard::decode(path, || {
                    if matrix.is_some() {
                        arrays.singles(sources[0], rows, target)
                    } else {
                        arrays.columns(&sources, rows, target)
                    }
                    .map_err(damaged)?;
                    all_sound.fetch_and(is_sound(target, histograms), Ordering::Relaxed);
                    Ok(())
                })
            };
            values[before..].par_chunks_mut(step * width.max(1)).enumerate().try_for_each(fill)?;
            builder.trust(all_sound.into_inner());
        }
        for i in rows {
            let me = element.or_else(|| me.as_ref().map(|me| me[i].as_str()));
            if me.is_some_and(|me| !builder.element(me)) {
                builder.pass(width);
                continue;
            }
            let edges = [0, 1, 2, 3].map(|edge| {
                edges[edge].as_ref().map(|edges| edges[i]).filter(|edge| !edge.is_nan())
            });
            let mut incoming = Incoming { shape, edges, ..Incoming::default() };
            let id = identity(run.as_deref(), i, "run number").and_then(|run| {
                incoming.run = run;
                identity(ls.as_deref(), i, "LS number").map(|ls| incoming.ls = ls)
            });
            if wanted.detail == Detail::Identities {
                incoming.shape = incoming.shape.or(Some(Shape::line(width)));
                builder.identity(incoming);
                continue;
            }
            match id {
                Ok(()) if builder.row_of(width, incoming) => extra
                    .iter()
                    .enumerate()
                    .for_each(|(at, column)| builder.extra(at).push(column, i)),
                Ok(()) => {}
                Err(reason) => builder.refuse(width, incoming, reason),
            }
        }
        builder.settle();
        builder.make_room(0, 0)?;
    }
    Ok(builder)
}

/// Appends zeros; the first are of untouched memory pages. Out of memory is an error, not an abort.
fn grow(values: &mut Vec<f32>, more: usize) -> std::result::Result<(), String> {
    let missing = |_| "does not fit into memory".to_owned();
    if values.is_empty() {
        std::hint::black_box(&mut Vec::<f32>::new()).try_reserve_exact(more).map_err(missing)?;
        *values = vec![0.0; more];
    } else {
        values.try_reserve(more).map_err(missing)?;
        values.resize(values.len() + more, 0.0);
    }
    Ok(())
}

/// All arrays as fields for display.
fn fields_of(arrays: &dyn ArrayFile) -> Vec<Field> {
    let field = |info: &ArrayInfo| Field {
        name: info.name.clone(),
        kind: if info.shape.len() > 1 { FieldKind::List } else { info.kind },
        type_name: format!("{} {}", info.type_name, info.show_shape()),
    };
    arrays.list().iter().map(field).collect()
}
