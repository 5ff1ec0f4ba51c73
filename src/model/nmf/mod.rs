//! Non-negative matrix factorisation: a row is a sum of a few *components*, each so many times as
//! its *coefficient* says, and neither is ever negative.
//!
//! Given components `H` `[components, bins]`, the coefficients `w` of a row `x` make ½ ‖x − wH‖² +
//! bins · (l1 Σw + ½ l2 ‖w‖²) small; the components do the same with all rows, with rows in the
//! place of bins (the objective of scikit-learn's `NMF`, its alpha_W · l1_ratio being
//! `l1_coefficients` here, and so on). Either is a problem without false minima once the other is
//! held, and is solved to the end, by coordinate descent (Hsieh and Dhillon, "Fast coordinate
//! descent methods with variable selection for non-negative matrix factorization", KDD 2011).
//! Coefficients are found anew whenever they are wanted, so that a model is its components and
//! nothing else.
//!
//! In memory everything has the components in front: coefficients are `[components, rows]`, so that
//! one pass over rows or bins updates one component of all of them at once.

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
