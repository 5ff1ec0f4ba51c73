//! The state and the result of a training.

use super::{
    schedule::Seen,
    trainer::{Job, OptimizerState},
};
use serde::{Deserialize, Serialize};

/// The state of a training between two batches. Resuming gives the same bytes as an uninterrupted
/// training (on the CPU): random generators have no state, because each use derives its own from
/// the seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Why training ended; `None` if it has not.
    pub stopped: Option<Stopped>,
    /// Completed batches of the current epoch.
    pub batch: usize,
    /// Rows in these batches.
    pub rows: usize,
    /// Sum over these batches of loss times number of rows.
    pub loss_sum: f64,
    /// The same for penalties.
    #[serde(default)]
    pub penalty_sum: f64,
    /// Seconds spent on these batches.
    pub seconds: f64,
    /// The completed epochs.
    pub history: Vec<Epoch>,
    /// Batches skipped because the weights of their rows are 0.
    pub weightless_batches: usize,
    /// State of the learning rate schedule.
    pub schedule: Seen,
    /// The best epoch (from 0) and its validation loss.
    pub best: Option<(u32, f64)>,
    /// Weights and moments of the optimizer.
    #[serde(skip)]
    pub optimizer_state: OptimizerState,
    /// The weights of the best epoch, if they are to be restored.
    #[serde(skip)]
    pub best_weights: Option<Vec<f32>>,
}

/// One line of `history.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: u32,
    /// Mean of the losses of the epoch's batches during training, weighted by their number of rows;
    /// without L2 terms and penalties. Within a batch rows count by their weight.
    pub train_loss: f64,
    /// Mean loss of the validation rows after the epoch, without L2 terms and penalties. Latents
    /// are their means, not sampled.
    pub valid_loss: Option<f64>,
    /// The learning rate of this epoch.
    pub learning_rate: f64,
    /// Seconds that the epoch took.
    pub seconds: f64,
    /// Sum of `loss.sparsity`, `loss.contractive` and `loss.kl` with their factors, averaged like
    /// `train_loss`. Absent without any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<f64>,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// All epochs are done.
    AllEpochs,
    /// The validation loss no longer fell.
    Early,
    /// The training loss hardly decreased any more.
    Converged,
}

/// A trained model.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// Flat weights: parameters and running statistics.
    pub weights: Vec<f32>,
    /// All epochs.
    pub history: Vec<Epoch>,
    /// Why training ended.
    pub stopped: Stopped,
    /// The epoch (from 1) of these weights: the best or the last; 0 if none was trained.
    pub kept_epoch: u32,
    /// Batches skipped because the weights of their rows are 0, over all epochs.
    pub weightless_batches: usize,
}

impl State {
    /// The state before the first batch.
    pub fn start(job: &Job<'_>) -> Self {
        let (parameters, statistics) = job.start.split_at(job.architecture.parameters());
        let zeros = vec![0.0; parameters.len()];
        let moments = OptimizerState {
            steps: 0,
            parameters: parameters.to_vec(),
            statistics: statistics.to_vec(),
            first: zeros.clone(),
            second: zeros,
        };
        Self {
            stopped: None,
            batch: 0,
            rows: 0,
            loss_sum: 0.0,
            penalty_sum: 0.0,
            seconds: 0.0,
            history: vec![],
            weightless_batches: 0,
            schedule: Seen::default(),
            best: None,
            optimizer_state: moments,
            best_weights: None,
        }
    }

    /// Number of completed epochs.
    pub fn epoch(&self) -> u32 {
        self.history.len() as u32
    }
}

impl From<State> for Fitted {
    /// The weights of the best epoch if they were kept, else of the last.
    fn from(state: State) -> Self {
        let last = state.epoch();
        let (weights, kept_epoch) = match (state.best_weights, state.best) {
            (Some(best), Some((epoch, _))) => (best, epoch + 1),
            _ => (state.optimizer_state.weights(), last),
        };
        let stopped = state.stopped.unwrap_or(Stopped::AllEpochs);
        Self {
            weights,
            history: state.history,
            stopped,
            kept_epoch,
            weightless_batches: state.weightless_batches,
        }
    }
}
