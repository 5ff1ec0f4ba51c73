//! Trains an experiment into a new folder and prints its epochs:
//! `cargo run --release --example train CONFIG FOLDER`.

use lumisift::{
    Error, Experiment,
    experiment::{
        observer::{ModelId, RunObserver},
        run,
    },
    train::Epoch,
};
use std::path::Path;

struct Epochs;

impl RunObserver for Epochs {
    fn epoch(&self, model: ModelId<'_>, epoch: &Epoch, _: bool) {
        let valid = epoch.valid_loss.unwrap_or(f64::NAN);
        println!("{} {}: {:.6} {valid:.6}", model.channel, epoch.epoch, epoch.train_loss);
    }
}

fn main() -> lumisift::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, folder] = arguments.as_slice() else {
        return Err(Error::input("expected a config and a folder"));
    };
    let experiment = Experiment::load(Path::new(config), &[])?;
    if let Some((report, _)) = run::train(&experiment, Path::new(folder), &Epochs)? {
        println!("{}", report.answer());
    }
    Ok(())
}
