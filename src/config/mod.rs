//! From a TOML file to a checked [`Experiment`].
//!
//! [`Document`] merges the file with what it extends and what was `--set`; [`schema`] finds wrong
//! keys and values. Each section has a file, which holds its keys with docs, defaults and ranges,
//! what they mean, and its checks; `cross` checks sections against each other.

mod batch;
mod certify;
mod channels;
mod check;
mod cross;
mod data;
mod device;
mod document;
pub mod experiment;
pub mod expression;
mod file;
mod keys;
mod labels;
mod loss;
mod model;
mod optimizer;
mod patterns;
pub mod raw;
pub mod reference;
mod report;
pub mod resolved;
mod scale;
mod schedule;
pub mod schema;
mod score;
mod select;
mod sensitivity;
mod space;
mod split;
pub mod sweep;
mod threshold;
mod train;
mod weights;

pub use certify::Cut;
pub use data::Part;
pub use device::DeviceChoice;
pub use document::{Document, Place};
pub use experiment::{Batch, Certify, Experiment};
pub use expression::{Expression, Value};
pub use file::affects_results;
pub use keys::Key;
pub use labels::{LabelOrigin, LabelSpec, LabelValues};
pub use loss::{Distance as Loss, Divergence, Penalties, SparsityPenalty as Sparsity};
pub use optimizer::UpdateRule as Optimizer;
pub use schedule::Course as Schedule;
pub use threshold::ThresholdRule as Threshold;

#[cfg(test)]
mod tests {
    use super::{Document, Experiment};
    use std::path::Path;

    /// The least that a config says.
    pub(super) const DATA: &str = "[data]\ntrain = [\"good.csv\"]\n";

    /// Checks the text of a config.
    pub(super) fn check(text: &str) -> crate::Result<Experiment> {
        Experiment::check(&Document::parse(text, Path::new("/folder/a.toml")).unwrap(), "a")
    }
}
