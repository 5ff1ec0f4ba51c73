//! `lumisift train`: from a config to an experiment folder.

use super::{Sets, device_argument, ui::Ui};
use crate::{
    config::Experiment,
    device,
    error::Result,
    model::Architecture,
    pipeline,
    prepare::{select, split::Split},
    report::{
        figures::{Context, Report, TrainingFigures},
        folder::{ALL_FEATURES, Channel, Folder, names},
        scores, terminal,
    },
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Train an autoencoder, score its data, write everything to a folder
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
    pipeline::check_thresholds(&experiment, &prepared)?;
    let architecture = Architecture::new(prepared.scaler.inputs(), &experiment.config.model);
    let start = pipeline::initial_weights(&experiment, &architecture)?;
    let warnings = pipeline::warnings(&experiment, &architecture, &prepared);
    let rows = |wanted: Split| prepared.splits.iter().filter(|split| **split == wanted).count();
    ui.say(&format!("{} on {}: {}, {} training rows", experiment.config.name, device.name, architecture.describe(), rows(Split::Train)));

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
    let mut history = folder.start_history()?;
    let fitted = {
        let mut progress = ui.training(experiment.config.train.epochs);
        pipeline::train(&experiment, &architecture, &start, &prepared, &device, &mut |epoch| {
            history.append(ALL_FEATURES, epoch)?;
            progress.epoch(epoch);
            Ok(())
        })?
    };
    if fitted.weightless_batches > 0 {
        ui.warn(&format!("{} batches were left out because their rows weigh nothing", fitted.weightless_batches));
    }
    folder.write_weights(ALL_FEATURES, &architecture, &fitted.weights)?;
    folder.write_json(names::SCALER, &prepared.scaler)?;
    let features = prepared.samples.feature_names().into_iter().chain(experiment.added.iter().map(ToString::to_string)).collect();
    folder.write_json(names::CHANNELS, &[Channel { name: ALL_FEATURES.into(), features, element: prepared.samples.element.clone() }])?;

    ui.detail("scoring");
    let mut scored = pipeline::score(&experiment, &architecture, &fitted.weights, &prepared, &device)?;
    // What was scaled has served; the rows as read stay for the report.
    prepared.inputs = vec![];
    let on = experiment.config.threshold.on;
    let files: Vec<String> = prepared.samples.sources.iter().map(|source| source.name.clone()).collect();
    let thresholds = pipeline::calibrate(&experiment.thresholds, on, &scored, pipeline::calibration_split(on), &files)?;
    scored.flag(&thresholds[0])?;
    folder.write_json(names::THRESHOLDS, &thresholds)?;
    scored.write(&folder.file(names::SCORES))?;
    let report = Report::new(
        &scored,
        Context {
            experiment: &experiment,
            architecture: &architecture,
            device: &device.name,
            thresholds: &thresholds,
            training: TrainingFigures::new(&experiment, &fitted),
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
