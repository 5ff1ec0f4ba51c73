//! Readers, one file per format. Each passes its rows to the `builder`; `layout` determines the
//! role of each column.

mod array_file;
mod arrays;
pub(crate) mod budget;
mod builder;
mod codecs;
pub(crate) mod columnar;
mod csv;
mod dialect;
pub(crate) mod dials;
pub(crate) mod entries;
mod file;
pub(crate) mod format;
mod hdf5;
mod ipc;
mod layout;
pub(crate) mod names;
pub(crate) mod npy;
mod options;
mod pages;
pub(crate) mod partition;
mod row;
pub(crate) mod text;
mod twins;
mod usual_names;
pub(crate) mod values;

pub use file::read_file;
pub use options::{Detail, ReadOptions};
