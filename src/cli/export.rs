//! `lumisift export`: writes a model for other programs.

use super::{outputs::Outputs, ui::Ui};
use crate::{
    error::{Error, Result},
    experiment::trained::TrainedModel,
    export::{self, dism, onnx::Port, scoring},
    files::{atomic::write_atomically, folder::Folder},
    model::{Architecture, weights},
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
    /// The file to write; for dism a folder
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Export only this channel, with its own threshold
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// dism: the monitoring element of the model's bins, if the data do not name it
    #[arg(long, value_name = "NAME")]
    me: Option<String>,
    /// dism: the workspace of DIALS that the model is for [default: global]
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    /// Replace existing files
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    /// Weights named as PyTorch's Linear layers (encoder.0.weight is [out, in]; with several
    /// channels after their name and a dot) with config, channels, scaling and thresholds as
    /// metadata
    Safetensors,
    /// One graph from raw bins to reconstruction, error and flag: scaling, networks, scores and
    /// thresholds inside
    Onnx,
    /// A folder for the inference service of CMS' DIALS: the graph, its template, a script to try
    /// it with
    Dism,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let Arguments { out, channel, me, workspace, .. } = arguments;
    for (name, given) in [("me", me), ("workspace", workspace)] {
        if given.is_some() && arguments.kind != Format::Dism {
            return Err(Error::input(format!(
                "--{name}: only `lumisift export … dism` has this option"
            )));
        }
    }
    if out.symlink_metadata().is_ok() && !arguments.force {
        let what = if arguments.kind == Format::Dism { "folder" } else { "file" };
        return Err(Error::input(format!(
            "--out {}: exists; choose another {what}, or --force to replace it",
            out.display()
        )));
    }
    let folder = Folder::open(&arguments.experiment)?;
    let mut model = folder.read_model(&[])?;
    // With --force, existing outputs were accepted.
    let outputs =
        Outputs::new("export", true).reads_experiment(&arguments.experiment, &model.experiment);
    let outputs = match arguments.kind {
        Format::Dism => outputs.folder("--out", out, dism::FILES),
        Format::Safetensors | Format::Onnx => outputs.file("--out", out, &[]),
    };
    outputs.check()?;
    if let Some(channel) = channel {
        scoring::only(&mut model, channel)?;
    }
    match arguments.kind {
        Format::Safetensors => safetensors(arguments, &model, &outputs, ui),
        Format::Onnx => {
            let graph = scoring::graph(&model, None)?;
            let description = format!(
                "{}: reconstruction, error and flag of rows, as in `lumisift score`",
                model.experiment.name
            );
            let bytes = graph.to_file(
                "lumisift",
                &description,
                &export::metadata(&folder, &model, &graph)?,
            );
            outputs.open()?;
            write_atomically(out, &bytes)?;
            for (what, ports) in [("takes", graph.inputs()), ("gives", graph.outputs())] {
                ports.iter().for_each(|port| ui.say(&format!("{what}  {}", described(port))));
            }
            ui.print(&format!("wrote  {} ({} bytes)", out.display(), bytes.len()))
        }
        Format::Dism => {
            let package = dism::package(
                &folder,
                &model,
                me.as_deref(),
                workspace.as_deref().unwrap_or("global"),
            )?;
            outputs.open()?;
            package
                .iter()
                .try_for_each(|(name, bytes)| write_atomically(&out.join(name), bytes))?;
            let names: Vec<&str> = package.iter().map(|(name, _)| *name).collect();
            ui.print(&format!("wrote  {}/ ({})", out.display(), names.join(", ")))?;
            ui.next(&[
                format!("python {0}/infer.py --data FILE.parquet --out bad.csv", out.display()),
                format!("cd {} && dismcli build -f template.yaml", out.display()),
            ])
        }
    }
}

fn described(port: &Port) -> String {
    let lengths: Vec<String> =
        std::iter::once("N".to_owned()).chain(port.lengths.iter().map(usize::to_string)).collect();
    format!("{} [{}]: {}", port.name, lengths.join(", "), port.description)
}

fn safetensors(
    arguments: &Arguments,
    model: &TrainedModel,
    outputs: &Outputs,
    ui: &Ui,
) -> Result<()> {
    let json = |value: serde_json::Result<String>| {
        value.map_err(|error| Error::failed(format!("export: {error}")))
    };
    let metadata = HashMap::from([
        ("lumisift".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("experiment".to_owned(), model.experiment.to_toml()?),
        (
            "channels".to_owned(),
            json(serde_json::to_string(
                &model.networks.iter().map(|network| &network.channel).collect::<Vec<_>>(),
            ))?,
        ),
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
    let bytes = weights::of_channels(&channels, metadata)?;
    outputs.open()?;
    write_atomically(&arguments.out, &bytes)?;
    for (name, architecture, _) in channels {
        ui.say(&format!(
            "{}: {name}, {}, {} parameters",
            arguments.out.display(),
            architecture.describe(),
            architecture.parameters()
        ));
    }
    Ok(())
}
