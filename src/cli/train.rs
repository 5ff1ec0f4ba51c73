//! `lumisift train`: from a config to an experiment folder.

use super::{Sets, device_argument, ui::Ui};
use crate::{
    config::Experiment,
    device,
    error::Result,
    pipeline,
    prepare::{select, split::Split},
    report::{
        channels::TrainingFigures,
        explain,
        figures::{self, Context, Report},
        folder::{Folder, names},
        scores, terminal,
    },
};
use clap::Args;
use serde_json::json;
use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// Train an autoencoder for each channel, score its data, write everything to a folder
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiment's TOML file
    config: PathBuf,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace the experiment in the folder
    #[arg(long)]
    force: bool,
    /// Where to compute: auto, cpu, cuda[:N], wgpu[:N]; wins over the config
    #[arg(long)]
    device: Option<String>,
    #[command(flatten)]
    sets: Sets,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let mut experiment = Experiment::load(&arguments.config, &arguments.sets.sets)?;
    if let Some(device) = &arguments.device {
        experiment.device = device_argument(device)?;
        experiment.config.device = device.clone();
    }
    Folder::check_free(&arguments.out, arguments.force)?;
    let device = device::open(experiment.device)?;
    let mut prepared = {
        let reading = ui.reading(&[&experiment.train_files, &experiment.test_files]);
        pipeline::prepare(&experiment, &|path| reading.read(path))?
    };
    ui.warn_unreadable(&prepared.samples);
    pipeline::check_rows(&experiment, &prepared)?;
    let starts = pipeline::initial_weights(&experiment, &prepared.channels)?;
    let mut warnings = pipeline::warnings(&experiment, &prepared);
    let rows = |wanted: Split| prepared.splits.iter().filter(|split| **split == wanted).count();
    let shapes: Vec<String> = pipeline::architectures(&experiment, &prepared.channels).iter().map(|shape| shape.describe()).collect();
    let shapes = if shapes.len() == 1 { shapes.concat() } else { format!("{} channels", shapes.len()) };
    ui.say(&format!("{} on {}: {shapes}, {} training rows", experiment.config.name, device.name, rows(Split::Train)));

    let folder = Folder::create(&arguments.out, arguments.force)?;
    folder.write(names::EXPERIMENT, experiment.to_toml()?.as_bytes())?;
    folder.write_json(
        names::PROVENANCE,
        &json!({
            "version": env!("CARGO_PKG_VERSION"),
            "device": device.name,
            "precision": "f32",
            "seed": experiment.config.seed,
            "files": prepared.samples.sources,
            "rows": {"evaluated": prepared.samples.rows.len(), "not_evaluated": select::counts(&prepared.samples)},
        }),
    )?;
    folder.write(names::REJECTED, &scores::rejected(&prepared.samples)?)?;
    let history = folder.start_history()?;
    let fitted = {
        let told = Mutex::new((history, ui.training(prepared.channels.len(), experiment.config.train.epochs)));
        pipeline::train(&experiment, &starts, &prepared, &device, &|channel, epoch| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.0.append(&channel.name, epoch)?;
            told.1.epoch(&channel.name, epoch);
            Ok(())
        })?
    };
    for (channel, fitted) in prepared.channels.iter().zip(&fitted).filter(|(_, fitted)| fitted.weightless_batches > 0) {
        let told = format!("channel {}: {} batches were left out because their rows weigh nothing", channel.name, fitted.weightless_batches);
        ui.warn(&told);
        warnings.push(told);
    }

    ui.detail("learning what is usual");
    let (networks, doubts) = pipeline::learn(&experiment, &fitted, &prepared, &device)?;
    warnings.extend(doubts);
    networks.iter().try_for_each(|network| folder.write_network(network))?;
    folder.write_json(names::SCALER, &prepared.scaler)?;
    folder.write_channels(&networks)?;
    ui.detail("scoring");
    let mut scored = pipeline::score(&experiment, &networks, &prepared, &device)?;
    let on = experiment.config.threshold.on;
    let files: Vec<String> = prepared.samples.sources.iter().map(|source| source.name.clone()).collect();
    let thresholds = pipeline::calibrate(&experiment, on, &scored, pipeline::calibration_split(on), &files)?;
    scored.flag(&thresholds)?;
    folder.write_json(names::THRESHOLDS, &thresholds)?;
    scored.write(&folder.file(names::SCORES))?;
    folder.write(names::ROC, &figures::curves(&scored, &experiment)?)?;
    let worst = explain::worst(&experiment, &networks, &prepared, &scored, &device)?;
    // What was scaled has served; the rows as read stay for the report.
    prepared.inputs = vec![];
    ui.detail("figures");
    let report = Report::new(
        &scored,
        Context {
            experiment: &experiment,
            networks: &networks,
            device: &device.name,
            thresholds: &thresholds,
            training: fitted.iter().map(|fitted| TrainingFigures::new(&experiment, fitted)).collect(),
            worst,
            samples: &prepared.samples,
            labels: &prepared.labels,
            warnings,
        },
    )?;
    folder.write_json(names::REPORT, &report)?;

    if ui.json {
        return ui.print_json(&report);
    }
    ui.print(&terminal::render(&report, Some(&scored), ui.width()))?;
    let out = arguments.out.display();
    ui.print(&format!("wrote      {out}/ (weights in {}/, scores in {}, figures in {})", names::MODEL, names::SCORES, names::REPORT))?;
    ui.next(&[format!("lumisift score {out} --data FILE… --out scores.parquet"), format!("lumisift report {out}")])
}
