//! Principal components. Results do not depend on the number of threads.

use crate::linear::{add, dot, eigen, orthonormalise, product};
use crate::random;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Matrices up to this size are diagonalised completely.
const WHOLE: usize = 128;

/// Additional directions beyond those wanted (oversampling); more of them speed up convergence.
const BESIDE: usize = 30;

/// Maximum number of iterations.
const MOST_STEPS: usize = 500;

/// Rows of a matrix that a thread computes at a time.
const ROWS: usize = 8;

/// Principal components: the directions of largest variance.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// The mean row, `[width]`.
    pub mean: Vec<f64>,
    /// Orthonormal directions, the one with the most variance first, each `[width]` with its
    /// largest entry positive; zeros if the width has no further direction.
    pub components: Vec<Vec<f64>>,
    /// The share of the variance along each; 0 if nothing varies.
    pub shares: Vec<f64>,
}

impl Pca {
    /// The first `count` components of `values`, `[rows, width]`.
    pub fn fit(values: &[f32], width: usize, count: usize) -> Self {
        let rows = || values.chunks_exact(width.max(1));
        // Relative to the first row, so that constant columns are exactly 0.
        let mut mean = vec![0.0; width];
        let first = rows().next().unwrap_or_default();
        let from_first =
            |row: &[f32], column: usize| f64::from(row[column]) - f64::from(first[column]);
        rows().for_each(|row| {
            mean.iter_mut().enumerate().for_each(|(column, sum)| *sum += from_first(row, column))
        });
        mean.iter_mut().for_each(|sum| *sum /= rows().len().max(1) as f64);
        mean.iter_mut().zip(first).for_each(|(mean, first)| *mean += f64::from(*first));
        // The upper half, rows in parallel. The divisor does not matter for directions and shares.
        let mut covariance = vec![0.0; width * width];
        covariance.par_chunks_mut((ROWS * width).max(1)).enumerate().for_each(|(block, sums)| {
            let first = block * ROWS;
            let mut centred = vec![0.0; width];
            for row in rows() {
                centred
                    .iter_mut()
                    .zip(row)
                    .zip(&mean)
                    .skip(first)
                    .for_each(|((to, value), mean)| *to = f64::from(*value) - mean);
                for (i, sums) in (first..).zip(sums.chunks_exact_mut(width)) {
                    add(&mut sums[i..], centred[i], &centred[i..]);
                }
            }
        });
        (1..width).for_each(|i| {
            (0..i).for_each(|j| covariance[i * width + j] = covariance[j * width + i])
        });
        let total: f64 = (0..width).map(|i| covariance[i * width + i]).sum();
        let (variances, directions) = leading(covariance, width, count);
        let mut components: Vec<Vec<f64>> =
            directions.chunks_exact(width.max(1)).map(<[f64]>::to_vec).collect();
        for component in &mut components {
            let largest = component.iter().fold(0.0_f64, |largest, entry| {
                if entry.abs() > largest.abs() { *entry } else { largest }
            });
            if largest < 0.0 {
                component.iter_mut().for_each(|entry| *entry = -*entry);
            }
        }
        components.resize(count, vec![0.0; width]);
        let mut shares: Vec<f64> = variances
            .iter()
            .map(|variance| if total > 0.0 { variance.max(0.0) / total } else { 0.0 })
            .collect();
        shares.resize(count, 0.0);
        Self { mean, components, shares }
    }

    /// Projects `values` `[rows, width]` onto the components, `[rows, components]`.
    pub fn project(&self, values: &[f32]) -> Vec<f32> {
        let along = |row: &[f32], component: &[f64]| {
            row.iter()
                .zip(&self.mean)
                .zip(component)
                .map(|((value, mean), entry)| (f64::from(*value) - mean) * entry)
                .sum::<f64>() as f32
        };
        values
            .chunks_exact(self.mean.len().max(1))
            .flat_map(|row| self.components.iter().map(move |component| along(row, component)))
            .collect()
    }
}

/// The `count` largest eigenvalues of a positive semidefinite matrix, and their eigenvectors one
/// after the other.
fn leading(matrix: Vec<f64>, n: usize, count: usize) -> (Vec<f64>, Vec<f64>) {
    let cut = |(mut values, mut vectors): (Vec<f64>, Vec<f64>)| {
        values.truncate(count);
        vectors.truncate(count * n);
        (values, vectors)
    };
    if n <= WHOLE.max(count + BESIDE) {
        return cut(eigen(matrix, n));
    }
    // Subspace iteration. The small shift keeps directions in which nothing varies from vanishing.
    let k = count + BESIDE;
    let shift = 1e-6 * (0..n).map(|i| matrix[i * n + i]).sum::<f64>();
    let mut chance = random::generator(0, "principal components", 0);
    let mut basis: Vec<f64> = (0..k * n).map(|_| StandardNormal.sample(&mut chance)).collect();
    orthonormalise(&mut basis, n);
    let mut step = 0;
    loop {
        step += 1;
        let image = product(&basis, &matrix, n, n);
        let within = basis
            .chunks_exact(n)
            .flat_map(|a| image.chunks_exact(n).map(move |b| dot(a, b)))
            .collect();
        let (values, turns) = eigen(within, k);
        basis = product(&turns, &basis, k, n);
        let mut image = product(&turns, &image, k, n);
        let error = |((vector, image), value): ((&[f64], &[f64]), &f64)| {
            vector.iter().zip(image).map(|(v, i)| (i - value * v).powi(2)).sum::<f64>()
        };
        let worst = basis
            .chunks_exact(n)
            .zip(image.chunks_exact(n))
            .zip(&values)
            .take(count)
            .map(error)
            .fold(0.0, f64::max);
        if worst.sqrt() <= 1e-9 * values[0] || shift == 0.0 || step == MOST_STEPS {
            return cut((values, basis));
        }
        add(&mut image, shift, &basis);
        basis = image;
        orthonormalise(&mut basis, n);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn made(rows: usize, width: usize, seed: u64) -> Vec<f32> {
        let mut chance = random::generator(seed, "made", 0);
        (0..rows * width).map(|_| StandardNormal.sample(&mut chance)).collect()
    }

    /// Clusters at the corners of a simplex; rows cycle through the clusters.
    pub(crate) fn clusters(count: usize, rows: usize, width: usize, apart: f32) -> Vec<f32> {
        let mut values = made(rows, width, 3);
        values.chunks_exact_mut(width).enumerate().for_each(|(i, row)| row[i % count] += apart);
        values
    }

    pub(crate) fn with_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
    }

    #[test]
    fn eigenvectors_make_the_matrix_again() {
        let n = 12;
        let half: Vec<f64> = made(n, n, 1).into_iter().map(f64::from).collect();
        let matrix: Vec<f64> = half
            .chunks_exact(n)
            .flat_map(|a| half.chunks_exact(n).map(move |b| dot(a, b)))
            .collect();
        let (values, vectors) = eigen(matrix.clone(), n);
        assert!(values.is_sorted_by(|a, b| a >= b));
        for (i, entry) in matrix.iter().enumerate() {
            let made: f64 =
                (0..n).map(|k| values[k] * vectors[k * n + i / n] * vectors[k * n + i % n]).sum();
            assert!((made - entry).abs() < 1e-10, "{made} {entry}");
        }
    }

    #[test]
    fn wide_matrices_have_the_leading_directions_of_whole_ones() {
        for rank in [1, 5, 300] {
            let (rows, n) = (300, 200);
            let (left, right) = (made(rows, rank, 4), made(rank, n, 5));
            let values: Vec<f32> = (0..rows * n)
                .map(|at| {
                    (0..rank)
                        .map(|k| {
                            left[at / n * rank + k] * right[k * n + at % n] / (1 + k % 7) as f32
                        })
                        .sum()
                })
                .collect();
            let matrix: Vec<f64> = (0..n * n)
                .map(|at| {
                    values
                        .chunks_exact(n)
                        .map(|row| f64::from(row[at / n]) * f64::from(row[at % n]))
                        .sum()
                })
                .collect();
            let (whole, wanted) = eigen(matrix.clone(), n);
            let (found, vectors) = leading(matrix, n, 2);
            for k in 0..rank.min(2) {
                assert!((found[k] / whole[k] - 1.0).abs() < 1e-12, "{found:?} {whole:?}");
                let cosine = dot(&vectors[k * n..(k + 1) * n], &wanted[k * n..(k + 1) * n]).abs();
                assert!((cosine - 1.0).abs() < 1e-10, "rank {rank}, direction {k}: {cosine}");
            }
            assert!((dot(&vectors[n..], &vectors[n..]) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn what_does_not_vary_has_no_share() {
        let constant = Pca::fit(&[0.1; 3000], 3, 2);
        assert_eq!(
            (constant.shares.as_slice(), constant.project(&[0.1; 3])),
            (&[0.0, 0.0][..], vec![0.0, 0.0])
        );
        let one_row = Pca::fit(&[1.0, -2.0], 2, 2);
        assert_eq!(
            (one_row.shares.as_slice(), one_row.project(&[1.0, -2.0])),
            (&[0.0, 0.0][..], vec![0.0, 0.0])
        );
        let column = Pca::fit(&[1.0, 2.0, 6.0], 1, 2);
        assert_eq!(
            (column.shares.as_slice(), column.project(&[1.0, 6.0])),
            (&[1.0, 0.0][..], vec![-2.0, 0.0, 3.0, 0.0])
        );
        assert_eq!(Pca::fit(&[], 2, 2).shares, [0.0, 0.0]);
    }

    #[test]
    fn the_largest_entry_of_a_component_is_positive() {
        for seed in 0..20 {
            let pca = Pca::fit(&made(50, 5, seed), 5, 5);
            for component in &pca.components {
                let (low, high) =
                    component.iter().fold((0.0_f64, 0.0_f64), |(low, high), entry| {
                        (low.min(*entry), high.max(*entry))
                    });
                assert!(high >= -low);
            }
            assert!((pca.shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn principal_components_do_not_depend_on_threads() {
        let values = made(700, 200, 8);
        assert_eq!(
            with_threads(1, || Pca::fit(&values, 200, 2)),
            with_threads(3, || Pca::fit(&values, 200, 2))
        );
    }
}
