//! Detector data: files, tables, and the rows of an experiment ([`Samples`]).

pub mod areas;
pub mod axes;
mod bins;
pub mod cells;
pub mod channels;
pub mod field;
pub mod histogram_quantiles;
mod join;
pub mod json;
pub mod layers;
mod load;
pub mod lumi;
pub mod lumisections;
mod part;
pub mod paths;
pub mod read;
mod samples;
pub mod shape;
pub mod side_table;
pub mod table;

pub use load::{LoadOptions, load};
pub use samples::{Rejected, Role, Run, SampleRow, Samples, Source};
