//! Initial components.

use super::filled::{Filled, rows_at_once};
use crate::{
    linear::{eigen, orthonormalise, product},
    model::matrix::{Matrix, multiply},
    random,
};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Additional directions beyond those wanted (oversampling); more of them speed up convergence.
const BESIDE: usize = 10;
/// Number of multiplications of the table with the directions (power iterations).
const PASSES: usize = 4;

/// Components from the singular vectors of the rows, `[count, bins]`: of each pair of vectors the
/// parts of one sign that carry more (Boutsidis and Gallopoulos, "SVD based initialization",
/// Pattern Recognition 41 (2008) 1350). If the rows have fewer directions than `count`, the rest is
/// drawn.
pub(crate) fn nndsvd(rows: &Filled<'_>, count: usize, seed: u64) -> Vec<f32> {
    let bins = rows.rows.width();
    let wanted = (count + BESIDE).min(bins);
    let mut chance = random::generator(seed, "singular vectors", 0);
    let mut vectors: Vec<f64> = (0..wanted * bins)
        .map(|_| Distribution::<f64>::sample(&StandardNormal, &mut chance))
        .collect();
    orthonormalise(&mut vectors, bins);
    for _ in 0..PASSES {
        // V ← XᵀX V, then orthonormalise.
        let add = |input: &[f32], products: &[f32], sums: &mut [f32]| {
            let rows = input.len() / bins;
            multiply(
                Matrix::new(products, wanted, rows),
                Matrix::new(input, rows, bins),
                sums,
                true,
            );
        };
        vectors = pass(rows, &vectors, wanted * bins, &add);
        orthonormalise(&mut vectors, bins);
    }
    // Among the directions found, those of the largest singular values.
    let squares = pass(rows, &vectors, wanted * wanted, &|_, products, sums| {
        let rows = products.len() / wanted;
        multiply(
            Matrix::new(products, wanted, rows),
            Matrix::new(products, wanted, rows).transposed(),
            sums,
            true,
        );
    });
    let (values, turns) = eigen(squares, wanted);
    let found = count.min(wanted);
    let kept = &product(&turns, &vectors, wanted, bins)[..found * bins];
    // Sums of squares of X v, of either sign: how much of a vector is on the side of the rows.
    let lengths = pass(rows, kept, 2 * found, &|_, products, sums| {
        let rows = products.len() / found;
        for (own, sums) in products.chunks_exact(rows).zip(sums.chunks_exact_mut(2)) {
            own.iter().for_each(|value| sums[usize::from(*value < 0.0)] += value * value);
        }
    });

    let largest = values.first().copied().unwrap_or(0.0).max(0.0);
    let mut components = Vec::with_capacity(count * bins);
    for at in 0..count {
        let own = kept.get(at * bins..(at + 1) * bins).filter(|_| values[at] > 1e-10 * largest);
        let Some(vector) = own else {
            components.extend(
                (0..bins).map(|_| Distribution::<f32>::sample(&StandardNormal, &mut chance).abs()),
            );
            continue;
        };
        let length = |negative: bool| {
            let part = |value: &f64| if (*value < 0.0) == negative { value.powi(2) } else { 0.0 };
            vector.iter().map(part).sum::<f64>().sqrt()
                * lengths[2 * at + usize::from(negative)].sqrt()
        };
        let sign = if length(true) > length(false) { -1.0 } else { 1.0 };
        components.extend(vector.iter().map(|value| (sign * value).max(0.0) as f32));
    }
    components
}

/// One pass over all rows. For pieces of the rows, `[rows, bins]`, and their products with
/// `vectors`, `[vectors, rows]`, `add` updates the sums. Independent of the number of threads.
fn pass(
    rows: &Filled<'_>,
    vectors: &[f64],
    length: usize,
    add: &(impl Fn(&[f32], &[f32], &mut [f32]) + Sync),
) -> Vec<f64> {
    const PIECES: usize = 16;
    let (bins, length_of_all) = (rows.rows.width(), rows.rows.len());
    let step = rows_at_once(bins);
    let count = vectors.len() / bins;
    let vectors: Vec<f32> = vectors.iter().map(|value| *value as f32).collect();
    let starts: Vec<usize> = (0..length_of_all).step_by(step * PIECES).collect();
    let of_pieces = |&start: &usize| {
        let (mut input, mut sums) = (vec![], vec![0.0; length]);
        let end = (start + step * PIECES).min(length_of_all);
        for start in (start..end).step_by(step) {
            input.clear();
            (start..(start + step).min(end)).for_each(|i| rows.extend(i, &mut input));
            let piece = input.len() / bins;
            let mut products = vec![0.0; count * piece];
            multiply(
                Matrix::new(&vectors, count, bins),
                Matrix::new(&input, piece, bins).transposed(),
                &mut products,
                false,
            );
            add(&input, &products, &mut sums);
        }
        sums
    };
    let sums: Vec<Vec<f32>> = starts.par_iter().map(of_pieces).collect();
    let mut all = vec![0.0; length];
    sums.iter()
        .for_each(|sums| all.iter_mut().zip(sums).for_each(|(all, sum)| *all += f64::from(*sum)));
    all
}
