//! Lumisift trains autoencoders on detector data-quality data and finds the lumisections, or
//! collision events, that they cannot reconstruct.
//!
//! Data flow in one direction:
//!
//! 1. [`config`]: a TOML file becomes a checked [`Experiment`];
//! 2. [`data`]: files become [`data::Samples`], rows with identities;
//! 3. [`prepare`]: rows are selected, split and scaled;
//! 4. [`model`] and [`train`]: an autoencoder is fitted;
//! 5. [`score`]: reconstruction errors, thresholds, verdicts, ROC;
//! 6. [`certify`]: good, grey, bad or not evaluated;
//! 7. [`report`]: figures, the page and pictures.
//!
//! [`experiment`] ties the stages together. [`export`] writes models for other programs, [`sweep`]
//! searches hyperparameters, and [`sensitivity`] measures which defects an experiment finds.
//! [`device`] is the only place that names a backend. Host arrays between stages are row-major
//! `f32`. Good = 1 wherever a number stands for a label, and a higher score is more anomalous.
//!
//! # Examples
//!
//! Train an experiment into a folder, then score rows in memory:
//!
//! ```
//! use lumisift::{Experiment, TrainedModel, config::Document, device, experiment::{rows, run}};
//! # use std::fmt::Write as _;
//!
//! # let place = tempfile::tempdir().unwrap();
//! # let place = place.path();
//! # let mut data = String::from("run,ls,a,b\n");
//! # for ls in 0..400 { writeln!(data, "1,{},{},{}", ls + 1, ls % 7, (ls % 7) * 2 + ls % 3).unwrap(); }
//! # std::fs::write(place.join("good.csv"), data).unwrap();
//! let text = r#"
//! data.train = ["good.csv"]
//! split = { by = "block", block = 20 }
//! scale.kind = "standard"
//! model = { hidden = [8], latent = 1 }
//! train.epochs = 5
//! "#;
//! let document = Document::parse(text, &place.join("my.toml"))?;
//! let experiment = Experiment::check(&document, "my")?;
//! // `()` observes nothing; see `experiment::observer` for progress and stopping.
//! let trained = run::train(&experiment, &place.join("my"), &())?;
//! assert!(trained.is_some());
//!
//! let model = TrainedModel::open(&place.join("my"))?;
//! let device = device::open(lumisift::config::DeviceChoice::Cpu)?;
//! // Two rows of the features a and b; the second is far from all training rows.
//! let scores = rows::score_rows(&model, &[3.0, 7.0, 3.0, 1000.0], &device)?;
//! let main = scores.main().expect("one channel");
//! assert!(main.scores[1] > main.scores[0]);
//! assert_eq!(main.verdict(1).name(), "bad");
//! # Ok::<(), lumisift::Error>(())
//! ```
//!
//! All errors of a config are reported at once, with their places:
//!
//! ```
//! use lumisift::{Experiment, config::Document};
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

pub use crate::{
    config::Experiment,
    error::{Error, Result},
    experiment::trained::TrainedModel,
    score::{scores::Scores, verdict::Verdict},
};
