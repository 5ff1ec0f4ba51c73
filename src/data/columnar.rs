//! Parquet and Arrow IPC: histograms as lists (DIALS, DQMIO), or a column per bin or feature.

use super::{
    builder::{Builder, Incoming, identity, whole},
    csv, ipc,
    layout::{Contents, Field, Kind, Layout},
    table::{Bring, Column, Shape, Table, Wanted},
};
use crate::{
    config::raw::Format,
    error::{Error, Result},
};
use arrow_array::{
    Array, ArrowPrimitiveType, PrimitiveArray, RecordBatch,
    cast::AsArray,
    types::{
        Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
        TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, DataType, Schema, TimeUnit};
use parquet::arrow::{
    ProjectionMask,
    arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
};
use rayon::prelude::*;
use std::{
    collections::HashSet,
    fs::File,
    io::{BufReader, Read, Seek},
    ops::Range,
    path::Path,
};

/// Values that are decoded at once: a bound on memory, not on files.
const BATCH_VALUES: usize = 1 << 17;

/// A larger part of a column that is packed more than so many times is a trap, not data.
const LARGE_CHUNK: i64 = 1 << 29;
const MOST_PACKED: i64 = 2000;

/// What a Parquet file says of itself.
pub fn metadata(path: &Path) -> Result<ArrowReaderMetadata> {
    // The plain Parquet types: no dictionaries, no large lists.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let file = File::open(path).map_err(|error| Error::reading(path, &error))?;
    let metadata = ArrowReaderMetadata::load(&file, options).map_err(|error| damaged_parquet(path, &error))?;
    for column in metadata.metadata().row_groups().iter().flat_map(parquet::file::metadata::RowGroupMetaData::columns) {
        let (packed, unpacked) = (column.compressed_size().max(1), column.uncompressed_size());
        if unpacked > LARGE_CHUNK && unpacked / packed > MOST_PACKED {
            return Err(damaged_parquet(path, &format!("\"{}\" claims to unpack {packed} bytes to {unpacked}", column.column_path())));
        }
    }
    Ok(metadata)
}

fn damaged_parquet(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::input(format!("{}: not a whole Parquet file: {error}", path.display()))
}

/// Reads a Parquet file, groups of rows side by side.
pub fn read_parquet(path: &Path, wanted: &Wanted) -> Result<Table> {
    let damaged = |error: &dyn std::fmt::Display| damaged_parquet(path, error);
    let open = || File::open(path).map_err(|error| Error::reading(path, &error));
    let metadata = metadata(path)?;
    let fields = fields(metadata.schema());
    let layout = Layout::find(path, &fields, wanted)?;
    layout.require_ls(path, &fields)?;
    // Rows and values of each group, as far as they become inputs.
    let inputs: HashSet<&str> = layout.contents().iter().map(|&at| fields[at].name.as_str()).collect();
    let groups: Vec<(usize, usize)> = metadata
        .metadata()
        .row_groups()
        .iter()
        .map(|group| {
            let columns =
                group.columns().iter().filter(|column| column.column_path().parts().first().is_some_and(|name| inputs.contains(name.as_str())));
            (group.num_rows().max(0) as usize, columns.map(|column| column.num_values().max(0) as usize).sum())
        })
        .collect();
    let part = |group: usize| {
        crate::guard::decode(path, || {
            let (rows, values) = groups[group];
            if !has_wanted_runs(open()?, &metadata, group, &layout, wanted).map_err(|error| damaged(&error))? {
                let mut builder = Builder::of_layout(path, Format::Parquet, &fields, &layout, wanted);
                builder.skip(rows);
                return Ok(builder);
            }
            let batch_rows = (BATCH_VALUES / (values / rows.max(1)).max(1)).clamp(1, 8192);
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(open()?, metadata.clone())
                .with_row_groups(vec![group])
                .with_projection(ProjectionMask::roots(metadata.parquet_schema(), layout.columns(wanted.bring != Bring::Identities)))
                .with_batch_size(batch_rows)
                .build()
                .map_err(|error| damaged(&error))?;
            let mut builder = Builder::of_layout(path, Format::Parquet, &fields, &layout, wanted);
            for batch in reader {
                append(&batch.map_err(|error| damaged(&error))?, &layout, &fields, wanted.bring, &mut builder)?;
            }
            Ok(builder)
        })
    };
    let mut whole = Builder::of_layout(path, Format::Parquet, &fields, &layout, wanted);
    // A claim of the file's, so no more than a reservation.
    let expected =
        if wanted.bring == Bring::Values && wanted.me.is_none() && wanted.runs.is_none() { groups.iter().map(|(_, values)| values).sum() } else { 0 };
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

/// Whether a group of rows has some of the runs that are wanted: only the column of runs is read to know.
fn has_wanted_runs(
    file: File,
    metadata: &ArrowReaderMetadata,
    group: usize,
    layout: &Layout,
    wanted: &Wanted,
) -> std::result::Result<bool, ArrowError> {
    let Some((runs, at)) = wanted.runs.as_ref().zip(layout.run) else { return Ok(true) };
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
        .with_row_groups(vec![group])
        .with_projection(ProjectionMask::roots(metadata.parquet_schema(), [at]))
        .build()?;
    for batch in reader {
        // What is no run number is a row that cannot be read, which is told.
        if doubles(batch?.column(0)).into_iter().any(|run| whole(run).is_none_or(|run| runs.contains(&run))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether maps lie as dqmiotools writes them to Parquet: flat, y fastest (`values().flatten()` of a ROOT histogram), without
/// underflow and overflow. Its CSVs, which have those, and DIALS run x fastest.
fn from_dqmiotools(table: &Table, layout: &Layout) -> bool {
    let named = |at: Option<usize>, name: &str| at.is_some_and(|at| table.fields[at].name == name);
    let flat = matches!(layout.contents, Contents::List(at) if !table.fields[at].type_name.starts_with("list(list"));
    table.shape.y > 1 && !table.flow_bins && flat && named(layout.run, "fromrun") && named(layout.y_bins, "Ybins")
}

/// Reads an Arrow IPC file (Feather) or stream.
pub fn read_arrow(path: &Path, wanted: &Wanted) -> Result<Table> {
    let mut file = BufReader::new(File::open(path).map_err(|error| Error::reading(path, &error))?);
    let mut magic = [0; 6];
    let is_file = file.read_exact(&mut magic).is_ok() && &magic == b"ARROW1";
    file.rewind().map_err(|error| Error::reading(path, &error))?;
    ipc::check(path, is_file).map_err(|reason| damaged_arrow(path, &reason))?;
    if is_file {
        let reader = FileReader::try_new(file, None).map_err(|error| damaged_arrow(path, &error))?;
        let schema = reader.schema();
        read_batches(path, &schema, reader, wanted)
    } else {
        let reader = StreamReader::try_new(file, None).map_err(|error| damaged_arrow(path, &error))?;
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
    wanted: &Wanted,
) -> Result<Table> {
    let fields = fields(schema);
    let layout = Layout::find(path, &fields, wanted)?;
    layout.require_ls(path, &fields)?;
    let mut builder = Builder::of_layout(path, Format::Arrow, &fields, &layout, wanted);
    for batch in batches {
        append(&batch.map_err(|error| damaged_arrow(path, &error))?, &layout, &fields, wanted.bring, &mut builder)?;
    }
    builder.finish()
}

/// The columns of a schema and what they hold.
fn fields(schema: &Schema) -> Vec<Field> {
    let field = |field: &arrow_schema::FieldRef| Field {
        name: field.name().clone(),
        kind: kind(field.data_type()),
        type_name: field.data_type().to_string().to_lowercase(),
    };
    schema.fields().iter().map(field).collect()
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Boolean => Kind::Flag,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        DataType::Dictionary(_, value) => match kind(value) {
            Kind::Text => Kind::Text,
            _ => Kind::Other,
        },
        DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) => match kind(inner.data_type()) {
            Kind::Number | Kind::List => Kind::List,
            _ => Kind::Other,
        },
        other
            if other.is_numeric()
                && !matches!(other, DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..)) =>
        {
            Kind::Number
        }
        _ => Kind::Other,
    }
}

/// Appends the rows of a batch, whose columns are those of [`Layout::columns`] (Parquet) or all (Arrow).
fn append(batch: &RecordBatch, layout: &Layout, fields: &[Field], bring: Bring, builder: &mut Builder) -> Result<()> {
    builder.make_room(batch.num_rows(), 0)?;
    let projected = batch.num_columns() < fields.len();
    let kept = layout.columns(bring != Bring::Identities);
    let column = |at: usize| {
        let position = if projected { kept.binary_search(&at).unwrap_or_default() } else { at };
        batch.column(position).as_ref()
    };
    let numbers = |at: Option<usize>| at.map(|at| doubles(column(at)));
    let (run, ls, me) = (numbers(layout.run), numbers(layout.ls), layout.me.map(|at| texts(column(at))));
    let (x_bins, y_bins) = (numbers(layout.x_bins), numbers(layout.y_bins));
    let edges = layout.edges.map(numbers);
    let extra: Vec<Column> = layout
        .extra
        .iter()
        .map(|(_, at)| match fields[*at].kind {
            Kind::Text => Column::Texts(texts(column(*at)).into_iter().map(Option::unwrap_or_default).collect()),
            _ => Column::Numbers(doubles(column(*at))),
        })
        .collect();
    let twins = if bring == Bring::Identities { &[][..] } else { layout.twins.as_slice() };
    let differ: Vec<Vec<bool>> = twins.iter().map(|twin| differ(column(twin.taken), column(twin.left))).collect();
    let mut row_values = (bring != Bring::Identities).then(|| RowValues::new(&layout.contents, &column));

    for i in 0..batch.num_rows() {
        let me = me.as_ref().map(|me| me[i].as_deref().unwrap_or_default());
        if me.is_some_and(|me| !builder.element(me)) {
            continue;
        }
        let bins = |bins: &Option<Vec<f64>>| bins.as_ref().and_then(|bins| whole(bins[i])).map(|bins| bins as usize);
        differ.iter().enumerate().filter(|(_, differ)| differ[i]).for_each(|(at, _)| builder.differs(at, 0));
        let edges = [0, 1, 2, 3].map(|edge| edges[edge].as_ref().map(|edges| edges[i]).filter(|edge| !edge.is_nan()));
        let mut incoming = Incoming { x_bins: bins(&x_bins), y_bins: bins(&y_bins), edges, ..Incoming::default() };
        let taken = identity(run.as_deref(), i, "run number")
            .and_then(|run| {
                incoming.run = run;
                incoming.ls = identity(ls.as_deref(), i, "LS number")?;
                if !builder.takes(run) {
                    return Ok(None);
                }
                row_values.as_mut().map_or(Ok(None), |row_values| row_values.append(i, builder.values()))
            })
            .map(|shape| incoming.shape = shape);
        match taken {
            Ok(()) if row_values.is_none() => builder.identity(incoming),
            Ok(()) if builder.row(incoming) => extra.iter().enumerate().for_each(|(at, column)| builder.extra(at).push(column, i)),
            Ok(()) => {}
            Err(reason) => builder.fault(incoming, reason),
        }
        if i % 4096 == 0 {
            builder.make_room(0, 0)?;
        }
    }
    Ok(())
}

/// In which rows two columns differ: as numbers or texts where they can be read so, else as they are.
fn differ(a: &dyn Array, b: &dyn Array) -> Vec<bool> {
    let rows = 0..a.len();
    match (entries(a), entries(b)) {
        (Some(a), Some(b)) => rows.map(|i| a[i] != b[i]).collect(),
        _ if a.data_type() == b.data_type() => rows.map(|i| a.slice(i, 1).to_data() != b.slice(i, 1).to_data()).collect(),
        _ => rows.map(|_| true).collect(),
    }
}

/// The values of a batch's rows: lists as they are, columns turned a tile of rows at a time.
struct RowValues<'a> {
    source: Values<'a>,
    width: usize,
    /// The first row of the tile, and its values.
    tile: (usize, Vec<f32>),
}

enum Values<'a> {
    List(&'a dyn Array),
    Texts(Vec<Option<String>>),
    Columns(Vec<Vec<f32>>),
}

/// Rows that are turned together: their part of each column is one cache line.
const TILE: usize = 16;

impl<'a> RowValues<'a> {
    fn new(contents: &Contents, column: &impl Fn(usize) -> &'a dyn Array) -> Self {
        let source = match contents {
            Contents::List(at) if kind(column(*at).data_type()) == Kind::Text => Values::Texts(texts(column(*at))),
            Contents::List(at) => Values::List(column(*at)),
            Contents::Bins(columns) | Contents::Features(columns) => Values::Columns(
                columns
                    .iter()
                    .map(|&at| {
                        let mut values = vec![];
                        append_f32(column(at), 0..column(at).len(), &mut values);
                        values
                    })
                    .collect(),
            ),
        };
        let width = if let Values::Columns(columns) = &source { columns.len() } else { 0 };
        Self { source, width, tile: (usize::MAX, vec![]) }
    }

    /// Appends the values of row `i`; the shape is that of nested lists.
    fn append(&mut self, i: usize, values: &mut Vec<f32>) -> std::result::Result<Option<Shape>, String> {
        match &self.source {
            Values::List(list) => append_list(*list, i, values),
            Values::Texts(texts) => csv::parse_list(texts[i].as_deref().unwrap_or_default().trim().as_bytes(), values),
            Values::Columns(columns) => {
                let first = i - i % TILE;
                if self.tile.0 != first {
                    self.tile = (first, vec![0.0; TILE * self.width]);
                    for (at, column) in columns.iter().enumerate() {
                        for (row, value) in column[first..(first + TILE).min(column.len())].iter().enumerate() {
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

/// Appends the numbers of a list, or of a list of equally long lists: `y` rows of `x`.
fn append_list(list: &dyn Array, i: usize, values: &mut Vec<f32>) -> std::result::Result<Option<Shape>, String> {
    let Some((inner, range)) = list_at(list, i) else { return Err("the histogram is missing".into()) };
    if kind(inner.data_type()) != Kind::List {
        append_f32(inner, range, values);
        return Ok(None);
    }
    let mut shape = Shape { y: range.len(), x: 0 };
    for (y, row) in range.enumerate() {
        let Some((numbers, range)) = list_at(inner, row) else { return Err(format!("row {y} of the map is missing")) };
        if kind(numbers.data_type()) == Kind::List {
            return Err("lists are nested deeper than a map".into());
        }
        if y > 0 && range.len() != shape.x {
            return Err(format!("row {y} of the map has {} bins where row 0 has {}", range.len(), shape.x));
        }
        shape.x = range.len();
        append_f32(numbers, range, values);
    }
    Ok(Some(shape))
}

/// The values that a list array's entry `i` spans; `None` where it is null.
fn list_at(list: &dyn Array, i: usize) -> Option<(&dyn Array, Range<usize>)> {
    if list.is_null(i) {
        return None;
    }
    if let Some(list) = list.as_list_opt::<i32>() {
        let offsets = list.value_offsets();
        return Some((list.values().as_ref(), offsets[i] as usize..offsets[i + 1] as usize));
    }
    if let Some(list) = list.as_list_opt::<i64>() {
        let offsets = list.value_offsets();
        return Some((list.values().as_ref(), offsets[i] as usize..offsets[i + 1] as usize));
    }
    let list = list.as_fixed_size_list_opt()?;
    let start = list.value_offset_at(i);
    Some((list.values().as_ref(), start..start + list.value_length() as usize))
}

/// Calls `$each` with the typed array of any numeric type.
macro_rules! for_numeric {
    ($array:expr, $each:ident, $($argument:expr),*) => {
        match $array.data_type() {
            DataType::Int8 => $each::<Int8Type>($array.as_primitive(), $($argument),*),
            DataType::Int16 => $each::<Int16Type>($array.as_primitive(), $($argument),*),
            DataType::Int32 => $each::<Int32Type>($array.as_primitive(), $($argument),*),
            DataType::Int64 => $each::<Int64Type>($array.as_primitive(), $($argument),*),
            DataType::UInt8 => $each::<UInt8Type>($array.as_primitive(), $($argument),*),
            DataType::UInt16 => $each::<UInt16Type>($array.as_primitive(), $($argument),*),
            DataType::UInt32 => $each::<UInt32Type>($array.as_primitive(), $($argument),*),
            DataType::UInt64 => $each::<UInt64Type>($array.as_primitive(), $($argument),*),
            DataType::Float16 => $each::<Float16Type>($array.as_primitive(), $($argument),*),
            DataType::Float32 => $each::<Float32Type>($array.as_primitive(), $($argument),*),
            DataType::Float64 => $each::<Float64Type>($array.as_primitive(), $($argument),*),
            _ => {}
        }
    };
}

/// A number as single and as double precision, rounded once.
trait Number: Copy {
    fn single(self) -> f32;
    fn double(self) -> f64;
}

macro_rules! number {
    ($($type:ty),*) => { $(impl Number for $type {
        fn single(self) -> f32 { self as f32 }
        fn double(self) -> f64 { self as f64 }
    })* };
}
number!(i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);

impl Number for half::f16 {
    fn single(self) -> f32 {
        self.to_f32()
    }
    fn double(self) -> f64 {
        self.to_f64()
    }
}

/// Appends numbers in single precision; null is NaN.
fn append_f32(array: &dyn Array, range: Range<usize>, values: &mut Vec<f32>) {
    fn each<T: ArrowPrimitiveType<Native: Number>>(array: &PrimitiveArray<T>, range: Range<usize>, values: &mut Vec<f32>) {
        let start = values.len();
        values.extend(array.values()[range.clone()].iter().map(|value| value.single()));
        if array.null_count() > 0 {
            range.enumerate().filter(|(_, i)| array.is_null(*i)).for_each(|(at, _)| values[start + at] = f32::NAN);
        }
    }
    if let Some(flags) = array.as_boolean_opt() {
        values.extend(range.map(|i| if flags.is_null(i) { f32::NAN } else { f32::from(u8::from(flags.value(i))) }));
        return;
    }
    for_numeric!(array, each, range, values);
}

/// Numbers or flags in double precision; null, and what is no number, is NaN.
fn doubles(array: &dyn Array) -> Vec<f64> {
    fn each<T: ArrowPrimitiveType<Native: Number>>(array: &PrimitiveArray<T>, values: &mut Vec<f64>) {
        *values = (0..array.len()).map(|i| if array.is_null(i) { f64::NAN } else { array.value(i).double() }).collect();
    }
    if let Some(flags) = array.as_boolean_opt() {
        return flags.iter().map(|flag| flag.map_or(f64::NAN, |flag| f64::from(u8::from(flag)))).collect();
    }
    let mut values = vec![];
    for_numeric!(array, each, &mut values);
    values.resize(array.len(), f64::NAN);
    values
}

/// The entries of a column as text, times as seconds since 1970; null is blank. `None` where it holds something else.
pub fn entries(array: &dyn Array) -> Option<Vec<String>> {
    let numbers =
        |numbers: Vec<f64>| Some(numbers.into_iter().map(|number| if number.is_nan() { String::new() } else { number.to_string() }).collect());
    match (kind(array.data_type()), array.data_type()) {
        (Kind::Text, _) => Some(texts(array).into_iter().map(Option::unwrap_or_default).collect()),
        (Kind::Number | Kind::Flag, _) => numbers(doubles(array)),
        (_, DataType::Timestamp(unit, _)) => {
            let (ticks, each) = match unit {
                TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().iter().collect::<Vec<_>>(), 1.0),
                TimeUnit::Millisecond => (array.as_primitive::<TimestampMillisecondType>().iter().collect(), 1e3),
                TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().iter().collect(), 1e6),
                TimeUnit::Nanosecond => (array.as_primitive::<TimestampNanosecondType>().iter().collect(), 1e9),
            };
            numbers(ticks.into_iter().map(|ticks| ticks.map_or(f64::NAN, |ticks| ticks as f64 / each)).collect())
        }
        _ => None,
    }
}

/// Texts; null, and what is no text, is `None`.
fn texts(array: &dyn Array) -> Vec<Option<String>> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    if let Some(texts) = array.as_string_opt::<i32>() {
        return texts.iter().map(owned).collect();
    }
    if let Some(texts) = array.as_string_opt::<i64>() {
        return texts.iter().map(owned).collect();
    }
    if let Some(texts) = array.as_string_view_opt() {
        return texts.iter().map(owned).collect();
    }
    let Some(dictionary) = array.as_any_dictionary_opt() else { return vec![None; array.len()] };
    let words = texts(dictionary.values().as_ref());
    let keys = dictionary.normalized_keys();
    (0..array.len()).map(|i| if array.is_null(i) { None } else { words.get(keys[i]).cloned().flatten() }).collect()
}
