//! Reads Parquet and Arrow IPC: histograms as lists (DIALS, DQMIO), or a column per bin or feature.

use super::{
    budget::budget,
    builder::Builder,
    entries::{append_f32, append_list, doubles, entries, flat, is_time, kind, texts},
    ipc,
    layout::{Contents, Layout},
    pages,
    row::{Incoming, identity, whole},
    values::parse_list,
};
use crate::{
    config::data::Format,
    data::{
        field::{Field, FieldKind},
        read::options::{Detail, ReadOptions},
        shape::Shape,
        table::{Column, Table},
    },
    error::{ColumnProblem, Error, Result},
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, Schema};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
};
use rayon::prelude::*;
use std::{
    collections::HashSet,
    fs::File,
    io::{BufReader, Read, Seek},
    path::Path,
    sync::Arc,
};

/// Number of values decoded at a time; bounds memory, not the size of files.
const BATCH_VALUES: usize = 1 << 17;

/// Limits for a column chunk: one that is larger and has a higher compression ratio is malicious.
const LARGE_CHUNK: i64 = 1 << 29;
const MOST_PACKED: i64 = 2000;
/// Maximum number of bytes of text decoded at a time.
pub const LARGEST_TEXTS: usize = 1 << 28;

/// Reads the metadata of a Parquet file.
pub fn metadata(path: &Path) -> Result<ArrowReaderMetadata> {
    // The plain Parquet types: no dictionaries, no large lists.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let mut file = File::open(path).map_err(|error| Error::reading(path, error))?;
    let length = file.metadata().map_err(|error| Error::reading(path, error))?.len();
    pages::check_footer(&mut file, length).map_err(|reason| damaged_parquet(path, &reason))?;
    let metadata =
        ArrowReaderMetadata::load(&file, options).map_err(|error| damaged_parquet(path, &error))?;
    for column in metadata
        .metadata()
        .row_groups()
        .iter()
        .flat_map(parquet::file::metadata::RowGroupMetaData::columns)
    {
        let (packed, unpacked) = (column.compressed_size().max(1), column.uncompressed_size());
        if unpacked > LARGE_CHUNK && unpacked / packed > MOST_PACKED {
            return Err(damaged_parquet(
                path,
                &format!(
                    "\"{}\" claims to unpack {packed} bytes to {unpacked}",
                    column.column_path()
                ),
            ));
        }
    }
    Ok(metadata)
}

/// Checks the pages of a group's columns; returns the length of the longest text page, because each
/// row may repeat all of it.
pub fn check_pages(
    path: &Path,
    metadata: &ArrowReaderMetadata,
    group: usize,
    roots: &[usize],
) -> Result<usize> {
    let file = File::open(path).map_err(|error| Error::reading(path, error))?;
    let (mut together, mut text) = (0_u64, 0);
    for (at, column) in metadata.metadata().row_group(group).columns().iter().enumerate() {
        if !roots.contains(&metadata.parquet_schema().get_column_root_idx(at)) {
            continue;
        }
        let longest = pages::check_chunk(&file, column).map_err(|reason| {
            damaged_parquet(path, &format!("\"{}\": {reason}", column.column_path()))
        })?;
        // A dictionary and a data page are in memory at the same time.
        together = together.saturating_add(longest.saturating_mul(2));
        if column.column_type() == parquet::basic::Type::BYTE_ARRAY {
            text = text.max(longest);
        }
    }
    let most = budget(path);
    if together > most {
        return Err(damaged_parquet(
            path,
            &format!(
                "pages claim to unpack to {together} bytes, more than a file of its size can hold"
            ),
        ));
    }
    Ok(usize::try_from(text).unwrap_or(usize::MAX))
}

fn damaged_parquet(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::input(format!("{}: not a whole Parquet file: {error}", path.display()))
}

/// Checks the pages of a table written by this program; returns its batches.
pub fn read_table(path: &Path, batch_rows: usize) -> Result<(Arc<Schema>, Vec<RecordBatch>)> {
    let damaged = |error: &dyn std::fmt::Display| damaged_parquet(path, error);
    crate::guard::decode(path, || {
        let metadata = metadata(path)?;
        let file = File::open(path).map_err(|error| Error::reading(path, error))?;
        let roots: Vec<usize> = (0..metadata.schema().fields().len()).collect();
        let (mut longest, mut values) = (1, 0_u64);
        for (at, group) in metadata.metadata().row_groups().iter().enumerate() {
            longest = check_pages(path, &metadata, at, &roots)?.max(longest);
            let of_group = group
                .columns()
                .iter()
                .map(|column| u64::try_from(column.num_values()).unwrap_or(u64::MAX));
            values = of_group.fold(values, u64::saturating_add);
        }
        if values.saturating_mul(8) > budget(path) {
            return Err(damaged(&format!("it claims to hold {values} values")));
        }
        let schema = metadata.schema().clone();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
            .with_batch_size((LARGEST_TEXTS / longest).clamp(1, batch_rows));
        let batches = reader.build().map_err(|error| damaged(&error))?;
        let batches =
            batches.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| damaged(&error))?;
        Ok((schema, batches))
    })
}

/// Reads a Parquet file, row groups in parallel.
pub fn read_parquet(path: &Path, wanted: &ReadOptions) -> Result<Table> {
    let damaged = |error: &dyn std::fmt::Display| damaged_parquet(path, error);
    let open = || File::open(path).map_err(|error| Error::reading(path, error));
    let metadata = metadata(path)?;
    let fields = fields(metadata.schema());
    let layout = Layout::find(path, &fields, wanted)?;
    layout.require_ls(path, &fields)?;
    // Number of rows of each group, and of its values that become inputs.
    let inputs: HashSet<&str> =
        layout.contents().iter().map(|&at| fields[at].name.as_str()).collect();
    let groups: Vec<(usize, usize)> = metadata
        .metadata()
        .row_groups()
        .iter()
        .map(|group| {
            let columns = group.columns().iter().filter(|column| {
                column
                    .column_path()
                    .parts()
                    .first()
                    .is_some_and(|name| inputs.contains(name.as_str()))
            });
            (
                group.num_rows().max(0) as usize,
                columns.map(|column| column.num_values().max(0) as usize).sum(),
            )
        })
        .collect();
    let part = |group: usize| {
        crate::guard::decode(path, || {
            let (rows, values) = groups[group];
            if !has_wanted_runs(open()?, &metadata, group, &layout, wanted)
                .map_err(|error| damaged(&error))?
            {
                let mut builder =
                    Builder::of_layout(path, Format::Parquet, &fields, &layout, wanted);
                builder.skip(rows);
                return Ok(builder);
            }
            let columns = layout.columns(wanted.detail != Detail::Identities);
            let longest_text = check_pages(path, &metadata, group, &columns)?;
            let batch_rows = (BATCH_VALUES / (values / rows.max(1)).max(1))
                .min(LARGEST_TEXTS / longest_text.max(1))
                .clamp(1, 8192);
            let reader =
                ParquetRecordBatchReaderBuilder::new_with_metadata(open()?, metadata.clone())
                    .with_row_groups(vec![group])
                    .with_projection(ProjectionMask::roots(metadata.parquet_schema(), columns))
                    .with_batch_size(batch_rows)
                    .build()
                    .map_err(|error| damaged(&error))?;
            let mut builder = Builder::of_layout(path, Format::Parquet, &fields, &layout, wanted);
            for batch in reader {
                append(
                    &batch.map_err(|error| damaged(&error))?,
                    &layout,
                    &fields,
                    wanted.detail,
                    &mut builder,
                )?;
            }
            Ok(builder)
        })
    };
    let mut whole = Builder::of_layout(path, Format::Parquet, &fields, &layout, wanted);
    // The file may lie, so this only reserves memory.
    let all = groups.iter().fold(0_usize, |sum, (_, values)| sum.saturating_add(*values));
    let expected =
        if wanted.detail == Detail::Values && wanted.me.is_none() && wanted.runs.is_none() {
            all
        } else {
            0
        };
    whole.make_room(0, expected)?;
    if groups.len() > 1 && whole.values().try_reserve_exact(expected).is_err() {
        return Err(damaged(&format!("it claims to hold {expected} values")));
    }
    let all: Vec<usize> = (0..groups.len()).collect();
    for some in all.chunks(rayon::current_num_threads()) {
        for part in some.par_iter().map(|&group| part(group)).collect::<Result<Vec<_>>>()? {
            whole.append(part);
            whole.make_room(0, 0)?;
        }
    }
    let mut table = whole.finish()?;
    table.y_fastest = from_dqmiotools(&table, &layout);
    Ok(table)
}

/// Whether a row group has any of the wanted runs; reads only the column of runs.
fn has_wanted_runs(
    file: File,
    metadata: &ArrowReaderMetadata,
    group: usize,
    layout: &Layout,
    wanted: &ReadOptions,
) -> std::result::Result<bool, ArrowError> {
    let Some((runs, at)) = wanted.runs.as_ref().zip(layout.run) else { return Ok(true) };
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
        .with_row_groups(vec![group])
        .with_projection(ProjectionMask::roots(metadata.parquet_schema(), [at]))
        .build()?;
    for batch in reader {
        // A row without a valid run number cannot be read and is reported.
        if run_numbers(batch?.column(0))?
            .into_iter()
            .any(|run| whole(run).is_none_or(|run| runs.contains(&run)))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Run numbers; NaN for texts, which are parsed row by row.
fn run_numbers(column: &ArrayRef) -> std::result::Result<Vec<f64>, ArrowError> {
    Ok(doubles(flat(column)?.as_ref()))
}

/// Whether maps have the layout that dqmiotools writes to Parquet: flat, y fastest
/// (`values().flatten()` of a ROOT histogram), without underflow and overflow. In its CSVs, which
/// include those, and in DIALS x is the fastest axis.
fn from_dqmiotools(table: &Table, layout: &Layout) -> bool {
    let named = |at: Option<usize>, name: &str| at.is_some_and(|at| table.fields[at].name == name);
    let flat = matches!(layout.contents, Contents::List(at) if !table.fields[at].type_name.starts_with("list(list"));
    table.shape.y > 1
        && !table.flow_bins
        && flat
        && named(layout.run, "fromrun")
        && named(layout.y_bins, "Ybins")
}

/// Reads an Arrow IPC file (Feather) or stream.
pub fn read_arrow(path: &Path, wanted: &ReadOptions) -> Result<Table> {
    let mut file = BufReader::new(File::open(path).map_err(|error| Error::reading(path, error))?);
    let mut magic = [0; 6];
    let is_file = file.read_exact(&mut magic).is_ok() && &magic == b"ARROW1";
    file.rewind().map_err(|error| Error::reading(path, error))?;
    ipc::check(path, is_file).map_err(|reason| damaged_arrow(path, &reason))?;
    if is_file {
        let reader =
            FileReader::try_new(file, None).map_err(|error| damaged_arrow(path, &error))?;
        let schema = reader.schema();
        read_batches(path, &schema, reader, wanted)
    } else {
        let reader =
            StreamReader::try_new(file, None).map_err(|error| damaged_arrow(path, &error))?;
        let schema = reader.schema();
        read_batches(path, &schema, reader, wanted)
    }
}

fn damaged_arrow(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::input(format!("{}: not a whole Arrow file: {error}", path.display()))
}

fn read_batches(
    path: &Path,
    schema: &Schema,
    batches: impl Iterator<Item = std::result::Result<RecordBatch, ArrowError>>,
    wanted: &ReadOptions,
) -> Result<Table> {
    let fields = fields(schema);
    let layout = Layout::find(path, &fields, wanted)?;
    layout.require_ls(path, &fields)?;
    let mut builder = Builder::of_layout(path, Format::Arrow, &fields, &layout, wanted);
    for batch in batches {
        append(
            &batch.map_err(|error| damaged_arrow(path, &error))?,
            &layout,
            &fields,
            wanted.detail,
            &mut builder,
        )?;
    }
    builder.finish()
}

/// The columns of a schema with their kinds.
fn fields(schema: &Schema) -> Vec<Field> {
    let field = |field: &arrow_schema::FieldRef| Field {
        name: field.name().clone(),
        kind: kind(field.data_type()),
        type_name: field.data_type().to_string().to_lowercase(),
    };
    schema.fields().iter().map(field).collect()
}

/// Appends the rows of a batch; its columns are those of [`Layout::columns`] (Parquet) or all
/// (Arrow).
fn append(
    batch: &RecordBatch,
    layout: &Layout,
    fields: &[Field],
    detail: Detail,
    builder: &mut Builder,
) -> Result<()> {
    builder.make_room(batch.num_rows(), 0)?;
    let projected = batch.num_columns() < fields.len();
    let kept = layout.columns(detail != Detail::Identities);
    let (path, budget) = (builder.path().to_path_buf(), builder.budget());
    let damaged =
        |error: &dyn std::fmt::Display| Error::input(format!("{}: {error}", path.display()));
    let column = |at: usize| {
        let position = if projected { kept.binary_search(&at).unwrap_or_default() } else { at };
        flat(batch.column(position)).map_err(|error| damaged(&error))
    };
    let text = |at: usize| texts(column(at)?.as_ref(), budget).map_err(|reason| damaged(&reason));
    let numbers = |at: Option<usize>| {
        at.map(|at| column(at).map(|column| doubles(column.as_ref()))).transpose()
    };
    let known = |at: Option<usize>| {
        let Some(at) = at else { return Ok(None) };
        let texts = if fields[at].kind == FieldKind::Text { Some(text(at)?) } else { None };
        let number = |text: &Option<String>| {
            text.as_ref().and_then(|text| text.trim().parse().ok()).unwrap_or(f64::NAN)
        };
        let numbers = match &texts {
            Some(texts) => texts.iter().map(number).collect(),
            None => doubles(column(at)?.as_ref()),
        };
        Ok(Some(Known { numbers, texts }))
    };
    let (run, ls, me) = (known(layout.run)?, known(layout.ls)?, layout.me.map(text).transpose()?);
    let (x_bins, y_bins) = (numbers(layout.x_bins)?, numbers(layout.y_bins)?);
    let edges = layout.edges.map(numbers).into_iter().collect::<Result<Vec<_>>>()?;
    let unreadable = |name: &str, at: usize| {
        let message = format!(
            "{}: column \"{name}\" holds {}, neither numbers, texts nor times",
            path.display(),
            fields[at].type_name
        );
        Error::column(name, ColumnProblem::Unreadable, message)
    };
    let mut extra = vec![];
    for (name, at) in &layout.extra {
        let kind = fields[*at].kind;
        extra.push(match kind {
            FieldKind::Text => {
                Column::Texts(text(*at)?.into_iter().map(Option::unwrap_or_default).collect())
            }
            FieldKind::List => {
                return Err(unreadable(name, *at));
            }
            FieldKind::Other
                if !is_time(column(*at)?.data_type()) && !column(*at)?.data_type().is_null() =>
            {
                return Err(unreadable(name, *at));
            }
            _ => Column::Numbers(doubles(column(*at)?.as_ref())),
        });
    }
    builder.count_texts(&extra);
    let mut contents = match detail {
        Detail::Identities => None,
        _ => Some(RowValues::new(&layout.contents, fields, &column, &text)?),
    };
    let of_row = |known: &Option<Known>, i: usize, what: &str| {
        known.as_ref().map_or(Ok(None), |known| known.of_row(i, what))
    };
    let twins = if detail == Detail::Identities { &[][..] } else { layout.twins.as_slice() };
    let differ = twins
        .iter()
        .map(|twin| Ok(differ(&column(twin.taken)?, &column(twin.left)?, budget)))
        .collect::<Result<Vec<Vec<bool>>>>()?;

    for i in 0..batch.num_rows() {
        let me = me.as_ref().map(|me| me[i].as_deref().unwrap_or_default());
        if me.is_some_and(|me| !builder.element(me)) {
            continue;
        }
        let bins = |bins: &Option<Vec<f64>>| {
            bins.as_ref().and_then(|bins| whole(bins[i])).map(|bins| bins as usize)
        };
        differ
            .iter()
            .enumerate()
            .filter(|(_, differ)| differ[i])
            .for_each(|(at, _)| builder.differs(at, 0));
        let edges = [0, 1, 2, 3]
            .map(|edge| edges[edge].as_ref().map(|edges| edges[i]).filter(|edge| !edge.is_nan()));
        let mut incoming =
            Incoming { x_bins: bins(&x_bins), y_bins: bins(&y_bins), edges, ..Incoming::default() };
        let taken = of_row(&run, i, "run number")
            .and_then(|run| {
                incoming.run = run;
                incoming.ls = of_row(&ls, i, "LS number")?;
                if !builder.takes(run) {
                    return Ok(None);
                }
                contents.as_mut().map_or(Ok(None), |contents| contents.append(i, builder.values()))
            })
            .map(|shape| incoming.shape = shape);
        match taken {
            Ok(()) if contents.is_none() => builder.identity(incoming),
            Ok(()) if builder.row(incoming) => {
                extra.iter().enumerate().for_each(|(at, column)| builder.extra(at).push(column, i))
            }
            Ok(()) => {}
            Err(reason) => builder.fault(incoming, reason),
        }
        builder.make_room(0, 0)?;
    }
    Ok(())
}

/// A column of run or LS numbers, possibly as text.
struct Known {
    numbers: Vec<f64>,
    texts: Option<Vec<Option<String>>>,
}

impl Known {
    fn of_row(&self, i: usize, what: &str) -> std::result::Result<Option<u32>, String> {
        identity(Some(&self.numbers), i, what).map_err(|reason| {
            match self.texts.as_ref().and_then(|texts| texts[i].as_deref()) {
                Some(text) => format!("the {what} is \"{text}\", not a whole number"),
                None => reason,
            }
        })
    }
}

/// The rows in which two columns differ, compared as numbers or texts if possible, else as Arrow
/// values.
fn differ(a: &ArrayRef, b: &ArrayRef, most: u64) -> Vec<bool> {
    let rows = 0..a.len();
    match (entries(a, most), entries(b, most)) {
        (Some(a), Some(b)) => rows.map(|i| a[i] != b[i]).collect(),
        _ if a.data_type() == b.data_type() => {
            rows.map(|i| a.slice(i, 1).to_data() != b.slice(i, 1).to_data()).collect()
        }
        _ => rows.map(|_| true).collect(),
    }
}

/// The values of a batch's rows: lists directly, columns transposed by tiles of rows.
struct RowValues {
    source: Values,
    width: usize,
    /// The first row of the current tile, and its values.
    tile: (usize, Vec<f32>),
}

enum Values {
    List(ArrayRef),
    Texts(Vec<Option<String>>),
    Columns(Vec<Vec<f32>>),
}

/// Rows per tile: their part of each column is one cache line.
const TILE: usize = 16;

impl RowValues {
    fn new(
        contents: &Contents,
        fields: &[Field],
        column: &impl Fn(usize) -> Result<ArrayRef>,
        text: &impl Fn(usize) -> Result<Vec<Option<String>>>,
    ) -> Result<Self> {
        let source = match contents {
            Contents::List(at) if fields[*at].kind == FieldKind::Text => Values::Texts(text(*at)?),
            Contents::List(at) => Values::List(column(*at)?),
            Contents::Bins(columns) | Contents::Features(columns) => {
                let values = |at: &usize| {
                    let (column, mut values) = (column(*at)?, vec![]);
                    append_f32(column.as_ref(), 0..column.len(), &mut values);
                    values.resize(column.len(), f32::NAN);
                    Ok(values)
                };
                Values::Columns(columns.iter().map(values).collect::<Result<_>>()?)
            }
        };
        let width = if let Values::Columns(columns) = &source { columns.len() } else { 0 };
        Ok(Self { source, width, tile: (usize::MAX, vec![]) })
    }

    /// Appends the values of row `i`; the shape is that of nested lists.
    fn append(
        &mut self,
        i: usize,
        values: &mut Vec<f32>,
    ) -> std::result::Result<Option<Shape>, String> {
        match &self.source {
            Values::List(list) => append_list(list.as_ref(), i, values),
            Values::Texts(texts) => {
                parse_list(texts[i].as_deref().unwrap_or_default().trim().as_bytes(), values)
            }
            Values::Columns(columns) => {
                let first = i - i % TILE;
                if self.tile.0 != first {
                    self.tile = (first, vec![0.0; TILE * self.width]);
                    for (at, column) in columns.iter().enumerate() {
                        for (row, value) in
                            column[first..(first + TILE).min(column.len())].iter().enumerate()
                        {
                            self.tile.1[row * self.width + at] = *value;
                        }
                    }
                }
                values.extend_from_slice(&self.tile.1[(i - first) * self.width..][..self.width]);
                Ok(None)
            }
        }
    }
}
