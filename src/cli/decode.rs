//! `lumisift decode`: samples from latents.

use super::{device_argument, outputs::Outputs, ui::Ui};
use crate::{
    config::data::Data,
    data::{
        read::{ReadOptions, read_file},
        table::{self, Column, Table},
    },
    device,
    error::{Error, Result, listed, suggestion},
    experiment::trained::TrainedModel,
    files::{folder::Folder, tables},
    score::{
        inference::Inference,
        latents::{self, Identity, latent_name},
        network::Network,
    },
};
use clap::Args;
use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

/// Decode latents with a trained model; write samples in the units of the data
///
/// Reads a table from `lumisift encode`: columns latent_0, latent_1, … and, if the model has
/// several channels, channel.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiment's folder
    experiment: PathBuf,
    /// The table of latents
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Where to write the samples (.parquet or .csv)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write the scaled output of the network
    #[arg(long)]
    scaled: bool,
    /// Number of the ensemble's model that made the latents
    #[arg(long, default_value = "1")]
    member: usize,
    /// Replace an output file that another command wrote or that was changed since; inputs are
    /// never replaced
    #[arg(long)]
    force: bool,
    /// Where to compute: auto, cpu, cuda[:N], wgpu[:N]
    #[arg(long, default_value = "cpu")]
    device: String,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    tables::check_name("--out", &arguments.out)?;
    let model = Folder::open(&arguments.experiment)?.read_model(&[])?;
    let outputs = Outputs::new("decode", arguments.force)
        .file("--out", &arguments.out, &[])
        .reads("--data", std::slice::from_ref(&arguments.data))
        .reads_experiment(&arguments.experiment, &model.experiment);
    outputs.check()?;
    let device = device::open(device_argument(&arguments.device)?)?;
    let width = model.experiment.model.latent as usize;
    let wanted = ReadOptions {
        features: Some((0..width).map(latent_name).collect()),
        ..ReadOptions::new(&Data::default())
            .with_columns(vec![], vec!["channel".into(), "file".into()])
    };
    let table = read_file(&arguments.data, &wanted)?;
    if let Some(fault) = table.faults.first() {
        return Err(Error::input(format!(
            "{}: {}",
            table::place_in(&table.path, fault.line, fault.index),
            fault.reason
        )));
    }
    let codes = Codes::new(&table, &model)?;

    // A feature of several channels has a column for each of them.
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<&String> = model
        .networks
        .iter()
        .flat_map(|network| &network.channel.features)
        .filter(|name| !seen.insert(*name))
        .collect();
    let mut columns: Vec<(String, Vec<Option<f32>>)> = vec![];
    for (network, of_channel) in model.networks.iter().zip(&codes.of_channel) {
        let latents: Vec<f32> =
            of_channel.iter().flat_map(|&(row, _)| table.row(row).iter().copied()).collect();
        let mut decoded =
            Inference::new(&network.architecture, network.member(arguments.member)?, &device)
                .decode(&latents)?;
        if !arguments.scaled {
            unscale(&model, network, &mut decoded);
        }
        let features = &network.channel.features;
        for (at, name) in features.iter().enumerate() {
            let name = if twice.contains(name) {
                format!("{}:{name}", network.channel.name)
            } else {
                name.clone()
            };
            let mut values = vec![None; codes.rows.len()];
            of_channel.iter().enumerate().for_each(|(i, &(_, sample))| {
                values[sample] = Some(decoded[i * features.len() + at])
            });
            columns.push((name, values));
        }
    }
    outputs.open()?;
    latents::write_features(&arguments.out, &codes.rows, table.events, columns)?;
    outputs.close(ui);
    if !arguments.scaled
        && (model.scaler.forgets().is_some()
            || model.scaler.clip.is_some()
            || model.experiment.scale.divide_by.is_some())
    {
        ui.warn("some steps of the scaling (area of a row, divisor, clipping) cannot be inverted; the samples stay scaled by them");
    }
    ui.say(&format!("{}: {} rows", arguments.out.display(), codes.rows.len()));
    Ok(())
}

/// Latents by channel, and their samples.
struct Codes {
    rows: Vec<Identity>,
    /// For each network: rows of the table, and their samples.
    of_channel: Vec<Vec<(usize, usize)>>,
}

impl Codes {
    fn new(table: &Table, model: &TrainedModel) -> Result<Self> {
        let names: Vec<&str> =
            model.networks.iter().map(|network| network.channel.name.as_str()).collect();
        let texts = |name: &str| match table.columns.get(name) {
            Some(Column::Texts(texts)) if texts.iter().any(|text| !text.is_empty()) => Some(texts),
            _ => None,
        };
        let (channels, files) = (texts("channel"), texts("file"));
        if channels.is_none() && names.len() > 1 {
            return Err(Error::input(format!(
                "{}: no column channel; the model has {}",
                table.path.display(),
                listed(names.iter().copied())
            )));
        }
        let (mut rows, mut of_channel) = (vec![], vec![vec![]; names.len()]);
        // An identity may occur several times in a channel: the n-th occurrences of all channels
        // belong together.
        let (mut times, mut samples) = (HashMap::new(), HashMap::new());
        for row in 0..table.rows.len() {
            let channel = match channels {
                None => 0,
                Some(texts) => {
                    names.iter().position(|name| *name == &*texts[row]).ok_or_else(|| {
                        let near = suggestion(&texts[row], names.iter().copied());
                        let place = table::place_in(
                            &table.path,
                            table.rows[row].line,
                            table.rows[row].index,
                        );
                        Error::input(format!(
                            "{place}: no channel \"{}\"{near}; the model has {}",
                            texts[row],
                            listed(names.iter().copied())
                        ))
                    })?
                }
            };
            let id = (
                files.map(|files| files[row].to_string()),
                table.rows[row].run,
                table.rows[row].ls,
            );
            let time = times.entry((channel, id.clone())).or_insert(0_usize);
            let sample = *samples.entry((id, *time)).or_insert_with(|| {
                let file = files.map(|files| Arc::from(&*files[row]));
                rows.push(Identity { file, run: table.rows[row].run, ls: table.rows[row].ls });
                rows.len() - 1
            });
            *time += 1;
            of_channel[channel].push((row, sample));
        }
        Ok(Self { rows, of_channel })
    }
}

/// Converts back to the units of the data, `[rows, features of the channel]`.
fn unscale(model: &TrainedModel, network: &Network, decoded: &mut [f32]) {
    let names: Vec<String> = model
        .read_names()
        .into_iter()
        .chain(model.scaler.added.iter().flat_map(|added| added.names.clone()))
        .collect();
    let place: HashMap<&str, usize> =
        names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let columns: Vec<usize> = network
        .channel
        .features
        .iter()
        .filter_map(|name| place.get(name.as_str()).copied())
        .collect();
    for row in decoded.chunks_exact_mut(columns.len()) {
        row.iter_mut()
            .zip(&columns)
            .for_each(|(value, &column)| *value = model.scaler.undo(column, *value));
    }
}
