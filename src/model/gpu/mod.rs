//! Dense autoencoders on a GPU by kernels of our own.

pub(crate) mod forward;
pub(crate) mod kernels;
