//! Shows the progress and the results of a sweep.

use super::{command, send::queued};
use crate::{
    cli::{outputs::Outputs, ui::Ui},
    error::Result,
    files::folder::names,
    report::terminal,
    sweep::{
        engine::{self, TaskState},
        join, page,
        results::{self, BEST, Ranked, Row, TABLE},
        state::Phase,
        trials::Board,
    },
    text::count,
};
use indicatif::{HumanDuration, ProgressBar};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

/// Number of trials in the leaderboard.
const SHOWN: usize = 10;

/// Number of trials in each phase.
fn phases(rows: &[Row]) -> BTreeMap<Phase, usize> {
    let mut counts = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(row.state.state).or_insert(0) += 1);
    counts
}

/// The same by name, for JSON.
fn by_name(counts: &BTreeMap<Phase, usize>) -> BTreeMap<&'static str, usize> {
    counts.iter().map(|(phase, count)| (phase.name(), *count)).collect()
}

fn in_words(counts: &BTreeMap<Phase, usize>) -> String {
    counts
        .iter()
        .rev()
        .map(|(phase, count)| format!("{count} {}", phase.name()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Formats a figure with significant digits only.
fn number(figure: f64) -> String {
    if figure != 0.0 && !(1e-3..1e6).contains(&figure.abs()) {
        format!("{figure:.4e}")
    } else {
        format!("{figure:.6}")
    }
}

/// The best points as a table.
fn leaderboard(board: &Board, ranked: &[Ranked], width: u16) -> String {
    let names: Vec<&str> =
        board.space().parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let objective = board.section().objective.as_str();
    let mut table = terminal::table(&[&["trial", objective], names.as_slice()].concat(), width);
    for point in ranked.iter().take(SHOWN) {
        let spread =
            point.spread.map_or_else(String::new, |spread| format!(" ± {}", number(spread)));
        let value =
            |name: &&str| point.parameters.get(*name).map_or_else(|| "–".into(), results::shown);
        let first = [point.trial.to_string(), format!("{}{spread}", number(point.mean))];
        table.add_row(first.into_iter().chain(names.iter().map(value)));
    }
    table.to_string()
}

/// Estimated remaining time for the current workers, from the times of trials so far.
fn estimate(rows: &[Row]) -> Option<Duration> {
    let took: Vec<f64> = rows
        .iter()
        .filter(|row| row.state.state == Phase::Done)
        .filter_map(|row| row.state.seconds)
        .collect();
    let left = rows.iter().filter(|row| !row.state.state.is_settled()).count();
    let working = rows
        .iter()
        .filter(|row| matches!(row.state.state, Phase::Running | Phase::Claimed))
        .count();
    let mean = took.iter().sum::<f64>() / took.len() as f64;
    (working > 0 && !took.is_empty())
        .then(|| Duration::try_from_secs_f64(mean * left as f64 / working as f64).ok())
        .flatten()
}

/// Prints the progress of trials.
pub struct Progress<'a> {
    bar: ProgressBar,
    ui: &'a Ui,
    /// Folders of settled trials.
    known: BTreeSet<String>,
    /// Duration of the last update.
    look: Duration,
}

impl<'a> Progress<'a> {
    /// Trials that are already settled are not printed.
    pub fn new(board: &Board, ui: &'a Ui) -> Result<Self> {
        let bar =
            ui.bar(board.len() as u64, "trials   {wide_bar:.green/dim} {pos}/{len} {msg} {eta}");
        let mut progress = Self { bar, ui, known: BTreeSet::new(), look: Duration::ZERO };
        let rows = results::rows(board)?;
        progress.known = rows
            .iter()
            .filter(|row| row.state.state.is_settled())
            .map(|row| row.name.clone())
            .collect();
        progress.bar.set_position(progress.known.len() as u64);
        progress.bar.reset_eta();
        Ok(progress)
    }

    /// Number of settled trials.
    pub fn settled(&self) -> usize {
        self.known.len()
    }

    /// Time to the next update, much longer than an update takes.
    pub fn interval(&self) -> Duration {
        (20 * self.look).max(Duration::from_millis(100))
    }

    /// Reads all trials and prints changes.
    pub fn look(&mut self, board: &Board) -> Result<()> {
        let clock = Instant::now();
        let rows = results::rows(board)?;
        let ranked = results::ranked(board, &rows);
        let best = ranked.first().map_or_else(String::new, |best| {
            format!("best {} (trial {})", number(best.mean), best.trial)
        });
        for row in rows.iter().filter(|row| row.state.state.is_settled()) {
            if self.known.insert(row.name.clone()) && self.bar.is_hidden() {
                let figure = row
                    .state
                    .objective
                    .map_or_else(String::new, |figure| format!(": {}", number(figure)));
                let why =
                    row.state.message.as_ref().map_or_else(String::new, |why| format!(": {why}"));
                let after = if row.state.state == Phase::Pruned {
                    format!(" after {}", count(row.state.epochs, "epoch"))
                } else {
                    String::new()
                };
                self.ui.say(&format!(
                    "trial {} {}{after}{figure}{why}; {best}",
                    row.name,
                    row.state.state.name()
                ));
            }
        }
        let counts = phases(&rows);
        let running =
            counts.get(&Phase::Running).unwrap_or(&0) + counts.get(&Phase::Claimed).unwrap_or(&0);
        let failed = counts
            .get(&Phase::Failed)
            .map_or_else(String::new, |failed| format!(", {failed} failed"));
        self.bar.set_message(format!("{running} running{failed}, {best}"));
        self.bar.set_position(self.known.len() as u64);
        self.look = clock.elapsed();
        Ok(())
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Groups tasks by their reason in the batch system.
fn by_reason(tasks: Vec<&TaskState>) -> BTreeMap<String, Vec<&TaskState>> {
    let mut reasons: BTreeMap<String, Vec<&TaskState>> = BTreeMap::new();
    tasks.into_iter().for_each(|task| reasons.entry(task.why.clone()).or_default().push(task));
    reasons
}

/// The first of some tasks.
fn first_of(tasks: &[&TaskState]) -> String {
    format!("{}{}", tasks[0].id, if tasks.len() > 1 { ", …" } else { "" })
}

/// `sweep status`.
pub fn status(dir: &Path, watch: bool, ui: &Ui) -> Result<()> {
    let board = Board::open(dir)?;
    if watch {
        let mut progress = Progress::new(&board, ui)?;
        while progress.settled() < board.len() {
            sleep(progress.interval().max(Duration::from_millis(500)));
            progress.look(&board)?;
        }
    }
    // The queue is read first: a task that ends meanwhile then has a result in its folder.
    let queued = queued(dir);
    let rows = results::rows(&board)?;
    let ranked = results::ranked(&board, &rows);
    let counts = phases(&rows);
    if ui.json {
        let queued = queued?;
        let failed: Vec<_> = rows
            .iter()
            .filter(|row| row.state.state == Phase::Failed)
            .map(|row| json!({"trial": row.name, "message": row.state.message}))
            .collect();
        return ui.print_json(&json!({"trials": rows.len(), "states": by_name(&counts), "best": ranked.first(), "failed": failed, "queued": queued}));
    }
    ui.print(&format!("{}: {}", dir.display(), in_words(&counts)))?;
    // If the queue does not answer, the folders are shown nevertheless.
    let queued = queued.unwrap_or_else(|error| {
        ui.warn(&error.to_string());
        BTreeMap::new()
    });
    let is_open = |number: &usize| {
        number
            .checked_sub(1)
            .and_then(|at| rows.get(at))
            .is_some_and(|row| !row.state.state.is_settled())
    };
    let open: Vec<&TaskState> =
        queued.iter().filter(|(number, _)| is_open(number)).map(|(_, task)| task).collect();
    let (left, waiting): (Vec<&TaskState>, Vec<&TaskState>) =
        open.into_iter().partition(|task| task.state == engine::State::Ended);
    for (why, tasks) in by_reason(waiting) {
        ui.print(&format!("  {} in the queue: {why} ({})", tasks.len(), first_of(&tasks)))?;
    }
    for (why, tasks) in by_reason(left) {
        let why = if why.is_empty() { "the batch system no longer knows why" } else { &why };
        ui.print(&format!(
            "  {} left the queue before the end: {why} ({}); --resume sends again",
            tasks.len(),
            first_of(&tasks)
        ))?;
    }
    for row in rows
        .iter()
        .filter(|row| matches!(row.state.state, Phase::Running | Phase::Claimed))
        .take(SHOWN)
    {
        let job = row.state.job.as_ref().map_or_else(String::new, |job| format!(" ({job})"));
        ui.print(&format!(
            "  trial {} {}{job}: {}",
            row.name,
            row.state.state.name(),
            count(board.epochs(row.trial), "epoch")
        ))?;
    }
    for row in rows.iter().filter(|row| row.state.state == Phase::Failed).take(SHOWN) {
        ui.print(&format!(
            "  trial {} failed: {}",
            row.name,
            row.state.message.as_deref().unwrap_or("no message")
        ))?;
    }
    if !ranked.is_empty() {
        ui.print(&leaderboard(&board, &ranked, ui.width()))?;
    }
    let settled = rows.iter().filter(|row| row.state.state.is_settled()).count();
    if let Some(left) = estimate(&rows).filter(|_| settled < rows.len()) {
        ui.print(&format!("about {} to go", HumanDuration(left)))?;
    }
    if settled < rows.len() {
        ui.next(&[command(&board)])
    } else {
        ui.next(&[format!("lumisift sweep collect {}", dir.display())])
    }
}

/// Writes and shows the results so far.
pub fn collect(board: &Board, open: bool, joined: Option<(&Path, bool)>, ui: &Ui) -> Result<()> {
    let outputs = joined.map(|(folder, force)| {
        let outputs = Outputs::new("sweep collect", force).folder("--join", folder, join::TABLES);
        outputs.reads_experiment(board.path(), board.experiment())
    });
    outputs.iter().try_for_each(Outputs::check)?;
    let rows = results::rows(board)?;
    let ranked = results::ranked(board, &rows);
    let importance = results::importance(board, &ranked);
    results::write(board, &rows, &ranked)?;
    page::write(board, &rows, &ranked, &importance)?;
    let mut tables = vec![];
    if let (Some((folder, _)), Some(outputs)) = (joined, &outputs) {
        outputs.open()?;
        tables = join::join(board, &rows, folder)?;
        outputs.close(ui);
    }
    if open {
        ui.open(&board.path().join(names::PAGE));
    }
    let counts = phases(&rows);
    let dir = board.path().display();
    if ui.json {
        return ui.print_json(&json!({"trials": rows.len(), "states": by_name(&counts), "ranked": ranked, "importance": importance}));
    }
    if !ranked.is_empty() {
        ui.print(&leaderboard(board, &ranked, ui.width()))?;
        if !importance.is_empty() {
            let shares: Vec<String> = importance
                .iter()
                .take(SHOWN)
                .map(|(name, share)| format!("{name} {:.0} %", 100.0 * share))
                .collect();
            ui.print(&format!("mattered   {}", shares.join(", ")))?;
        }
    }
    ui.print(&format!("trials     {}", in_words(&counts)))?;
    if let Some(row) = rows.iter().find(|row| row.state.state == Phase::Failed) {
        ui.warn(&format!(
            "trial {} failed: {}",
            row.name,
            row.state.message.as_deref().unwrap_or("no message")
        ));
    }
    ui.print(&format!("wrote      {dir}/{TABLE}, {dir}/{}", names::PAGE))?;
    tables.iter().try_for_each(|path| ui.print(&format!("wrote      {}", path.display())))?;
    match ranked.first() {
        Some(_) => ui.next(&[
            format!("lumisift report {dir}/{BEST}"),
            format!("lumisift score {dir}/{BEST} --data FILE… --out scores.parquet"),
        ]),
        None => Ok(()),
    }
}
