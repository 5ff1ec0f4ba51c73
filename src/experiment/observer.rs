//! Callbacks during the run of an experiment.

use crate::{error::Result, train::Epoch};
use std::path::Path;

/// A text for users.
#[derive(Clone, Copy, Debug)]
pub enum Note<'a> {
    /// A warning.
    Warning(&'a str),
    /// A message about progress.
    Message(&'a str),
    /// The name of a stage that begins.
    Stage(&'a str),
    /// A text for the log only.
    Log(&'a str),
}

/// The size of a training.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Number of models: channels times members of the ensemble.
    pub models: usize,
    /// Number of channels.
    pub channels: usize,
    /// Maximum number of epochs of each model.
    pub epochs: u32,
    /// Number of epochs trained before, summed over all models.
    pub done: usize,
}

/// One of the models that are trained together.
#[derive(Clone, Copy, Debug)]
pub struct ModelId<'a> {
    /// Its index, from 0: members of the first channel, then those of the next.
    pub index: usize,
    /// Its channel.
    pub channel: &'a str,
    /// Its number in the ensemble, from 0.
    pub member: usize,
}

/// Callbacks during the run of an experiment. All are optional. Models are trained on several
/// threads, which call [`epoch`](Self::epoch) and [`pauses`](Self::pauses) at any time.
pub trait RunObserver: Sync {
    /// Called with a text for users.
    fn note(&self, _note: Note<'_>) {}

    /// Called when the folder exists; `log` is the path of its log.
    ///
    /// # Errors
    /// An error ends the run.
    fn opened(&self, _log: &Path) -> Result<()> {
        Ok(())
    }

    /// Called when the training begins.
    fn begins(&self, _size: Size) {}

    /// Called for each epoch of a model; `_is_new` is false for epochs trained before.
    fn epoch(&self, _model: ModelId<'_>, _epoch: &Epoch, _is_new: bool) {}

    /// Called when the training has ended or paused.
    fn fitted(&self) {}

    /// Called after each batch: whether the training writes a checkpoint and pauses.
    fn pauses(&self) -> bool {
        false
    }

    /// Called between stages after the training: whether the run pauses.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// Ignores everything.
impl RunObserver for () {}
