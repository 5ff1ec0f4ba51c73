//! Ways to compute the steps of a training: [`autodiff`] on any device, [`cpu`] by hand, `gpu` as
//! kernels; and those of a factorisation, [`nmf`] on the CPU and [`nmf_on_device`] elsewhere.

pub mod autodiff;
pub mod cpu;
mod elementwise;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
pub mod nmf;
pub mod nmf_on_device;
mod penalty;
