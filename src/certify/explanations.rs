//! Explanations of flagged lumisections.

use super::{
    experiments::JudgingExperiment,
    observer::CertifyObserver,
    review::Explanations,
    stretches::Stretch,
    verdicts::{Id, Verdicts},
};
use crate::{
    device::Device,
    error::Result,
    score::{
        explain::{self, Explanation},
        scored_rows::prepare_scored,
    },
};

/// Maximum number of explained stretches in a review list.
const MOST_EXPLAINED: usize = 200;

/// Explains the worst lumisection of each stretch, the worst stretches first. Stretches with
/// unreadable data are not explained. Also returns warnings.
pub(super) fn explain(
    experiments: &[JudgingExperiment],
    lumisections: &Verdicts,
    stretches: &[Stretch],
    device: &Device,
    observer: &dyn CertifyObserver,
) -> (Explanations, Vec<String>) {
    let (mut explanations, mut warnings) = (Explanations::new(), vec![]);
    for (at, one) in experiments.iter().enumerate() {
        let (ids, rows) = worst(at, lumisections, stretches);
        if rows.is_empty() {
            continue;
        }
        match explain_rows(one, &rows, device, observer) {
            None => {}
            Some(Ok(explained)) => explanations.extend(ids.into_iter().zip(explained)),
            Some(Err(error)) => warnings.push(format!("{}: the data can no longer be read, so the review list has no contributions: {error}", one.name)),
        }
    }
    (explanations, warnings)
}

/// The worst lumisections of the stretches decided by an experiment, and their rows.
fn worst(at: usize, lumisections: &Verdicts, stretches: &[Stretch]) -> (Vec<Id>, Vec<usize>) {
    let worst = |stretch: &Stretch| {
        let said = &lumisections[&(stretch.run, stretch.worst)];
        let row = said.opinions[at].as_ref()?.row;
        (said.experiment == Some(at)).then_some((said.p_value, (stretch.run, stretch.worst), row))
    };
    let mut wanted: Vec<_> = stretches.iter().filter_map(worst).collect();
    wanted.sort_by(|a, b| a.0.unwrap_or(1.0).total_cmp(&b.0.unwrap_or(1.0)));
    wanted.truncate(MOST_EXPLAINED);
    wanted.into_iter().map(|(_, id, row)| (id, row)).unzip()
}

/// Explains judged rows; `None` if only their scores are known.
fn explain_rows(
    one: &JudgingExperiment,
    rows: &[usize],
    device: &Device,
    observer: &dyn CertifyObserver,
) -> Option<Result<Vec<Vec<Explanation>>>> {
    let JudgingExperiment { experiment, networks, .. } = one;
    match &one.judged {
        Some((None, _)) => None,
        Some((Some(prepared), scores)) => {
            Some(explain::rows(experiment, networks, prepared, scores, rows, device))
        }
        None => {
            let read = observer.reads(&[&experiment.data.train, &experiment.data.test]);
            let prepared = prepare_scored(experiment, networks, &one.own, &*read);
            Some(prepared.and_then(|prepared| {
                explain::rows(experiment, networks, &prepared, &one.own, rows, device)
            }))
        }
    }
}
