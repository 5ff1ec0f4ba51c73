//! What is written: a table, figures as JSON, a page, a picture.

use super::{
    inject::Size,
    outcome::{Outcome, Point, Share},
};
use crate::{
    error::{Error, Result},
    files::{
        self,
        atomic::{write_atomically, write_json},
        tables,
    },
    palette::{self, Colour, GOOD, INK, LINE, PAPER, SOFT, tint},
    report::{
        page,
        plots::{
            SIZE,
            axes::{Axis, Panel, number},
            canvas::{Align, Area, Canvas, Mark, Stroke, Style},
            titled,
        },
    },
};
use arrow_array::{ArrayRef, Float64Array, UInt32Array};
use serde_json::{Value, json};
use std::{fs, path::Path, sync::Arc};

/// The files: a row a size and strength, what was done, the page, and its main figures as a
/// picture.
pub const FILES: [&str; 4] =
    ["sensitivity.parquet", "sensitivity.json", "sensitivity.html", "sensitivity.png"];

/// Refuses a folder that holds one of the files already.
pub fn check_free(folder: &Path, force: bool) -> Result<()> {
    let shown = folder.display();
    if let Some(reason) = files::no_folder(folder) {
        return Err(Error::input(format!("--out {shown}: {reason}")));
    }
    match FILES.iter().find(|name| folder.join(name).exists()) {
        Some(name) if !force => Err(Error::input(format!(
            "--out {shown}: holds {name}; choose another folder, or --force to replace it"
        ))),
        _ => Ok(()),
    }
}

/// Writes all files into a folder.
pub fn write(folder: &Path, outcome: &Outcome) -> Result<()> {
    let [table, figures, html, png] = FILES.map(|name| folder.join(name));
    fs::create_dir_all(folder).map_err(|error| Error::writing(folder, error))?;
    let picture = picture(outcome)
        .to_png()
        .map_err(|error| Error::failed(format!("{}: {error}", png.display())))?;
    let page = page::html(&format!("{}: sensitivity", outcome.name), &data(outcome))?;
    tables::write(&table, &tables::of_columns(columns(&outcome.points))?)?;
    write_atomically(&html, page.as_bytes())?;
    write_atomically(&png, &picture)?;
    write_json(&figures, outcome)
}

/// The table: a row a size and strength.
fn columns(points: &[Point]) -> Vec<(&'static str, ArrayRef)> {
    let whole = |get: fn(&Point) -> usize| -> ArrayRef {
        Arc::new(points.iter().map(|point| Some(get(point) as u32)).collect::<UInt32Array>())
    };
    let real = |get: fn(&Point) -> Option<f64>| -> ArrayRef {
        Arc::new(points.iter().map(get).collect::<Float64Array>())
    };
    vec![
        ("x", whole(|point| point.size.x)),
        ("y", whole(|point| point.size.y)),
        ("strength", real(|point| Some(point.strength))),
        ("channels", whole(|point| point.channels)),
        ("rows", whole(|point| point.efficiency.rows)),
        ("flagged", whole(|point| point.efficiency.flagged)),
        ("efficiency", real(|point| point.efficiency.share)),
        ("low", real(|point| Some(point.efficiency.interval?.0))),
        ("high", real(|point| Some(point.efficiency.interval?.1))),
        ("iou", real(|point| point.iou)),
    ]
}

/// What the page draws.
fn data(outcome: &Outcome) -> Value {
    json!({"kind": "sensitivity", "outcome": outcome, "thresholds": thresholds(outcome)})
}

/// The thresholds in words, channel by channel.
fn thresholds(outcome: &Outcome) -> Vec<(String, Option<f64>, String)> {
    outcome
        .thresholds
        .iter()
        .map(|threshold| (threshold.channel.clone(), threshold.value, threshold.describe()))
        .collect()
}

/// Strengths from low to high, each a place on the axis; in their midst, between those below 1 and
/// those above, that at which nothing changes.
fn places(outcome: &Outcome) -> Vec<f64> {
    let mut strengths = outcome.settings.strengths.clone();
    strengths.push(1.0);
    strengths.sort_by(f64::total_cmp);
    strengths
}

/// The points of a size by strength.
fn of_size(outcome: &Outcome, size: Size) -> Vec<&Point> {
    let mut points: Vec<&Point> =
        outcome.points.iter().filter(|point| point.size == size).collect();
    points.sort_by(|a, b| a.strength.total_cmp(&b.strength));
    points
}

/// Efficiencies against strengths, a line a size with its interval, beside all of them as a map.
fn picture(outcome: &Outcome) -> Canvas {
    let channels = match outcome.settings.channels {
        1 if outcome.false_alarms.len() == 1 => String::new(),
        1 => " in one channel".into(),
        channels => format!(" in {channels} channels at the same place"),
    };
    let Share { flagged, rows, .. } =
        outcome.false_alarms.last().cloned().unwrap_or_else(|| Share::new("", 0, 0));
    let told = format!(
        "{} · defects{channels}, {} rows each; as they are, {flagged} of {rows} {} are flagged",
        outcome.name, outcome.rows, outcome.sample
    );
    let mut canvas = titled("Efficiency against injected defects", &told);
    let strengths = places(outcome);
    let last = (strengths.len() - 1) as f64;
    let place =
        |strength: f64| strengths.iter().position(|other| *other == strength).unwrap_or(0) as f64;
    let colour = palette::series;
    let rate = outcome.false_alarm().and_then(|share| share.share);
    let entries: Vec<(Mark, String)> = outcome
        .settings
        .sizes
        .iter()
        .enumerate()
        .map(|(at, size)| (Mark::Line(Stroke::of(colour(at), 3.0)), size.told()))
        .chain(rate.map(|_| (Mark::Line(Stroke::of(INK, 2.0).dashed()), "as they are".into())))
        .collect();
    let (width, bottom) = (SIZE.0 as f64, SIZE.1 as f64 - 100.0);
    let top = canvas.legend(Area { left: 40.0, top: 108.0, right: width - 40.0, bottom }, &entries)
        + 16.0;
    let middle = 0.52 * width;
    let panel = Panel {
        area: Area { left: 130.0, top, right: middle, bottom },
        x: Axis::new("", -0.4, last + 0.4),
        y: Axis::new("efficiency", -0.03, 1.03),
    };
    for share in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        panel.line(
            &mut canvas,
            &[(panel.x.low, share), (panel.x.high, share)],
            Stroke::of(LINE, 1.0),
        );
    }
    let at = |point: &Point| {
        Some((place(point.strength), point.efficiency.share?, point.efficiency.interval?))
    };
    for (of, &size) in outcome.settings.sizes.iter().enumerate() {
        // Nothing is drawn across the strength at which nothing changes.
        let (below, above): (Vec<&Point>, Vec<&Point>) =
            of_size(outcome, size).into_iter().partition(|point| point.strength < 1.0);
        for side in [below, above] {
            let points: Vec<(f64, f64, (f64, f64))> = side.into_iter().filter_map(at).collect();
            for pair in points.windows(2) {
                band(
                    &mut canvas,
                    &panel,
                    (pair[0].0, pair[0].2),
                    (pair[1].0, pair[1].2),
                    colour(of),
                );
            }
            let line: Vec<(f64, f64)> = points.iter().map(|(x, y, _)| (*x, *y)).collect();
            panel.line(&mut canvas, &line, Stroke::of(colour(of), 3.0));
            panel.discs(&mut canvas, &line, 6.0, colour(of));
        }
    }
    if let Some(rate) = rate {
        panel.line(
            &mut canvas,
            &[(panel.x.low, rate), (panel.x.high, rate)],
            Stroke::of(INK, 2.0).dashed(),
        );
    }
    panel.frame(&mut canvas);
    let style = Style::of(20.0).align(Align::Middle);
    for (at, strength) in strengths.iter().enumerate() {
        let (x, _) = panel.at((at as f64, 0.0));
        canvas.text((x, bottom + 20.0), &format!("×{}", number(*strength)), style);
    }
    canvas.text(
        ((130.0 + middle) / 2.0, bottom + 56.0),
        "contents multiplied by",
        Style::of(22.0).align(Align::Middle),
    );
    heat(&mut canvas, outcome, Area { left: middle + 150.0, top, right: width - 40.0, bottom });
    canvas
}

/// An interval that goes from one place to the next.
fn band(
    canvas: &mut Canvas,
    panel: &Panel,
    (from, a): (f64, (f64, f64)),
    (to, b): (f64, (f64, f64)),
    colour: Colour,
) {
    let (left, right) = (panel.at((from, 0.0)).0, panel.at((to, 0.0)).0);
    let steps = (right - left).round().max(1.0) as usize;
    for step in 0..steps {
        let share = (step as f64 + 0.5) / steps as f64;
        let between = |a: f64, b: f64| panel.at((from, a + share * (b - a))).1;
        let (x, wide) =
            (left + (right - left) * step as f64 / steps as f64, (right - left) / steps as f64);
        canvas.rectangle(
            Area { left: x, right: x + wide, top: between(a.1, b.1), bottom: between(a.0, b.0) },
            colour,
            0.16,
        );
    }
}

/// Sizes from top to bottom, strengths from left to right, the darker the more is found.
fn heat(canvas: &mut Canvas, outcome: &Outcome, area: Area) {
    let (sizes, strengths) = (&outcome.settings.sizes, &outcome.settings.strengths);
    let mut strengths: Vec<f64> = strengths.clone();
    strengths.sort_by(f64::total_cmp);
    let (wide, high) = (
        (area.right - area.left) / strengths.len() as f64,
        (area.bottom - area.top) / sizes.len() as f64,
    );
    let size = (wide / 3.2).clamp(9.0, 20.0);
    let text = Style::of(size).align(Align::Middle);
    for (row, of) in sizes.iter().enumerate() {
        let y = area.top + row as f64 * high;
        canvas.text(
            (area.left - 12.0, y + high / 2.0),
            &of.to_string(),
            Style::of(20.0).align(Align::End),
        );
        for (column, point) in of_size(outcome, *of).into_iter().enumerate() {
            let x = area.left + column as f64 * wide;
            let cell =
                Area { left: x + 1.0, right: x + wide - 1.0, top: y + 1.0, bottom: y + high - 1.0 };
            let centre = (x + wide / 2.0, y + high / 2.0);
            let Some(share) = point.efficiency.share else {
                canvas.rectangle(cell, LINE, 1.0);
                canvas.text(centre, "–", text.colour(SOFT));
                continue;
            };
            canvas.rectangle(cell, tint(GOOD, 0.06 + 0.94 * share), 1.0);
            canvas.text(
                centre,
                &format!("{:.0} %", 100.0 * share),
                text.colour(if share > 0.5 { PAPER } else { INK }),
            );
        }
    }
    for (column, strength) in strengths.iter().enumerate() {
        let x = area.left + (column as f64 + 0.5) * wide;
        canvas.text(
            (x, area.bottom + 20.0),
            &format!("×{}", number(*strength)),
            Style::of(20.0).align(Align::Middle),
        );
    }
    let label = Style { upwards: true, ..Style::of(22.0).align(Align::Middle) };
    canvas.text(
        (area.left - 110.0, (area.top + area.bottom) / 2.0),
        &format!("size in {}", outcome.unit),
        label,
    );
    canvas.text(
        ((area.left + area.right) / 2.0, area.bottom + 56.0),
        "contents multiplied by",
        Style::of(22.0).align(Align::Middle),
    );
}
