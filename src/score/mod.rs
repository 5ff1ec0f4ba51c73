//! From a model to scores, thresholds and how well they tell good from bad. Higher scores are
//! worse, always.

pub mod calibrate;
pub mod drift;
pub mod error;
pub mod error_baseline;
pub mod latents;
pub mod network;
pub mod new_rows;
pub mod one_class_svm;
pub mod patterns;
pub mod projection;
pub mod projections;
pub mod ranges;
pub mod roc;
pub mod run;
pub mod scores;
pub mod threshold;
