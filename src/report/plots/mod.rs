//! The main figures as PNG pictures, for slides and logs.

pub mod axes;
pub mod canvas;
mod maps;

use super::{
    channels::{ChannelFigures, Histogram, Histograms},
    figures::{Report, ranking},
    maps::Maps,
    runs::RunFigures,
};
use crate::{
    config::Experiment,
    data::channels::COMBINED,
    error::{Error, Result},
    palette::{
        self, ABSENT, Colour, FLAGGED, GOOD, HEAT_ABOVE, HEAT_BELOW, INK, INPUT, LINE, OUTPUT,
        PAPER, SOFT, THRESHOLD, TRAIN, VALID,
    },
    score::{roc::Auc, run::judged, scores::Scores},
    train::history::HistoryLine,
};
use axes::{Axis, Panel};
use canvas::{Align, Area, Canvas, Mark, Stroke, Style};
use std::collections::{BTreeMap, BTreeSet};

/// Width and height in pixels.
pub const SIZE: (usize, usize) = (1600, 900);
/// Runs with pictures of their own: those with most flags.
const MOST_RUNS: usize = 12;
/// Curves that can be told apart.
const MOST_CURVES: usize = palette::SERIES;
/// Channels with a histogram in one picture.
const MOST_PANELS: usize = 12;

/// What pictures are made of.
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The figures as numbers.
    pub report: &'a Report,
    /// The flagged scores.
    pub scores: &'a Scores,
    /// All epochs.
    pub history: &'a [HistoryLine],
    /// Maps, where the data can still be read and are maps.
    pub maps: Option<&'a Maps>,
}

/// A picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The file's name.
    pub name: String,
    /// The file.
    pub png: Vec<u8>,
}

/// All pictures there are numbers for.
pub fn pictures(figures: Figures<'_>) -> Result<Vec<Picture>> {
    let mut canvases: Vec<(String, Canvas)> = vec![];
    let mut add = |name: &str, canvas: Option<Canvas>| {
        canvases.extend(canvas.map(|canvas| (name.to_owned(), canvas)))
    };
    add("losses", figures.losses());
    add("errors", figures.errors());
    add("roc", figures.roc());
    add("auc", figures.areas());
    add("components", figures.components());
    let mut runs: Vec<&RunFigures> = figures.report.runs.iter().collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.flags()));
    for run in runs.into_iter().take(MOST_RUNS) {
        let name = file_name(&run.name);
        add(&format!("scores-{name}"), figures.run_scores(run));
        add(&format!("sum-{name}"), figures.run_sum(run));
        add(&format!("regions-{name}"), figures.run_regions(run));
    }
    canvases.extend(figures.worst_maps());
    let mut taken = BTreeMap::new();
    let picture = |(name, canvas): (String, Canvas)| {
        let times = taken.entry(name.clone()).and_modify(|times| *times += 1).or_insert(1);
        let name = if *times > 1 { format!("{name}-{times}.png") } else { format!("{name}.png") };
        Ok(Picture {
            png: canvas.to_png().map_err(|error| Error::failed(format!("{name}: {error}")))?,
            name,
        })
    };
    canvases.into_iter().map(picture).collect()
}

/// A run's name (a number, or a file's path) as a part of a file's name.
fn file_name(run: &str) -> String {
    run.chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect()
}

/// A picture with its title and what is said below that.
pub(crate) fn titled(title: &str, told: &str) -> Canvas {
    let mut canvas = Canvas::new(SIZE.0, SIZE.1);
    let room = SIZE.0 as f64 - 80.0;
    let bold = Style { bold: true, ..Style::of(32.0) };
    canvas.text((40.0, 42.0), &bold.fit(title, room), bold);
    let plain = Style::of(20.0).colour(SOFT);
    canvas.text((40.0, 84.0), &plain.fit(told, room), plain);
    canvas
}

/// Where the one panel of a picture lies.
pub(crate) const WHOLE: Area =
    Area { left: 150.0, top: 160.0, right: SIZE.0 as f64 - 40.0, bottom: SIZE.1 as f64 - 90.0 };

/// What is what, below the title; returns where the picture itself may begin.
pub(crate) fn legend(canvas: &mut Canvas, entries: &[(Mark, String)]) -> f64 {
    canvas.legend(Area { left: 40.0, top: 108.0, ..WHOLE }, entries) + 16.0
}

/// Values without the gaps between neighbours that are not one apart.
fn pieces(points: &[(u32, f64)]) -> impl Iterator<Item = Vec<(f64, f64)>> {
    points
        .chunk_by(|a, b| b.0 == a.0.saturating_add(1))
        .map(|piece| piece.iter().map(|(x, y)| (f64::from(*x), *y)).collect())
}

impl Figures<'_> {
    /// "test rows" or "all rows".
    fn rows(&self) -> String {
        format!("{} rows", self.report.on)
    }

    /// Scores of a run, with its threshold.
    fn run_scores(&self, run: &RunFigures) -> Option<Canvas> {
        let Self { experiment, report, scores, .. } = self;
        let channel = scores.main()?;
        let log = scores.is_log(channel);
        let unit = if report.data.events { "event" } else { "LS" };
        let of_run = || (0..scores.rows.len()).filter(|&at| run.is_of(&scores.rows[at]));
        let rows: Vec<usize> =
            of_run().filter(|&at| judged(experiment, scores.rows[at].split)).collect();
        let point = |&at: &usize| {
            Some((scores.rows[at].ls?, channel.scores[at].filter(|score| score.is_finite())?))
        };
        let points: Vec<(u32, f64)> = rows.iter().filter_map(point).collect();
        let flagged: Vec<(f64, f64)> = rows
            .iter()
            .filter(|&&at| channel.flagged(at) == Some(true))
            .filter_map(point)
            .map(|(x, y)| (x.into(), y))
            .collect();
        let threshold = rows.iter().find_map(|&at| channel.thresholds[at]);
        let rejected: BTreeSet<u32> = of_run()
            .filter(|&at| scores.rows[at].rejected.is_some())
            .filter_map(|at| scores.rows[at].ls)
            .collect();
        let numbers = points.iter().map(|(x, _)| *x).chain(rejected.iter().copied()).map(f64::from);
        let x = Axis::around(unit, numbers, false)?;
        let combined = report.combined.as_ref().filter(|_| channel.name == COMBINED);
        let label = combined.map_or("score", |combined| combined.axis.as_str());
        let heights = points.iter().map(|(_, y)| *y).chain(threshold);
        let y = Axis::around(label, heights, log)?;
        let panel = Panel { area: WHOLE, x, y };

        let of_channel = combined.map_or(&report.score, |combined| &combined.what);
        let counts = format!("{} of {} {unit}s flagged", flagged.len(), points.len());
        let mut canvas = titled(
            &format!(
                "Score of each {unit}, {} {}",
                if run.run.is_some() { "run" } else { "file" },
                run.name
            ),
            &format!("{} · {counts}; {}; {of_channel}", report.name, self.rows()),
        );
        let rejected: Vec<u32> = rejected.into_iter().collect();
        let absent = palette::tint(ABSENT, 0.28);
        for (first, last) in crate::data::lumisections::ranges(&rejected) {
            panel.band(&mut canvas, (f64::from(first) - 0.5, f64::from(last) + 0.5), absent);
        }
        panel.grid(&mut canvas);
        // Few points need marks to be seen at all.
        let few = points.len() < 400;
        for piece in pieces(&points) {
            panel.line(&mut canvas, &piece, Stroke::of(GOOD, 2.0));
            if few || piece.len() == 1 {
                panel.discs(&mut canvas, &piece, 3.0, GOOD);
            }
        }
        let mut entries = vec![(Mark::Line(Stroke::of(GOOD, 2.0)), "score".to_owned())];
        if let Some(threshold) = threshold {
            let stroke = Stroke::of(THRESHOLD, 2.5).dashed();
            panel.line(&mut canvas, &[(panel.x.low, threshold), (panel.x.high, threshold)], stroke);
            let described = report
                .thresholds
                .iter()
                .find(|threshold| threshold.channel == channel.name)
                .map(|threshold| threshold.describe());
            entries.push((Mark::Line(stroke), described.unwrap_or_else(|| "threshold".into())));
        }
        if !flagged.is_empty() {
            panel.discs(&mut canvas, &flagged, 6.0, FLAGGED);
            entries.push((Mark::Disc(FLAGGED), format!("flagged ({})", flagged.len())));
        }
        if !rejected.is_empty() {
            entries.push((Mark::Band(absent), format!("not evaluated ({})", rejected.len())));
        }
        panel.frame(&mut canvas);
        legend(&mut canvas, &entries);
        Some(canvas)
    }

    /// A run's sum with and without its flagged LSs, and their ratio.
    fn run_sum(&self, run: &RunFigures) -> Option<Canvas> {
        let report = self.report;
        let first = run.flagged.first().filter(|flagged| !flagged.ls.is_empty())?;
        let (before, after) = (run.sum.as_ref()?, first.sum_without.as_ref()?);
        if report.data.shape.y > 1 || before.len() != after.len() || before.is_empty() {
            return None;
        }
        // Bins count from 0: bin_10 lies around 10. Where the ends of the axis are known, it is in
        // their unit.
        let bins = before.len() as f64;
        let known = report.data.ends[0].zip(report.data.ends[1]);
        let (low, high) = known.unwrap_or((-0.5, bins - 0.5));
        let edges: Vec<f64> =
            (0..=before.len()).map(|edge| low + (high - low) * edge as f64 / bins).collect();
        let x = |label: &str| Axis::new(label, low, high);
        let share = 1.0 - first.ls.len() as f64 / run.evaluated.max(1) as f64;
        let unit = known.and(report.data.element.as_deref()).unwrap_or(if known.is_some() {
            "axis of the histogram"
        } else {
            "bin"
        });
        let upper = Panel {
            area: Area { bottom: 570.0, ..WHOLE },
            x: x(""),
            y: Axis::around(
                "entries",
                before.iter().chain(after).copied().filter(|entries| *entries > 0.0),
                true,
            )?,
        };
        let ratio: Vec<f64> = before
            .iter()
            .zip(after)
            .map(|(before, after)| if *before > 0.0 { after / before } else { f64::NAN })
            .collect();
        let y = Axis::around("kept / all", ratio.iter().copied().chain([share]), false)?;
        let lower = Panel { area: Area { top: 600.0, ..WHOLE }, x: x(unit), y };

        let element = report.data.element.as_deref().unwrap_or("the histograms");
        let mut canvas = titled(
            &format!(
                "Sum of {element}, {} {}",
                if run.run.is_some() { "run" } else { "file" },
                run.name
            ),
            &format!(
                "{} · evaluated LSs, with and without the {} flagged (LS {})",
                report.name,
                first.ls.len(),
                first.ranges()
            ),
        );
        let (all, kept) = (Stroke::of(INPUT, 2.5), Stroke::of(OUTPUT, 2.5).dashed());
        let (ratio_line, stay) = (Stroke::of(OUTPUT, 2.5), Stroke::of(INK, 1.5).dashed());
        for panel in [&upper, &lower] {
            panel.grid(&mut canvas);
        }
        // Bins without entries lie below what a logarithmic axis shows.
        upper.steps(&mut canvas, &edges, before, all);
        upper.steps(&mut canvas, &edges, after, kept);
        lower.line(&mut canvas, &[(lower.x.low, share), (lower.x.high, share)], stay);
        for (bin, ratio) in ratio.iter().enumerate().filter(|(_, ratio)| ratio.is_finite()) {
            lower.steps(&mut canvas, &edges[bin..bin + 2], &[*ratio], ratio_line);
        }
        upper.frame(&mut canvas);
        lower.frame(&mut canvas);
        let entries = [
            (all, "all evaluated LSs"),
            (kept, "without the flagged"),
            (stay, "below: share of LSs that stay"),
        ];
        legend(&mut canvas, &entries.map(|(stroke, name)| (Mark::Line(stroke), name.to_owned())));
        Some(canvas)
    }

    /// Losses by epoch; of many channels those that end highest have colours.
    fn losses(&self) -> Option<Canvas> {
        let mut models: BTreeMap<(&str, usize), Vec<&HistoryLine>> = BTreeMap::new();
        self.history
            .iter()
            .for_each(|line| models.entry((&line.channel, line.member)).or_default().push(line));
        let watched = self.history.iter().any(|line| line.epoch.valid_loss.is_some());
        let train =
            |line: &&HistoryLine| Some((f64::from(line.epoch.epoch), line.epoch.train_loss));
        let valid =
            |line: &&HistoryLine| Some((f64::from(line.epoch.epoch), line.epoch.valid_loss?));
        let one = self.report.channels.len() == 1;
        let shown = |line: &&HistoryLine| if watched { valid(line) } else { train(line) };
        // Of many channels those that end highest come first.
        let last = |lines: &[&HistoryLine]| {
            lines.last().and_then(shown).map_or(f64::NEG_INFINITY, |(_, loss)| loss)
        };
        let mut ends: BTreeMap<&str, f64> = BTreeMap::new();
        for ((channel, _), lines) in &models {
            let end = ends.entry(channel).or_insert(f64::NEG_INFINITY);
            *end = end.max(last(lines));
        }
        let mut names: Vec<&str> = ends.keys().copied().collect();
        names.sort_by(|a, b| ends[b].total_cmp(&ends[a]));
        let (first, second, other) =
            (Stroke::of(TRAIN, 2.5), Stroke::of(VALID, 2.5).dashed(), Stroke::of(ABSENT, 1.5));
        let stroke = |channel: &str| {
            let place =
                names.iter().position(|name| *name == channel).filter(|at| *at < MOST_CURVES);
            place.map_or(other, |at| Stroke::of(palette::series(at), 2.5))
        };
        let kept = self.report.channels.first().map_or(0, |channel| channel.training.kept_epoch);
        let end = self.history.iter().map(|line| line.epoch.epoch).max().unwrap_or(0);
        let kept = Some(kept).filter(|kept| models.len() == 1 && *kept > 0 && *kept < end);
        let mark = Stroke::of(INK, 2.0).dashed();
        let mut entries: Vec<(Mark, String)> = vec![];
        if one {
            entries.push((Mark::Line(first), "training rows".into()));
            entries.extend(watched.then(|| (Mark::Line(second), "validation rows".into())));
            entries
                .extend(kept.map(|kept| (Mark::Line(mark), format!("weights kept: epoch {kept}"))));
        } else {
            entries.extend(
                names
                    .iter()
                    .take(MOST_CURVES)
                    .map(|name| (Mark::Line(stroke(name)), (*name).to_owned())),
            );
            let others = names.len().saturating_sub(MOST_CURVES);
            entries.extend(
                (others > 0).then(|| {
                    (Mark::Line(other), format!("{others} other channels, which end lower"))
                }),
            );
        }

        let losses = models
            .values()
            .flatten()
            .flat_map(|line| [shown(line), train(line).filter(|_| one)])
            .flatten();
        let log_y = Axis::around("loss", losses.clone().map(|(_, loss)| loss), true);
        let x = Axis::around("epoch", losses.clone().map(|(epoch, _)| epoch), false)?;
        let y = log_y.or_else(|| Axis::around("loss", losses.map(|(_, loss)| loss), false))?;
        let told = self
            .report
            .channels
            .first()
            .map(|channel| channel.training.loss.as_str())
            .unwrap_or_default();
        let which = match (one, watched) {
            (true, _) => "",
            (false, true) => "validation rows of each channel; ",
            (false, false) => "training rows of each channel; ",
        };
        let mut canvas = titled("Loss by epoch", &format!("{} · {which}{told}", self.report.name));
        let top = legend(&mut canvas, &entries);
        let panel = Panel { area: Area { top, ..WHOLE }, x, y };
        panel.grid(&mut canvas);
        let curve = |of: &dyn Fn(&&HistoryLine) -> Option<(f64, f64)>, lines: &[&HistoryLine]| {
            lines.iter().filter_map(of).collect::<Vec<_>>()
        };
        if one {
            for lines in models.values() {
                panel.line(&mut canvas, &curve(&train, lines), first);
                panel.line(&mut canvas, &curve(&valid, lines), second);
            }
            if let Some(kept) = kept {
                panel.line(
                    &mut canvas,
                    &[(kept.into(), panel.y.low), (kept.into(), panel.y.high)],
                    mark,
                );
            }
        } else {
            // What has a colour lies above what has none.
            for (channel, lines) in names
                .iter()
                .rev()
                .flat_map(|name| models.iter().filter(move |((channel, _), _)| channel == name))
            {
                panel.line(&mut canvas, &curve(&shown, lines), stroke(channel.0));
            }
        }
        panel.frame(&mut canvas);
        Some(canvas)
    }

    /// How ln(score / mean-field error) spreads among groups of rows, with the cut; a panel a
    /// channel.
    fn errors(&self) -> Option<Canvas> {
        let channels: Vec<(&ChannelFigures, &Histograms)> = self
            .report
            .channels
            .iter()
            .filter_map(|channel| Some((channel, channel.log_ratios.as_ref()?)))
            .collect();
        let (_, first) = channels.first()?;
        let cut = Stroke::of(THRESHOLD, 2.0).dashed();
        let shown = &channels[..channels.len().min(MOST_PANELS)];
        let of = if shown.len() < channels.len() {
            format!("; the first {} of {} channels", shown.len(), channels.len())
        } else {
            String::new()
        };
        let mut canvas = titled(
            "Reconstruction errors",
            &format!("{} · {}{of}", self.report.name, first.quantity),
        );
        let groups = first.groups.iter().enumerate().filter(|(_, group)| group.rows > 0);
        let named = |(at, group): (usize, &Histogram)| {
            (
                Mark::Line(Stroke::of(palette::group(&group.name, at), 2.5)),
                format!("{} ({} rows)", group.name, group.rows),
            )
        };
        let threshold = shown
            .iter()
            .any(|(channel, _)| channel.log_cut.is_some())
            .then(|| (Mark::Line(cut), "threshold".to_owned()));
        let top = legend(&mut canvas, &groups.map(named).chain(threshold).collect::<Vec<_>>());
        let columns = (1..=4).find(|columns| shown.len() <= columns * columns).unwrap_or(4);
        let lines = shown.len().div_ceil(columns);
        let (width, height) =
            ((SIZE.0 as f64 - 20.0) / columns as f64, (SIZE.1 as f64 - top) / lines as f64);
        for (i, (channel, histograms)) in shown.iter().enumerate() {
            let (left, top) = ((i % columns) as f64 * width, top + (i / columns) as f64 * height);
            let area = if shown.len() == 1 {
                WHOLE
            } else {
                Area {
                    left: left + 110.0,
                    top: top + 34.0,
                    right: left + width - 10.0,
                    bottom: top + height - 66.0,
                }
            };
            error_panel(&mut canvas, area, channel, histograms, cut);
            if shown.len() > 1 {
                let style = Style { bold: true, ..Style::of(20.0) };
                canvas.text(
                    (area.left, area.top - 18.0),
                    &style.fit(&channel.name, area.right - area.left),
                    style,
                );
            }
        }
        Some(canvas)
    }

    /// ROC curves: of one channel one a label set, of several those of the main label set with the
    /// largest areas.
    fn roc(&self) -> Option<Canvas> {
        let Self { experiment, report, scores, .. } = self;
        let known: Vec<&Auc> = report.auc.iter().filter(|area| area.auc.is_some()).collect();
        let main =
            known.iter().find(|area| area.labels == "good").or(known.first())?.labels.as_str();
        let one = report.channels.len() == 1;
        let mut shown: Vec<&Auc> =
            known.into_iter().filter(|area| one || area.labels == main).collect();
        let total = shown.len();
        shown.sort_by(|a, b| {
            (b.channel == COMBINED)
                .cmp(&(a.channel == COMBINED))
                .then(b.auc.unwrap_or(0.0).total_cmp(&a.auc.unwrap_or(0.0)))
        });
        shown.truncate(MOST_CURVES);
        let side = SIZE.1 as f64 - 210.0;
        let panel = Panel {
            area: Area { left: 150.0, top: 120.0, right: 150.0 + 1.2 * side, bottom: 120.0 + side },
            x: Axis::new("false positive rate (good rows above)", 0.0, 1.0),
            y: Axis::new("true positive rate (bad rows above)", 0.0, 1.0),
        };
        let first = shown.first()?;
        let which = if one { "each label set".into() } else { format!("labels \"{main}\"") };
        let best = if total > shown.len() {
            format!("; the {} largest areas of {total}", shown.len())
        } else {
            String::new()
        };
        let weighted = if first.weighted { "weighted" } else { "unweighted" };
        let mut canvas = titled(
            "ROC curves",
            &format!(
                "{} · {which}, {} good and {} bad rows ({}), {weighted}{best}",
                report.name, first.good, first.bad, report.on
            ),
        );
        panel.grid(&mut canvas);
        panel.line(&mut canvas, &[(0.0, 0.0), (1.0, 1.0)], Stroke::of(SOFT, 1.5).dashed());
        let left = panel.area.right + 30.0;
        let room = SIZE.0 as f64 - left - 70.0;
        let style = Style::of(21.0);
        canvas.text(
            (left, panel.area.top + 10.0),
            "area (95 % interval)",
            Style { bold: true, ..style },
        );
        let place =
            |channel: &str| report.channels.iter().position(|own| own.name == channel).unwrap_or(0);
        for (i, area) in shown.iter().enumerate().rev() {
            let channel = scores.channels.iter().find(|channel| channel.name == area.channel)?;
            let labels = scores.labels.iter().position(|labels| *labels == area.labels)?;
            let points: Vec<(f64, f64)> = ranking(scores, experiment, channel, labels)
                .curve()
                .iter()
                .map(|point| (point.false_positive_rate, point.true_positive_rate))
                .collect();
            let stroke = Stroke::of(
                if area.channel == COMBINED {
                    INK
                } else {
                    palette::series(if one { i } else { place(&area.channel) })
                },
                3.0,
            );
            panel.line(&mut canvas, &points, stroke);
            let top = panel.area.top + 60.0 + 78.0 * i as f64;
            canvas.line(&[(left, top), (left + 40.0, top)], stroke, WHOLE);
            let name = if one { &area.labels } else { &area.channel };
            canvas.text((left + 52.0, top), &style.fit(name, room), style);
            let interval = area
                .interval
                .map_or_else(String::new, |(low, high)| format!(" ({low:.3}–{high:.3})"));
            canvas.text(
                (left + 52.0, top + 30.0),
                &format!("{:.3}{interval}", area.auc?),
                style.colour(SOFT),
            );
        }
        panel.frame(&mut canvas);
        Some(canvas)
    }

    /// Areas of each channel and label set as a map; nothing where there are not several of each.
    fn areas(&self) -> Option<Canvas> {
        let areas = &self.report.auc;
        let distinct = |name: fn(&Auc) -> &str| -> Vec<&str> {
            let mut names: Vec<&str> = vec![];
            areas.iter().map(name).for_each(|name| {
                if !names.contains(&name) {
                    names.push(name)
                }
            });
            names
        };
        let (channels, labels) = (distinct(|area| &area.channel), distinct(|area| &area.labels));
        if channels.len() < 2 || labels.len() < 2 || areas.iter().all(|area| area.auc.is_none()) {
            return None;
        }
        let weighted =
            if areas.iter().any(|area| area.weighted) { "weighted" } else { "unweighted" };
        let mut canvas = titled(
            "Area under the ROC curve",
            &format!(
                "{} · each channel against each label set, {}, {weighted}",
                self.report.name,
                self.rows()
            ),
        );
        let longest =
            channels.iter().map(|name| Style::of(18.0).width(name)).fold(0.0, f64::max).min(380.0);
        let (left, right) = (60.0 + longest, SIZE.0 as f64 - 150.0);
        // Labels stand upright where they would be too small side by side.
        let widest = labels.iter().map(|name| Style::of(18.0).width(name)).fold(1.0, f64::max);
        let label_size = (18.0 * 0.92 * (right - left) / labels.len() as f64 / widest).min(18.0);
        let area = Area {
            left,
            right,
            top: if label_size < 12.0 { 240.0 } else { 160.0 },
            bottom: SIZE.1 as f64 - 30.0,
        };
        let (width, height) = (
            (area.right - area.left) / labels.len() as f64,
            (area.bottom - area.top) / channels.len() as f64,
        );
        let size = (0.8 * height).min(18.0);
        let cell_size = (0.5 * height).min(0.32 * width).min(22.0);
        for (i, name) in channels.iter().enumerate() {
            let style = Style::of(size).align(Align::End);
            canvas.text(
                (area.left - 12.0, area.top + (i as f64 + 0.5) * height),
                &style.fit(name, longest),
                style,
            );
        }
        for (i, name) in labels.iter().enumerate() {
            let x = area.left + (i as f64 + 0.5) * width;
            if label_size < 12.0 {
                let style = Style { upwards: true, ..Style::of((0.8 * width).min(18.0)) };
                canvas.text((x, area.top - 10.0), &style.fit(name, area.top - 120.0), style);
            } else {
                canvas.text((x, area.top - 20.0), name, Style::of(label_size).align(Align::Middle));
            }
        }
        for found in areas {
            let (Some(row), Some(column)) = (
                channels.iter().position(|name| *name == found.channel),
                labels.iter().position(|name| *name == found.labels),
            ) else {
                continue;
            };
            let (left, top) = (area.left + column as f64 * width, area.top + row as f64 * height);
            let cell = Area {
                left: left + 1.0,
                top: top + 1.0,
                right: left + width - 1.0,
                bottom: top + height - 1.0,
            };
            let colour = found.auc.map_or(LINE, heat);
            canvas.rectangle(cell, colour, 1.0);
            if cell_size > 7.0 {
                let ink = if colour.iter().map(|part| u32::from(*part)).sum::<u32>() < 380 {
                    PAPER
                } else {
                    INK
                };
                let text = found.auc.map_or("–".into(), |auc| format!("{auc:.2}"));
                canvas.text(
                    (left + width / 2.0, top + height / 2.0),
                    &text,
                    Style::of(cell_size).align(Align::Middle).colour(ink),
                );
            }
        }
        let bar = Area { left: area.right + 30.0, right: area.right + 60.0, ..area };
        let at = |share: f64| bar.bottom - share * (bar.bottom - bar.top);
        let steps = 100;
        // From the top down, each over the one before: no seams.
        for step in (0..steps).rev() {
            let (low, high) =
                (f64::from(step) / f64::from(steps), f64::from(step + 1) / f64::from(steps));
            canvas.rectangle(Area { top: at(high), ..bar }, heat((low + high) / 2.0), 1.0);
        }
        for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
            canvas.text((bar.right + 8.0, at(share)), &share.to_string(), Style::of(18.0));
        }
        Some(canvas)
    }
}

/// Histograms of one channel; nothing where it has no rows.
fn error_panel(
    canvas: &mut Canvas,
    area: Area,
    channel: &ChannelFigures,
    histograms: &Histograms,
    cut: Stroke,
) -> Option<()> {
    let groups: Vec<(usize, &Histogram)> =
        histograms.groups.iter().enumerate().filter(|(_, group)| group.rows > 0).collect();
    let bins = groups.first()?.1.shares.len();
    // All values alike have no width.
    let width = (histograms.high - histograms.low).max(1e-6) / bins as f64;
    let inner = (0..=bins).map(|edge| histograms.low + edge as f64 * width);
    // An empty bin more at each end, so that the outline comes down to the axis.
    let edges: Vec<f64> =
        inner.clone().take(1).chain(inner.clone()).chain(inner.rev().take(1)).collect();
    let highest = groups.iter().flat_map(|(_, group)| &group.shares).copied().fold(0.0, f64::max);
    let panel = Panel {
        area,
        x: Axis::around(
            "ln(score / mean-field error)",
            edges.iter().copied().chain(channel.log_cut),
            false,
        )?,
        y: Axis::new("share of rows", 0.0, 1.1 * highest.max(1e-6)),
    };
    panel.grid(canvas);
    for (at, group) in &groups {
        let heights: Vec<f64> =
            [0.0].into_iter().chain(group.shares.iter().copied()).chain([0.0]).collect();
        panel.steps(canvas, &edges, &heights, Stroke::of(palette::group(&group.name, *at), 2.5));
    }
    if let Some(at) = channel.log_cut.filter(|at| at.is_finite()) {
        panel.line(canvas, &[(at, panel.y.low), (at, panel.y.high)], cut);
    }
    panel.frame(canvas);
    Some(())
}

/// The colour of an area: white where it tells nothing, blue where bad rows score higher, orange
/// where lower.
fn heat(auc: f64) -> Colour {
    let (end, part) =
        if auc >= 0.5 { (HEAT_ABOVE, 2.0 * auc - 1.0) } else { (HEAT_BELOW, 1.0 - 2.0 * auc) };
    palette::tint(end, part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        prepare::split::Split,
        score::{channel_scores::ChannelScores, row::ScoredRow},
        train::Epoch,
    };
    use serde_json::json;
    use std::io::Read;

    fn report(log_cut: f64, runs: serde_json::Value) -> Report {
        let channel = json!({
            "name": "all", "features": 4, "shape": "4 → 2 → 4", "parameters": 22, "errors": "mean",
            "training": {"loss": "mse", "epochs": 3, "kept_epoch": 2, "stopped": "all epochs done", "train_loss": 0.1, "valid_loss": null,
                "best_valid_loss": null, "seconds": 1.0},
            "mean_field_error": {"sum": 1.0, "mean": 0.25}, "ae_error": {"sum": 0.5, "mean": 0.125}, "log_cut": log_cut, "bad": null, "svm": null,
            "log_ratios": {"quantity": "ln(score / mean-field error)", "low": -1.0, "high": -1.0,
                "groups": [{"name": "all", "rows": 1, "shares": [1.0, 0.0]}, {"name": "bad", "rows": 0, "shares": [0.0, 0.0]}]},
        });
        serde_json::from_value(json!({
            "name": "made", "version": "0", "device": "cpu", "seed": 1, "score": "mse", "on": "test", "channels": [channel],
            "data": {"element": null, "bins": 4, "shape": {"y": 1, "x": 4}, "features": false, "events": false, "flow_bins": false,
                "train": 1, "valid": 1, "test": 1, "unused": 0, "not_evaluated": []},
            "thresholds": [{"channel": "all", "kind": "percentile", "percentile": 99.0, "smooth": 1, "log": false, "on": "valid", "value": 1.0,
                "rows": 10, "runs": 1, "files": []}],
            "false_alarms": null, "auc": [], "worst": [], "runs": runs, "warnings": [],
        }))
        .unwrap()
    }

    fn scores(values: &[(u32, f64)], threshold: f64) -> Scores {
        let row = |ls: u32| ScoredRow {
            split: Split::Test,
            file: "a/b.csv".into(),
            run: None,
            ls: Some(ls),
            weight: None,
            rejected: None,
            class: None,
            labels: [].into(),
        };
        let channel = ChannelScores {
            name: "all".into(),
            scores: values.iter().map(|(_, score)| Some(*score)).collect(),
            thresholds: values.iter().map(|_| Some(threshold)).collect(),
            ..ChannelScores::default()
        };
        Scores {
            rows: values.iter().map(|(ls, _)| row(*ls)).collect(),
            channels: vec![channel],
            ..Scores::default()
        }
    }

    fn run(name: &str, flagged: &[u32], sums: Option<[[f64; 4]; 2]>) -> serde_json::Value {
        json!({"name": name, "run": null, "ls": [1, 5], "evaluated": 5, "not_evaluated": 0, "gaps": 0, "sum": sums.map(|sums| sums[0]),
            "flagged": [{"threshold": "p99", "value": 1.0, "ls": flagged, "sum_without": sums.map(|sums| sums[1])}]})
    }

    fn drawn(report: &Report, scores: &Scores, history: &[HistoryLine]) -> Vec<Picture> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("made.toml");
        std::fs::write(&path, "data.train = [\"a.csv\"]").unwrap();
        let experiment = Experiment::load(&path, &[]).unwrap();
        pictures(Figures { experiment: &experiment, report, scores, history, maps: None }).unwrap()
    }

    fn names(pictures: &[Picture]) -> Vec<&str> {
        pictures.iter().map(|picture| picture.name.as_str()).collect()
    }

    /// Colours of a picture, read back from its file.
    fn colours(png: &[u8]) -> BTreeSet<Vec<u8>> {
        assert_eq!(&png[..16], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((number(16), number(20)), SIZE);
        let mut lines = vec![];
        flate2::read::ZlibDecoder::new(&png[41..41 + number(33)]).read_to_end(&mut lines).unwrap();
        assert_eq!(lines.len(), SIZE.1 * (SIZE.0 * 3 + 1));
        let mut above = vec![0_u8; SIZE.0 * 3];
        let mut colours = BTreeSet::new();
        for line in lines.chunks_exact(SIZE.0 * 3 + 1) {
            assert_eq!(line[0], 2);
            above
                .iter_mut()
                .zip(&line[1..])
                .for_each(|(value, difference)| *value = value.wrapping_add(*difference));
            colours.extend(above.chunks_exact(3).map(<[u8]>::to_vec));
        }
        colours
    }

    #[test]
    fn pictures_are_whole_and_show_what_they_name() {
        let sums = Some([[10.0, 100.0, 0.0, 5.0], [9.0, 60.0, 0.0, 0.0]]);
        let report = report(0.5, json!([run("a/b.csv", &[5], sums)]));
        let epoch = |epoch: u32| Epoch {
            epoch,
            train_loss: 1.0 / f64::from(epoch),
            valid_loss: Some(0.5),
            learning_rate: 0.1,
            seconds: 1.0,
            penalty: None,
        };
        let history: Vec<HistoryLine> = (1..=3)
            .map(|at| HistoryLine { channel: "all".into(), member: 0, epoch: epoch(at) })
            .collect();
        let pictures =
            drawn(&report, &scores(&[(1, 0.1), (2, 0.2), (4, 0.1), (5, 3.0)], 1.0), &history);
        assert_eq!(
            names(&pictures),
            ["losses.png", "errors.png", "scores-a_b.csv.png", "sum-a_b.csv.png"]
        );
        for (picture, shown) in pictures.iter().zip([
            [TRAIN, VALID],
            [GOOD, THRESHOLD],
            [GOOD, FLAGGED],
            [INPUT, OUTPUT],
        ]) {
            let found = colours(&picture.png);
            assert!(
                shown.iter().all(|colour| found.contains(colour.as_slice()))
                    && found.contains(PAPER.as_slice()),
                "{}",
                picture.name
            );
        }
    }

    #[test]
    fn little_or_senseless_data_are_no_failure() {
        let no_flags = json!([run("a/b.csv", &[], None)]);
        for (values, threshold) in [
            (vec![(1, 0.5)], 1.0),
            (vec![(1, f64::NAN), (2, f64::INFINITY)], f64::NAN),
            (vec![(1, 0.0), (u32::MAX, 0.0)], 0.0),
            (vec![(7, 1e308), (8, -1e308), (9, 1e-320)], f64::INFINITY),
            (vec![], 1.0),
        ] {
            let drawn =
                drawn(&report(f64::NAN, no_flags.clone()), &scores(&values, threshold), &[]);
            let least = usize::from(values.iter().any(|(_, score)| score.is_finite()));
            assert!(
                drawn.len() > least
                    && !names(&drawn)
                        .iter()
                        .any(|name| name.starts_with("sum-") || name.starts_with("losses")),
                "{values:?}"
            );
        }
        let senseless = Epoch {
            epoch: 1,
            train_loss: f64::NAN,
            valid_loss: Some(0.0),
            learning_rate: 0.0,
            seconds: 0.0,
            penalty: None,
        };
        let history = [HistoryLine { channel: "all".into(), member: 0, epoch: senseless }];
        assert_eq!(
            names(&drawn(&report(0.0, json!([])), &Scores::default(), &history)),
            ["losses.png", "errors.png"]
        );
    }

    #[test]
    fn two_runs_whose_names_become_one_have_a_file_each() {
        let runs = json!([run("a/b.csv", &[1], None), run("a_b.csv", &[], None)]);
        let mut both = scores(&[(1, 2.0), (2, 0.1)], 1.0);
        both.rows[1].file = "a_b.csv".into();
        assert_eq!(
            names(&drawn(&report(0.0, runs), &both, &[])),
            ["errors.png", "scores-a_b.csv.png", "scores-a_b.csv-2.png"]
        );
    }
}
