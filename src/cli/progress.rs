//! Shows the progress of an experiment, and pauses it on request.

use super::{
    stop::Stop,
    ui::{Training, Ui},
};
use crate::{
    error::Result,
    experiment::observer::{ModelId, Note, RunObserver, Size},
    sweep::pruner::Pruning,
    train::Epoch,
};
use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

/// An observer that shows progress, pauses for signals and time limits, and prunes trials.
pub struct Progress<'a> {
    ui: &'a Ui,
    stop: &'a Stop,
    pruning: Option<&'a Pruning>,
    bar: Mutex<Option<Training<'a>>>,
}

impl<'a> Progress<'a> {
    /// For a training, or for a trial that `pruning` may end.
    pub fn new(ui: &'a Ui, stop: &'a Stop, pruning: Option<&'a Pruning>) -> Self {
        Self { ui, stop, pruning, bar: Mutex::new(None) }
    }

    /// Whether it was a trial, and has been pruned.
    pub fn is_pruned(&self) -> bool {
        self.pruning.is_some_and(Pruning::is_pruned)
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, Option<Training<'a>>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunObserver for Progress<'_> {
    fn note(&self, note: Note<'_>) {
        match note {
            Note::Warning(text) => self.ui.warn(text),
            Note::Message(text) => self.ui.say(text),
            Note::Stage(text) => self.ui.detail(text),
            Note::Log(text) => self.ui.log(text),
        }
    }

    fn opened(&self, log: &Path) -> Result<()> {
        self.ui.log_to(log)
    }

    fn begins(&self, size: Size) {
        *self.bar() = Some(self.ui.training(size));
    }

    fn epoch(&self, model: ModelId<'_>, epoch: &Epoch, is_new: bool) {
        if is_new && let Some(bar) = self.bar().as_mut() {
            bar.epoch(model.channel, model.member, epoch);
        }
        if let Some(pruning) = self.pruning {
            pruning.epoch(model.index, epoch);
        }
    }

    fn fitted(&self) {
        self.bar().take();
    }

    fn pauses(&self) -> bool {
        self.stop.wanted() || self.is_pruned()
    }

    fn is_interrupted(&self) -> bool {
        self.stop.is_signalled()
    }
}
