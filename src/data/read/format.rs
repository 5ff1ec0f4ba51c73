//! Determines the format of a file from its first bytes.

use super::text::{self, without_mark};
use crate::{
    config::data::Format,
    error::{Error, Result},
};
use std::{
    io::{Read, Seek, SeekFrom},
    path::Path,
};

/// File types by their first bytes.
const MAGIC: &[(&[u8], Format)] = &[
    (b"PAR1", Format::Parquet),
    (b"ARROW1", Format::Arrow),
    (b"\xff\xff\xff\xff", Format::Arrow),
    (b"\x89HDF\r\n\x1a\n", Format::Hdf5),
    (b"\x93NUMPY", Format::Npy),
    (b"PK\x03\x04", Format::Npz),
];

/// Unsupported file types, with advice.
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

/// The format of a file, from its first bytes and the configured format.
pub fn format_of(path: &Path, wanted: Format) -> Result<Format> {
    if path.is_dir() {
        return Err(Error::reading(path, std::io::ErrorKind::IsADirectory.into()));
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

/// Whether an HDF5 file begins after a user block: 512 bytes in MATLAB's files, or that doubled any
/// number of times.
fn has_user_block(path: &Path) -> bool {
    // Opening a pipe would consume its data.
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

/// Whether a text begins like JSON; `[1,2,3]` does not count, because it could be a list of bins.
pub fn looks_like_json(start: &[u8]) -> bool {
    let start = without_mark(start).trim_ascii_start();
    match start.first() {
        Some(b'{') => true,
        Some(b'[') => start[1..]
            .trim_ascii_start()
            .first()
            .is_some_and(|next| matches!(next, b'{' | b'[' | b']')),
        _ => false,
    }
}
