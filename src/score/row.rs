//! The identity of a scored row and its properties common to all channels.

use crate::prepare::split::Split;
use std::{collections::HashSet, hash::Hash, sync::Arc};

/// One sample: the values common to its rows in `scores.parquet` for all channels.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredRow {
    /// The role of the row.
    pub split: Split,
    /// The file of the row.
    pub file: Arc<str>,
    /// Its run, if known.
    pub run: Option<u32>,
    /// Its lumisection, or the event number; unknown only if the row could not be read.
    pub ls: Option<u32>,
    /// Its weight, if rows are weighted.
    pub weight: Option<f32>,
    /// The reason if it is not evaluated.
    pub rejected: Option<Arc<str>>,
    /// Its class, an index into [`classes`](super::scores::Scores::classes), if known.
    pub class: Option<u8>,
    /// Its labels (good = true) in the order of [`labels`](super::scores::Scores::labels).
    pub labels: Arc<[Option<bool>]>,
}

/// The identity of a run: its number, or a file if the number is unknown.
pub type RunKey = (Option<u32>, Option<Arc<str>>);

impl ScoredRow {
    /// The identity of the row's run.
    pub fn run_key(&self) -> RunKey {
        (self.run, self.run.is_none().then(|| self.file.clone()))
    }

    /// The name of the run in outputs.
    pub fn run_name(&self) -> String {
        self.run.map_or_else(|| self.file.to_string(), |run| run.to_string())
    }
}

/// Deduplicates a value that many rows have.
pub(super) fn shared<T: ?Sized + Eq + Hash>(known: &mut HashSet<Arc<T>>, value: &T) -> Arc<T>
where
    Arc<T>: for<'a> From<&'a T>,
{
    if let Some(known) = known.get(value) {
        return Arc::clone(known);
    }
    let new = Arc::from(value);
    known.insert(Arc::clone(&new));
    new
}
