//! HDF5 files: lists their datasets and reads rows of them as numbers or text.
//!
//! The crate hdf5-reader parses the file format; the two filters that it lacks are in `codecs`.
//! Rows are read in batches of a few megabytes on all cores, and each number is converted once,
//! directly to the requested type.

mod dataset;
mod guard;
mod numbers;
mod pickle;
mod walk;

use super::{
    array_file::{ArrayFile, ArrayInfo},
    codecs,
};
use crate::data::field::FieldKind;
use dataset::{Dataset, Field};
use guard::guard;
use hdf5_reader::{
    DEFAULT_MAX_CHUNK_BYTES, FileStorage, FilterRegistry, Hdf5File, OpenOptions, error::Error,
};
use numbers::{Number, Raw, fill};
use std::{ops::Range, path::Path, sync::Arc};
use walk::Walk;

/// A chunk up to this size in bytes is never refused.
const LEAST_CHUNK: u64 = 64 << 20;

/// An open HDF5 file.
pub struct Hdf5 {
    infos: Vec<ArrayInfo>,
    places: Vec<ArrayPlace>,
    datasets: Vec<Dataset>,
    notes: Vec<String>,
}

/// Location of the values of an array.
enum ArrayPlace {
    /// A dataset.
    Whole(usize),
    /// A field of a table.
    Field(usize, Field),
    /// A column of a matrix: a pandas frame.
    Column(usize, usize),
    /// A field of a table with positions in a list of words: a pandas category.
    Words(usize, Field, Vec<String>),
    /// Values that cannot be read.
    Nowhere,
}

impl Hdf5 {
    /// Opens a file and lists its arrays without reading values.
    pub fn open(path: &Path) -> Result<Self, String> {
        let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
        let mut filters = FilterRegistry::new();
        filters.register(
            32000,
            Box::new(|filter, data, _| {
                // h5py writes its version, the version of LZF and the size of the chunk.
                let size = filter
                    .client_data
                    .get(2)
                    .ok_or_else(|| Error::FilterError("LZF without the size of a chunk".into()))?;
                codecs::lzf(data, *size as usize).map_err(|fault| Error::FilterError(fault.into()))
            }),
        );
        filters.register(
            32001,
            Box::new(|_, data, _| {
                codecs::blosc(data).map_err(|fault| Error::FilterError(fault.into()))
            }),
        );
        filters.register(
            32015,
            Box::new(|_, data, _| {
                codecs::zstd(data).map_err(|fault| Error::FilterError(fault.to_string()))
            }),
        );
        // Maximum size of an unpacked chunk: as much as such a file can hold, plus a constant for
        // small files of fill values.
        let most = usize::try_from(length.saturating_mul(1032).saturating_add(LEAST_CHUNK))
            .unwrap_or(usize::MAX);
        let options = OpenOptions::default()
            .with_filter_registry(filters)
            .with_max_chunk_bytes(most.min(DEFAULT_MAX_CHUNK_BYTES));
        // Read, not mapped: if another program truncates a mapped file, this program would crash.
        let inner = guard(|| {
            Hdf5File::from_storage_with_options(Arc::new(FileStorage::open(path)?), options)
        })?;
        let walk = Walk::through(inner, length)?;
        let (infos, places) = list_arrays(&walk).into_iter().unzip();
        Ok(Self { infos, places, datasets: walk.found, notes: walk.notes })
    }

    /// Notes on what was skipped, and why.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Rows of an array in storage order, as any type.
    fn values<T: Number>(
        &self,
        at: usize,
        rows: Range<usize>,
        into: &mut [T],
    ) -> Result<(), String> {
        let range = rows.start as u64..rows.end as u64;
        match &self.places[at] {
            ArrayPlace::Whole(dataset) => self.datasets[*dataset].read(None, range, into),
            ArrayPlace::Field(dataset, field) => {
                self.datasets[*dataset].read(Some(field), range, into)
            }
            ArrayPlace::Column(dataset, index) => {
                let dataset = &self.datasets[*dataset];
                let width = dataset.shape[1] as usize;
                let mut block = vec![T::default(); into.len() * width];
                dataset.read(None, range, &mut block)?;
                into.iter_mut()
                    .zip(block.chunks_exact(width.max(1)))
                    .for_each(|(into, row)| *into = row[*index]);
                Ok(())
            }
            ArrayPlace::Words(dataset, field, _) => Err(format!(
                "{}: {} holds words, not numbers",
                self.datasets[*dataset].path, field.name
            )),
            ArrayPlace::Nowhere => {
                Err(format!("{}: is {}", self.infos[at].name, self.infos[at].type_name))
            }
        }
    }
}

impl ArrayFile for Hdf5 {
    fn list(&self) -> &[ArrayInfo] {
        &self.infos
    }

    fn seekable(&self) -> bool {
        true
    }

    fn singles(&self, at: usize, rows: Range<usize>, into: &mut [f32]) -> Result<(), String> {
        self.values(at, rows, into)
    }

    /// Reads several columns; rows of a table or frame are decoded only once.
    fn columns(
        &self,
        sources: &[usize],
        rows: Range<usize>,
        into: &mut [f32],
    ) -> Result<(), String> {
        let width = sources.len();
        let range = rows.start as u64..rows.end as u64;
        let mut left: Vec<(usize, &ArrayPlace)> =
            sources.iter().map(|&at| &self.places[at]).enumerate().collect();
        while let Some((column, place)) = left.first().copied() {
            match place {
                ArrayPlace::Whole(dataset) => {
                    let mut values = vec![0.0_f32; rows.len()];
                    self.datasets[*dataset].read(None, range.clone(), &mut values)?;
                    values
                        .iter()
                        .enumerate()
                        .for_each(|(row, value)| into[row * width + column] = *value);
                    left.remove(0);
                }
                ArrayPlace::Field(table, _) => {
                    let (same, others) = left.into_iter().partition::<Vec<_>, _>(
                        |(_, place)| matches!(place, ArrayPlace::Field(other, _) if other == table),
                    );
                    left = others;
                    for (row, element) in
                        self.datasets[*table].rows::<Raw>(range.clone())?.iter().enumerate()
                    {
                        for (column, place) in &same {
                            let ArrayPlace::Field(_, field) = place else { continue };
                            let bytes = self.datasets[*table].part(element, field)?;
                            let target = &mut into[row * width + column..][..1];
                            fill(bytes, &field.kind, target).ok_or_else(|| {
                                format!(
                                    "{}: {} is not a number",
                                    self.datasets[*table].path, field.name
                                )
                            })?;
                        }
                    }
                }
                ArrayPlace::Column(block, _) => {
                    let (same, others) = left.into_iter().partition::<Vec<_>, _>(
                        |(_, place)| matches!(place, ArrayPlace::Column(other, _) if other == block),
                    );
                    left = others;
                    let inner = self.datasets[*block].shape[1] as usize;
                    let mut values = vec![0.0_f32; rows.len() * inner];
                    self.datasets[*block].read(None, range.clone(), &mut values)?;
                    for (row, values) in values.chunks_exact(inner.max(1)).enumerate() {
                        for (column, place) in &same {
                            if let ArrayPlace::Column(_, index) = place {
                                into[row * width + column] = values[*index];
                            }
                        }
                    }
                }
                ArrayPlace::Words(..) | ArrayPlace::Nowhere => {
                    return Err("holds no numbers".into());
                }
            }
        }
        Ok(())
    }

    fn doubles(&self, at: usize) -> Result<Vec<f64>, String> {
        if let (true, ArrayPlace::Whole(dataset)) =
            (self.infos[at].shape.is_empty(), &self.places[at])
        {
            return self.datasets[*dataset].only_value().map(|value| value.into_iter().collect());
        }
        let mut values = vec![0.0; self.infos[at].rows()];
        self.values(at, 0..self.infos[at].rows(), &mut values)?;
        Ok(values)
    }

    fn texts(&self, at: usize) -> Result<Vec<String>, String> {
        let rows = 0..self.infos[at].rows() as u64;
        match &self.places[at] {
            ArrayPlace::Whole(dataset) => self.datasets[*dataset].text_of(None, rows),
            ArrayPlace::Field(dataset, field) => self.datasets[*dataset].text_of(Some(field), rows),
            ArrayPlace::Column(dataset, _) => {
                Err(format!("{}: holds numbers, not text", self.datasets[*dataset].path))
            }
            ArrayPlace::Words(dataset, field, words) => {
                let mut codes = vec![0.0_f64; self.infos[at].rows()];
                self.datasets[*dataset].read(Some(field), rows, &mut codes)?;
                // A missing value has the code −1.
                let word =
                    |code: f64| if code < 0.0 { None } else { words.get(code as usize).cloned() };
                Ok(codes.into_iter().map(|code| word(code).unwrap_or_default()).collect())
            }
            ArrayPlace::Nowhere => {
                Err(format!("{}: is {}", self.infos[at].name, self.infos[at].type_name))
            }
        }
    }
}

/// Lists arrays: tables and pandas frames as columns, other datasets unchanged. Unreadable ones are
/// included.
fn list_arrays(walk: &Walk) -> Vec<(ArrayInfo, ArrayPlace)> {
    let (columns, frames) = frames(&walk.found);
    let tables = walk.found.iter().filter(|dataset| !dataset.fields.is_empty()).count();
    let mut arrays: Vec<(ArrayInfo, ArrayPlace)> = vec![];
    for (at, dataset) in walk.found.iter().enumerate() {
        let path = dataset.path.trim_start_matches('/');
        if frames.iter().any(|frame| dataset.path.starts_with(frame.as_str())) {
            continue;
        }
        let lengths = |inner: &[u64]| {
            dataset
                .shape
                .iter()
                .chain(inner)
                .map(|length| usize::try_from(*length).unwrap_or(usize::MAX))
                .collect()
        };
        let mut fields: Vec<Field> =
            dataset.fields.iter().flat_map(|field| dataset.columns_of(field)).collect();
        if let Some((_, order)) =
            walk.orders.iter().find(|(group, _)| dataset.path == format!("{group}/table"))
        {
            fields.sort_by_key(|field| order.iter().position(|name| *name == field.name));
        }
        for field in fields {
            let name =
                if tables > 1 { format!("{path}/{}", field.name) } else { field.name.clone() };
            let (kind, type_name, place) =
                match dataset.is_category(&field).then(|| words(walk, dataset, &field)) {
                    Some(Some(words)) => (
                        FieldKind::Text,
                        "category".into(),
                        ArrayPlace::Words(at, field.clone(), words),
                    ),
                    Some(None) => {
                        (FieldKind::Other, "category without its words".into(), ArrayPlace::Nowhere)
                    }
                    None => (
                        kind_of(&field.type_name),
                        field.type_name.clone(),
                        ArrayPlace::Field(at, field.clone()),
                    ),
                };
            arrays.push((ArrayInfo { name, shape: lengths(&field.shape), kind, type_name }, place));
        }
        if dataset.fields.is_empty() {
            let (kind, type_name) = (kind_of(&dataset.type_name), dataset.type_name.clone());
            arrays.push((
                ArrayInfo { name: path.to_owned(), shape: lengths(&[]), kind, type_name },
                ArrayPlace::Whole(at),
            ));
        }
    }
    arrays.extend(columns);
    let unread = walk
        .unread
        .iter()
        .filter(|(path, _)| !frames.iter().any(|frame| path.starts_with(frame.as_str())));
    arrays.extend(
        unread.map(|(path, what)| nowhere(path.trim_start_matches('/').to_owned(), what.clone())),
    );
    arrays
}

/// An array that cannot be read, with a description.
fn nowhere(name: String, what: String) -> (ArrayInfo, ArrayPlace) {
    (
        ArrayInfo { name, shape: vec![], kind: FieldKind::Other, type_name: what },
        ArrayPlace::Nowhere,
    )
}

/// The words of a category, which pandas stores in a separate table.
fn words(walk: &Walk, dataset: &Dataset, field: &Field) -> Option<Vec<String>> {
    let group = dataset.path.strip_suffix("/table")?;
    let table = walk.hidden(&format!("{group}/meta/{}/meta/table", field.block))?;
    let words = table.fields.iter().find(|field| field.name == "values")?;
    let rows = 0..table.shape.first().copied().unwrap_or(0);
    if kind_of(&words.type_name) == FieldKind::Text {
        return table.text_of(Some(words), rows).ok();
    }
    let mut numbers = vec![0.0_f64; usize::try_from(rows.end).ok()?];
    table.read(Some(words), rows, &mut numbers).ok()?;
    Some(numbers.iter().map(f64::to_string).collect())
}

/// The columns of frames that pandas wrote with `to_hdf(format="fixed")`, and those frames. Columns
/// of objects are pickled in them.
fn frames(datasets: &[Dataset]) -> (Vec<(ArrayInfo, ArrayPlace)>, Vec<String>) {
    let mut columns: Vec<(String, ArrayInfo, ArrayPlace)> = vec![];
    for items in datasets {
        let Some(block) =
            items.path.strip_suffix("_items").filter(|block| block.contains("/block"))
        else {
            continue;
        };
        let path = format!("{block}_values");
        let count = items.shape.first().copied().unwrap_or(0);
        let Some(at) = datasets
            .iter()
            .position(|dataset| dataset.path == path && dataset.shape.get(1) == Some(&count))
        else {
            continue;
        };
        let values = &datasets[at];
        let frame = block.rsplit_once('/').map_or("", |(frame, _)| frame);
        for (index, name) in
            items.text_of(None, 0..count).unwrap_or_default().into_iter().enumerate()
        {
            let rows = usize::try_from(values.shape[0]).unwrap_or(usize::MAX);
            let info = ArrayInfo {
                name,
                shape: vec![rows],
                kind: kind_of(&values.type_name),
                type_name: values.type_name.clone(),
            };
            columns.push((format!("{frame}/"), info, ArrayPlace::Column(at, index)));
        }
    }
    let mut frames: Vec<String> = columns.iter().map(|(frame, ..)| frame.clone()).collect();
    frames.dedup();
    // Blocks are grouped by type; the frame's column order is on its first axis.
    for frame in &frames {
        let axis = datasets.iter().find(|dataset| dataset.path == format!("{frame}axis0"));
        let names = axis
            .and_then(|axis| axis.text_of(None, 0..axis.shape.first().copied().unwrap_or(0)).ok())
            .unwrap_or_default();
        let pickled = names
            .iter()
            .filter(|name| !columns.iter().any(|(of, info, _)| of == frame && info.name == **name))
            .cloned();
        let pickled: Vec<String> = pickled.collect();
        columns.extend(pickled.into_iter().map(|name| {
            let (info, place) = nowhere(
                name,
                "pickled Python objects; pandas writes text with to_hdf(format=\"table\")".into(),
            );
            (frame.clone(), info, place)
        }));
        columns.sort_by_cached_key(|(of, info, _)| {
            (of != frame, names.iter().position(|name| *name == info.name))
        });
    }
    let several = frames.len() > 1;
    let named = |(frame, info, place): (String, ArrayInfo, ArrayPlace)| {
        let name = if several {
            format!("{}{}", frame.trim_start_matches('/'), info.name)
        } else {
            info.name
        };
        (ArrayInfo { name, ..info }, place)
    };
    (columns.into_iter().map(named).collect(), frames)
}

/// The kind of a column of this type.
fn kind_of(type_name: &str) -> FieldKind {
    match type_name {
        "bool" => FieldKind::Flag,
        "string" => FieldKind::Text,
        // An enumeration; h5py also reads its numbers.
        name if name.starts_with("enum(") => FieldKind::Number,
        name if name.starts_with("int")
            || name.starts_with("uint")
            || name.starts_with("float") =>
        {
            FieldKind::Number
        }
        _ => FieldKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_hdf5_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"fromrun,fromlumi,histo\n1,2,\"[3, 4]\"\n").unwrap();
        assert!(Hdf5::open(file.path()).is_err());
    }
}
