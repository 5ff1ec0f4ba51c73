//! `lumisift report`: recomputes the figures of an experiment from its folder.

use super::{outputs::Outputs, ui::Ui};
use crate::{
    config::DeviceChoice,
    device,
    error::{Error, Result},
    experiment::checks,
    files::{
        self,
        atomic::write_atomically,
        folder::{Folder, names},
    },
    report::{
        figures::{Context, Report},
        page::{self, data::Evidence},
        plots::{self, Figures},
        terminal,
    },
    score::{explain, find_patterns, projections, scored_rows, scores::Scores},
};
use clap::Args;
use std::path::PathBuf;

/// Recompute the page and the figures of an experiment from its scores and thresholds, and print
/// them
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiment's folder
    experiment: PathBuf,
    /// Draw the main figures as PNG pictures, into this folder
    #[arg(long, value_name = "DIR")]
    png: Option<PathBuf>,
    /// Replace pictures that another command wrote or that were changed since
    #[arg(long, requires = "png")]
    force: bool,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    if let Some((place, reason)) =
        arguments.png.as_ref().and_then(|place| Some((place, files::no_folder(place)?)))
    {
        return Err(Error::input(format!("--png {}: {reason}", place.display())));
    }
    let folder = Folder::open(&arguments.experiment)?;
    let model = folder.read_model(&[])?;
    let scores = Scores::read(&folder.file(names::SCORES))?;
    let before: Report = folder.read_json(names::REPORT)?;
    let device = device::open(DeviceChoice::Cpu)?;
    let prepared = {
        let reading = ui.reading(&[&model.experiment.data.train, &model.experiment.data.test]);
        scored_rows::prepare_scored(&model.experiment, &model.networks, &scores, &|path| {
            reading.read(path)
        })
    };
    let (report, projections, evidence) = match prepared {
        Ok(prepared) => {
            let projections = projections::project(
                &model.experiment,
                &model.networks,
                &prepared,
                &scores,
                &device,
            )?;
            projections::write(&folder.file(names::PROJECTIONS), &prepared.samples, &projections)?;
            let worst =
                explain::worst(&model.experiment, &model.networks, &prepared, &scores, &device)?;
            let patterns = find_patterns::find_patterns(
                model.experiment.patterns.as_ref(),
                &model.networks,
                &prepared,
                &device,
            )?;
            let found = (&scores, patterns.as_ref());
            let evidence = Evidence::new(
                &model.experiment,
                &model.networks,
                &prepared,
                found,
                &explain::features(&worst),
                &device,
            )?;
            let context = Context {
                experiment: &model.experiment,
                networks: &model.networks,
                device: &before.device,
                thresholds: &model.thresholds,
                training: before.channels.into_iter().map(|channel| channel.training).collect(),
                worst,
                projections: &projections,
                samples: &prepared.samples,
                missing: prepared.missing_cells(),
                labels: &prepared.labels,
                classes: prepared.classes.as_ref(),
                beside: &prepared.beside,
                drift: None,
                patterns: patterns.as_ref(),
                warnings: checks::warnings(&model.experiment, &prepared),
            };
            (Report::new(&scores, context)?, projections, Some(evidence))
        }
        Err(error) => {
            ui.warn(&format!(
                "the data can no longer be read, so figures and page are not updated: {error}"
            ));
            (before, vec![], None)
        }
    };
    let pictures = match &arguments.png {
        None => vec![],
        Some(_) => {
            let (experiment, history) = (&model.experiment, folder.read_history()?);
            let maps = evidence.as_ref().map(|evidence| &evidence.maps);
            plots::pictures(Figures {
                experiment,
                report: &report,
                scores: &scores,
                history: &history,
                maps,
            })?
        }
    };
    let outputs = Outputs::new("report", arguments.force)
        .reads_experiment(&arguments.experiment, &model.experiment);
    let outputs = arguments.png.iter().fold(outputs, |outputs, place| {
        outputs.folder("--png", place, pictures.iter().map(|picture| picture.name.as_str()))
    });
    outputs.check()?;
    // A page with less content does not replace one with more.
    if evidence.is_some() || !folder.file(names::PAGE).exists() {
        let data = page::data::experiment(
            &folder,
            &model.experiment,
            &report,
            &scores,
            &projections,
            evidence.as_ref().unwrap_or(&Evidence::default()),
        )?;
        page::write(&folder, &report.name, &data)?;
    }
    folder.write_json(names::REPORT, &report)?;
    if arguments.open {
        ui.open(&folder.file(names::PAGE));
    }
    let mut drawn = vec![];
    if let Some(place) = &arguments.png {
        outputs.open()?;
        for picture in &pictures {
            let path = place.join(&picture.name);
            write_atomically(&path, &picture.png)?;
            drawn.push(format!("wrote      {}", path.display()));
        }
        outputs.close(ui);
    }
    if ui.json {
        return ui.print_json(&report);
    }
    ui.print(&terminal::render(&report, Some(&scores), ui.width()))?;
    if drawn.is_empty() { Ok(()) } else { ui.print(&drawn.join("\n")) }
}
