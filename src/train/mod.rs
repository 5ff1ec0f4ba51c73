//! Training: one loop ([`fit`]) and its parts.

pub mod fit;
pub mod loss;
pub mod optimizer;
pub mod schedule;
pub mod stopping;

pub use fit::{Epoch, Fitted, Rows, Stopped, fit};
