//! Callbacks during training.

use super::state::{Epoch, State};
use crate::error::Result;

/// Who looks on while a model is trained.
pub trait TrainObserver {
    /// Told of each epoch as it ends.
    fn epoch(&mut self, epoch: &Epoch) -> Result<()>;
    /// Asked between batches whether to stop here for now; the state is then kept.
    fn pauses(&mut self) -> bool {
        false
    }
    /// Asked after each epoch whether the state is to be kept.
    fn keeps(&mut self) -> bool {
        false
    }
    /// Keeps a state to go on from.
    fn keep(&mut self, _state: &State) -> Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&Epoch) -> Result<()>> TrainObserver for F {
    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        self(epoch)
    }
}

/// Pauses after so many batches, and keeps the state.
#[cfg(test)]
pub(super) struct Pausing {
    pub(super) left: usize,
    pub(super) kept: Option<State>,
}

#[cfg(test)]
impl TrainObserver for &mut Pausing {
    fn epoch(&mut self, _: &Epoch) -> Result<()> {
        Ok(())
    }
    fn pauses(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }
    fn keep(&mut self, state: &State) -> Result<()> {
        self.kept = Some(state.clone());
        Ok(())
    }
}
