//! What came out of a sweep: one table of all trials, the best of them, what mattered.

use super::{
    state::State,
    strategy::{number, place_among},
    trials::{Board, Trial},
};
use crate::{
    config::sweep::{Goal, Parameter, Point},
    error::{Error, Result},
    files::tables,
    report::figures::Report,
};
use arrow_array::{ArrayRef, Float64Array, StringArray, UInt32Array};
use optimizer::{
    Direction, FanovaConfig, Study,
    param::ParamValue,
    parameter::ParamId,
    sampler::{CompletedTrial, random::RandomSampler},
    storage::MemoryStorage,
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::PathBuf,
    sync::Arc,
};
use toml::Value;

/// All trials, in the sweep's folder.
pub const TABLE: &str = "trials.parquet";
/// The best trial's folder, in the sweep's folder.
pub const BEST: &str = "best";

/// A trial with all that is known of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which one.
    pub trial: Trial,
    /// Its folder's name.
    pub name: String,
    /// Its point, where it can be told already.
    pub point: Option<Point>,
    /// How far it is.
    pub state: State,
}

/// A point with what its trainings came to.
#[derive(Clone, Debug, Serialize)]
pub struct Ranked {
    /// Its number, from 1.
    pub trial: usize,
    /// Its values.
    pub parameters: Point,
    /// Mean of the figure over its trainings.
    pub mean: f64,
    /// Standard deviation (n − 1) over its trainings; nothing for a single one.
    pub spread: Option<f64>,
    /// Trainings that are done.
    pub trainings: usize,
    /// The folder of the best of them.
    pub folder: PathBuf,
}

/// A few figures of a report that are worth a column.
pub fn figures(report: &Report) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    let mut set =
        |name: &str, value: Option<f64>| value.map(|value| figures.insert(name.to_owned(), value));
    let channels = report.channels.len() as f64;
    let mean = |get: &dyn Fn(usize) -> Option<f64>| {
        (0..report.channels.len()).map(get).sum::<Option<f64>>().map(|sum| sum / channels)
    };
    set("train_loss", mean(&|i| report.channels[i].training.train_loss));
    set("valid_loss", mean(&|i| report.channels[i].training.valid_loss));
    set("best_valid_loss", mean(&|i| report.channels[i].training.best_valid_loss));
    set("parameters", Some(report.channels.iter().map(|channel| channel.parameters as f64).sum()));
    set("false_alarm_rate", report.false_alarms.as_ref().map(|alarms| alarms.rate));
    set("flagged", Some(report.runs.iter().map(|run| run.flags() as f64).sum()));
    for auc in report.auc.iter().filter(|auc| auc.channel == report.main()) {
        set(&format!("auc.{}", auc.labels), auc.auc);
    }
    figures
}

/// Every trial, in order.
pub fn rows(board: &Board) -> Result<Vec<Row>> {
    let points = board.points();
    let states = board.states()?;
    let row = |(place, state): (usize, Option<State>)| {
        let trial = board.trial(place);
        let point = match &state {
            Some(_) => board.written_point(trial)?,
            None if points.needs(trial.point) == 0 => Some(points.point(trial.point, &[])),
            None => None,
        };
        Ok(Row { trial, name: board.name(trial), point, state: state.unwrap_or_default() })
    };
    states.into_iter().enumerate().map(row).collect()
}

/// Points of which all trainings are settled and some done, the best first.
pub fn ranked(board: &Board, rows: &[Row]) -> Vec<Ranked> {
    let goal = board.section().goal;
    let better =
        |a: f64, b: f64| if goal == Some(Goal::Max) { b.total_cmp(&a) } else { a.total_cmp(&b) };
    let mut ranked: Vec<Ranked> = rows
        .chunks(board.section().repeats as usize)
        .filter(|rows| rows.iter().all(|row| row.state.state.is_settled()))
        .filter_map(|rows| {
            let mut done: Vec<(f64, &Row)> =
                rows.iter().filter_map(|row| Some((row.state.objective?, row))).collect();
            done.sort_by(|a, b| better(a.0, b.0).then(a.1.trial.cmp(&b.1.trial)));
            let (_, best) = done.first()?;
            let n = done.len() as f64;
            let mean = done.iter().map(|(figure, _)| figure).sum::<f64>() / n;
            let squares = done.iter().map(|(figure, _)| (figure - mean).powi(2)).sum::<f64>();
            Some(Ranked {
                trial: best.trial.point + 1,
                parameters: best.point.clone().unwrap_or_default(),
                mean,
                spread: (done.len() > 1).then(|| (squares / (n - 1.0)).sqrt()),
                trainings: done.len(),
                folder: board.folder(best.trial),
            })
        })
        .collect();
    ranked.sort_by(|a, b| better(a.mean, b.mean).then(a.trial.cmp(&b.trial)));
    ranked
}

/// The share of the figure's variance that each parameter explains by itself (functional ANOVA over
/// a random forest: Hutter, Hoos, Leyton-Brown 2014), the largest first; empty for fewer than four
/// points.
pub fn importance(board: &Board, ranked: &[Ranked]) -> Vec<(String, f64)> {
    if ranked.len() < 4 {
        return vec![];
    }
    let varied: Vec<(&Parameter, ParamId)> =
        board.space().parameters.iter().map(|parameter| (parameter, ParamId::new())).collect();
    let trials = ranked.iter().map(|point| {
        let values: HashMap<_, _> = varied
            .iter()
            .map(|(parameter, id)| {
                (
                    *id,
                    ParamValue::Float(place_among(
                        &parameter.domain,
                        point.parameters.get(&parameter.name),
                    )),
                )
            })
            .collect();
        let names = varied.iter().map(|(parameter, id)| (*id, parameter.name.clone())).collect();
        CompletedTrial::new(point.trial as u64, values, HashMap::new(), names, point.mean)
    });
    let study: Study<f64> = Study::with_sampler_and_storage(
        Direction::Minimize,
        RandomSampler::with_seed(0),
        MemoryStorage::with_trials(trials.collect()),
    );
    let mut effects = study
        .fanova_with_config(&FanovaConfig { seed: Some(1), ..FanovaConfig::default() })
        .map_or(vec![], |result| result.main_effects);
    effects.retain(|(_, share)| share.is_finite());
    effects.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    effects
}

/// A value for a column of texts.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Table(table) => table
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect::<Vec<_>>()
            .join(", "),
        value => value.to_string(),
    }
}

/// Writes `trials.parquet` (a row a trial) and points `best` to the best one. The same trials give
/// the same bytes but for times.
pub fn write(board: &Board, rows: &[Row], ranked: &[Ranked]) -> Result<()> {
    let texts = |get: &dyn Fn(&Row) -> Option<String>| {
        Arc::new(rows.iter().map(get).collect::<StringArray>()) as ArrayRef
    };
    let numbers = |get: &dyn Fn(&Row) -> Option<f64>| {
        Arc::new(rows.iter().map(get).collect::<Float64Array>()) as ArrayRef
    };
    let counts = |get: &dyn Fn(&Row) -> usize| {
        Arc::new(rows.iter().map(|row| Some(get(row) as u32)).collect::<UInt32Array>()) as ArrayRef
    };
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("trial".into(), counts(&|row| row.trial.point + 1)),
        ("repeat".into(), counts(&|row| row.trial.repeat + 1)),
        ("folder".into(), texts(&|row| Some(row.name.clone()))),
        ("state".into(), texts(&|row| Some(row.state.state.name().to_owned()))),
        ("objective".into(), numbers(&|row| row.state.objective)),
    ];
    for parameter in &board.space().parameters {
        let value =
            |row: &Row| row.point.as_ref().and_then(|point| point.get(&parameter.name)).cloned();
        let known: Vec<Value> = rows.iter().filter_map(value).collect();
        let column = if !known.is_empty() && known.iter().all(|value| number(value).is_some()) {
            numbers(&|row| value(row).as_ref().and_then(number))
        } else {
            texts(&|row| value(row).as_ref().map(shown))
        };
        columns.push((parameter.name.clone(), column));
    }
    let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.state.figures.keys()).collect();
    for name in names {
        columns
            .push((format!("figure.{name}"), numbers(&|row| row.state.figures.get(name).copied())));
    }
    columns.push(("epochs".into(), counts(&|row| row.state.epochs)));
    columns.push(("message".into(), texts(&|row| row.state.message.clone())));
    columns.push(("seconds".into(), numbers(&|row| row.state.seconds)));
    tables::write(&board.path().join(TABLE), &tables::of_columns(columns)?)?;
    match ranked.first() {
        Some(best) => point_to(board, best),
        None => Ok(()),
    }
}

/// A link that is made beside its place and renamed.
fn point_to(board: &Board, best: &Ranked) -> Result<()> {
    let (link, beside) = (
        board.path().join(BEST),
        board.path().join(format!(".{BEST}.{}.part", std::process::id())),
    );
    let target = best.folder.strip_prefix(board.path()).unwrap_or(&best.folder);
    if fs::read_link(&link).is_ok_and(|now| now == target) {
        return Ok(());
    }
    let _ = fs::remove_file(&beside);
    #[cfg(unix)]
    let made = std::os::unix::fs::symlink(target, &beside);
    #[cfg(not(unix))]
    let made = fs::write(&beside, target.to_string_lossy().as_bytes());
    made.and_then(|()| fs::rename(&beside, &link)).map_err(|error| Error::writing(&link, error))
}
