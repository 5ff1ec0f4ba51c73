//! Many trainings, and where they run.

pub mod engine;
