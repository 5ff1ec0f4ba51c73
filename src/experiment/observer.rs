//! Callbacks during the run of an experiment.

use crate::{error::Result, train::Epoch};
use std::path::Path;

/// A text for users.
#[derive(Clone, Copy, Debug)]
pub enum Note<'a> {
    /// Something that users should look at.
    Warning(&'a str),
    /// What happens.
    Message(&'a str),
    /// A stage that begins.
    Stage(&'a str),
    /// For the log only.
    Log(&'a str),
}

/// The size of a training.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Models: channels times members of the ensemble.
    pub models: usize,
    /// Channels.
    pub channels: usize,
    /// Epochs of each model, at most.
    pub epochs: u32,
    /// Epochs that were trained before, of all models together.
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

/// Callbacks during the run of an experiment. All of them may be left out. Models are trained on
/// several threads, which call [`epoch`](Self::epoch) and [`pauses`](Self::pauses) at any time.
pub trait RunObserver: Sync {
    /// A text for users.
    fn note(&self, _note: Note<'_>) {}

    /// The folder is there; `log` is where its log goes.
    ///
    /// # Errors
    /// An error ends the run.
    fn opened(&self, _log: &Path) -> Result<()> {
        Ok(())
    }

    /// The training begins.
    fn begins(&self, _size: Size) {}

    /// A model has been trained for one epoch more, or was before where it is not new.
    fn epoch(&self, _model: ModelId<'_>, _epoch: &Epoch, _is_new: bool) {}

    /// The training has ended: all models are trained, or it stops for now.
    fn fitted(&self) {}

    /// Whether the training is to write a checkpoint and stop for now. Asked after each batch.
    fn pauses(&self) -> bool {
        false
    }

    /// Whether the run is to stop for now, after the training. Asked between stages.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// Ignores everything.
impl RunObserver for () {}
