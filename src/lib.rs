//! Lumisift sifts good lumisections from bad.
//!
//! It trains autoencoders on detector data-quality histograms and tells which lumisections they
//! cannot reconstruct. The data go one way:
//!
//! 1. [`config`]: a TOML file becomes a checked [`config::Experiment`];
//! 2. [`data`]: files become [`data::Samples`], rows with identities;
//! 3. [`prepare`]: rows are selected, split and scaled;
//! 4. [`model`] and [`train`]: an autoencoder is fitted;
//! 5. [`score`]: reconstruction errors, thresholds, ROC;
//! 6. [`report`]: the experiment folder, figures and tables;
//! 7. [`certify`]: good, grey, bad or not evaluated.
//! 8. [`export`]: trained models for other programs.
//!
//! [`sweep`] makes many experiments of one and ranks them.
//!
//! [`sensitivity`] tells which defects an experiment finds.
//!
//! [`experiment`] ties the stages together, [`device`] is the one place that names a backend. Host
//! arrays between stages are plain row-major `f32`; good = 1 wherever a number stands for a label;
//! a higher score is worse.
//!
//! ```
//! use lumisift::config::{Document, Experiment};
//!
//! let text = "data.train = [\"good.csv\"]\n[split]\nby = \"block\"\n[train]\nepoch = 20";
//! let document = Document::parse(text, "my.toml".as_ref())?;
//! let error = Experiment::check(&document, "my").unwrap_err();
//! assert!(error.to_string().starts_with("my.toml:5: train.epoch: unknown key in [train] (did you mean \"epochs\"?)"));
//! # Ok::<(), lumisift::Error>(())
//! ```

pub mod certify;
pub mod cli;
mod clock;
pub mod config;
pub mod data;
pub mod device;
pub mod error;
pub mod experiment;
pub mod export;
pub mod files;
mod guard;
mod linear;
pub mod model;
mod palette;
pub mod prepare;
mod protobuf;
pub mod random;
pub mod report;
pub mod score;
pub mod sensitivity;
mod statistics;
pub mod sweep;
pub mod synth;
mod text;
pub mod train;
pub mod warnings;

pub use crate::error::{Error, Result};
