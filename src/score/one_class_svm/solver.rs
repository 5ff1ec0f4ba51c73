//! Sequential minimal optimisation.

use super::kernel::{KernelTable, LANES};

/// Rows in one block of the passes over the gradient, a multiple of `LANES`.
const BLOCK: usize = 1024;

/// Replaces a zero curvature along a pair of rows, as between equal rows.
const FLAT: f64 = 1e-12;

/// Maximum number of iterations, or a hundred per row if that is more.
const MOST_ITERATIONS: u64 = 10_000_000;

/// Cache of recently used kernel rows.
struct Cache {
    capacity: usize,
    /// The slot that holds a row.
    slot: Vec<Option<usize>>,
    /// The contents of each slot: the row, the time of its last use, and its kernel.
    slots: Vec<(usize, u64, Vec<f32>)>,
    clock: u64,
}

impl Cache {
    fn new(rows: usize, bytes: usize) -> Self {
        // Two rows are in use at a time.
        let capacity = (bytes / (rows * size_of::<f32>())).max(2);
        Self { capacity, slot: vec![None; rows], slots: Vec::new(), clock: 0 }
    }

    /// The slot with the kernel of `row`. The slot of the previous call is not replaced.
    fn get(&mut self, table: &KernelTable, row: usize, gamma: f64) -> usize {
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

/// The state of the optimisation. Vectors of `[padded rows]` have no meaning after the last row.
pub(super) struct Solver<'a> {
    pub(super) table: &'a KernelTable,
    pub(super) gamma: f64,
    /// The upper bound of each coefficient, `[rows]`.
    pub(super) bounds: Vec<f64>,
    /// The coefficients, `[rows]`.
    pub(super) alpha: Vec<f64>,
    /// Kα, `[padded rows]`.
    pub(super) gradient: Vec<f64>,
    /// Infinite if the coefficient cannot grow, else 0, `[padded rows]`.
    pub(super) full: Vec<f64>,
    /// The rows whose coefficient can shrink, unordered.
    pub(super) filled: Vec<usize>,
    /// The position in `filled` of each row, `[rows]`.
    pub(super) place: Vec<Option<usize>>,
    /// The smallest gradient of each block among the rows whose coefficient can grow.
    pub(super) lowest: Vec<f64>,
    cache: Cache,
}

impl<'a> Solver<'a> {
    /// The initial state: the first rows are at their bounds until the sum is reached.
    pub(super) fn new(
        table: &'a KernelTable,
        bounds: Vec<f64>,
        nu: f64,
        gamma: f64,
        cache_bytes: usize,
    ) -> Self {
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
        // Rounded like the kernel rows, so that the gradient belongs to the same matrix.
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

    /// Optimises pairs until none violates the conditions by more than `tolerance`. Returns the
    /// number of iterations and whether it converged.
    pub(super) fn run(&mut self, tolerance: f64) -> (u64, bool) {
        let most = MOST_ITERATIONS.max(100 * self.table.rows as u64);
        for iteration in 0..most {
            // Every coefficient is at its bound: there is nothing to optimise.
            let Some(grows) = self.to_grow() else { return (iteration, true) };
            let grows_slot = self.cache.get(self.table, grows, self.gamma);
            let (violation, shrinks) = self.to_shrink(grows, grows_slot);
            let Some(shrinks) = shrinks.filter(|_| violation >= tolerance) else {
                return (iteration, true);
            };
            let shrinks_slot = self.cache.get(self.table, shrinks, self.gamma);
            if !self.shift(grows, grows_slot, shrinks, shrinks_slot) {
                // The step is lost in rounding; so would be all further ones.
                return (iteration, false);
            }
        }
        (most, false)
    }

    /// The row with the smallest gradient among those whose coefficient can grow; the last one of
    /// ties.
    pub(super) fn to_grow(&self) -> Option<usize> {
        let (block, &lowest) =
            self.lowest.iter().enumerate().rev().min_by(|a, b| a.1.total_cmp(b.1))?;
        if lowest == f64::INFINITY {
            return None;
        }
        let end = ((block + 1) * BLOCK).min(self.gradient.len());
        (block * BLOCK..end).rev().find(|&row| self.gradient[row] + self.full[row] == lowest)
    }

    /// The largest violation that includes `grows`, and the row, among those whose coefficient can
    /// shrink, for which shifting weight reduces the objective most: by the second-order rule of
    /// Fan, Chen and Lin, "Working set selection using second order information for training
    /// support vector machines", JMLR 6 (2005) 1889. The last one of ties.
    pub(super) fn to_shrink(&self, grows: usize, grows_slot: usize) -> (f64, Option<usize>) {
        let kernel = &self.cache.slots[grows_slot].2;
        let low = self.gradient[grows];
        let (mut violation, mut best_gain, mut best) = (0.0_f64, 0.0, None);
        for &row in &self.filled {
            let slope = self.gradient[row] - low;
            if slope > 0.0 {
                violation = violation.max(slope);
                let gain = slope * slope / second_derivative(kernel[row]);
                if gain > best_gain || (gain == best_gain && Some(row) > best) {
                    (best_gain, best) = (gain, Some(row));
                }
            }
        }
        (violation, best)
    }

    /// Moves weight from one row to another, to the minimum along that line or to a bound. Returns
    /// whether anything changed.
    pub(super) fn shift(
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
        let step = slope / second_derivative(grows_kernel[shrinks]);
        let (mut grown, mut shrunk) = (before + step, stock - step);
        // The nearer of the two bounds is reached exactly, and the sum is preserved.
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

    /// The gradient on the border: the mean over the rows between their bounds. Without such rows,
    /// the middle between the rows at their upper and at their lower bounds; without rows at the
    /// lower bound, the largest gradient.
    pub(super) fn rho(&self) -> f64 {
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
fn second_derivative(kernel: f32) -> f64 {
    (2.0 - 2.0 * f64::from(kernel)).max(FLAT)
}

/// The smallest gradient among rows that are not full; infinite if all are.
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
