//! The interface of a backend: [`Trainer`], its batches and its state.

use crate::{config::Experiment, error::Result, model::Architecture, prepare::Rows};
use std::ops::Range;

/// One model to train: alone, or as a member of a pack trained in lock step on the same batches.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The config of losses, steps and epochs. Members of a pack may differ in numbers only.
    pub experiment: &'a Experiment,
    /// The network; the same for all members of a pack.
    pub architecture: &'a Architecture,
    /// Initial flat weights: parameters and running statistics.
    pub start: &'a [f32],
    /// The seed of batch order, dropout, noise and masking.
    pub seed: u64,
    /// The rows to train on; the same for all members of a pack.
    pub train: Rows<'a>,
    /// The validation rows; the same for all members of a pack.
    pub valid: Option<Rows<'a>>,
}

/// A batch of the epoch's order.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// Positions in the epoch's order.
    pub rows: Range<usize>,
    /// The parts of the members.
    pub members: &'a [MemberBatch<'a>],
}

/// A member's part in a batch.
#[derive(Clone, Debug)]
pub struct MemberBatch<'a> {
    /// The order of the training rows in this epoch; `None` is the order of the table.
    pub order: Option<&'a [usize]>,
    /// Sum of its rows' weights; if 0, the member skips the batch.
    pub total: f64,
    /// The learning rate.
    pub rate: f64,
    /// Dropout: factors of each hidden layer's outputs, `[rows, width]` each.
    pub masks: Option<Vec<Vec<f32>>>,
    /// Noise and masking of the inputs; reconstructions are compared with the inputs without them.
    pub corruption: Option<Corruption>,
    /// Noise for sampling latents, standard normal, `[rows, latent]`; `None` if latents are not
    /// sampled.
    pub latents: Option<Vec<f32>>,
    /// The factor of the divergence of sampled latents in this epoch.
    pub kl: f64,
}

/// Noise and masking of a batch's inputs, each `[rows, width]`: (input + added) · kept.
#[derive(Clone, Debug)]
pub struct Corruption {
    /// Gaussian noise.
    pub added: Vec<f32>,
    /// 0 for a masked input, else 1.
    pub kept: Vec<f32>,
}

impl MemberBatch<'_> {
    /// The row at a position of the epoch's order.
    pub fn row(&self, position: usize) -> usize {
        self.order.map_or(position, |order| order[position])
    }
}

/// Sums over the batches of the current epoch: the mean over each batch times its number of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Sum of the loss, a weighted mean over rows, without L2 terms and penalties.
    pub loss: f64,
    /// Sum of `loss.sparsity`, `loss.contractive` and `loss.kl` with their factors.
    pub penalty: f64,
}

/// A pack in training on a device. Returned vectors have one entry per member.
pub trait Trainer {
    /// Begins an epoch.
    fn start_epoch(&mut self);
    /// Forward, backward and update for one batch.
    fn step(&mut self, batch: Batch<'_>) -> Result<()>;
    /// The sums over the batches of the current epoch.
    fn sums(&mut self) -> Result<Vec<Sums>>;
    /// Members with a non-finite loss. On a device that runs asynchronously they are known only at
    /// the end of the epoch.
    fn diverged(&self) -> Vec<usize> {
        vec![]
    }
    /// Sum over the validation rows of weight times loss, without L2 terms and penalties.
    fn valid_loss_sums(&mut self) -> Result<Vec<f64>>;
    /// The state that the next step depends on.
    fn optimizer_states(&mut self) -> Result<Vec<OptimizerState>>;
    /// Continues from these states, with the sums of the epoch so far.
    fn restore(&mut self, moments: &[&OptimizerState], sums: &[Sums]);
    /// Flat weights: parameters and running statistics.
    fn weights(&mut self) -> Result<Vec<Vec<f32>>>;
    /// Continues with these members only.
    fn retain_members(&mut self, members: &[usize]) -> Result<()>;
}

/// The state that the next step of a model depends on. All arrays but the statistics are
/// `[parameters]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimizerState {
    /// Steps taken.
    pub steps: i32,
    /// Weights and biases, scales and shifts.
    pub parameters: Vec<f32>,
    /// Running means and variances of batch norm; empty without.
    pub statistics: Vec<f32>,
    /// First moment: mean of gradients or steps.
    pub first: Vec<f32>,
    /// Second moment: mean of their squares.
    pub second: Vec<f32>,
}

impl OptimizerState {
    /// Flat weights: parameters and running statistics.
    pub fn weights(&self) -> Vec<f32> {
        [self.parameters.as_slice(), &self.statistics].concat()
    }
}

/// Keeps the entries at these indices, which are ascending.
pub(super) fn retain<T>(values: &mut Vec<T>, staying: &[usize]) {
    let mut at = 0;
    values.retain(|_| {
        at += 1;
        staying.binary_search(&(at - 1)).is_ok()
    });
}
