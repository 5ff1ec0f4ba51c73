//! Patterns in space: `regions.parquet`, their figures, and the scores that are made of them.

use crate::{
    data::{Samples, areas::Area, channels::COMBINED},
    error::Result,
    files::tables,
    prepare::split::Split,
    score::{
        channel_scores::ChannelScores,
        patterns::{
            find::Found,
            region::Region,
            settings::{DetectorLayer, PatternSettings, Side},
            track::{Track, track},
        },
    },
};
use arrow_array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array};
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};

/// Regions that a reason names; of more, the number is told.
const NAMED: usize = 3;

/// What was found in all rows.
#[derive(Clone, Debug)]
pub struct Patterns {
    /// What counts as a pattern.
    pub settings: PatternSettings,
    /// The layers.
    pub layers: Vec<DetectorLayer>,
    /// What was found in each row.
    pub found: Vec<Found>,
    /// Which of a row's regions were known to be masked then, in the order of its regions.
    pub known: Vec<Vec<bool>>,
    /// The regions of all rows followed from LS to LS; runs are positions in [`Samples::runs`].
    pub tracks: Vec<Track>,
}

/// The patterns in `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PatternFigures {
    /// What counts as a pattern, in words.
    pub what: String,
    /// Rows with a region that is not known to be masked.
    pub rows: usize,
    /// Rows that are flagged for all layers together: enough of them are bad at the same place.
    pub coincident: usize,
    /// Bins of each channel that are never bad, because they are mostly 0 in the training rows.
    pub masked: Vec<(String, usize)>,
    /// Regions followed from LS to LS.
    pub tracks: Vec<TrackFigures>,
}

/// A region over the LSs of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackFigures {
    /// The run, or the file that stands for it.
    pub run: String,
    /// The first and last LS that it is seen in.
    pub ls: (u32, u32),
    /// In how many LSs it is seen.
    pub seen: usize,
    /// The channel.
    pub channel: String,
    /// Whether its bins hold less than their reconstruction, or more.
    pub side: Side,
    /// The smallest rectangle around its bins: first and last, from 0, of the map as it is scored.
    pub x: (usize, usize),
    /// The same in y.
    pub y: (usize, usize),
    /// Its bins in the LS in which it has most.
    pub bins: usize,
    /// Whether other channels have it at the same place in any LS.
    pub coincident: bool,
    /// Whether it was known to be masked in all of them.
    pub known: bool,
}

impl TrackFigures {
    /// The rectangle.
    pub fn area(&self) -> Area {
        Area { x: self.x, y: self.y }
    }
}

impl Patterns {
    /// Follows what was found. `known` says which regions were masked; a `gap` of so many LSs is
    /// bridged.
    pub fn new(
        settings: PatternSettings,
        layers: Vec<DetectorLayer>,
        found: Vec<Found>,
        known: Vec<Vec<bool>>,
        samples: &Samples,
        gap: u32,
    ) -> Self {
        let rows = samples
            .rows
            .iter()
            .zip(&found)
            .map(|(row, found)| (row.run, row.ls, found.regions.as_slice()));
        let tracks = track(rows, gap);
        Self { settings, layers, found, known, tracks }
    }

    /// A row's regions that were not known.
    fn new_ones(&self, row: usize) -> impl Iterator<Item = &Region> {
        self.found[row]
            .regions
            .iter()
            .zip(&self.known[row])
            .filter(|(_, known)| !**known)
            .map(|(region, _)| region)
    }

    /// Puts numbers of bins in the place of scores, and adds all channels together where there are
    /// several.
    pub fn score(&self, channels: &mut Vec<ChannelScores>) {
        let several = channels.len() > 1;
        let rows = 0..self.found.len();
        let scores = |number: &dyn Fn(usize) -> usize| {
            rows.clone().map(|row| Some(number(row) as f64)).collect::<Vec<Option<f64>>>()
        };
        let coincident = |row: usize| {
            if self.new_ones(row).any(|region| region.coincident) {
                self.found[row].coincident
            } else {
                0
            }
        };
        let reasons = |wanted: &dyn Fn(&Region) -> bool| {
            rows.clone().map(|row| self.reason(row, wanted)).collect::<Vec<_>>()
        };
        for (at, channel) in channels.iter_mut().enumerate() {
            let own = |row: usize| {
                self.new_ones(row)
                    .filter(|region| region.layer == at)
                    .map(|region| region.bins)
                    .sum()
            };
            channel.scores = scores(&own);
            channel.reasons = reasons(&|region| region.layer == at);
            (channel.members, channel.spread) = (vec![], vec![]);
        }
        if several {
            let scores = scores(&coincident);
            channels.push(ChannelScores {
                name: COMBINED.into(),
                scores,
                reasons: reasons(&|region| region.coincident),
                ..ChannelScores::default()
            });
        }
    }

    /// A row's regions that flag it, in words.
    fn reason(&self, row: usize, wanted: &dyn Fn(&Region) -> bool) -> Option<Arc<str>> {
        let regions: Vec<&Region> = self.new_ones(row).filter(|region| wanted(region)).collect();
        let told = |region: &&Region| {
            format!(
                "{} {} in {} ({} bins)",
                name(region.side),
                region.area,
                self.layers[region.layer].name,
                region.bins
            )
        };
        let mut texts: Vec<String> = regions.iter().take(NAMED).map(told).collect();
        if regions.len() > NAMED {
            texts.push(format!("{} more", regions.len() - NAMED));
        }
        (!texts.is_empty()).then(|| texts.join("; ").into())
    }

    /// The track that a region is part of.
    fn track_of(&self, run: u32, ls: u32, region: &Region) -> Option<usize> {
        let holds = |track: &Track| {
            (track.run, track.layer, track.side) == (run, region.layer, region.side)
                && (track.first_ls..=track.last_ls).contains(&ls)
                && track.area.common(region.area) == Some(region.area)
        };
        let start = self.tracks.partition_point(|track| track.run < run);
        let of_run = self.tracks[start..].iter().take_while(|track| track.run == run).enumerate();
        of_run
            .filter(|(_, track)| holds(track))
            .min_by_key(|(_, track)| track.area.bins())
            .map(|(at, _)| start + at)
    }

    /// A row's regions in one channel, and whether they were known to be masked.
    pub fn of(&self, row: usize, layer: usize) -> impl Iterator<Item = (&Region, bool)> {
        let all = self.found[row].regions.iter().zip(self.known[row].iter().copied());
        all.filter(move |(region, _)| region.layer == layer)
    }

    /// For each track the row in which it has most bins, the largest track first.
    pub fn peaks(&self, samples: &Samples) -> Vec<usize> {
        // By track: bins in the row that is being counted, and the row with most so far.
        let mut now: Vec<(usize, usize)> = vec![(usize::MAX, 0); self.tracks.len()];
        let mut most: Vec<(usize, usize)> = vec![(0, 0); self.tracks.len()];
        for (row, found) in self.found.iter().enumerate() {
            for region in &found.regions {
                let Some(track) =
                    self.track_of(samples.rows[row].run, samples.rows[row].ls, region)
                else {
                    continue;
                };
                let before = if now[track].0 == row { now[track].1 } else { 0 };
                now[track] = (row, before + region.bins);
                if now[track].1 > most[track].1 {
                    most[track] = (row, now[track].1);
                }
            }
        }
        most.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        most.into_iter().filter(|(_, bins)| *bins > 0).map(|(row, _)| row).collect()
    }

    /// Writes `regions.parquet`: a row per lumisection and region.
    pub fn write(&self, path: &Path, samples: &Samples, splits: &[Split]) -> Result<()> {
        let all: Vec<(usize, &Region, bool)> = (0..self.found.len())
            .flat_map(|row| {
                self.found[row]
                    .regions
                    .iter()
                    .zip(&self.known[row])
                    .map(move |(region, known)| (row, region, *known))
            })
            .collect();
        let whole = |number: &dyn Fn(usize, &Region) -> Option<u32>| -> ArrayRef {
            Arc::new(
                all.iter().map(|(row, region, _)| number(*row, region)).collect::<UInt32Array>(),
            )
        };
        let text = |text: &dyn Fn(usize, &Region) -> String| -> ArrayRef {
            Arc::new(
                all.iter()
                    .map(|(row, region, _)| Some(text(*row, region)))
                    .collect::<StringArray>(),
            )
        };
        let flag = |flag: &dyn Fn(&Region, bool) -> bool| -> ArrayRef {
            Arc::new(
                all.iter()
                    .map(|(_, region, known)| Some(flag(region, *known)))
                    .collect::<BooleanArray>(),
            )
        };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("split", text(&|row, _| splits[row].name().into())),
            ("file", text(&|row, _| samples.source(row).name.clone())),
            ("run", whole(&|row, _| samples.id(row).run)),
            ("ls", whole(&|row, _| Some(samples.rows[row].ls))),
            ("channel", text(&|_, region| self.layers[region.layer].name.clone())),
            ("side", text(&|_, region| name(region.side).into())),
            ("x_first", whole(&|_, region| Some(region.area.x.0 as u32))),
            ("x_last", whole(&|_, region| Some(region.area.x.1 as u32))),
            ("y_first", whole(&|_, region| Some(region.area.y.0 as u32))),
            ("y_last", whole(&|_, region| Some(region.area.y.1 as u32))),
            ("bins", whole(&|_, region| Some(region.bins as u32))),
            (
                "error",
                Arc::new(
                    all.iter().map(|(_, region, _)| Some(region.error)).collect::<Float64Array>(),
                ),
            ),
            ("coincident", flag(&|region, _| region.coincident)),
            ("known", flag(&|_, known| known)),
            (
                "track",
                whole(&|row, region| {
                    Some(self.track_of(samples.rows[row].run, samples.rows[row].ls, region)? as u32)
                }),
            ),
        ];
        tables::write_parts(path, std::iter::once(tables::of_columns(columns)))
    }

    /// The figures.
    pub fn figures(&self, samples: &Samples) -> PatternFigures {
        let mut known = vec![true; self.tracks.len()];
        for (row, (found, of_row)) in self.found.iter().zip(&self.known).enumerate() {
            for (region, _) in found.regions.iter().zip(of_row).filter(|(_, known)| !**known) {
                let track = self.track_of(samples.rows[row].run, samples.rows[row].ls, region);
                track.into_iter().for_each(|track| known[track] = false);
            }
        }
        let track = |(track, known): (&Track, bool)| TrackFigures {
            run: samples.runs[track.run as usize].name.clone(),
            ls: (track.first_ls, track.last_ls),
            seen: track.seen,
            channel: self.layers[track.layer].name.clone(),
            side: track.side,
            x: track.area.x,
            y: track.area.y,
            bins: track.bins,
            coincident: track.coincident,
            known,
        };
        let count = |wanted: &dyn Fn(&Region) -> bool| {
            (0..self.found.len()).filter(|&row| self.new_ones(row).any(wanted)).count()
        };
        PatternFigures {
            what: self.describe(),
            rows: count(&|_| true),
            coincident: count(&|region| region.coincident),
            masked: self
                .layers
                .iter()
                .map(|layer| {
                    (layer.name.clone(), layer.masked.iter().filter(|masked| **masked).count())
                })
                .collect(),
            tracks: self.tracks.iter().zip(known).map(track).collect(),
        }
    }

    /// What the score of all channels together is, in words.
    pub fn describe_combined(&self) -> String {
        format!(
            "number of such bins at the same place in at least {} of {} channels",
            self.settings.layers,
            self.layers.len()
        )
    }

    /// What the score of a channel is, in words.
    pub fn describe(&self) -> String {
        let PatternSettings { bin_error, windows, fill, .. } = &self.settings;
        let sizes: Vec<String> =
            windows.iter().map(|window| format!("{} × {}", window.x, window.y)).collect();
        let full =
            if *fill < 1.0 { format!("{} % full of", 100.0 * fill) } else { "full of".into() };
        let inside = if sizes.is_empty() {
            String::new()
        } else {
            format!(" in windows of {} (x × y) {full} such bins", sizes.join(", "))
        };
        format!("number of bins with a squared error above {bin_error}{inside}")
    }
}

/// The word for a side.
pub fn name(side: Side) -> &'static str {
    match side {
        Side::Dead => "dead",
        Side::Hot => "hot",
    }
}
