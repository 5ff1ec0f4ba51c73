//! Synthetic data with known anomalies, for trials and tests.

pub mod certification;
pub mod cms2010b;
pub mod events;
mod files;
mod hdf5;
mod metsig;
mod normal;
pub mod occupancy;
mod truth;

pub use metsig::{METSIG, Made, metsig};
pub use truth::read_truth;
