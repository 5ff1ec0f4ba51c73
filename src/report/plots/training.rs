//! Losses and scores of a training.

use super::{
    Figures, MOST_CURVES, MOST_PANELS, SIZE, WHOLE,
    axes::{Axis, Panel},
    canvas::{Area, Canvas, Mark, Stroke, Style},
    legend, titled,
};
use crate::{
    palette::{self, ABSENT, INK, THRESHOLD, TRAIN, VALID},
    report::channels::{ChannelFigures, Histogram, Histograms},
    train::history::HistoryLine,
};
use std::collections::BTreeMap;

impl Figures<'_> {
    /// Losses by epoch; of many channels those that end highest have colours.
    pub(super) fn losses(&self) -> Option<Canvas> {
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
    pub(super) fn errors(&self) -> Option<Canvas> {
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
