//! From scores to verdicts: each lumisection is good, grey, bad or not evaluated, and nothing that
//! is not evaluated becomes good.
//!
//! 1. [`cuts`] and [`conformal`]: the two cuts, the efficiency and purity that they have, p-values;
//!    [`unmet`] and [`rate_not_met`]: rates that the calibration rows cannot tell;
//! 2. [`judge`]: the opinion of one experiment on each lumisection;
//! 3. [`join`]: the opinions of several put together;
//! 4. [`run_flags`]: verdicts on whole runs; [`decisions`]: those of people on lumisections (read
//!    by `decision_list` and `lines`); [`notes`]: decisions and comments as they were typed;
//! 5. [`stretches`]: neighbouring flagged lumisections; [`outputs`], [`review`] and
//!    [`review_page`]: the files;
//! 6. [`summary`] and [`against`]: counts, and the comparison with a golden JSON.
//!
//! [`run`] does all of it for [`experiments`] that have scored their rows. [`verdicts`] holds the
//! types that these stages share.

pub mod against;
pub mod conformal;
pub mod cuts;
mod decision_list;
pub mod decisions;
pub mod experiments;
mod explanations;
pub mod join;
pub mod judge;
mod lines;
pub mod notes;
pub mod observer;
pub mod outputs;
pub mod rate_not_met;
pub mod review;
pub mod review_page;
pub mod run;
pub mod run_flags;
pub mod stretches;
pub mod summary;
pub mod unmet;
pub mod verdicts;
