//! Why rows score high.

use crate::{
    data::channels::ALL_FEATURES,
    report::terminal::tables::number,
    score::explain::{ErrorShare, Explanation},
};
use console::style;
use std::fmt::Write as _;

/// How many samples the terminal explains.
const MOST_EXPLAINED: usize = 5;

/// Of each run and channel the worst sample, the worst of those first.
pub(super) fn worst(explained: &[Explanation]) -> Vec<&Explanation> {
    let mut worst: Vec<&Explanation> = explained.iter().collect();
    let above = |explained: &Explanation| {
        explained.threshold.map_or(explained.score, |threshold| explained.score / threshold)
    };
    worst.sort_by(|a, b| above(b).total_cmp(&above(a)));
    let mut seen = std::collections::BTreeSet::new();
    worst.retain(|explained| seen.insert((explained.run, &explained.file, &explained.channel)));
    worst.truncate(MOST_EXPLAINED);
    worst
}

/// Why samples score high: names with large shares of the error, and how many times as large as in
/// training it is.
pub fn explanations(explained: &[&Explanation], events: bool) -> String {
    let mut text = String::new();
    let what = if events { "event" } else { "LS" };
    for explanation in explained {
        let id =
            explanation.run.map_or_else(|| explanation.file.clone(), |run| format!("run {run}"));
        let of = if explanation.channel == ALL_FEATURES {
            String::new()
        } else {
            format!(" in {}", explanation.channel)
        };
        let threshold = explanation
            .threshold
            .map(|threshold| format!(" (threshold {})", number(threshold, 5)))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "why        {} {what} {}{of}: score {}{threshold}",
            style(id).bold(),
            explanation.ls,
            number(explanation.score, 5)
        );
        let levels = explanation.levels.iter().map(|level| (level.level.as_str(), &level.shares));
        for (what, shares) in levels.chain(std::iter::once(("inputs", &explanation.features))) {
            let share = |share: &ErrorShare| {
                format!("{} {:.0} % ({})", share.place(), 100.0 * share.share, share.times())
            };
            let _ = writeln!(
                text,
                "           {what}: {}",
                shares.iter().take(3).map(share).collect::<Vec<_>>().join(", ")
            );
        }
    }
    if !explained.is_empty() {
        let _ = writeln!(text, "           %: share of the sample's error; {}", ErrorShare::TIMES);
    }
    text
}
