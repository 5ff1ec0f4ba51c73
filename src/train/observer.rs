//! Callbacks during training.

use super::state::{Epoch, State};
use crate::error::Result;

/// Callbacks during the training of a model.
pub trait TrainObserver {
    /// Called after each epoch.
    fn epoch_ended(&mut self, epoch: &Epoch) -> Result<()>;
    /// Called between batches: whether training pauses here. The state is then saved.
    fn wants_pause(&mut self) -> bool {
        false
    }
    /// Called after each epoch: whether a checkpoint is to be saved.
    fn wants_checkpoint(&mut self) -> bool {
        false
    }
    /// Saves a state that training can continue from.
    fn save_checkpoint(&mut self, _state: &State) -> Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&Epoch) -> Result<()>> TrainObserver for F {
    fn epoch_ended(&mut self, epoch: &Epoch) -> Result<()> {
        self(epoch)
    }
}

/// Pauses after a number of batches, and keeps the state.
#[cfg(test)]
pub(super) struct Pausing {
    pub(super) left: usize,
    pub(super) kept: Option<State>,
}

#[cfg(test)]
impl TrainObserver for &mut Pausing {
    fn epoch_ended(&mut self, _: &Epoch) -> Result<()> {
        Ok(())
    }
    fn wants_pause(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }
    fn save_checkpoint(&mut self, state: &State) -> Result<()> {
        self.kept = Some(state.clone());
        Ok(())
    }
}
