//! Runs an experiment from prepared rows to a complete folder. `lumisift train` and the workers of
//! a sweep share these steps.

use super::{
    checks,
    identity::fingerprint,
    observer::{ModelId, Note, RunObserver, Size},
};
use crate::{
    config::{Experiment, Scalar, train::Checkpoint},
    device::{self, Device},
    error::{Error, Result},
    files::{
        folder::{Folder, names},
        lock::Lock,
    },
    prepare::{Prepared, normalisation, select, split::Split, training::prepare},
    report::{
        channels::TrainingFigures,
        figures::{self, Context, Report},
        page::{self, data::Evidence},
        tensorboard::Events,
    },
    score::{
        calibrate,
        drift::Drift,
        explain, new_rows, projections,
        run::{self, Scored},
        scores::Scores,
        scores_file,
    },
    text::count,
    train::{
        Epoch, Fitted, State, TrainObserver,
        backend::by_hand,
        history::{History, HistoryColumns},
        init::{self, ModelInit},
        packs,
    },
    warnings::Warnings,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Runs an experiment: reads its files, trains, scores, and writes everything into a new folder.
/// Returns the report and the scores, or `None` if `observer` paused it; `lumisift train --resume`
/// then continues in the folder.
///
/// # Errors
/// If the folder is not empty, if a file or the config is invalid, or if a device fails.
pub fn train(
    experiment: &Experiment,
    out: &Path,
    observer: &dyn RunObserver,
) -> Result<Option<(Report, Scores)>> {
    Folder::check_free(out, false)?;
    let devices = device::open_all(&experiment.device)?;
    let mut prepared = prepare(experiment, &|_| {})?;
    let plan = Plan::new(experiment, &prepared)?;
    std::fs::create_dir_all(out).map_err(|error| Error::writing(out, error))?;
    let _lock = Lock::take(out)?;
    let folder = Folder::create(out, false)?;
    let training = plan.open(folder, false, &prepared, &devices, observer)?;
    Ok(match training.run(&mut prepared, true, &devices)? {
        Ended::Complete(done) => Some(*done),
        Ended::Paused { .. } => None,
    })
}

/// The end of a run.
pub enum Ended {
    /// Its folder is complete.
    Complete(Box<(Report, Scores)>),
    /// The observer paused the run.
    Paused {
        /// Trained epochs summed over all models, if it paused in training.
        epochs: Option<usize>,
    },
}

/// A checked training, before anything is written.
pub struct Plan<'e> {
    experiment: &'e Experiment,
    begins: Vec<ModelInit<'e>>,
    warnings: Warnings,
    fingerprint: String,
}

/// A training with its folder; the owner holds the lock of the folder.
pub struct Training<'e> {
    plan: Plan<'e>,
    folder: Folder,
    observer: &'e dyn RunObserver,
    files: Mutex<Files>,
}

/// The files to which every epoch is appended.
struct Files {
    history: History,
    events: Option<Events>,
}

/// The observer of a model's training: writes epochs and checkpoints, and checks for a pause.
struct Watcher<'a, 'e> {
    training: &'a Training<'e>,
    model: ModelId<'a>,
    /// Time of the last checkpoint, and number of epochs since.
    kept: Instant,
    since: u32,
}

/// A training up to this duration writes no checkpoint at its end.
const SHORT: Duration = Duration::from_secs(2);

impl Watcher<'_, '_> {
    fn config(&self) -> &Checkpoint {
        &self.training.plan.experiment.train.checkpoint
    }
}

impl TrainObserver for Watcher<'_, '_> {
    fn epoch_ended(&mut self, epoch: &Epoch) -> Result<()> {
        let ModelId { channel, member, .. } = self.model;
        let mut files = self.training.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.history.append((channel, member), epoch)?;
        if let Some(events) = &mut files.events {
            events.append((channel, member), epoch)?;
        }
        self.training.observer.epoch(self.model, epoch, true);
        self.since += 1;
        Ok(())
    }

    fn wants_pause(&mut self) -> bool {
        self.training.observer.pauses()
    }

    fn wants_checkpoint(&mut self) -> bool {
        self.kept.elapsed().as_secs_f64() >= self.config().seconds
            || self.config().epochs.is_some_and(|epochs| self.since >= epochs)
    }

    fn save_checkpoint(&mut self, state: &State) -> Result<()> {
        if state.stopped.is_some()
            && self.kept.elapsed() < SHORT
            && self.config().epochs.is_none()
            && !self.wants_pause()
        {
            return Ok(());
        }
        (self.kept, self.since) = (Instant::now(), 0);
        let (training, ModelId { channel, member, .. }) = (self.training, self.model);
        training.observer.note(Note::Log(&format!(
            "checkpoint of channel {channel}, member {}: {} epochs and {} batches",
            member + 1,
            state.epoch(),
            state.batch
        )));
        training.folder.write_checkpoint(
            (channel, member),
            state,
            &training.plan.fingerprint,
            self.config().keep as usize,
        )
    }
}

/// The names of devices, joined.
pub fn names_of(devices: &[Device]) -> String {
    devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Writes the files that exist before training.
fn write_beginning(
    folder: &Folder,
    experiment: &Experiment,
    prepared: &Prepared,
    devices: &[Device],
    fingerprint: &str,
) -> Result<()> {
    folder.write(names::EXPERIMENT, experiment.to_toml()?.as_bytes())?;
    let bad_values: BTreeMap<&str, &Scalar> = prepared
        .labels
        .iter()
        .filter_map(|set| Some((set.name.as_str(), set.other.as_ref()?)))
        .collect();
    folder.write_json(
        names::PROVENANCE,
        &json!({
            "version": env!("CARGO_PKG_VERSION"),
            "device": names_of(devices),
            "precision": devices.iter().map(|device| device.precision(by_hand(experiment))).max_by_key(|text| text.len()),
            "seed": experiment.seed,
            "fingerprint": fingerprint,
            "files": prepared.samples.sources,
            "bad_values": bad_values,
            "rows": {"evaluated": prepared.samples.rows.len(), "not_evaluated": select::counts(&prepared.samples)},
        }),
    )?;
    folder.write(names::REJECTED, &scores_file::rejected(&prepared.samples)?)
}

impl<'e> Plan<'e> {
    /// Checks whether the experiment can be trained on these rows.
    pub fn new(experiment: &'e Experiment, prepared: &Prepared) -> Result<Self> {
        checks::check_rows(experiment, prepared)?;
        Ok(Self {
            begins: init::model_inits(experiment, &prepared.channels)?,
            warnings: checks::warnings(experiment, prepared),
            fingerprint: fingerprint(experiment, &prepared.samples.sources)?,
            experiment,
        })
    }

    /// A one-line description.
    pub fn describe(&self, prepared: &Prepared, devices: &[Device]) -> String {
        let rows = prepared.splits.iter().filter(|split| **split == Split::Train).count();
        let shapes: Vec<String> = init::architectures(self.experiment, &prepared.channels)
            .iter()
            .map(|shape| shape.describe())
            .collect();
        let shapes =
            if shapes.len() == 1 { shapes.concat() } else { format!("{} channels", shapes.len()) };
        let ensemble = self.experiment.train.ensemble;
        let shapes =
            if ensemble > 1 { format!("{shapes}, ensembles of {ensemble}") } else { shapes };
        format!("{} on {}: {shapes}, {rows} training rows", self.experiment.name, names_of(devices))
    }

    /// Begins or resumes the training in a folder whose lock is held.
    pub fn open(
        mut self,
        folder: Folder,
        begun: bool,
        prepared: &Prepared,
        devices: &[Device],
        observer: &'e dyn RunObserver,
    ) -> Result<Training<'e>> {
        if begun {
            folder.tidy();
            for begin in &mut self.begins {
                let (state, notes) = folder.read_checkpoint(
                    &prepared.channels[begin.channel].name,
                    begin.member,
                    &self.fingerprint,
                )?;
                notes.iter().for_each(|note| observer.note(Note::Warning(note)));
                begin.state = state;
            }
        }
        // When resuming, rewrites files that a kill may have left missing or truncated.
        write_beginning(&folder, self.experiment, prepared, devices, &self.fingerprint)?;
        observer.opened(&folder.file(names::LOG))?;
        let done: Vec<&[Epoch]> = self
            .begins
            .iter()
            .map(|begin| begin.state.as_ref().map_or(&[][..], |state| &state.history))
            .collect();
        let epochs: usize = done.iter().map(|epochs| epochs.len()).sum();
        if epochs > 0 {
            let text = format!("continuing after {}", count(epochs, "epoch"));
            observer.note(Note::Message(&text));
        }
        let config = &self.experiment.train;
        let models = models(&self.begins, prepared);
        let history = folder.write_history(
            HistoryColumns::new(self.experiment),
            models.iter().copied().zip(done.iter().copied()),
        )?;
        let events =
            Events::begin(&folder, self.experiment, models.iter().copied().zip(done.clone()))?;
        observer.begins(Size {
            models: models.len(),
            channels: prepared.channels.len(),
            epochs: config.epochs,
            done: epochs,
        });
        for (index, ((channel, member), done)) in models.into_iter().zip(done).enumerate() {
            let model = ModelId { index, channel, member };
            done.iter().for_each(|epoch| observer.epoch(model, epoch, false));
        }
        Ok(Training { plan: self, folder, observer, files: Mutex::new(Files { history, events }) })
    }
}

/// Channel and member of each model.
fn models<'p>(begins: &[ModelInit<'_>], prepared: &'p Prepared) -> Vec<(&'p str, usize)> {
    begins
        .iter()
        .map(|begin| (prepared.channels[begin.channel].name.as_str(), begin.member))
        .collect()
}

/// Trains the models of several trainings on the same rows in parallel. Returns the fitted models
/// of each training, `None` if it paused.
pub fn fit(
    trainings: &[Training<'_>],
    prepared: &Prepared,
    devices: &[Device],
) -> Result<Vec<Result<Option<Vec<Fitted>>>>> {
    let begins: Vec<ModelInit<'_>> =
        trainings.iter().flat_map(|training| training.plan.begins.iter().cloned()).collect();
    let owner: Vec<(usize, usize)> = trainings
        .iter()
        .enumerate()
        .flat_map(|(at, training)| (0..training.plan.begins.len()).map(move |model| (at, model)))
        .collect();
    let watch = |place: usize| {
        let ((at, index), begin) = (owner[place], &begins[place]);
        let channel = prepared.channels[begin.channel].name.as_str();
        let model = ModelId { index, channel, member: begin.member };
        Watcher { training: &trainings[at], model, kept: Instant::now(), since: 0 }
    };
    let mut fitted = packs::train(&begins, prepared, devices, &watch)?.into_iter();
    let of = |training: &Training<'_>| {
        let own = fitted.by_ref().take(training.plan.begins.len()).collect();
        packs::collect_models(&training.plan.begins, &prepared.channels, own)
    };
    Ok(trainings.iter().map(of).collect())
}

impl Training<'_> {
    /// Trains and finishes this training alone; `last` as in [`finish`](Self::finish).
    pub fn run(self, prepared: &mut Prepared, last: bool, devices: &[Device]) -> Result<Ended> {
        let trainings = [self];
        let fitted = fit(&trainings, prepared, devices)?.remove(0)?;
        let [training] = trainings;
        let Some(fitted) = fitted else {
            training.observer.fitted();
            return Ok(Ended::Paused { epochs: Some(training.folder.read_history()?.len()) });
        };
        Ok(match training.finish(&fitted, prepared, last, devices)? {
            Some(done) => Ended::Complete(Box::new(done)),
            None => Ended::Paused { epochs: None },
        })
    }

    /// Fits error baselines, scores, and writes all other files, `report.json` last. Returns `None`
    /// if it is paused before. With `last`, frees the scaled inputs after their last use.
    pub fn finish(
        self,
        fitted: &[Fitted],
        prepared: &mut Prepared,
        last: bool,
        devices: &[Device],
    ) -> Result<Option<(Report, Scores)>> {
        let Self { plan: Plan { experiment, begins, warnings, .. }, folder, observer, files } =
            self;
        let Files { events, .. } = files.into_inner().unwrap_or_else(PoisonError::into_inner);
        observer.fitted();
        // Everything after training is computed on the first device.
        let device = &devices[0];
        let models: Vec<(String, usize)> = models(&begins, prepared)
            .into_iter()
            .map(|(channel, member)| (channel.to_owned(), member))
            .collect();
        let models: Vec<(&str, usize)> =
            models.iter().map(|(channel, member)| (channel.as_str(), *member)).collect();
        let ensemble = experiment.train.ensemble;
        // Epochs of parallel channels arrive in any order; the final file does not depend on it.
        folder.write_history(
            HistoryColumns::new(experiment),
            models.iter().copied().zip(fitted.iter().map(|fitted| fitted.history.as_slice())),
        )?;
        if observer.is_interrupted() {
            return Ok(None);
        }
        observer.note(Note::Stage("fitting error baselines"));
        let (networks, doubts) = run::fit_error_baselines(experiment, fitted, prepared, device)?;
        networks.iter().try_for_each(|network| folder.write_network(network))?;
        folder.write_json(names::SCALER, &prepared.scaler)?;
        normalisation::write(
            &folder.file(names::NORMALISATION),
            &prepared.samples,
            &prepared.scaler,
        )?;
        folder.write_channels(&networks)?;
        if observer.is_interrupted() {
            return Ok(None);
        }
        observer.note(Note::Stage("scoring"));
        let Scored { scores: mut scored, patterns, mut fewer } =
            run::score(experiment, &networks, prepared, device)?;
        if let Some(fewer) = &fewer {
            folder.write(names::REJECTED, &scores_file::rejected(&fewer.samples)?)?;
        }
        let prepared = fewer.as_mut().unwrap_or(prepared);
        let moved = new_rows::moved(&networks, prepared);
        let on = experiment.threshold.on;
        let thresholds = calibrate::calibrate(
            &experiment.threshold,
            on,
            &scored,
            calibrate::calibration_split(on),
        )?;
        scored.flag(&thresholds)?;
        folder.write_json(names::THRESHOLDS, &thresholds)?;
        let worst = explain::worst(experiment, &networks, prepared, &scored, device)?;
        if !experiment.report.projections.is_empty() {
            observer.note(Note::Stage("projecting latents"));
        }
        let projections = projections::project(experiment, &networks, prepared, &scored, device)?;
        projections::write(&folder.file(names::PROJECTIONS), &prepared.samples, &projections)?;
        let evidence = Evidence::new(
            experiment,
            &networks,
            prepared,
            (&scored, patterns.as_ref()),
            &explain::features(&worst),
            device,
        )?;
        // Frees the scaled inputs for the tables; the rows as read are kept for the report.
        if last {
            prepared.inputs = vec![];
        }
        scored.write(&folder.file(names::SCORES))?;
        if let Some(patterns) = &patterns {
            patterns.write(&folder.file(names::REGIONS), &prepared.samples, &prepared.splits)?;
        }
        folder.write(names::ROC, &figures::curves(&scored, experiment)?)?;
        observer.note(Note::Stage("figures"));
        let inputs = if prepared.samples.features.is_some() { "features" } else { "bins" };
        let training = fitted.chunks(ensemble as usize).zip(doubts).map(|(fitted, doubt)| {
            let mut training = TrainingFigures::new(experiment, fitted, inputs);
            training.doubts.extend(doubt);
            training
        });
        let training = training.collect();
        let report = Report::new(
            &scored,
            Context {
                experiment,
                networks: &networks,
                device: &names_of(devices),
                thresholds: &thresholds,
                training,
                worst,
                projections: &projections,
                samples: &prepared.samples,
                missing: prepared.missing_cells(),
                labels: &prepared.labels,
                classes: prepared.classes.as_ref(),
                beside: &prepared.beside,
                drift: (!moved.is_empty()).then(|| Drift { moved, ..Drift::default() }),
                patterns: patterns.as_ref(),
                warnings,
            },
        )?;
        if let Some(events) = events {
            events.end(models.iter().copied().zip(fitted), &scored, &report)?;
        }
        page::write(
            &folder,
            &report.name,
            &page::data::experiment(
                &folder,
                experiment,
                &report,
                &scored,
                &projections,
                &evidence,
            )?,
        )?;
        // Written last: a folder with this file is complete.
        folder.write_json(names::REPORT, &report)?;
        observer.note(Note::Log("complete"));
        Ok(Some((report, scored)))
    }
}
