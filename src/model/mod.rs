//! The models: what they compute ([`autoencoder`] on any device, `host` on the CPU, `cube` as
//! kernels for GPUs) and how their weights are kept ([`weights`]).

pub mod autoencoder;
#[cfg(feature = "gpu")]
pub(crate) mod cube;
pub(crate) mod host;
pub mod nmf;
pub mod weights;

pub use autoencoder::{Architecture, Autoencoder};
