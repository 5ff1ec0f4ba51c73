//! Distances of input and output, and penalties.

use crate::config::Distance;
use burn::tensor::Tensor;

/// The distance of each row, `[members, rows, 1]`: a mean over its features (a sum for the sum of
/// squares).
pub fn per_row(loss: Distance, output: Tensor<3>, target: Tensor<3>) -> Tensor<3> {
    let difference = output - target;
    let distance = match loss {
        Distance::Mse | Distance::Sse => difference.square(),
        Distance::Mae => difference.abs(),
        // With a the distance capped at beta, a²/2β + (|d| − a) is the square below beta and the
        // line above.
        Distance::SmoothL1 { beta } => {
            let distance = difference.abs();
            let capped = distance.clone().clamp_max(beta);
            capped.clone().square().div_scalar(2.0 * beta) + distance - capped
        }
    };
    if loss == Distance::Sse { distance.sum_dim(2) } else { distance.mean_dim(2) }
}

/// The distance of each row over its present targets (`present` is 1, else 0), scaled to all
/// features: `[members, rows, 1]`.
pub fn per_row_present(
    loss: Distance,
    output: Tensor<3>,
    target: Tensor<3>,
    present: Tensor<3>,
) -> Tensor<3> {
    let width = present.dims()[2] as f64;
    let share = present.clone().sum_dim(2).clamp_min(1.0).div_scalar(width);
    per_row(loss, output * present.clone(), target * present) / share
}

/// The sum over rows, `[members, 1, 1]`; rows are multiplied by their weights `[1 or members, rows,
/// 1]` if given.
///
/// Sums run along one dimension, never over all elements at once, so that the result does not
/// depend on the number of threads.
pub fn sum(per_row: Tensor<3>, weights: Option<Tensor<3>>) -> Tensor<3> {
    let weighted = match weights {
        Some(weights) => per_row * weights,
        None => per_row,
    };
    weighted.sum_dim(1)
}

/// Keras' activity regularisation of the first hidden layer before its factor, `[members, 1, 1]`:
/// the sum of squares over the batch size.
pub fn activity(first_hidden: Tensor<3>) -> Tensor<3> {
    let rows = first_hidden.dims()[1] as f64;
    first_hidden.square().sum_dim(2).sum_dim(1).div_scalar(rows)
}

/// The Kullback-Leibler divergence of each row's latents, normal with this mean and log variance
/// `[members, rows, latent]`, from the standard normal distribution, summed over latents:
/// `[members, rows, 1]`.
pub fn divergence(mean: Tensor<3>, log_variance: Tensor<3>) -> Tensor<3> {
    (mean.square() + log_variance.clone().exp() - log_variance)
        .sub_scalar(1.0)
        .sum_dim(2)
        .mul_scalar(0.5)
}

/// Mean latents are clamped to this distance from 0 and 1.
pub const EDGE: f64 = 1e-6;

/// The divergence of mean latents, taken as probabilities, from `target` in each member:
/// `[members, 1, latent]` to `[members, 1, 1]`.
pub fn silence(mean: Tensor<3>, target: Tensor<3>) -> Tensor<3> {
    let mean = mean.clamp(EDGE, 1.0 - EDGE);
    let (on, off) = (target.clone(), target.clone().neg().add_scalar(1.0));
    let own = on.clone() * on.log() + off.clone() * off.clone().log();
    (own - target * mean.clone().log() - off * mean.neg().add_scalar(1.0).log()).sum_dim(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::cpu;
    use burn::tensor::TensorData;

    fn tensor(values: &[f32]) -> Tensor<3> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len() / 2, 2]), &cpu())
    }

    fn rows(loss: Distance) -> Vec<f32> {
        per_row(loss, tensor(&[0.5, 3.0, 1.0, 1.0]), tensor(&[0.0, 0.0, 1.0, -1.0]))
            .into_data()
            .try_to_vec()
            .unwrap()
    }

    #[test]
    fn distances_are_means_over_features() {
        assert_eq!(rows(Distance::Mse), [(0.25 + 9.0) / 2.0, 2.0]);
        assert_eq!(rows(Distance::Sse), [0.25 + 9.0, 4.0]);
        assert_eq!(rows(Distance::Mae), [1.75, 1.0]);
        assert_eq!(rows(Distance::SmoothL1 { beta: 1.0 }), [(0.125 + 2.5) / 2.0, 0.75]);
    }

    #[test]
    fn missing_targets_do_not_count() {
        let rows = |loss: Distance| -> Vec<f32> {
            let distances = per_row_present(
                loss,
                tensor(&[0.5, 3.0, 1.0, 1.0]),
                tensor(&[0.0, 7.0, 1.0, -1.0]),
                tensor(&[1.0, 0.0, 1.0, 1.0]),
            );
            distances.into_data().try_to_vec().unwrap()
        };
        assert_eq!(rows(Distance::Mse), [0.25, 2.0]);
        assert_eq!(rows(Distance::Sse), [0.5, 4.0]);
        assert_eq!(rows(Distance::Mae), [0.5, 1.0]);
    }

    #[test]
    fn weights_count() {
        let weights = Tensor::from_data(TensorData::new(vec![3.0_f32, 1.0], [1, 2, 1]), &cpu());
        let value: f32 = sum(
            per_row(Distance::Mae, tensor(&[1.0, 1.0, 2.0, 2.0]), tensor(&[0.0; 4])),
            Some(weights),
        )
        .into_scalar();
        assert_eq!(value, 5.0);
    }

    #[test]
    fn divergences_are_those_of_the_definitions() {
        // ½ (0.25 + 4 − ln 4 − 1) + ½ (1 + 1 − 0 − 1), and 0 for standard normal latents.
        let found: Vec<f32> =
            divergence(tensor(&[0.5, 1.0, 0.0, 0.0]), tensor(&[4_f32.ln(), 0.0, 0.0, 0.0]))
                .into_data()
                .try_to_vec()
                .unwrap();
        assert!(
            (found[0] - (1.625 - 2_f32.ln() + 0.5)).abs() < 1e-6 && found[1] == 0.0,
            "{found:?}"
        );
        let target = Tensor::from_data(TensorData::new(vec![0.1_f32], [1, 1, 1]), &cpu());
        let found: f32 = silence(tensor(&[0.1, 0.4]), target.clone()).into_scalar();
        let expected = 0.1 * (0.1_f64 / 0.4).ln() + 0.9 * (0.9_f64 / 0.6).ln();
        assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
        let edges: f32 = silence(tensor(&[0.0, 1.0]), target).into_scalar();
        assert!(edges.is_finite() && edges > 10.0, "{edges}");
    }

    #[test]
    fn activity_is_divided_by_the_batch_size() {
        let value: f32 = activity(tensor(&[1.0, 2.0, 3.0, 4.0])).into_scalar();
        assert_eq!(value, 15.0);
    }
}
