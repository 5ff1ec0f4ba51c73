//! The data of a sweep's page as JSON.

use super::{
    pruner::{Curve, read_curve},
    results::{self, Ranked, Row},
    state::Phase,
    strategy::number,
    trials::{Board, SWEEP, TRIALS},
};
use crate::{
    config::sweep::{Domain, Parameter, rounded},
    error::Result,
    files::{atomic::write_atomically, folder::names},
    report::page,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs,
    path::PathBuf,
};

/// Maximum number of curves: those of the best trials, and of others evenly from the first to the
/// last.
const CURVES: usize = 60;
/// Number of curves of the best trials.
const BEST_CURVES: usize = 20;
/// Maximum number of epochs of a curve, besides its first and last.
const EPOCHS: usize = 200;

/// Writes `report.html` into the folder of a sweep. The same trials give the same bytes.
pub fn write(
    board: &Board,
    rows: &[Row],
    ranked: &[Ranked],
    importance: &[(String, f64)],
) -> Result<()> {
    let html = page::html(&board.experiment().name, &data(board, rows, ranked, importance))?;
    write_atomically(&board.path().join(names::PAGE), html.as_bytes())
}

/// The data of the page.
fn data(board: &Board, rows: &[Row], ranked: &[Ranked], importance: &[(String, f64)]) -> Value {
    let (experiment, section) = (board.experiment(), board.section());
    let parameters = &board.space().parameters;
    let mut states = BTreeMap::new();
    rows.iter().for_each(|row| *states.entry(row.state.state.name()).or_insert(0) += 1);
    let figures: BTreeSet<&String> = rows.iter().flat_map(|row| row.state.figures.keys()).collect();
    let of_trial: HashMap<usize, &Ranked> =
        ranked.iter().map(|point| (point.trial, point)).collect();
    let settled = rows
        .chunks(section.repeats as usize)
        .filter(|rows| rows.iter().all(|row| row.state.state.is_settled()));
    let trial = |rows: &[Row]| {
        let point = of_trial.get(&(rows[0].trial.point + 1));
        let first = rows
            .iter()
            .find(|row| point.is_some_and(|point| board.folder(row.trial) == point.folder))
            .unwrap_or(&rows[0]);
        let is_pruned = rows.iter().any(|row| row.state.state == Phase::Pruned);
        json!({
            "trial": first.trial.point + 1,
            "state": match point {
                Some(_) => Phase::Done.name(),
                None if is_pruned => Phase::Pruned.name(),
                None => Phase::Failed.name(),
            },
            "folder": format!("{TRIALS}/{}", first.name),
            "objective": point.map(|point| point.mean),
            "spread": point.and_then(|point| point.spread),
            "trainings": rows.iter().filter_map(|row| row.state.objective).collect::<Vec<_>>(),
            "values": parameters.iter().map(|parameter| place(parameter, first)).collect::<Vec<_>>(),
            "figures": figures.iter().map(|name| first.state.figures.get(*name)).collect::<Vec<_>>(),
            "epochs": rows.iter().map(|row| row.state.epochs).sum::<usize>(),
            "seconds": rows.iter().map(|row| row.state.seconds).sum::<Option<f64>>(),
            "message": rows.iter().find_map(|row| row.state.message.as_ref()),
        })
    };
    json!({
        "kind": "sweep",
        "name": experiment.name,
        "version": env!("CARGO_PKG_VERSION"),
        "objective": section.objective,
        "goal": section.goal,
        "strategy": section.strategy,
        "pruner": section.pruner,
        "repeats": section.repeats,
        "points": board.points().len(),
        "states": states,
        "best": ranked.first().map(|point| best(board, rows, point)),
        "parameters": parameters.iter().map(axis).collect::<Vec<_>>(),
        "figures": figures,
        "trials": settled.map(trial).collect::<Vec<_>>(),
        "ranking": ranked.iter().map(|point| point.trial).collect::<Vec<_>>(),
        "importance": importance,
        "curves": curves(board, rows, ranked),
    })
}

/// The axis of a parameter: the names of its choices, or its range.
fn axis(parameter: &Parameter) -> Value {
    let name = &parameter.name;
    match &parameter.domain {
        Domain::Choice(values) => {
            json!({"name": name, "choices": values.iter().map(results::shown).collect::<Vec<_>>()})
        }
        Domain::Together(tables) => {
            let choices =
                tables.iter().map(|table| results::shown(&toml::Value::Table(table.clone())));
            json!({"name": name, "choices": choices.collect::<Vec<_>>()})
        }
        Domain::Int { low, high, log, .. } => {
            json!({"name": name, "low": low, "high": high, "log": log, "whole": true})
        }
        Domain::Real { low, high, log, .. } => {
            json!({"name": name, "low": low, "high": high, "log": log})
        }
    }
}

/// The position of a trial on the axis of a parameter; for a choice its index from 0. `None` if the
/// parameter does not apply.
fn place(parameter: &Parameter, row: &Row) -> Option<f64> {
    let value = row.point.as_ref()?.get(&parameter.name)?;
    match &parameter.domain {
        Domain::Choice(_) | Domain::Together(_) => {
            parameter.domain.index(value).map(|at| at as f64)
        }
        Domain::Int { .. } | Domain::Real { .. } => number(value),
    }
}

/// The best point, with commands to use it and to train it again.
fn best(board: &Board, rows: &[Row], point: &Ranked) -> Value {
    let dir = board.path().display();
    let mut again = vec![format!("lumisift train {}", quoted(&format!("{dir}/{SWEEP}")))];
    if let Some(row) = rows.iter().find(|row| board.folder(row.trial) == point.folder) {
        let mut keys = board.space().keys(&point.parameters);
        // Each training of a point has its own seed.
        if row.trial.repeat > 0
            && let Ok(experiment) = board.experiment_of(row.trial, &point.parameters)
        {
            keys.retain(|(key, _)| key != "seed");
            keys.push(("seed".into(), toml::Value::Integer(experiment.seed as i64)));
        }
        again.extend(
            keys.iter().map(|(key, value)| format!("--set {}", quoted(&format!("{key}={value}")))),
        );
    }
    again.push(format!("--out {}", quoted(&format!("{dir}-again"))));
    json!({
        "trial": point.trial,
        "folder": point.folder.strip_prefix(board.path()).unwrap_or(&point.folder),
        "mean": point.mean,
        "spread": point.spread,
        "trainings": point.trainings,
        "parameters": point.parameters.iter().map(|(name, value)| [name.clone(), results::shown(value)]).collect::<Vec<_>>(),
        "again": again.join(" \\\n  "),
        "score": format!("lumisift score {} --data FILE… --out scores.parquet", quoted(&format!("{dir}/{}", results::BEST))),
    })
}

/// A word of a command line, quoted if a shell would interpret it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=,:+".contains(c);
    if word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The lowest validation loss up to each epoch for some of the trainings.
fn curves(board: &Board, rows: &[Row], ranked: &[Ranked]) -> Vec<Value> {
    let folders: HashSet<&PathBuf> =
        ranked.iter().take(BEST_CURVES).map(|point| &point.folder).collect();
    let begun = rows.iter().filter(|row| row.state.state != Phase::Planned || row.state.epochs > 0);
    let (best, others): (Vec<&Row>, Vec<&Row>) =
        begun.partition(|row| folders.contains(&board.folder(row.trial)));
    let step = others.len().div_ceil(CURVES - best.len()).max(1);
    let read = |row: &Row| {
        read_curve(
            &fs::read_to_string(board.folder(row.trial).join(names::HISTORY)).unwrap_or_default(),
        )
    };
    let curves: Vec<(&Row, Curve)> = best
        .into_iter()
        .chain(others.into_iter().step_by(step))
        .map(|row| (row, read(row)))
        .collect();
    // The same epochs for all curves, so that they can be compared.
    let every =
        curves.iter().map(|(_, curve)| curve.len()).max().unwrap_or(0).div_ceil(EPOCHS).max(1);
    let of = |(row, curve): (&Row, Curve)| {
        let curve = thinned(&curve, every);
        json!({
            "name": row.name,
            "state": row.state.state.name(),
            "best": ranked.first().is_some_and(|point| point.folder == board.folder(row.trial)),
            "epoch": curve.iter().map(|(epoch, _)| epoch).collect::<Vec<_>>(),
            "loss": curve.iter().map(|(_, loss)| loss).collect::<Vec<_>>(),
        })
    };
    curves.into_iter().filter(|(_, curve)| !curve.is_empty()).map(of).collect()
}

/// A curve with fewer epochs, including the first and the last, and fewer digits.
fn thinned(curve: &[(u64, f64)], every: usize) -> Curve {
    let last = curve.last().map(|(epoch, _)| *epoch);
    let is_kept = |(epoch, loss): &&(u64, f64)| {
        *loss < f64::MAX
            && (*epoch == 1 || Some(*epoch) == last || epoch.is_multiple_of(every as u64))
    };
    curve
        .iter()
        .filter(is_kept)
        .map(|(epoch, loss)| (*epoch, rounded(*loss, f64::MIN, f64::MAX)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Document, Experiment},
        sweep::state::State,
    };
    use std::path::Path;

    fn board(path: &Path, more: &str) -> Board {
        let text = format!(
            "name = \"<b>\"\nseed = 5\ndata.train = [\"a.csv\"]\n[split]\nby = \"block\"\n[sweep]\nobjective = \"x\"\ngoal = \"min\"\n{more}\n[sweep.space]\n\
             model.activation = {{ choice = [\"relu\", \"tanh\"] }}\nmodel.latent = {{ int = [1, 9], when = {{ \"model.activation\" = \"relu\" }} }}\n\
             train.optimizer.learning_rate = {{ log_uniform = [1e-4, 1e-1] }}\n\"<i>\" = {{ together = [{{ model.hidden = [8] }}, {{ model.hidden = [9, 4], loss.l2 = 0.1 }}] }}"
        );
        let experiment =
            Experiment::check(&Document::parse(&text, "a.toml".as_ref()).unwrap(), "a").unwrap();
        Board::plan(path, &experiment, "a.toml".as_ref()).unwrap()
    }

    fn rows(board: &Board, state: impl Fn(usize) -> (Phase, Option<f64>)) -> Vec<Row> {
        let row = |place| {
            let trial = board.trial(place);
            let (state, objective) = state(place);
            let figures = BTreeMap::from([
                ("flagged".to_owned(), 3.0),
                ("train_loss".to_owned(), f64::from(place as u32)),
            ]);
            let state = State {
                state,
                objective,
                epochs: 7,
                seconds: Some(1.5),
                figures,
                ..State::default()
            };
            Row {
                trial,
                name: board.name(trial),
                point: Some(board.points().point(trial.point, &[])),
                state,
            }
        };
        (0..board.len()).map(row).collect()
    }

    fn page(board: &Board, rows: &[Row]) -> Value {
        let ranked = results::ranked(board, rows);
        data(board, rows, &ranked, &results::importance(board, &ranked))
    }

    #[test]
    fn trials_stand_on_the_axes_of_their_parameters() {
        let folder = tempfile::tempdir().unwrap();
        let board = board(&folder.path().join("s"), "trials = 20");
        let rows = rows(&board, |place| match place {
            3 => (Phase::Pruned, None),
            4 => (Phase::Failed, None),
            5 => (Phase::Running, None),
            6 => (Phase::Planned, None),
            place => (Phase::Done, Some(((place as f64) - 10.0).abs())),
        });
        let data = page(&board, &rows);
        let trials = data["trials"].as_array().unwrap();
        assert_eq!(
            (trials.len(), &data["states"]["done"], &data["best"]["trial"]),
            (18, &16.into(), &11.into())
        );
        assert_eq!(
            (&trials[3]["state"], &trials[3]["objective"], &trials[4]["state"]),
            (&"pruned".into(), &Value::Null, &"failed".into())
        );
        assert_eq!(
            data["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["log"] == true)
                .filter(|log| *log)
                .count(),
            1
        );
        let axis = |name: &str| {
            data["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .position(|one| one["name"] == name)
                .unwrap()
        };
        let (activation, latent, rate) =
            (axis("model.activation"), axis("model.latent"), axis("train.optimizer.learning_rate"));
        for (trial, row) in
            trials.iter().zip(rows.iter().filter(|row| row.state.state.is_settled()))
        {
            let point = row.point.as_ref().unwrap();
            let is_relu = point["model.activation"].as_str() == Some("relu");
            assert_eq!(trial["values"][activation], if is_relu { 0.0 } else { 1.0 });
            assert_eq!(
                trial["values"][latent].as_f64(),
                point.get("model.latent").and_then(number)
            );
            assert_eq!(
                (trial["values"][latent].is_null(), trial["values"][rate].as_f64()),
                (!is_relu, number(&point["train.optimizer.learning_rate"]))
            );
        }
        assert!(trials.iter().any(|trial| trial["values"][latent].is_null()));
        assert_eq!(data["ranking"][0], 11);
    }

    #[test]
    fn before_anything_is_done_there_is_no_best() {
        let folder = tempfile::tempdir().unwrap();
        let board = board(&folder.path().join("s"), "trials = 20");
        let data = page(&board, &rows(&board, |_| (Phase::Planned, None)));
        assert_eq!(
            (&data["best"], &data["trials"], &data["curves"]),
            (&Value::Null, &json!([]), &json!([]))
        );
        assert_eq!((&data["points"], &data["states"]["planned"]), (&20.into(), &20.into()));
    }

    #[test]
    fn a_point_with_repeats_is_one_trial_and_the_best_training_has_its_seed() {
        let folder = tempfile::tempdir().unwrap();
        let board = board(&folder.path().join("it's"), "trials = 2\nrepeats = 3");
        let rows = rows(&board, |place| match place {
            3 => (Phase::Done, Some(0.0)),
            5 => (Phase::Running, None),
            place => (Phase::Done, Some(3.0 - place as f64)),
        });
        let data = page(&board, &rows);
        let trials = data["trials"].as_array().unwrap();
        assert_eq!(
            (trials.len(), &trials[0]["objective"], &trials[0]["spread"]),
            (1, &2.0.into(), &1.0.into())
        );
        assert_eq!(
            (&trials[0]["trainings"], &trials[0]["folder"], &trials[0]["epochs"]),
            (&json!([3.0, 2.0, 1.0]), &"trials/0001-3".into(), &21.into())
        );
        let again = data["best"]["again"].as_str().unwrap();
        assert!(
            again.starts_with("lumisift train '")
                && again.contains(r"it'\''s/sweep.toml'")
                && again.contains("--set seed=7"),
            "{again}"
        );
        assert!(
            again.contains("--set 'model.activation=\"") && again.contains("--set 'model.hidden=["),
            "{again}"
        );
    }

    #[test]
    fn the_curves_of_the_best_and_some_others_are_drawn_up_to_their_ends() {
        let folder = tempfile::tempdir().unwrap();
        let board = board(&folder.path().join("s"), "trials = 150");
        let rows = rows(&board, |place| {
            if place % 2 == 0 {
                (Phase::Done, Some(-(place as f64)))
            } else {
                (Phase::Pruned, None)
            }
        });
        for row in &rows {
            let path = board.folder(row.trial);
            fs::create_dir_all(&path).unwrap();
            let lines: String = (1..=row.trial.point + 1)
                .map(|epoch| format!("{epoch},all,1,{},1e-3,1\n", 1.0 / (3 * epoch) as f64))
                .collect();
            let extra = if row.trial.point == 148 {
                (150..=1001).map(|epoch| format!("{epoch},all,1,1e-9,1e-3,1\n")).collect()
            } else {
                String::new()
            };
            fs::write(
                path.join(names::HISTORY),
                format!(
                    "epoch,channel,train_loss,valid_loss,learning_rate,seconds\n{lines}{extra}"
                ),
            )
            .unwrap();
        }
        let data = page(&board, &rows);
        let curves = data["curves"].as_array().unwrap();
        assert!(curves.len() <= CURVES && curves.len() > CURVES / 2, "{}", curves.len());
        let first = curves.iter().find(|curve| curve["best"] == true).unwrap();
        let epochs = first["epoch"].as_array().unwrap();
        assert!(
            first["name"] == "0149"
                && epochs.len() <= EPOCHS + 2
                && epochs.last().unwrap() == 1001
                && first["loss"][epochs.len() - 1] == 1e-9
        );
        assert!(
            (1..=20).all(|rank| curves
                .iter()
                .any(|curve| curve["name"] == format!("{:04}", 151 - 2 * rank))),
            "the best twenty"
        );
        assert!(
            curves.iter().any(|curve| curve["state"] == "pruned" && curve["loss"][0] == 0.3333)
        );
    }

    #[test]
    fn thousands_of_trials_are_a_small_page() {
        let folder = tempfile::tempdir().unwrap();
        let board = board(&folder.path().join("s"), "trials = 2000");
        let rows = rows(&board, |place| (Phase::Done, Some((place as f64).sin() / 3.0)));
        let ranked = results::ranked(&board, &rows);
        let size = serde_json::to_string(&data(&board, &rows, &ranked, &[])).unwrap().len();
        assert!(size < 1_000_000, "{size} bytes");
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_make_more_of_them() {
        assert_eq!(quoted("model.latent=4"), "model.latent=4");
        assert_eq!(quoted("model.hidden=[8, 4]"), "'model.hidden=[8, 4]'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
