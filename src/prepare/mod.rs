//! From samples to what the model sees: which rows count ([`select`]), which are for what
//! ([`split`]), and how bins become inputs ([`scale`], with [`floors`] for bins that do not vary).
//! Rows that are too large to compute with are not evaluated ([`finite`]). Nothing here is fitted
//! on anything but training rows, unless the config asks for it by name.

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
