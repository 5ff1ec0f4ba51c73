//! One-class support vector machine with a radial kernel: a function of the inputs that is positive
//! where the data are dense.
//!
//! After Schölkopf, Platt, Shawe-Taylor, Smola and Williamson, "Estimating the support of a
//! high-dimensional distribution", Neural Computation 13 (2001) 1443. The dual problem, minimise ½
//! αᵀKα with 0 ≤ αᵢ ≤ wᵢ and Σα = ν Σw, is solved by sequential minimal optimisation in the form of
//! Chang and Lin, "LIBSVM: a library for support vector machines", ACM TIST 2 (2011) 27.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Rows that are worked on side by side. Tables are stored in tiles of so many rows.
const LANES: usize = 8;

/// Rows whose kernels are computed in one go, a multiple of `LANES`.
const STRIP: usize = 128;

/// Rows in one block of the passes over the gradient, a multiple of `LANES`.
const BLOCK: usize = 1024;

/// Numbers in a table from which on a kernel row is worth more than one thread.
const PARALLEL: usize = 1 << 17;

/// Memory for kernel rows.
const CACHE_BYTES: usize = 128 << 20;

/// Stands in for the curvature along a pair of rows where it is zero, as between equal rows.
const FLAT: f64 = 1e-12;

/// Iterations after which an unfinished fit ends, or a hundred a row where that is more.
const MOST_ITERATIONS: u64 = 10_000_000;

/// How to fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The share of the total weight that may lie outside, and the least share that becomes support
    /// vectors: above 0, up to 1.
    pub nu: f64,
    /// The kernel is exp(-gamma |x - y|²).
    pub gamma: f64,
    /// The fit ends when no pair of rows breaks the optimality conditions by more than this. It is
    /// on the scale of the decision function, which grows with the sum of the weights.
    pub tolerance: f64,
}

/// How a fit went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Pairs of coefficients that were optimised.
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
    /// What is taken off the kernel sum: the decision is 0 on the border.
    pub rho: f64,
    /// The rows with a coefficient, `[support vectors, width]`.
    pub support: Vec<f32>,
    /// The coefficients, `[support vectors]`. They add up to nu times the sum of the weights.
    pub coefficients: Vec<f64>,
}

impl OneClassSvm {
    /// Fits to `values` `[rows, width]`. `weights` `[rows]` say how much each row counts: a row of
    /// weight 2 counts as two equal rows, a row of weight 0 takes no part. All rows count 1 where
    /// `weights` is absent. The result does not depend on the number of threads.
    ///
    /// # Errors
    ///
    /// Where there is nothing to fit to, where a shape, a value, a weight or a setting makes no
    /// sense.
    pub fn fit(
        values: &[f32],
        width: usize,
        weights: Option<&[f32]>,
        settings: Settings,
    ) -> Result<(Self, Fit), String> {
        fit_with_cache(values, width, weights, settings, CACHE_BYTES)
    }

    /// The signed distance from the border of each row of `values` `[rows, width]`, positive
    /// inside: Σ αᵢ K(xᵢ, x) - rho, on the scale of scikit-learn's `decision_function`. A row with
    /// a value that is not a number gets one that is not a number.
    ///
    /// # Panics
    ///
    /// Where the length of `values` is no multiple of the width.
    pub fn decision(&self, values: &[f32]) -> Vec<f64> {
        assert!(
            self.width > 0 && values.len().is_multiple_of(self.width),
            "{} values do not make rows of {}",
            values.len(),
            self.width
        );
        let points: Vec<f64> = self.support.iter().copied().map(f64::from).collect();
        let table =
            Table::new(values, self.width, &(0..values.len() / self.width).collect::<Vec<_>>());
        let mut sums = table.kernel_sums(&points, &self.coefficients, self.gamma, |kernel| kernel);
        sums.iter_mut().for_each(|sum| *sum -= self.rho);
        sums.truncate(table.rows);
        sums
    }
}

/// `OneClassSvm::fit` with so many bytes for kernel rows.
fn fit_with_cache(
    values: &[f32],
    width: usize,
    weights: Option<&[f32]>,
    settings: Settings,
    cache_bytes: usize,
) -> Result<(OneClassSvm, Fit), String> {
    let Settings { nu, gamma, tolerance } = settings;
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
    let table = Table::new(values, width, &kept);

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
    let fit = Fit { iterations, converged, support: coefficients.len() };
    Ok((OneClassSvm { gamma, width, rho, support, coefficients }, fit))
}

/// Rows laid out for the kernel: `[tiles, width, LANES]`, so that one column of `LANES` rows is
/// contiguous.
struct Table {
    rows: usize,
    width: usize,
    tiles: Vec<f32>,
}

impl Table {
    /// The rows of `values` `[.., width]` that `kept` names. The last tile is filled up with zeros.
    fn new(values: &[f32], width: usize, kept: &[usize]) -> Self {
        let mut tiles = vec![0.0; kept.len().div_ceil(LANES) * LANES * width];
        for (tile, rows) in tiles.chunks_exact_mut(LANES * width).zip(kept.chunks(LANES)) {
            for (lane, &row) in rows.iter().enumerate() {
                for (column, &value) in values[row * width..][..width].iter().enumerate() {
                    tile[column * LANES + lane] = value;
                }
            }
        }
        Self { rows: kept.len(), width, tiles }
    }

    /// The number of rows with those that fill up the last tile.
    fn padded(&self) -> usize {
        self.tiles.len() / self.width
    }

    fn row(&self, row: usize) -> Vec<f64> {
        let tile = &self.tiles[row / LANES * LANES * self.width..][..LANES * self.width];
        tile.iter().skip(row % LANES).step_by(LANES).copied().map(f64::from).collect()
    }

    /// The kernel between `point` and all rows, `[padded rows]`, computed in double precision and
    /// rounded once.
    fn kernel_row(&self, point: &[f64], gamma: f64, out: &mut [f32]) {
        let fill = |(out, tiles): (&mut [f32], &[f32])| {
            let mut strip = [0.0; STRIP];
            for (out, tiles) in out.chunks_mut(STRIP).zip(tiles.chunks(STRIP * self.width)) {
                let strip = &mut strip[..out.len()];
                kernels(tiles, point, gamma, strip);
                for (out, kernel) in out.iter_mut().zip(strip) {
                    *out = *kernel as f32;
                }
            }
        };
        if self.tiles.len() < PARALLEL {
            fill((out, &self.tiles));
        } else {
            // A few large pieces: every one costs a hand-over between threads.
            let piece = PARALLEL / 2 / self.width / LANES * LANES + LANES;
            out.par_chunks_mut(piece).zip(self.tiles.par_chunks(piece * self.width)).for_each(fill);
        }
    }

    /// Σ coefficient · round(K(point, row)) over `points` `[coefficients, width]`, for each row,
    /// `[padded rows]`.
    fn kernel_sums(
        &self,
        points: &[f64],
        coefficients: &[f64],
        gamma: f64,
        round: impl Fn(f64) -> f64 + Sync,
    ) -> Vec<f64> {
        let mut sums = vec![0.0; self.padded()];
        // A strip stays in the fastest memory while all points pass by.
        sums.par_chunks_mut(STRIP).zip(self.tiles.par_chunks(STRIP * self.width)).for_each(
            |(sums, tiles)| {
                let mut strip = [0.0; STRIP];
                let strip = &mut strip[..sums.len()];
                for (point, coefficient) in points.chunks_exact(self.width).zip(coefficients) {
                    kernels(tiles, point, gamma, strip);
                    for (sum, kernel) in sums.iter_mut().zip(&*strip) {
                        *sum += coefficient * round(*kernel);
                    }
                }
            },
        );
        sums
    }
}

/// The kernel between `point` `[width]` and the rows of some tiles, `[out]`. Distances are summed
/// from differences: norms and products would lose the digits of rows that are close together and
/// far from zero.
fn kernels(tiles: &[f32], point: &[f64], gamma: f64, out: &mut [f64]) {
    for (out, tile) in
        out.as_chunks_mut::<LANES>().0.iter_mut().zip(tiles.chunks_exact(LANES * point.len()))
    {
        let mut distance = [0.0; LANES];
        for (column, &at) in tile.as_chunks::<LANES>().0.iter().zip(point) {
            for (distance, &value) in distance.iter_mut().zip(column) {
                let difference = f64::from(value) - at;
                *distance += difference * difference;
            }
        }
        *out = distance;
    }
    for out in out {
        *out = exp(-gamma * *out);
    }
}

/// eˣ for x ≤ 0 to about 1e-14 relative, 0 below e⁻¹⁰⁴: 2ⁿ · eʸ with |y| ≤ ½ ln 2 and the Taylor
/// series of eʸ to the eleventh power. It has no branches and no calls, so that the compiler can do
/// several at once.
#[inline(always)]
fn exp(x: f64) -> f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2⁵²: adding it rounds to a whole number
    // Single precision has nothing but 0 from here on.
    const LEAST: f64 = -104.0;
    let within = if x < LEAST { LEAST } else { x };
    let shifted = within * std::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, so that the difference keeps its digits.
    let y = (within - n * 0.693_147_180_369_123_8) - n * 1.908_214_929_270_587_7e-10;
    let mut series = 1.0 / 39_916_800.0;
    for factor in
        [3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0]
    {
        series = series * y + 1.0 / factor;
    }
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0_f64.to_bits()));
    if x < LEAST { 0.0 } else { series * power }
}

/// Kernel rows that were used lately.
struct Cache {
    capacity: usize,
    /// The slot that holds a row.
    slot: Vec<Option<usize>>,
    /// What each slot holds: the row, when it was last asked for, and its kernel.
    slots: Vec<(usize, u64, Vec<f32>)>,
    clock: u64,
}

impl Cache {
    fn new(rows: usize, bytes: usize) -> Self {
        // Two rows are in use at a time.
        let capacity = (bytes / (rows * size_of::<f32>())).max(2);
        Self { capacity, slot: vec![None; rows], slots: Vec::new(), clock: 0 }
    }

    /// The slot with the kernel of `row`. The slot of the call before stays as it is.
    fn get(&mut self, table: &Table, row: usize, gamma: f64) -> usize {
        self.clock += 1;
        if let Some(slot) = self.slot[row] {
            self.slots[slot].1 = self.clock;
            return slot;
        }
        let slot = if self.slots.len() < self.capacity {
            self.slots.push((row, self.clock, vec![0.0; table.padded()]));
            self.slots.len() - 1
        } else {
            let oldest = (0..self.slots.len()).min_by_key(|&slot| self.slots[slot].1).unwrap_or(0);
            self.slot[self.slots[oldest].0] = None;
            oldest
        };
        let (holds, used, kernel) = &mut self.slots[slot];
        (*holds, *used) = (row, self.clock);
        table.kernel_row(&table.row(row), gamma, kernel);
        self.slot[row] = Some(slot);
        slot
    }
}

/// The state of the optimisation. Vectors of `[padded rows]` have no meaning behind the last row.
struct Solver<'a> {
    table: &'a Table,
    gamma: f64,
    /// The most each coefficient may be, `[rows]`.
    bounds: Vec<f64>,
    /// The coefficients, `[rows]`.
    alpha: Vec<f64>,
    /// Kα, `[padded rows]`.
    gradient: Vec<f64>,
    /// Infinite where the coefficient cannot grow, else 0, `[padded rows]`.
    full: Vec<f64>,
    /// The rows whose coefficient can shrink, in no order.
    filled: Vec<usize>,
    /// The place in `filled` of each row, `[rows]`.
    place: Vec<Option<usize>>,
    /// The smallest gradient of each block among the rows whose coefficient can grow.
    lowest: Vec<f64>,
    cache: Cache,
}

impl<'a> Solver<'a> {
    /// Starts where the first rows have all they can hold, until the sum is spent.
    fn new(table: &'a Table, bounds: Vec<f64>, nu: f64, gamma: f64, cache_bytes: usize) -> Self {
        let (rows, padded) = (table.rows, table.padded());
        let mut left: f64 = bounds.iter().map(|bound| nu * bound).sum();
        let mut alpha = vec![0.0; rows];
        for (alpha, bound) in alpha.iter_mut().zip(&bounds) {
            *alpha = bound.min(left);
            left -= *alpha;
        }
        let filled: Vec<usize> = (0..rows).filter(|&row| alpha[row] > 0.0).collect();
        let points: Vec<f64> = filled.iter().flat_map(|&row| table.row(row)).collect();
        let coefficients: Vec<f64> = filled.iter().map(|&row| alpha[row]).collect();
        // Rounded as the kernel rows are, so that the gradient stays that of one matrix.
        let gradient =
            table.kernel_sums(&points, &coefficients, gamma, |kernel| f64::from(kernel as f32));
        let mut full = vec![f64::INFINITY; padded];
        let mut place = vec![None; rows];
        for row in 0..rows {
            if alpha[row] < bounds[row] {
                full[row] = 0.0;
            }
        }
        for (at, &row) in filled.iter().enumerate() {
            place[row] = Some(at);
        }
        let lowest = gradient
            .chunks(BLOCK)
            .zip(full.chunks(BLOCK))
            .map(|(gradient, full)| least(gradient, full))
            .collect();
        let cache = Cache::new(padded, cache_bytes);
        Self { table, gamma, bounds, alpha, gradient, full, filled, place, lowest, cache }
    }

    /// Optimises pairs until none breaks the conditions by more than `tolerance`. Returns the
    /// iterations and whether it got there.
    fn run(&mut self, tolerance: f64) -> (u64, bool) {
        let most = MOST_ITERATIONS.max(100 * self.table.rows as u64);
        for iteration in 0..most {
            // Every coefficient is as large as it can be: there is nothing to choose.
            let Some(grows) = self.to_grow() else { return (iteration, true) };
            let grows_slot = self.cache.get(self.table, grows, self.gamma);
            let (violation, shrinks) = self.to_shrink(grows, grows_slot);
            let Some(shrinks) = shrinks.filter(|_| violation >= tolerance) else {
                return (iteration, true);
            };
            let shrinks_slot = self.cache.get(self.table, shrinks, self.gamma);
            if !self.shift(grows, grows_slot, shrinks, shrinks_slot) {
                // The step is lost in rounding, and would be again.
                return (iteration, false);
            }
        }
        (most, false)
    }

    /// The row with the smallest gradient among those whose coefficient can grow. The last of
    /// equals.
    fn to_grow(&self) -> Option<usize> {
        let (block, &lowest) =
            self.lowest.iter().enumerate().rev().min_by(|a, b| a.1.total_cmp(b.1))?;
        if lowest == f64::INFINITY {
            return None;
        }
        let end = ((block + 1) * BLOCK).min(self.gradient.len());
        (block * BLOCK..end).rev().find(|&row| self.gradient[row] + self.full[row] == lowest)
    }

    /// The largest violation that `grows` is part of, and the row, among those whose coefficient
    /// can shrink, with which shifting weight promises to lower the objective most: by the
    /// second-order rule of Fan, Chen and Lin, "Working set selection using second order
    /// information for training support vector machines", JMLR 6 (2005) 1889. The last of equals.
    fn to_shrink(&self, grows: usize, grows_slot: usize) -> (f64, Option<usize>) {
        let kernel = &self.cache.slots[grows_slot].2;
        let low = self.gradient[grows];
        let (mut violation, mut best_gain, mut best) = (0.0_f64, 0.0, None);
        for &row in &self.filled {
            let slope = self.gradient[row] - low;
            if slope > 0.0 {
                violation = violation.max(slope);
                let gain = slope * slope / curvature(kernel[row]);
                if gain > best_gain || (gain == best_gain && Some(row) > best) {
                    (best_gain, best) = (gain, Some(row));
                }
            }
        }
        (violation, best)
    }

    /// Moves weight from one row to another, to the minimum along that line or as far as the bounds
    /// let it. Returns whether anything changed.
    fn shift(
        &mut self,
        grows: usize,
        grows_slot: usize,
        shrinks: usize,
        shrinks_slot: usize,
    ) -> bool {
        let (grows_kernel, shrinks_kernel) =
            (&self.cache.slots[grows_slot].2, &self.cache.slots[shrinks_slot].2);
        let slope = self.gradient[shrinks] - self.gradient[grows];
        let (before, stock, bound) = (self.alpha[grows], self.alpha[shrinks], self.bounds[grows]);
        let step = slope / curvature(grows_kernel[shrinks]);
        let (mut grown, mut shrunk) = (before + step, stock - step);
        // The nearer of the two bounds is met exactly, and the sum kept.
        let sum = before + stock;
        if sum > bound {
            if grown > bound {
                (grown, shrunk) = (bound, sum - bound);
            }
        } else if shrunk < 0.0 {
            (grown, shrunk) = (sum, 0.0);
        }
        let (added, taken) = (grown - before, stock - shrunk);
        if added == 0.0 && taken == 0.0 {
            return false;
        }
        self.alpha[grows] = grown;
        self.alpha[shrinks] = shrunk;
        self.full[grows] = if grown < bound { 0.0 } else { f64::INFINITY };
        self.full[shrinks] = if shrunk < self.bounds[shrinks] { 0.0 } else { f64::INFINITY };
        if grown > 0.0 && self.place[grows].is_none() {
            self.place[grows] = Some(self.filled.len());
            self.filled.push(grows);
        }
        if shrunk == 0.0
            && let Some(at) = self.place[shrinks].take()
        {
            self.filled.swap_remove(at);
            if let Some(&moved) = self.filled.get(at) {
                self.place[moved] = Some(at);
            }
        }

        let blocks =
            self.gradient.chunks_mut(BLOCK).zip(self.full.chunks(BLOCK)).zip(&mut self.lowest);
        let kernels = grows_kernel.chunks(BLOCK).zip(shrinks_kernel.chunks(BLOCK));
        for (((gradient, full), lowest), (grows, shrinks)) in blocks.zip(kernels) {
            for ((gradient, &grows), &shrinks) in gradient.iter_mut().zip(grows).zip(shrinks) {
                *gradient += f64::from(grows) * added - f64::from(shrinks) * taken;
            }
            *lowest = least(gradient, full);
        }
        true
    }

    /// The gradient on the border: the mean over the rows between their bounds. Where there are
    /// none, the middle between the rows that are full and those that are empty, which lie on the
    /// two sides of it; without empty rows, the largest gradient.
    fn rho(&self) -> f64 {
        let (mut sum, mut free) = (0.0, 0_u64);
        let (mut above, mut below) = (f64::INFINITY, f64::NEG_INFINITY);
        for ((&alpha, &bound), &gradient) in self.alpha.iter().zip(&self.bounds).zip(&self.gradient)
        {
            if alpha <= 0.0 {
                above = above.min(gradient);
            } else if alpha >= bound {
                below = below.max(gradient);
            } else {
                sum += gradient;
                free += 1;
            }
        }
        match free {
            0 if above == f64::INFINITY => below,
            0 if below == f64::NEG_INFINITY => above,
            0 => (above + below) / 2.0,
            _ => sum / free as f64,
        }
    }
}

/// The second derivative of the objective along a shift of weight between two rows with this
/// kernel.
#[inline(always)]
fn curvature(kernel: f32) -> f64 {
    (2.0 - 2.0 * f64::from(kernel)).max(FLAT)
}

/// The smallest gradient among rows that are not full, infinite where all are.
fn least(gradient: &[f64], full: &[f64]) -> f64 {
    let mut least = [f64::INFINITY; LANES];
    for (gradient, full) in gradient.as_chunks::<LANES>().0.iter().zip(full.as_chunks::<LANES>().0)
    {
        for ((least, gradient), full) in least.iter_mut().zip(gradient).zip(full) {
            let value = gradient + full;
            *least = if value < *least { value } else { *least };
        }
    }
    least.into_iter().fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between 0 and 1 that repeat after `period` rows.
    fn table(rows: usize, width: usize, period: usize) -> Vec<f32> {
        (0..rows * width)
            .map(|at| (at / width % period, at % width))
            .map(|(r, c)| ((r * 37 + c * 101 + r * r * c * 17) % 97) as f32 / 97.0)
            .collect()
    }

    fn weights(rows: usize) -> Vec<f32> {
        (0..rows).map(|row| (row * 13 % 7) as f32 / 4.0).collect()
    }

    fn settings(nu: f64, gamma: f64, tolerance: f64) -> Settings {
        Settings { nu, gamma, tolerance }
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
            let table = Table::new(&table(rows, width, 40), width, &(0..rows).collect::<Vec<_>>());
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
