//! The data of the lumisection viewer: for each kept row the input, the reconstruction and the
//! error of every bin or feature; for maps the regions too.

use super::{packed::packed, shown::Shown};
use crate::{
    config::{Experiment, scale::FitOn},
    data::{axes, shape::Shape},
    device::Device,
    error::Result,
    prepare::Prepared,
    report::maps::is_map,
    score::{
        inference::Inference,
        network::Network,
        patterns::{Side, scored::Patterns},
        scores::Scores,
    },
};
use serde_json::{Value, json};
use std::collections::HashSet;

/// Maximum size in bytes of the unpacked frames of all channels. All flagged rows are kept even if
/// they exceed it, except for maps, whose regions persist over rows.
const BUDGET: usize = 4 << 20;
/// Maximum number of features per row: those with the largest errors.
const FEATURES: usize = 40;

/// The kept rows: run, index among the shown rows of the run, position in the scores.
#[derive(Default)]
struct Kept {
    rows: Vec<(usize, usize, usize)>,
    note: String,
}

impl Kept {
    /// Keeps those of `first` that are shown, the flagged ones, and as many others as `place`
    /// allows. With `must_fit`, flagged rows are thinned out to fit too.
    fn new(
        shown: &Shown,
        place: usize,
        first: &[usize],
        is_flagged: &dyn Fn(usize) -> bool,
        must_fit: bool,
    ) -> Self {
        let first: HashSet<usize> = first.iter().take(place).copied().collect();
        let rows: Vec<(usize, usize, usize)> = shown.places().collect();
        let (first, rows): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(_, _, row)| first.contains(row));
        let (flagged, others): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(_, _, row)| is_flagged(*row));
        let place = place.saturating_sub(first.len());
        // A third of the space is for rows that are not flagged.
        let of_flagged = place.saturating_sub(others.len().min(place / 3)).max(1);
        let flagged_step = if must_fit { flagged.len().div_ceil(of_flagged).max(1) } else { 1 };
        let step = others
            .len()
            .div_ceil(place.saturating_sub(flagged.len().div_ceil(flagged_step)).max(1))
            .max(1);
        let among = "of the others that are shown above";
        let note = match (flagged_step, step) {
            (1, 1) => String::new(),
            (1, _) => format!("all flagged ones, and one in {step} {among}"),
            _ => format!(
                "those with the most bins of each region, one in {flagged_step} of the other flagged ones, and one in {step} {among}"
            ),
        };
        let mut rows: Vec<_> = first
            .into_iter()
            .chain(flagged.into_iter().step_by(flagged_step))
            .chain(others.into_iter().step_by(step))
            .collect();
        rows.sort_unstable();
        Self { rows, note }
    }
}

/// The frames of each channel. Each channel keeps the rows that it or "combined" flags; channels of
/// maps all keep the same rows, because they are viewed together.
pub fn of_channels(
    experiment: &Experiment,
    networks: &[Network],
    prepared: &Prepared,
    scores: &Scores,
    patterns: Option<&Patterns>,
    shown: &Shown,
    device: &Device,
) -> Result<Vec<Value>> {
    let together = networks.iter().all(is_map).then(|| {
        let widest =
            networks.iter().map(|network| network.channel.features.len()).max().unwrap_or(1);
        let evaluated: Vec<usize> = scores.evaluated().collect();
        let peaks: Vec<usize> = patterns
            .iter()
            .flat_map(|patterns| patterns.peaks(&prepared.samples))
            .map(|row| evaluated[row])
            .collect();
        let is_flagged =
            |row: usize| scores.channels.iter().any(|channel| channel.flagged(row) == Some(true));
        Kept::new(
            shown,
            BUDGET / networks.len() / (4 * widest + 24),
            &peaks,
            &is_flagged,
            patterns.is_some(),
        )
    });
    let of_channel = |(at, network): (usize, &Network)| {
        let view = View {
            experiment,
            network,
            at,
            channels: networks.len(),
            prepared,
            scores,
            patterns,
            shown,
        };
        let own = together.is_none().then(|| view.kept());
        view.frames(together.as_ref().or(own.as_ref()).unwrap_or(&Kept::default()), device)
    };
    networks.iter().enumerate().map(of_channel).collect()
}

/// A channel in the viewer.
struct View<'a> {
    experiment: &'a Experiment,
    network: &'a Network,
    /// Its position among the channels.
    at: usize,
    channels: usize,
    prepared: &'a Prepared,
    scores: &'a Scores,
    patterns: Option<&'a Patterns>,
    shown: &'a Shown,
}

impl View<'_> {
    /// Number of values kept per row, and whether their indices must be stored.
    fn values(&self) -> (usize, bool) {
        let width = self.network.channel.features.len();
        let k = if self.prepared.samples.features.is_none() { width } else { width.min(FEATURES) };
        (k, k < width)
    }

    /// The kept rows of a channel with its own selection.
    fn kept(&self) -> Kept {
        let (k, listed) = self.values();
        let bytes = 3 * k + if listed { 2 * k } else { 0 } + 16;
        let own =
            self.scores.channels.iter().find(|channel| channel.name == self.network.channel.name);
        let deciding: Vec<_> = own.into_iter().chain(self.scores.main()).collect();
        let is_flagged =
            |row: usize| deciding.iter().any(|channel| channel.flagged(row) == Some(true));
        Kept::new(self.shown, BUDGET / self.channels / bytes, &[], &is_flagged, false)
    }

    /// The frames of some rows.
    fn frames(&self, kept: &Kept, device: &Device) -> Result<Value> {
        let Self { experiment, network, prepared, shown, .. } = *self;
        let samples = &prepared.samples;
        let width = network.channel.features.len();
        let (k, listed) = self.values();
        // In the units of the data if the scaling can be inverted; maps with regions are shown
        // scaled.
        let scaler = &prepared.scaler;
        let as_read = scaler.forgets().is_none()
            && scaler.clip.is_none()
            && scaler.fit_on != FitOn::EachFile
            && experiment.scale.divide_by.is_none()
            && self.patterns.is_none();
        let columns = network.channel.columns(&prepared.input_names());
        let places: Vec<usize> = columns.iter().cloned().flatten().collect();
        let undo = |values: &[f32]| -> Vec<f32> {
            if as_read {
                values
                    .iter()
                    .zip(&places)
                    .map(|(value, &column)| scaler.undo(column, *value))
                    .collect()
            } else {
                values.to_vec()
            }
        };
        let kind = experiment.score.kind;
        let positions: Vec<u32> =
            kept.rows.iter().map(|(_, _, row)| shown.position(*row)).collect();
        let n = kept.rows.len();
        let (mut low, mut high, mut highest) =
            (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
        let (mut inputs, mut outputs, mut errors) =
            (Vec::with_capacity(n * k), Vec::with_capacity(n * k), Vec::with_capacity(n * k));
        let mut features: Vec<u16> = vec![];
        // Missing inputs, by their position among all kept ones.
        let mut missing: Vec<u32> = vec![];
        // The mean reconstruction of an ensemble.
        let members = network.members.len();
        let (mut output_sum, mut error_sum) = (vec![0.0_f32; width], vec![0.0_f64; width]);
        let runner = Inference::new(&network.architecture, &network.members, device);
        runner.reconstruct(
            prepared.rows(&columns).at(&positions),
            &mut |_, member, input, output| {
                if member == 0 {
                    output_sum.fill(0.0);
                    error_sum.fill(0.0);
                }
                for ((sum, error), (input, output)) in
                    output_sum.iter_mut().zip(&mut error_sum).zip(input.iter().zip(output))
                {
                    *sum += output / members as f32;
                    if !input.is_nan() {
                        *error += kind.of_feature(*input, *output) / members as f64;
                    }
                }
                if member + 1 < members {
                    return;
                }
                let (seen, made) = (undo(input), undo(&output_sum));
                let mut chosen: Vec<usize> = (0..width).collect();
                if listed {
                    chosen.sort_by(|a, b| error_sum[*b].total_cmp(&error_sum[*a]));
                    chosen.truncate(k);
                    chosen.sort_unstable();
                    features.extend(chosen.iter().map(|&at| at as u16));
                }
                let finite = || {
                    chosen
                        .iter()
                        .flat_map(|&at| [seen[at], made[at]])
                        .filter(|value| value.is_finite())
                };
                let (from, to) = finite()
                    .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| {
                        (low.min(value), high.max(value))
                    });
                let (from, to) = if from <= to { (from, to) } else { (0.0, 0.0) };
                let worst = chosen
                    .iter()
                    .map(|&at| error_sum[at])
                    .filter(|error| error.is_finite())
                    .fold(0.0, f64::max);
                let first = inputs.len();
                missing.extend(
                    chosen
                        .iter()
                        .enumerate()
                        .filter(|(_, at)| input[**at].is_nan())
                        .map(|(place, _)| (first + place) as u32),
                );
                inputs.extend(
                    chosen.iter().map(|&at| code(f64::from(seen[at] - from), f64::from(to - from))),
                );
                outputs.extend(
                    chosen.iter().map(|&at| code(f64::from(made[at] - from), f64::from(to - from))),
                );
                errors.extend(chosen.iter().map(|&at| code(error_sum[at], worst)));
                low.push(from);
                high.push(to);
                highest.push(worst as f32);
            },
        )?;
        let layer = samples.layers.iter().find(|layer| layer.name == network.channel.name);
        let whole = Some(samples.shape).filter(|_| width == samples.width());
        let shape = network
            .channel
            .shape
            .or(whole)
            .filter(|shape| shape.width() <= width)
            .unwrap_or(Shape::line(width));
        let edges =
            axes::ends(layer.map_or(samples.edges, |layer| layer.edges), shape, samples.flow_bins);
        Ok(json!({
            "channel": network.channel.name,
            "names": samples.features.as_ref().map(|_| &network.channel.features),
            "element": network.channel.element,
            "shape": [shape.y, shape.x],
            "edges": edges.iter().any(Option::is_some).then_some(edges),
            "unit": if as_read { "as read" } else { "as scaled" },
            "error": format!("{} of scaled inputs", kind.per_feature()),
            "run": packed(kept.rows.iter().map(|(run, _, _)| *run as u16))?,
            "at": packed(kept.rows.iter().map(|(_, at, _)| *at as u32))?,
            "low": packed(low.into_iter())?,
            "high": packed(high.into_iter())?,
            "input": packed(inputs.into_iter())?,
            "output": packed(outputs.into_iter())?,
            "error_high": packed(highest.into_iter())?,
            "errors": packed(errors.into_iter())?,
            "features": if listed { Some(packed(features.into_iter())?) } else { None },
            "missing": (!missing.is_empty()).then(|| packed(missing.into_iter())).transpose()?,
            "k": k,
            "note": kept.note,
            "masked": (!network.masked.is_empty()).then(|| packed(network.masked.iter().copied())).transpose()?,
            "raw": (is_map(network) && !as_read).then(|| self.raw(&positions, &places)).transpose()?,
            "regions": self.patterns.map(|patterns| self.regions(patterns, &positions)).transpose()?,
        }))
    }

    /// The maps as read, encoded like the others.
    fn raw(&self, positions: &[u32], columns: &[usize]) -> Result<Value> {
        let (mut low, mut high, mut codes) =
            (vec![], vec![], Vec::with_capacity(positions.len() * columns.len()));
        for &position in positions {
            let row = self.prepared.samples.row(position as usize);
            // Added inputs are not read from the map.
            let values =
                || columns.iter().map(|&column| row.get(column).copied().unwrap_or(f32::NAN));
            let finite = values().filter(|value| value.is_finite());
            let (from, to) = finite
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| {
                    (low.min(value), high.max(value))
                });
            let (from, to) = if from <= to { (from, to) } else { (0.0, 0.0) };
            codes.extend(values().map(|value| code(f64::from(value - from), f64::from(to - from))));
            low.push(from);
            high.push(to);
        }
        Ok(
            json!({"low": packed(low.into_iter())?, "high": packed(high.into_iter())?, "codes": packed(codes.into_iter())?}),
        )
    }

    /// The regions of the kept rows in this channel: frame; first and last of x and y; bins; 1 for
    /// hot, 2 for coincident, 4 for known.
    fn regions(&self, patterns: &Patterns, positions: &[u32]) -> Result<Value> {
        let all: Vec<_> = positions
            .iter()
            .enumerate()
            .flat_map(|(frame, &position)| {
                patterns
                    .of(position as usize, self.at)
                    .map(move |(region, known)| (frame, region, known))
            })
            .collect();
        let flags = all.iter().map(|(_, region, known)| {
            u8::from(region.side == Side::Hot)
                + 2 * u8::from(region.coincident)
                + 4 * u8::from(*known)
        });
        let areas = all.iter().flat_map(|(_, region, _)| {
            [region.area.x.0, region.area.x.1, region.area.y.0, region.area.y.1]
        });
        Ok(json!({
            "frame": packed(all.iter().map(|(frame, _, _)| *frame as u32))?,
            "areas": packed(areas.map(|bin| bin as u32))?,
            "bins": packed(all.iter().map(|(_, region, _)| region.bins as u32))?,
            "flags": packed(flags)?,
        }))
    }
}

/// Encodes a value from 0 to `range` as a byte, with finer steps for small values.
pub(super) fn code(value: f64, range: f64) -> u8 {
    if range > 0.0 { ((value / range).clamp(0.0, 1.0).sqrt() * 255.0).round() as u8 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        prepare::split::Split,
        score::{channel_scores::ChannelScores, row::ScoredRow},
    };

    /// The rows kept of 100, of which the first forty are flagged: number of flagged ones, number
    /// of others, and whether row 39 and row 99 are kept.
    fn kept(place: usize, must_fit: bool) -> (usize, usize, bool, bool, String) {
        let row = |ls| ScoredRow {
            split: Split::Test,
            file: "a".into(),
            run: Some(1),
            ls: Some(ls),
            weight: None,
            rejected: None,
            class: None,
            labels: [].into(),
        };
        let channel = ChannelScores {
            name: "all".into(),
            scores: (0..100).map(|at| Some(f64::from(u8::from(at < 40)))).collect(),
            thresholds: vec![Some(0.5); 100],
            ..ChannelScores::default()
        };
        let scores = Scores {
            rows: (1..=100).map(row).collect(),
            channels: vec![channel],
            ..Scores::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, "data.train = [\"a.csv\"]").unwrap();
        let shown = Shown::new(&Experiment::load(&path, &[]).unwrap(), &scores);
        let Kept { rows, note } = Kept::new(&shown, place, &[99, 39], &|row| row < 40, must_fit);
        assert!(rows.is_sorted());
        let count =
            |wanted: &dyn Fn(usize) -> bool| rows.iter().filter(|(_, _, row)| wanted(*row)).count();
        (
            count(&|row| row < 40),
            count(&|row| row >= 40),
            count(&|row| row == 39) == 1,
            count(&|row| row == 99) == 1,
            note,
        )
    }

    #[test]
    fn regions_come_first_then_flagged_rows_and_all_have_their_place() {
        assert_eq!(kept(100, true), (40, 60, true, true, String::new()));
        let (flagged, others, first, last, note) = kept(32, true);
        assert_eq!((flagged, others, first, last), (21, 11, true, true), "{note}");
        assert!(
            note.contains("one in 2 of the other flagged ones, and one in 6 of the others"),
            "{note}"
        );
        let (flagged, others, first, last, note) = kept(32, false);
        assert_eq!((flagged, others, first, last), (40, 2, true, true), "{note}");
        let (flagged, others, _, last, note) = kept(1, true);
        assert!(flagged + others <= 3 && last, "{flagged} + {others}: {note}");
    }
}
