//! Pictures of single runs.

use super::{
    Figures, WHOLE,
    axes::{Axis, Panel},
    canvas::{Area, Canvas, Mark, Stroke},
    legend, pieces, titled,
};
use crate::{
    data::channels::COMBINED,
    palette::{self, ABSENT, FLAGGED, GOOD, INK, INPUT, OUTPUT, THRESHOLD},
    report::runs::RunFigures,
    score::run::judged,
};
use std::collections::BTreeSet;

impl Figures<'_> {
    /// Scores of a run, with its threshold.
    pub(super) fn run_scores(&self, run: &RunFigures) -> Option<Canvas> {
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
    pub(super) fn run_sum(&self, run: &RunFigures) -> Option<Canvas> {
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
}
