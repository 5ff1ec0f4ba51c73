//! The folder of a sweep: its trials, what is known of them, and who works on which.

use super::{
    pruner::{Curve, read_curve},
    strategy::{Points, Tried},
};
use crate::{
    config::{
        Document, Experiment,
        resolved::differences,
        sweep::{Point, Space, Sweep},
    },
    error::{Error, Result},
    files::{
        atomic::{write_atomically, write_json},
        folder::{Folder, names},
        lock::{Lock, Seen},
    },
    sweep::state::{Phase, State},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// The checked config with its `[sweep]`, in the sweep's folder.
pub const SWEEP: &str = "sweep.toml";

/// A folder a trial, in the sweep's folder.
pub const TRIALS: &str = "trials";

/// The point of a trial, in its folder.
const TRIAL: &str = "trial.toml";

/// How far a trial is, in its folder.
const STATE: &str = "state.json";

/// A trial whose workers died so often without an epoch more is at fault itself.
const DEATHS: u32 = 8;

/// What `trial.toml` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Written {
    trial: usize,
    repeat: usize,
    seed: u64,
    /// The point, by parameter.
    parameters: Table,
    /// What to `--set` for the same experiment.
    set: Table,
}

/// A trial, by its numbers from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trial {
    /// Which point.
    pub point: usize,
    /// Which of its trainings.
    pub repeat: usize,
}

/// A claimed trial; it is given back when dropped.
#[derive(Debug)]
pub struct Claim {
    /// Which one.
    pub trial: Trial,
    /// Its folder.
    pub path: PathBuf,
    /// What is trained.
    pub experiment: Experiment,
    state: State,
    _lock: Lock,
}

/// A trial that was asked for.
#[derive(Debug)]
pub enum Asked {
    /// It is the asker's.
    Mine(Box<Claim>),
    /// There is nothing left to do for it: this became of it.
    Settled(Phase),
    /// Another has it, or it waits for the points before it.
    Later,
}

/// The folder of a sweep.
#[derive(Debug)]
pub struct Board {
    path: PathBuf,
    document: Document,
    experiment: Experiment,
    points: Points,
}

/// The job that this process runs in, where it is one of a batch system.
pub(super) fn job() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let task = variable("SLURM_ARRAY_JOB_ID")
        .zip(variable("SLURM_ARRAY_TASK_ID"))
        .map(|(job, task)| format!("{job}_{task}"));
    task.or_else(|| variable("SLURM_JOB_ID")).map(|job| format!("slurm {job}"))
}

/// A config without its sweep, with values laid over it.
fn document_of(document: &Document, keys: &[(String, Value)]) -> Document {
    let mut document = document.clone();
    document.table.remove("sweep");
    document.lay(keys);
    document
}

impl Board {
    /// A sweep of a config, not written yet. What its points would make of the config is checked:
    /// each value of a choice, both ends of each range.
    pub fn plan(path: &Path, experiment: &Experiment, place: &Path) -> Result<Self> {
        let text = experiment.to_toml()?;
        let document = Document::parse(&text, place)?;
        let Some(section) = &experiment.sweep else {
            return Err(Error::input(format!(
                "{}: has no [sweep]; expected what to vary (docs/sweeps.md)",
                place.display()
            )));
        };
        let points = Points::new(section, experiment.seed);
        let board =
            Self { path: path.to_path_buf(), document, experiment: experiment.clone(), points };
        let name = &experiment.name;
        for point in section.space.probes() {
            let document = document_of(&board.document, &section.space.keys(&point));
            if let Err(error) = Experiment::check(&document, name) {
                return Err(error.map(|message| {
                    let said = message.replace("--set ", "");
                    format!("{}: sweep.space: a point of it is no config: {said}", place.display())
                }));
            }
        }
        Ok(board)
    }

    /// A sweep that was begun.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join(SWEEP);
        if !file.is_file() {
            let what =
                if path.exists() { format!("holds no {SWEEP}") } else { "does not exist".into() };
            return Err(Error::input(format!(
                "{}: {what}; expected a folder that `lumisift sweep` wrote",
                path.display()
            )));
        }
        Self::plan(path, &Experiment::load(&file, &[])?, &file)
    }

    /// Begins the sweep, or goes on with it where it was begun with the same config (but for how
    /// many trials there are and what ends it).
    pub fn begin(&self, resume: bool) -> Result<()> {
        let (shown, file) = (self.path.display(), self.path.join(SWEEP));
        let found = match fs::read_to_string(&file) {
            Ok(text) => Some(text),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                None
            }
            Err(error) => return Err(Error::reading(&file, error)),
        };
        match found {
            Some(_) if !resume => {
                return Err(Error::input(format!(
                    "--out {shown}: holds a sweep; --resume goes on with it or joins in, another folder begins anew"
                )));
            }
            Some(text) => {
                let mut growing = vec!["sweep.trials", "sweep.max_failures", "device"];
                // What no trial has been held to yet may be another.
                if self.states()?.iter().flatten().all(|state| state.objective.is_none()) {
                    growing.extend(["sweep.objective", "sweep.goal"]);
                }
                let mut differ = differences(&text, &self.experiment.to_toml()?);
                differ.retain(|key| {
                    !growing.iter().any(|grows| key.split(&[' ', ':'][..]).next() == Some(grows))
                });
                if !differ.is_empty() {
                    return Err(Error::input(format!(
                        "--resume: {shown} was begun with another config: {}",
                        differ.join(", ")
                    )));
                }
            }
            None => Folder::check_free(&self.path, false)?,
        }
        fs::create_dir_all(self.path.join(TRIALS))
            .map_err(|error| Error::writing(&self.path, error))?;
        write_atomically(&file, self.experiment.to_toml()?.as_bytes())
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The config.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// How the search goes.
    pub fn section(&self) -> &Sweep {
        self.points.section()
    }

    /// What is varied.
    pub fn space(&self) -> &Space {
        self.points.space()
    }

    /// The points of the search.
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// Trials, repeats counted.
    pub fn len(&self) -> usize {
        self.points.len() * self.section().repeats as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A trial by its place among all of them, from 0.
    pub fn trial(&self, place: usize) -> Trial {
        let repeats = self.section().repeats as usize;
        Trial { point: place / repeats, repeat: place % repeats }
    }

    /// The name of a trial's folder: its number from 1, of at least four digits, and that of the
    /// repeat where there are several.
    pub fn name(&self, trial: Trial) -> String {
        let number = format!("{:04}", trial.point + 1);
        if self.section().repeats > 1 { format!("{number}-{}", trial.repeat + 1) } else { number }
    }

    /// The folder of a trial.
    pub fn folder(&self, trial: Trial) -> PathBuf {
        self.path.join(TRIALS).join(self.name(trial))
    }

    /// What is known of a trial; nothing where nobody has begun it.
    pub fn state(&self, trial: Trial) -> Result<Option<State>> {
        let file = self.folder(trial).join(STATE);
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| Error::failed(format!("{}: {error}", file.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::reading(&file, error)),
        }
    }

    /// Epochs of all its models that a trial has behind it.
    pub fn epochs(&self, trial: Trial) -> usize {
        fs::read_to_string(self.folder(trial).join(names::HISTORY))
            .map_or(0, |history| history.lines().count().saturating_sub(1))
    }

    /// What is known of every trial. Only folders that are there are looked into.
    pub fn states(&self) -> Result<Vec<Option<State>>> {
        let begun: BTreeSet<String> = match fs::read_dir(self.path.join(TRIALS)) {
            Ok(entries) => entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect(),
            Err(_) => BTreeSet::new(),
        };
        let state = |place: usize| {
            let trial = self.trial(place);
            if begun.contains(&self.name(trial)) { self.state(trial) } else { Ok(None) }
        };
        (0..self.len()).map(state).collect()
    }

    /// The point of a trial as it was written when it was first claimed.
    pub fn written_point(&self, trial: Trial) -> Result<Option<Point>> {
        let file = self.folder(trial).join(TRIAL);
        match fs::read_to_string(&file) {
            Ok(text) => {
                let written: Written = toml::from_str(&text).map_err(|error| {
                    Error::failed(format!("{}: {}", file.display(), error.message()))
                })?;
                Ok(Some(written.parameters.into_iter().collect()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::reading(&file, error)),
        }
    }

    /// The point of a trial; nothing where points before it are still to be done.
    fn point(&self, trial: Trial) -> Result<Option<Point>> {
        if let Some(point) = self.written_point(trial)? {
            return Ok(Some(point));
        }
        let mut tried: Vec<Tried> = vec![];
        for point in 0..self.points.needs(trial.point) {
            let mut figures = vec![];
            for repeat in 0..self.section().repeats as usize {
                match self.state(Trial { point, repeat })? {
                    Some(state) if state.state.is_settled() => figures.extend(state.objective),
                    _ => return Ok(None),
                }
            }
            let Some(written) = self.written_point(Trial { point, repeat: 0 })? else {
                return Ok(None);
            };
            let mean =
                (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64);
            tried.push((written, mean));
        }
        Ok(Some(self.points.point(trial.point, &tried)))
    }

    /// The checked config of a trial at a point. The first training of a point has the config's
    /// seed, the next ones those after it.
    pub fn experiment_of(&self, trial: Trial, point: &Point) -> Result<Experiment> {
        let mut keys = self.space().keys(point);
        let seed = keys
            .iter()
            .position(|(key, _)| key == "seed")
            .map(|at| keys.remove(at).1)
            .and_then(|seed| seed.as_integer());
        let seed =
            seed.map_or(self.experiment.seed, |seed| seed as u64).wrapping_add(trial.repeat as u64);
        keys.push(("seed".into(), Value::Integer(seed as i64)));
        Experiment::check(&document_of(&self.document, &keys), &self.experiment.name)
    }

    /// Asks for a trial. Who gets it alone works on it.
    pub fn ask(&self, trial: Trial, seen: &mut Seen) -> Result<Asked> {
        let path = self.folder(trial);
        if let Some(state) = self.state(trial)?.filter(|state| state.state.is_settled()) {
            return Ok(Asked::Settled(state.state));
        }
        let Some(point) = self.point(trial)? else { return Ok(Asked::Later) };
        match fs::create_dir(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::writing(&path, error));
            }
            _ => {}
        }
        let Some(lock) = Lock::try_take(&path, seen)? else { return Ok(Asked::Later) };
        // Another may have settled it before the lock was ours.
        let mut state = self.state(trial)?.unwrap_or_default();
        if state.state.is_settled() {
            return Ok(Asked::Settled(state.state));
        }
        // Or begun it at all, with the same point.
        let point = self.written_point(trial)?.unwrap_or(point);
        let experiment = self.experiment_of(trial, &point);
        let epochs = self.epochs(trial);
        state.claims = if epochs > state.epochs || state.state == Phase::Planned {
            1
        } else {
            state.claims + 1
        };
        (state.state, state.epochs, state.job) = (Phase::Claimed, epochs, job());
        let seed = experiment.as_ref().map_or(self.experiment.seed, |experiment| experiment.seed);
        let set = self.space().keys(&point);
        let written = Written {
            trial: trial.point + 1,
            repeat: trial.repeat + 1,
            seed,
            parameters: point.into_iter().collect(),
            set: set.into_iter().collect(),
        };
        let text = toml::to_string(&written)
            .map_err(|error| Error::failed(format!("{TRIAL}: {error}")))?;
        write_atomically(&path.join(TRIAL), text.as_bytes())?;
        write_json(&path.join(STATE), &state)?;
        let claim = |experiment| Claim {
            trial,
            path: path.clone(),
            experiment,
            state: state.clone(),
            _lock: lock,
        };
        match experiment {
            Ok(experiment) if state.claims <= DEATHS => {
                Ok(Asked::Mine(Box::new(claim(experiment))))
            }
            // Not a config, though each of its values is: nothing to train.
            Err(error) => claim(self.experiment.clone())
                .settle(Phase::Failed, None, Some(error.to_string()))
                .map(|()| Asked::Settled(Phase::Failed)),
            Ok(experiment) => {
                let message = format!(
                    "{DEATHS} workers died over it without an epoch more: is there enough memory?"
                );
                claim(experiment)
                    .settle(Phase::Failed, None, Some(message))
                    .map(|()| Asked::Settled(Phase::Failed))
            }
        }
    }

    /// The curves of all trials but one, and which of them are done.
    pub fn curves(&self, but: Trial) -> Vec<(Curve, bool)> {
        let of = |place: usize| {
            let trial = self.trial(place);
            let history = fs::read_to_string(self.folder(trial).join(names::HISTORY))
                .ok()
                .filter(|_| trial != but)?;
            let done =
                self.state(trial).ok().flatten().is_some_and(|state| state.state == Phase::Done);
            Some((read_curve(&history), done))
        };
        (0..self.len()).filter_map(of).collect()
    }
}

impl Claim {
    fn write(&self) -> Result<()> {
        write_json(&self.path.join(STATE), &self.state)
    }

    /// Says that it is being trained.
    pub fn run(&mut self) -> Result<()> {
        self.state.state = Phase::Running;
        self.write()
    }

    /// Notes figures of its report.
    pub fn note(&mut self, figures: BTreeMap<String, f64>) {
        self.state.figures = figures;
    }

    /// Ends it for good, and gives it back.
    pub fn settle(
        mut self,
        phase: Phase,
        objective: Option<f64>,
        message: Option<String>,
    ) -> Result<()> {
        if let Ok(history) = Folder::open(&self.path).and_then(|folder| folder.read_history()) {
            (self.state.epochs, self.state.seconds) =
                (history.len(), Some(history.iter().map(|line| line.epoch.seconds).sum()));
        }
        (self.state.state, self.state.objective, self.state.message, self.state.claims) =
            (phase, objective, message, 0);
        self.write()
    }

    /// Lays it aside for another, or for later.
    pub fn lay_aside(mut self) -> Result<()> {
        (self.state.state, self.state.job) = (Phase::Planned, None);
        self.write()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    fn board(path: &Path, trials: usize, more: &str) -> Board {
        let text = format!(
            "data.train = [\"a.csv\"]\n[split]\nby = \"block\"\n[sweep]\nobjective = \"x\"\ngoal = \"min\"\ntrials = {trials}\n{more}\n\
             [sweep.space]\nmodel.latent = {{ int = [1, 9] }}"
        );
        let experiment =
            Experiment::check(&Document::parse(&text, "a.toml".as_ref()).unwrap(), "a").unwrap();
        Board::plan(path, &experiment, "a.toml".as_ref()).unwrap()
    }

    #[test]
    fn two_hundred_workers_have_each_trial_once() {
        const TRIALS: usize = 300;
        let folder = tempfile::tempdir().unwrap();
        let board = board(&folder.path().join("s"), TRIALS, "");
        board.begin(false).unwrap();
        let had: Vec<AtomicUsize> = (0..TRIALS).map(|_| AtomicUsize::new(0)).collect();
        thread::scope(|scope| {
            for _ in 0..200 {
                scope.spawn(|| {
                    let mut seen = Seen::default();
                    let mut open: Vec<usize> = (0..TRIALS).collect();
                    while !open.is_empty() {
                        open.retain(|&place| {
                            match board.ask(board.trial(place), &mut seen).unwrap() {
                                Asked::Mine(claim) => {
                                    had[place].fetch_add(1, Ordering::Relaxed);
                                    claim.settle(Phase::Done, Some(place as f64), None).unwrap();
                                    false
                                }
                                Asked::Settled(_) => false,
                                Asked::Later => true,
                            }
                        });
                    }
                });
            }
        });
        assert!(had.iter().all(|had| had.load(Ordering::Relaxed) == 1));
        let states = board.states().unwrap();
        assert!(
            states
                .iter()
                .enumerate()
                .all(|(place, state)| state.as_ref().unwrap().objective == Some(place as f64))
        );
    }

    #[test]
    fn a_trial_over_which_workers_die_again_and_again_fails() {
        let folder = tempfile::tempdir().unwrap();
        let board = board(&folder.path().join("s"), 1, "");
        board.begin(false).unwrap();
        let trial = board.trial(0);
        for _ in 0..DEATHS {
            // Dropped without a word, as a worker that dies drops it.
            assert!(matches!(board.ask(trial, &mut Seen::default()).unwrap(), Asked::Mine(_)));
        }
        assert!(matches!(
            board.ask(trial, &mut Seen::default()).unwrap(),
            Asked::Settled(Phase::Failed)
        ));
        assert!(board.state(trial).unwrap().unwrap().message.unwrap().contains("8 workers died"));
    }

    #[test]
    fn one_that_was_laid_aside_or_has_come_further_may_be_claimed_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let board = board(&folder.path().join("s"), 1, "");
        board.begin(false).unwrap();
        let trial = board.trial(0);
        for round in 0..3 * DEATHS {
            let Asked::Mine(claim) = board.ask(trial, &mut Seen::default()).unwrap() else {
                panic!("not to be had")
            };
            if round % 2 == 0 {
                claim.lay_aside().unwrap();
            } else {
                let epochs: String = (0..round).map(|_| "1,all,1,1,1,1\n").collect();
                fs::write(board.folder(trial).join(names::HISTORY), format!("header\n{epochs}"))
                    .unwrap();
            }
        }
    }

    #[test]
    fn the_estimator_waits_for_the_rounds_before() {
        let folder = tempfile::tempdir().unwrap();
        let board = board(&folder.path().join("s"), 20, "strategy = \"tpe\"\nround = 5");
        board.begin(false).unwrap();
        let mut seen = Seen::default();
        assert!(matches!(board.ask(board.trial(12), &mut seen).unwrap(), Asked::Later));
        for place in 0..10 {
            let Asked::Mine(claim) = board.ask(board.trial(place), &mut seen).unwrap() else {
                panic!("not to be had")
            };
            claim.settle(Phase::Done, Some(1.0), None).unwrap();
        }
        assert!(matches!(board.ask(board.trial(12), &mut seen).unwrap(), Asked::Mine(_)));
        assert!(matches!(board.ask(board.trial(15), &mut seen).unwrap(), Asked::Later));
    }
}
