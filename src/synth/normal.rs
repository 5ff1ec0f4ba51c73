//! Numbers drawn from normal distributions.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// A number of mean 0 and width 1.
pub fn normal(chance: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(chance)
}

/// Numbers of mean 0 and this width.
pub fn normals<const N: usize>(chance: &mut ChaCha8Rng, size: f64) -> [f64; N] {
    std::array::from_fn(|_| size * normal(chance))
}
