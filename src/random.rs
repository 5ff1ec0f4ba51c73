//! One seed, many named generators. Each use of random numbers has its own generator, independent
//! of others. No state is saved: (seed, name, index) determine a generator.

use rand::Rng;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use sha2::{Digest, Sha256};

/// A generator for one purpose, identical on every machine and device.
///
/// `name` is the purpose ("initial weights", "batch order"); `index` distinguishes repeated uses
/// (the epoch, the member).
pub fn generator(seed: u64, name: &str, index: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(index.to_le_bytes());
    hash.update(name.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// Derives the seed of something with a name, such that its random numbers do not depend on others.
pub fn derived(seed: u64, name: &str) -> u64 {
    generator(seed, name, 0).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_draws_the_same_numbers_and_others_do_not() {
        let draw = |seed, name, index| generator(seed, name, index).next_u64();
        assert_eq!(draw(1, "batch order", 0), draw(1, "batch order", 0));
        assert_ne!(draw(1, "batch order", 0), draw(1, "batch order", 1));
        assert_ne!(draw(1, "batch order", 0), draw(2, "batch order", 0));
        assert_ne!(draw(1, "batch order", 0), draw(1, "initial weights", 0));
    }
}
