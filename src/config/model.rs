//! `[model]` and `[model.nmf]`: the autoencoder, or the factorisation.

use super::keys::{choice, section};

section! {
    /// The autoencoder.
    Model {
        /// With "nmf", latent is the number of components, and keys of this section that are not
        /// named with it have no meaning.
        kind: ModelKind = ModelKind::Dense,
        /// Widths of the encoder's hidden layers; the decoder mirrors them.
        #[schemars(inner(range(min = 1, max = 65536)))]
        hidden: Vec<u32> = vec![64],
        /// Width of the latent layer.
        #[schemars(range(min = 1, max = 65536))]
        latent: u32 = 16,
        /// Activation of the hidden layers.
        activation: Activation = Activation::Relu,
        /// Activation of the latent layer. Default: that of the hidden layers.
        #[serde(skip_serializing_if = "Option::is_none")]
        latent_activation: Option<Activation> = None,
        /// Activation of the output.
        output_activation: Activation = Activation::Linear,
        /// Fraction of hidden values dropped in training.
        #[schemars(range(min = 0.0, max = 0.95))]
        dropout: f64 = 0.0,
        /// Normalise each hidden layer (not the latent one) between its linear part and its
        /// activation: in training by mean and variance of the batch, whatever its rows weigh; else
        /// by running ones (PyTorch's BatchNorm1d: epsilon 1e-5, momentum 0.1).
        batch_norm: bool = false,
        /// Standard deviation of Gaussian noise that is added to the scaled inputs in training; the
        /// output is still held to the clean ones.
        #[schemars(range(min = 0.0))]
        noise: f64 = 0.0,
        /// Fraction of the inputs that are set to 0 in training, after noise is added; the output
        /// is still held to all of them.
        #[schemars(range(min = 0.0, max = 0.95))]
        masking: f64 = 0.0,
        /// In training, draw each latent from a normal distribution whose mean the (linear) latent
        /// layer gives, and the logarithm of its variance another layer beside it; loss.kl holds
        /// them near the standard normal one. After training a latent is its mean.
        variational: bool = false,
        init: Init = Init::GlorotUniform,
        #[serde(skip_serializing_if = "Nmf::is_empty")]
        nmf: Nmf = Nmf::default(),
    }
}

section! {
    /// Settings of kind = "nmf": a row, best without negative numbers, is a sum of a few components
    /// without negative numbers. With train.batch_size below the number of rows, sums continue
    /// from batch to batch. Penalties are those of scikit-learn: alpha_W
    /// · l1_ratio is l1_coefficients, alpha_W · (1 − l1_ratio) l2_coefficients, alpha_H likewise of
    /// components.
    Nmf {
        solver: NmfSolver = NmfSolver::Descent,
        start: NmfStart = NmfStart::Nndsvd,
        /// With batches: the share of what was learned before that is kept, over a whole epoch. 1
        /// keeps all.
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        forget: f64 = 1.0,
        #[schemars(range(min = 0.0))]
        l1_coefficients: f64 = 0.0,
        #[schemars(range(min = 0.0))]
        l2_coefficients: f64 = 0.0,
        #[schemars(range(min = 0.0))]
        l1_components: f64 = 0.0,
        #[schemars(range(min = 0.0))]
        l2_components: f64 = 0.0,
        /// What inputs of training rows that are 0 are taken for in training, but for bins that are
        /// 0 in all of them: a bin that was dead for a while is then not learned as one that is
        /// sometimes dead.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0))]
        fill_zeros: Option<f64> = None,
        /// Scoring finds coefficients from inputs that are cut off here; errors are those of the
        /// inputs as they are.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        clip: Option<f64> = None,
    }
}

impl Nmf {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

choice! {
    /// How coefficients and components are found.
    NmfSolver {
        /// Coordinate descent, each side to the end while the other is held: the fastest way to the
        /// smallest error.
        Descent = "cd",
        /// Multiplicative updates (Lee and Seung).
        Multiplicative = "mu",
    }
}

choice! {
    /// The components to start from, without train.init.
    NmfStart {
        /// Made of the singular vectors of the training rows.
        Nndsvd = "nndsvd",
        /// Drawn.
        Random = "random",
    }
}

impl Model {
    /// Whether the network computes differently in training: dropout, batch norm, sampled latents,
    /// or noise or masking of inputs.
    pub fn is_regularised(&self) -> bool {
        self.batch_norm
            || self.variational
            || self.dropout > 0.0
            || self.noise > 0.0
            || self.masking > 0.0
    }

    /// Whether training uses random numbers.
    pub fn draws(&self) -> bool {
        self.variational || self.dropout > 0.0 || self.noise > 0.0 || self.masking > 0.0
    }
}

choice! {
    /// The kind of model.
    ModelKind {
        /// A dense autoencoder.
        Dense = "dense",
        /// Non-negative matrix factorisation.
        Nmf = "nmf",
    }
}

choice! {
    /// An activation function.
    Activation {
        /// max(0, x)
        Relu = "relu",
        /// x, or 0.01 x below 0
        LeakyRelu = "leaky_relu",
        /// x, or a x below 0, where a is trained with the weights: one number a layer, 0.25 before
        /// training (PyTorch's PReLU).
        Prelu = "prelu",
        /// x, or eˣ − 1 below 0
        Elu = "elu",
        /// The self-normalising elu.
        Selu = "selu",
        /// x Φ(x)
        Gelu = "gelu",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// 1 / (1 + e⁻ˣ)
        Sigmoid = "sigmoid",
        /// x
        Linear = "linear",
    }
}

choice! {
    /// How weights are drawn before training; biases start at 0, but with "torch".
    Init {
        /// Uniform, limit √(6 / (in + out)): Keras' default.
        GlorotUniform = "glorot-uniform",
        /// Normal, std √(2 / (in + out)).
        GlorotNormal = "glorot-normal",
        /// Uniform, limit √(6 / in).
        HeUniform = "he-uniform",
        /// Normal, std √(2 / in).
        HeNormal = "he-normal",
        /// Normal, std √(1 / in): what selu is meant for.
        LecunNormal = "lecun-normal",
        /// Uniform, limit √(1 / in), weights and biases: PyTorch's default.
        Torch = "torch",
    }
}

impl Model {
    pub(super) fn check(&mut self) {
        let usual = if self.variational { Activation::Linear } else { self.activation };
        self.latent_activation.get_or_insert(usual);
    }
}
