//! Scores, thresholds, and how well they separate good from bad. Higher scores are always more
//! anomalous.

pub mod calibrate;
pub mod channel_scores;
pub mod drift;
pub mod error;
pub mod error_baseline;
pub mod explain;
pub mod find_patterns;
pub mod inference;
pub mod latents;
pub mod network;
pub mod new_rows;
pub mod one_class_svm;
pub mod patterns;
pub mod pca;
pub mod projections;
pub mod ranges;
pub mod roc;
pub mod row;
pub mod run;
pub mod scored_rows;
pub mod scores;
pub mod scores_file;
pub mod threshold;
pub mod tsne;
pub mod verdict;
