//! From a TOML file to a checked [`Experiment`].
//!
//! [`raw`] is the file as written, [`Document`] merges it with what it extends and what was `--set`, [`schema`] finds
//! wrong keys and values, and [`Experiment`] is what the later stages accept: every default filled in, every path
//! absolute, every choice a type that carries just what it needs.

mod channels;
mod document;
pub mod experiment;
pub mod expression;
pub mod raw;
pub mod schema;

pub use document::{Document, Place};
pub use experiment::{Certify, Cut, DeviceChoice, Experiment, LabelOrigin, LabelSpec, Loss, Optimizer, Schedule, Threshold};
pub use expression::{Expression, Value};
