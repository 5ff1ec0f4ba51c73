//! Readers, one file a format. All of them hand rows to the [`builder`]; which column is what is
//! decided in [`layout`].

pub(crate) mod array_file;
pub(crate) mod arrays;
pub(crate) mod budget;
pub(crate) mod builder;
mod codecs;
pub(crate) mod columnar;
pub(crate) mod csv;
mod dialect;
pub(crate) mod dials;
pub(crate) mod entries;
pub mod file;
pub mod format;
mod hdf5;
mod ipc;
pub mod layout;
pub(crate) mod names;
pub(crate) mod npy;
pub mod options;
mod pages;
pub(crate) mod partition;
pub(crate) mod row;
pub(crate) mod text;
mod twins;
pub(crate) mod usual_names;
pub(crate) mod values;
