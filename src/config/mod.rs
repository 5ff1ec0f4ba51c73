//! From a TOML file to a checked [`Experiment`].
//!
//! [`raw`] is the file as written, [`Document`] merges it with what it extends and what was
//! `--set`, [`schema`] finds wrong keys and values, and [`Experiment`] is what the later stages
//! accept: every default filled in, every path absolute, every choice a type that carries just what
//! it needs.

pub mod batch;
mod channels;
mod check;
mod document;
pub mod experiment;
pub mod expression;
pub mod raw;
pub mod reference;
pub mod resolved;
pub mod schema;
pub mod sweep;

pub use batch::Batch;
pub use document::{Document, Place};
pub use experiment::{
    Certify, Cut, DeviceChoice, Divergence, Experiment, LabelOrigin, LabelSpec, LabelValues, Loss,
    Optimizer, Part, Penalties, Schedule, Sparsity, Threshold,
};
pub use expression::{Expression, Value};
