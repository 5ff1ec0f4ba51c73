//! What all trials of a search found, in one table each: for searches that are jobs, one an era, a
//! layer or a part of the runs.

use super::{
    results::{Row, shown},
    state::Phase,
    trials::Board,
};
use crate::{
    data::read::columnar,
    error::{Error, Result},
    files::{folder::names, tables},
};
use arrow_array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow_schema::DataType;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The tables of a trial that are joined.
pub const TABLES: [&str; 3] = [names::SCORES, names::REGIONS, names::REJECTED];

/// Writes the tables of all complete trials into a folder, each trial's rows behind the trial's
/// number and its values of what is varied. Returns what was written.
pub fn join(board: &Board, rows: &[Row], into: &Path) -> Result<Vec<PathBuf>> {
    let mut written = vec![];
    for name in TABLES {
        let of_trial = |row: &Row| {
            (row.state.state == Phase::Done)
                .then(|| board.folder(row.trial).join(name))
                .filter(|path| path.is_file())
        };
        let tables: Vec<(&Row, PathBuf)> =
            rows.iter().filter_map(|row| Some((row, of_trial(row)?))).collect();
        if tables.is_empty() {
            continue;
        }
        let fields = fields(tables.iter().map(|(_, path)| path.as_path()))?;
        let parts =
            tables.iter().flat_map(|(row, path)| match columnar::read_table(path, tables::GROUP) {
                Ok((_, batches)) => {
                    batches.into_iter().map(|batch| behind(board, row, &fields, &batch)).collect()
                }
                Err(error) => vec![Err(error)],
            });
        let path = into.join(name);
        tables::write_parts(&path, parts)?;
        written.push(path);
    }
    Ok(written)
}

fn torn(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::input(format!("{}: not a whole table: {error}", path.display()))
}

/// The columns of all tables, each once; some have labels or quantities that others lack.
fn fields<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<Vec<(String, DataType)>> {
    let mut fields: Vec<(String, DataType)> = vec![];
    for path in paths {
        for field in columnar::metadata(path)?.schema().fields() {
            match fields.iter().find(|(name, _)| name == field.name()) {
                Some((_, kind)) if kind == field.data_type() => {}
                Some((name, kind)) => {
                    return Err(torn(
                        path,
                        &format!(
                            "its column {name} is {:?}, in other trials {kind:?}",
                            field.data_type()
                        ),
                    ));
                }
                None => fields.push((field.name().clone(), field.data_type().clone())),
            }
        }
    }
    Ok(fields)
}

/// A trial's rows behind its number and values.
fn behind(
    board: &Board,
    row: &Row,
    fields: &[(String, DataType)],
    batch: &RecordBatch,
) -> Result<RecordBatch> {
    let same =
        |text: String| -> ArrayRef { Arc::new(StringArray::from(vec![text; batch.num_rows()])) };
    let value = |name: &str| {
        row.point.as_ref().and_then(|point| point.get(name)).map(shown).unwrap_or_default()
    };
    let mut columns: Vec<(String, ArrayRef)> = vec![("trial".into(), same(row.name.clone()))];
    columns.extend(
        board
            .space()
            .parameters
            .iter()
            .map(|parameter| (parameter.name.clone(), same(value(&parameter.name)))),
    );
    for (name, kind) in fields {
        let column = batch
            .column_by_name(name)
            .cloned()
            .unwrap_or_else(|| new_null_array(kind, batch.num_rows()));
        columns.push((name.clone(), column));
    }
    tables::of_columns(columns)
}
