//! ROC curves and the areas below them.

use super::{
    Figures, MOST_CURVES, SIZE, WHOLE,
    axes::{Axis, Panel},
    canvas::{Align, Area, Canvas, Stroke, Style},
    titled,
};
use crate::{
    data::channels::COMBINED,
    palette::{self, Colour, HEAT_ABOVE, HEAT_BELOW, INK, LINE, PAPER, SOFT},
    report::figures::ranking,
    score::roc::Auc,
};

impl Figures<'_> {
    /// ROC curves: of one channel one a label set, of several those of the main label set with the
    /// largest areas.
    pub(super) fn roc(&self) -> Option<Canvas> {
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
    pub(super) fn areas(&self) -> Option<Canvas> {
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

/// The colour of an area: white where it tells nothing, blue where bad rows score higher, orange
/// where lower.
fn heat(auc: f64) -> Colour {
    let (end, part) =
        if auc >= 0.5 { (HEAT_ABOVE, 2.0 * auc - 1.0) } else { (HEAT_BELOW, 1.0 - 2.0 * auc) };
    palette::tint(end, part)
}
