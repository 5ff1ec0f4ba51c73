//! Measures how well an experiment finds defects of given sizes and strengths. Defects are injected
//! into held-out good rows, which are then scaled, scored and flagged like any others.
//!
//! Each changed row is judged alone: the mask that depends on the preceding rows of its run
//! (`patterns.dynamic_mask`) is off.

mod inject;
pub mod outcome;
mod outputs;

use crate::{
    config::{
        Experiment,
        patterns::Window,
        scale::FitOn,
        threshold::{CalibrateOn, ThresholdKind},
    },
    data::{Role, Samples, areas::Area, shape::Shape},
    device::Device,
    error::{Error, Result},
    experiment::trained::TrainedModel,
    prepare::{Prepared, split::Split},
    random,
    score::{
        patterns::{Region, Side, scored::Patterns},
        run::{self, Scored},
        scores::Scores,
        threshold::Calibrated,
    },
};
pub use inject::Size;
use inject::{bins, inject, place};
use outcome::{Outcome, Point, Settings, Share};
pub use outputs::{FILES, check_free, write};
use rand::seq::SliceRandom;
use std::ops::Range;

/// Default sizes for maps, and for histograms in one dimension.
const OF_MAPS: [(usize, usize); 5] = [(2, 2), (4, 2), (8, 3), (16, 2), (16, 6)];

const OF_LINES: [(usize, usize); 4] = [(1, 1), (2, 1), (5, 1), (10, 1)];

/// A checked plan of defects and rows.
#[derive(Clone, Debug)]
pub struct Plan {
    layers: Vec<Layer>,
    settings: Settings,
    seed: u64,
    /// The held-out rows that count as good.
    good: Vec<usize>,
    sample: String,
    notes: Vec<String>,
}

/// A map or histogram of the samples.
#[derive(Clone, Debug)]
struct Layer {
    name: String,
    shape: Shape,
    /// The range of its bins among the values of a row.
    columns: Range<usize>,
}

/// A defect in a row: a layer and an area of it each.
type Defect = Vec<(usize, Area)>;

impl Plan {
    /// Checks whether the settings are possible on these rows.
    pub fn new(experiment: &Experiment, prepared: &Prepared) -> Result<Self> {
        let samples = &prepared.samples;
        let what = match () {
            () if samples.events => "the rows are events",
            () if samples.features.is_some() => "the rows are features",
            () => "",
        };
        if !what.is_empty() {
            return Err(Error::input(format!(
                "sensitivity: {what}; defects are injected into the bins of histograms and maps"
            )));
        }
        if experiment.threshold.on == CalibrateOn::Scored
            && experiment.threshold.kind != ThresholdKind::Fixed
        {
            return Err(Error::input(
                "sensitivity: threshold.on = \"scored\" finds a threshold on each run that is scored: a changed row alone has none; expected \"valid\" or \"train\"",
            ));
        }
        if prepared.scaler.fit_on == FitOn::EachFile {
            return Err(Error::input(
                "sensitivity: scale.fit_on = \"each-file\" scales a row with all others of its file: a changed row cannot be scaled alone",
            ));
        }
        let layers = layers(samples);
        let channels = match (&experiment.sensitivity.channels, &experiment.patterns) {
            (Some(channels), _) => *channels as usize,
            (None, Some(patterns)) => {
                patterns.layers.map_or(layers.len().min(2), |layers| layers as usize)
            }
            (None, None) => 1,
        };
        if channels > layers.len() {
            return Err(Error::input(format!(
                "sensitivity.channels: found {channels}; expected at most {}, as many as there are",
                layers.len()
            )));
        }
        let sizes = sizes(&experiment.sensitivity.sizes, &layers)?;
        let (good, sample, mut notes) = held_out(prepared)?;
        if experiment.patterns.as_ref().is_some_and(|patterns| patterns.dynamic_mask > 0) {
            notes.push(
                "patterns.dynamic_mask is off for changed rows: each is judged by itself".into(),
            );
        }
        let section = &experiment.sensitivity;
        let settings = Settings {
            sizes,
            strengths: section.strengths.clone(),
            rows: section.rows as usize,
            channels,
            poisson: section.poisson,
        };
        Ok(Self { layers, settings, seed: experiment.seed, good, sample, notes })
    }

    /// Number of combinations of size and strength.
    pub fn points(&self) -> usize {
        self.settings.sizes.len() * self.settings.strengths.len()
    }

    /// Runs all sizes and strengths. `done` is called after each; an error from it ends the run.
    /// `experiment` is the folder of the experiment, `score` the description of its score.
    pub fn run(
        mut self,
        model: &TrainedModel,
        prepared: Prepared,
        (experiment, score): (String, String),
        device: &Device,
        done: &dyn Fn() -> Result<()>,
    ) -> Result<Outcome> {
        let (false_alarms, base) = self.choose(model, prepared, device)?;
        let rows = base.samples.rows.len();
        if self.settings.poisson
            && base
                .samples
                .values
                .iter()
                .any(|value| !value.is_nan() && (value.fract() != 0.0 || *value < 0.0))
        {
            let what = "contents are not whole numbers, but are drawn from Poisson distributions";
            self.notes.push(format!("{what}; sensitivity.poisson = false only multiplies them"));
        }
        let alone = alone(&model.experiment);
        let mut points = vec![];
        for &size in &self.settings.sizes {
            let defects: Vec<Option<Defect>> =
                (0..rows).map(|row| self.defect(model, &base.samples, row, size)).collect();
            let without = defects.iter().filter(|defect| defect.is_none()).count();
            if without > 0 {
                self.notes.push(format!(
                    "{without} of {rows} rows have no area of {} with at least half of the bins filled",
                    size.told()
                ));
            }
            for &strength in &self.settings.strengths {
                let changed = self.changed(&base, &defects, size, strength);
                let (scores, patterns) = judge(&alone, model, &changed, device)?;
                points.push(self.point((size, strength), &defects, &scores, patterns.as_ref()));
                done()?;
            }
        }
        let is_flat = self.layers.iter().all(|layer| layer.shape.y == 1);
        Ok(Outcome {
            name: model.experiment.name.clone(),
            experiment,
            version: env!("CARGO_PKG_VERSION").into(),
            score,
            thresholds: model.thresholds.iter().map(Calibrated::brief).collect(),
            seed: self.seed,
            settings: self.settings,
            unit: if is_flat { "bins" } else { "bins (x × y)" }.into(),
            sample: self.sample,
            false_alarms,
            rows,
            points,
            notes: self.notes,
        })
    }

    /// Scores the unchanged rows and chooses some of the held-out good ones that are not flagged.
    fn choose(
        &mut self,
        model: &TrainedModel,
        prepared: Prepared,
        device: &Device,
    ) -> Result<(Vec<Share>, Prepared)> {
        let (scores, _) = judge(&model.experiment, model, &prepared, device)?;
        // Rows that are not evaluated are among the others.
        let places: Vec<usize> = scores.evaluated().collect();
        if places.len() < prepared.samples.rows.len() {
            return Err(Error::failed(
                "sensitivity: rows with a score in the experiment have none on this device; use the device of the training",
            ));
        }
        let flagged = |channel: usize, row: usize| {
            scores.channels[channel].flagged(places[row]) == Some(true)
        };
        let share = |channel: usize| {
            let flagged = self.good.iter().filter(|row| flagged(channel, **row)).count();
            Share::new(&scores.channels[channel].name, flagged, self.good.len())
        };
        let false_alarms: Vec<Share> = (0..scores.channels.len()).map(share).collect();
        let main = scores.channels.len() - 1;
        let mut rows: Vec<usize> =
            self.good.iter().copied().filter(|row| !flagged(main, *row)).collect();
        let mut picked = prepared.pick(&rows);
        drop(prepared);
        if model.experiment.patterns.as_ref().is_some_and(|patterns| patterns.dynamic_mask > 0) {
            let (scores, _) = judge(&alone(&model.experiment), model, &picked, device)?;
            let kept: Vec<usize> =
                (0..rows.len()).filter(|row| !is_flagged(&scores, *row)).collect();
            if kept.len() < rows.len() {
                self.notes.push(format!(
                    "{} good rows are excluded because they are flagged without patterns.dynamic_mask",
                    rows.len() - kept.len()
                ));
            }
            (picked, rows) = (picked.pick(&kept), kept);
        }
        if rows.is_empty() {
            return Err(Error::input(format!(
                "sensitivity: all {} {} are flagged without a defect; expected some that are not",
                self.good.len(),
                self.sample
            )));
        }
        if rows.len() < self.settings.rows {
            let of = if rows.len() < self.good.len() {
                " that are not flagged without a defect"
            } else {
                ""
            };
            self.notes.push(format!(
                "there are {} {}{of}, fewer than the {} of sensitivity.rows",
                rows.len(),
                self.sample,
                self.settings.rows
            ));
        }
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.shuffle(&mut random::generator(self.seed, "sensitivity rows", 0));
        order.truncate(self.settings.rows);
        order.sort_unstable();
        Ok((false_alarms, picked.pick(&order)))
    }

    /// The defect of a row, the same for all strengths; `None` if there is no position for it.
    fn defect(
        &self,
        model: &TrainedModel,
        samples: &Samples,
        row: usize,
        size: Size,
    ) -> Option<Defect> {
        let mut chance = random::generator(
            self.seed,
            &format!("sensitivity places of {} × {}", size.x, size.y),
            row as u64,
        );
        let mut chosen: Vec<usize> = (0..self.layers.len()).collect();
        chosen.shuffle(&mut chance);
        chosen.truncate(self.settings.channels);
        chosen.sort_unstable();
        let shapes: Vec<Shape> = chosen.iter().map(|&layer| self.layers[layer].shape).collect();
        let alive = |at: usize, area: Area| {
            let Layer { shape, columns, .. } = &self.layers[chosen[at]];
            let (map, masked) =
                (&samples.row(row)[columns.clone()], &model.networks[chosen[at]].masked);
            let is_empty = |bin: &usize| {
                map[*bin] == 0.0
                    || map[*bin].is_nan()
                    || masked.binary_search(&(*bin as u32)).is_ok()
            };
            2 * bins(area, shape.x).filter(is_empty).count() <= area.bins()
        };
        Some(chosen.iter().copied().zip(place(&shapes, size, &mut chance, alive)?).collect())
    }

    /// The rows with their defects.
    fn changed(
        &self,
        base: &Prepared,
        defects: &[Option<Defect>],
        size: Size,
        strength: f64,
    ) -> Prepared {
        let mut changed = base.clone();
        let width = base.samples.width();
        let name = format!("sensitivity counts of {} × {} at {strength}", size.x, size.y);
        for (row, defect) in defects.iter().enumerate() {
            let mut chance = random::generator(self.seed, &name, row as u64);
            for (layer, area) in defect.iter().flatten() {
                let Layer { shape, columns, .. } = &self.layers[*layer];
                let map =
                    &mut changed.samples.values[row * width..(row + 1) * width][columns.clone()];
                inject(map, shape.x, *area, strength, self.settings.poisson.then_some(&mut chance));
            }
        }
        changed.rescale();
        changed
    }

    /// The figures of a size and strength.
    fn point(
        &self,
        (size, strength): (Size, f64),
        defects: &[Option<Defect>],
        scores: &Scores,
        patterns: Option<&Patterns>,
    ) -> Point {
        let tried =
            || defects.iter().enumerate().filter_map(|(row, defect)| Some((row, defect.as_ref()?)));
        let main = scores.main().map_or("", |channel| channel.name.as_str());
        let by_channel = |layer: usize| {
            let channel = &scores.channels[layer];
            let of: Vec<usize> = tried()
                .filter(|(_, defect)| defect.iter().any(|(other, _)| *other == layer))
                .map(|(row, _)| row)
                .collect();
            Share::new(
                &channel.name,
                of.iter().filter(|row| channel.flagged(**row) == Some(true)).count(),
                of.len(),
            )
        };
        let side = if strength < 1.0 { Side::Dead } else { Side::Hot };
        let iou = |patterns: &Patterns| {
            let evaluated: Vec<usize> = scores.evaluated().collect();
            let best = |row: usize, layer: usize, area: Area| {
                // A row whose score is not finite has no regions.
                let Ok(found) = evaluated.binary_search(&row) else { return 0.0 };
                let own = patterns.found[found]
                    .regions
                    .iter()
                    .filter(|region| region.layer == layer && region.side == side);
                own.map(|region| overlap(region, area)).fold(0.0, f64::max)
            };
            let all: Vec<f64> = tried()
                .flat_map(|(row, defect)| {
                    defect.iter().map(move |(layer, area)| best(row, *layer, *area))
                })
                .collect();
            (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
        };
        Point {
            size,
            strength,
            channels: self.settings.channels,
            efficiency: Share::new(
                main,
                tried().filter(|(row, _)| is_flagged(scores, *row)).count(),
                tried().count(),
            ),
            iou: patterns.and_then(iou),
            by_channel: if self.layers.len() > 1 {
                (0..self.layers.len()).map(by_channel).collect()
            } else {
                vec![]
            },
        }
    }
}

/// Intersection over union of a region and an area, in bins.
pub(super) fn overlap(region: &Region, area: Area) -> f64 {
    let common = region.share_in(&[area]) * region.bins as f64;
    common / (region.bins as f64 + area.bins() as f64 - common)
}

/// Whether the channel that determines the verdict flags a row.
fn is_flagged(scores: &Scores, row: usize) -> bool {
    scores.main().is_some_and(|channel| channel.flagged(row) == Some(true))
}

/// Scores rows and compares them with the thresholds.
fn judge(
    experiment: &Experiment,
    model: &TrainedModel,
    prepared: &Prepared,
    device: &Device,
) -> Result<(Scores, Option<Patterns>)> {
    let Scored { mut scores, patterns, .. } =
        run::score(experiment, &model.networks, prepared, device)?;
    scores.flag(&model.thresholds)?;
    Ok((scores, patterns))
}

/// The config for rows that are judged alone.
fn alone(experiment: &Experiment) -> Experiment {
    let mut alone = experiment.clone();
    alone.patterns.iter_mut().for_each(|patterns| patterns.dynamic_mask = 0);
    alone
}

/// The maps or histograms of the samples, in the order of the channels.
fn layers(samples: &Samples) -> Vec<Layer> {
    if samples.layers.is_empty() {
        return vec![Layer {
            name: String::new(),
            shape: samples.shape,
            columns: 0..samples.width(),
        }];
    }
    samples
        .layers
        .iter()
        .map(|layer| Layer {
            name: layer.name.clone(),
            shape: layer.shape,
            columns: layer.columns.clone(),
        })
        .collect()
}

/// The sizes of defects; fails if one does not fit into a layer.
fn sizes(wanted: &[Window], layers: &[Layer]) -> Result<Vec<Size>> {
    let sizes: Vec<Size> =
        wanted.iter().map(|size| Size { x: size.x as usize, y: size.y as usize }).collect();
    for (at, size) in sizes.iter().enumerate() {
        if let Some(Layer { name, shape, .. }) = layers.iter().find(|layer| !size.fits(layer.shape))
        {
            let of = if name.is_empty() { String::new() } else { format!(" of {name}") };
            return Err(Error::input(format!(
                "sensitivity.sizes[{at}]: found {} × {} bins; expected at most the {shape}{of}",
                size.x, size.y
            )));
        }
    }
    if !sizes.is_empty() {
        return Ok(sizes);
    }
    let usual =
        if layers.iter().any(|layer| layer.shape.y == 1) { &OF_LINES[..] } else { &OF_MAPS };
    let mut sizes: Vec<Size> = usual.iter().map(|&(x, y)| Size { x, y }).collect();
    sizes.retain(|size| layers.iter().all(|layer| size.fits(layer.shape)));
    if sizes.is_empty() {
        sizes.push(Size { x: 1, y: 1 });
    }
    Ok(sizes)
}

/// The held-out rows that count as good, their description, and warnings: rows labelled good, else
/// those of data.train that are not labelled bad, else all that are not labelled bad.
fn held_out(prepared: &Prepared) -> Result<(Vec<usize>, String, Vec<String>)> {
    let rows: Vec<usize> = (0..prepared.splits.len())
        .filter(|&row| matches!(prepared.splits[row], Split::Valid | Split::Test))
        .collect();
    let label = |row: usize| {
        prepared.labels.iter().find(|set| set.name == "good").and_then(|set| set.good[row])
    };
    let is_ours = |row: usize| prepared.samples.source(row).role == Role::Train;
    let choose = |wanted: &dyn Fn(usize) -> bool| {
        Some(rows.iter().copied().filter(|&row| wanted(row)).collect::<Vec<_>>())
            .filter(|rows| !rows.is_empty())
    };
    if let Some(good) = choose(&|row| label(row) == Some(true)) {
        return Ok((good, "held-out rows labelled good".into(), vec![]));
    }
    if let Some(good) = choose(&|row| label(row).is_none() && is_ours(row)) {
        return Ok((good, "held-out rows of data.train".into(), vec![]));
    }
    let doubt = "no held-out row is known to be good: all rows that are not labelled bad are used, possibly with anomalies; label good rows";
    match choose(&|row| label(row).is_none()) {
        Some(good) => Ok((good, "held-out rows not labelled bad".into(), vec![doubt.into()])),
        None => Err(Error::input(format!(
            "sensitivity: of {} rows none is held out from training and good; expected some for validation or testing (split.valid, split.test, data.test)",
            prepared.splits.len()
        ))),
    }
}
