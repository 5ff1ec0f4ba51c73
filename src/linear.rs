//! Small linear algebra in double precision on the host. Results do not depend on the number of
//! threads.

use rayon::prelude::*;

/// Maximum number of sweeps of rotations.
const MOST_SWEEPS: usize = 60;

/// Rows of a matrix that a thread computes at a time.
const ROWS: usize = 8;

/// Adds `factor` times `values` to `sums`.
pub(crate) fn add(sums: &mut [f64], factor: f64, values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}

/// The dot product.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `[m, k]` times `[k, n]`.
pub(crate) fn product(a: &[f64], b: &[f64], k: usize, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; a.len() / k * n];
    out.par_chunks_mut(ROWS * n).zip(a.par_chunks(ROWS * k)).for_each(|(out, a)| {
        for (i, b) in b.chunks_exact(n).enumerate() {
            out.chunks_exact_mut(n).zip(a.chunks_exact(k)).for_each(|(out, a)| add(out, a[i], b));
        }
    });
    out
}

/// Orthonormalises rows of length `n`.
pub(crate) fn orthonormalise(rows: &mut [f64], n: usize) {
    for at in 0..rows.len() / n {
        let (before, row) = rows.split_at_mut(at * n);
        let row = &mut row[..n];
        // Twice, to remove rounding errors.
        for _ in 0..2 {
            before.chunks_exact(n).for_each(|before| add(row, -dot(before, row), before));
        }
        let length = dot(row, row).sqrt();
        row.iter_mut().filter(|_| length > 0.0).for_each(|entry| *entry /= length);
    }
}

/// Eigenvalues of a symmetric matrix `[n, n]`, the largest first, and its eigenvectors one after
/// the other, by Jacobi's rotations.
pub(crate) fn eigen(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let rotate = |matrix: &mut [f64], p: usize, q: usize, c: f64, s: f64| {
        let (before, after) = matrix.split_at_mut(q * n);
        for (x, y) in before[p * n..(p + 1) * n].iter_mut().zip(&mut after[..n]) {
            (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
        }
    };
    for _ in 0..MOST_SWEEPS {
        let all = dot(&a, &a);
        let off: f64 = (0..n * n).filter(|at| at / n != at % n).map(|at| a[at] * a[at]).sum();
        if off <= 1e-30 * all {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                let off = a[p * n + q];
                if off == 0.0 {
                    continue;
                }
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * off);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                let s = t * c;
                rotate(&mut a, p, q, c, s);
                for row in a.chunks_exact_mut(n) {
                    (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                }
                rotate(&mut vectors, p, q, c, s);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[j * n + j].total_cmp(&a[i * n + i]));
    (
        order.iter().map(|&i| a[i * n + i]).collect(),
        order.iter().flat_map(|&i| vectors[i * n..(i + 1) * n].to_vec()).collect(),
    )
}
