//! Pictures of maps: the worst lumisections with their regions, components, and regions from
//! lumisection to lumisection.

use super::{Figures, SIZE, file_name, legend, titled};
use crate::{
    data::{areas::Area as Bins, shape::Shape},
    palette::{Colour, DEAD, HOT, INK, LINE, PAPER, SOFT},
    report::{
        maps::{ChannelMaps, Triple},
        plots::{
            axes::{Axis, Panel, number},
            canvas::{Align, Area, Canvas, Mark, Stroke, Style},
        },
        runs::RunFigures,
    },
    score::patterns::{
        Side,
        scored::{self, TrackFigures},
    },
};

/// The colour scale of maps, from low to high: cividis, which is safe for colour blindness.
const SCALE: [Colour; 8] = [
    [0, 34, 78],
    [33, 59, 110],
    [76, 85, 108],
    [108, 110, 114],
    [142, 137, 120],
    [178, 165, 112],
    [217, 197, 92],
    [254, 232, 56],
];
/// Bins that are never judged.
const MASKED: Colour = [205, 205, 205];
/// Maximum number of layers in a picture.
const LAYERS: usize = 6;
/// Maximum number of components drawn per channel.
const COMPONENTS: usize = 6;
/// Maximum number of regions drawn per run: the largest.
const LANES: usize = 28;

fn shade(share: f64) -> Colour {
    let place = share.clamp(0.0, 1.0) * (SCALE.len() - 1) as f64;
    let below = (place as usize).min(SCALE.len() - 2);
    std::array::from_fn(|i| {
        let (from, to) = (f64::from(SCALE[below][i]), f64::from(SCALE[below + 1][i]));
        (from + (place - below as f64) * (to - from)).round() as u8
    })
}

fn colour(side: Side) -> Colour {
    match side {
        Side::Dead => DEAD,
        Side::Hot => HOT,
    }
}

/// Draws a map with a frame: x to the right, y upwards.
fn map(
    canvas: &mut Canvas,
    area: Area,
    shape: Shape,
    (low, high): (f64, f64),
    value: impl Fn(usize) -> Option<f64>,
) {
    let (wide, tall) =
        ((area.right - area.left) / shape.x as f64, (area.bottom - area.top) / shape.y as f64);
    for bin in 0..shape.width() {
        let (x, y) = ((bin % shape.x) as f64, (bin / shape.x) as f64);
        let share = value(bin)
            .filter(|value| value.is_finite())
            .map(|value| if high > low { (value - low) / (high - low) } else { 0.0 });
        // Rounded to whole pixels, so that there are no seams between neighbours.
        let cell = Area {
            left: (area.left + x * wide).round(),
            right: (area.left + (x + 1.0) * wide).round(),
            top: (area.bottom - (y + 1.0) * tall).round(),
            bottom: (area.bottom - y * tall).round(),
        };
        canvas.rectangle(cell, share.map_or(MASKED, shade), 1.0);
    }
    let Area { left, top, right, bottom } = area;
    let within = canvas.area();
    canvas.line(
        &[(left, top), (right, top), (right, bottom), (left, bottom), (left, top)],
        Stroke::of(INK, 1.0),
        within,
    );
}

/// Draws the rectangle of a region: a coloured line with a dark outline.
fn outline(canvas: &mut Canvas, area: Area, shape: Shape, bins: Bins, side: Side, known: bool) {
    let x = |bin: usize| area.left + (area.right - area.left) * bin as f64 / shape.x as f64;
    let y = |bin: usize| area.bottom - (area.bottom - area.top) * bin as f64 / shape.y as f64;
    let (left, right, bottom, top) = (x(bins.x.0), x(bins.x.1 + 1), y(bins.y.0), y(bins.y.1 + 1));
    let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
    let stroke = Stroke::of(colour(side), 2.0);
    let within = canvas.area();
    canvas.line(&corners, Stroke::of(INK, 4.5), within);
    canvas.line(&corners, if known { stroke.dashed() } else { stroke }, within);
}

/// The range of the colour scale: from the lowest to the highest value, but at most twice the range
/// of nearly all values, so that very hot bins leave colours for the rest.
fn range<'a>(values: impl Iterator<Item = &'a f32>) -> (f64, f64) {
    let mut values: Vec<f32> = values.copied().filter(|value| value.is_finite()).collect();
    values.sort_by(f32::total_cmp);
    let (Some(&low), Some(&high)) = (values.first(), values.last()) else { return (0.0, 0.0) };
    let (low, high, most) =
        (f64::from(low), f64::from(high), f64::from(values[values.len() * 95 / 100]));
    (low, if most > low { high.min(low + 2.0 * (most - low)) } else { high })
}

/// The largest area for a map of this shape within `place`.
fn fitting(place: Area, shape: Shape) -> Area {
    let (width, height) = (place.right - place.left, place.bottom - place.top);
    // The height of bins is at most four times their width, and vice versa.
    let height = height.min(4.0 * width * shape.y as f64 / shape.x as f64);
    let width = width.min(4.0 * height * shape.x as f64 / shape.y as f64);
    Area { right: place.left + width, bottom: place.top + height, ..place }
}

impl Figures<'_> {
    /// The worst lumisections: map, reconstruction and error of each layer, with the regions.
    pub(super) fn worst_maps(&self) -> Vec<(String, Canvas)> {
        let Some(maps) = self.maps else { return vec![] };
        let one = |(at, &row): (usize, &usize)| {
            let row = &self.scores.rows[row];
            let mut layers: Vec<(&ChannelMaps, &Triple)> = maps
                .channels
                .iter()
                .filter_map(|channel| Some((channel, channel.worst.get(at)?)))
                .collect();
            let several = layers.len();
            // If there is not enough room for all, layers with regions come first.
            layers.sort_by_key(|(_, triple)| several > LAYERS && triple.regions.is_empty());
            layers.truncate(LAYERS);
            let ls = row.ls.unwrap_or_default();
            let left_out = if several > LAYERS {
                format!("; {LAYERS} of {several} layers")
            } else {
                String::new()
            };
            let mut canvas = titled(
                &format!(
                    "Run {}, LS {ls}: map, reconstruction and {}",
                    row.run_name(),
                    self.experiment.score.kind.per_feature()
                ),
                &format!(
                    "{} · as scaled; map and reconstruction of a layer share a colour scale, in which values far above its range have the same colour{left_out}",
                    self.report.name
                ),
            );
            let mut entries: Vec<(Mark, String)> = vec![];
            for side in [Side::Dead, Side::Hot] {
                if layers
                    .iter()
                    .any(|(_, triple)| triple.regions.iter().any(|(region, _)| region.side == side))
                {
                    entries.push((
                        Mark::Line(Stroke::of(colour(side), 4.0)),
                        format!("region that is {}", scored::name(side)),
                    ));
                }
            }
            if layers.iter().any(|(_, triple)| triple.regions.iter().any(|(_, known)| *known)) {
                entries.push((
                    Mark::Line(Stroke::of(SOFT, 3.0).dashed()),
                    "known to be masked".into(),
                ));
            }
            if layers.iter().any(|(channel, _)| channel.masked.contains(&true)) {
                entries.push((Mark::Band(MASKED), "mostly 0 in training: never judged".into()));
            }
            let top = legend(&mut canvas, &entries);
            let height = (SIZE.1 as f64 - top - 10.0) / layers.len().max(1) as f64;
            let width = (SIZE.0 as f64 - 60.0) / 3.0;
            for (line, (channel, triple)) in layers.iter().enumerate() {
                let judged = |bin: usize| !channel.masked[bin];
                let both = triple
                    .input
                    .iter()
                    .zip(&channel.masked)
                    .chain(triple.output.iter().zip(&channel.masked));
                let common = range(both.filter(|(_, masked)| !**masked).map(|(value, _)| value));
                let worst = triple
                    .error
                    .iter()
                    .zip(&channel.masked)
                    .filter(|(_, masked)| !**masked)
                    .map(|(error, _)| *error)
                    .fold(0.0, f64::max);
                for column in 0..3 {
                    let (left, top) = (40.0 + column as f64 * width, top + line as f64 * height);
                    let place = Area {
                        left,
                        top: top + 26.0,
                        right: left + width - 20.0,
                        bottom: top + height - 12.0,
                    };
                    let area = fitting(place, channel.shape);
                    let (what, scale) =
                        [("map", common), ("reconstruction", common), ("error", (0.0, worst))]
                            [column];
                    let three =
                        |value: f64| number(format!("{value:.2e}").parse().unwrap_or(value));
                    let text = format!(
                        "{} {what}  {} … {}",
                        channel.channel,
                        three(scale.0),
                        three(scale.1)
                    );
                    let style = Style::of(18.0);
                    canvas.text((left, top + 12.0), &style.fit(&text, width - 20.0), style);
                    map(&mut canvas, area, channel.shape, scale, |bin| {
                        judged(bin).then(|| match column {
                            0 => f64::from(triple.input[bin]),
                            1 => f64::from(triple.output[bin]),
                            _ => triple.error[bin],
                        })
                    });
                    for (region, known) in &triple.regions {
                        outline(&mut canvas, area, channel.shape, region.area, region.side, *known);
                    }
                }
            }
            (format!("maps-{}-{ls}", file_name(&row.run_name())), canvas)
        };
        maps.worst.iter().enumerate().map(one).collect()
    }

    /// The components of maps, one line per layer.
    pub(super) fn components(&self) -> Option<Canvas> {
        let channels: Vec<&ChannelMaps> = self
            .maps?
            .channels
            .iter()
            .filter(|channel| !channel.components.is_empty())
            .take(LAYERS)
            .collect();
        let most = channels.iter().map(|channel| channel.components.len()).max()?;
        let shown = most.min(COMPONENTS);
        let left_out =
            if most > shown { format!("; the {shown} largest of {most}") } else { String::new() };
        let mut canvas = titled(
            "Components",
            &format!(
                "{} · shares of the sum of all reconstructions; each has its own colour scale, from 0 to its largest value{left_out}",
                self.report.name
            ),
        );
        let (top, left) = (110.0, 40.0);
        let (width, height) = (
            (SIZE.0 as f64 - 60.0) / shown as f64,
            (SIZE.1 as f64 - top - 10.0) / channels.len() as f64,
        );
        for (line, channel) in channels.iter().enumerate() {
            for (column, component) in channel.components.iter().take(shown).enumerate() {
                let (left, top) = (left + column as f64 * width, top + line as f64 * height);
                let area = fitting(
                    Area {
                        left,
                        top: top + 26.0,
                        right: left + width - 20.0,
                        bottom: top + height - 12.0,
                    },
                    channel.shape,
                );
                let style = Style::of(18.0);
                let text = format!(
                    "component {}: {:.1} %, {}",
                    component.number,
                    100.0 * component.share,
                    channel.channel
                );
                canvas.text((left, top + 12.0), &style.fit(&text, width - 20.0), style);
                let high = f64::from(component.map.iter().copied().fold(0.0, f32::max));
                map(&mut canvas, area, channel.shape, (0.0, high), |bin| {
                    (!channel.masked[bin]).then(|| f64::from(component.map[bin]))
                });
            }
        }
        Some(canvas)
    }

    /// The tracks of regions of a run, one lane each, from their first LS to the last.
    pub(super) fn run_regions(&self, run: &RunFigures) -> Option<Canvas> {
        let found = self.report.patterns.as_ref()?;
        let mut tracks: Vec<&TrackFigures> =
            found.tracks.iter().filter(|track| track.run == run.name).collect();
        let all = tracks.len();
        tracks.sort_by_key(|track| std::cmp::Reverse(track.bins * track.seen));
        tracks.truncate(LANES);
        let place = |channel: &str| self.report.channels.iter().position(|own| own.name == channel);
        tracks.sort_by_key(|track| (place(&track.channel), track.ls));
        let numbers = self.scores.rows.iter().filter(|row| run.is_of(row)).filter_map(|row| row.ls);
        let ends = tracks.iter().flat_map(|track| [track.ls.0, track.ls.1]);
        let x =
            Axis::around("LS", numbers.chain(ends).map(f64::from), false).filter(|_| all > 0)?;
        let left_out =
            if all > LANES { format!("; the {LANES} largest of {all}") } else { String::new() };
        let mut canvas = titled(
            &format!("Regions, run {}", run.name),
            &format!("{} · {}{left_out}", self.report.name, found.what),
        );
        let line = Stroke::of(SOFT, 3.0).dashed();
        let entries = [
            (
                tracks.iter().any(|track| track.side == Side::Dead),
                Mark::Band(colour(Side::Dead)),
                "dead",
            ),
            (
                tracks.iter().any(|track| track.side == Side::Hot),
                Mark::Band(colour(Side::Hot)),
                "hot",
            ),
            (
                tracks.iter().any(|track| track.coincident),
                Mark::Disc(INK),
                "at the same place in several layers",
            ),
            (tracks.iter().any(|track| track.known), Mark::Line(line), "known to be masked"),
        ];
        let drawn = entries
            .into_iter()
            .filter(|(is_drawn, ..)| *is_drawn)
            .map(|(_, mark, name)| (mark, name.to_owned()));
        let top = legend(&mut canvas, &drawn.collect::<Vec<_>>());
        let name = |track: &TrackFigures| format!("{} {}", track.channel, track.area());
        let style = Style::of(18.0).align(Align::End);
        let room =
            tracks.iter().map(|track| style.width(&name(track))).fold(0.0, f64::max).min(460.0);
        let area = Area {
            left: room + 60.0,
            top,
            right: SIZE.0 as f64 - 40.0,
            bottom: SIZE.1 as f64 - 80.0,
        };
        let lane = ((area.bottom - area.top) / tracks.len() as f64).min(60.0);
        let panel = Panel {
            area: Area { bottom: area.top + lane * tracks.len() as f64, ..area },
            x,
            y: Axis::new("", 0.0, 1.0),
        };
        for (at, track) in tracks.iter().enumerate() {
            let y = area.top + (at as f64 + 0.5) * lane;
            if at % 2 == 1 {
                canvas.rectangle(
                    Area { top: y - lane / 2.0, bottom: y + lane / 2.0, ..area },
                    LINE,
                    0.5,
                );
            }
            canvas.text((area.left - 12.0, y), &style.fit(&name(track), room), style);
            let (left, right) = (
                panel.at((f64::from(track.ls.0) - 0.5, 0.0)).0,
                panel.at((f64::from(track.ls.1) + 0.5, 0.0)).0,
            );
            let half = (0.35 * lane).min(9.0);
            let bar = Area { left, right: right.max(left + 4.0), top: y - half, bottom: y + half };
            if track.known {
                let corners = [
                    (bar.left, bar.top),
                    (bar.right, bar.top),
                    (bar.right, bar.bottom),
                    (bar.left, bar.bottom),
                    (bar.left, bar.top),
                ];
                canvas.rectangle(bar, PAPER, 1.0);
                canvas.line(&corners, Stroke::of(colour(track.side), 2.0).dashed(), area);
            } else {
                canvas.rectangle(bar, colour(track.side), 1.0);
            }
            if track.coincident {
                canvas.disc((left, y), 6.0, INK);
            }
        }
        panel.frame_across(&mut canvas);
        Some(canvas)
    }
}
