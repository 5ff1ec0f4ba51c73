//! Loads the experiments that judge lumisections ([`certify`](crate::certify)) and scores the rows
//! that they judge.

use super::{rows::score_files, trained::TrainedModel};
use crate::{
    certify::{experiments::JudgingExperiment, observer::CertifyObserver},
    config::Part,
    device::Device,
    error::{Error, Result, listed},
    files::folder::{Folder, names},
    prepare::Prepared,
    report::figures::Report,
    score::{drift::Moved, new_rows, scores::Scores},
};
use std::path::{Path, PathBuf};

/// Files to judge and to calibrate on instead of the experiments' own rows.
pub struct JudgedFiles<'a> {
    /// Data to judge, for every experiment.
    pub data: &'a [PathBuf],
    /// The part of the runs of `data`.
    pub part: Option<Part>,
    /// Scores to judge, one file per experiment.
    pub scores: &'a [PathBuf],
    /// Good data to calibrate on, for every experiment.
    pub good: &'a [PathBuf],
}

/// Rows to judge, and warnings from reading them.
#[derive(Default)]
struct JudgedRows {
    rows: Option<(Option<Prepared>, Scores)>,
    moved: Vec<Moved>,
    notes: Vec<String>,
}

/// Loads experiments and scores the rows to judge and to calibrate on.
pub fn load(
    opened: Vec<(Folder, TrainedModel)>,
    files: &JudgedFiles,
    device: &Device,
    observer: &dyn CertifyObserver,
) -> Result<Vec<JudgingExperiment>> {
    let mut loaded: Vec<JudgingExperiment> = vec![];
    for (at, (folder, model)) in opened.into_iter().enumerate() {
        let own = Scores::read(&folder.file(names::SCORES))?;
        let JudgedRows { rows, moved, mut notes } = match files.scores.get(at) {
            Some(path) => read_scores(path, &own)?,
            None if files.data.is_empty() => own_moved(&folder)?,
            None => score_data(&model, files, device, observer)?,
        };
        let good = if files.good.is_empty() {
            None
        } else {
            let read = observer.reads(&[files.good]);
            let (prepared, scores, _) = score_files(&model, files.good, None, device, &*read)?;
            notes.extend(prepared.notes.iter().map(|note| format!("--good: {note}")));
            let sources = prepared.samples.sources.iter();
            Some((sources.map(|source| source.path.display().to_string()).collect(), scores))
        };
        loaded.push(JudgingExperiment {
            name: model.experiment.name.clone(),
            folder,
            element: model.element().cloned(),
            experiment: model.experiment,
            networks: model.networks,
            own,
            judged: rows,
            moved,
            good,
            notes,
        });
    }
    make_distinct(&mut loaded)?;
    Ok(loaded)
}

/// Reads scores from a file.
fn read_scores(path: &Path, own: &Scores) -> Result<JudgedRows> {
    let scores = Scores::read(path)?;
    let channels =
        |scores: &Scores| listed(scores.channels.iter().map(|channel| channel.name.as_str()));
    let (found, expected) = (channels(&scores), channels(own));
    if found != expected {
        return Err(Error::input(format!(
            "{}: scores of the channels {found}; the experiment has {expected}",
            path.display()
        )));
    }
    Ok(JudgedRows { rows: Some((None, scores)), ..JudgedRows::default() })
}

/// An experiment's own rows, scored when it was trained.
fn own_moved(folder: &Folder) -> Result<JudgedRows> {
    let drift = folder.read_json::<Report>(names::REPORT)?.drift;
    Ok(JudgedRows { moved: drift.map_or(vec![], |drift| drift.moved), ..JudgedRows::default() })
}

/// Scores new data.
fn score_data(
    model: &TrainedModel,
    files: &JudgedFiles,
    device: &Device,
    observer: &dyn CertifyObserver,
) -> Result<JudgedRows> {
    let (mut prepared, mut scores, _) = {
        let read = observer.reads(&[files.data]);
        score_files(model, files.data, files.part, device, &*read)?
    };
    scores.flag(&model.thresholds)?;
    observer.scored(&prepared.samples);
    Ok(JudgedRows {
        moved: new_rows::moved(&model.networks, &prepared),
        notes: std::mem::take(&mut prepared.notes),
        rows: Some((Some(prepared), scores)),
    })
}

/// Replaces names shared by several experiments by their folders.
fn make_distinct(loaded: &mut [JudgingExperiment]) -> Result<()> {
    let names: Vec<String> = loaded.iter().map(|one| one.name.clone()).collect();
    for one in
        loaded.iter_mut().filter(|one| names.iter().filter(|name| **name == one.name).count() > 1)
    {
        one.name = one.folder.path().display().to_string();
    }
    let mut earlier = loaded
        .iter()
        .enumerate()
        .filter_map(|(at, one)| loaded[..at].iter().find(|other| other.name == one.name));
    match earlier.next() {
        Some(twice) => Err(Error::input(format!("{}: named twice", twice.name))),
        None => Ok(()),
    }
}
