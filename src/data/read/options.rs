//! What to read of a file.

use crate::config::{
    channels::Channels,
    data::{Columns, Data, Format},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What to read of a file.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The layout, or `Auto`.
    pub format: Format,
    /// Header names that are not the usual ones.
    pub columns: Columns,
    /// The monitoring element to take.
    pub me: Option<String>,
    /// Whether monitoring elements are layers: histograms or maps, whatever else they might be.
    pub layered: bool,
    /// Whether the axis of each histogram is needed.
    pub summary: bool,
    /// The runs to take; all where absent. Rows that do not say their run are taken.
    pub runs: Option<Arc<BTreeSet<u32>>>,
    /// Further columns to bring; a file without one of them is refused.
    pub required: Vec<String>,
    /// Further columns to bring where they are.
    pub welcome: Vec<String>,
    /// What DIALS calls lumisections by: number in DIALS to (run, LS).
    pub dials: Arc<BTreeMap<u64, (u32, u32)>>,
    /// The features to take, in this order, where the file has columns of these names: those of a
    /// trained model.
    pub features: Option<Vec<String>>,
    /// How names make channels: only features of the channels that are used are taken.
    pub channels: Channels,
    /// Numbers that stand for a missing value.
    pub missing: Vec<f32>,
    /// Whether rows with missing cells are taken, with NaN in them; else they cannot be read.
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
    /// What a config's `[data]` asks for.
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

    /// The names of columns that must be there.
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
    /// Identities only, where the format keeps them apart from the values; what a summary says of
    /// values is then not known.
    Identities,
}
