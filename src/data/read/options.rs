//! Options for reading a file.

use crate::config::{
    channels::Channels,
    data::{Columns, Data, Format},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Options for reading a file.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The layout, or `Auto`.
    pub format: Format,
    /// Configured column names.
    pub columns: Columns,
    /// The monitoring element to read.
    pub me: Option<String>,
    /// Whether monitoring elements are layers, which must be histograms or maps.
    pub layered: bool,
    /// Whether the axis of each histogram is needed.
    pub summary: bool,
    /// The runs to read; `None` for all. Rows without a run are always read.
    pub runs: Option<Arc<BTreeSet<u32>>>,
    /// Further columns to read; a file that lacks one is refused.
    pub required: Vec<String>,
    /// Further columns to read if they exist.
    pub welcome: Vec<String>,
    /// The map from identifiers in DIALS to (run, LS).
    pub dials: Arc<BTreeMap<u64, (u32, u32)>>,
    /// The features of a trained model, read in this order if the file has columns of these names.
    pub features: Option<Vec<String>>,
    /// The rules of channels: only features of used channels are read.
    pub channels: Channels,
    /// Numbers that mean a missing value.
    pub missing: Vec<f32>,
    /// Whether rows with missing cells are accepted, with NaN in them; else they are unreadable.
    pub keeps_missing: bool,
    /// How much to read of each row.
    pub detail: Detail,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self::new(&Data::default())
    }
}

impl ReadOptions {
    /// The options of a config's `[data]`.
    pub fn new(data: &Data) -> Self {
        Self {
            format: data.format,
            columns: data.columns.clone(),
            me: data.me.clone(),
            layered: !data.layers.is_empty(),
            summary: data.summary,
            runs: None,
            required: vec![],
            welcome: vec![],
            dials: Arc::default(),
            features: None,
            channels: Channels::default(),
            missing: data.missing.iter().map(|number| *number as f32).collect(),
            keeps_missing: !data.fill.is_reject(),
            detail: Detail::Values,
        }
    }

    /// The names of required columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let Columns { run, ls, me, bins, features, .. } = &self.columns;
        let plain = |name: &&String| !name.contains(['*', '?', '[']);
        let named = [run, ls, me, bins].into_iter().flatten().chain(features.iter().filter(plain));
        named.chain(&self.required).chain(self.features.iter().flatten()).map(String::as_str)
    }

    /// The same with further columns.
    pub fn with_columns(self, required: Vec<String>, welcome: Vec<String>) -> Self {
        Self { required, welcome, ..self }
    }
}

/// How much to read of each row of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The values of one monitoring element.
    Values,
    /// A [`Summary`](crate::data::table::Summary) of each row of all monitoring elements.
    Summaries,
    /// Identities only, if the format stores them separately from the values; the parts of a
    /// summary about values are then unknown.
    Identities,
}
