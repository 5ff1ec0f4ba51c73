//! Reconstruction errors of rows.

use crate::{config::score::ScoreKind, prepare::Rows};

impl ScoreKind {
    /// The error of one feature.
    pub fn of_feature(self, input: f32, output: f32) -> f64 {
        let difference = f64::from(output) - f64::from(input);
        if self == Self::Mae { difference.abs() } else { difference * difference }
    }

    /// Description of the error of a feature.
    pub fn per_feature(self) -> &'static str {
        if self == Self::Mae { "absolute error" } else { "squared error" }
    }

    /// The divisor of the sum of the errors of a row's features.
    pub fn divisor(self, features: usize) -> f64 {
        if self == Self::Sse { 1.0 } else { features as f64 }
    }

    /// The error of one row. Missing inputs (NaN) do not count, and a sum is scaled up to all
    /// features. NaN if all are missing.
    pub fn of_row(self, input: &[f32], output: &[f32]) -> f64 {
        let sum: f64 =
            input.iter().zip(output).map(|(input, output)| self.of_feature(*input, *output)).sum();
        if !sum.is_nan() {
            return sum / self.divisor(input.len());
        }
        let present = || input.iter().zip(output).filter(|(input, _)| !input.is_nan());
        let sum: f64 = present().map(|(input, output)| self.of_feature(*input, *output)).sum();
        sum * input.len() as f64 / present().count() as f64 / self.divisor(input.len())
    }
}

/// The weighted mean error when every row is predicted as the weighted mean of the rows.
pub fn mean_field(kind: ScoreKind, rows: Rows<'_>) -> f64 {
    let total = rows.total_weight(0..rows.len());
    let weight = |i: usize| rows.weight(i).map_or(1.0, f64::from);
    let mut mean = vec![0.0; rows.width()];
    let mut row = vec![];
    let mut totals = vec![total; rows.width()];
    if rows.is_masked() {
        totals.fill(0.0);
        for i in 0..rows.len() {
            row.clear();
            rows.extend_known(i, &mut row);
            totals
                .iter_mut()
                .zip(&row)
                .filter(|(_, value)| !value.is_nan())
                .for_each(|(total, _)| *total += weight(i));
        }
    }
    for i in 0..rows.len() {
        row.clear();
        rows.extend_known(i, &mut row);
        for ((mean, total), value) in
            mean.iter_mut().zip(&totals).zip(&row).filter(|(_, value)| !value.is_nan())
        {
            *mean += weight(i) * f64::from(*value) / total;
        }
    }
    let mean: Vec<f32> = mean.into_iter().map(|mean| mean as f32).collect();
    let mut error = 0.0;
    for i in 0..rows.len() {
        row.clear();
        rows.extend_known(i, &mut row);
        error += weight(i) * kind.of_row(&row, &mean);
    }
    error / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_rows() {
        let (input, output) = ([1.0, 2.0, 3.0], [1.0, 4.0, 2.0]);
        assert_eq!(ScoreKind::Mse.of_row(&input, &output), 5.0 / 3.0);
        assert_eq!(ScoreKind::Sse.of_row(&input, &output), 5.0);
        assert_eq!(ScoreKind::Mae.of_row(&input, &output), 1.0);
    }

    #[test]
    fn missing_inputs_do_not_count() {
        let (input, output) = ([1.0, f32::NAN, 3.0, 0.0], [1.0, 4.0, 2.0, 2.0]);
        assert_eq!(ScoreKind::Mse.of_row(&input, &output), 5.0 / 3.0);
        assert_eq!(ScoreKind::Sse.of_row(&input, &output), 5.0 * 4.0 / 3.0);
        assert_eq!(ScoreKind::Mae.of_row(&input, &output), 1.0);
        assert!(ScoreKind::Mse.of_row(&[f32::NAN], &[1.0]).is_nan());
        let values = [0.0, 1.0, 4.0, f32::NAN, 4.0, 3.0];
        // Means 8/3 and 2 over the present values.
        let expected = ((64.0 + 9.0) / 9.0 + 2.0 * 16.0 / 9.0 + (16.0 + 9.0) / 9.0) / 3.0;
        assert!(
            (mean_field(ScoreKind::Sse, Rows::new(&values, 2).filled(Some(&[0.0, 0.0])))
                - expected)
                .abs()
                < 1e-6
        );
    }

    #[test]
    fn the_mean_field_error_is_the_weighted_variance() {
        let (values, weights) = ([0.0, 1.0, 4.0, 1.0], [3.0, 1.0]);
        let rows = Rows::new(&values, 2).weighted(Some(&weights));
        assert_eq!(mean_field(ScoreKind::Sse, rows), (3.0 * 1.0 + 9.0) / 4.0);
        assert_eq!(mean_field(ScoreKind::Mse, rows), (3.0 * 1.0 + 9.0) / 8.0);
    }
}
