//! The rows of all files: the input of every later stage.

use super::{
    areas::Frame,
    channels::{Channel, Hierarchy},
    histogram_quantiles::Unit,
    layers::Layer,
    lumisections::Lumisection,
    shape::Shape,
    table::{self, Column},
};
use crate::config::data::Format;
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

/// The role of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its rows are split into training, validation and test.
    Train,
    /// Its rows are only scored.
    Test,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Source {
    /// The name in outputs: the file's name, or its path if two files share a name.
    pub name: String,
    /// Its path.
    pub path: PathBuf,
    /// Its role.
    pub role: Role,
    /// Its layout.
    pub format: Format,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Number of rows read.
    pub rows: usize,
}

/// The identity of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRow {
    /// Index into [`Samples::sources`].
    pub source: u32,
    /// Index into [`Samples::runs`].
    pub run: u32,
    /// Lumisection number; for events the position in the file, from 0.
    pub ls: u32,
    /// Line in the file, from 1; 0 in files without lines.
    pub line: u32,
    /// Position among the file's rows, from 0.
    pub index: u32,
}

/// A run of the detector, or a file without run numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The run number, if known.
    pub number: Option<u32>,
    /// The name in outputs: the number, or the file.
    pub name: String,
}

/// A row that is not evaluated, with the reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rejected {
    /// Index into [`Samples::sources`].
    pub source: u32,
    /// Run and LS, if they could be read.
    pub id: Option<Lumisection>,
    /// Line in the file, from 1; 0 in files without lines.
    pub line: u32,
    /// Position among the file's rows, from 0.
    pub index: u32,
    /// The first reason to reject it.
    pub reason: String,
    /// Whether the row could not even be read.
    pub unreadable: bool,
    /// Its labels, one entry per label set; empty before labels are read.
    pub labels: Vec<Option<bool>>,
}

impl Rejected {
    /// A row that cannot be read.
    pub fn unreadable(source: u32, fault: table::Fault) -> Self {
        let id = fault.ls.map(|ls| Lumisection { run: fault.run, ls });
        Self {
            source,
            id,
            line: fault.line,
            index: fault.index,
            reason: fault.reason,
            unreadable: true,
            labels: vec![],
        }
    }

    /// The reason, with the place in the file if the row could not be read.
    pub fn told(&self) -> String {
        match (self.unreadable, self.line) {
            (false, _) => self.reason.clone(),
            (true, 0) => format!("row {}: {}", self.index, self.reason),
            (true, line) => format!("line {line}: {}", self.reason),
        }
    }
}

/// All rows of an experiment, sorted by (run, LS).
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// The files.
    pub sources: Vec<Source>,
    /// The runs, sorted by number; those without one in the order of their files.
    pub runs: Vec<Run>,
    /// The shape of a row's values; those of layers follow each other.
    pub shape: Shape,
    /// The monitoring elements whose bins follow each other; empty if there is a single element.
    pub layers: Vec<Layer>,
    /// The transforms from bins in files to those of the samples, of each layer or of the single
    /// element.
    pub frames: Vec<Frame>,
    /// Whether the first and last bin of each axis are underflow and overflow.
    pub flow_bins: bool,
    /// Edges of the axes, if the files have them: x from, x to, y from, y to.
    pub edges: [Option<f64>; 4],
    /// Names of the features; `None` for histograms.
    pub features: Option<Arc<[String]>>,
    /// The ends of each row's axis in x; only until histograms are replaced by seven numbers.
    pub axes: Vec<[f64; 2]>,
    /// The unit of the features, if they are the seven numbers of a histogram.
    pub summarised: Option<Unit>,
    /// The hierarchy of features by their names, if the config has rules for it.
    pub hierarchy: Option<Hierarchy>,
    /// Whether rows are events, which have no lumisection.
    pub events: bool,
    /// The monitoring element, if the files name it.
    pub element: Option<String>,
    /// Identities of the rows.
    pub rows: Vec<SampleRow>,
    /// Contents as read, `[rows, width]`.
    pub values: Vec<f32>,
    /// Further columns, one entry per row.
    pub columns: BTreeMap<String, Column>,
    /// Rows that are not evaluated.
    pub rejected: Vec<Rejected>,
    /// Notes on how files were read.
    pub notes: Vec<String>,
}

impl Samples {
    /// Number of values of a row.
    pub fn width(&self) -> usize {
        self.shape.width()
    }

    /// The values of row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width()..(i + 1) * self.width()]
    }

    /// Names of the values of a row: features, or `bin_0`, `bin_1`, …; with layers
    /// `PXLayer_1/bin_0`, ….
    pub fn feature_names(&self) -> Vec<String> {
        match &self.features {
            Some(names) => names.to_vec(),
            None if self.layers.is_empty() => {
                (0..self.width()).map(|bin| format!("bin_{bin}")).collect()
            }
            None => self
                .layers
                .iter()
                .flat_map(|layer| {
                    (0..layer.columns.len()).map(|bin| format!("{}/bin_{bin}", layer.name))
                })
                .collect(),
        }
    }

    /// The channels: by the hierarchy of features, one per layer, or a single one with everything.
    pub fn channels(&self) -> Vec<Channel> {
        let names = self.feature_names();
        if let Some(hierarchy) = &self.hierarchy {
            return hierarchy.channels.clone();
        }
        if self.layers.is_empty() {
            let shape = Some(self.shape).filter(|shape| shape.y > 1);
            return vec![Channel {
                shape,
                unit: self.summarised,
                ..Channel::all(names, self.element.clone())
            }];
        }
        let of_layer = |Layer { name, element, shape, columns, .. }: &Layer| Channel {
            name: name.clone(),
            features: names[columns.clone()].to_vec(),
            paths: vec![],
            element: Some(element.clone()),
            shape: Some(*shape),
            unit: None,
        };
        self.layers.iter().map(of_layer).collect()
    }

    /// Number of values of each layer; empty if there is a single element.
    pub fn layer_widths(&self) -> Vec<usize> {
        self.layers.iter().map(|layer| layer.columns.len()).collect()
    }

    /// "lumisection" or "event": the kind of row.
    pub fn what(&self) -> &'static str {
        if self.events { "event" } else { "lumisection" }
    }

    /// The source of row `i`.
    pub fn source(&self, i: usize) -> &Source {
        &self.sources[self.rows[i].source as usize]
    }

    /// Run and LS of row `i`.
    pub fn id(&self, i: usize) -> Lumisection {
        Lumisection { run: self.runs[self.rows[i].run as usize].number, ls: self.rows[i].ls }
    }

    /// `file:line` of row `i` (or its position in the file), for messages.
    pub fn place(&self, i: usize) -> String {
        table::place_in(&self.source(i).path, self.rows[i].line, self.rows[i].index)
    }

    /// Ranges of rows that belong to one run, in order.
    pub fn run_ranges(&self) -> Vec<std::ops::Range<usize>> {
        let mut ranges: Vec<std::ops::Range<usize>> = vec![];
        for i in 0..self.rows.len() {
            match ranges.last_mut() {
                Some(range) if self.rows[range.start].run == self.rows[i].run => range.end = i + 1,
                _ => ranges.push(i..i + 1),
            }
        }
        ranges
    }

    /// Keeps the rows without a reason; the others are rejected with their reason.
    pub fn reject(&mut self, reasons: Vec<Option<String>>) {
        let kept: Vec<usize> = (0..reasons.len()).filter(|&i| reasons[i].is_none()).collect();
        for (i, reason) in reasons.into_iter().enumerate() {
            if let Some(reason) = reason {
                let row = self.rows[i];
                self.rejected.push(Rejected {
                    source: row.source,
                    id: Some(self.id(i)),
                    line: row.line,
                    index: row.index,
                    reason,
                    unreadable: false,
                    labels: vec![],
                });
            }
        }
        self.keep(&kept);
    }

    /// Keeps the rows at these ascending positions, in place.
    fn keep(&mut self, positions: &[usize]) {
        if positions.len() == self.rows.len() {
            return;
        }
        let width = self.width();
        for (to, &from) in positions.iter().enumerate() {
            self.values.copy_within(from * width..(from + 1) * width, to * width);
            self.rows[to] = self.rows[from];
        }
        self.values.truncate(positions.len() * width);
        self.values.shrink_to_fit();
        self.rows.truncate(positions.len());
        for column in self.columns.values_mut() {
            *column = column.take(positions);
        }
    }
}

#[cfg(test)]
impl Samples {
    /// Rows of one bin for tests, LSs counted from 1; one list of values per run.
    pub(crate) fn made(runs: &[Vec<f32>]) -> Self {
        let source = Source {
            name: "a".into(),
            path: "a".into(),
            role: Role::Train,
            format: Format::LsBins,
            bytes: 0,
            sha256: String::new(),
            rows: 0,
        };
        let row = |run: usize, at: usize| SampleRow {
            source: 0,
            run: run as u32,
            ls: at as u32 + 1,
            line: 1,
            index: at as u32,
        };
        Self {
            sources: vec![source],
            runs: (0..runs.len() as u32)
                .map(|run| Run { number: Some(run), name: run.to_string() })
                .collect(),
            shape: Shape::line(1),
            rows: runs
                .iter()
                .enumerate()
                .flat_map(|(run, values)| (0..values.len()).map(move |at| row(run, at)))
                .collect(),
            values: runs.concat(),
            ..Self::default()
        }
    }
}
