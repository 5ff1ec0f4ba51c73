//! One file as read, before anything is chosen, sorted or scaled.

use super::{
    cells::Cells,
    channels::Hierarchy,
    read::{arrays, columnar, csv, dials, layout::Field, text},
};
use crate::{
    config::{
        channels::Channels,
        data::{Columns, Data, Format},
    },
    error::{Error, Result},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

/// One histogram or one set of features a row, in file order.
#[derive(Clone, Debug)]
pub struct Table {
    /// The file.
    pub path: PathBuf,
    /// Its layout.
    pub format: Format,
    /// Its columns, or arrays.
    pub fields: Vec<Field>,
    /// Which row is which lumisection, or event.
    pub rows: Vec<Row>,
    /// Whether rows are events: they have no lumisection, and their `ls` is their position in the
    /// file.
    pub events: bool,
    /// How the values of a row are laid out.
    pub shape: Shape,
    /// Contents, `[rows, bins or features]`.
    pub values: Vec<f32>,
    /// Whether the first and last bin of each axis are underflow and overflow.
    pub flow_bins: bool,
    /// Whether a map's bins lie with y running fastest (index x · y bins + y) instead of x.
    pub y_fastest: bool,
    /// Edges of the axes where the file says them, the same for all rows: x from, x to, y from, y
    /// to.
    pub edges: [Option<f64>; 4],
    /// The ends of each row's axis in x, where they were asked for and the file says them.
    pub axes: Vec<[f64; 2]>,
    /// Names of the features; absent for histograms.
    pub features: Option<Arc<[String]>>,
    /// Where features belong by their names, where rules for that were given; they are then those
    /// of the channels.
    pub hierarchy: Option<Hierarchy>,
    /// Further columns that were asked for.
    pub columns: BTreeMap<String, Column>,
    /// Monitoring elements in the file and their number of rows.
    pub elements: BTreeMap<String, usize>,
    /// Rows that could not be read.
    pub faults: Vec<Fault>,
    /// What each row is like, where that was asked for instead of its values.
    pub summaries: Vec<Summary>,
    /// The cells of each feature, where summaries were asked for.
    pub cells: Vec<Cells>,
    /// What is worth knowing about how the file was read.
    pub notes: Vec<String>,
}

/// The shape of a row's values: a map is `[y, x]`, a histogram or a set of features `[1, x]`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Shape {
    /// Rows of a map; 1 for a histogram.
    pub y: usize,
    /// Bins in x.
    pub x: usize,
}

impl Shape {
    /// A histogram of so many bins.
    pub fn line(x: usize) -> Self {
        Self { y: 1, x }
    }

    /// Number of values.
    pub fn width(self) -> usize {
        self.y * self.x
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.y == 1 { write!(f, "{}", self.x) } else { write!(f, "{} × {}", self.x, self.y) }
    }
}

/// The identity of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The detector's run, where the file or its name says it.
    pub run: Option<u32>,
    /// Lumisection number, or the number of the event.
    pub ls: u32,
    /// Line in the file, from 1; 0 in files without lines.
    pub line: u32,
    /// Position among the file's rows, from 0.
    pub index: u32,
}

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Line in the file, from 1; 0 in files without lines.
    pub line: u32,
    /// Position among the file's rows, from 0.
    pub index: u32,
    /// Run, where that could be read.
    pub run: Option<u32>,
    /// Lumisection, where that could be read.
    pub ls: Option<u32>,
    /// What is wrong.
    pub reason: String,
}

/// What a row is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Its monitoring element, as a position in [`Table::elements`]; 0 where there are none.
    pub element: u32,
    /// Its shape.
    pub shape: Shape,
    /// Whether it has underflow and overflow bins.
    pub flow_bins: bool,
    /// Sum of its values; NaN where they were not read.
    pub sum: f64,
    /// Whether all its values are 0; false where they were not read.
    pub empty: bool,
    /// Missing values.
    pub missing: u32,
}

/// A column of numbers or texts, one entry a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Numbers; true is 1, false is 0, unknown is NaN.
    Numbers(Vec<f64>),
    /// Texts; unknown is blank.
    Texts(Vec<String>),
}

impl Column {
    /// Texts as numbers, where every one is a number, a flag or blank.
    pub fn from_texts(texts: Vec<String>) -> Self {
        let number = |text: &String| match text.to_lowercase().as_str() {
            "true" => Some(1.0),
            "false" => Some(0.0),
            other if is_missing(other) => Some(f64::NAN),
            other => other.parse::<f64>().ok(),
        };
        match texts.iter().map(number).collect::<Option<Vec<f64>>>() {
            Some(numbers) => Self::Numbers(numbers),
            None => Self::Texts(texts),
        }
    }

    /// A column of unknowns.
    pub fn unknown(rows: usize) -> Self {
        Self::Numbers(vec![f64::NAN; rows])
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry of row `i` as people write it; blank where unknown.
    pub fn text(&self, i: usize) -> String {
        match self {
            Self::Numbers(numbers) if numbers[i].is_nan() => String::new(),
            Self::Numbers(numbers) => numbers[i].to_string(),
            Self::Texts(texts) => texts[i].clone(),
        }
    }

    /// Whether entry `i` says anything.
    pub fn is_known(&self, i: usize) -> bool {
        match self {
            Self::Numbers(numbers) => !numbers[i].is_nan(),
            Self::Texts(texts) => !texts[i].is_empty(),
        }
    }

    /// The entries at these positions, in this order.
    pub fn take(&self, positions: &[usize]) -> Self {
        match self {
            Self::Numbers(numbers) => {
                Self::Numbers(positions.iter().map(|&i| numbers[i]).collect())
            }
            Self::Texts(texts) => {
                Self::Texts(positions.iter().map(|&i| texts[i].clone()).collect())
            }
        }
    }

    /// Appends entry `i` of another column.
    pub fn push(&mut self, from: &Self, i: usize) {
        match (&mut *self, from) {
            (Self::Numbers(numbers), Self::Numbers(from)) => numbers.push(from[i]),
            (Self::Texts(texts), from) => texts.push(from.text(i)),
            (Self::Numbers(numbers), from) => {
                let mut texts: Vec<String> =
                    (0..numbers.len()).map(|at| Self::Numbers(vec![numbers[at]]).text(0)).collect();
                texts.push(from.text(i));
                *self = Self::Texts(texts);
            }
        }
    }

    /// Both columns one after the other; numbers become texts where the other holds texts.
    pub fn append(self, other: Self) -> Self {
        match (self, other) {
            (Self::Numbers(mut a), Self::Numbers(b)) => {
                a.extend(b);
                Self::Numbers(a)
            }
            (a, b) => Self::Texts(
                (0..a.len()).map(|i| a.text(i)).chain((0..b.len()).map(|i| b.text(i))).collect(),
            ),
        }
    }
}

/// Whether an entry says that there is none.
pub fn is_missing(text: &str) -> bool {
    const MARKERS: [&str; 10] =
        ["na", "n/a", "<na>", "#n/a", "nan", "-nan", "null", "none", "-", "--"];
    text.is_empty() || MARKERS.iter().any(|marker| marker.eq_ignore_ascii_case(text))
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
    /// Whether monitoring elements are layers: histograms or maps, whatever else they might be.
    pub layered: bool,
    /// Whether the axis of each histogram is needed.
    pub summary: bool,
    /// The runs to take; all where absent. Rows that do not say their run are taken.
    pub runs: Option<Arc<BTreeSet<u32>>>,
    /// Further columns to bring; a file without one of them is refused.
    pub required: Vec<String>,
    /// Further columns to bring where they are.
    pub welcome: Vec<String>,
    /// What DIALS calls lumisections by: number in DIALS to (run, LS).
    pub dials: Arc<BTreeMap<u64, (u32, u32)>>,
    /// The features to take, in this order, where the file has columns of these names: those of a
    /// trained model.
    pub features: Option<Vec<String>>,
    /// How names make channels: only features of the channels that are used are taken.
    pub channels: Channels,
    /// Numbers that stand for a missing value.
    pub missing: Vec<f32>,
    /// Whether rows with missing cells are taken, with NaN in them; else they cannot be read.
    pub keeps_missing: bool,
    /// What to bring of each row.
    pub bring: Bring,
}

impl Default for Wanted {
    fn default() -> Self {
        Self::new(&Data::default())
    }
}

impl Wanted {
    /// What a config's `[data]` asks for.
    pub fn new(data: &Data) -> Self {
        Self {
            format: data.format,
            columns: data.columns.clone(),
            me: data.me.clone(),
            layered: !data.layers.is_empty(),
            summary: data.summary,
            runs: None,
            required: vec![],
            welcome: vec![],
            dials: Arc::default(),
            features: None,
            channels: Channels::default(),
            missing: data.missing.iter().map(|number| *number as f32).collect(),
            keeps_missing: !data.fill.is_reject(),
            bring: Bring::Values,
        }
    }

    /// The names of columns that must be there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let Columns { run, ls, me, bins, features, .. } = &self.columns;
        let plain = |name: &&String| !name.contains(['*', '?', '[']);
        let named = [run, ls, me, bins].into_iter().flatten().chain(features.iter().filter(plain));
        named.chain(&self.required).chain(self.features.iter().flatten()).map(String::as_str)
    }

    /// The same with further columns.
    pub fn with_columns(self, required: Vec<String>, welcome: Vec<String>) -> Self {
        Self { required, welcome, ..self }
    }
}

/// What to bring of each row of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bring {
    /// The values of one monitoring element.
    Values,
    /// A [`Summary`] of each row of all monitoring elements.
    Summaries,
    /// Identities only, where the format keeps them apart from the values; what a summary says of
    /// values is then not known.
    Identities,
}

/// File types by their first bytes.
const MAGIC: &[(&[u8], Format)] = &[
    (b"PAR1", Format::Parquet),
    (b"ARROW1", Format::Arrow),
    (b"\xff\xff\xff\xff", Format::Arrow),
    (b"\x89HDF\r\n\x1a\n", Format::Hdf5),
    (b"\x93NUMPY", Format::Npy),
    (b"PK\x03\x04", Format::Npz),
];

/// File types that are not read, and what to do about it.
const REFUSED: &[(&[u8], &str)] = &[
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
    (b"\x80\x02", PICKLE),
    (b"\x80\x03", PICKLE),
    (b"\x80\x04", PICKLE),
    (b"\x80\x05", PICKLE),
    (
        b"root",
        "is a ROOT file, which is not read; write its histograms to Parquet first (dqmiotools does, or uproot and pandas)",
    ),
    (b"BZh", "is compressed with bzip2; gzip and zstd are read"),
    (b"\xfd7zXZ", "is compressed with xz; gzip and zstd are read"),
];
const UTF_16: &str = "is text in UTF-16; save it as UTF-8";
const PICKLE: &str = "is a Python pickle, which only Python can read safely; convert it with scripts/pickle_to_parquet.py";

/// Which format a file has, by its first bytes and the format that was asked for.
pub fn format_of(path: &Path, wanted: Format) -> Result<Format> {
    if path.is_dir() {
        return Err(Error::reading(path, &std::io::ErrorKind::IsADirectory.into()));
    }
    let start = text::Source::open(path)?.peek(path, 4096)?;
    if let Some((_, what)) = REFUSED.iter().find(|(magic, _)| start.starts_with(magic)) {
        return Err(Error::input(format!("{}: {what}", path.display())));
    }
    if !MAGIC.iter().any(|(magic, _)| start.starts_with(magic)) && has_user_block(path) {
        return match wanted {
            Format::Auto | Format::Hdf5 => Ok(Format::Hdf5),
            wanted => Err(Error::input(format!(
                "{}: data.format is \"{wanted}\", but this looks like hdf5",
                path.display()
            ))),
        };
    }
    if start.contains(&0) && !MAGIC.iter().any(|(magic, _)| start.starts_with(magic)) {
        let expected = "CSV, Parquet, Arrow, HDF5, NPY, NPZ or DIALS JSON";
        return Err(Error::input(format!(
            "{}: is neither text nor of a format that is read; expected {expected}",
            path.display()
        )));
    }
    let found = match MAGIC.iter().find(|(magic, _)| start.starts_with(magic)) {
        Some((_, format)) => *format,
        None if start.trim_ascii().is_empty() => {
            return Err(Error::input(format!("{}: is empty", path.display())));
        }
        None if looks_like_json(&start) => Format::Dials,
        None => Format::Csv,
    };
    let is_text = |format: Format| matches!(format, Format::Csv | Format::Ml4dqm | Format::LsBins);
    match (wanted, found) {
        (Format::Auto, found) => Ok(found),
        (wanted, Format::Csv) if is_text(wanted) => Ok(wanted),
        (wanted, found) if wanted == found => Ok(found),
        (wanted, found) => Err(Error::input(format!(
            "{}: data.format is \"{wanted}\", but this looks like {found}",
            path.display()
        ))),
    }
}

/// Whether an HDF5 file begins behind a block that its maker keeps for itself: 512 bytes in
/// MATLAB's files, or that doubled any number of times.
fn has_user_block(path: &Path) -> bool {
    // Opening a pipe would take from it.
    let Some(length) = std::fs::metadata(path)
        .ok()
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.len())
    else {
        return false;
    };
    let Ok(mut file) = std::fs::File::open(path) else { return false };
    let mut signature = [0; 8];
    let mut blocks =
        std::iter::successors(Some(512_u64), |at| at.checked_mul(2)).take_while(|at| *at < length);
    blocks.any(|at| {
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut signature)).is_ok()
            && signature == *b"\x89HDF\r\n\x1a\n"
    })
}

/// Whether a text begins as JSON does; `[1,2,3]` could be a list of bins, and is no page of
/// anything.
pub fn looks_like_json(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    match start.first() {
        Some(b'{') => true,
        Some(b'[') => start[1..]
            .trim_ascii_start()
            .first()
            .is_some_and(|next| matches!(next, b'{' | b'[' | b']')),
        _ => false,
    }
}

/// Reads one file.
pub fn read(path: &Path, wanted: &Wanted) -> Result<Table> {
    let format = format_of(path, wanted.format)?;
    crate::guard::decode(path, || match format {
        Format::Parquet => columnar::read_parquet(path, wanted),
        Format::Arrow => columnar::read_arrow(path, wanted),
        Format::Hdf5 | Format::Npy | Format::Npz => arrays::read(path, format, wanted),
        Format::Dials => dials::read(path, wanted),
        Format::Auto | Format::Csv | Format::Ml4dqm | Format::LsBins => {
            csv::read(path, &mut text::Source::open(path)?, wanted)
        }
    })
}

/// Size and SHA-256 of a file.
pub fn fingerprint(path: &Path) -> Result<(u64, String)> {
    use sha2::{Digest, Sha256};
    crate::files::regular(path)?;
    let mut file = std::fs::File::open(path).map_err(|error| Error::reading(path, &error))?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 18]);
    loop {
        let count = file.read(&mut buffer).map_err(|error| Error::reading(path, &error))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        bytes += count as u64;
    }
    Ok((bytes, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

impl Table {
    /// Number of values of a row.
    pub fn width(&self) -> usize {
        self.shape.width()
    }

    /// The values of row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width()..(i + 1) * self.width()]
    }

    /// The place of a row or a fault, for messages: `file:line`, or the row's position where the
    /// file has no lines.
    pub fn place(&self, line: u32, index: u32) -> String {
        place_in(&self.path, line, index)
    }
}

/// The place of a row: `file:line`, or its position (from 0) where the file has no lines.
pub fn place_in(path: &Path, line: u32, index: u32) -> String {
    if line > 0 {
        format!("{}:{line}", path.display())
    } else {
        format!("{}: row {index}", path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_numbers_where_they_can_be() {
        let column = |texts: &[&str]| {
            Column::from_texts(texts.iter().map(|text| (*text).to_owned()).collect())
        };
        let Column::Numbers(numbers) = column(&["True", "0", "", "2.5"]) else {
            panic!("not numbers")
        };
        assert!(numbers[0] == 1.0 && numbers[1] == 0.0 && numbers[2].is_nan() && numbers[3] == 2.5);
        let both = Column::Numbers(vec![1.0, f64::NAN]).append(column(&["a"]));
        assert_eq!(both, Column::Texts(vec!["1".into(), String::new(), "a".into()]));
    }
}
