//! The identity of a scored row, and what is known of it whatever the channel.

use crate::prepare::split::Split;
use std::{collections::HashSet, hash::Hash, sync::Arc};

/// One sample: what its rows in `scores.parquet` share, whatever the channel.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredRow {
    /// What the row was for.
    pub split: Split,
    /// The file it came from.
    pub file: Arc<str>,
    /// Its run, where known.
    pub run: Option<u32>,
    /// Its lumisection, or the number of the event; unknown only where the row could not be read.
    pub ls: Option<u32>,
    /// How much it counts, where rows count differently.
    pub weight: Option<f32>,
    /// Why it is not evaluated, where it is not.
    pub rejected: Option<Arc<str>>,
    /// Its class, an index into [`classes`](super::scores::Scores::classes), where it is known.
    pub class: Option<u8>,
    /// What the label sets say (good = true), in the order of
    /// [`labels`](super::scores::Scores::labels).
    pub labels: Arc<[Option<bool>]>,
}

/// A run is known by its number, or by the file that stands for it.
pub type RunKey = (Option<u32>, Option<Arc<str>>);

impl ScoredRow {
    /// The run that the row is of.
    pub fn run_key(&self) -> RunKey {
        (self.run, self.run.is_none().then(|| self.file.clone()))
    }

    /// How outputs name that run.
    pub fn run_name(&self) -> String {
        self.run.map_or_else(|| self.file.to_string(), |run| run.to_string())
    }
}

/// One copy of each value that many rows have.
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
