//! Passes over memory that the fused step makes: activations and their slopes, distances, Adam. Each is compiled for several
//! generations of vector units and picks one at run time.

use crate::config::{Loss, raw::Activation};
use pulp::{Arch, NullaryFnOnce};

/// A function whose body is compiled for the vector units of several generations of processors, chosen at run time.
macro_rules! vectorised {
    ($(#[$doc:meta])* fn $name:ident<$life:lifetime>($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        pub(super) fn $name<$life>($($argument: $type),*) {
            struct Body<$life> { $($argument: $type),* }
            impl NullaryFnOnce for Body<'_> {
                type Output = ();
                #[inline(always)]
                fn call(self) {
                    let Self { $($argument),* } = self;
                    $body
                }
            }
            Arch::new().dispatch(Body { $($argument),* });
        }
    };
}

/// What Adam's update needs, ready for one step.
#[derive(Clone, Copy)]
pub(super) struct AdamNumbers {
    pub(super) beta1: f32,
    pub(super) fresh1: f32,
    pub(super) beta2: f32,
    pub(super) fresh2: f32,
    pub(super) epsilon: f32,
    pub(super) rate: f32,
    pub(super) keep: f32,
}

/// Below this a mean gradient moves nothing, but as a denormal number it would slow the processor down tenfold.
const TINY: f32 = 1e-30;

vectorised! {
    fn adam<'a>(parameters: &'a mut [f32], gradient: &'a [f32], first: &'a mut [f32], second: &'a mut [f32], numbers: AdamNumbers) {
        let n = parameters.len();
        let (gradient, first, second) = (&gradient[..n], &mut first[..n], &mut second[..n]);
        for i in 0..n {
            let g = gradient[i];
            let m = numbers.beta1 * first[i] + numbers.fresh1 * g;
            let v = numbers.beta2 * second[i] + numbers.fresh2 * (g * g);
            first[i] = if m.abs() < TINY { 0.0 } else { m };
            second[i] = if v < TINY { 0.0 } else { v };
            parameters[i] = parameters[i] * numbers.keep - numbers.rate * (m / (v.sqrt() + numbers.epsilon));
        }
    }
}

vectorised! {
    /// `first` is the mean squared step, `second` the mean squared gradient.
    fn adadelta<'a>(parameters: &'a mut [f32], gradient: &'a [f32], first: &'a mut [f32], second: &'a mut [f32], rho: f32, epsilon: f32, rate: f32) {
        let n = parameters.len();
        let (gradient, first, second) = (&gradient[..n], &mut first[..n], &mut second[..n]);
        let fresh = 1.0 - rho;
        for i in 0..n {
            let g = gradient[i];
            let v = rho * second[i] + fresh * (g * g);
            let step = ((first[i] + epsilon) / (v + epsilon)).sqrt() * g;
            let s = rho * first[i] + fresh * (step * step);
            first[i] = if s < TINY { 0.0 } else { s };
            second[i] = if v < TINY { 0.0 } else { v };
            parameters[i] -= rate * step;
        }
    }
}

vectorised! {
    /// Adds the rows of `values` up to `sum`.
    fn add_rows<'a>(values: &'a [f32], sum: &'a mut [f32]) {
        sum.fill(0.0);
        for row in values.chunks_exact(sum.len()) {
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}

/// eˣ to about 2e-7 relative: 2ⁿ · 2ᶠ with |f| ≤ ½ and the Taylor series of eʸ, y = f ln 2, to the seventh power.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to a whole number
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, so that the difference keeps its digits.
    let y = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let series =
        1.0 + y * (1.0 + y * (0.5 + y * (0.166_666_67 + y * (0.041_666_668 + y * (0.008_333_334 + y * (0.001_388_889 + y * 0.000_198_412_7))))));
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
    fn sigmoid_slope<'a>(output: &'a [f32], gradient: &'a mut [f32]) {
        for (gradient, a) in gradient.iter_mut().zip(output) {
            *gradient *= a * (1.0 - a);
        }
    }
}

vectorised! {
    fn relu<'a>(values: &'a mut [f32]) {
        for value in values {
            // Not max(x, 0), which would hide that a training diverges: it takes NaN for 0.
            *value = if *value < 0.0 { 0.0 } else { *value };
        }
    }
}

vectorised! {
    fn relu_slope<'a>(output: &'a [f32], gradient: &'a mut [f32]) {
        for (gradient, a) in gradient.iter_mut().zip(output) {
            *gradient = if *a > 0.0 { *gradient } else { 0.0 };
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

const SELU: (f32, f32) = (1.050_701, 1.673_263_2);

/// The activation in place.
pub(super) fn activate(kind: Activation, values: &mut [f32]) {
    let each = |values: &mut [f32], f: fn(f32) -> f32| values.iter_mut().for_each(|value| *value = f(*value));
    match kind {
        Activation::Linear => {}
        Activation::Relu => relu(values),
        Activation::LeakyRelu => each(values, |x| if x >= 0.0 { x } else { 0.01 * x }),
        Activation::Elu => each(values, |x| if x >= 0.0 { x } else { x.exp_m1() }),
        Activation::Selu => each(values, |x| SELU.0 * if x >= 0.0 { x } else { SELU.1 * x.exp_m1() }),
        Activation::Gelu => each(values, |x| x * normal_cdf(x)),
        Activation::Tanh => tanh(values),
        Activation::Sigmoid => sigmoid(values),
    }
}

/// Multiplies the gradient by the activation's derivative, told from its output, or from what was saved of its input.
pub(super) fn differentiate(kind: Activation, output: &[f32], saved: &[f32], gradient: &mut [f32]) {
    fn each(values: &[f32], gradient: &mut [f32], slope: impl Fn(f32) -> f32) {
        gradient.iter_mut().zip(values).for_each(|(gradient, value)| *gradient *= slope(*value));
    }
    match kind {
        Activation::Linear => {}
        Activation::Relu => relu_slope(output, gradient),
        Activation::LeakyRelu => each(output, gradient, |a| if a >= 0.0 { 1.0 } else { 0.01 }),
        Activation::Elu => each(output, gradient, |a| if a >= 0.0 { 1.0 } else { a + 1.0 }),
        Activation::Selu => each(output, gradient, |a| if a >= 0.0 { SELU.0 } else { a + SELU.0 * SELU.1 }),
        Activation::Gelu => each(saved, gradient, |x| normal_cdf(x) + x * (-0.5 * x * x).exp() * 0.398_942_3),
        Activation::Tanh => each(output, gradient, |a| 1.0 - a * a),
        Activation::Sigmoid => sigmoid_slope(output, gradient),
    }
}

/// Φ(x), from the complementary error function by Numerical Recipes' Chebyshev fit (1.2e-7 relative).
fn normal_cdf(x: f32) -> f32 {
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

/// Writes the gradient of the loss by each output and returns the sum over rows of weight times distance. `scale` is one over
/// (total weight · the loss' divisor).
pub(super) fn distances(loss: Loss, output: &[f32], target: &[f32], gradient: &mut [f32], width: usize, weights: Option<&[f32]>, scale: f32) -> f64 {
    let mut sum = 0.0;
    for (i, ((output, target), gradient)) in
        output.chunks_exact(width).zip(target.chunks_exact(width)).zip(gradient.chunks_exact_mut(width)).enumerate()
    {
        let weight = weights.map_or(1.0, |weights| weights[i]);
        let factor = weight * scale;
        let mut row = 0.0;
        match loss {
            Loss::Mse | Loss::Sse => squares(output, target, gradient, factor, &mut row),
            Loss::Mae => {
                for ((output, target), gradient) in output.iter().zip(target).zip(gradient) {
                    let difference = output - target;
                    row += difference.abs();
                    *gradient = if difference == 0.0 { 0.0 } else { factor * difference.signum() };
                }
            }
            Loss::SmoothL1 { beta } => {
                let beta = beta as f32;
                for ((output, target), gradient) in output.iter().zip(target).zip(gradient) {
                    let difference = output - target;
                    let distance = difference.abs();
                    row += if distance < beta { 0.5 * difference * difference / beta } else { distance - 0.5 * beta };
                    *gradient = factor * (difference / beta).clamp(-1.0, 1.0);
                }
            }
        }
        sum += f64::from(weight) * f64::from(row) / loss.divisor(width);
    }
    sum
}

vectorised! {
    fn squares<'a>(output: &'a [f32], target: &'a [f32], gradient: &'a mut [f32], factor: f32, sum: &'a mut f32) {
        let n = gradient.len();
        let (output, target) = (&output[..n], &target[..n]);
        for i in 0..n {
            gradient[i] = output[i] - target[i];
        }
        // Sixteen sums side by side, which vector units can keep.
        let mut lanes = [0.0_f32; 16];
        let (chunks, rest) = gradient.as_chunks::<16>();
        for chunk in chunks {
            for (lane, value) in lanes.iter_mut().zip(chunk) {
                *lane += value * value;
            }
        }
        *sum = lanes.iter().sum::<f32>() + rest.iter().map(|value| value * value).sum::<f32>();
        gradient.iter_mut().for_each(|value| *value *= 2.0 * factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            Activation::LeakyRelu => {
                if x < 0.0 {
                    0.01 * x
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
            Activation::Selu => 1.050_700_987_355_480_5 * if x < 0.0 { 1.673_263_242_354_377_2 * (x.exp() - 1.0) } else { x },
            Activation::Gelu => x * 0.5 * (1.0 + if x < 0.0 { -1.0 } else { 1.0 } * erf(x.abs() / std::f64::consts::SQRT_2)),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Linear => x,
        };
        for kind in ALL {
            for i in -1000..1000 {
                let x = i as f32 / 100.0;
                let mut value = [x];
                activate(kind, &mut value);
                let wanted = definition(kind, f64::from(x));
                assert!((f64::from(value[0]) - wanted).abs() < 4e-7 * (1.0 + wanted.abs()), "{kind} {x}: {} {wanted}", value[0]);
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

    const ALL: [Activation; 8] = [
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Elu,
        Activation::Selu,
        Activation::Gelu,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Linear,
    ];

    #[test]
    fn derivatives_are_the_slopes_of_the_activations() {
        for kind in ALL {
            for x in [-3.1_f32, -0.7, -0.2, 0.3, 1.9] {
                let at = |x: f32| {
                    let mut value = [x];
                    activate(kind, &mut value);
                    value[0]
                };
                let slope = (f64::from(at(x + 1e-2)) - f64::from(at(x - 1e-2))) / 2e-2;
                let mut gradient = [1.0];
                differentiate(kind, &[at(x)], &[x], &mut gradient);
                assert!((f64::from(gradient[0]) - slope).abs() < 2e-4, "{kind} {x}: {} {slope}", gradient[0]);
            }
        }
    }
}
