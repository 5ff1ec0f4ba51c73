//! What the page draws, as JSON; rows of numbers are packed: deflated if they are long, then
//! base64.

use super::frames;
use crate::{
    config::{Experiment, report::Projection as Method},
    data::Samples,
    device::Device,
    error::{Error, Result},
    files::folder::{Folder, names},
    prepare::{Prepared, split::Split},
    report::{
        channels::{Histogram, Histograms},
        figures::{self, Report},
        maps::{ChannelMaps, Component, Maps},
        page::{
            packed::packed,
            shown::{Run, Shown, UNKNOWN},
        },
    },
    score::{
        network::Network, patterns::scored::Patterns, projections::Projection, row::RunKey,
        scores::Scores,
    },
    train::history::HistoryLine,
};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// Regions followed from LS to LS that are drawn at most: those with most bins in most LSs.
const TRACKS: usize = 2_000;

/// Components of a channel that are drawn at most.
const COMPONENTS: usize = 30;

/// Features whose distributions are drawn at most: those that made most rows flagged, then the
/// first ones.
const DISTRIBUTIONS: usize = 24;

/// Bins of these distributions.
const BINS: usize = 60;

/// What only the data tell, not the scores: absent where the data can no longer be read.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    viewer: Vec<Value>,
    /// What is drawn beside the scores, one number an evaluated row.
    beside: Vec<(String, Vec<f32>)>,
    distributions: Vec<Histograms>,
    /// Components, latents of the rows shown in their order, and the worst lumisections.
    pub maps: Maps,
}

impl Evidence {
    /// Gathers it from prepared rows whose scores are flagged.
    pub fn new(
        experiment: &Experiment,
        networks: &[Network],
        prepared: &Prepared,
        (scores, patterns): (&Scores, Option<&Patterns>),
        worst: &[&str],
        device: &Device,
    ) -> Result<Self> {
        let shown = Shown::new(experiment, scores);
        let rows: Vec<u32> = shown.places().map(|(_, _, row)| shown.position(row)).collect();
        Ok(Self {
            maps: Maps::new(
                networks,
                prepared,
                (scores, patterns),
                &rows,
                experiment.score.kind,
                device,
            )?,
            viewer: frames::of_channels(
                experiment, networks, prepared, scores, patterns, &shown, device,
            )?,
            beside: prepared.beside.clone(),
            distributions: distributions(&prepared.samples, scores, worst),
        })
    }
}

/// The classes of rows: those of the config, else good and bad as labels say; and the class of a
/// row.
fn classes(scores: &Scores) -> (Vec<String>, Vec<Option<bool>>, impl Fn(usize) -> u8 + '_) {
    let good = scores.labels.iter().position(|name| name == "good");
    let by_label = scores.classes.is_empty();
    let class = move |row: usize| match (by_label, good) {
        (false, _) => scores.rows[row].class.unwrap_or(UNKNOWN),
        (true, Some(at)) => scores.rows[row].labels[at].map_or(UNKNOWN, |good| u8::from(!good)),
        (true, None) => UNKNOWN,
    };
    let names = match (by_label, good) {
        (false, _) => scores.classes.clone(),
        (true, Some(_)) => vec!["good".into(), "bad".into()],
        (true, None) => vec![],
    };
    let of_class = |at: usize| -> Option<bool> {
        if by_label {
            return Some(at == 0);
        }
        let mut labels = scores
            .rows
            .iter()
            .filter(|row| row.class == Some(at as u8))
            .map(|row| row.labels[good?]);
        let first = labels.next()??;
        labels.all(|label| label == Some(first)).then_some(first)
    };
    let known = (0..names.len()).map(of_class).collect();
    (names, known, class)
}

/// Histograms of the features by class, each over the range of all rows.
fn distributions(samples: &Samples, scores: &Scores, first: &[&str]) -> Vec<Histograms> {
    let Some(features) = &samples.features else { return vec![] };
    let (names, _, class) = classes(scores);
    let evaluated: Vec<u8> = scores.evaluated().map(class).collect();
    let mut chosen: Vec<usize> = first
        .iter()
        .filter_map(|name| features.iter().position(|feature| feature == name))
        .collect();
    chosen.extend(0..features.len());
    let mut seen = HashSet::new();
    chosen.retain(|feature| seen.insert(*feature));
    chosen.truncate(DISTRIBUTIONS);
    let groups: Vec<(String, u8)> = if names.is_empty() {
        vec![("all".into(), UNKNOWN)]
    } else {
        names.into_iter().zip(0..).collect()
    };
    let of_feature = |at: usize| {
        let values = || {
            (0..samples.rows.len())
                .map(move |row| samples.row(row)[at])
                .filter(|value| value.is_finite())
        };
        let (low, high) = values()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let (low, high) = if low <= high { (f64::from(low), f64::from(high)) } else { (0.0, 0.0) };
        let step = if high > low { BINS as f64 / (high - low) } else { 0.0 };
        let group = |(name, wanted): &(String, u8)| {
            let mut counts = vec![0_usize; BINS];
            for (row, _) in evaluated.iter().enumerate().filter(|(_, class)| *class == wanted) {
                let value = f64::from(samples.row(row)[at]);
                if value.is_finite() {
                    counts[(((value - low) * step) as usize).min(BINS - 1)] += 1;
                }
            }
            let rows: usize = counts.iter().sum();
            Histogram {
                name: name.clone(),
                rows,
                shares: counts.iter().map(|count| *count as f64 / rows.max(1) as f64).collect(),
            }
        };
        Histograms {
            quantity: format!("{}, all evaluated rows, unweighted", features[at]),
            low,
            high,
            groups: groups.iter().map(group).collect(),
        }
    };
    chosen.into_iter().map(of_feature).collect()
}

/// What the page of an experiment draws.
pub fn experiment(
    folder: &Folder,
    experiment: &Experiment,
    report: &Report,
    scores: &Scores,
    projections: &[Projection],
    evidence: &Evidence,
) -> Result<Value> {
    let (class_names, class_good, class) = classes(scores);
    let shown = Shown::new(experiment, scores);
    let places: Places = shown.places().map(|(run, at, row)| (row, (run, at))).collect();
    let read = |name: &str| {
        std::fs::read_to_string(folder.file(name))
            .map_err(|error| Error::reading(&folder.file(name), error))
    };
    let place = folder.path().display();
    Ok(json!({
        "kind": "experiment",
        "report": brief(report)?,
        "answer": answer(report),
        "provenance": folder.read_json::<Value>(names::PROVENANCE)?,
        "config": read(names::EXPERIMENT)?,
        "command": format!("lumisift train {place}/{} --out {place}-again", names::EXPERIMENT),
        "unit": if scores.events { "event" } else { "LS" },
        "classes": class_names,
        "class_good": class_good,
        "channels": scores.channels.iter().map(|channel| &channel.name).collect::<Vec<_>>(),
        "history": history(folder.read_history()?, report),
        "runs": runs(scores, &shown, &class, evidence)?,
        "components": evidence.maps.channels.iter().filter(|channel| !channel.components.is_empty()).map(components).collect::<Result<Vec<_>>>()?,
        "viewer": evidence.viewer,
        "curves": curves(experiment, scores, None),
        "projections": projections.iter().filter(|projection| !projection.rows.is_empty()).map(|projection| laid_out(projection, scores, &shown, &places, &class)).collect::<Result<Vec<_>>>()?,
        "distributions": evidence.distributions,
    }))
}

/// The answer in words, with its counts.
pub(super) fn answer(report: &Report) -> Value {
    json!({"text": report.answer(), "counts": report.counts(), "absent": report.absent(), "files": report.judged_files()})
}

/// The report without what would make a page large.
fn brief(report: &Report) -> Result<Value> {
    let mut brief = serde_json::to_value(report)
        .map_err(|error| Error::failed(format!("report.html: {error}")))?;
    if let Some(patterns) =
        report.patterns.as_ref().filter(|patterns| patterns.tracks.len() > TRACKS)
    {
        let mut order: Vec<usize> = (0..patterns.tracks.len()).collect();
        order.sort_by_key(|&at| {
            (std::cmp::Reverse(patterns.tracks[at].bins * patterns.tracks[at].seen), at)
        });
        order.truncate(TRACKS);
        order.sort_unstable();
        brief["patterns"]["tracks"] =
            order.into_iter().map(|at| json!(patterns.tracks[at])).collect();
        brief["patterns"]["left_out"] = json!(patterns.tracks.len() - TRACKS);
    }
    Ok(brief)
}

/// The components of a channel, coded as frames are.
fn components(channel: &ChannelMaps) -> Result<Value> {
    let highest = |component: &Component| component.map.iter().copied().fold(0.0, f32::max);
    let shown = || channel.components.iter().take(COMPONENTS);
    let codes = shown().flat_map(|component| {
        component
            .map
            .iter()
            .map(move |value| frames::code(f64::from(*value), f64::from(highest(component))))
    });
    Ok(json!({
        "channel": channel.channel,
        "shape": [channel.shape.y, channel.shape.x],
        "edges": channel.edges.iter().any(Option::is_some).then_some(channel.edges),
        "of": channel.components.len(),
        "number": shown().map(|component| component.number).collect::<Vec<_>>(),
        "share": shown().map(|component| component.share).collect::<Vec<_>>(),
        "high": shown().map(highest).collect::<Vec<_>>(),
        "codes": packed(codes)?,
    }))
}

/// The latents of a run's rows in each channel that has maps, each from its lowest value in the run
/// to its highest, and how large errors are. `first` is the place of the run's first row among all
/// that are shown.
fn latents(
    evidence: &Evidence,
    scores: &Scores,
    rows: &[usize],
    first: usize,
) -> Result<Vec<Value>> {
    let of_channel = |channel: &ChannelMaps| {
        let width = channel.kept.len();
        let own = &channel.latents[first * width..(first + rows.len()) * width];
        let of_latent = |latent: usize| own.iter().skip(latent).step_by(width).copied();
        let (low, high): (Vec<f32>, Vec<f32>) = (0..width)
            .map(|latent| {
                (
                    of_latent(latent).fold(f32::INFINITY, f32::min),
                    of_latent(latent).fold(f32::NEG_INFINITY, f32::max),
                )
            })
            .unzip();
        let code = |latent: usize, value: f32| {
            ((value - low[latent]) / (high[latent] - low[latent]).max(f32::MIN_POSITIVE) * 255.0)
                .round() as u8
        };
        let ratios = scores
            .channels
            .iter()
            .find(|scored| scored.name == channel.channel)
            .map(|scored| scored.log_ratios.as_slice());
        let ratio = |row: &usize| {
            ratios
                .and_then(|ratios| *ratios.get(*row)?)
                .map_or(f32::NAN, |ratio| ratio.exp() as f32)
        };
        Ok(json!({
            "channel": channel.channel,
            "names": channel.kept,
            "components": !channel.components.is_empty(),
            "low": low,
            "high": high,
            "codes": packed((0..width).flat_map(|latent| of_latent(latent).map(move |value| (latent, value))).map(|(latent, value)| code(latent, value)))?,
            "error": packed(rows.iter().map(ratio))?,
        }))
    };
    // There are no lines over events.
    evidence.maps.channels.iter().filter(|_| !scores.events).map(of_channel).collect()
}

/// The losses of each model.
pub(super) fn history(lines: Vec<HistoryLine>, report: &Report) -> Vec<Value> {
    let of_model = |lines: &[HistoryLine]| {
        let training = report
            .channels
            .iter()
            .find(|channel| channel.name == lines[0].channel)
            .map(|channel| &channel.training);
        json!({
            "channel": lines[0].channel,
            "member": lines[0].member + 1,
            "epoch": lines.iter().map(|line| line.epoch.epoch).collect::<Vec<_>>(),
            "train": lines.iter().map(|line| line.epoch.train_loss).collect::<Vec<_>>(),
            "valid": lines.iter().map(|line| line.epoch.valid_loss).collect::<Option<Vec<_>>>(),
            "rate": lines.iter().map(|line| line.epoch.learning_rate).collect::<Vec<_>>(),
            // Of an ensemble only the last of any member's is known.
            "kept": training.filter(|training| training.members == 1).map(|training| training.kept_epoch),
            "stopped": training.map(|training| &training.stopped),
        })
    };
    lines.chunk_by(|a, b| (&a.channel, a.member) == (&b.channel, b.member)).map(of_model).collect()
}

/// The ROC curves, of all channels or of one.
pub(super) fn curves(experiment: &Experiment, scores: &Scores, only: Option<&str>) -> Vec<Value> {
    let mut curves = vec![];
    for channel in
        scores.channels.iter().filter(|channel| only.is_none_or(|name| channel.name == name))
    {
        for (at, labels) in scores.labels.iter().enumerate() {
            let points = thinned(figures::ranking(scores, experiment, channel, at).curve());
            if !points.is_empty() {
                let rounded = |number: f64| (number * 1e5).round() / 1e5;
                curves.push(json!({
                    "channel": channel.name,
                    "labels": labels,
                    "fpr": points.iter().map(|point| rounded(point.false_positive_rate)).collect::<Vec<_>>(),
                    "tpr": points.iter().map(|point| rounded(point.true_positive_rate)).collect::<Vec<_>>(),
                }));
            }
        }
    }
    curves
}

/// Points of a curve at most; those left out differ by less than a line's width.
const POINTS: usize = 400;

fn thinned<T>(points: Vec<T>) -> Vec<T> {
    let step = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points
        .into_iter()
        .enumerate()
        .filter(|(at, _)| at % step == 0 || *at == last)
        .map(|(_, point)| point)
        .collect()
}

pub(super) fn runs(
    scores: &Scores,
    shown: &Shown,
    class: &dyn Fn(usize) -> u8,
    evidence: &Evidence,
) -> Result<Vec<Value>> {
    let mut without: HashMap<RunKey, Vec<(u32, &str)>> = HashMap::new();
    for row in &scores.rows {
        if let (Some(reason), Some(ls)) = (&row.rejected, row.ls) {
            without.entry(row.run_key()).or_default().push((ls, reason));
        }
    }
    let split = |row: usize| {
        Split::ALL.iter().position(|split| *split == scores.rows[row].split).unwrap_or_default()
            as u8
    };
    let number = |value: Option<f64>| value.map_or(f32::NAN, |value| value as f32);
    let mut behind = 0;
    let of_run = |Run { all, shown: rows }: &Run| {
        let first = all[0];
        let place = behind;
        behind += rows.len();
        // One threshold a run, but for runs of several splits that have one each: then that of the
        // test rows.
        let test = || {
            all.iter()
                .copied()
                .rev()
                .find(|&row| scores.rows[row].split == Split::Test)
                .unwrap_or(first)
        };
        let channels = || scores.channels.iter();
        Ok(json!({
            "name": scores.rows[first].run_name(),
            "run": scores.rows[first].run,
            "rows": all.len(),
            "ls": packed(rows.iter().map(|&row| scores.rows[row].ls.unwrap_or_default()))?,
            "split": packed(rows.iter().map(|&row| split(row)))?,
            "class": packed(rows.iter().map(|&row| class(row)))?,
            "score": channels().map(|channel| packed(rows.iter().map(|&row| number(channel.scores[row])))).collect::<Result<Vec<_>>>()?,
            "threshold": channels().map(|channel| channel.thresholds[test()]).collect::<Vec<_>>(),
            "flagged": channels().map(|channel| packed(rows.iter().map(|&row| u8::from(channel.flagged(row) == Some(true))))).collect::<Result<Vec<_>>>()?,
            "unevaluated": ranges(without.get(&scores.rows[first].run_key()).map_or(&[], Vec::as_slice)),
            "latents": latents(evidence, scores, rows, place)?,
            "beside": evidence
                .beside
                .iter()
                .map(|(name, values)| Ok(json!({"name": name, "values": packed(rows.iter().map(|&row| values[shown.position(row) as usize]))?})))
                .collect::<Result<Vec<_>>>()?,
            "thinned": (shown.step > 1).then_some(shown.step),
            "thinned_others": (shown.others_step != 1).then_some(shown.others_step),
        }))
    };
    shown.runs.iter().map(of_run).collect()
}

/// Neighbouring LSs with the same reason as ranges.
fn ranges(without: &[(u32, &str)]) -> Vec<Value> {
    let mut sorted = without.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
        .chunk_by(|a, b| a.1 == b.1 && b.0 - a.0 <= 1)
        .map(|range| json!({"from": range[0].0, "to": range[range.len() - 1].0, "reason": range[0].1}))
        .collect()
}

/// The run and the place in it of each row that the page shows.
type Places = HashMap<usize, (usize, usize)>;

/// The points of a projection, with the rows that the page shows.
fn laid_out(
    projection: &Projection,
    scores: &Scores,
    shown: &Shown,
    places: &Places,
    class: &dyn Fn(usize) -> u8,
) -> Result<Value> {
    let known: Vec<(usize, [f32; 2], (usize, usize))> = projection
        .rows
        .iter()
        .zip(&projection.points)
        .filter_map(|(&position, point)| {
            let row = *shown.evaluated.get(position as usize)?;
            Some((row, *point, *places.get(&row)?))
        })
        .collect();
    let own = scores.channels.iter().find(|channel| channel.name == projection.channel);
    let left_out = projection.rows.len() - known.len();
    let mut note: Vec<String> = projection.note.iter().cloned().collect();
    if left_out > 0 {
        note.push(format!("{left_out} that are not shown above are left out"));
    }
    Ok(json!({
        "channel": projection.channel,
        "method": match projection.method { Method::Pca => "PCA", Method::TSne => "t-SNE" },
        "axes": projection.axes,
        "x": packed(known.iter().map(|(_, point, _)| point[0]))?,
        "y": packed(known.iter().map(|(_, point, _)| point[1]))?,
        "class": packed(known.iter().map(|(row, _, _)| class(*row)))?,
        "score": packed(known.iter().map(|(row, _, _)| own.and_then(|channel| channel.scores[*row]).map_or(f32::NAN, |score| score as f32)))?,
        "flagged": packed(known.iter().map(|(row, _, _)| u8::from(own.is_some_and(|channel| channel.flagged(*row) == Some(true)))))?,
        "run": packed(known.iter().map(|(_, _, (run, _))| *run as u16))?,
        "at": packed(known.iter().map(|(_, _, (_, at))| *at as u32))?,
        "note": note.join("; "),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{channel_scores::ChannelScores, row::ScoredRow};

    /// One run of training rows, one of test rows; every tenth row is flagged.
    fn scores(train: usize, test: usize) -> Scores {
        let row = |run, split| ScoredRow {
            split,
            file: "a".into(),
            run: Some(run),
            ls: Some(1),
            weight: None,
            rejected: None,
            class: None,
            labels: [].into(),
        };
        let rows: Vec<ScoredRow> = (0..train)
            .map(|_| row(1, Split::Train))
            .chain((0..test).map(|_| row(2, Split::Test)))
            .collect();
        let channel = ChannelScores {
            name: "all".into(),
            scores: (0..rows.len()).map(|at| Some(f64::from(at % 10 == 0))).collect(),
            thresholds: vec![Some(0.5); rows.len()],
            ..ChannelScores::default()
        };
        Scores { rows, channels: vec![channel], ..Scores::default() }
    }

    /// Rows shown of each run, and the two steps.
    fn shown(train: usize, test: usize, most: usize) -> (Vec<usize>, usize, usize) {
        let shown = Shown::at_most(most, &scores(train, test), |split| split == Split::Test);
        (shown.runs.iter().map(|run| run.shown.len()).collect(), shown.step, shown.others_step)
    }

    #[test]
    fn flagged_rows_are_shown_first_then_test_rows_then_the_others() {
        assert_eq!(shown(100, 100, 200), (vec![100, 100], 1, 1), "all fit");
        assert_eq!(
            shown(100, 100, 140),
            (vec![10 + 30, 100], 1, 3),
            "90 of the others have place for 30"
        );
        assert_eq!(shown(100, 100, 110), (vec![10, 100], 1, 0), "no place for the others");
        assert_eq!(shown(100, 100, 60), (vec![10, 10 + 30], 3, 0));
        assert_eq!(
            shown(100, 100, 10),
            (vec![10, 10 + 1], 90, 0),
            "all that are flagged, though they alone are more"
        );
        assert_eq!(shown(0, 100, 1000), (vec![100], 1, 1));
    }
}
