//! `[train.optimizer]`: the optimizer.

use super::keys::{choice, section};

section! {
    /// How gradients become steps. Keys that the chosen kind does not have are refused.
    Optimizer {
        kind: OptimizerKind = OptimizerKind::Adam,
        /// Default 1e-3; with adadelta 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        learning_rate: Option<f64> = None,
        /// adam, adamw: decay of the mean gradient. Default 0.9.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        beta1: Option<f64> = None => ["adam", "adamw"],
        /// adam, adamw: decay of the mean squared gradient. Default 0.999.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        beta2: Option<f64> = None => ["adam", "adamw"],
        /// adam, adamw, rmsprop, adadelta: the small number in the denominator. Default 1e-8 (with
        /// Keras' placement 1e-7, with adadelta 1e-6).
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        epsilon: Option<f64> = None => ["adam", "adamw", "rmsprop", "adadelta"],
        /// adam, adamw: where epsilon stands. Default "torch".
        #[serde(skip_serializing_if = "Option::is_none")]
        epsilon_placement: Option<EpsilonPlacement> = None => ["adam", "adamw"],
        /// adamw: decoupled decay of weights and biases. Default 0.01.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0))]
        weight_decay: Option<f64> = None => ["adamw"],
        /// sgd: how much of the last step is kept. Default 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        momentum: Option<f64> = None => ["sgd"],
        /// rmsprop, adadelta: decay of the mean squared gradient (adadelta: and step). Default 0.9,
        /// with adadelta 0.95.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        rho: Option<f64> = None => ["rmsprop", "adadelta"],
    }
}

choice! {
    /// The rule by which gradients become steps.
    OptimizerKind {
        /// Adam.
        Adam = "adam",
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
        /// Stochastic gradient descent with momentum.
        Sgd = "sgd",
        /// RMSprop.
        RmsProp = "rmsprop",
        /// Adadelta.
        Adadelta = "adadelta",
    }
}

choice! {
    /// Where Adam's epsilon stands.
    EpsilonPlacement {
        /// Inside: m̂ / (√v̂ + ε).
        Torch = "torch",
        /// Outside the bias correction: m √(1 − β₂ᵗ) / (1 − β₁ᵗ) / (√v + ε), with βᵗ in single
        /// precision.
        Keras = "keras",
    }
}

/// The update rule of an optimizer. The learning rate of a step comes from `[train.schedule]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UpdateRule {
    /// Adam (Kingma and Ba), with PyTorch's or Keras' epsilon.
    Adam {
        /// Decay of the mean gradient.
        beta1: f64,
        /// Decay of the mean squared gradient.
        beta2: f64,
        /// The small number in the denominator.
        epsilon: f64,
        /// The placement of epsilon.
        placement: EpsilonPlacement,
        /// Decoupled weight decay (AdamW); 0 for Adam.
        weight_decay: f64,
    },
    /// Gradient descent with momentum.
    Sgd {
        /// Share of the last step that is kept.
        momentum: f64,
    },
    /// Adadelta (Zeiler 2012; epsilon inside both roots).
    Adadelta {
        /// Decay of the mean squared gradient and of the mean squared step.
        rho: f64,
        /// The small number added to both means.
        epsilon: f64,
    },
    /// RMSprop (PyTorch's: epsilon outside the root).
    RmsProp {
        /// Decay of the mean squared gradient.
        rho: f64,
        /// The small number in the denominator.
        epsilon: f64,
    },
}

impl Optimizer {
    /// Fills in the defaults of the chosen kind.
    pub(super) fn fill(&mut self) {
        let is_adadelta = self.kind == OptimizerKind::Adadelta;
        self.learning_rate.get_or_insert(if is_adadelta { 1.0 } else { 1e-3 });
        match self.kind {
            OptimizerKind::Adam | OptimizerKind::AdamW => {
                let placement = *self.epsilon_placement.get_or_insert(EpsilonPlacement::Torch);
                self.beta1.get_or_insert(0.9);
                self.beta2.get_or_insert(0.999);
                let usual = if placement == EpsilonPlacement::Keras { 1e-7 } else { 1e-8 };
                self.epsilon.get_or_insert(usual);
                if self.kind == OptimizerKind::AdamW {
                    self.weight_decay.get_or_insert(0.01);
                }
            }
            OptimizerKind::Sgd => {
                self.momentum.get_or_insert(0.0);
            }
            OptimizerKind::Adadelta => {
                self.rho.get_or_insert(0.95);
                self.epsilon.get_or_insert(1e-6);
            }
            OptimizerKind::RmsProp => {
                self.rho.get_or_insert(0.9);
                self.epsilon.get_or_insert(1e-8);
            }
        }
    }

    /// The chosen rule with its numbers.
    pub fn rule(&self) -> UpdateRule {
        let mut own = self.clone();
        own.fill();
        let [beta1, beta2, epsilon, momentum, rho] =
            [own.beta1, own.beta2, own.epsilon, own.momentum, own.rho]
                .map(Option::unwrap_or_default);
        match own.kind {
            OptimizerKind::Adam | OptimizerKind::AdamW => UpdateRule::Adam {
                beta1,
                beta2,
                epsilon,
                placement: own.epsilon_placement.unwrap_or(EpsilonPlacement::Torch),
                weight_decay: own.weight_decay.unwrap_or(0.0),
            },
            OptimizerKind::Sgd => UpdateRule::Sgd { momentum },
            OptimizerKind::Adadelta => UpdateRule::Adadelta { rho, epsilon },
            OptimizerKind::RmsProp => UpdateRule::RmsProp { rho, epsilon },
        }
    }
}
