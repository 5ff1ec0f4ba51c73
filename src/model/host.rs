//! Dense layers on the CPU without a framework: products by the `gemm` crate and vectorised loops.
//!
//! Used by the fused training step and by scoring on the CPU. Results depend neither on the number
//! of threads nor on other computations.

use super::{
    architecture::{Architecture, LayerPlace},
    matrix::{Matrix, multiply, vectorised},
};
use crate::config::model::Activation;
use std::ops::Range;

impl LayerPlace {
    /// `input · weight + bias` for `[rows, inputs]`, before the activation, into `output`.
    pub(crate) fn apply(
        &self,
        parameters: &[f32],
        input: &[f32],
        rows: usize,
        output: &mut Vec<f32>,
    ) {
        output.resize(rows * self.outputs, 0.0);
        output
            .chunks_exact_mut(self.outputs)
            .for_each(|row| row.copy_from_slice(&parameters[self.bias.clone()]));
        let weight = Matrix::new(&parameters[self.weight.clone()], self.inputs, self.outputs);
        multiply(Matrix::new(input, rows, self.inputs), weight, output, true);
    }
}

/// Rows computed at a time, so that the values between layers stay in the cache.
const ROWS: usize = 256;

/// Computes some layers of a network without batch norm for `[rows, in]`, without dropout, and
/// appends `[rows, out]` to `out`.
pub(crate) fn run(
    architecture: &Architecture,
    parameters: &[f32],
    layers: Range<usize>,
    input: &[f32],
    out: &mut Vec<f32>,
) {
    let width = architecture.widths[layers.start];
    let places = &LayerPlace::all(architecture)[layers.clone()];
    let (mut value, mut next) = (vec![], vec![]);
    for input in input.chunks(ROWS * width) {
        let rows = input.len() / width;
        for (i, (place, kind)) in
            places.iter().zip(&architecture.activations[layers.clone()]).enumerate()
        {
            place.apply(parameters, if i == 0 { input } else { &value }, rows, &mut next);
            activate(*kind, place.slope(parameters), &mut next);
            std::mem::swap(&mut value, &mut next);
        }
        out.extend_from_slice(&value);
    }
}

/// eˣ to about 2e-7 relative: 2ⁿ · 2ᶠ with |f| ≤ ½ and the Taylor series of eʸ, y = f ln 2, to the
/// seventh power.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to a whole number
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, so that the difference keeps its digits.
    let y = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let series = 1.0
        + y * (1.0
            + y * (0.5
                + y * (0.166_666_67
                    + y * (0.041_666_668
                        + y * (0.008_333_334 + y * (0.001_388_889 + y * 0.000_198_412_7))))));
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    series * power
}

vectorised! {
    fn sigmoid<'a>(values: &'a mut [f32]) {
        for value in values {
            *value = 1.0 / (1.0 + exp(-*value));
        }
    }
}

vectorised! {
    fn relu<'a>(values: &'a mut [f32]) {
        for value in values {
            // Not max(x, 0), which maps NaN to 0 and so hides a diverging training.
            *value = if *value < 0.0 { 0.0 } else { *value };
        }
    }
}

vectorised! {
    fn tanh<'a>(values: &'a mut [f32]) {
        for value in values {
            // tanh x = 1 − 2 / (e²ˣ + 1); near 0, where that loses digits, its Taylor series.
            let x = *value;
            let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
            let square = x * x;
            let near = x * (1.0 + square * (-0.333_333_34 + square * (0.133_333_34 + square * (-0.053_968_254 + square * 0.021_869_488))));
            *value = if x.abs() < 0.25 { near } else { far };
        }
    }
}

pub(crate) const SELU: (f32, f32) = (1.050_701, 1.673_263_2);

vectorised! {
    fn leak<'a>(values: &'a mut [f32], slope: f32) {
        for value in values {
            *value = if *value >= 0.0 { *value } else { slope * *value };
        }
    }
}

/// Applies the activation in place; `slope` is that of a leaky or parametric ReLU below 0.
pub(crate) fn activate(kind: Activation, slope: f32, values: &mut [f32]) {
    let each = |values: &mut [f32], f: fn(f32) -> f32| {
        values.iter_mut().for_each(|value| *value = f(*value))
    };
    match kind {
        Activation::Linear => {}
        Activation::Relu => relu(values),
        Activation::LeakyRelu | Activation::Prelu => leak(values, slope),
        Activation::Elu => each(values, |x| if x >= 0.0 { x } else { x.exp_m1() }),
        Activation::Selu => {
            each(values, |x| SELU.0 * if x >= 0.0 { x } else { SELU.1 * x.exp_m1() })
        }
        Activation::Gelu => each(values, |x| x * normal_cdf(x)),
        Activation::Tanh => tanh(values),
        Activation::Sigmoid => sigmoid(values),
    }
}

/// Φ(x), from the complementary error function by Numerical Recipes' Chebyshev fit (1.2e-7
/// relative).
pub(crate) fn normal_cdf(x: f32) -> f32 {
    let z = f64::from(x) / std::f64::consts::SQRT_2;
    let t = 2.0 / (2.0 + z.abs());
    let polynomial = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let sum = polynomial.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    let erfc = t * (-z * z + sum).exp();
    let above = 0.5 * erfc;
    (if z > 0.0 { 1.0 - above } else { above }) as f32
}

/// Every activation, for tests.
#[cfg(test)]
pub(crate) const ALL: [Activation; 9] = [
    Activation::Relu,
    Activation::LeakyRelu,
    Activation::Prelu,
    Activation::Elu,
    Activation::Selu,
    Activation::Gelu,
    Activation::Tanh,
    Activation::Sigmoid,
    Activation::Linear,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_exponential_is_exact_to_a_few_units_in_the_last_place() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let relative = f64::from(exp(x)) / f64::from(x).exp() - 1.0;
            assert!(relative.abs() < 3e-7, "{x}: {relative:e}");
        }
        assert!(exp(-1000.0) < 1e-37 && exp(1000.0).is_finite());
    }

    #[test]
    fn activations_are_near_their_definitions() {
        let definition = |kind: Activation, x: f64| match kind {
            Activation::Relu => x.max(0.0),
            Activation::LeakyRelu | Activation::Prelu => {
                if x < 0.0 {
                    0.3 * x
                } else {
                    x
                }
            }
            Activation::Elu => {
                if x < 0.0 {
                    x.exp() - 1.0
                } else {
                    x
                }
            }
            Activation::Selu => {
                1.050_700_987_355_480_5
                    * if x < 0.0 { 1.673_263_242_354_377_2 * (x.exp() - 1.0) } else { x }
            }
            Activation::Gelu => {
                x * 0.5
                    * (1.0
                        + if x < 0.0 { -1.0 } else { 1.0 }
                            * erf(x.abs() / std::f64::consts::SQRT_2))
            }
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Linear => x,
        };
        for kind in ALL {
            for i in -1000..1000 {
                let x = i as f32 / 100.0;
                let mut value = [x];
                activate(kind, 0.3, &mut value);
                let wanted = definition(kind, f64::from(x));
                assert!(
                    (f64::from(value[0]) - wanted).abs() < 4e-7 * (1.0 + wanted.abs()),
                    "{kind} {x}: {} {wanted}",
                    value[0]
                );
            }
        }
    }

    /// The error function by its series, for the test alone.
    fn erf(x: f64) -> f64 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        if x > 4.0 { 1.0 } else { sum * 2.0 / std::f64::consts::PI.sqrt() }
    }

    proptest! {
        #[test]
        fn products_are_sums_of_products(m in 1_usize..7, k in 1_usize..7, n in 1_usize..7, seed in 0_u32..100) {
            let number = |i: usize| ((i as u32 * 7 + seed) % 11) as f32 - 5.0;
            let (left, right): (Vec<f32>, Vec<f32>) = ((0..m * k).map(number).collect(), (0..k * n).map(|i| number(i + 3)).collect());
            let mut out = vec![1.0; m * n];
            multiply(Matrix::new(&left, m, k), Matrix::new(&right, k, n), &mut out, true);
            let mut turned = vec![f32::NAN; n * m];
            multiply(Matrix::new(&right, k, n).transposed(), Matrix::new(&left, m, k).transposed(), &mut turned, false);
            for i in 0..m {
                for j in 0..n {
                    let wanted: f32 = (0..k).map(|at| left[i * k + at] * right[at * n + j]).sum();
                    prop_assert_eq!(out[i * n + j], wanted + 1.0);
                    prop_assert_eq!(turned[j * m + i], wanted);
                }
            }
        }
    }
}
