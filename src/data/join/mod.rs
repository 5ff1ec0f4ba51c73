//! Joins the tables of several files and sorts their rows by (run, LS).

pub mod checks;
pub mod layers;
pub mod runs;
pub mod summarise;
pub mod tables;
