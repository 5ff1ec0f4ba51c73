//! The program as users run it, and the library as its users call it: one binary, since linking
//! takes longer than most tests.

mod common;

mod bad_input;
mod certify;
mod cms2010b;
mod configs;
#[cfg(feature = "wgpu")]
mod devices;
mod drift;
mod ensembles;
mod events;
mod experiment;
mod export;
mod family;
mod fuzz;
mod htcondor;
mod knowledge;
mod library;
mod maps;
mod occupancy;
mod outputs;
mod pages;
mod parity;
mod projections;
mod resume;
mod sensitivity;
mod slurm;
mod structure;
mod sweeps;
mod sweeps_on_batch;
mod tables;
mod tensorboard;
