//! Compares gradients of penalties with finite differences of the definitions in double precision.

use crate::{
    config::{
        DeviceChoice, Divergence, Document, Experiment, Penalties, SparsityPenalty,
        model::Activation,
    },
    device,
    model::{Architecture, architecture::LayerPlace},
    prepare::Rows,
    random,
    train::{
        fit,
        state::{Epoch, State},
        trainer::Job,
    },
};
use rand_distr::{Distribution, StandardNormal};

const WIDTH: usize = 4;
const ROWS: usize = 3;

fn experiment(text: &str, kernels: &str) -> Experiment {
    let text = format!(
        "data.train = [\"a\"]\nthreshold.on = \"train\"\nmodel.hidden = [5, 3]\nmodel.latent = 2\n\
         train = {{epochs = 1, shuffle = false, kernels = \"{kernels}\", optimizer = {{kind = \"sgd\", learning_rate = 1.0}}}}\n{text}"
    );
    Experiment::check(&Document::parse(&text, std::path::Path::new("x.toml")).unwrap(), "x")
        .unwrap()
}

fn activate(kind: Activation, slope: f64, x: f64) -> f64 {
    let (scale, alpha) = (1.050_700_987_355_480_5, 1.673_263_242_354_377_2);
    match kind {
        Activation::Relu => x.max(0.0),
        Activation::LeakyRelu => x.max(0.01 * x),
        Activation::Prelu => x.max(0.0) + slope * x.min(0.0),
        Activation::Elu => {
            if x < 0.0 {
                x.exp_m1()
            } else {
                x
            }
        }
        Activation::Selu => scale * if x < 0.0 { alpha * x.exp_m1() } else { x },
        // The error function by its series.
        Activation::Gelu => {
            let (z, mut term, mut sum) =
                (x / 2.0_f64.sqrt(), x / 2.0_f64.sqrt(), x / 2.0_f64.sqrt());
            for n in 1..100 {
                term *= -z * z / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            x * 0.5 * (1.0 + sum * std::f64::consts::FRAC_2_SQRT_PI)
        }
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Linear => x,
    }
}

/// A network in double precision.
struct Network<'a> {
    architecture: &'a Architecture,
    parameters: &'a [f64],
}

impl Network<'_> {
    fn linear(&self, place: &LayerPlace, input: &[f64]) -> Vec<f64> {
        let (weight, bias) =
            (&self.parameters[place.weight.clone()], &self.parameters[place.bias.clone()]);
        (0..place.outputs)
            .map(|o| {
                bias[o]
                    + input
                        .iter()
                        .enumerate()
                        .map(|(i, x)| x * weight[i * place.outputs + o])
                        .sum::<f64>()
            })
            .collect()
    }

    /// The output of some layers for a row, and the input of the last activation.
    fn run(&self, layers: std::ops::Range<usize>, row: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut value, mut input) = (row.to_vec(), vec![]);
        for (place, kind) in LayerPlace::all(self.architecture)[layers.clone()]
            .iter()
            .zip(&self.architecture.activations[layers])
        {
            let slope = place.slope.map_or(0.0, |at| self.parameters[at]);
            input = value;
            value =
                self.linear(place, &input).into_iter().map(|x| activate(*kind, slope, x)).collect();
        }
        (value, input)
    }

    fn encode(&self, row: &[f64]) -> Vec<f64> {
        self.run(0..self.architecture.encoder_layers, row).0
    }

    /// Mean squared error plus penalties of rows with weights.
    fn objective(
        &self,
        rows: &[f64],
        weights: &[f64],
        numbers: &[f64],
        penalties: &Penalties,
    ) -> f64 {
        let (encoder, layers, latent) = (
            self.architecture.encoder_layers,
            self.architecture.layers(),
            self.architecture.latent(),
        );
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let mut means = vec![0.0; latent];
        for (row, (values, weight)) in rows.chunks_exact(WIDTH).zip(weights).enumerate() {
            let (mut latents, last_hidden) = self.run(0..encoder, values);
            means
                .iter_mut()
                .zip(&latents)
                .for_each(|(mean, value)| *mean += weight / total * value);
            let mut cost = 0.0;
            if let Some(SparsityPenalty::L1 { weight }) = penalties.sparsity {
                cost += weight * latents.iter().map(|value| value.abs()).sum::<f64>();
            }
            if penalties.contractive > 0.0 {
                for input in 0..WIDTH {
                    let at = |step: f64| {
                        self.encode(
                            &values
                                .iter()
                                .enumerate()
                                .map(|(i, x)| x + if i == input { step } else { 0.0 })
                                .collect::<Vec<_>>(),
                        )
                    };
                    let squares = at(1e-4)
                        .iter()
                        .zip(at(-1e-4))
                        .map(|(above, below)| ((above - below) / 2e-4).powi(2))
                        .sum::<f64>();
                    cost += penalties.contractive * squares;
                }
            }
            if let (Some(Divergence { weight, .. }), Some(place)) =
                (penalties.kl, LayerPlace::log_variance(self.architecture))
            {
                let spreads = self.linear(&place, &last_hidden);
                for (at, (value, spread)) in latents.iter_mut().zip(spreads).enumerate() {
                    cost += weight * 0.5 * (*value * *value + spread.exp() - 1.0 - spread);
                    *value += (0.5 * spread).exp() * numbers[row * latent + at];
                }
            }
            let (output, _) = self.run(encoder..layers, &latents);
            cost += output
                .iter()
                .zip(values)
                .map(|(output, input)| (output - input).powi(2))
                .sum::<f64>()
                / WIDTH as f64;
            sum += weight / total * cost;
        }
        if let Some(SparsityPenalty::Kl { weight, target }) = penalties.sparsity {
            sum += weight
                * means
                    .iter()
                    .map(|mean| {
                        target * (target / mean).ln()
                            + (1.0 - target) * ((1.0 - target) / (1.0 - mean)).ln()
                    })
                    .sum::<f64>();
        }
        sum
    }
}

/// One step of rate 1 is the gradient.
fn holds(text: &str) {
    ["fused", "reference"].into_iter().for_each(|kernels| holds_by(text, kernels));
}

fn holds_by(text: &str, kernels: &str) {
    let experiment = experiment(text, kernels);
    let architecture = Architecture::new(WIDTH, &experiment.model);
    let mut chance = random::generator(7, "test weights", 0);
    let start: Vec<f32> = (0..architecture.parameters())
        .map(|_| 0.6 * Distribution::<f32>::sample(&StandardNormal, &mut chance))
        .collect();
    let values: Vec<f32> = (0..ROWS * WIDTH)
        .map(|_| Distribution::<f32>::sample(&StandardNormal, &mut chance))
        .collect();
    let weights = [1.0_f32, 0.5, 2.0];
    let rows = Rows::new(&values, WIDTH).weighted(Some(&weights));
    let job = Job {
        experiment: &experiment,
        architecture: &architecture,
        start: &start,
        seed: 3,
        train: rows,
        valid: None,
    };
    let device = device::open(DeviceChoice::Cpu).unwrap();
    let fitted = fit(&[job], &device, vec![State::start(&job)], vec![|_: &Epoch| Ok(())])
        .unwrap()
        .unwrap()
        .remove(0)
        .unwrap();

    let double =
        |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
    let numbers =
        double(&crate::train::draws::normal_numbers(ROWS * architecture.latent(), 3, 0, 0));
    let mut parameters = double(&start);
    let objective = |parameters: &[f64]| {
        Network { architecture: &architecture, parameters }.objective(
            &double(&values),
            &double(&weights),
            &numbers,
            &experiment.loss.penalties(),
        )
    };
    let epoch = &fitted.history[0];
    let told = epoch.train_loss + epoch.penalty.unwrap();
    assert!(
        (told / objective(&parameters) - 1.0).abs() < 1e-5,
        "{text} {kernels}: {told} {}",
        objective(&parameters)
    );
    for (at, begun) in start.iter().enumerate() {
        let own = parameters[at];
        let mut moved = |step: f64| {
            parameters[at] = own + step;
            objective(&parameters)
        };
        let slope = (moved(1e-4) - moved(-1e-4)) / 2e-4;
        parameters[at] = own;
        let found = f64::from(*begun) - f64::from(fitted.weights[at]);
        assert!(
            (found - slope).abs() < 2e-5 * (1.0 + slope.abs()),
            "{text} {kernels}: parameter {at}: {found} {slope}"
        );
    }
}

#[test]
fn of_sparse_ones() {
    holds("model.activation = \"prelu\"\nloss.sparsity = {weight = 0.3}");
    holds(
        "model.activation = \"tanh\"\nmodel.latent_activation = \"sigmoid\"\nloss.sparsity = {kind = \"kl\", weight = 0.3, target = 0.2}",
    );
}

#[test]
fn of_contractive_ones() {
    for kind in crate::model::host::ALL {
        holds(&format!(
            "model.activation = \"{kind}\"\nmodel.output_activation = \"sigmoid\"\nloss.contractive = 0.3"
        ));
    }
    holds(
        "model.activation = \"prelu\"\nmodel.latent_activation = \"sigmoid\"\nloss = {contractive = 0.3, sparsity = {kind = \"kl\"}}",
    );
}

#[test]
fn of_variational_ones() {
    holds(
        "model.activation = \"prelu\"\nmodel.output_activation = \"sigmoid\"\nmodel.variational = true\nloss.kl = 0.3",
    );
    holds("model.activation = \"gelu\"\nmodel.variational = true\nloss.kl = 0.3");
}
