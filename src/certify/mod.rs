//! Certification: turns scores into verdicts. Each lumisection is good, grey, bad or not evaluated;
//! a lumisection that is not evaluated never becomes good.
//!
//! 1. [`cuts`] and [`conformal`]: the two cuts with efficiency and purity, p-values; [`unmet`] and
//!    [`rate_not_met`]: rates that the calibration rows cannot resolve;
//! 2. [`judge`]: the opinion of one experiment on each lumisection;
//! 3. [`join`]: the combination of several opinions;
//! 4. [`run_flags`]: verdicts on whole runs; [`decisions`]: people's decisions on lumisections (read
//!    by `decision_list` and `lines`); [`notes`]: decisions and comments as typed;
//! 5. [`stretches`]: neighbouring flagged lumisections; [`outputs`], [`review`] and
//!    [`review_page`]: the files;
//! 6. [`summary`] and [`against`]: counts, and the comparison with a golden JSON.
//!
//! [`run`] runs all stages for [`experiments`] with scored rows. [`verdicts`] has the types shared
//! by these stages.

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
