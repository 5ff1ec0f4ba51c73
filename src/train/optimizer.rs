//! How gradients become steps.
//!
//! Parameters, gradients and moments are flat, `[members, parameters]`: one update is a dozen tensor operations whatever
//! the number of layers, every rule is elementwise, and the state is two arrays that a checkpoint can hold. Burn's own
//! optimisers keep their state per parameter, have no place for Keras' epsilon, and Adadelta (Zeiler 2012) is not among them.

use crate::config::{Optimizer as Rule, raw::EpsilonPlacement};
use burn::tensor::Tensor;

/// A rule with its state.
#[derive(Clone, Debug)]
pub struct Optimizer {
    rule: Rule,
    /// Steps taken.
    steps: i32,
    /// Mean gradient (Adam), last step (momentum) or mean squared step (Adadelta), `[members, parameters]`.
    first: Option<Tensor<2>>,
    /// Mean squared gradient, `[members, parameters]`.
    second: Option<Tensor<2>>,
}

impl Optimizer {
    /// Before the first step.
    pub fn new(rule: Rule) -> Self {
        Self { rule, steps: 0, first: None, second: None }
    }

    /// Steps taken, and what is kept of gradients and steps.
    pub fn moments(&self) -> (i32, Option<Tensor<2>>, Option<Tensor<2>>) {
        (self.steps, self.first.clone(), self.second.clone())
    }

    /// Goes on from there.
    pub fn restore(&mut self, steps: i32, first: Tensor<2>, second: Tensor<2>) {
        (self.steps, self.first, self.second) = (steps, Some(first), Some(second));
    }

    /// The parameters after one step with this learning rate, all `[members, parameters]`.
    pub fn step(&mut self, parameters: Tensor<2>, gradient: Tensor<2>, learning_rate: f64) -> Tensor<2> {
        self.steps += 1;
        match self.rule {
            Rule::Adam { beta1, beta2, epsilon, placement, weight_decay } => {
                let first = average(self.first.take(), gradient.clone(), beta1);
                let second = average(self.second.take(), gradient.square(), beta2);
                let (correction1, correction2) = (1.0 - beta1.powi(self.steps), (1.0 - beta2.powi(self.steps)).sqrt());
                // m̂ / (√v̂ + ε) = (√c₂ / c₁) m / (√v + ε √c₂) with c the bias corrections; Keras leaves ε uncorrected.
                let epsilon = if placement == EpsilonPlacement::Torch { epsilon * correction2 } else { epsilon };
                let step = first.clone() / second.clone().sqrt().add_scalar(epsilon);
                (self.first, self.second) = (Some(first), Some(second));
                let decayed = if weight_decay > 0.0 { parameters.mul_scalar(1.0 - learning_rate * weight_decay) } else { parameters };
                decayed - step.mul_scalar(learning_rate * correction2 / correction1)
            }
            Rule::Sgd { momentum: 0.0 } => parameters - gradient.mul_scalar(learning_rate),
            Rule::Sgd { momentum } => {
                let velocity = match self.first.take() {
                    Some(velocity) => velocity.mul_scalar(momentum) + gradient,
                    None => gradient,
                };
                self.first = Some(velocity.clone());
                parameters - velocity.mul_scalar(learning_rate)
            }
            Rule::Adadelta { rho, epsilon } => {
                let second = average(self.second.take(), gradient.clone().square(), rho);
                let scale = second.clone().add_scalar(epsilon).sqrt();
                let step = match &self.first {
                    Some(first) => gradient * first.clone().add_scalar(epsilon).sqrt() / scale,
                    None => gradient.mul_scalar(epsilon.sqrt()) / scale,
                };
                self.first = Some(average(self.first.take(), step.clone().square(), rho));
                self.second = Some(second);
                parameters - step.mul_scalar(learning_rate)
            }
            Rule::RmsProp { rho, epsilon } => {
                let second = average(self.second.take(), gradient.clone().square(), rho);
                self.second = Some(second.clone());
                parameters - (gradient / second.sqrt().add_scalar(epsilon)).mul_scalar(learning_rate)
            }
        }
    }
}

/// A running mean that starts at 0.
fn average(mean: Option<Tensor<2>>, value: Tensor<2>, decay: f64) -> Tensor<2> {
    let fresh = value.mul_scalar(1.0 - decay);
    match mean {
        Some(mean) => mean.mul_scalar(decay) + fresh,
        None => fresh,
    }
}

/// Scales each member's gradient down to norm `limit` where it is longer, `[members, parameters]`.
pub fn clip(gradient: Tensor<2>, limit: f64) -> Tensor<2> {
    let norm = gradient.clone().square().sum_dim(1).sqrt();
    let factor = norm.clamp_min(limit).recip().mul_scalar(limit);
    gradient * factor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::cpu;
    use burn::tensor::TensorData;

    fn tensor(values: &[f32]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len()]), &cpu())
    }

    /// Minimises ½(x − 1)² from 3 for three steps of rate 0.1; the numbers are PyTorch 2's and Keras 3's.
    fn three_steps(rule: Rule) -> f32 {
        let mut optimizer = Optimizer::new(rule);
        let mut x = tensor(&[3.0]);
        for _ in 0..3 {
            let gradient = x.clone().sub_scalar(1.0);
            x = optimizer.step(x, gradient, 0.1);
        }
        x.into_scalar()
    }

    fn near(found: f32, expected: f64) {
        assert!((f64::from(found) - expected).abs() < 2e-6, "{found} is not {expected}");
    }

    /// The same in f64, straight from the definitions.
    fn adam(epsilon: f64, keras: bool, decay: f64) -> f64 {
        let (mut x, mut m, mut v) = (3.0_f64, 0.0, 0.0);
        for t in 1..=3 {
            let g = x - 1.0;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let (c1, c2) = (1.0 - 0.9_f64.powi(t), 1.0 - 0.999_f64.powi(t));
            x *= 1.0 - 0.1 * decay;
            x -= if keras { 0.1 * c2.sqrt() / c1 * m / (v.sqrt() + epsilon) } else { 0.1 * (m / c1) / ((v / c2).sqrt() + epsilon) };
        }
        x
    }

    #[test]
    fn adam_has_two_places_for_epsilon() {
        let rule = |placement, epsilon, weight_decay| Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon, placement, weight_decay };
        for epsilon in [1e-8, 0.1] {
            near(three_steps(rule(EpsilonPlacement::Torch, epsilon, 0.0)), adam(epsilon, false, 0.0));
            near(three_steps(rule(EpsilonPlacement::Keras, epsilon, 0.0)), adam(epsilon, true, 0.0));
            near(three_steps(rule(EpsilonPlacement::Torch, epsilon, 0.2)), adam(epsilon, false, 0.2));
        }
        assert!((adam(0.1, true, 0.0) - adam(0.1, false, 0.0)).abs() > 0.01, "the two must differ for the test to mean anything");
    }

    #[test]
    fn sgd_and_rmsprop() {
        near(three_steps(Rule::Sgd { momentum: 0.0 }), 1.0 + 2.0 * 0.9_f64.powi(3));
        let (mut x, mut velocity) = (3.0_f64, 0.0);
        for _ in 0..3 {
            velocity = 0.9 * velocity + (x - 1.0);
            x -= 0.1 * velocity;
        }
        near(three_steps(Rule::Sgd { momentum: 0.9 }), x);
        let (mut x, mut v) = (3.0_f64, 0.0);
        for _ in 0..3 {
            let g = x - 1.0;
            v = 0.9 * v + 0.1 * g * g;
            x -= 0.1 * g / (v.sqrt() + 1e-3);
        }
        near(three_steps(Rule::RmsProp { rho: 0.9, epsilon: 1e-3 }), x);
    }

    #[test]
    fn adadelta_is_zeilers() {
        for epsilon in [1e-6, 0.1] {
            let (mut x, mut squares, mut steps) = (3.0_f64, 0.0, 0.0);
            for _ in 0..3 {
                let g = x - 1.0;
                squares = 0.9 * squares + 0.1 * g * g;
                let step = ((steps + epsilon) / (squares + epsilon)).sqrt() * g;
                steps = 0.9 * steps + 0.1 * step * step;
                x -= 0.1 * step;
            }
            near(three_steps(Rule::Adadelta { rho: 0.9, epsilon }), x);
        }
    }

    #[test]
    fn clipping_goes_by_the_norm_over_everything() {
        assert_eq!(clip(tensor(&[3.0, 4.0]), 10.0).into_data().try_to_vec::<f32>().unwrap(), [3.0, 4.0]);
        let clipped = clip(tensor(&[3.0, 4.0]), 1.0).into_data().try_to_vec::<f32>().unwrap();
        assert!((clipped[0] - 0.6).abs() < 1e-6 && (clipped[1] - 0.8).abs() < 1e-6);
        assert_eq!(clip(tensor(&[0.0, 0.0]), 1.0).into_data().try_to_vec::<f32>().unwrap(), [0.0, 0.0]);
    }
}
