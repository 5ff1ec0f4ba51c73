//! HDF5 files: lists their datasets and reads rows of them as numbers or text.
//!
//! The file format is hdf5-reader's work; the two filters that it lacks are in `codecs`. Rows are read in batches of a few
//! megabytes on all cores, and each number is converted once, straight to the type that is asked for.

use super::{
    arrays::{ArrayInfo, Arrays},
    codecs,
    layout::Kind,
};
use hdf5_reader::{
    ByteOrder, Datatype, FileStorage, FilterRegistry, H5Type, Hdf5File, OpenOptions, SliceInfo, SliceInfoElem, StringPadding, StringSize, VarLenKind,
    dtype_element_size,
    error::{Error, Result as Read},
    group::Group,
    io::Cursor,
    messages::{HdfMessage, layout::DataLayout},
};
use rayon::prelude::*;
use std::{
    collections::HashSet,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

/// About so many bytes are decoded by a thread at a time.
const BATCH: u64 = 1 << 20;
/// Groups within groups, at most.
const DEPTH: usize = 64;
/// Datasets and groups in one file, at most.
const OBJECTS: usize = 1 << 20;

/// An open HDF5 file.
pub struct Hdf5 {
    infos: Vec<ArrayInfo>,
    places: Vec<Place>,
    datasets: Vec<Dataset>,
    /// The columns of frames that pandas wrote as tables, in the frame's order, by the path of the group.
    orders: Vec<(String, Vec<String>)>,
    notes: Vec<String>,
}

/// Where the values of an array lie.
enum Place {
    /// A dataset.
    Whole(usize),
    /// A field of a table.
    Field(usize, Field),
    /// A column of a matrix: a pandas frame.
    Column(usize, usize),
}

/// A dataset of an open file.
struct Dataset {
    /// Where it is: `/group/name`.
    pub path: String,
    /// Its shape; the first axis is the rows.
    pub shape: Vec<u64>,
    /// Such as `float32`, `int64`, `bool`, `string` or `compound(run, ls)`.
    pub type_name: String,
    /// The columns of a table; empty for other datasets.
    pub fields: Vec<Field>,
    inner: hdf5_reader::Dataset,
    file: Arc<Hdf5File>,
    /// Where its values begin in the file, if they lie there in one piece.
    start: Option<u64>,
    /// Not more than this many bytes are read at once; see `File::open`.
    limit: u64,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub type_name: String,
    /// Its shape within one row; empty for a single value.
    pub shape: Vec<u64>,
    offset: usize,
    size: usize,
    kind: Datatype,
}

impl Hdf5 {
    /// Opens a file and lists its arrays; of their values nothing is read yet.
    pub fn open(path: &Path) -> Result<Self, String> {
        let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
        let mut filters = FilterRegistry::new();
        filters.register(
            32000,
            Box::new(|filter, data, _| {
                // h5py writes its version, LZF's version and the size of the chunk.
                let size = filter.client_data.get(2).ok_or_else(|| Error::FilterError("LZF without the size of a chunk".into()))?;
                codecs::lzf(data, *size as usize).map_err(|fault| Error::FilterError(fault.into()))
            }),
        );
        filters.register(32001, Box::new(|_, data, _| codecs::blosc(data).map_err(|fault| Error::FilterError(fault.into()))));
        filters.register(32015, Box::new(|_, data, _| codecs::zstd(data).map_err(|fault| Error::FilterError(fault.to_string()))));
        let options = OpenOptions::default().with_filter_registry(filters);
        // Read, not mapped: a file that another program cuts short must not end this one.
        let inner = guard(|| Hdf5File::from_storage_with_options(Arc::new(FileStorage::open(path)?), options))?;
        let root = guard(|| inner.root_group())?;
        let mut walk = Walk { file: Arc::new(inner), length, seen: HashSet::from([root.address()]), found: vec![], orders: vec![], notes: vec![] };
        walk.group(&root, "", 0);
        let Walk { mut found, orders, notes, .. } = walk;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let mut file = Self { infos: vec![], places: vec![], datasets: found, orders, notes };
        file.list_arrays();
        Ok(file)
    }

    /// What was left out, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Tables become columns, pandas frames too; other datasets are arrays as they are.
    fn list_arrays(&mut self) {
        let (columns, frames) = self.frames();
        let tables = self.datasets.iter().filter(|dataset| !dataset.fields.is_empty()).count();
        let mut arrays: Vec<(ArrayInfo, Place)> = vec![];
        for (at, dataset) in self.datasets.iter().enumerate() {
            let path = dataset.path.trim_start_matches('/');
            if frames.iter().any(|frame| dataset.path.starts_with(frame.as_str())) {
                continue;
            }
            let lengths = |inner: &[u64]| dataset.shape.iter().chain(inner).map(|length| usize::try_from(*length).unwrap_or(usize::MAX)).collect();
            let mut fields: Vec<Field> = dataset.fields.iter().flat_map(|field| dataset.columns_of(field)).collect();
            if let Some((_, order)) = self.orders.iter().find(|(group, _)| dataset.path == format!("{group}/table")) {
                fields.sort_by_key(|field| order.iter().position(|name| *name == field.name));
            }
            for field in &fields {
                let name = if tables > 1 { format!("{path}/{}", field.name) } else { field.name.clone() };
                let info = ArrayInfo { name, shape: lengths(&field.shape), kind: kind_of(&field.type_name), type_name: field.type_name.clone() };
                arrays.push((info, Place::Field(at, field.clone())));
            }
            if dataset.fields.is_empty() {
                let (kind, type_name) = (kind_of(&dataset.type_name), dataset.type_name.clone());
                arrays.push((ArrayInfo { name: path.to_owned(), shape: lengths(&[]), kind, type_name }, Place::Whole(at)));
            }
        }
        arrays.extend(columns);
        (self.infos, self.places) = arrays.into_iter().unzip();
    }

    /// The columns of frames that pandas wrote with `to_hdf(format="fixed")`, and those frames. Columns of objects are pickled
    /// there and not listed.
    fn frames(&self) -> (Vec<(ArrayInfo, Place)>, Vec<String>) {
        let mut columns = vec![];
        for items in &self.datasets {
            let Some(block) = items.path.strip_suffix("_items").filter(|block| block.contains("/block")) else { continue };
            let path = format!("{block}_values");
            let count = items.shape.first().copied().unwrap_or(0);
            let Some(at) = self.datasets.iter().position(|dataset| dataset.path == path && dataset.shape.get(1) == Some(&count)) else { continue };
            let values = &self.datasets[at];
            let frame = block.rsplit_once('/').map_or("", |(frame, _)| frame);
            for (index, name) in items.text(0, items.inner.dtype(), 0..count).unwrap_or_default().into_iter().enumerate() {
                let rows = usize::try_from(values.shape[0]).unwrap_or(usize::MAX);
                let info = ArrayInfo { name, shape: vec![rows], kind: kind_of(&values.type_name), type_name: values.type_name.clone() };
                columns.push((format!("{frame}/"), info, Place::Column(at, index)));
            }
        }
        let mut frames: Vec<String> = columns.iter().map(|(frame, ..)| frame.clone()).collect();
        frames.dedup();
        // Blocks are by type; the frame's own order is on its first axis.
        for frame in &frames {
            let axis = self.datasets.iter().find(|dataset| dataset.path == format!("{frame}axis0"));
            let names = axis.and_then(|axis| axis.text(0, axis.inner.dtype(), 0..axis.shape.first().copied().unwrap_or(0)).ok()).unwrap_or_default();
            columns.sort_by_cached_key(|(of, info, _)| (of != frame, names.iter().position(|name| *name == info.name)));
        }
        let several = frames.len() > 1;
        let named = |(frame, info, place): (String, ArrayInfo, Place)| {
            let name = if several { format!("{}{}", frame.trim_start_matches('/'), info.name) } else { info.name };
            (ArrayInfo { name, ..info }, place)
        };
        (columns.into_iter().map(named).collect(), frames)
    }

    /// Rows of an array in the order in which they lie, as any type.
    fn values<T: Number>(&self, at: usize, rows: Range<usize>, into: &mut [T]) -> Result<(), String> {
        let range = rows.start as u64..rows.end as u64;
        match &self.places[at] {
            Place::Whole(dataset) => self.datasets[*dataset].read(None, range, into),
            Place::Field(dataset, field) => self.datasets[*dataset].read(Some(field), range, into),
            Place::Column(dataset, index) => {
                let dataset = &self.datasets[*dataset];
                let width = dataset.shape[1] as usize;
                let mut block = vec![T::default(); into.len() * width];
                dataset.read(None, range, &mut block)?;
                into.iter_mut().zip(block.chunks_exact(width.max(1))).for_each(|(into, row)| *into = row[*index]);
                Ok(())
            }
        }
    }
}

impl Arrays for Hdf5 {
    fn list(&self) -> &[ArrayInfo] {
        &self.infos
    }

    fn seekable(&self) -> bool {
        true
    }

    fn singles(&self, at: usize, rows: Range<usize>, into: &mut [f32]) -> Result<(), String> {
        self.values(at, rows, into)
    }

    /// Columns of one table or frame are taken from rows that are decoded once.
    fn columns(&self, sources: &[usize], rows: Range<usize>, into: &mut [f32]) -> Result<(), String> {
        let width = sources.len();
        let range = rows.start as u64..rows.end as u64;
        let mut left: Vec<(usize, &Place)> = sources.iter().map(|&at| &self.places[at]).enumerate().collect();
        while let Some((column, place)) = left.first().copied() {
            match place {
                Place::Whole(dataset) => {
                    let mut values = vec![0.0_f32; rows.len()];
                    self.datasets[*dataset].read(None, range.clone(), &mut values)?;
                    values.iter().enumerate().for_each(|(row, value)| into[row * width + column] = *value);
                    left.remove(0);
                }
                Place::Field(table, _) => {
                    let (same, others) =
                        left.into_iter().partition::<Vec<_>, _>(|(_, place)| matches!(place, Place::Field(other, _) if other == table));
                    left = others;
                    for (row, element) in self.datasets[*table].rows::<Raw>(range.clone())?.iter().enumerate() {
                        for (column, place) in &same {
                            let Place::Field(_, field) = place else { continue };
                            let bytes = self.datasets[*table].part(element, field.offset, field.size)?;
                            let target = &mut into[row * width + column..][..1];
                            fill(bytes, &field.kind, target).ok_or_else(|| format!("{}: {} is no number", self.datasets[*table].path, field.name))?;
                        }
                    }
                }
                Place::Column(block, _) => {
                    let (same, others) =
                        left.into_iter().partition::<Vec<_>, _>(|(_, place)| matches!(place, Place::Column(other, _) if other == block));
                    left = others;
                    let inner = self.datasets[*block].shape[1] as usize;
                    let mut values = vec![0.0_f32; rows.len() * inner];
                    self.datasets[*block].read(None, range.clone(), &mut values)?;
                    for (row, values) in values.chunks_exact(inner.max(1)).enumerate() {
                        for (column, place) in &same {
                            if let Place::Column(_, index) = place {
                                into[row * width + column] = values[*index];
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn doubles(&self, at: usize) -> Result<Vec<f64>, String> {
        let mut values = vec![0.0; self.infos[at].shape[0]];
        self.values(at, 0..self.infos[at].shape[0], &mut values)?;
        Ok(values)
    }

    fn texts(&self, at: usize) -> Result<Vec<String>, String> {
        let rows = 0..self.infos[at].shape[0] as u64;
        match &self.places[at] {
            Place::Whole(dataset) => {
                let dataset = &self.datasets[*dataset];
                dataset.text(0, dataset.inner.dtype(), rows)
            }
            Place::Field(dataset, field) => self.datasets[*dataset].text(field.offset, &field.kind, rows),
            Place::Column(dataset, _) => Err(format!("{}: holds numbers, not text", self.datasets[*dataset].path)),
        }
    }
}

/// What elements of a type are to a table.
fn kind_of(type_name: &str) -> Kind {
    match type_name {
        "bool" => Kind::Flag,
        "string" => Kind::Text,
        name if name.starts_with("int") || name.starts_with("uint") || name.starts_with("float") => Kind::Number,
        _ => Kind::Other,
    }
}

/// The search for datasets.
struct Walk {
    file: Arc<Hdf5File>,
    length: u64,
    seen: HashSet<u64>,
    found: Vec<Dataset>,
    orders: Vec<(String, Vec<String>)>,
    notes: Vec<String>,
}

impl Walk {
    fn group(&mut self, group: &Group, at: &str, depth: usize) {
        if let Ok(axes) = guard(|| group.attribute("non_index_axes")?.read_string()) {
            self.orders.push((at.to_owned(), pickled_names(&axes)));
        }
        let (mut groups, mut datasets) = match guard(|| group.member_names()) {
            Ok(names) => names,
            Err(error) => return self.notes.push(format!("{at}/ cannot be listed: {error}")),
        };
        datasets.sort();
        for name in datasets {
            let path = format!("{at}/{name}");
            match guard(|| group.dataset(&name)) {
                Ok(_) if self.found.len() > OBJECTS => self.notes.push(format!("{path} is not looked at: too many datasets")),
                Ok(inner) => match Dataset::new(path.clone(), inner, &self.file, self.length) {
                    Ok(dataset) => self.found.push(dataset),
                    Err(error) => self.notes.push(error),
                },
                Err(error) => self.notes.push(format!("{path} cannot be read: {error}")),
            }
        }
        groups.sort();
        // PyTables keeps the indices of tables in groups of such names.
        for name in groups.into_iter().filter(|name| !name.starts_with("_i_")) {
            let path = format!("{at}/{name}");
            match guard(|| group.group(&name)) {
                Ok(inner) if !self.seen.insert(inner.address()) => self.notes.push(format!("{path} is another name of a group listed already")),
                Ok(_) if depth == DEPTH || self.seen.len() > OBJECTS => {
                    self.notes.push(format!("{path} is not looked into: too deep, or too many objects"));
                }
                Ok(inner) => self.group(&inner, &path, depth + 1),
                Err(error) => self.notes.push(format!("{path} cannot be read: {error}")),
            }
        }
    }
}

impl Dataset {
    fn new(path: String, inner: hdf5_reader::Dataset, file: &Arc<Hdf5File>, length: u64) -> Result<Self, String> {
        let kind = inner.dtype();
        standard(&guard(|| inner.raw_datatype()).map_err(|error| format!("{path}: {error}"))?).map_err(|error| format!("{path}: {error}"))?;
        let fields = match kind {
            Datatype::Compound { fields, .. } if inner.ndim() == 1 => fields.iter().map(Field::new).collect(),
            _ => vec![],
        };
        // Deflate makes at most 1032 bytes of one; the rest is for small files of fill values.
        let limit = length.saturating_mul(1032).saturating_add(1 << 30);
        let values = inner.shape().iter().chain(inner_shape(kind)).try_fold(8_u64, |product, length| product.checked_mul(*length));
        if values.is_none_or(|bytes| bytes > limit) {
            return Err(format!("{path}: claims to hold far more than such a file can"));
        }
        let start = guard(|| start(file, &inner)).unwrap_or(None);
        Ok(Self { path, shape: inner.shape().to_vec(), type_name: type_name(kind), fields, inner, file: file.clone(), start, limit })
    }

    fn fault(&self, what: impl std::fmt::Display) -> String {
        // The crate puts its own name of the dataset before what it says.
        let (name, what) = (self.inner.name(), what.to_string());
        format!("{}: {}", self.path, what.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&what))
    }

    /// Checks a range of rows and cuts it where chunks begin, into batches.
    fn batches(&self, rows: &Range<u64>, row_bytes: u64) -> Result<Vec<Range<u64>>, String> {
        let Some(&count) = self.shape.first() else { return Err(self.fault("a single value has no rows")) };
        if rows.start > rows.end || rows.end > count {
            return Err(self.fault(format!("rows {}..{} of {count}", rows.start, rows.end)));
        }
        if (rows.end - rows.start).checked_mul(row_bytes.max(1)).is_none_or(|bytes| bytes > self.limit) {
            return Err(self.fault("claims to hold far more than such a file can"));
        }
        let chunk = self.inner.chunks().and_then(|chunk| chunk.first().copied()).map_or(1, u64::from).max(1);
        let step = (BATCH / row_bytes.max(1) / chunk).max(1) * chunk;
        let mut batches = vec![];
        let mut start = rows.start;
        while start < rows.end {
            let end = (start - start % step).saturating_add(step).min(rows.end);
            batches.push(start..end);
            start = end;
        }
        Ok(batches)
    }

    /// Elements in one row, by the dataset's shape and that of its type.
    fn width(&self, kind: &Datatype) -> Option<u64> {
        let outer = self.shape.get(1..).unwrap_or(&[]);
        outer.iter().chain(inner_shape(kind)).try_fold(1_u64, |width, size| width.checked_mul(*size))
    }

    /// The columns that a field holds: pandas puts those of one type side by side and keeps their names in an attribute.
    fn columns_of(&self, field: &Field) -> Vec<Field> {
        let (Datatype::Array { base, .. }, &[count]) = (&field.kind, field.shape.as_slice()) else { return vec![field.clone()] };
        let kind = guard(|| self.inner.attribute(&format!("{}_kind", field.name))?.read_string());
        let names = kind.map(|kind| pickled_names(&kind)).unwrap_or_default();
        let size = dtype_element_size(base).unwrap_or(0);
        if !field.name.starts_with("values_block_") || names.len() as u64 != count || field.size != size * names.len() {
            return vec![field.clone()];
        }
        let column = |(i, name)| Field {
            name,
            type_name: field.type_name.clone(),
            shape: vec![],
            offset: field.offset + i * size,
            size,
            kind: (**base).clone(),
        };
        names.into_iter().enumerate().map(column).collect()
    }

    /// Fills in rows of the first axis, each flattened in row-major order, converted as NumPy's `astype` does.
    fn read<T: Number>(&self, field: Option<&Field>, rows: Range<u64>, into: &mut [T]) -> Result<(), String> {
        let kind = field.map_or(self.inner.dtype(), |field| &field.kind);
        if fill::<T>(&[], kind, &mut []).is_none() {
            return Err(self.fault(format!("holds {}, which cannot be read as {}", type_name(kind), T::NAME)));
        }
        let width = self.width(kind).ok_or_else(|| self.fault("has a shape that makes no sense"))?;
        let stored = guard(|| self.inner.raw_element_size()).map_err(|error| self.fault(error))? as u64;
        let per_row = if field.is_some() { stored } else { (width / inner_count(kind).max(1)).saturating_mul(stored) };
        let batches = self.batches(&rows, per_row.max(width.saturating_mul(size_of::<T>() as u64)))?;
        let width = width as usize;
        if into.len() != (rows.end - rows.start) as usize * width {
            return Err(self.fault("has rows of another length"));
        }
        let mut rest = into;
        let mut work = vec![];
        for batch in batches {
            let (head, tail) = rest.split_at_mut((batch.end - batch.start) as usize * width);
            rest = tail;
            work.push((batch, head));
        }
        work.into_par_iter().try_for_each(|(batch, target)| {
            let bytes;
            let bytes: &[u8] = if field.is_some() || !inner_shape(kind).is_empty() {
                let (offset, size) = field.map_or((0, stored as usize), |field| (field.offset, field.size));
                let mut parts = vec![];
                for element in self.rows::<Raw>(batch)? {
                    parts.extend_from_slice(self.part(&element, offset, size)?);
                }
                &{ parts }
            } else if let Some(start) = self.start {
                bytes = guard(|| self.file.storage().read_range(start.saturating_add(batch.start * per_row), target.len() * stored as usize));
                bytes.as_ref().map_err(|error| self.fault(error))?
            } else {
                let values = self.rows::<Cast<T>>(batch)?;
                if values.len() == target.len() {
                    target.iter_mut().zip(values).for_each(|(target, value)| *target = value.0);
                    return Ok(());
                }
                &[]
            };
            fill(bytes, kind, target).ok_or_else(|| self.fault("holds another number of values than its shape says"))
        })
    }

    /// Decodes some rows.
    fn rows<T: H5Type>(&self, rows: Range<u64>) -> Result<Vec<T>, String> {
        let slice = |end: u64, start: u64| SliceInfoElem::Slice { start, end, step: 1 };
        let mut selections: Vec<_> = self.shape.iter().map(|size| slice(*size, 0)).collect();
        selections[0] = slice(rows.end, rows.start);
        let array = guard(|| self.inner.read_slice::<T>(&SliceInfo { selections })).map_err(|error| self.fault(error))?;
        Ok(array.into_raw_vec_and_offset().0)
    }

    fn part<'a>(&self, element: &'a Raw, offset: usize, size: usize) -> Result<&'a [u8], String> {
        element.0.get(offset..).and_then(|rest| rest.get(..size)).ok_or_else(|| self.fault("has fields that reach beyond its rows"))
    }

    /// Rows of strings, of fixed or variable length; what is not UTF-8 is replaced.
    fn text(&self, offset: usize, kind: &Datatype, rows: Range<u64>) -> Result<Vec<String>, String> {
        let (count, element) = match kind {
            Datatype::Array { base, .. } => (inner_count(kind) as usize, &**base),
            _ => (1, kind),
        };
        let (size, padding) = match element {
            Datatype::String { size: StringSize::Fixed(size), padding, .. } => (*size as usize, Some(*padding)),
            Datatype::String { size: StringSize::Variable, .. } | Datatype::VarLen { kind: VarLenKind::String, .. } => {
                (self.inner.vlen_reference_size(), None)
            }
            _ => return Err(self.fault(format!("holds {}, which cannot be read as text", type_name(kind)))),
        };
        let stored = guard(|| self.inner.raw_element_size()).map_err(|error| self.fault(error))? as u64;
        let width = self.width(kind).ok_or_else(|| self.fault("has a shape that makes no sense"))?;
        let mut texts = vec![];
        for batch in self.batches(&rows, width.saturating_mul(stored.max(24)))? {
            for element in self.rows::<Raw>(batch)? {
                for bytes in self.part(&element, offset, size.saturating_mul(count))?.chunks_exact(size.max(1)) {
                    let bytes = match padding {
                        Some(padding) => unpadded(bytes, padding),
                        None => &guard(|| self.inner.resolve_vlen_reference_bytes(bytes, 1)).map_err(|error| self.fault(error))?,
                    };
                    texts.push(String::from_utf8_lossy(bytes).into_owned());
                }
            }
        }
        Ok(texts)
    }
}

impl Field {
    fn new(field: &hdf5_reader::CompoundField) -> Field {
        let kind = field.datatype.clone();
        Field {
            name: field.name.clone(),
            type_name: type_name(&kind),
            shape: inner_shape(&kind).to_vec(),
            offset: field.byte_offset as usize,
            // Not known for text of variable length, which is read in another way.
            size: dtype_element_size(&kind).unwrap_or(0),
            kind,
        }
    }
}

/// The texts in a pickle of protocol 0, which has each on a line behind a V: the names of columns. Nothing is run.
fn pickled_names(pickle: &str) -> Vec<String> {
    pickle.lines().filter_map(|line| line.strip_prefix("aV").or_else(|| line.strip_prefix('V'))).map(str::to_owned).collect()
}

/// Runs a call into the crate; should it ever panic, that is an error like any other.
fn guard<T>(call: impl FnOnce() -> Read<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the HDF5 reader failed on it: the file is broken".into()),
    }
}

/// Where the values of a dataset begin that lie in one piece; the crate would copy them twice more.
fn start(file: &Hdf5File, dataset: &hdf5_reader::Dataset) -> Read<Option<u64>> {
    let (header, bytes) = (file.get_or_parse_header(dataset.address())?, dataset.raw_byte_len()? as u64);
    let external = header.messages.iter().any(|message| matches!(message, HdfMessage::ExternalFiles(_)));
    Ok(header
        .messages
        .iter()
        .find_map(|message| match message {
            HdfMessage::DataLayout(message) => match message.layout {
                DataLayout::Contiguous { address, size } if size == bytes && !external => Some(address),
                _ => None,
            },
            _ => None,
        })
        .filter(|address| !Cursor::is_undefined_offset(*address, file.superblock().offset_size)))
}

/// The crate takes every number for a plain one, so the stored type is checked: 16 bits may be bfloat16, 32 bits may hold 24.
fn standard(message: &[u8]) -> Result<(), &'static str> {
    let at = |from: usize, size: usize| {
        message.get(from..from + size).map(|bytes| bytes.iter().rev().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)))
    };
    let (Some(class), Some(size)) = (message.first().map(|byte| byte & 15), at(4, 4)) else { return Err("has no type") };
    if class > 1 {
        return Ok(());
    }
    let plain = at(8, 2) == Some(0) && at(10, 2).map(u64::from) == Some(u64::from(size) * 8);
    // Places and sizes of exponent and mantissa.
    let layout = match (class, size) {
        (0, _) => None,
        (_, 2) => Some(0x0a00_050a),
        (_, 4) => Some(0x1700_0817),
        (_, 8) => Some(0x3400_0b34),
        _ => return Err("holds floating-point numbers of an unusual size"),
    };
    let read = at(12, 4).map(u32::to_le_bytes).map(|[exponent, bits, mantissa, size]| u32::from_be_bytes([size, mantissa, bits, exponent]));
    match layout {
        _ if !plain => Err("holds numbers of an unusual layout"),
        Some(layout) if read != Some(layout) => Err("holds floating-point numbers of an unusual layout"),
        _ => Ok(()),
    }
}

/// The name of an element's type.
fn type_name(kind: &Datatype) -> String {
    match kind {
        Datatype::FixedPoint { size, signed, .. } => format!("{}int{}", if *signed { "" } else { "u" }, u32::from(*size) * 8),
        Datatype::FloatingPoint { size, .. } => format!("float{}", u32::from(*size) * 8),
        // PyTables' bool; h5py calls it a whole number, too.
        Datatype::Bitfield { size, .. } => format!("uint{}", u32::from(*size) * 8),
        Datatype::Enum { members, .. } if members.len() == 2 && members.iter().all(|member| ["FALSE", "TRUE"].contains(&member.name.as_str())) => {
            "bool".into()
        }
        Datatype::Enum { base, .. } => format!("enum({})", type_name(base)),
        Datatype::Array { base, .. } => type_name(base),
        Datatype::String { .. } | Datatype::VarLen { kind: VarLenKind::String, .. } => "string".into(),
        Datatype::Compound { fields, .. } => format!("compound({})", fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>().join(", ")),
        Datatype::VarLen { base, .. } => format!("sequence({})", type_name(base)),
        Datatype::Opaque { .. } => "opaque".into(),
        Datatype::Reference { .. } => "reference".into(),
    }
}

/// The shape of one element, for types that are arrays.
fn inner_shape(kind: &Datatype) -> &[u64] {
    if let Datatype::Array { dims, .. } = kind { dims } else { &[] }
}

fn inner_count(kind: &Datatype) -> u64 {
    inner_shape(kind).iter().fold(1, |count, size| count.saturating_mul(*size))
}

fn unpadded(bytes: &[u8], padding: StringPadding) -> &[u8] {
    match padding {
        StringPadding::NullTerminate => bytes.split(|byte| *byte == 0).next().unwrap_or_default(),
        StringPadding::NullPad => &bytes[..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)],
        StringPadding::SpacePad => &bytes[..bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1)],
    }
}

/// What stored numbers become.
trait Number: Copy + Default + Send + Sync + 'static {
    const NAME: &'static str;
    fn signed(value: i64) -> Self;
    fn unsigned(value: u64) -> Self;
    fn single(value: f32) -> Self;
    fn double(value: f64) -> Self;
}

macro_rules! number {
    ($type:ty, $name:literal) => {
        impl Number for $type {
            const NAME: &'static str = $name;
            fn signed(value: i64) -> Self {
                value as $type
            }
            fn unsigned(value: u64) -> Self {
                value as $type
            }
            fn single(value: f32) -> Self {
                value as $type
            }
            fn double(value: f64) -> Self {
                value as $type
            }
        }
    };
}

number!(f32, "float32");
number!(f64, "float64");

/// Converts stored numbers; None where there are more or fewer of them than asked for, or the type holds none that `T` takes.
fn fill<T: Number>(raw: &[u8], kind: &Datatype, into: &mut [T]) -> Option<()> {
    fn each<const N: usize, T>(raw: &[u8], order: ByteOrder, into: &mut [T], convert: impl Fn([u8; N]) -> T) -> Option<()> {
        let (elements, rest) = raw.as_chunks::<N>();
        if elements.len() != into.len() || !rest.is_empty() {
            return None;
        }
        let pairs = into.iter_mut().zip(elements);
        match order {
            ByteOrder::LittleEndian => pairs.for_each(|(into, bytes)| *into = convert(*bytes)),
            ByteOrder::BigEndian => pairs.for_each(|(into, bytes)| {
                let mut bytes = *bytes;
                bytes.reverse();
                *into = convert(bytes);
            }),
        }
        Some(())
    }
    match kind {
        Datatype::Enum { base, .. } | Datatype::Array { base, .. } => fill(raw, base, into),
        Datatype::Bitfield { size: 1, .. } => fill(raw, &Datatype::FixedPoint { size: 1, signed: false, byte_order: ByteOrder::LittleEndian }, into),
        Datatype::FixedPoint { size, signed, byte_order } => match (size, signed) {
            (1, true) => each(raw, *byte_order, into, |bytes| T::signed(i8::from_le_bytes(bytes).into())),
            (2, true) => each(raw, *byte_order, into, |bytes| T::signed(i16::from_le_bytes(bytes).into())),
            (4, true) => each(raw, *byte_order, into, |bytes| T::signed(i32::from_le_bytes(bytes).into())),
            (8, true) => each(raw, *byte_order, into, |bytes| T::signed(i64::from_le_bytes(bytes))),
            (1, false) => each(raw, *byte_order, into, |bytes| T::unsigned(u8::from_le_bytes(bytes).into())),
            (2, false) => each(raw, *byte_order, into, |bytes| T::unsigned(u16::from_le_bytes(bytes).into())),
            (4, false) => each(raw, *byte_order, into, |bytes| T::unsigned(u32::from_le_bytes(bytes).into())),
            (8, false) => each(raw, *byte_order, into, |bytes| T::unsigned(u64::from_le_bytes(bytes))),
            _ => None,
        },
        Datatype::FloatingPoint { size, byte_order } => match size {
            2 => each(raw, *byte_order, into, |bytes| T::single(half::f16::from_le_bytes(bytes).to_f32())),
            4 => each(raw, *byte_order, into, |bytes| T::single(f32::from_le_bytes(bytes))),
            8 => each(raw, *byte_order, into, |bytes| T::double(f64::from_le_bytes(bytes))),
            _ => None,
        },
        _ => None,
    }
}

/// A number in the hands of the crate, which decodes whole batches through this.
#[derive(Clone)]
struct Cast<T>(T);

impl<T: Number> H5Type for Cast<T> {
    fn hdf5_type() -> Datatype {
        f64::hdf5_type()
    }

    fn from_bytes(bytes: &[u8], kind: &Datatype) -> Read<Self> {
        let mut value = [T::default()];
        fill(bytes, kind, &mut value).map(|()| Cast(value[0])).ok_or_else(|| Error::InvalidData("not a number".into()))
    }

    fn element_size(kind: &Datatype) -> usize {
        dtype_element_size(kind).unwrap_or(1)
    }

    fn decode_vec(raw: &[u8], kind: &Datatype, count: usize) -> Option<Read<Vec<Self>>> {
        let mut values = vec![];
        if values.try_reserve_exact(count).is_err() {
            return Some(Err(Error::InvalidData("does not fit into memory; read fewer rows at a time".into())));
        }
        values.resize(count, T::default());
        fill(raw, kind, &mut values).map(|()| Ok(values.into_iter().map(Cast).collect()))
    }
}

/// The bytes of one element.
#[derive(Clone)]
struct Raw(Arc<[u8]>);

impl H5Type for Raw {
    fn hdf5_type() -> Datatype {
        u8::hdf5_type()
    }

    fn from_bytes(bytes: &[u8], _: &Datatype) -> Read<Self> {
        Ok(Raw(bytes.into()))
    }

    fn element_size(kind: &Datatype) -> usize {
        dtype_element_size(kind).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Number>(raw: &[u8], kind: &Datatype, count: usize) -> Option<Vec<T>> {
        let mut values = vec![T::default(); count];
        fill(raw, kind, &mut values).map(|()| values)
    }

    #[test]
    fn numbers_are_converted_once_and_in_their_byte_order() {
        let whole = |size, signed, byte_order| Datatype::FixedPoint { size, signed, byte_order };
        // By way of a double, this would become 2⁶⁰ + 2³⁷.
        let value = (1_i64 << 60) + (1 << 36) + 1;
        assert_eq!(read::<f32>(&value.to_be_bytes(), &whole(8, true, ByteOrder::BigEndian), 1), Some(vec![value as f32]));
        assert_eq!(read::<f64>(&[0xff, 0xfe], &whole(2, true, ByteOrder::BigEndian), 1), Some(vec![-2.0]));
        assert_eq!(read::<f64>(&[0xff, 0xff], &whole(2, false, ByteOrder::LittleEndian), 1), Some(vec![65535.0]));
        let half = Datatype::FloatingPoint { size: 2, byte_order: ByteOrder::LittleEndian };
        assert_eq!(read::<f32>(&[0x00, 0x3c, 0x00, 0xfc], &half, 2), Some(vec![1.0, f32::NEG_INFINITY]));
        assert_eq!(read::<f32>(&[0x00, 0x3c], &half, 2), None);
    }

    #[test]
    fn only_plain_numbers_are_taken() {
        let float = [0x11, 0x20, 0x1f, 0, 4, 0, 0, 0, 0, 0, 32, 0, 23, 8, 0, 23, 127, 0, 0, 0];
        assert_eq!(standard(&float), Ok(()));
        let bfloat = [0x11, 0x20, 0x0f, 0, 2, 0, 0, 0, 0, 0, 16, 0, 7, 8, 0, 7, 127, 0, 0, 0];
        assert!(standard(&bfloat).unwrap_err().contains("layout"));
        let twelve_bits = [0x10, 0x08, 0, 0, 2, 0, 0, 0, 0, 0, 12, 0];
        assert!(standard(&twelve_bits).is_err());
        assert!(standard(&float[..6]).is_err());
    }

    #[test]
    fn names_of_columns_are_read_from_a_pickle_without_running_it() {
        assert_eq!(pickled_names("(lp0\nVrun\np1\naVVp2\np2\naVf 7\np3\na."), ["run", "Vp2", "f 7"]);
        assert_eq!(pickled_names("integer"), [""; 0]);
    }

    #[test]
    fn text_loses_its_padding() {
        assert_eq!(unpadded(b"ab\0c\0", StringPadding::NullTerminate), b"ab");
        assert_eq!(unpadded(b"ab\0\0", StringPadding::NullPad), b"ab");
        assert_eq!(unpadded(b"ab  ", StringPadding::SpacePad), b"ab");
        assert_eq!(unpadded(b"", StringPadding::NullPad), b"");
    }

    #[test]
    fn a_file_that_is_not_hdf5_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"fromrun,fromlumi,histo\n1,2,\"[3, 4]\"\n").unwrap();
        assert!(Hdf5::open(file.path()).is_err());
    }
}
