//! Training: one loop ([`fit`](mod@fit)), the ways to compute a step ([`backend`]), and their parts.

pub mod backend;
pub mod checkpoint;
pub mod early_stopping;
pub mod fit;
pub mod history;
pub mod init;
pub mod loss;
pub mod optimizer;
pub mod packs;
pub mod schedule;

pub use fit::{
    Batch, Corruption, Epoch, Fitted, Job, Moments, Share, State, Stopped, Sums, Trainer, Watch,
    by_hand, fit,
};
