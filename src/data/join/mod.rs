//! Rows of several files put together and sorted by (run, LS).

pub mod checks;
pub mod layers;
pub mod runs;
pub mod summarise;
pub mod tables;
