//! Training: one loop ([`fit`](mod@fit)), three ways to compute a step
//! ([`reference`](mod@reference) by autodiff on any device, [`fused`] by hand on the CPU, `kernel`
//! by hand on GPUs), and their parts.

pub mod checkpoint;
mod elementwise;
pub mod fit;
pub mod fused;
#[cfg(feature = "gpu")]
pub(crate) mod kernel;
pub mod loss;
pub mod nmf;
pub mod nmf_on_device;
pub mod optimizer;
mod penalty;
pub mod reference;
pub mod schedule;
pub mod stopping;

pub use fit::{
    Batch, Corruption, Epoch, Fitted, Job, Moments, Share, State, Stopped, Sums, Trainer, Watch,
    by_hand, fit,
};
