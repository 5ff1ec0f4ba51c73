//! Elementwise loops of the fused step: derivatives of activations, distances, optimizer updates.
//! Each is compiled for several generations of vector units; the choice is made at run time.

use crate::{
    config::{Distance, model::Activation},
    model::{
        architecture::EPSILON,
        host::{SELU, normal_cdf},
        matrix::vectorised,
    },
};

/// Numbers of one step of Adam.
#[derive(Clone, Copy)]
pub(super) struct AdamNumbers {
    /// 1 − β₁ and 1 − β₂.
    pub(super) fresh1: f32,
    pub(super) fresh2: f32,
    pub(super) epsilon: f32,
    pub(super) rate: f32,
    pub(super) keep: f32,
}

/// Smaller mean gradients have no effect, but denormal numbers would slow the processor down
/// tenfold.
const TINY: f32 = 1e-30;

vectorised! {
    fn adam<'a>(parameters: &'a mut [f32], gradient: &'a [f32], first: &'a mut [f32], second: &'a mut [f32], numbers: AdamNumbers) {
        let n = parameters.len();
        let (gradient, first, second) = (&gradient[..n], &mut first[..n], &mut second[..n]);
        for i in 0..n {
            let g = gradient[i];
            // Not β m + (1 − β) g: in f32 the two factors do not add up to 1, which biases every
            // step.
            let m = first[i] + numbers.fresh1 * (g - first[i]);
            let v = second[i] + numbers.fresh2 * (g * g - second[i]);
            first[i] = if m.abs() < TINY { 0.0 } else { m };
            second[i] = if v < TINY { 0.0 } else { v };
            parameters[i] = parameters[i] * numbers.keep - numbers.rate * (m / (v.sqrt() + numbers.epsilon));
        }
    }
}

vectorised! {
    /// `first` is the mean squared step, `second` the mean squared gradient, `fresh` 1 − ρ.
    fn adadelta<'a>(parameters: &'a mut [f32], gradient: &'a [f32], first: &'a mut [f32], second: &'a mut [f32], fresh: f32, epsilon: f32, rate: f32) {
        let n = parameters.len();
        let (gradient, first, second) = (&gradient[..n], &mut first[..n], &mut second[..n]);
        for i in 0..n {
            let g = gradient[i];
            let v = second[i] + fresh * (g * g - second[i]);
            let step = ((first[i] + epsilon) / (v + epsilon)).sqrt() * g;
            let s = first[i] + fresh * (step * step - first[i]);
            first[i] = if s < TINY { 0.0 } else { s };
            second[i] = if v < TINY { 0.0 } else { v };
            parameters[i] -= rate * step;
        }
    }
}

vectorised! {
    /// Adds the rows of `values` to `sum`.
    fn add_rows<'a>(values: &'a [f32], sum: &'a mut [f32]) {
        sum.fill(0.0);
        for row in values.chunks_exact(sum.len()) {
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}

vectorised! {
    /// Normalises each column of `values`, `[rows, columns]`: subtracts the mean and divides by
    /// √(variance + ε). Stores means, biased variances, and one over those roots.
    fn normalise<'a>(values: &'a mut [f32], mean: &'a mut [f32], variance: &'a mut [f32], inverse: &'a mut [f32]) {
        let columns = mean.len();
        let share = 1.0 / (values.len() / columns) as f32;
        mean.fill(0.0);
        variance.fill(0.0);
        for row in values.chunks_exact(columns) {
            for (sum, value) in mean.iter_mut().zip(row) {
                *sum += value;
            }
        }
        for sum in mean.iter_mut() {
            *sum *= share;
        }
        for row in values.chunks_exact_mut(columns) {
            for ((value, mean), sum) in row.iter_mut().zip(&*mean).zip(&mut *variance) {
                *value -= mean;
                *sum += *value * *value;
            }
        }
        for (sum, inverse) in variance.iter_mut().zip(&mut *inverse) {
            *sum *= share;
            *inverse = 1.0 / (*sum + EPSILON as f32).sqrt();
        }
        for row in values.chunks_exact_mut(columns) {
            for (value, inverse) in row.iter_mut().zip(&*inverse) {
                *value *= inverse;
            }
        }
    }
}

vectorised! {
    /// Multiplies each column of `values` by its scale and adds its shift.
    fn scale_and_shift<'a>(values: &'a [f32], scale: &'a [f32], shift: &'a [f32], output: &'a mut [f32]) {
        for (values, output) in values.chunks_exact(scale.len()).zip(output.chunks_exact_mut(scale.len())) {
            for (((output, value), scale), shift) in output.iter_mut().zip(values).zip(scale).zip(shift) {
                *output = value * scale + shift;
            }
        }
    }
}

vectorised! {
    /// Converts the gradient by the output of batch norm to that by its input, and stores those by
    /// scale and shift.
    fn normalised_slope<'a>(
        normalised: &'a [f32],
        inverse: &'a [f32],
        scale: &'a [f32],
        gradient: &'a mut [f32],
        by_scale: &'a mut [f32],
        by_shift: &'a mut [f32],
    ) {
        let columns = scale.len();
        let share = 1.0 / (gradient.len() / columns) as f32;
        by_scale.fill(0.0);
        by_shift.fill(0.0);
        for (gradient, values) in gradient.chunks_exact(columns).zip(normalised.chunks_exact(columns)) {
            for (((by_scale, by_shift), gradient), value) in by_scale.iter_mut().zip(&mut *by_shift).zip(gradient).zip(values) {
                *by_scale += gradient * value;
                *by_shift += gradient;
            }
        }
        // Each value also changes the mean and variance of its column.
        for (gradient, values) in gradient.chunks_exact_mut(columns).zip(normalised.chunks_exact(columns)) {
            for i in 0..columns {
                let others = share * (by_shift[i] + values[i] * by_scale[i]);
                gradient[i] = scale[i] * inverse[i] * (gradient[i] - others);
            }
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
    fn relu_slope<'a>(output: &'a [f32], gradient: &'a mut [f32]) {
        for (gradient, a) in gradient.iter_mut().zip(output) {
            *gradient = if *a > 0.0 { *gradient } else { 0.0 };
        }
    }
}

vectorised! {
    fn leak_slope<'a>(values: &'a [f32], gradient: &'a mut [f32], slope: f32) {
        for (gradient, value) in gradient.iter_mut().zip(values) {
            *gradient = if *value > 0.0 { *gradient } else { slope * *gradient };
        }
    }
}

/// Multiplies the gradient by the derivative of the activation, computed from its output or from
/// the saved input. `slope` is that of a leaky or parametric ReLU below 0.
pub(super) fn differentiate(
    kind: Activation,
    slope: f32,
    output: &[f32],
    saved: &[f32],
    gradient: &mut [f32],
) {
    fn each(values: &[f32], gradient: &mut [f32], slope: impl Fn(f32) -> f32) {
        gradient.iter_mut().zip(values).for_each(|(gradient, value)| *gradient *= slope(*value));
    }
    match kind {
        Activation::Linear => {}
        Activation::Relu => relu_slope(output, gradient),
        Activation::LeakyRelu => leak_slope(output, gradient, slope),
        Activation::Prelu => leak_slope(saved, gradient, slope),
        Activation::Elu => each(output, gradient, |a| if a >= 0.0 { 1.0 } else { a + 1.0 }),
        Activation::Selu => {
            each(output, gradient, |a| if a >= 0.0 { SELU.0 } else { a + SELU.0 * SELU.1 })
        }
        Activation::Gelu => {
            each(saved, gradient, |x| normal_cdf(x) + x * (-0.5 * x * x).exp() * 0.398_942_3)
        }
        Activation::Tanh => each(output, gradient, |a| 1.0 - a * a),
        Activation::Sigmoid => sigmoid_slope(output, gradient),
    }
}

/// Excludes missing targets (NaN) from [`distances`]: the target becomes the output, and the weight
/// of the row (1 without weights) is scaled up from the present features to all.
pub(super) fn leave_out(
    output: &[f32],
    target: &mut [f32],
    width: usize,
    weights: Option<&[f32]>,
) -> Vec<f32> {
    let of_row = |(i, (output, target)): (usize, (&[f32], &mut [f32]))| {
        let mut present = width;
        for (output, target) in output.iter().zip(target).filter(|(_, target)| target.is_nan()) {
            *target = *output;
            present -= 1;
        }
        weights.map_or(1.0, |weights| weights[i]) * (width as f32 / present.max(1) as f32)
    };
    output.chunks_exact(width).zip(target.chunks_exact_mut(width)).enumerate().map(of_row).collect()
}

/// Stores the gradient of the loss by each output. Returns the sum over rows of weight times
/// distance. `scale` is one over (total weight · the loss' divisor).
pub(super) fn distances(
    loss: Distance,
    output: &[f32],
    target: &[f32],
    gradient: &mut [f32],
    width: usize,
    weights: Option<&[f32]>,
    scale: f32,
) -> f64 {
    let mut sum = 0.0;
    for (i, ((output, target), gradient)) in output
        .chunks_exact(width)
        .zip(target.chunks_exact(width))
        .zip(gradient.chunks_exact_mut(width))
        .enumerate()
    {
        let weight = weights.map_or(1.0, |weights| weights[i]);
        let factor = weight * scale;
        let mut row = 0.0;
        match loss {
            Distance::Mse | Distance::Sse => squares(output, target, gradient, factor, &mut row),
            Distance::Mae => {
                for ((output, target), gradient) in output.iter().zip(target).zip(gradient) {
                    let difference = output - target;
                    row += difference.abs();
                    *gradient = if difference == 0.0 { 0.0 } else { factor * difference.signum() };
                }
            }
            Distance::SmoothL1 { beta } => {
                let beta = beta as f32;
                for ((output, target), gradient) in output.iter().zip(target).zip(gradient) {
                    let difference = output - target;
                    let distance = difference.abs();
                    row += if distance < beta {
                        0.5 * difference * difference / beta
                    } else {
                        distance - 0.5 * beta
                    };
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
        // Sixteen partial sums, which fit into vector registers.
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
    use crate::model::host::{ALL, activate};

    #[test]
    fn the_gradient_of_what_is_present_is_the_slope_of_its_loss() {
        let known = [0.3, f32::NAN, -0.4, 0.9, f32::NAN, f32::NAN, 0.2, 0.1, 0.7];
        let output = [0.5, 0.1, -0.9, 0.2, 0.4, 0.8, 0.6, 0.3, -0.2];
        for loss in [Distance::Mse, Distance::Sse, Distance::Mae, Distance::SmoothL1 { beta: 0.3 }]
        {
            for weights in [None, Some([1.0, 2.0, 0.5])] {
                let of = |output: &[f32]| {
                    let (mut target, mut gradient) = (known, [0.0; 9]);
                    let weights = leave_out(
                        output,
                        &mut target,
                        3,
                        weights.as_ref().map(|weights| weights.as_slice()),
                    );
                    (
                        distances(
                            loss,
                            output,
                            &target,
                            &mut gradient,
                            3,
                            Some(&weights),
                            (1.0 / loss.divisor(3)) as f32,
                        ),
                        gradient,
                    )
                };
                let (_, gradient) = of(&output);
                for at in 0..9 {
                    let moved = |step: f32| {
                        let mut output = output;
                        output[at] += step;
                        of(&output).0
                    };
                    let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                    assert!(
                        (f64::from(gradient[at]) - slope).abs() < 2e-3,
                        "{loss:?} {at}: {} {slope}",
                        gradient[at]
                    );
                    assert!(!known[at].is_nan() || gradient[at] == 0.0);
                }
            }
        }
        // One of three targets is present, so the weight is scaled by 3.
        let (mut target, mut gradient) = ([f32::NAN, f32::NAN, 1.0], [0.0; 3]);
        let weights = leave_out(&[5.0, 5.0, 3.0], &mut target, 3, None);
        assert_eq!(
            distances(
                Distance::Mse,
                &[5.0, 5.0, 3.0],
                &target,
                &mut gradient,
                3,
                Some(&weights),
                1.0 / 3.0
            ),
            4.0
        );
    }

    #[test]
    fn derivatives_are_the_slopes_of_the_activations() {
        for kind in ALL {
            for x in [-3.1_f32, -0.7, -0.2, 0.3, 1.9] {
                let at = |x: f32| {
                    let mut value = [x];
                    activate(kind, 0.3, &mut value);
                    value[0]
                };
                let slope = (f64::from(at(x + 1e-2)) - f64::from(at(x - 1e-2))) / 2e-2;
                let mut gradient = [1.0];
                differentiate(kind, 0.3, &[at(x)], &[x], &mut gradient);
                assert!(
                    (f64::from(gradient[0]) - slope).abs() < 2e-4,
                    "{kind} {x}: {} {slope}",
                    gradient[0]
                );
            }
        }
    }
}
