//! Optimizers.
//!
//! Parameters, gradients and moments are flat, `[members, parameters]`: one update is a dozen
//! tensor operations for any number of layers, every rule is elementwise, and the state is two
//! arrays in a checkpoint. Burn's own optimisers keep their state per parameter, do not support
//! the epsilon of Keras, and lack Adadelta (Zeiler 2012).

use super::trainer::retain;
use crate::config::{UpdateRule as Rule, optimizer::EpsilonPlacement};
use burn::tensor::{Int, Tensor, TensorData};

/// The update rules of a pack, all of one kind, with their state.
#[derive(Clone, Debug)]
pub struct Optimizer {
    /// One rule per member; only numbers may differ.
    rules: Vec<Rule>,
    /// Number of steps of each member.
    steps: Vec<i32>,
    /// Mean gradient (Adam), last step (momentum) or mean squared step (Adadelta), `[members,
    /// parameters]`.
    first: Option<Tensor<2>>,
    /// Mean squared gradient, `[members, parameters]`.
    second: Option<Tensor<2>>,
}

impl Optimizer {
    /// The state before the first step; `rules` has one entry per member.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { steps: vec![0; rules.len()], rules, first: None, second: None }
    }

    /// Number of steps, and first and second moment.
    pub fn moments(&self) -> (Vec<i32>, Option<Tensor<2>>, Option<Tensor<2>>) {
        (self.steps.clone(), self.first.clone(), self.second.clone())
    }

    /// Restores the state.
    pub fn restore(&mut self, steps: Vec<i32>, first: Tensor<2>, second: Tensor<2>) {
        (self.steps, self.first, self.second) = (steps, Some(first), Some(second));
    }

    /// Keeps only these members; `indices` are the same numbers on the device.
    pub fn keep(&mut self, members: &[usize], indices: &Tensor<1, Int>) {
        retain(&mut self.rules, members);
        retain(&mut self.steps, members);
        for moment in [&mut self.first, &mut self.second] {
            *moment = moment.take().map(|moment| moment.select(0, indices.clone()));
        }
    }

    /// The parameters after one step with each member's learning rate, all `[members, parameters]`.
    /// A member without a rate is unchanged.
    pub fn step(
        &mut self,
        parameters: Tensor<2>,
        gradient: Tensor<2>,
        rates: &[Option<f64>],
    ) -> Tensor<2> {
        let before = rates
            .contains(&None)
            .then(|| (parameters.clone(), self.first.clone(), self.second.clone()));
        self.steps
            .iter_mut()
            .zip(rates)
            .for_each(|(steps, rate)| *steps += i32::from(rate.is_some()));
        let device = parameters.device();
        // One number per member, [members, 1], in one transfer.
        let numbers: Vec<Numbers> = (0..rates.len())
            .map(|at| numbers(self.rules[at], self.steps[at].max(1), rates[at].unwrap_or(0.0)))
            .collect();
        let flat: Vec<f32> = (0..NUMBERS)
            .flat_map(|which| numbers.iter().map(move |numbers| numbers[which] as f32))
            .collect();
        let table =
            Tensor::<3>::from_data(TensorData::new(flat, [NUMBERS, rates.len(), 1]), &device);
        let number = |which: usize| table.clone().narrow(0, which, 1).squeeze_dim::<2>(0);
        let (rate, momentum, fresh1, fresh2, epsilon, keep) =
            (number(0), number(1), number(2), number(3), number(4), number(5));
        let after = match self.rules[0] {
            Rule::Adam { .. } => {
                let first = average(self.first.take(), gradient.clone(), fresh1);
                let second = average(self.second.take(), gradient.square(), fresh2);
                let step = first.clone() / (second.clone().sqrt() + epsilon);
                (self.first, self.second) = (Some(first), Some(second));
                parameters * keep - step * rate
            }
            Rule::Sgd { .. } => {
                let velocity = match self.first.take() {
                    Some(velocity) => velocity * momentum + gradient,
                    None => gradient,
                };
                self.first = Some(velocity.clone());
                parameters - velocity * rate
            }
            Rule::Adadelta { .. } => {
                let second = average(self.second.take(), gradient.clone().square(), fresh2.clone());
                let scale = (second.clone() + epsilon.clone()).sqrt();
                let step = match &self.first {
                    Some(first) => gradient * (first.clone() + epsilon).sqrt() / scale,
                    None => gradient * epsilon.sqrt() / scale,
                };
                self.first = Some(average(self.first.take(), step.clone().square(), fresh2));
                self.second = Some(second);
                parameters - step * rate
            }
            Rule::RmsProp { .. } => {
                let second = average(self.second.take(), gradient.clone().square(), fresh2);
                self.second = Some(second.clone());
                parameters - gradient / (second.sqrt() + epsilon) * rate
            }
        };
        let Some((parameters, first, second)) = before else { return after };
        // Members without a step keep their moments; moments are 0 before the first step.
        let taken: Vec<f32> =
            rates.iter().map(|rate| f32::from(u8::from(rate.is_some()))).collect();
        let taken = Tensor::<2>::from_data(TensorData::new(taken, [rates.len(), 1]), &device)
            .expand(after.dims());
        let choose = |after: Tensor<2>, before: Option<Tensor<2>>| {
            let before = before.unwrap_or_else(|| after.zeros_like());
            after.mask_where(taken.clone().equal_elem(0.0), before)
        };
        self.first = self.first.take().map(|moment| choose(moment, first));
        self.second = self.second.take().map(|moment| choose(moment, second));
        choose(after, Some(parameters))
    }
}

const NUMBERS: usize = 6;

/// Numbers of a member's step: rate, momentum, fresh share of the first and of the second moment,
/// epsilon, and the factor of the parameters (weight decay).
pub type Numbers = [f64; NUMBERS];

/// The numbers of step `steps`.
pub fn numbers(rule: Rule, steps: i32, rate: f64) -> Numbers {
    match rule {
        Rule::Adam { beta1, beta2, epsilon, placement, weight_decay } => {
            let (rate_now, epsilon) = corrected(rate, epsilon, (beta1, beta2), placement, steps);
            [rate_now, 0.0, 1.0 - beta1, 1.0 - beta2, epsilon, 1.0 - rate * weight_decay]
        }
        Rule::Sgd { momentum } => [rate, momentum, 1.0, 1.0, 0.0, 1.0],
        Rule::Adadelta { rho, epsilon } | Rule::RmsProp { rho, epsilon } => {
            [rate, 0.0, 1.0, 1.0 - rho, epsilon, 1.0]
        }
    }
}

/// Adam's rate and epsilon such that a step is rate · m / (√v + epsilon).
fn corrected(
    rate: f64,
    epsilon: f64,
    (beta1, beta2): (f64, f64),
    placement: EpsilonPlacement,
    steps: i32,
) -> (f64, f64) {
    // m̂ / (√v̂ + ε) = (√c₂ / c₁) m / (√v + ε √c₂) with c the bias corrections; Keras leaves ε
    // uncorrected.
    let corrections =
        |power: &dyn Fn(f64) -> f64| (1.0 - power(beta1), (1.0 - power(beta2)).sqrt());
    match placement {
        EpsilonPlacement::Torch => {
            let (first, second) = corrections(&|beta| beta.powi(steps));
            (rate * second / first, epsilon * second)
        }
        // Keras computes the powers in f32, which shortens early steps by about 1e-5.
        EpsilonPlacement::Keras => {
            let (first, second) =
                corrections(&|beta| f64::from(f64::from(beta as f32).powi(steps) as f32));
            (rate * second / first, epsilon)
        }
    }
}

/// A running mean that starts at 0. Not as a sum of a decaying and a fresh part: in f32 the two
/// factors do not add up to 1.
fn average(mean: Option<Tensor<2>>, value: Tensor<2>, fresh: Tensor<2>) -> Tensor<2> {
    match mean {
        Some(mean) => mean.clone() + (value - mean) * fresh,
        None => value * fresh,
    }
}

/// Scales each member's gradient `[members, parameters]` down to the norm in `limit`, `[members,
/// 1]`, if its norm is larger.
pub fn clip(gradient: Tensor<2>, limit: Tensor<2>) -> Tensor<2> {
    let norm = gradient.clone().square().sum_dim(1).sqrt();
    let factor = limit.clone() / norm.max_pair(limit);
    gradient * factor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::cpu;

    fn tensor(values: &[f32]) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len()]), &cpu())
    }

    /// Minimises ½(x − 1)² from 3 for three steps of rate 0.1; the numbers are PyTorch 2's and
    /// Keras 3's.
    fn three_steps(rule: Rule) -> f32 {
        let mut optimizer = Optimizer::new(vec![rule]);
        let mut x = tensor(&[3.0]);
        for _ in 0..3 {
            let gradient = x.clone().sub_scalar(1.0);
            x = optimizer.step(x, gradient, &[Some(0.1)]);
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
            x -= if keras {
                0.1 * c2.sqrt() / c1 * m / (v.sqrt() + epsilon)
            } else {
                0.1 * (m / c1) / ((v / c2).sqrt() + epsilon)
            };
        }
        x
    }

    #[test]
    fn adam_has_two_places_for_epsilon() {
        let rule = |placement, epsilon, weight_decay| Rule::Adam {
            beta1: 0.9,
            beta2: 0.999,
            epsilon,
            placement,
            weight_decay,
        };
        for epsilon in [1e-8, 0.1] {
            near(
                three_steps(rule(EpsilonPlacement::Torch, epsilon, 0.0)),
                adam(epsilon, false, 0.0),
            );
            near(
                three_steps(rule(EpsilonPlacement::Keras, epsilon, 0.0)),
                adam(epsilon, true, 0.0),
            );
            near(
                three_steps(rule(EpsilonPlacement::Torch, epsilon, 0.2)),
                adam(epsilon, false, 0.2),
            );
        }
        assert!(
            (adam(0.1, true, 0.0) - adam(0.1, false, 0.0)).abs() > 0.01,
            "the test needs two different values"
        );
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
        assert_eq!(
            clip(tensor(&[3.0, 4.0]), tensor(&[10.0])).into_data().try_to_vec::<f32>().unwrap(),
            [3.0, 4.0]
        );
        let clipped =
            clip(tensor(&[3.0, 4.0]), tensor(&[1.0])).into_data().try_to_vec::<f32>().unwrap();
        assert!((clipped[0] - 0.6).abs() < 1e-6 && (clipped[1] - 0.8).abs() < 1e-6);
        assert_eq!(
            clip(tensor(&[0.0, 0.0]), tensor(&[1.0])).into_data().try_to_vec::<f32>().unwrap(),
            [0.0, 0.0]
        );
    }
}
