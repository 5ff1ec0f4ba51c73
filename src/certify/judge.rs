//! The opinion of one experiment on each lumisection.

use super::{
    cuts::{CalibratedCut, Cuts},
    verdicts::{Id, Opinion, Opinions},
};
use crate::{
    config::Value,
    data::{lumi::LumiInfo, lumisections::Lumisection},
    error::{Error, Result, listed, suggestion},
    prepare::split::Split,
    score::{scores::Scores, verdict::Verdict},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Run and LS of each row, if known. The runs of files without run numbers are in `named`.
pub fn identities(scores: &Scores, named: &BTreeMap<String, u32>) -> Vec<Option<Id>> {
    scores
        .rows
        .iter()
        .map(|row| row.run.or_else(|| named.get(&*row.file).copied()).zip(row.ls))
        .collect()
}

/// Fails for events, and for rows without a run.
pub fn check_runs(scores: &Scores, ids: &[Option<Id>]) -> Result<()> {
    if scores.events {
        return Err(Error::input("the rows are events; `lumisift certify` judges lumisections"));
    }
    let nameless = scores.rows.iter().zip(ids).filter(|(row, id)| row.ls.is_some() && id.is_none());
    let nameless: BTreeSet<&str> = nameless.map(|(row, _)| &*row.file).collect();
    match nameless.first() {
        None => Ok(()),
        Some(first) => Err(Error::input(format!(
            "no run number is known for {}, which a golden JSON needs; expected --run {first}=NUMBER, or the number in the file's name (run_297219…) when scoring",
            listed(nameless.iter().copied())
        ))),
    }
}

/// Whether `a` counts instead of `b`, for two rows of one lumisection: the worse verdict counts,
/// and for equal verdicts the higher score. A row that was not evaluated may be bad, so it counts
/// before good.
fn worse(a: &Opinion, b: &Opinion) -> bool {
    let rank = |opinion: &Opinion| match opinion.verdict {
        Verdict::Bad => 3,
        Verdict::Grey => 2,
        Verdict::NotEvaluated => 1,
        Verdict::Good => 0,
    };
    let score = |opinion: &Opinion| opinion.score.unwrap_or(f64::NEG_INFINITY);
    (rank(a), score(a)) > (rank(b), score(b))
}

/// Compares scores with the cuts of each channel; the last channel determines the verdict. `unfit`
/// are reasons why rows with a score are not evaluated. Also returns the number of rows whose
/// lumisection has another row.
pub fn opinions(
    cuts: &[Cuts],
    scores: &Scores,
    ids: &[Option<Id>],
    unfit: &[Option<String>],
) -> (Opinions, usize) {
    let mut opinions = Opinions::new();
    let mut twice = 0;
    // Most rows share a few reasons.
    let mut reasons: BTreeMap<String, Arc<str>> = BTreeMap::new();
    for (row, id) in ids.iter().enumerate() {
        let Some(id) = *id else { continue };
        let score = scores.main().and_then(|channel| channel.scores[row]);
        let not = scores.rows[row].rejected.as_deref().or(unfit[row].as_deref());
        // NaN cannot be compared with a cut.
        let not = not.or(score
            .filter(|score| score.is_nan() || *score == f64::NEG_INFINITY)
            .map(|_| "the score is not a number"));
        let flagged =
            not.is_none() && scores.main().and_then(|channel| channel.flagged(row)) == Some(true);
        let not_met = cuts.last().and_then(Cuts::unmet).filter(|_| flagged);
        let mut floored = false;
        let (verdict, reason, score) = match (not, score, cuts.last()) {
            (None, Some(score), Some(cuts)) => {
                let mut verdict = cuts.verdict(score);
                let unmet = not_met.filter(|_| verdict == Verdict::Good);
                if unmet.is_some() {
                    (verdict, floored) = (Verdict::Grey, true);
                }
                let above = |cut: &CalibratedCut| {
                    format!(
                        "score above {:.6} ({}, {})",
                        cut.score.unwrap_or(f64::NAN),
                        cut.rule,
                        cuts.sample
                    )
                };
                let threshold = || {
                    scores.main().and_then(|channel| channel.thresholds[row]).unwrap_or(f64::NAN)
                };
                let reason = match (verdict, unmet) {
                    (_, Some((_, unmet))) => format!(
                        "above the experiment's threshold {:.6}; {}",
                        threshold(),
                        unmet.describe()
                    ),
                    (Verdict::Bad, _) => above(&cuts.bad),
                    (Verdict::Grey, _) => above(&cuts.grey),
                    _ => String::new(),
                };
                // With patterns a score has regions as its reason.
                let regions = scores
                    .main()
                    .and_then(|channel| channel.reasons.get(row)?.as_deref())
                    .filter(|_| !reason.is_empty());
                let reason =
                    regions.map_or(reason.clone(), |regions| format!("{reason}: {regions}"));
                (verdict, reason, Some(score))
            }
            (not, _, _) => (Verdict::NotEvaluated, not.unwrap_or("no score").to_owned(), None),
        };
        let opinion = Opinion {
            verdict,
            reason: reasons
                .entry(reason)
                .or_insert_with_key(|reason| reason.as_str().into())
                .clone(),
            p_value: score.zip(cuts.last()).map(|(score, cuts)| cuts.reference.p_value(score)),
            channels: if score.is_some() && verdict != Verdict::Good {
                responsible(cuts, scores, row)
            } else {
                vec![]
            },
            score,
            flagged,
            unmet: not_met.is_some(),
            floored,
            split: scores.rows[row].split,
            row,
        };
        match opinions.get_mut(&id) {
            Some(before) => {
                twice += 1;
                let (flagged, unmet) =
                    (before.flagged || opinion.flagged, before.unmet || opinion.unmet);
                if worse(&opinion, before) {
                    *before = opinion;
                }
                (before.flagged, before.unmet) = (flagged, unmet);
            }
            None => {
                opinions.insert(id, opinion);
            }
        }
    }
    (opinions, twice)
}

/// The channels responsible for a high score, if there are several channels.
fn responsible(cuts: &[Cuts], scores: &Scores, row: usize) -> Vec<String> {
    let Some((_, single)) = cuts.split_last().filter(|(_, single)| !single.is_empty()) else {
        return vec![];
    };
    let of = |cuts: &Cuts, scores: &[Option<f64>]| {
        let score = scores[row]?;
        Some((cuts.reference.p_value(score), cuts.grey.exceeded(score), cuts.channel.clone()))
    };
    let mut channels: Vec<_> = single
        .iter()
        .zip(&scores.channels)
        .filter_map(|(cuts, channel)| of(cuts, &channel.scores))
        .collect();
    channels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let above = channels.iter().filter(|(_, above, _)| *above).count().max(1);
    channels.into_iter().take(above).map(|(_, _, name)| name).collect()
}

/// Reasons why rows with a score are not evaluated: a quantity is outside the range of the training
/// rows, or unknown. `trained` and `training` are the experiment's own rows.
pub fn outside(
    names: &[String],
    facts: &LumiInfo,
    (training, trained): (&Scores, &[Option<Id>]),
    (scores, ids): (&Scores, &[Option<Id>]),
) -> Result<Vec<Option<String>>> {
    let mut reasons: Vec<Option<String>> = vec![None; scores.rows.len()];
    for name in names {
        let number = |scores: &Scores, ids: &[Option<Id>], row: usize| -> Option<f64> {
            if name == "weight" {
                return scores.rows[row].weight.map(f64::from);
            }
            let (run, ls) = ids[row]?;
            match facts.get(name, Lumisection { run: Some(run), ls })?.0 {
                Value::Number(number) => Some(number),
                _ => None,
            }
        };
        if name != "weight" && !facts.has(name) {
            let near = suggestion(name, facts.names.iter().map(String::as_str));
            let known = if facts.names.is_empty() {
                "; quantities need data.oms, data.hlt or data.brilcalc".into()
            } else {
                near
            };
            return Err(Error::input(format!("certify.within: no file has \"{name}\"{known}")));
        }
        let of_training = || {
            (0..training.rows.len()).filter(|&row| {
                training.rows[row].split == Split::Train && training.rows[row].rejected.is_none()
            })
        };
        let known = of_training().filter_map(|row| number(training, trained, row));
        let (low, high) = known.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), number| {
            (low.min(number), high.max(number))
        });
        if low > high {
            return Err(Error::input(format!(
                "certify.within: \"{name}\" is unknown for every training row"
            )));
        }
        for (row, reason) in reasons.iter_mut().enumerate().filter(|(_, reason)| reason.is_none()) {
            *reason = match number(scores, ids, row) {
                None => Some(format!("unknown {name}")),
                Some(number) if !(low..=high).contains(&number) => {
                    Some(format!("{name} outside the training rows' {low} to {high}"))
                }
                Some(_) => None,
            };
        }
    }
    Ok(reasons)
}
