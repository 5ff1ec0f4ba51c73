//! Experiments that judge lumisections, with their scored rows, and the judgement of each.

use super::{
    cuts::{self, Cuts, Sample},
    join::Calibration,
    judge,
    summary::Judge,
    verdicts::{Id, Opinions},
};
use crate::{
    config::{Experiment, Value, certify::CertifyOn},
    data::{
        lumi::{LUMINOSITIES, LumiInfo},
        lumisections::Lumisection,
    },
    error::{Error, Result},
    files::folder::Folder,
    prepare::{Prepared, split::Split},
    score::{
        channel_scores::ChannelScores, drift::Moved, network::Network, row::ScoredRow,
        scores::Scores,
    },
    text::count,
};
use std::collections::{BTreeMap, BTreeSet};

/// An experiment that judges, with its scored rows.
pub struct JudgingExperiment {
    /// Its name, or its folder if another has the same name.
    pub name: String,
    /// Its folder.
    pub folder: Folder,
    /// Its config.
    pub experiment: Experiment,
    /// Its trained channels.
    pub networks: Vec<Network>,
    /// The monitoring element that it was trained on, if there is a single one.
    pub element: Option<String>,
    /// Its own rows.
    pub own: Scores,
    /// The rows to judge, if they are not its own; without prepared rows if the scores were read
    /// from a file.
    pub judged: Option<(Option<Prepared>, Scores)>,
    /// Inputs that are constant in training and change in the judged rows, if known.
    pub moved: Vec<Moved>,
    /// Files and scores of the calibration rows, if they are not its own.
    pub good: Option<(Vec<String>, Scores)>,
    /// Warnings from reading the data to judge and to calibrate on.
    pub notes: Vec<String>,
}

/// The judgement of one experiment.
pub(super) struct Judgement {
    /// The experiment and its cuts.
    pub judge: Judge,
    /// Its opinion on each lumisection.
    pub opinions: Opinions,
    /// Its calibration rows.
    pub calibration: Vec<Calibration>,
    /// Lumisections that it was trained on.
    pub trained: BTreeSet<Id>,
    /// Name of the quantity and recorded luminosities, if known.
    pub luminosities: Option<(&'static str, BTreeMap<Id, f64>)>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// The calibration rows of cuts.
struct CalibrationRows<'a> {
    scores: &'a Scores,
    /// Whether a row is good; `None` if it does not calibrate.
    good: Vec<Option<bool>>,
    /// Description of the rows.
    what: &'static str,
}

impl JudgingExperiment {
    /// The scores of the rows to judge.
    pub fn judged(&self) -> &Scores {
        self.judged.as_ref().map_or(&self.own, |(_, scores)| scores)
    }

    /// Judges lumisections. `named` has the runs of files without run numbers; with `held_out`,
    /// training rows are not evaluated.
    pub(super) fn judge(&self, named: &BTreeMap<String, u32>, held_out: bool) -> Result<Judgement> {
        let scores = self.judged();
        let (ids, own_ids) =
            (judge::identities(scores, named), judge::identities(&self.own, named));
        judge::check_runs(scores, &ids)?;
        let mut warnings: Vec<String> =
            self.notes.iter().cloned().chain(self.moved.iter().map(Moved::warning)).collect();
        let facts = self.facts(&mut warnings)?;
        let within = &self.experiment.certify.within;
        let mut unfit = judge::outside(within, &facts, (&self.own, &own_ids), (scores, &ids))?;
        let trained: BTreeSet<Id> = self.trained_rows().filter_map(|row| own_ids[row]).collect();
        if held_out {
            self.check_trained_runs(&own_ids)?;
            unfit
                .iter_mut()
                .zip(&ids)
                .filter(|(_, id)| id.is_some_and(|id| trained.contains(&id)))
                .for_each(|(reason, _)| *reason = Some("trained on (--held-out)".into()));
        }
        let calibration = self.calibration_rows();
        let cuts = self.cuts(&calibration, &ids, &unfit)?;
        warnings.extend(cuts.last().and_then(Cuts::warning));
        let (opinions, duplicates) = judge::opinions(&cuts, scores, &ids, &unfit);
        let unreadable = ids.iter().filter(|id| id.is_none()).count();
        warnings.extend(row_warnings(duplicates, unreadable));
        warnings.extend(self.unlabelled_warning(&calibration));
        let judge = Judge {
            name: self.name.clone(),
            folder: self.folder.path().display().to_string(),
            cuts,
            lumisections: opinions.len(),
            missing: 0,
            unreadable,
            duplicates,
        };
        Ok(Judgement {
            judge,
            calibration: calibration.identified(named),
            luminosities: luminosities(&facts, &opinions),
            opinions,
            trained,
            warnings,
        })
    }

    /// Reads the quantities of the lumisections.
    fn facts(&self, warnings: &mut Vec<String>) -> Result<LumiInfo> {
        let within = &self.experiment.certify.within;
        let wanted: BTreeSet<String> =
            within.iter().cloned().chain(LUMINOSITIES.map(str::to_owned)).collect();
        match LumiInfo::read(&self.experiment.data, &wanted) {
            Ok(facts) => Ok(facts),
            Err(error) if !within.is_empty() => Err(error),
            Err(error) => {
                warnings.push(format!("luminosities are not known: {error}"));
                Ok(LumiInfo::default())
            }
        }
    }

    /// Positions of its training rows among its own.
    fn trained_rows(&self) -> impl Iterator<Item = usize> {
        let is_trained = |row: &ScoredRow| row.split == Split::Train && row.rejected.is_none();
        (0..self.own.rows.len()).filter(move |&row| is_trained(&self.own.rows[row]))
    }

    /// Fails if a training row has no run.
    fn check_trained_runs(&self, own_ids: &[Option<Id>]) -> Result<()> {
        match self.trained_rows().find(|row| own_ids[*row].is_none()) {
            None => Ok(()),
            Some(row) => {
                let file = &self.own.rows[row].file;
                Err(Error::input(format!(
                    "--held-out: {file} has training rows without a run number, so they cannot be distinguished from the rows to judge; expected --run {file}=NUMBER"
                )))
            }
        }
    }

    fn calibration_rows(&self) -> CalibrationRows<'_> {
        let on = self.experiment.certify.on;
        let (scores, what) = match (&self.good, on) {
            (Some((_, scores)), _) => (scores, "rows of --good"),
            (None, CertifyOn::Valid) => (&self.own, "validation rows"),
            (None, CertifyOn::Test) => (&self.own, "labelled test rows"),
        };
        let label = scores.labels.iter().position(|name| name == "good");
        let of_row = |row: &ScoredRow| {
            let known = label.and_then(|label| row.labels[label]);
            match (&row.rejected, &self.good) {
                (Some(_), _) => None,
                (None, Some(_)) => Some(known != Some(false)),
                (None, None) => cuts::calibrates(on, row, known),
            }
        };
        CalibrationRows { scores, good: scores.rows.iter().map(of_row).collect(), what }
    }

    /// The cuts of each channel.
    fn cuts(
        &self,
        calibration: &CalibrationRows,
        ids: &[Option<Id>],
        unfit: &[Option<String>],
    ) -> Result<Vec<Cuts>> {
        let scores = self.judged();
        let files = self.good.as_ref().map(|(files, _)| files.clone()).unwrap_or_default();
        let fit = |row: &usize| {
            scores.rows[*row].rejected.is_none() && unfit[*row].is_none() && ids[*row].is_some()
        };
        let of_channel = |channel: &ChannelScores| {
            let judged: Vec<f64> = scores
                .channels
                .iter()
                .filter(|other| other.name == channel.name)
                .flat_map(|channel| {
                    (0..ids.len()).filter(fit).filter_map(move |row| channel.scores[row])
                })
                .collect();
            let of = |wanted: bool| {
                cuts::by_run(calibration.scores, channel, |row| {
                    calibration.good[row] == Some(wanted)
                })
            };
            let sample = Sample {
                what: calibration.what.into(),
                files: files.clone(),
                good: of(true),
                bad: of(false),
            };
            Cuts::new(
                &self.experiment.certify,
                self.experiment.certify.block,
                &channel.name,
                &sample,
                &judged,
            )
        };
        calibration.scores.channels.iter().map(of_channel).collect()
    }

    /// A warning about calibration rows without a label.
    fn unlabelled_warning(&self, calibration: &CalibrationRows) -> Option<String> {
        let CalibrationRows { scores, good, what } = calibration;
        let label =
            scores.labels.iter().position(|name| name == "good").filter(|_| self.good.is_none())?;
        let unlabelled =
            |row: &usize| good[*row] == Some(true) && scores.rows[*row].labels[label].is_none();
        let unlabelled = (0..good.len()).filter(unlabelled).count();
        (unlabelled > 0).then(|| {
            format!("{unlabelled} of the {what} have no label and count as good for the cuts; label them, or calibrate with --good")
        })
    }
}

impl CalibrationRows<'_> {
    /// The calibration rows with a known lumisection.
    fn identified(&self, named: &BTreeMap<String, u32>) -> Vec<Calibration> {
        let ids = judge::identities(self.scores, named);
        let row = |row: usize| Some((ids[row]?, self.scores.main()?.scores[row]?, self.good[row]?));
        (0..self.good.len()).filter_map(row).collect()
    }
}

/// Warnings about several rows of one lumisection, and rows without run and LS.
fn row_warnings(duplicates: usize, unreadable: usize) -> Vec<String> {
    let mut warnings = vec![];
    if duplicates > 0 {
        warnings.push(format!(
            "{} of a lumisection that has another row, and the worse verdict counts; look for duplicates in the data",
            count(duplicates, "row")
        ));
    }
    if unreadable > 0 {
        warnings.push(format!(
            "{} without run and LS could not be read and are in none of the files; repair or remove them",
            count(unreadable, "row")
        ));
    }
    warnings
}

/// The recorded luminosity of lumisections, and the name of the quantity.
fn luminosities(
    facts: &LumiInfo,
    opinions: &Opinions,
) -> Option<(&'static str, BTreeMap<Id, f64>)> {
    let name = LUMINOSITIES.into_iter().find(|name| facts.has(name))?;
    let of = |id: &Id| match facts.get(name, Lumisection { run: Some(id.0), ls: id.1 })?.0 {
        Value::Number(number) => Some((*id, number)),
        _ => None,
    };
    Some((name, opinions.keys().filter_map(of).collect()))
}
