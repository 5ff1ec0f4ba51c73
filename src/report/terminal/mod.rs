//! Tables and small pictures for the terminal.

mod explanations;
mod tables;

use super::{
    channels::{Measured, SvmGroup},
    figures::Report,
    runs::RunFigures,
};
use crate::{
    config::ThresholdRule,
    data::channels::COMBINED,
    prepare::missing,
    score::{
        patterns::scored::{self, TrackFigures},
        roc::{Auc, Efficiency},
        scores::Scores,
        threshold::Calibrated,
    },
    text::count,
};
use console::style;
pub use explanations::explanations;
use explanations::worst;
use std::fmt::Write as _;
use tables::{align_right, keep_whole, number, shorten};
pub use tables::{bars, printable, table};

/// The report as people read it.
pub fn render(report: &Report, scores: Option<&Scores>, width: u16) -> String {
    let mut text = String::new();
    let network = match &report.channels[..] {
        [channel] => {
            format!("{} on {}, {} parameters", channel.shape, report.device, channel.parameters)
        }
        channels => format!(
            "{} channels on {}, {} parameters",
            channels.len(),
            report.device,
            channels.iter().map(|c| c.parameters).sum::<usize>()
        ),
    };
    let _ = writeln!(text, "\n{}  {network}, seed {}", style(&report.name).bold(), report.seed);
    let _ = writeln!(text, "answer     {}", style(report.answer()).bold());
    let data = &report.data;
    let rows = [
        (data.train, "train"),
        (data.valid, "valid"),
        (data.test, "test"),
        (data.unused, "set aside (bad or unlabelled)"),
    ];
    let parts: Vec<String> = rows
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let flow = if data.flow_bins { " with underflow and overflow" } else { "" };
    let what = if data.features { "features" } else { "bins" };
    let _ = writeln!(text, "rows       {}; {} {what}{flow}", parts.join(", "), data.shape);
    if !data.not_evaluated.is_empty() {
        let reasons: Vec<String> =
            data.not_evaluated.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let _ = writeln!(
            text,
            "           not evaluated: {} ({})",
            report.absent(),
            reasons.join(", ")
        );
    }
    if let Some((fill, told)) = data.fill.zip(missing::told(&data.missing)) {
        let _ = writeln!(text, "missing    {} (data.fill = \"{fill}\")", printable(&told));
    }
    text.push_str(&training(report));
    let _ = writeln!(text, "score      {}", report.score);
    if let Some(combined) = &report.combined {
        let _ = writeln!(text, "           {COMBINED}: {}", combined.what);
    }
    text.push_str(&channels_table(report, width));
    let main = report.main();
    for threshold in report.thresholds.iter().filter(|threshold| threshold.channel == main) {
        let from = match threshold.value {
            Some(value) if threshold.rows > 0 => {
                format!(
                    "{} from {} {} of {}",
                    number(value, 6),
                    threshold.rows,
                    threshold.sample(),
                    count(threshold.runs, "run")
                )
            }
            Some(value) => number(value, 6),
            None => "each run's own".into(),
        };
        let of = if report.channels.len() > 1 { format!("{main}, ") } else { String::new() };
        let _ = writeln!(text, "threshold  {of}{}: {from}", threshold.describe());
    }
    if let Some(rate) = &report.false_alarms {
        let _ = writeln!(
            text,
            "false      {} of {} {} flagged: {:.2} % (95 % interval {:.2} to {:.2} %)",
            rate.flagged,
            rate.rows,
            rate.sample,
            100.0 * rate.rate,
            100.0 * rate.interval.0,
            100.0 * rate.interval.1
        );
    }
    if let Some(agreement) = &report.agreement {
        let spread = agreement.relative_spread.map_or_else(String::new, |spread| {
            format!("; their scores spread by {:.1} % (median)", 100.0 * spread)
        });
        let _ = writeln!(
            text,
            "members    {} flagged, {} of them by all {} members; {} flagged by some of them only{spread}",
            count(agreement.flagged, "row"),
            agreement.by_all,
            agreement.members,
            agreement.disputed
        );
    }
    for beside in &report.beside {
        let _ = writeln!(
            text,
            "beside     rank correlation of score and {}: {:+.2} over {} {}",
            beside.name, beside.correlation, beside.rows, beside.sample
        );
    }
    text.push_str(&regions(report, width));
    text.push_str(&areas(report, width));
    text.push_str(&classes(report, width));
    text.push_str(&runs_table(report, width));
    if let Some(scores) = scores {
        text.push_str(&pictures(report, scores, width));
    }
    text.push_str(&explanations(&worst(&report.worst), report.data.events));
    for warning in &report.warnings {
        let _ = writeln!(text, "{} {warning}", style("warning:").yellow().bold());
    }
    text
}

/// Regions that are named; of more, the number is told.
const MOST_REGIONS: usize = 30;

/// Regions over the LSs of their runs, those in several channels first, then the largest.
fn regions(report: &Report, width: u16) -> String {
    let Some(found) = &report.patterns else { return String::new() };
    let known = found.tracks.iter().filter(|track| track.known).count();
    let known =
        if known > 0 { format!(", {known} of them known to be masked") } else { String::new() };
    if found.tracks.is_empty() {
        return "regions    none\n".into();
    }
    let mut text = format!(
        "regions    {}{known}; new ones in {}\n",
        found.tracks.len(),
        count(found.rows, "row")
    );
    let mut tracks: Vec<&TrackFigures> = found.tracks.iter().collect();
    tracks.sort_by_key(|track| {
        (track.known, !track.coincident, std::cmp::Reverse(track.bins * track.seen))
    });
    let mut rows = table(&["run", "LSs", "seen", "channel", "region", "bins", ""], width);
    for track in tracks.iter().take(MOST_REGIONS) {
        let (first, last) = track.ls;
        let ls = if first == last { first.to_string() } else { format!("{first}–{last}") };
        let what = format!("{} {}", scored::name(track.side), track.area());
        let marks: Vec<&str> = [(track.coincident, "in several channels"), (track.known, "known")]
            .into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, mark)| mark)
            .collect();
        rows.add_row(vec![
            track.run.clone(),
            ls,
            track.seen.to_string(),
            track.channel.clone(),
            what,
            track.bins.to_string(),
            marks.join(", "),
        ]);
    }
    let _ = writeln!(text, "{rows}");
    if tracks.len() > MOST_REGIONS {
        let _ = writeln!(text, "           {} more in report.json", tracks.len() - MOST_REGIONS);
    }
    text
}

/// How training went, a line a channel.
pub(super) fn training(report: &Report) -> String {
    let mut text = String::new();
    let longest = report.channels.iter().map(|channel| channel.name.len()).max().unwrap_or(0);
    for channel in &report.channels {
        let training = &channel.training;
        let of = if report.channels.len() > 1 {
            format!("{:longest$}  ", channel.name)
        } else {
            String::new()
        };
        let loss = |loss: Option<f64>| loss.map_or_else(|| "–".into(), |loss| number(loss, 6));
        let penalty = training
            .penalty
            .as_ref()
            .map_or_else(String::new, |penalty| format!(", penalty {}", loss(penalty.train)));
        let kept = if training.kept_epoch as usize == training.epochs {
            String::new()
        } else {
            format!(", weights of epoch {}", training.kept_epoch)
        };
        let _ = writeln!(
            text,
            "training   {of}{}{} in {:.1} s ({}){kept}; loss {}, validation {}{penalty}",
            count(training.epochs, "epoch"),
            if training.members > 1 {
                format!(" of {} members", training.members)
            } else {
                String::new()
            },
            training.seconds,
            training.stopped,
            loss(training.train_loss),
            loss(training.valid_loss),
        );
    }
    if let Some(channel) = report.channels.first() {
        let _ = writeln!(text, "           loss is {}", channel.training.loss);
        if let Some(penalty) = &channel.training.penalty {
            let _ = writeln!(text, "           penalty is {}", penalty.of);
        }
    }
    text
}

/// How large the errors of each channel are.
fn channels_table(report: &Report, width: u16) -> String {
    let header = [
        "channel",
        "inputs",
        "mean field",
        "error",
        "ln cut",
        "bad flagged",
        "outside SVM, %\ngood/well/badly",
    ];
    let svm = report.channels.iter().any(|channel| channel.svm.is_some());
    let columns = if svm { 7 } else { 6 };
    let mut table = table(&header[..columns], width);
    for channel in &report.channels {
        let error = |measured: Measured| {
            format!(
                "{:.4e}",
                if report.score.starts_with("sse") { measured.sum } else { measured.mean }
            )
        };
        let outside = |group: &SvmGroup| match group.rows {
            0 => "–".to_owned(),
            _ => format!("{:.0}", 100.0 * group.outside_share),
        };
        let row = [
            channel.name.clone(),
            channel.features.to_string(),
            error(channel.mean_field_error),
            error(channel.ae_error),
            channel.log_cut.map_or_else(|| "–".into(), |cut| format!("{cut:.4}")),
            channel.bad.map_or_else(
                || "–".into(),
                |bad| {
                    format!(
                        "{} of {}",
                        bad.badly_reconstructed,
                        bad.badly_reconstructed + bad.well_reconstructed
                    )
                },
            ),
            channel.svm.as_ref().map_or_else(String::new, |svm| {
                svm.groups.iter().map(outside).collect::<Vec<_>>().join(" / ")
            }),
        ];
        table.add_row(&row[..columns]);
    }
    align_right(&mut table, 1..columns);
    keep_whole(&mut table, 0);
    let errors = report.channels.first().map_or("", |channel| channel.errors.as_str());
    format!("errors     {errors}\n{table}\n")
}

/// The areas under the ROC curves: a line each, or a matrix where there are several channels.
fn areas(report: &Report, width: u16) -> String {
    let mut text = String::new();
    if report.auc.iter().all(|auc| auc.good + auc.bad == 0) {
        return if report.auc.is_empty() {
            text
        } else {
            format!("ROC AUC    – (no {} row has a label)\n", report.auc[0].split)
        };
    }
    if report.channels.len() < 2 {
        for auc in report.auc.iter().filter(|auc| auc.good + auc.bad > 0) {
            let _ = writeln!(text, "ROC AUC    {}: {}", auc.labels, show_auc(auc));
        }
        return text;
    }
    if let Some(auc) =
        report.auc.iter().find(|auc| auc.channel == report.main() && auc.good + auc.bad > 0)
    {
        let _ = writeln!(text, "ROC AUC    {}, {}: {}", auc.channel, auc.labels, show_auc(auc));
    }
    let mut channels: Vec<&str> = report.auc.iter().map(|auc| auc.channel.as_str()).collect();
    channels.dedup();
    let sets: Vec<&Auc> = report.auc.iter().filter(|auc| auc.channel == channels[0]).collect();
    let longest = channels.iter().map(|channel| channel.len()).max().unwrap_or(0);
    let column =
        |set: &&Auc| set.labels.chars().count().max(format!("{} bad", set.bad).len()).max(5) + 2;
    let widest = sets.iter().map(column).max().unwrap_or(1);
    let at_once = (usize::from(width).saturating_sub(longest.max(6) + 2) / widest).max(1);
    for sets in sets.chunks(at_once) {
        let header = sets.iter().map(|set| format!("{}\n{} bad", set.labels, set.bad));
        let mut table = table(&[], width);
        table.set_header(std::iter::once("AUC of".to_owned()).chain(header));
        for channel in &channels {
            let cell = |set: &&Auc| {
                let auc = report
                    .auc
                    .iter()
                    .find(|auc| auc.channel == **channel && auc.labels == set.labels);
                auc.and_then(|auc| auc.auc).map_or_else(|| "–".into(), |area| format!("{area:.3}"))
            };
            table.add_row(std::iter::once((*channel).to_owned()).chain(sets.iter().map(cell)));
        }
        align_right(&mut table, 1..sets.len() + 1);
        keep_whole(&mut table, 0);
        let _ = writeln!(text, "{table}");
    }
    let weighted = if sets[0].weighted { ", weighted" } else { "" };
    let rows = sets[0].good + sets[0].bad;
    let _ = writeln!(
        text,
        "           {} rows{weighted}, {rows} with labels by {}; –: only one class; intervals in report.json",
        sets[0].split, sets[0].labels
    );
    text
}

/// How many of each class are above the threshold, and how much of what is above is of it; and how
/// many of the bad are found where few of the good are flagged.
fn classes(report: &Report, width: u16) -> String {
    let mut text = String::new();
    let share = |rate: Option<f64>, interval: Option<(f64, f64)>| match (rate, interval) {
        (Some(rate), Some((low, high))) => {
            format!("{:.2} % ({:.2} to {:.2})", 100.0 * rate, 100.0 * low, 100.0 * high)
        }
        (Some(rate), None) => format!("{:.2} %", 100.0 * rate),
        _ => "–".into(),
    };
    if let Some(classes) = &report.classes {
        let mut table = table(&["class", "values", "rows", "above", "efficiency", "purity"], width);
        for class in &classes.classes {
            let values: Vec<String> = classes
                .values
                .iter()
                .filter(|value| value.class == class.name)
                .map(|value| format!("{}: {}", value.value, value.rows))
                .collect();
            table.add_row([
                class.name.clone(),
                shorten(&values.join(", "), 60),
                class.rows.to_string(),
                class.flagged.to_string(),
                share(class.efficiency, class.interval),
                share(class.purity, class.purity_interval),
            ]);
        }
        align_right(&mut table, 2..6);
        let _ = writeln!(
            text,
            "classes    by {} ({} rows), values among all rows that were read\n{table}",
            classes.column, classes.on
        );
    }
    for auc in report.auc.iter().filter(|auc| {
        auc.channel == report.main() && auc.labels == "good" && !auc.efficiencies.is_empty()
    }) {
        let found = |at: &Efficiency| {
            format!("{} at {} %", share(Some(at.efficiency), at.interval), 100.0 * at.background)
        };
        let _ = writeln!(
            text,
            "found      of the bad, where so many of the good are flagged: {}",
            auc.efficiencies.iter().map(found).collect::<Vec<_>>().join("; ")
        );
    }
    text
}

/// One line on an area: labels, sample, area, interval.
pub fn show_auc(auc: &Auc) -> String {
    let what =
        format!("{} good and {} bad rows ({}) by {}", auc.good, auc.bad, auc.split, auc.origin);
    match (auc.auc, auc.interval) {
        (Some(area), Some((low, high))) => {
            format!("{area:.4} ({low:.4} to {high:.4}; {}), {what}", auc.note)
        }
        (Some(area), None) => format!("{area:.4} ({}), {what}", auc.note),
        _ => format!("– ({}), {what}", auc.note),
    }
}

const MOST_RUNS: usize = 20;

fn runs_table(report: &Report, width: u16) -> String {
    let flagged =
        |run: &RunFigures| run.flagged.iter().map(|flagged| flagged.ls.len()).max().unwrap_or(0);
    let mut runs: Vec<&RunFigures> = report.runs.iter().collect();
    if runs.is_empty() {
        return String::new();
    }
    let total: usize = report.runs.iter().map(|run| run.flags()).sum();
    let evaluated: usize = report.runs.iter().map(|run| run.evaluated).sum();
    if runs.len() > MOST_RUNS {
        runs.sort_by_key(|run| std::cmp::Reverse(flagged(run)));
        runs.truncate(MOST_RUNS);
    }
    let thresholds: Vec<&Calibrated> =
        report.thresholds.iter().filter(|threshold| threshold.channel == report.main()).collect();
    let several = thresholds.len() > 1;
    let names = if report.data.events {
        ["file", "events", "flagged events"]
    } else {
        ["run", "LSs", "flagged LSs"]
    };
    let mut table =
        table(&[names[0], names[1], "evaluated", "flagged", "threshold", names[2]], width);
    for run in &runs {
        for (i, (flagged, threshold)) in run.flagged.iter().zip(&thresholds).enumerate() {
            let first = |text: String| if i == 0 { text } else { String::new() };
            let threshold = if several {
                format!("{}\n{}", number(flagged.value, 5), short(&threshold.threshold))
            } else {
                number(flagged.value, 5)
            };
            table.add_row([
                first(run.name.clone()),
                first(format!("{}–{}", run.ls.0, run.ls.1)),
                first(if run.not_evaluated > 0 {
                    format!("{} (+{} not)", run.evaluated, run.not_evaluated)
                } else {
                    run.evaluated.to_string()
                }),
                flagged.ls.len().to_string(),
                threshold,
                shorten(&flagged.ranges(), 400),
            ]);
        }
    }
    align_right(&mut table, 2..5);
    let more = if report.runs.len() > runs.len() {
        format!("; the {MOST_RUNS} with most flags are shown")
    } else {
        String::new()
    };
    let all = report.on != "test";
    let (what, of) = if report.data.events {
        ("events", if all { "file" } else { "test file" })
    } else {
        ("lumisections", if all { "run" } else { "test run" })
    };
    let mut text = format!(
        "{table}\n{} of {evaluated} {what} flagged in {}{more}\n",
        style(total).bold(),
        count(report.runs.len(), of)
    );
    let without = &report.runs_not_evaluated;
    if !without.is_empty() {
        let rows: usize = without.iter().map(|run| run.rows).sum();
        let names: Vec<&str> =
            without.iter().take(MOST_RUNS).map(|run| run.name.as_str()).collect();
        let more = if without.len() > names.len() {
            format!(" and {} more", without.len() - names.len())
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "nothing is evaluated in {} of {} ({rows} {what}): {}{more}",
            count(without.len(), "run"),
            report.judged_files(),
            names.join(", ")
        );
    }
    text
}

/// A threshold for narrow columns: `(p99.5, 3 LSs)`.
fn short(threshold: &ThresholdRule) -> String {
    match threshold {
        ThresholdRule::Percentile { percentile, smooth: 1 } => format!("(p{percentile})"),
        ThresholdRule::Percentile { percentile, smooth } => {
            format!("(p{percentile}, {smooth} LSs)")
        }
        ThresholdRule::Fixed { .. } => "(fixed)".into(),
        ThresholdRule::MeanStd { k, .. } => format!("(mean + {k} std)"),
    }
}

const MOST_PICTURES: usize = 4;

/// For a few runs the score against LS as a line of bars, flagged places marked below.
fn pictures(report: &Report, scores: &Scores, width: u16) -> String {
    let mut text = String::new();
    let Some(channel) = scores.main() else { return text };
    let columns = usize::from(width).saturating_sub(14).clamp(20, 160);
    let runs = scores.runs();
    let worth = |run: &&RunFigures| run.evaluated >= columns / 2;
    for figures in report.runs.iter().filter(worth).take(MOST_PICTURES) {
        let Some(run) = runs.iter().find(|run| figures.is_of(&scores.rows[run[0]])) else {
            continue;
        };
        let test: Vec<(f64, bool)> = run
            .iter()
            .filter_map(|&i| Some((channel.scores[i]?, channel.flagged(i) == Some(true))))
            .collect();
        let cells: Vec<&[(f64, bool)]> = test.chunks(test.len().div_ceil(columns)).collect();
        let highest: Vec<f64> = cells
            .iter()
            .map(|cell| cell.iter().map(|(score, _)| *score).fold(f64::NEG_INFINITY, f64::max))
            .collect();
        let log = scores.is_log(channel);
        let marks: String = cells
            .iter()
            .map(|cell| if cell.iter().any(|(_, flagged)| *flagged) { '▲' } else { ' ' })
            .collect();
        let _ = writeln!(
            text,
            "score of {} by {} {} to {} ({} scale, highest of each {}):",
            style(&figures.name).bold(),
            if report.data.events { "event" } else { "LS" },
            figures.ls.0,
            figures.ls.1,
            if log { "log" } else { "linear" },
            cells[0].len()
        );
        let _ = writeln!(text, "  {}\n  {}", bars(&highest, log), style(marks).red());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_rise_with_the_values() {
        assert_eq!(bars(&[1.0, 10.0, 100.0], true), "▁▄█");
        assert_eq!(bars(&[5.0, 5.0], true), "▁▁");
        assert_eq!(bars(&[], true), "");
        assert_eq!(bars(&[-1.0, 0.0, 1.0], false), "▁▄█", "values below 0 are not lost");
    }

    #[test]
    fn thresholds_are_shortened_for_narrow_columns() {
        assert_eq!(
            short(&ThresholdRule::Percentile { percentile: 99.5, smooth: 3 }),
            "(p99.5, 3 LSs)"
        );
        assert_eq!(short(&ThresholdRule::Percentile { percentile: 99.0, smooth: 1 }), "(p99)");
    }
}
