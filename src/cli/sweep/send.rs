//! The workers of a sweep on a batch system: one task per trial.

use crate::{
    cli::{batch, ui::Ui},
    config::sweep::Strategy,
    error::{Error, Result},
    sweep::{
        engine::{self, Engine, Job, State, Submission, TaskState},
        trials::{Board, SWEEP, TRIALS},
    },
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Fails if the batch system does not support the sweep.
pub fn check(board: &Board, engine: Engine) -> Result<()> {
    engine::check_installed(engine)?;
    if engine == Engine::HtCondor && board.section().strategy == Strategy::Tpe {
        return Err(Error::input(
            "--engine htcondor: the rounds of sweep.strategy = \"tpe\" wait for each other, which its queue does not support; use \"random\", Slurm, or local workers",
        ));
    }
    Ok(())
}

/// Trials that are not settled and in no queue, by number from 1, in rounds that wait for each
/// other.
fn rounds(
    board: &Board,
    queued: &BTreeMap<usize, TaskState>,
) -> Result<Vec<BTreeMap<usize, PathBuf>>> {
    let points = board.points();
    let mut rounds: BTreeMap<usize, BTreeMap<usize, PathBuf>> = BTreeMap::new();
    for (place, state) in board.states()?.into_iter().enumerate() {
        let is_queued = queued.get(&(place + 1)).is_some_and(|task| task.state != State::Ended);
        if !is_queued && state.is_none_or(|state| !state.state.is_settled()) {
            let trial = board.trial(place);
            rounds
                .entry(points.needs(trial.point))
                .or_default()
                .insert(place + 1, Path::new(TRIALS).join(board.name(trial)));
        }
    }
    Ok(rounds.into_values().collect())
}

fn job(board: &Board, tasks: BTreeMap<usize, PathBuf>, after: Vec<String>) -> Result<Job> {
    let folder =
        std::path::absolute(board.path()).map_err(|error| Error::writing(board.path(), error))?;
    let arguments = [
        "sweep",
        &format!("{{folder}}/{SWEEP}"),
        "--out",
        "{folder}",
        "--worker",
        "--trial",
        "{task}",
    ];
    Ok(Job {
        name: batch::job_name(&board.experiment().name),
        folder,
        arguments: arguments.map(str::to_owned).to_vec(),
        tasks,
        shared: vec![PathBuf::from(SWEEP)],
        after,
    })
}

/// Prints what would be sent.
pub fn describe(board: &Board, engine: Engine, ui: &Ui) -> Result<()> {
    let mut after = vec![];
    for tasks in rounds(board, &BTreeMap::new())? {
        ui.print(&engine::describe(
            engine,
            &board.experiment().batch,
            &job(board, tasks, after)?,
        )?)?;
        after = vec!["<previous round>".to_owned()];
    }
    Ok(())
}

/// The states of trials in batch systems, by number from 1.
pub fn queued(folder: &Path) -> Result<BTreeMap<usize, TaskState>> {
    let submissions = engine::submissions(
        &std::path::absolute(folder).map_err(|error| Error::writing(folder, error))?,
    )?;
    if submissions.is_empty() { Ok(BTreeMap::new()) } else { engine::states(&submissions) }
}

/// Sends every trial that is not settled and in no queue.
pub fn send(board: &Board, engine: Engine, ui: &Ui) -> Result<()> {
    let rounds = rounds(board, &queued(board.path())?)?;
    if rounds.is_empty() {
        ui.say("every trial is done or in the queue");
        return Ok(());
    }
    let mut sent: Vec<Submission> = vec![];
    // The first round does not wait.
    let mut after = vec![];
    for tasks in rounds {
        for folder in tasks.values().map(|folder| board.path().join(folder)) {
            fs::create_dir_all(&folder).map_err(|error| Error::writing(&folder, error))?;
        }
        let round = engine::submit(engine, &board.experiment().batch, &job(board, tasks, after)?)?;
        after = round.iter().map(|submission| submission.id().to_owned()).collect();
        sent.extend(round);
    }
    batch::tell(&sent, &board.experiment().batch, ui)?;
    ui.next(&[
        format!("lumisift sweep status {}", board.path().display()),
        format!("lumisift sweep collect {}", board.path().display()),
    ])
}
