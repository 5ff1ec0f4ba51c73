//! A bound on the memory that a file may take.

use std::path::Path;

/// The memory limit for the rows of a file, in bytes: the best compression ratio of real data times
/// the size, plus a constant for small files.
pub fn budget(path: &Path) -> u64 {
    std::fs::metadata(path)
        .map_or(0, |metadata| metadata.len())
        .saturating_mul(1000)
        .saturating_add(128 << 20)
}
