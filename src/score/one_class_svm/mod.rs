//! One-class support vector machine with a radial kernel. Its decision function is positive where
//! the data are dense.
//!
//! After Schölkopf, Platt, Shawe-Taylor, Smola and Williamson, "Estimating the support of a
//! high-dimensional distribution", Neural Computation 13 (2001) 1443. The dual problem, minimise ½
//! αᵀKα with 0 ≤ αᵢ ≤ wᵢ and Σα = ν Σw, is solved by sequential minimal optimisation in the form of
//! Chang and Lin, "LIBSVM: a library for support vector machines", ACM TIST 2 (2011) 27.

mod kernel;
mod solver;

use kernel::KernelTable;
use serde::{Deserialize, Serialize};
use solver::Solver;

/// Bytes of the cache of kernel rows.
const CACHE_BYTES: usize = 128 << 20;

/// Settings of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SvmSettings {
    /// The maximum share of the total weight outside the support, and the minimum share of support
    /// vectors: above 0, at most 1.
    pub nu: f64,
    /// The kernel is exp(-gamma |x - y|²).
    pub gamma: f64,
    /// The fit ends when no pair of rows violates the optimality conditions by more than this. It
    /// is on the scale of the decision function, which grows with the sum of the weights.
    pub tolerance: f64,
}

/// Summary of a fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SvmFit {
    /// Number of optimised pairs of coefficients.
    pub iterations: u64,
    /// Whether the tolerance was reached.
    pub converged: bool,
    /// The number of support vectors.
    pub support: usize,
}

/// A fitted one-class support vector machine (Schölkopf et al. 2001).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OneClassSvm {
    /// The kernel is exp(-gamma |x - y|²).
    pub gamma: f64,
    /// Columns of the inputs.
    pub width: usize,
    /// Offset subtracted from the kernel sum, so that the decision is 0 on the border.
    pub rho: f64,
    /// The rows with a coefficient, `[support vectors, width]`.
    pub support: Vec<f32>,
    /// The coefficients, `[support vectors]`. They add up to nu times the sum of the weights.
    pub coefficients: Vec<f64>,
}

impl OneClassSvm {
    /// Fits to `values` `[rows, width]` with `weights` `[rows]`: a row of weight 2 counts as two
    /// equal rows, a row of weight 0 is ignored. Without `weights` all rows count 1. The result
    /// does not depend on the number of threads.
    ///
    /// # Errors
    ///
    /// Fails if there are no values, or if a shape, a value, a weight or a setting is invalid.
    pub fn fit(
        values: &[f32],
        width: usize,
        weights: Option<&[f32]>,
        settings: SvmSettings,
    ) -> Result<(Self, SvmFit), String> {
        fit_with_cache(values, width, weights, settings, CACHE_BYTES)
    }

    /// The signed distance from the border of each row of `values` `[rows, width]`, positive
    /// inside: Σ αᵢ K(xᵢ, x) - rho, on the scale of scikit-learn's `decision_function`. A row with
    /// a NaN gets NaN.
    ///
    /// # Panics
    ///
    /// Panics if the length of `values` is not a multiple of the width.
    pub fn decision(&self, values: &[f32]) -> Vec<f64> {
        assert!(
            self.width > 0 && values.len().is_multiple_of(self.width),
            "{} values do not make rows of {}",
            values.len(),
            self.width
        );
        let points: Vec<f64> = self.support.iter().copied().map(f64::from).collect();
        let table = KernelTable::new(
            values,
            self.width,
            &(0..values.len() / self.width).collect::<Vec<_>>(),
        );
        let mut sums = table.kernel_sums(&points, &self.coefficients, self.gamma, |kernel| kernel);
        sums.iter_mut().for_each(|sum| *sum -= self.rho);
        sums.truncate(table.rows);
        sums
    }
}

/// `OneClassSvm::fit` with a cache of `bytes` for kernel rows.
fn fit_with_cache(
    values: &[f32],
    width: usize,
    weights: Option<&[f32]>,
    settings: SvmSettings,
    cache_bytes: usize,
) -> Result<(OneClassSvm, SvmFit), String> {
    let SvmSettings { nu, gamma, tolerance } = settings;
    if !(nu > 0.0 && nu <= 1.0) {
        return Err(format!("nu is {nu}: it must be above 0 and at most 1"));
    }
    if !(gamma > 0.0 && gamma.is_finite()) {
        return Err(format!("gamma is {gamma}: it must be a positive number"));
    }
    if !(tolerance > 0.0 && tolerance.is_finite()) {
        return Err(format!("the tolerance is {tolerance}: it must be a positive number"));
    }
    if width == 0 || values.is_empty() {
        return Err("there are no values to fit to".into());
    }
    if !values.len().is_multiple_of(width) {
        return Err(format!("{} values do not make rows of {width}", values.len()));
    }
    let rows = values.len() / width;
    if let Some(weights) = weights {
        if weights.len() != rows {
            return Err(format!("there are {} weights for {rows} rows", weights.len()));
        }
        if let Some(row) = weights.iter().position(|weight| !(*weight >= 0.0 && weight.is_finite()))
        {
            return Err(format!(
                "the weight of row {row} is {}: it must be a number, 0 or more",
                weights[row]
            ));
        }
    }
    let kept: Vec<usize> =
        (0..rows).filter(|&row| weights.is_none_or(|weights| weights[row] > 0.0)).collect();
    if kept.is_empty() {
        return Err("all weights are zero".into());
    }
    for &row in &kept {
        if let Some(value) = values[row * width..][..width].iter().find(|value| !value.is_finite())
        {
            return Err(format!("row {row} has the value {value}"));
        }
    }
    let bounds =
        kept.iter().map(|&row| weights.map_or(1.0, |weights| f64::from(weights[row]))).collect();
    let table = KernelTable::new(values, width, &kept);

    let mut solver = Solver::new(&table, bounds, nu, gamma, cache_bytes);
    let (iterations, converged) = solver.run(tolerance);
    let rho = solver.rho();
    let (mut support, mut coefficients) = (Vec::new(), Vec::new());
    for (&row, &coefficient) in kept.iter().zip(&solver.alpha) {
        if coefficient > 0.0 {
            support.extend_from_slice(&values[row * width..][..width]);
            coefficients.push(coefficient);
        }
    }
    let fit = SvmFit { iterations, converged, support: coefficients.len() };
    Ok((OneClassSvm { gamma, width, rho, support, coefficients }, fit))
}

#[cfg(test)]
mod tests {
    use super::{kernel::PARALLEL, *};

    /// Rows of numbers between 0 and 1 that repeat after `period` rows.
    fn table(rows: usize, width: usize, period: usize) -> Vec<f32> {
        (0..rows * width)
            .map(|at| (at / width % period, at % width))
            .map(|(r, c)| ((r * 37 + c * 101 + r * r * c * 17) % 97) as f32 / 97.0)
            .collect()
    }

    fn weights(rows: usize) -> Vec<f32> {
        (0..rows).map(|row| (row * 13 % 7) as f32 / 4.0).collect()
    }

    fn settings(nu: f64, gamma: f64, tolerance: f64) -> SvmSettings {
        SvmSettings { nu, gamma, tolerance }
    }

    fn close(a: &[f64], b: &[f64], limit: f64) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < limit), "{a:?} {b:?}");
    }

    /// The numbers are from scikit-learn 1.9.1, `OneClassSVM(nu=nu, gamma=gamma, tol=1e-10)`: the
    /// offset, and the decision function at the first two rows and where all columns are 0.25, 0.5
    /// or 2.
    #[test]
    #[allow(clippy::type_complexity)]
    fn as_scikit_learn() {
        let cases: [((usize, usize, usize), (f64, f64), bool, f64, [f64; 5]); 5] = [
            (
                (40, 3, 40),
                (0.2, 0.5),
                false,
                5.61752194,
                [-0.321703805, 0.478758033, 0.548392906, 0.840771557, -5.31435569],
            ),
            (
                (60, 5, 60),
                (0.5, 2.0 / 273.0),
                false,
                29.7946647,
                [-0.075147258, -0.00781997904, 0.0356986448, 0.0882988406, -2.35736006],
            ),
            (
                (50, 4, 50),
                (0.1, 3.0),
                true,
                0.600907578,
                [-0.0316096355, 0.0390649756, 0.165550443, 0.275049354, -0.600907577],
            ),
            (
                (64, 2, 16),
                (0.3, 1.0),
                false,
                13.1075755,
                [-1.75703007, 1.53329141, 0.865940236, 1.82726022, -12.7556718],
            ),
            (
                (80, 20, 80),
                (0.05, 2.0 / 273.0),
                true,
                2.9277851,
                [0.029789533, 0.00596079604, 0.0229670203, 0.0412128771, -0.825289155],
            ),
        ];
        for ((rows, width, period), (nu, gamma), weighted, rho, decisions) in cases {
            let (values, weights) = (table(rows, width, period), weights(rows));
            let (model, fit) = OneClassSvm::fit(
                &values,
                width,
                weighted.then_some(&weights),
                settings(nu, gamma, 1e-10),
            )
            .unwrap();
            assert!(
                fit.converged
                    && fit.support == model.coefficients.len()
                    && model.support.len() == fit.support * width,
                "{fit:?}"
            );
            let mut points = values[..2 * width].to_vec();
            [0.25, 0.5, 2.0].into_iter().for_each(|value| points.extend(vec![value; width]));
            close(&[model.rho], &[rho], 1e-6);
            close(&model.decision(&points), &decisions, 1e-6);
        }
    }

    #[test]
    fn a_weight_counts_as_so_many_equal_rows() {
        let (width, values) = (3, table(50, 3, 50));
        let weights: Vec<f32> = (0..50).map(|row| (row % 4) as f32).collect();
        let repeated: Vec<f32> = values
            .chunks(width)
            .zip(&weights)
            .flat_map(|(row, &weight)| row.repeat(weight as usize))
            .collect();
        let (weighted, _) =
            OneClassSvm::fit(&values, width, Some(&weights), settings(0.25, 0.7, 1e-9)).unwrap();
        let (plain, _) =
            OneClassSvm::fit(&repeated, width, None, settings(0.25, 0.7, 1e-9)).unwrap();
        close(&weighted.decision(&values), &plain.decision(&values), 1e-6);
        let ones =
            OneClassSvm::fit(&values, width, Some(&[1.0; 50]), settings(0.25, 0.7, 1e-3)).unwrap();
        assert_eq!(
            ones,
            OneClassSvm::fit(&values, width, None, settings(0.25, 0.7, 1e-3)).unwrap()
        );
    }

    #[test]
    fn a_row_of_weight_zero_takes_no_part_whatever_is_in_it() {
        let mut values = table(20, 2, 20);
        let (plain, _) = OneClassSvm::fit(&values[2..], 2, None, settings(0.3, 1.0, 1e-3)).unwrap();
        values[0] = f32::NAN;
        let weights: Vec<f32> = (0..20).map(|row| if row == 0 { 0.0 } else { 1.0 }).collect();
        assert_eq!(
            OneClassSvm::fit(&values, 2, Some(&weights), settings(0.3, 1.0, 1e-3)).unwrap().0,
            plain
        );
    }

    #[test]
    fn the_optimality_conditions_hold() {
        for (nu, gamma, tolerance) in [(0.05, 0.1, 1e-3), (0.3, 2.0, 1e-6), (0.7, 20.0, 1e-9)] {
            let (rows, width) = (150, 4);
            let bounds: Vec<f64> = (0..rows).map(|row| 0.25 + (row % 5) as f64).collect();
            let total: f64 = bounds.iter().sum();
            let table =
                KernelTable::new(&table(rows, width, 40), width, &(0..rows).collect::<Vec<_>>());
            let mut solver = Solver::new(&table, bounds, nu, gamma, CACHE_BYTES);
            assert!(solver.run(tolerance).1);
            let rho = solver.rho();
            let points: Vec<f64> = (0..rows).flat_map(|row| table.row(row)).collect();
            let gradient =
                table.kernel_sums(&points, &solver.alpha, gamma, |kernel| f64::from(kernel as f32));
            for (row, &gradient) in gradient[..rows].iter().enumerate() {
                let (alpha, bound) = (solver.alpha[row], solver.bounds[row]);
                assert!((0.0..=bound).contains(&alpha));
                assert!(
                    (gradient - solver.gradient[row]).abs() < 1e-10,
                    "the gradient is kept up to date"
                );
                assert!(alpha == bound || gradient > rho - tolerance, "outside without being full");
                assert!(alpha == 0.0 || gradient < rho + tolerance, "inside with a coefficient");
            }
            assert!((solver.alpha.iter().sum::<f64>() - nu * total).abs() < 1e-10);
        }
    }

    #[test]
    fn neither_threads_nor_memory_change_the_result() {
        let (width, values) = (64, table(2056, 64, 2056));
        assert!(values.len() >= PARALLEL);
        let fit = |threads, bytes| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (model, fit) =
                    fit_with_cache(&values, width, None, settings(0.002, 0.1, 1e-3), bytes)
                        .unwrap();
                let decision = model.decision(&values[..40 * width]);
                (model, fit, decision)
            })
        };
        let one = fit(1, CACHE_BYTES);
        assert!(one.1.converged && one.1.iterations > 5, "{:?}", one.1);
        assert_eq!(one, fit(3, 0));
    }

    #[test]
    fn the_extremes_end_and_are_finite() {
        let values = table(30, 2, 30);
        let (all, fit) = OneClassSvm::fit(&values, 2, None, settings(1.0, 1.0, 1e-3)).unwrap();
        assert!(fit.converged && fit.support == 30 && all.rho.is_finite());
        assert!(
            all.decision(&values).iter().all(|&decision| decision < 1e-5),
            "all weight is outside"
        );
        let (same, fit) = OneClassSvm::fit(&[0.5; 40], 2, None, settings(0.1, 1.0, 1e-3)).unwrap();
        assert!(fit.converged && same.decision(&[0.5, 0.5])[0].abs() < 1e-6);
        let (one, fit) = OneClassSvm::fit(&[0.5, 0.1], 2, None, settings(0.5, 1.0, 1e-3)).unwrap();
        assert!(fit.converged && (one.rho - 0.5).abs() < 1e-9);
        for (gamma, tolerance) in [(1e-300, 1e-3), (1e300, 1e-3), (1.0, 1e-15)] {
            let (model, _) =
                OneClassSvm::fit(&values, 2, None, settings(0.2, gamma, tolerance)).unwrap();
            assert!(model.decision(&[f32::MAX, -1.0]).iter().all(|decision| decision.is_finite()));
            assert!(model.decision(&[f32::NAN, 0.0])[0].is_nan());
        }
        assert!(all.decision(&[]).is_empty());
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let values = table(10, 2, 10);
        let good = settings(0.1, 1.0, 1e-3);
        let refused = |values: &[f32], width, weights: Option<&[f32]>, settings| {
            OneClassSvm::fit(values, width, weights, settings).unwrap_err()
        };
        for nu in [0.0, -0.1, 1.1, f64::NAN] {
            assert!(refused(&values, 2, None, settings(nu, 1.0, 1e-3)).starts_with("nu is"));
        }
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(refused(&values, 2, None, settings(0.1, bad, 1e-3)).starts_with("gamma is"));
            assert!(
                refused(&values, 2, None, settings(0.1, 1.0, bad)).starts_with("the tolerance is")
            );
        }
        assert_eq!(refused(&[], 2, None, good), "there are no values to fit to");
        assert_eq!(refused(&values, 0, None, good), "there are no values to fit to");
        assert_eq!(refused(&values, 3, None, good), "20 values do not make rows of 3");
        assert_eq!(refused(&values, 2, Some(&[1.0; 9]), good), "there are 9 weights for 10 rows");
        assert_eq!(refused(&values, 2, Some(&[0.0; 10]), good), "all weights are zero");
        assert_eq!(refused(&[0.0, f32::NAN], 1, None, good), "row 1 has the value NaN");
        assert_eq!(refused(&[0.0, f32::INFINITY], 1, None, good), "row 1 has the value inf");
        assert_eq!(
            refused(&[0.0, 1.0], 1, Some(&[1.0, -1.0]), good),
            "the weight of row 1 is -1: it must be a number, 0 or more"
        );
    }
}
