//! Prepares samples for a model: selects rows ([`select`]), splits them into training, validation
//! and test ([`split`]), and scales bins ([`scale`], with [`floors`] for constant bins). Rows that
//! are too large to compute with are not evaluated ([`finite`]). Everything is fitted on training
//! rows only, unless the config asks for other rows by name.

pub(crate) mod chosen;
pub mod classes;
pub mod finite;
pub mod floors;
mod label_values;
pub mod labels;
pub mod masked;
pub mod missing;
pub mod normalisation;
mod prepared;
pub mod quantities;
mod rows;
pub mod scale;
pub mod select;
pub mod split;
pub(crate) mod step;
pub mod training;

pub use prepared::{Prepared, divide, reject, retain};
pub use rows::Rows;
