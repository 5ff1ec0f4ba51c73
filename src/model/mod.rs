//! The models: what they compute ([`autoencoder`]) and how their weights are kept ([`weights`]).

pub mod autoencoder;
pub mod weights;

pub use autoencoder::{Architecture, Autoencoder};
