//! GPU kernels for dense autoencoders.

pub(crate) mod forward;
pub(crate) mod kernels;
