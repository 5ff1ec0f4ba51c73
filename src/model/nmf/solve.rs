//! Non-negative least squares for many right-hand sides at once.

use crate::{
    config::model::NmfSolver,
    model::matrix::{Matrix, multiply, vectorised},
};

/// Maximum number of sweeps of coordinate descent.
const MOST_SWEEPS: usize = 400;
/// A column has converged when the largest step of a sweep is at most this fraction of its largest
/// entry.
const TOLERANCE: f32 = 2e-6;
/// Number of multiplicative updates of a solution.
pub(super) const STEPS: usize = 60;
/// Divisors below this count as 0.
pub(super) const SMALLEST: f32 = 1e-30;

/// Algorithm of the solution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Solver {
    /// Coordinate descent until convergence.
    Descent,
    /// This number of multiplicative updates.
    Multiplicative(usize),
}

impl Solver {
    /// The solver of coefficients for a config value.
    pub(crate) fn of_coefficients(solver: NmfSolver) -> Self {
        match solver {
            NmfSolver::Descent => Self::Descent,
            NmfSolver::Multiplicative => Self::Multiplicative(STEPS),
        }
    }

    /// The solver of components for a config value.
    pub(crate) fn of_components(solver: NmfSolver) -> Self {
        match solver {
            NmfSolver::Descent => Self::Descent,
            NmfSolver::Multiplicative => Self::Multiplicative(1),
        }
    }

    /// Initial value of coefficients. Multiplicative updates would leave a 0 at 0.
    pub(crate) fn start(self) -> f32 {
        if self == Self::Descent { 0.0 } else { 1.0 }
    }
}

/// The products of all pairs of components `[count, bins]`, `[count, count]`.
pub(crate) fn gram(components: &[f32], count: usize) -> Vec<f32> {
    let bins = components.len() / count.max(1);
    let mut gram = vec![0.0; count * count];
    multiply(
        Matrix::new(components, count, bins),
        Matrix::new(components, count, bins).transposed(),
        &mut gram,
        false,
    );
    gram
}

/// Minimises ½ xᵀGx − bᵀx + l1 Σx + ½ l2 ‖x‖² over non-negative x for every column x of `solution`,
/// starting from its values. `gram` is `[k, k]`; `products` (the columns b) and `solution` are
/// `[k, columns]`. The solution of a column does not depend on other columns.
pub(crate) fn solve(
    solver: Solver,
    gram: &[f32],
    products: &[f32],
    penalties: (f32, f32),
    solution: &mut [f32],
) {
    let count = gram.len().isqrt();
    let columns = solution.len() / count.max(1);
    if columns == 0 {
        return;
    }
    match solver {
        Solver::Descent => {
            let zeros = || vec![0.0; columns];
            let mut space =
                Space { moving: vec![1.0; columns], moved: zeros(), size: zeros(), line: zeros() };
            for _ in 0..MOST_SWEEPS {
                sweep(gram, products, penalties, solution, &mut space);
                if space.moving.iter().all(|moving| *moving == 0.0) {
                    break;
                }
            }
        }
        Solver::Multiplicative(steps) => {
            let mut sums = vec![0.0; solution.len()];
            for _ in 0..steps {
                multiply(
                    Matrix::new(gram, count, count),
                    Matrix::new(solution, count, columns),
                    &mut sums,
                    false,
                );
                rescale(products, penalties, &sums, solution);
            }
        }
    }
}

/// Working memory of a sweep for each column.
pub(crate) struct Space {
    /// 1 until the column has converged, then 0.
    moving: Vec<f32>,
    /// The largest step of the last sweep, and the largest entry, both in units of what they
    /// change.
    moved: Vec<f32>,
    size: Vec<f32>,
    /// Negative gradient at the current entry.
    line: Vec<f32>,
}

vectorised! {
    /// One sweep over the entries of all columns that still move.
    fn sweep<'a>(gram: &'a [f32], products: &'a [f32], penalties: (f32, f32), solution: &'a mut [f32], space: &'a mut Space) {
        let Space { moving, moved, size, line } = space;
        let columns = line.len();
        let count = solution.len() / columns;
        let (l1, l2) = penalties;
        moved.fill(0.0);
        size.fill(0.0);
        for j in 0..count {
            line.copy_from_slice(&products[j * columns..][..columns]);
            for (i, own) in solution.chunks_exact(columns).enumerate() {
                let factor = gram[j * count + i];
                for (value, own) in line.iter_mut().zip(own) {
                    *value -= factor * own;
                }
            }
            let curvature = gram[j * count + j] + l2;
            // An all-zero component gets coefficient 0.
            let (keep, inverse) = if curvature > SMALLEST { (1.0, 1.0 / curvature) } else { (0.0, 0.0) };
            let root = curvature.max(0.0).sqrt();
            let own = solution[j * columns..][..columns].iter_mut().zip(line.iter());
            for (((own, pull), moving), (moved, size)) in own.zip(moving.iter()).zip(moved.iter_mut().zip(size.iter_mut())) {
                let before = *own;
                let step = keep * (before + (pull - l1 - l2 * before) * inverse);
                let after = if step < 0.0 { 0.0 } else { step };
                let after = before + moving * (after - before);
                let (change, length) = ((after - before).abs() * root, after * root);
                *moved = if change > *moved { change } else { *moved };
                *size = if length > *size { length } else { *size };
                *own = after;
            }
        }
        for (moving, (moved, size)) in moving.iter_mut().zip(moved.iter().zip(size.iter())) {
            *moving = if *moved > TOLERANCE * size { *moving } else { 0.0 };
        }
    }
}

vectorised! {
    /// A multiplicative update: the factor is the negative part of the gradient over the positive
    /// part.
    fn rescale<'a>(products: &'a [f32], penalties: (f32, f32), sums: &'a [f32], solution: &'a mut [f32]) {
        let (l1, l2) = penalties;
        for ((value, product), sum) in solution.iter_mut().zip(products).zip(sums) {
            let below = sum + l1 + l2 * *value;
            let above = if *product > 0.0 { *product } else { 0.0 };
            *value = if below > SMALLEST { *value * (above / below) } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The best solution over all subsets of non-zero entries, each solved exactly.
    fn by_all_choices(gram: &[f32], product: &[f32], l1: f64, l2: f64) -> f64 {
        let k = product.len();
        let g = |i: usize, j: usize| f64::from(gram[i * k + j]) + if i == j { l2 } else { 0.0 };
        let mut best = 0.0_f64;
        for choice in 1..1_usize << k {
            let chosen: Vec<usize> = (0..k).filter(|i| choice >> i & 1 == 1).collect();
            let n = chosen.len();
            let mut rows: Vec<Vec<f64>> = chosen
                .iter()
                .map(|&i| {
                    chosen.iter().map(|&j| g(i, j)).chain([f64::from(product[i]) - l1]).collect()
                })
                .collect();
            for at in 0..n {
                let pivot = (at..n)
                    .max_by(|&a, &b| rows[a][at].abs().total_cmp(&rows[b][at].abs()))
                    .unwrap();
                rows.swap(at, pivot);
                let pivot = rows[at].clone();
                for (_, row) in rows.iter_mut().enumerate().filter(|(other, _)| *other != at) {
                    let factor = row[at] / pivot[at];
                    row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
                }
            }
            let x: Vec<f64> = (0..n).map(|at| rows[at][n] / rows[at][at]).collect();
            if x.iter().all(|x| *x >= 0.0 && x.is_finite()) {
                let quadratic: f64 = (0..n)
                    .flat_map(|a| (0..n).map(move |b| (a, b)))
                    .map(|(a, b)| x[a] * g(chosen[a], chosen[b]) * x[b])
                    .sum();
                let linear: f64 = (0..n).map(|a| x[a] * (f64::from(product[chosen[a]]) - l1)).sum();
                best = best.min(0.5 * quadratic - linear);
            }
        }
        best
    }

    fn objective(gram: &[f32], product: &[f32], l1: f64, l2: f64, x: &[f32]) -> f64 {
        let k = product.len();
        let value = |i: usize| f64::from(x[i]);
        let quadratic: f64 = (0..k)
            .flat_map(|i| (0..k).map(move |j| (i, j)))
            .map(|(i, j)| value(i) * f64::from(gram[i * k + j]) * value(j))
            .sum();
        (0..k)
            .map(|i| l1 * value(i) + 0.5 * l2 * value(i).powi(2) - value(i) * f64::from(product[i]))
            .sum::<f64>()
            + 0.5 * quadratic
    }

    proptest! {
        #[test]
        fn descent_finds_the_minimum(components in prop::collection::vec(0.0_f32..1.0, 4 * 12), row in prop::collection::vec(-0.5_f32..2.0, 12), l1 in 0.0_f64..0.5, l2 in 0.0_f64..0.5) {
            let gram = gram(&components, 4);
            let product: Vec<f32> = components.chunks_exact(12).map(|own| own.iter().zip(&row).map(|(a, b)| a * b).sum()).collect();
            let mut x = vec![0.0; 4];
            solve(Solver::Descent, &gram, &product, (l1 as f32, l2 as f32), &mut x);
            let (found, best) = (objective(&gram, &product, l1, l2, &x), by_all_choices(&gram, &product, l1, l2));
            prop_assert!(x.iter().all(|x| *x >= 0.0));
            prop_assert!(found <= best + 2e-4 * (1.0 + best.abs()), "{found} {best} {x:?}");
        }

        #[test]
        fn a_column_does_not_depend_on_those_beside_it(components in prop::collection::vec(0.0_f32..1.0, 3 * 8), rows in prop::collection::vec(0.0_f32..2.0, 5 * 3)) {
            let gram = gram(&components, 3);
            let mut all = vec![0.0; 15];
            solve(Solver::Descent, &gram, &rows, (0.01, 0.01), &mut all);
            for column in 0..5 {
                let own: Vec<f32> = (0..3).map(|j| rows[j * 5 + column]).collect();
                let mut alone = vec![0.0; 3];
                solve(Solver::Descent, &gram, &own, (0.01, 0.01), &mut alone);
                let of_all: Vec<f32> = (0..3).map(|j| all[j * 5 + column]).collect();
                prop_assert_eq!(alone, of_all);
            }
        }
    }

    #[test]
    fn a_component_of_nothing_has_no_coefficient() {
        let mut x = vec![0.0; 2];
        solve(Solver::Descent, &[4.0, 0.0, 0.0, 0.0], &[8.0, 0.0], (0.0, 0.0), &mut x);
        assert_eq!(x, [2.0, 0.0]);
    }

    #[test]
    fn multiplicative_steps_come_near_the_minimum() {
        let (gram, product) = ([2.0, 0.5, 0.5, 1.0], [1.0, 1.0]);
        let (mut descent, mut steps) = (vec![0.0; 2], vec![1.0; 2]);
        solve(Solver::Descent, &gram, &product, (0.0, 0.0), &mut descent);
        solve(Solver::Multiplicative(500), &gram, &product, (0.0, 0.0), &mut steps);
        assert!(
            descent.iter().zip(&steps).all(|(a, b): (&f32, &f32)| (a - b).abs() < 1e-3),
            "{descent:?} {steps:?}"
        );
    }
}
