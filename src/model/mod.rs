//! The models: their shape ([`architecture`]), what they compute ([`autoencoder`] on any device,
//! `host` on the CPU, `gpu` as kernels) and the file format of their weights ([`weights`]).

pub mod architecture;
pub mod autoencoder;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
pub(crate) mod host;
pub(crate) mod matrix;
pub mod nmf;
pub mod weights;

pub use architecture::Architecture;
pub use autoencoder::Autoencoder;
