//! The state of a training, and what it ends in.

use super::{
    schedule::Seen,
    trainer::{Job, OptimizerState},
};
use serde::{Deserialize, Serialize};

/// Where a training stands, between two batches. Going on from it gives the same bytes as never
/// having stopped (on the CPU): chance has no state, since every use of it is drawn anew from the
/// seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Why training ended, where it has.
    pub stopped: Option<Stopped>,
    /// Batches of the epoch at hand that are done.
    pub batch: usize,
    /// Rows trained on in them.
    pub rows: usize,
    /// Sum of their losses, each times its rows.
    pub loss_sum: f64,
    /// The same of their penalties.
    #[serde(default)]
    pub penalty_sum: f64,
    /// Time spent on them.
    pub seconds: f64,
    /// The epochs that are done.
    pub history: Vec<Epoch>,
    /// Batches that were left out because their rows weigh nothing.
    pub weightless_batches: usize,
    /// What the schedule has seen.
    pub schedule: Seen,
    /// The best epoch (from 0) and its validation loss.
    pub best: Option<(u32, f64)>,
    /// Weights, and what the optimiser keeps.
    #[serde(skip)]
    pub optimizer_state: OptimizerState,
    /// The weights of the best epoch, where they are to be restored.
    #[serde(skip)]
    pub best_weights: Option<Vec<f32>>,
}

/// One line of `history.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: u32,
    /// Mean over the epoch's batches, as long as they are, of their losses while they were trained
    /// on; without L2 terms and penalties. Within a batch rows count by their weight.
    pub train_loss: f64,
    /// Mean loss of the validation rows after the epoch; without L2 terms and penalties, and with
    /// means for drawn latents.
    pub valid_loss: Option<f64>,
    /// The rate of this epoch.
    pub learning_rate: f64,
    /// Time the epoch took.
    pub seconds: f64,
    /// What `loss.sparsity`, `loss.contractive` and `loss.kl` added to what was made small, with
    /// their factors: a mean as `train_loss` is. Absent without any of them.
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
    /// The training loss hardly fell any more.
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
    /// The epoch (from 1) whose weights these are: the best or the last; 0 where none was trained.
    pub kept_epoch: u32,
    /// Batches that were left out because their rows weigh nothing, over all epochs.
    pub weightless_batches: usize,
}

impl State {
    /// Before the first batch.
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

    /// Epochs that are done.
    pub fn epoch(&self) -> u32 {
        self.history.len() as u32
    }
}

impl From<State> for Fitted {
    /// The weights of the best epoch where they were kept, else of the last.
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
