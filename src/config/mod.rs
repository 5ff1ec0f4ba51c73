//! Reads a TOML file into a checked [`Experiment`].
//!
//! [`Document`] merges the file with the files it extends and `--set` arguments; [`schema`] finds
//! invalid keys and values. Each section has a file with its keys (docs, defaults and ranges),
//! their meaning, and its checks; `cross` checks sections against each other.

pub mod batch;
pub mod certify;
pub mod channels;
mod check;
mod cross;
pub mod data;
mod device;
mod document;
mod experiment;
pub mod expression;
mod keys;
pub mod labels;
mod load;
pub mod loss;
pub mod model;
pub mod optimizer;
pub mod patterns;
pub mod reference;
pub mod report;
pub mod resolved;
pub mod scale;
pub mod schedule;
pub mod schema;
pub mod score;
pub mod select;
pub mod sensitivity;
mod space;
pub mod split;
pub mod sweep;
pub mod threshold;
pub mod train;
pub mod weights;

pub use batch::Batch;
pub use certify::Cut;
pub use data::Part;
pub use device::DeviceChoice;
pub use document::{Document, Place};
pub use experiment::{Experiment, affects_results};
pub use expression::{Expression, Value};
pub use keys::{Key, OneOrMany, Scalar};
pub use labels::{LabelOrigin, LabelSpec, LabelValues};
pub use loss::{Distance, Divergence, Penalties, SparsityPenalty};
pub use optimizer::UpdateRule;
pub use schedule::Course;
pub use threshold::ThresholdRule;

#[cfg(test)]
mod tests {
    use super::{Document, Experiment};
    use std::path::Path;

    /// The minimal config.
    pub(super) const DATA: &str = "[data]\ntrain = [\"good.csv\"]\n";

    /// Checks the text of a config.
    pub(super) fn check(text: &str) -> crate::Result<Experiment> {
        Experiment::check(&Document::parse(text, Path::new("/folder/a.toml")).unwrap(), "a")
    }
}
