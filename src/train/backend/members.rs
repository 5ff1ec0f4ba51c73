//! Models on the CPU, each trained independently.

use crate::{
    error::Result,
    train::trainer::{Batch, MemberBatch, OptimizerState, Sums, Trainer, retain},
};
use std::ops::Range;

/// One model in training.
pub(super) trait Member {
    /// The sums over the batches of the current epoch.
    fn sums(&mut self) -> &mut Sums;
    /// Trains on one batch.
    fn step(&mut self, batch: Range<usize>, share: &MemberBatch<'_>);
    /// Whether a non-finite loss was detected.
    fn is_diverged(&self) -> bool {
        false
    }
    /// Sum over the validation rows of weight times loss, without L2 terms and penalties.
    fn valid_loss_sum(&self) -> f64;
    /// The state that the next step depends on.
    fn optimizer_state(&self) -> OptimizerState;
    /// Continues from a state, with the sums of the epoch so far.
    fn restore(&mut self, state: &OptimizerState, sums: Sums);
    /// Flat weights: parameters and running statistics.
    fn weights(&self) -> Vec<f32>;
}

/// Members take their steps one after the other; each computes the same as alone.
impl<M: Member> Trainer for Vec<M> {
    fn start_epoch(&mut self) {
        self.iter_mut().for_each(|member| *member.sums() = Sums::default());
    }

    fn step(&mut self, batch: Batch<'_>) -> Result<()> {
        self.iter_mut()
            .zip(batch.members)
            .for_each(|(member, share)| member.step(batch.rows.clone(), share));
        Ok(())
    }

    fn sums(&mut self) -> Result<Vec<Sums>> {
        Ok(self.iter_mut().map(|member| *member.sums()).collect())
    }

    fn diverged(&self) -> Vec<usize> {
        (0..self.len()).filter(|&at| self[at].is_diverged()).collect()
    }

    fn valid_loss_sums(&mut self) -> Result<Vec<f64>> {
        Ok(self.iter().map(M::valid_loss_sum).collect())
    }

    fn optimizer_states(&mut self) -> Result<Vec<OptimizerState>> {
        Ok(self.iter().map(M::optimizer_state).collect())
    }

    fn restore(&mut self, states: &[&OptimizerState], sums: &[Sums]) {
        self.iter_mut()
            .zip(states.iter().zip(sums))
            .for_each(|(member, (state, sums))| member.restore(state, *sums));
    }

    fn weights(&mut self) -> Result<Vec<Vec<f32>>> {
        Ok(self.iter().map(M::weights).collect())
    }

    fn retain_members(&mut self, members: &[usize]) -> Result<()> {
        retain(self, members);
        Ok(())
    }
}
