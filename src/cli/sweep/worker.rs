//! A worker of a sweep: claims trials and trains them until there are none left.

use crate::{
    cli::{devices_argument, progress::Progress, stop::Stop, ui::Ui},
    config::{Experiment, report::Report as ReportSection},
    device::{self, Device},
    error::{Access, Error, Result},
    experiment::run::{self, Plan, Training},
    files::{
        folder::{Folder, names},
        lock::Seen,
    },
    prepare::{Prepared, training::prepare},
    report::figures::Report,
    sweep::{
        objective::figure,
        pruner::{Pruning, Rule},
        results,
        state::Phase,
        trials::{Asked, Board, Claim},
    },
    train::Fitted,
};
use std::{collections::BTreeMap, sync::Arc, thread::sleep, time::Duration};

/// Maximum number of trials that a device other than the CPU trains as one computation.
const PACK: usize = 32;
/// Time between two checks of trials that others have.
const WAIT: Duration = Duration::from_millis(200);
/// Config sections that affect the rows.
const OF_ROWS: [&str; 8] =
    ["seed", "data", "labels", "weights", "select", "split", "channels", "scale"];

/// The state of a worker.
struct Worker<'a> {
    board: Arc<Board>,
    devices: Vec<Device>,
    stop: &'a Stop,
    /// The rows of the last trial, and their config.
    rows: Option<(String, Prepared)>,
    /// Final phases of trials, by index.
    settled: BTreeMap<usize, Phase>,
    seen: Seen,
}

/// The part of the config that affects the rows.
fn rows_key(experiment: &Experiment) -> Result<String> {
    let mut experiment = experiment.clone();
    let beside = experiment.report.beside.clone();
    let plain = Experiment::default();
    experiment.report = ReportSection { beside, ..plain.report };
    (experiment.model, experiment.train) = (plain.model, plain.train);
    (experiment.loss, experiment.score) = (plain.loss, plain.score);
    experiment.to_toml()
}

/// Works on the trials of a sweep, or on one of them (from 0), until all are settled or a pause is
/// requested.
pub fn work(
    board: Board,
    only: Option<usize>,
    device: Option<&str>,
    stop: &Stop,
    ui: &Ui,
) -> Result<()> {
    let devices = match device {
        Some(device) => devices_argument(device)?,
        None => board.experiment().device.to_vec(),
    };
    let devices = device::open_all(&devices)?;
    let mut worker = Worker {
        board: Arc::new(board),
        devices,
        stop,
        rows: None,
        settled: BTreeMap::new(),
        seen: Seen::default(),
    };
    let places: Vec<usize> = match only {
        Some(place) if place >= worker.board.len() => {
            return Err(Error::input(format!(
                "--trial {}: the sweep has {} trials",
                place + 1,
                worker.board.len()
            )));
        }
        Some(place) => vec![place],
        None => (0..worker.board.len()).collect(),
    };
    let command = format!(
        "lumisift sweep {0}/{1} --out {0} --resume",
        worker.board.path().display(),
        crate::sweep::trials::SWEEP
    );
    loop {
        if stop.wanted() {
            return Err(stop.paused(&format!("{} trials", worker.settled.len()), &command));
        }
        let failed = worker.settled.values().filter(|phase| **phase == Phase::Failed).count();
        if failed > worker.board.section().max_failures as usize {
            return Err(Error::failed(format!(
                "{failed} trials have failed, more than sweep.max_failures; `lumisift sweep status` tells why"
            )));
        }
        let claims = worker.claim(&places)?;
        if claims.is_empty() {
            if places.iter().all(|place| worker.settled.contains_key(place)) {
                return Ok(());
            }
            sleep(WAIT);
            continue;
        }
        claims
            .iter()
            .for_each(|claim| ui.say(&format!("trial {}", worker.board.name(claim.trial))));
        worker.train(claims)?;
    }
}

impl Worker<'_> {
    /// Claims the next free trials: one, or on a GPU several.
    fn claim(&mut self, places: &[usize]) -> Result<Vec<Claim>> {
        let most = if self.devices[0].is_cpu() { 1 } else { PACK };
        let mut claims: Vec<Claim> = vec![];
        for &place in places {
            if self.settled.contains_key(&place) {
                continue;
            }
            match self.board.ask(self.board.trial(place), &mut self.seen)? {
                Asked::Mine(claim) => claims.push(*claim),
                Asked::Settled(phase) => drop(self.settled.insert(place, phase)),
                Asked::Later => {}
            }
            if claims.len() == most {
                break;
            }
        }
        Ok(claims)
    }

    /// The rows of an experiment; reuses those of the previous trial if they are equal, else frees
    /// them first.
    fn rows(&mut self, key: &str, experiment: &Experiment) -> Result<Prepared> {
        match self.rows.take() {
            Some((of, rows)) if of == key => Ok(rows),
            _ => prepare(experiment, &|_| {}),
        }
    }

    /// Whether all trials have the same rows.
    fn rows_are_fixed(&self) -> bool {
        let space = self.board.space();
        !space
            .probes()
            .iter()
            .flat_map(|point| space.keys(point))
            .any(|(key, _)| OF_ROWS.contains(&key.split('.').next().unwrap_or_default()))
    }

    /// Trains claimed trials, those with the same rows together, and settles them.
    fn train(&mut self, claims: Vec<Claim>) -> Result<()> {
        let mut alike: BTreeMap<String, Vec<Claim>> = BTreeMap::new();
        for claim in claims {
            alike.entry(rows_key(&claim.experiment)?).or_default().push(claim);
        }
        for (key, claims) in alike {
            let mut prepared = match self.rows(&key, &claims[0].experiment) {
                Ok(prepared) => prepared,
                // It would fail with other parameters too.
                Err(error) if self.rows_are_fixed() => {
                    claims.into_iter().try_for_each(Claim::lay_aside)?;
                    return Err(error);
                }
                Err(error) => {
                    claims.into_iter().try_for_each(|claim| fail(claim, error.clone()))?;
                    continue;
                }
            };
            let mut claims = claims;
            // If one of several trials is pruned, the others pause with it and then continue.
            while !claims.is_empty() {
                claims = self.train_alike(claims, &mut prepared)?;
            }
            self.rows = Some((key, prepared));
        }
        Ok(())
    }

    /// Trains trials with the same rows together; returns those that must continue.
    fn train_alike(&mut self, claims: Vec<Claim>, prepared: &mut Prepared) -> Result<Vec<Claim>> {
        let board = &self.board;
        let uis: Vec<Ui> = claims.iter().map(|_| Ui::silent()).collect();
        let experiments: Vec<Experiment> =
            claims.iter().map(|claim| claim.experiment.clone()).collect();
        let prunings: Vec<Option<Pruning>> = claims
            .iter()
            .map(|claim| {
                let train = &claim.experiment.train;
                let (board, trial) = (board.clone(), claim.trial);
                let models = prepared.channels.len() * train.ensemble as usize;
                Rule::new(board.section(), train.epochs)
                    .map(|rule| Pruning::new(rule, models, Box::new(move || board.curves(trial))))
            })
            .collect();
        let watching: Vec<Progress<'_>> = uis
            .iter()
            .zip(&prunings)
            .map(|(ui, pruning)| Progress::new(ui, self.stop, pruning.as_ref()))
            .collect();
        let mut trainings: Vec<Training<'_>> = vec![];
        let mut running: Vec<(Claim, &Progress<'_>)> = vec![];
        for ((mut claim, experiment), progress) in
            claims.into_iter().zip(&experiments).zip(&watching)
        {
            match open(&claim, experiment, prepared, &self.devices, progress) {
                Ok(Some(training)) => {
                    claim.run()?;
                    trainings.push(training);
                    running.push((claim, progress));
                }
                // Its last worker died after the report, before it settled the trial.
                Ok(None) => settle_done(board, claim, None)?,
                Err(error) => fail(claim, error)?,
            }
        }
        if trainings.is_empty() {
            return Ok(vec![]);
        }
        let fitted = run::fit(&trainings, prepared, &self.devices)?;
        let mut going_on = vec![];
        for ((training, (claim, progress)), fitted) in
            trainings.into_iter().zip(running).zip(fitted)
        {
            match fitted {
                Ok(Some(fitted)) => self.finish(training, &fitted, claim, prepared)?,
                Ok(None) if progress.is_pruned() => claim.settle(Phase::Pruned, None, None)?,
                Ok(None) if self.stop.wanted() => claim.lay_aside()?,
                Ok(None) => going_on.push(claim),
                Err(error) => fail(claim, error)?,
            }
        }
        Ok(going_on)
    }

    fn finish(
        &self,
        training: Training<'_>,
        fitted: &[Fitted],
        claim: Claim,
        prepared: &mut Prepared,
    ) -> Result<()> {
        match training.finish(fitted, prepared, false, &self.devices) {
            Ok(Some((report, _))) => settle_done(&self.board, claim, Some(&report)),
            Ok(None) => claim.lay_aside(),
            Err(error) => fail(claim, error),
        }
    }
}

/// Begins or continues a trial's training; `None` if it is complete.
fn open<'e>(
    claim: &Claim,
    experiment: &'e Experiment,
    prepared: &Prepared,
    devices: &[Device],
    progress: &'e Progress<'_>,
) -> Result<Option<Training<'e>>> {
    let begun = Folder::begun(&claim.path, experiment)?;
    if begun.as_ref().is_some_and(Folder::is_complete) {
        return Ok(None);
    }
    let plan = Plan::new(experiment, prepared)?;
    match begun {
        Some(folder) => plan.open(folder, true, prepared, devices, progress),
        None => plan.open(Folder::create(&claim.path, true)?, false, prepared, devices, progress),
    }
    .map(Some)
}

/// Settles a failed trial. A write error is returned instead, because it affects all trials.
fn fail(claim: Claim, error: Error) -> Result<()> {
    match error.innermost() {
        Error::Io { access: Access::Write, .. } => {
            // On a full disk the trial keeps its state and is taken over later.
            let _ = claim.lay_aside();
            Err(error)
        }
        _ => claim.settle(Phase::Failed, None, Some(error.to_string())),
    }
}

/// Records the figures of a complete trial.
fn settle_done(board: &Board, mut claim: Claim, report: Option<&Report>) -> Result<()> {
    let read: Report;
    let report = match report {
        Some(report) => report,
        None => {
            read = Folder::open(&claim.path)?.read_json(names::REPORT)?;
            &read
        }
    };
    claim.note(results::figures(report));
    let json = serde_json::to_value(report)
        .map_err(|error| Error::failed(format!("{}: {error}", names::REPORT)))?;
    let objective = &board.section().objective;
    match figure(&json, objective) {
        Ok(figure) if figure.is_finite() => claim.settle(Phase::Done, Some(figure), None),
        Ok(_) => claim.settle(
            Phase::Failed,
            None,
            Some(format!("sweep.objective: {objective} is not a number")),
        ),
        // No trial will have this figure; the trial counts with another objective.
        Err(error) => {
            claim.lay_aside()?;
            Err(error)
        }
    }
}
