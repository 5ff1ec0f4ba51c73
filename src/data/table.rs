//! One file as read, before anything is chosen, sorted or scaled.

use super::csv;
use crate::{
    config::raw::{Columns, Data, Format},
    error::{Error, Result},
};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// One histogram a row, in file order.
#[derive(Clone, Debug)]
pub struct Table {
    /// The file.
    pub path: PathBuf,
    /// Its layout.
    pub format: Format,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Header names.
    pub header: Vec<String>,
    /// Which row is which lumisection.
    pub rows: Vec<Row>,
    /// Number of bins.
    pub width: usize,
    /// Bin contents, `[rows, width]`.
    pub values: Vec<f32>,
    /// Whether the first and last bin are underflow and overflow.
    pub flow_bins: bool,
    /// Further columns that were asked for, as text.
    pub columns: BTreeMap<String, Vec<String>>,
    /// Monitoring elements in the file and their number of rows.
    pub elements: BTreeMap<String, usize>,
    /// Rows that could not be read.
    pub faults: Vec<Fault>,
}

/// The identity of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The detector's run, where the file or its name says it.
    pub run: Option<u32>,
    /// Lumisection number.
    pub ls: u32,
    /// Line in the file, from 1.
    pub line: u32,
}

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Line in the file, from 1.
    pub line: u32,
    /// Run, where that could be read.
    pub run: Option<u32>,
    /// Lumisection, where that could be read.
    pub ls: Option<u32>,
    /// What is wrong.
    pub reason: String,
}

/// What to look for in a file.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The layout, or `Auto`.
    pub format: Format,
    /// Header names that are not the usual ones.
    pub columns: Columns,
    /// The monitoring element to take.
    pub me: Option<String>,
    /// Whether rows of several monitoring elements may come together (to inspect a file).
    pub any_element: bool,
    /// Further columns to bring, by name.
    pub extra: Vec<String>,
    /// Whether a file without one of them is refused, or just has none.
    pub extra_required: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self::new(&Data::default(), vec![])
    }
}

impl Wanted {
    /// What a config's `[data]` asks for, and further columns by name.
    pub fn new(data: &Data, extra: Vec<String>) -> Self {
        Self { format: data.format, columns: data.columns.clone(), me: data.me.clone(), any_element: false, extra, extra_required: true }
    }
}

/// File types that are told by their first bytes and are not read (yet).
const MAGIC: &[(&[u8], &str)] = &[
    (b"PAR1", "a Parquet file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a ZIP archive (or NPZ)"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"root", "a ROOT file"),
    (b"\x80\x04", "a Python pickle"),
    (b"ARROW1", "an Arrow file"),
];

/// Reads one file.
pub fn read(path: &Path, wanted: &Wanted) -> Result<Table> {
    let bytes = fs::read(path).map_err(|error| Error::reading(path, &error))?;
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(Error::input(format!("{}: is {what}; expected a CSV file with one histogram a row", path.display())));
    }
    let mut table = csv::read(path, &bytes, wanted)?;
    table.bytes = bytes.len() as u64;
    table.sha256 = hex(&Sha256::digest(&bytes));
    Ok(table)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Table {
    /// A table without rows.
    pub fn new(path: &Path, format: Format) -> Self {
        Self {
            path: path.to_path_buf(),
            format,
            bytes: 0,
            sha256: String::new(),
            header: vec![],
            rows: vec![],
            width: 0,
            values: vec![],
            flow_bins: false,
            columns: BTreeMap::new(),
            elements: BTreeMap::new(),
            faults: vec![],
        }
    }

    /// The bins of row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// Turns rows whose number of bins is not the most common one into faults. `widths` has one number a row, in order.
    pub(super) fn keep_usual_width(&mut self, widths: &[usize]) {
        let mut counts = BTreeMap::new();
        widths.iter().for_each(|width| *counts.entry(*width).or_insert(0_usize) += 1);
        let Some(usual) = counts.iter().max_by_key(|(_, count)| **count).map(|(width, _)| *width) else { return };
        self.width = usual;
        if counts.len() == 1 {
            return;
        }
        let (mut kept, mut from, mut to) = (vec![], 0, 0);
        for (i, &width) in widths.iter().enumerate() {
            if width == usual {
                self.values.copy_within(from..from + width, to);
                to += width;
                kept.push(i);
            } else {
                let row = self.rows[i];
                self.faults.push(Fault {
                    line: row.line,
                    run: row.run,
                    ls: Some(row.ls),
                    reason: format!("{width} bins where most rows have {usual}"),
                });
            }
            from += width;
        }
        self.values.truncate(to);
        self.rows = kept.iter().map(|&i| self.rows[i]).collect();
        for values in self.columns.values_mut() {
            *values = kept.iter().map(|&i| std::mem::take(&mut values[i])).collect();
        }
        self.faults.sort_by_key(|fault| fault.line);
    }
}
