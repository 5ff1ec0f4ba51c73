//! `[train]`, `[train.checkpoint]` and `[train.stop]`: the training.

use super::{
    check::{Checker, duration},
    keys::{Key, choice, section},
    optimizer::Optimizer,
    schedule::Schedule,
};
use crate::error::{Error, Result};
use std::{path::PathBuf, time::Duration};

/// Keys that do not affect results; one that ends in a dot means its section.
pub(super) const CIRCUMSTANCES: &[&str] = &["train.time_limit", "train.checkpoint."];

/// The largest batch.
pub(super) const MOST_ROWS: u32 = 1_000_000;

section! {
    /// How the model is trained.
    Train {
        /// Weights to start from: a safetensors file as `lumisift export` writes it (or PyTorch's
        /// Linear layers named encoder.0.weight, …, BatchNorm1d encoder.0.norm.weight, …, PReLU
        /// encoder.0.prelu.weight, and of a variational autoencoder the Linear layers latent_mean
        /// and latent_log_variance), or a folder with one file per channel.
        #[serde(skip_serializing_if = "Key::is_unset")]
        init: Key<Option<String>, Option<PathBuf>> = Key::default(),
        /// How often the training rows are gone through. 0 scores with the initial weights.
        #[schemars(range(max = 1_000_000))]
        epochs: u32 = 100,
        #[schemars(range(min = 1, max = 1_000_000))]
        batch_size: u32 = 64,
        /// Draw a new order of rows each epoch.
        shuffle: bool = true,
        order: Order = Order::Ls,
        last_batch: LastBatch = LastBatch::Keep,
        validate_on: ValidateOn = ValidateOn::Valid,
        kernels: Kernels = Kernels::Auto,
        /// Models to train per channel, alike but for the seed: a score is the mean of theirs,
        /// their spread tells how far it is chance.
        #[schemars(range(min = 1, max = 1_000))]
        ensemble: u32 = 1,
        /// Scale gradients down to this norm (over all weights together) where they exceed it.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        gradient_clip: Option<f64> = None,
        /// Stop for now after this time, with a checkpoint to go on from: "90s", "30m", "7h 30m".
        /// Default: never.
        #[serde(skip_serializing_if = "Key::is_unset")]
        time_limit: Key<Option<String>, Option<Duration>> = Key::default(),
        checkpoint: Checkpoint = Checkpoint::default(),
        optimizer: Optimizer = Optimizer::default(),
        schedule: Schedule = Schedule::default(),
        stop: Stop = Stop::default(),
    }
}

impl Train {
    /// Number of batches of an epoch over `rows` rows.
    pub fn batches(&self, rows: usize) -> usize {
        match self.last_batch {
            LastBatch::Keep => rows.div_ceil(self.batch_size as usize),
            LastBatch::Drop => rows / self.batch_size as usize,
        }
    }

    /// Fails if the rows do not fill a batch and the last batch is dropped.
    pub fn check_batches(&self, rows: usize) -> Result<()> {
        if self.batches(rows) > 0 {
            return Ok(());
        }
        Err(Error::input(format!(
            "{rows} training rows do not fill a batch of {}, and train.last_batch = \"drop\"",
            self.batch_size
        )))
    }
}

choice! {
    /// The order of the training rows before any shuffling.
    Order {
        /// By run and LS.
        Ls = "ls",
        /// As they stand in their files.
        File = "file",
    }
}

choice! {
    /// What happens to the rows that do not fill a batch.
    LastBatch {
        /// They make a smaller batch.
        Keep = "keep",
        /// They are left out this epoch.
        Drop = "drop",
    }
}

choice! {
    /// Which rows the validation loss is taken on.
    ValidateOn {
        /// The validation split.
        Valid = "valid",
        /// The training rows themselves (as the METSig notebook does): says nothing about new data.
        Train = "train",
    }
}

choice! {
    /// How a training step is computed.
    Kernels {
        /// The fastest that the device has for the network: on a GPU "reference" for GELU, PReLU,
        /// dropout, batch norm, noise or masking of inputs, model.variational, loss.sparsity,
        /// loss.contractive, and train.gradient_clip.
        Auto = "auto",
        /// Autodiff over the module, on any device.
        Reference = "reference",
        /// Forward, backward and update by hand, on the CPU or as kernels of a GPU. The same to
        /// rounding.
        Fused = "fused",
    }
}

section! {
    /// When the state of a training is kept, so that `lumisift train --resume` goes on from it. A
    /// signal to stop keeps it too.
    Checkpoint {
        /// Every so many seconds, at the end of an epoch.
        #[schemars(range(min = 0.0))]
        seconds: f64 = 30.0,
        /// Every so many epochs too.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        epochs: Option<u32> = None,
        /// How many of the last ones stay, should the newest be damaged.
        #[schemars(range(min = 1, max = 1000))]
        keep: u32 = 2,
    }
}

section! {
    /// When to stop early. Watches the validation loss.
    Stop {
        /// Epochs without a better validation loss before training stops. Default: never.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        patience: Option<u32> = None,
        /// How much smaller a loss must be to count as better.
        #[schemars(range(min = 0.0))]
        min_delta: f64 = 0.0,
        /// Stop when an epoch lowered the training loss by less than this part of the first epoch's
        /// loss. Default: never; with model.kind = "nmf" 1e-5.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0))]
        tolerance: Option<f64> = None,
        /// Keep the weights of the epoch with the best validation loss instead of the last.
        /// Default: yes where patience is set.
        #[serde(skip_serializing_if = "Option::is_none")]
        restore_best: Option<bool> = None,
    }
}

impl Train {
    /// The full learning rate; 0 for a factorisation.
    pub fn learning_rate(&self) -> f64 {
        self.optimizer.learning_rate.unwrap_or(0.0)
    }

    pub(super) fn check(&mut self, checker: &mut Checker) {
        checker.path("train.init", &mut self.init);
        self.time_limit.meaning = self.time_limit.written.as_ref().and_then(|text| {
            let limit = duration(text);
            if limit.is_none() {
                checker.fault(
                    "train.time_limit",
                    format!(
                        "found \"{text}\"; expected a time such as \"90s\", \"30m\" or \"7h 30m\""
                    ),
                );
            }
            limit
        });
        self.schedule.check(checker);
    }
}
