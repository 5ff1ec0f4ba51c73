//! `lumisift report`: the figures of an experiment, made again from its folder.

use super::ui::Ui;
use crate::{
    config::DeviceChoice,
    device,
    error::Result,
    pipeline,
    report::{
        explain,
        figures::{Context, Report},
        folder::{Folder, names},
        projections,
        scores::Scores,
        terminal,
    },
};
use clap::Args;
use std::path::PathBuf;

/// Make the figures of an experiment again from its scores and thresholds, and print them
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiment's folder
    experiment: PathBuf,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let folder = Folder::open(&arguments.experiment)?;
    let model = folder.read_model(&[])?;
    let scores = Scores::read(&folder.file(names::SCORES))?;
    let before: Report = folder.read_json(names::REPORT)?;
    let device = device::open(DeviceChoice::Cpu)?;
    let prepared = {
        let reading = ui.reading(&[&model.experiment.train_files, &model.experiment.test_files]);
        pipeline::prepare(&model.experiment, &|path| reading.read(path))
    };
    let report = match prepared {
        Ok(prepared) => {
            let projections = pipeline::project(&model.experiment, &model.networks, &prepared, &scores, &device)?;
            projections::write(&folder.file(names::PROJECTIONS), &prepared.samples, &projections)?;
            let context = Context {
                experiment: &model.experiment,
                networks: &model.networks,
                device: &before.device,
                thresholds: &model.thresholds,
                training: before.channels.into_iter().map(|channel| channel.training).collect(),
                worst: explain::worst(&model.experiment, &model.networks, &prepared, &scores, &device)?,
                projections: &projections,
                samples: &prepared.samples,
                labels: &prepared.labels,
                classes: prepared.classes.as_ref(),
                warnings: pipeline::warnings(&model.experiment, &prepared),
            };
            Report::new(&scores, context)?
        }
        Err(error) => {
            ui.warn(&format!("the data can no longer be read, so figures are those of before: {error}"));
            before
        }
    };
    folder.write_json(names::REPORT, &report)?;
    if ui.json {
        return ui.print_json(&report);
    }
    ui.print(&terminal::render(&report, Some(&scores), ui.width()))
}
