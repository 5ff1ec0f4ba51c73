//! `lumisift train`: from a config to an experiment folder.

use super::{
    Sets,
    stop::Stop,
    ui::{Training, Ui},
};
use crate::{
    config::{DeviceChoice, Experiment, raw::Checkpoint},
    data::channels::Channel,
    device::{self, Opened},
    error::{Error, Result},
    pipeline,
    prepare::{Prepared, select, split::Split},
    report::{
        channels::TrainingFigures,
        explain,
        figures::{self, Context, Report},
        folder::{Folder, History, fingerprint, names},
        lock::Lock,
        page::{self, data::Evidence},
        projections, scores,
        tensorboard::Events,
        terminal,
    },
    train::{Epoch, State, Watch, by_hand},
};
use clap::Args;
use serde_json::json;
use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
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
    /// Go on with the experiment in the folder from its last checkpoint; begin it where there is none
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Where to compute: auto, cpu, cuda[:N], wgpu[:N], or several with commas between them; wins over the config
    #[arg(long)]
    device: Option<String>,
    #[command(flatten)]
    sets: Sets,
}

/// Looks on while a channel is trained: tells epochs, keeps states, asks whether to stop.
struct Watcher<'a, 'ui> {
    channel: String,
    member: usize,
    folder: &'a Folder,
    fingerprint: &'a str,
    config: &'a Checkpoint,
    stop: &'a Stop,
    ui: &'a Ui,
    told: &'a Mutex<(History, Option<Events>, Training<'ui>)>,
    /// When a state was last kept, and epochs since.
    kept: Instant,
    since: u32,
}

/// A training that took no longer than this is not kept when it ends: it would be trained again in no time.
const SHORT: Duration = Duration::from_secs(2);

impl Watch for Watcher<'_, '_> {
    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.0.append((&self.channel, self.member), epoch)?;
        if let Some(events) = &mut told.1 {
            events.append((&self.channel, self.member), epoch)?;
        }
        told.2.epoch(&self.channel, self.member, epoch);
        self.since += 1;
        Ok(())
    }

    fn pauses(&mut self) -> bool {
        self.stop.wanted()
    }

    fn keeps(&mut self) -> bool {
        self.kept.elapsed().as_secs_f64() >= self.config.seconds || self.config.epochs.is_some_and(|epochs| self.since >= epochs)
    }

    fn keep(&mut self, state: &State) -> Result<()> {
        if state.stopped.is_some() && self.kept.elapsed() < SHORT && self.config.epochs.is_none() && !self.stop.wanted() {
            return Ok(());
        }
        (self.kept, self.since) = (Instant::now(), 0);
        let Self { channel, member, .. } = self;
        self.ui.log(&format!("checkpoint of channel {channel}, member {}: {} epochs and {} batches", *member + 1, state.epoch(), state.batch));
        self.folder.write_checkpoint((channel, *member), state, self.fingerprint, self.config.keep as usize)
    }
}

fn complete(ui: &Ui, arguments: &Arguments) -> Result<()> {
    ui.say(&format!("{}: complete, there is nothing to go on with", arguments.out.display()));
    Ok(())
}

fn names_of(devices: &[Opened]) -> String {
    devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// What is written before anything is trained.
fn write_beginning(folder: &Folder, experiment: &Experiment, prepared: &Prepared, devices: &[Opened], fingerprint: &str) -> Result<()> {
    folder.write(names::EXPERIMENT, experiment.to_toml()?.as_bytes())?;
    folder.write_json(
        names::PROVENANCE,
        &json!({
            "version": env!("CARGO_PKG_VERSION"),
            "device": names_of(devices),
            "precision": devices.iter().map(|device| device.precision(by_hand(experiment))).max_by_key(|text| text.len()),
            "seed": experiment.config.seed,
            "fingerprint": fingerprint,
            "files": prepared.samples.sources,
            "rows": {"evaluated": prepared.samples.rows.len(), "not_evaluated": select::counts(&prepared.samples)},
        }),
    )?;
    folder.write(names::REJECTED, &scores::rejected(&prepared.samples)?)
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let mut experiment = Experiment::load(&arguments.config, &arguments.sets.sets)?;
    if let Some(device) = &arguments.device {
        experiment.devices = DeviceChoice::parse_all(device).map_err(|message| Error::input(format!("--device: {message}")))?;
        experiment.config.device = device.clone();
    }
    let begun = if arguments.resume { Folder::begun(&arguments.out, &experiment)? } else { None };
    match &begun {
        Some(folder) if folder.is_complete() => {
            return complete(ui, arguments);
        }
        Some(_) => {}
        None => Folder::check_free(&arguments.out, arguments.force)?,
    }
    let deadline = experiment.time_limit.and_then(|limit| Instant::now().checked_add(limit));
    let devices = device::open_all(&experiment.devices)?;
    // What is not trained is computed on the first.
    let device = &devices[0];
    let device_names = names_of(&devices);
    let mut prepared = {
        let reading = ui.reading(&[&experiment.train_files, &experiment.test_files]);
        pipeline::prepare(&experiment, &|path| reading.read(path))?
    };
    ui.warn_unreadable(&prepared.samples);
    pipeline::check_rows(&experiment, &prepared)?;
    let mut begins = pipeline::begin(&experiment, &prepared.channels)?;
    let mut warnings = pipeline::warnings(&experiment, &prepared);
    let rows = |wanted: Split| prepared.splits.iter().filter(|split| **split == wanted).count();
    let shapes: Vec<String> = pipeline::architectures(&experiment, &prepared.channels).iter().map(|shape| shape.describe()).collect();
    let shapes = if shapes.len() == 1 { shapes.concat() } else { format!("{} channels", shapes.len()) };
    let ensemble = experiment.config.train.ensemble;
    let shapes = if ensemble > 1 { format!("{shapes}, ensembles of {ensemble}") } else { shapes };
    ui.say(&format!("{} on {device_names}: {shapes}, {} training rows", experiment.config.name, rows(Split::Train)));

    let fingerprint = fingerprint(&experiment, &prepared.samples.sources)?;
    std::fs::create_dir_all(&arguments.out).map_err(|error| Error::writing(&arguments.out, &error))?;
    let _lock = Lock::take(&arguments.out)?;
    let folder = match begun {
        None => {
            let folder = Folder::create(&arguments.out, arguments.force)?;
            write_beginning(&folder, &experiment, &prepared, &devices, &fingerprint)?;
            folder
        }
        // Another may have finished it before the lock was ours.
        Some(folder) if folder.is_complete() => return complete(ui, arguments),
        Some(folder) => {
            folder.tidy();
            for begin in &mut begins {
                let (state, notes) = folder.read_checkpoint(&prepared.channels[begin.channel].name, begin.member, &fingerprint)?;
                notes.iter().for_each(|note| ui.warn(note));
                begin.state = state;
            }
            // What a kill may have left out or torn.
            write_beginning(&folder, &experiment, &prepared, &devices, &fingerprint)?;
            folder
        }
    };
    ui.log_to(&folder.file(names::LOG))?;
    let done: Vec<&[Epoch]> = begins.iter().map(|begin| begin.state.as_ref().map_or(&[][..], |state| &state.history)).collect();
    let epochs: usize = done.iter().map(|epochs| epochs.len()).sum();
    if arguments.resume && epochs > 0 {
        ui.say(&format!("going on after {}", terminal::count(epochs, "epoch")));
    }
    let models: Vec<(&str, usize)> = begins.iter().map(|begin| (prepared.channels[begin.channel].name.as_str(), begin.member)).collect();
    let history = folder.write_history(ensemble > 1, models.iter().copied().zip(done.iter().copied()))?;
    let events = Events::begin(&folder, &experiment, models.iter().copied().zip(done))?;
    // From here on there is something to keep.
    let stop = Stop::new(deadline)?;
    let command = format!("lumisift train {0}/{1} --out {0} --resume", arguments.out.display(), names::EXPERIMENT);
    let (fitted, events) = {
        let told = Mutex::new((history, events, ui.training(models.len(), prepared.channels.len(), experiment.config.train.epochs, epochs)));
        let watcher = |channel: &Channel, member: usize| Watcher {
            channel: channel.name.clone(),
            member,
            folder: &folder,
            fingerprint: &fingerprint,
            config: &experiment.config.train.checkpoint,
            stop: &stop,
            ui,
            told: &told,
            kept: Instant::now(),
            since: 0,
        };
        let fitted = pipeline::train(&experiment, begins, &prepared, &devices, &watcher)?;
        (fitted, told.into_inner().unwrap_or_else(PoisonError::into_inner).1)
    };
    let Some(fitted) = fitted else {
        return Err(stop.paused(&terminal::count(folder.read_history()?.len(), "epoch"), &command));
    };
    // Epochs of channels side by side come in any order; a finished file does not depend on it.
    folder.write_history(ensemble > 1, models.iter().copied().zip(fitted.iter().map(|fitted| fitted.history.as_slice())))?;
    for ((channel, _), fitted) in models.iter().zip(&fitted).filter(|(_, fitted)| fitted.weightless_batches > 0) {
        let told = format!("channel {channel}: {} batches were left out because their rows weigh nothing", fitted.weightless_batches);
        ui.warn(&told);
        warnings.push(told);
    }

    if stop.is_signalled() {
        return Err(stop.paused("training", &command));
    }
    ui.detail("learning what is usual");
    let (networks, doubts) = pipeline::learn(&experiment, &fitted, &prepared, device)?;
    warnings.extend(doubts);
    networks.iter().try_for_each(|network| folder.write_network(network))?;
    folder.write_json(names::SCALER, &prepared.scaler)?;
    folder.write_channels(&networks)?;
    if stop.is_signalled() {
        return Err(stop.paused("training", &command));
    }
    ui.detail("scoring");
    let mut scored = pipeline::score(&experiment, &networks, &prepared, device)?;
    let on = experiment.config.threshold.on;
    let files: Vec<String> = prepared.samples.sources.iter().map(|source| source.name.clone()).collect();
    let thresholds = pipeline::calibrate(&experiment, on, &scored, pipeline::calibration_split(on), &files)?;
    scored.flag(&thresholds)?;
    folder.write_json(names::THRESHOLDS, &thresholds)?;
    let worst = explain::worst(&experiment, &networks, &prepared, &scored, device)?;
    if !experiment.config.report.projections.is_empty() {
        ui.detail("projecting latents");
    }
    let projections = pipeline::project(&experiment, &networks, &prepared, &scored, device)?;
    projections::write(&folder.file(names::PROJECTIONS), &prepared.samples, &projections)?;
    let evidence = Evidence::new(&experiment, &networks, &prepared, &scored, &explain::features(&worst), device)?;
    // What was scaled has served and makes room for the tables; the rows as read stay for the report.
    prepared.inputs = vec![];
    scored.write(&folder.file(names::SCORES))?;
    folder.write(names::ROC, &figures::curves(&scored, &experiment)?)?;
    ui.detail("figures");
    let report = Report::new(
        &scored,
        Context {
            experiment: &experiment,
            networks: &networks,
            device: &device_names,
            thresholds: &thresholds,
            training: fitted.chunks(ensemble as usize).map(|fitted| TrainingFigures::new(&experiment, fitted)).collect(),
            worst,
            projections: &projections,
            samples: &prepared.samples,
            labels: &prepared.labels,
            classes: prepared.classes.as_ref(),
            beside: &prepared.beside,
            drift: None,
            warnings,
        },
    )?;
    if let Some(events) = events {
        events.end(models.iter().copied().zip(&fitted), &scored, &report)?;
    }
    page::write(&folder, &report.name, &page::data::experiment(&folder, &experiment, &report, &scored, &projections, &evidence)?)?;
    // The last: a folder that has it is complete.
    folder.write_json(names::REPORT, &report)?;
    ui.log("complete");

    if ui.json {
        return ui.print_json(&report);
    }
    ui.print(&terminal::render(&report, Some(&scored), ui.width()))?;
    let out = arguments.out.display();
    ui.print(&format!(
        "wrote      {out}/ (weights in {}/, scores in {}, figures in {} and {})",
        names::MODEL,
        names::SCORES,
        names::PAGE,
        names::REPORT
    ))?;
    ui.next(&[
        format!("open {out}/{} in a browser", names::PAGE),
        format!("lumisift score {out} --data FILE… --out scores.parquet"),
        format!("lumisift report {out}"),
    ])
}
