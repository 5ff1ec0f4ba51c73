//! Findings: reasons why scores or flags are worthless. They come first, in the first sentence of
//! the answer and in the first warnings.

use super::channels::ChannelFigures;
use crate::{
    config::{Experiment, model::ModelKind},
    data::channels::{ALL_FEATURES, COMBINED},
    score::{network::Network, roc::Auc, run::judged, scores::Scores},
};

/// A finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// For the answer; absent if the counts in the answer imply it.
    pub sentence: Option<String>,
    /// The warning with numbers and advice.
    pub warning: String,
}

/// Reconstructions have collapsed if their variance is below this share of the inputs' variance.
const COLLAPSED: f64 = 1e-4;
/// An error must be below this share of the mean-field error to be better.
const BETTER: f64 = 0.999;
/// A training has diverged if its last loss is this number of times the loss of the first epoch.
const DIVERGED: f64 = 2.0;
/// Maximum number of channels named.
const MOST_NAMED: usize = 5;

/// Channels with a finding, by index; a sentence names the first.
struct Which<'a> {
    channels: &'a [ChannelFigures],
    at: Vec<usize>,
    /// The kind of model: "network" or "factorisation".
    model: &'a str,
}

impl Which<'_> {
    /// `The network has`, `The networks of all 20 channels have`, `The networks of 3 of 20 channels
    /// have`.
    fn have(&self) -> String {
        let (n, all, model) = (self.at.len(), self.channels.len(), self.model);
        match (n, all) {
            (1, 1) => format!("The {model} has"),
            (1, _) => format!("The {model} of channel {} has", self.channels[self.at[0]].name),
            _ if n == all => format!("The {model}s of all {all} channels have"),
            _ => format!("The {model}s of {n} of {all} channels have"),
        }
    }

    /// A finding about these channels, with the numbers of the first.
    fn finding(&self, what: &str, numbers: &str, advice: &str) -> Option<Finding> {
        let first = &self.channels.get(*self.at.first()?)?.name;
        let sentence = format!("{} {what}", self.have());
        let named = match &self.at[..] {
            [_] => numbers.to_owned(),
            at => {
                let names: Vec<&str> =
                    at.iter().take(MOST_NAMED).map(|&at| self.channels[at].name.as_str()).collect();
                let more = if at.len() > MOST_NAMED {
                    format!(" and {} more", at.len() - MOST_NAMED)
                } else {
                    String::new()
                };
                format!("{}{more}; in {first} {numbers}", names.join(", "))
            }
        };
        let mut warning = format!("{sentence}: {named}; {advice}");
        warning.replace_range(..1, "t");
        Some(Finding { sentence: Some(format!("{sentence}.")), warning })
    }
}

/// All findings, the most important first.
pub fn find(
    experiment: &Experiment,
    networks: &[Network],
    channels: &[ChannelFigures],
    auc: &[Auc],
    scores: &Scores,
) -> Vec<Finding> {
    let trained = experiment.train.epochs > 0;
    let nmf = experiment.model.kind == ModelKind::Nmf;
    let model = if nmf { "factorisation" } else { "network" };
    let which = |holds: &dyn Fn(usize) -> bool| Which {
        channels,
        at: (0..channels.len()).filter(|&at| trained && holds(at)).collect(),
        model,
    };
    let usual = |at: usize| {
        networks
            .iter()
            .find(|network| network.channel.name == channels[at].name)
            .map(|network| &network.baseline)
    };
    let first = |which: &Which<'_>| which.at.first().copied();

    let losses = |at: usize| {
        let training = &channels[at].training;
        Some((training.first_loss?, training.kept_loss?, training.train_loss?))
            .filter(|_| training.epochs > 1)
    };
    let diverged = |at: usize| {
        losses(at).is_some_and(|(start, kept, end)| {
            kept >= start && (end.is_nan() || end > DIVERGED * start)
        })
    };
    let stuck = |at: usize| {
        let started = experiment.train.init.is_none() && !nmf;
        started
            && !diverged(at)
            && losses(at).is_some_and(|(start, kept, _)| {
                channels[at].training.kept_epoch == 1 || kept >= start
            })
    };
    let collapsed =
        |at: usize| usual(at).and_then(|usual| usual.varies).is_some_and(|share| share < COLLAPSED);
    let no_better = |at: usize| {
        usual(at).is_some_and(|usual| {
            usual.mean_field_error > 0.0 && usual.error >= BETTER * usual.mean_field_error
        }) && !collapsed(at)
    };

    let mut found = vec![];
    let mut add =
        |which: &Which<'_>, what: &str, numbers: &dyn Fn(usize) -> Option<String>, advice: &str| {
            if let Some(numbers) = first(which).and_then(numbers) {
                found.extend(which.finding(what, &numbers, advice));
            }
        };
    add(
        &which(&diverged),
        "diverged in training",
        &|at| {
            losses(at).map(|(start, _, end)| format!("the training loss rose from {start:.4e} in the first epoch to {end:.4e} in the last"))
        },
        "lower train.optimizer.learning_rate",
    );
    add(
        &which(&collapsed),
        "collapsed and learnt nothing",
        &|at| {
            usual(at)?.varies.map(|share| format!("every row has the same reconstruction (its variance is {share:.1e} of that of the inputs)"))
        },
        "change the activations, the learning rate or the scaling",
    );
    add(
        &which(&no_better),
        "learnt nothing",
        &|at| {
            usual(at).map(|usual| {
                format!(
                    "the error on the training rows ({:.4e}) is no better than that of always predicting their mean ({:.4e})",
                    usual.error, usual.mean_field_error
                )
            })
        },
        "train longer, or change the learning rate, the scaling or the inputs",
    );
    add(
        &which(&stuck),
        "not improved after the first epoch",
        &|at| {
            losses(at).map(|(start, kept, _)| format!("training loss {start:.4e} in the first epoch, {kept:.4e} with the weights that were kept"))
        },
        "change train.optimizer.learning_rate, or train longer",
    );
    let main = if channels.len() == 1 { channels[0].name.as_str() } else { COMBINED };
    for (auc, warning) in auc
        .iter()
        .filter(|auc| auc.channel == main)
        .filter_map(|auc| Some((auc, upside_down(auc)?)))
    {
        let perhaps = if auc.interval.is_some_and(|(_, high)| high < 0.5) {
            ""
        } else {
            ", perhaps by chance"
        };
        let sentence = format!(
            "Bad rows score lower than good ones{perhaps}: the ROC area is {:.3}, below 0.5.",
            auc.auc.unwrap_or(f64::NAN)
        );
        found.push(Finding { sentence: Some(sentence), warning });
    }
    found.extend(all_or_none(experiment, scores));
    found
}

/// The finding if all rows are flagged, or none.
fn all_or_none(experiment: &Experiment, scores: &Scores) -> Option<Finding> {
    let main = scores.main()?;
    let rows: Vec<usize> = scores
        .evaluated()
        .filter(|&row| judged(experiment, scores.rows[row].split) && main.flagged(row).is_some())
        .collect();
    let unit = if scores.events { "events" } else { "lumisections" };
    let flagged = rows.iter().filter(|&&row| main.flagged(row) == Some(true)).count();
    if rows.len() < 2 || (flagged > 0 && flagged < rows.len()) {
        return None;
    }
    let warning = if flagged > 0 {
        format!(
            "all {} evaluated {unit} are flagged: check that the threshold was calibrated on data of this kind, and the data's version, before the detector",
            rows.len()
        )
    } else {
        let set = scores.labels.iter().position(|name| name == "good");
        let bad = rows
            .iter()
            .filter(|&&row| set.is_some_and(|set| scores.rows[row].labels[set] == Some(false)))
            .count();
        let missed =
            if bad > 0 { format!(", {bad} of which are labelled bad") } else { String::new() };
        format!(
            "none of the {} evaluated {unit}{missed} is flagged: check that the threshold is not too high; `lumisift sensitivity` tells which defects it finds",
            rows.len()
        )
    };
    Some(Finding { sentence: None, warning })
}

/// What a warning about a channel begins with; nothing where it is the only one.
pub(super) fn of_channel(name: &str) -> String {
    if name == ALL_FEATURES { String::new() } else { format!("channel {name}: ") }
}

/// A warning where bad rows score lower than good ones.
pub(super) fn upside_down(auc: &Auc) -> Option<String> {
    let area = auc.auc.filter(|area| *area < 0.5 && auc.labels == "good")?;
    let sure =
        if auc.interval.is_some_and(|(_, high)| high < 0.5) { "" } else { ", perhaps by chance" };
    let channel = of_channel(&auc.channel);
    Some(format!(
        "{channel}the ROC area is {area:.3}, below 0.5{sure}: bad rows are reconstructed better than good ones, so a high score does not mean bad here; check the labels, the inputs and the loss"
    ))
}
