//! `lumisift encode`: latents of samples.

use super::{Sets, device_argument, only_keys, outputs::Outputs, score, ui::Ui};
use crate::{
    device,
    error::Result,
    experiment::rows,
    files::{folder::Folder, tables},
    score::{
        inference::Inference,
        latents::{self, Identity},
        network::Network,
    },
};
use clap::Args;
use std::path::PathBuf;

/// Encode samples with a trained model; write their latents, channel by channel
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiment's folder
    experiment: PathBuf,
    /// The files to encode
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Where to write the latents (.parquet or .csv)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Number of the ensemble's model; each has its own latents
    #[arg(long, default_value = "1")]
    member: usize,
    /// Replace an output file that another command wrote or that was changed since; inputs are
    /// never replaced
    #[arg(long)]
    force: bool,
    /// Where to compute: auto, cpu, cuda[:N], wgpu[:N]
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    sets: Sets,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    only_keys(&arguments.sets.sets, score::SETTABLE, "encode")?;
    tables::check_name("--out", &arguments.out)?;
    let model = Folder::open(&arguments.experiment)?.read_model(&arguments.sets.sets)?;
    let outputs = Outputs::new("encode", arguments.force)
        .file("--out", &arguments.out, &[])
        .reads("--data", &arguments.data)
        .reads_experiment(&arguments.experiment, &model.experiment);
    outputs.check()?;
    let device = device::open(device_argument(&arguments.device)?)?;
    let prepared = {
        let reading = ui.reading(&[&arguments.data]);
        rows::prepare_files(&model, &arguments.data, None, &|path| reading.read(path))?
    };
    ui.warn_unreadable(&prepared.samples);
    let names = prepared.input_names();
    let encode = |network: &Network| {
        let columns = network.channel.columns(&names);
        let rows =
            prepared.with_inputs(&columns, (0..prepared.samples.rows.len() as u32).collect());
        let latents =
            Inference::new(&network.architecture, network.member(arguments.member)?, &device)
                .encode(prepared.rows(&columns).at(&rows))?;
        let is_finite = |latents: &&[f32]| latents.iter().all(|latent| latent.is_finite());
        let (rows, latents): (Vec<u32>, Vec<&[f32]>) = rows
            .into_iter()
            .zip(latents.chunks_exact(network.architecture.latent()))
            .filter(|(_, latents)| is_finite(latents))
            .unzip();
        Ok((rows, latents.concat()))
    };
    let latents = model.networks.iter().map(encode).collect::<Result<Vec<_>>>()?;
    let rows = Identity::of(&prepared.samples);
    outputs.open()?;
    latents::write_latents(
        &arguments.out,
        &rows,
        prepared.samples.events,
        &model.networks,
        &latents,
    )?;
    outputs.close(ui);
    let left_out = match prepared.samples.rejected.len() {
        0 => String::new(),
        n => format!("; {n} rows are not evaluated and have no latents"),
    };
    ui.say(&format!(
        "{}: latents of {} rows in {} channels{left_out}",
        arguments.out.display(),
        rows.len(),
        model.networks.len()
    ));
    ui.next(&[format!(
        "lumisift decode {} --data {} --out decoded.parquet",
        arguments.experiment.display(),
        arguments.out.display()
    )])
}
