//! Tables as files: Parquet, or CSV where the name ends in .csv.

use crate::{
    error::{Error, Result},
    files::atomic::write_atomically,
};
use arrow_array::{
    Array, ArrayRef, RecordBatch,
    cast::AsArray,
    types::{Float32Type, Float64Type, UInt32Type},
};
use arrow_schema::DataType;
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_writer::{ArrowColumnWriter, compute_leaves},
    },
    basic::Compression,
    file::properties::WriterProperties,
    schema::types::ColumnPath,
};
use rayon::prelude::*;
use std::path::Path;

/// A table of columns that may have gaps.
pub(crate) fn of_columns<N: Into<String>>(columns: Vec<(N, ArrayRef)>) -> Result<RecordBatch> {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name.into(), column, true)),
    )
    .map_err(|error| Error::failed(format!("table: {error}")))
}

/// Refuses a name that ends in neither .parquet nor .csv.
pub fn check_name(argument: &str, path: &Path) -> Result<()> {
    match path.extension() {
        Some(extension) if extension == "parquet" || extension == "csv" => Ok(()),
        _ => Err(Error::input(format!(
            "{argument} {}: expected a name that ends in .parquet or .csv",
            path.display()
        ))),
    }
}

/// Writes a table beside its target, then renames it.
pub(crate) fn write(path: &Path, batch: &RecordBatch) -> Result<()> {
    write_parts(path, [Ok(batch.clone())])
}

/// Writes a table that is made part by part, at least one, of up to [`GROUP`] rows each: only one
/// of them is in memory.
pub(crate) fn write_parts(
    path: &Path,
    parts: impl IntoIterator<Item = Result<RecordBatch>>,
) -> Result<()> {
    let bytes = if path.extension().is_some_and(|extension| extension == "csv") {
        to_csv(parts)?
    } else {
        parts_to_parquet(parts)?
    };
    write_atomically(path, &bytes)
}

/// Rows of a group in a Parquet file.
pub(crate) const GROUP: usize = 1 << 17;

/// The bytes of a Parquet file.
pub(crate) fn to_parquet(batch: &RecordBatch) -> Result<Vec<u8>> {
    parts_to_parquet([Ok(batch.clone())])
}

/// The bytes of a Parquet file. Columns are encoded side by side.
fn parts_to_parquet(parts: impl IntoIterator<Item = Result<RecordBatch>>) -> Result<Vec<u8>> {
    let failed = |error: parquet::errors::ParquetError| Error::failed(format!("Parquet: {error}"));
    let mut parts = parts.into_iter().peekable();
    let schema = match parts.peek() {
        Some(Ok(first)) => first.schema(),
        Some(Err(error)) => return Err(error.clone()),
        None => return Err(Error::failed("Parquet: a table without columns")),
    };
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(parquet::basic::ZstdLevel::default()));
    // Numbers hardly repeat: looking for those that do costs more than it brings.
    for field in schema.fields().iter().filter(|field| field.data_type().is_floating()) {
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::new(vec![field.name().clone()]), false);
    }
    let mut bytes = vec![];
    let writer = ArrowWriter::try_new(&mut bytes, schema.clone(), Some(properties.build()))
        .map_err(failed)?;
    let (mut file, groups) = writer.into_serialized_writer().map_err(failed)?;
    let mut written = 0;
    for part in parts {
        let part = part?;
        for first in (0..part.num_rows()).step_by(GROUP) {
            let rows = part.slice(first, GROUP.min(part.num_rows() - first));
            let writers = groups.create_column_writers(written).map_err(failed)?;
            let encode = |(i, mut writer): (usize, ArrowColumnWriter)| {
                compute_leaves(schema.field(i), rows.column(i))?
                    .iter()
                    .try_for_each(|leaf| writer.write(leaf))?;
                writer.close()
            };
            // A column is one leaf: our tables are flat.
            let chunks = writers
                .into_par_iter()
                .enumerate()
                .map(encode)
                .collect::<parquet::errors::Result<Vec<_>>>()
                .map_err(failed)?;
            let mut group = file.next_row_group().map_err(failed)?;
            chunks
                .into_iter()
                .try_for_each(|chunk| chunk.append_to_row_group(&mut group))
                .map_err(failed)?;
            group.close().map_err(failed)?;
            written += 1;
        }
    }
    file.close().map_err(failed)?;
    Ok(bytes)
}

/// The bytes of a CSV file; gaps are empty.
pub(crate) fn to_csv(parts: impl IntoIterator<Item = Result<RecordBatch>>) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| Error::failed(format!("CSV: {error}"));
    let mut writer = csv::Writer::from_writer(vec![]);
    for (at, part) in parts.into_iter().enumerate() {
        let part = part?;
        if at == 0 {
            writer
                .write_record(part.schema().fields().iter().map(|field| field.name()))
                .map_err(|error| failed(&error))?;
        }
        for row in 0..part.num_rows() {
            let fields = part
                .columns()
                .iter()
                .map(|column| text(column, row).ok_or_else(|| failed(&column.data_type())));
            writer
                .write_record(fields.collect::<Result<Vec<_>>>()?)
                .map_err(|error| failed(&error))?;
        }
    }
    writer.into_inner().map_err(|error| failed(&error))
}

/// One entry as text; none of a type that our tables do not have.
fn text(column: &ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) {
        return Some(String::new());
    }
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(row).to_owned()),
        DataType::Boolean => Some(column.as_boolean().value(row).to_string()),
        DataType::UInt32 => Some(column.as_primitive::<UInt32Type>().value(row).to_string()),
        DataType::Float32 => Some(column.as_primitive::<Float32Type>().value(row).to_string()),
        DataType::Float64 => Some(column.as_primitive::<Float64Type>().value(row).to_string()),
        _ => None,
    }
}
