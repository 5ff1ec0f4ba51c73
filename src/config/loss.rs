//! `[loss]` and `[loss.sparsity]`: the objective of training.

use super::keys::{choice, section};

section! {
    /// What training makes small.
    Loss {
        kind: LossKind = LossKind::Mse,
        /// With `kind = "smooth_l1"`: where the square turns into a line.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        beta: Option<f64> = None => ["smooth_l1"],
        /// Factor of the sum of all squared weights (not biases). Not part of the logged loss.
        #[schemars(range(min = 0.0))]
        l2: f64 = 0.0,
        /// Factor of the squared outputs of the first hidden layer, summed and divided by the batch
        /// size (Keras' activity regularisation). Not part of the logged loss.
        #[schemars(range(min = 0.0))]
        activity_l2: f64 = 0.0,
        /// A sparse autoencoder: what its latents cost. Not part of the logged loss.
        #[serde(skip_serializing_if = "Option::is_none")]
        sparsity: Option<Sparsity> = None,
        /// A contractive autoencoder: factor of the squared Frobenius norm of the derivative of a
        /// row's latents by its (scaled) inputs, a mean over rows. Not part of the logged loss.
        #[schemars(range(min = 0.0))]
        contractive: f64 = 0.0,
        /// With model.variational: factor of the Kullback-Leibler divergence of a row's latents
        /// from the standard normal distribution, summed over latents, a mean over rows. Default
        /// 1e-3. Not part of the logged loss.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0))]
        kl: Option<f64> = None,
        /// With model.variational: epochs over which that factor rises linearly to its full value.
        /// Default 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = 1_000_000))]
        kl_warmup: Option<u32> = None,
    }
}

section! {
    /// What keeps most latents of a row silent.
    Sparsity {
        kind: SparsityKind = SparsityKind::L1,
        /// Its factor.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        weight: f64 = 1e-3,
        /// kl: the mean that each latent shall have over the rows of a batch. Default 0.05.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        target: Option<f64> = None => ["kl"],
    }
}

choice! {
    /// How latents that are not silent are counted.
    SparsityKind {
        /// Their absolute values, summed over latents, a mean over rows.
        L1 = "l1",
        /// The Kullback-Leibler divergence of each latent's mean over a batch from target, both as
        /// probabilities, summed over latents. Wants latents between 0 and 1: latent_activation =
        /// "sigmoid".
        Kl = "kl",
    }
}

choice! {
    /// The distance of input and output that is made small, a mean over rows and, but for "sse",
    /// over bins.
    LossKind {
        /// Mean squared error.
        Mse = "mse",
        /// Sum of squared errors over the bins.
        Sse = "sse",
        /// Mean absolute error.
        Mae = "mae",
        /// Huber-like: a square below beta, a line above (PyTorch's SmoothL1Loss).
        SmoothL1 = "smooth_l1",
    }
}

/// A distance of input and output, averaged over features (or summed if stated) and rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distance {
    /// Mean squared error.
    Mse,
    /// Sum of squared errors over the features.
    Sse,
    /// Mean absolute error.
    Mae,
    /// d² / 2β below β, d − β/2 above (PyTorch's `SmoothL1Loss`).
    SmoothL1 {
        /// The transition from quadratic to linear.
        beta: f64,
    },
}

impl Distance {
    /// The divisor of the sum over `features` features.
    pub fn divisor(self, features: usize) -> f64 {
        if self == Self::Sse { 1.0 } else { features as f64 }
    }
}

/// Penalties on latents, added to the distance in training; each is a weighted mean over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Penalties {
    /// Penalty on latents that are not sparse.
    pub sparsity: Option<SparsityPenalty>,
    /// Factor of the squared Frobenius norm of the Jacobian of the latents; 0 for none.
    pub contractive: f64,
    /// Divergence of the latents of a variational autoencoder from the standard normal
    /// distribution.
    pub kl: Option<Divergence>,
}

/// A penalty on latents that are not sparse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SparsityPenalty {
    /// The absolute values, summed over latents.
    L1 {
        /// Its factor.
        weight: f64,
    },
    /// The divergence of each latent's mean over a batch from a target, summed over latents.
    Kl {
        /// Its factor.
        weight: f64,
        /// The target of the mean, between 0 and 1.
        target: f64,
    },
}

/// The divergence of sampled latents from the standard normal distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence {
    /// The full factor.
    pub weight: f64,
    /// Number of epochs over which the factor rises linearly.
    pub warmup: u32,
}

impl Divergence {
    /// The factor in an epoch, counted from 0.
    pub fn factor(self, epoch: u32) -> f64 {
        if epoch < self.warmup {
            self.weight * f64::from(epoch + 1) / f64::from(self.warmup + 1)
        } else {
            self.weight
        }
    }
}

impl Penalties {
    /// Whether there is no penalty.
    pub fn is_empty(&self) -> bool {
        self.sparsity.is_none() && self.contractive == 0.0 && self.kl.is_none()
    }
}

/// The penalties with their factors; empty without any.
impl std::fmt::Display for Penalties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = vec![];
        match self.sparsity {
            Some(SparsityPenalty::L1 { weight }) => {
                parts.push(format!("{weight} × sum of |latent|"))
            }
            Some(SparsityPenalty::Kl { weight, target }) => {
                parts.push(format!("{weight} × KL divergence of mean latents from {target}"))
            }
            None => {}
        }
        if self.contractive > 0.0 {
            parts.push(format!("{} × squared norm of d latent / d input", self.contractive));
        }
        match self.kl {
            Some(Divergence { weight, warmup: 0 }) => {
                parts.push(format!("{weight} × KL divergence of latents from normal"))
            }
            Some(Divergence { weight, warmup }) => {
                parts.push(format!(
                    "{weight} × KL divergence of latents from normal (rising over {warmup} epochs)"
                ));
            }
            None => {}
        }
        f.write_str(&parts.join(" + "))
    }
}

impl Loss {
    /// Fills in the defaults of the chosen kinds.
    pub(super) fn fill(&mut self) {
        if self.kind == LossKind::SmoothL1 {
            self.beta.get_or_insert(1.0);
        }
        if let Some(sparsity) = self.sparsity.as_mut().filter(|own| own.kind == SparsityKind::Kl) {
            sparsity.target.get_or_insert(0.05);
        }
    }

    /// The distance of input and output.
    pub fn distance(&self) -> Distance {
        let mut own = self.clone();
        own.fill();
        match own.kind {
            LossKind::Mse => Distance::Mse,
            LossKind::Sse => Distance::Sse,
            LossKind::Mae => Distance::Mae,
            LossKind::SmoothL1 => Distance::SmoothL1 { beta: own.beta.unwrap_or_default() },
        }
    }

    /// The penalties on latents.
    pub fn penalties(&self) -> Penalties {
        let mut own = self.clone();
        own.fill();
        let sparsity = own.sparsity.map(|Sparsity { kind, weight, target }| match kind {
            SparsityKind::L1 => SparsityPenalty::L1 { weight },
            SparsityKind::Kl => SparsityPenalty::Kl { weight, target: target.unwrap_or_default() },
        });
        let warmup = self.kl_warmup.unwrap_or(0);
        let kl = self.kl.map(|weight| Divergence { weight, warmup });
        Penalties { sparsity, contractive: self.contractive, kl }
    }
}
