//! Readers, one file a format. All of them hand rows to the [`builder`]; which column is what is
//! decided in [`layout`].

pub(crate) mod arrays;
pub(crate) mod builder;
mod codecs;
pub(crate) mod columnar;
pub(crate) mod csv;
mod dialect;
pub(crate) mod dials;
pub(crate) mod entries;
mod hdf5;
mod ipc;
pub mod layout;
pub(crate) mod names;
pub(crate) mod npy;
mod pages;
pub(crate) mod text;
