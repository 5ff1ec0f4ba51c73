//! Reads a file of any format.

use super::{arrays, columnar, csv, dials, format::format_of, options::ReadOptions, text};
use crate::{config::data::Format, data::table::Table, error::Result};
use std::path::Path;

/// Reads one file.
pub fn read_file(path: &Path, wanted: &ReadOptions) -> Result<Table> {
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
