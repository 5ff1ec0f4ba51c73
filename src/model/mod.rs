//! The models: what they compute ([`autoencoder`] on any device, `host` on the CPU) and how their weights are kept ([`weights`]).

pub mod autoencoder;
pub(crate) mod host;
pub mod weights;

pub use autoencoder::{Architecture, Autoencoder};
