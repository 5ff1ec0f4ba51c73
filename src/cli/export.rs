//! `lumisift export`: a model for other programs.

use super::ui::Ui;
use crate::{
    error::{Error, Result},
    model::{Architecture, weights},
    report::folder::{Folder, write_atomically},
};
use clap::{Args, ValueEnum};
use std::{collections::HashMap, path::PathBuf};

/// Write a trained model for other programs
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiment's folder
    experiment: PathBuf,
    /// What to write
    #[arg(value_name = "FORMAT")]
    kind: Format,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Weights named as PyTorch's Linear layers (encoder.0.weight is [out, in]; with several channels after their name and a dot)
    /// with config, channels, scaling and thresholds as metadata
    Safetensors,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let Format::Safetensors = arguments.kind;
    if arguments.out.exists() && !arguments.force {
        return Err(Error::input(format!("--out {}: exists; choose another file, or --force to replace it", arguments.out.display())));
    }
    let model = Folder::open(&arguments.experiment)?.read_model(&[])?;
    let json = |value: serde_json::Result<String>| value.map_err(|error| Error::failed(format!("export: {error}")));
    let metadata = HashMap::from([
        ("lumisift".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("experiment".to_owned(), model.experiment.to_toml()?),
        ("channels".to_owned(), json(serde_json::to_string(&model.networks.iter().map(|network| &network.channel).collect::<Vec<_>>()))?),
        ("scaler".to_owned(), json(serde_json::to_string(&model.scaler))?),
        ("thresholds".to_owned(), json(serde_json::to_string(&model.thresholds))?),
    ]);
    let mut channels: Vec<(String, &Architecture, &[f32])> = vec![];
    for network in &model.networks {
        for (member, weights) in network.members.iter().enumerate() {
            let name = match (model.networks.len(), network.members.len()) {
                (_, 1) => network.channel.name.clone(),
                (1, _) => format!("member-{}", member + 1),
                _ => format!("{}.member-{}", network.channel.name, member + 1),
            };
            channels.push((name, &network.architecture, weights));
        }
    }
    write_atomically(&arguments.out, &weights::of_channels(&channels, metadata)?)?;
    for (name, architecture, _) in channels {
        ui.say(&format!("{}: {name}, {}, {} parameters", arguments.out.display(), architecture.describe(), architecture.parameters()));
    }
    Ok(())
}
