//! Non-negative matrix factorisation: a row is a sum of a few *components*, each multiplied by a
//! *coefficient*. Both are non-negative.
//!
//! Given components `H` `[components, bins]`, the coefficients `w` of a row `x` minimise
//! ½ ‖x − wH‖² + bins · (l1 Σw + ½ l2 ‖w‖²). The components minimise the same objective over all
//! rows, with the number of rows instead of bins. This is the objective of scikit-learn's `NMF`:
//! `l1_coefficients` is its alpha_W · l1_ratio, and so on. With either factor fixed the problem is
//! convex and is solved to convergence by coordinate descent (Hsieh and Dhillon, "Fast coordinate
//! descent methods with variable selection for non-negative matrix factorization", KDD 2011).
//! Coefficients are recomputed when needed, so a model consists of its components only.
//!
//! In memory the components are the first dimension: coefficients are `[components, rows]`, so that
//! one pass over rows or bins updates one component of all of them.

pub(crate) mod encoder;
pub(crate) mod filled;
mod solve;
mod start;
pub mod tensors;

pub use encoder::Numbers;
pub(crate) use encoder::{Encoder, decode};
pub(crate) use filled::{Filled, rows_at_once};
pub(crate) use solve::{Solver, solve};
pub(crate) use start::nndsvd;
