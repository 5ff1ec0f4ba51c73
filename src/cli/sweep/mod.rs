//! `lumisift sweep`: searches the keys of a config.

mod local;
mod send;
mod show;
mod worker;

use super::{
    Sets,
    batch::{self, Engines},
    load,
    stop::Stop,
    ui::Ui,
};
use crate::text::count;
use crate::{
    error::{Error, Result},
    report::terminal,
    sweep::{
        results,
        trials::{Board, SWEEP},
    },
};
use clap::{Args, Subcommand};
use serde_json::json;
use std::{path::PathBuf, time::Instant};

/// Search the keys of a config for the best objective: plan, train, rank
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    then: Option<Then>,
    /// The experiment's TOML file, with a [sweep]
    #[arg(required = true)]
    config: Option<PathBuf>,
    /// The folder to write to
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// Continue the sweep in the folder, or join other workers on it
    #[arg(long)]
    resume: bool,
    /// Number of parallel trainings. Default: one per device, on the CPU one per core
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    #[command(flatten)]
    engines: Engines,
    /// Where to compute: auto, cpu, cuda[:N], wgpu[:N], or several with commas between them, which
    /// share the trials
    #[arg(long)]
    device: Option<String>,
    #[command(flatten)]
    sets: Sets,
    /// Run as a worker of the sweep in the folder
    #[arg(long, hide = true)]
    worker: bool,
    /// For a worker: train only this trial, by its number from 1
    #[arg(long, hide = true, requires = "worker", value_name = "N")]
    trial: Option<usize>,
    /// For a worker: stop when standard input ends
    #[arg(long, hide = true, requires = "worker")]
    until_input_ends: bool,
}

#[derive(Debug, Subcommand)]
enum Then {
    /// Show the progress of a sweep and its best trials
    Status {
        /// The sweep's folder
        dir: PathBuf,
        /// Repeat until all trials are done
        #[arg(long)]
        watch: bool,
    },
    /// Write trials.parquet and report.html and link best to the best trial, also of an unfinished
    /// sweep
    Collect {
        /// The sweep's folder
        dir: PathBuf,
        /// Open the page in the browser
        #[arg(long)]
        open: bool,
        /// Join the outputs of all trials in this folder: scores.parquet, regions.parquet and
        /// rejected.parquet with a column for each parameter
        #[arg(long, value_name = "DIR")]
        join: Option<PathBuf>,
        /// With --join: replace tables that another command wrote or that were changed since
        #[arg(long, requires = "join")]
        force: bool,
    },
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    match &arguments.then {
        Some(Then::Status { dir, watch }) => return show::status(dir, *watch, ui),
        Some(Then::Collect { dir, open, join, force }) => {
            return show::collect(
                &Board::open(dir)?,
                *open,
                join.as_deref().map(|join| (join, *force)),
                ui,
            );
        }
        None => {}
    }
    let (Some(config), Some(out)) = (&arguments.config, &arguments.out) else {
        return Err(Error::input("expected a config and --out DIR"));
    };
    if arguments.worker {
        let board = Board::open(out)?;
        let stop = Stop::new(deadline(&board))?;
        if arguments.until_input_ends {
            stop.when_input_ends();
        }
        let only = match arguments.trial {
            Some(0) => return Err(Error::input("--trial 0: trials are counted from 1")),
            only => only.map(|number| number - 1),
        };
        return worker::work(board, only, arguments.device.as_deref(), &stop, ui);
    }
    let experiment = load(config, &arguments.sets, arguments.device.as_deref())?;
    if arguments.workers == Some(0) {
        return Err(Error::input("--workers 0: expected 1 or more"));
    }
    let board = Board::plan(out, &experiment, config)?;
    let engine = arguments.engines.batch();
    if let Some(engine) = engine {
        batch::check_devices(engine, &experiment)?;
    }
    if arguments.engines.is_dry() {
        dry_run(&board, ui)?;
        return engine.map_or(Ok(()), |engine| send::describe(&board, engine, ui));
    }
    if let Some(engine) = engine {
        send::check(&board, engine)?;
    }
    board.begin(arguments.resume)?;
    let section = board.section();
    ui.say(&format!(
        "{}: {} of {}, {} {} by {} search",
        experiment.name,
        count(board.len(), "training"),
        count(board.points().len(), "point"),
        section.goal.map_or("", |goal| goal.name()),
        section.objective,
        section.strategy,
    ));
    // The plan can be viewed before training begins.
    let rows = results::rows(&board)?;
    results::write(&board, &rows, &results::ranked(&board, &rows))?;
    if let Some(engine) = engine {
        return send::send(&board, engine, ui);
    }
    let ended = local::run(&board, arguments.workers, ui);
    let shown = show::collect(&board, false, None, ui);
    ended.and(shown)
}

/// Prints the first trials of a plan.
fn dry_run(board: &Board, ui: &Ui) -> Result<()> {
    const MOST: usize = 10;
    let points = board.points();
    let rows = results::rows(board)?;
    if ui.json {
        let first: Vec<_> = rows
            .iter()
            .take(MOST)
            .map(|row| json!({"trial": row.name, "parameters": row.point}))
            .collect();
        return ui
            .print_json(&json!({"trials": board.len(), "points": points.len(), "first": first}));
    }
    let names: Vec<&str> =
        board.space().parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let mut table = terminal::table(&[&["trial"], names.as_slice()].concat(), ui.width());
    for row in rows.iter().take(MOST) {
        let value = |name: &&str| match &row.point {
            None => "learnt".to_owned(),
            Some(point) => point.get(*name).map_or_else(|| "–".into(), results::shown),
        };
        table.add_row(std::iter::once(row.name.clone()).chain(names.iter().map(value)));
    }
    ui.print(&table.to_string())?;
    let more =
        if rows.len() > MOST { format!("; these are the first {MOST}") } else { String::new() };
    ui.print(&format!(
        "{} of {}{more}; nothing was written",
        count(board.len(), "training"),
        count(points.len(), "point")
    ))
}

/// The time limit of a process that works on the sweep.
fn deadline(board: &Board) -> Option<Instant> {
    board.experiment().train.time_limit.and_then(|limit| Instant::now().checked_add(limit))
}

/// The command that continues a sweep.
fn command(board: &Board) -> String {
    format!("lumisift sweep {0}/{SWEEP} --out {0} --resume", board.path().display())
}
