//! Radial kernels between rows, in tiles.

use rayon::prelude::*;

/// Rows per tile, computed in parallel lanes.
pub(super) const LANES: usize = 8;

/// Rows whose kernels are computed at a time, a multiple of `LANES`.
pub(super) const STRIP: usize = 128;

/// Size of a table (numbers) from which a kernel row is computed by several threads.
pub(super) const PARALLEL: usize = 1 << 17;

/// Rows laid out for the kernel: `[tiles, width, LANES]`, so that one column of `LANES` rows is
/// contiguous.
pub(super) struct KernelTable {
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) tiles: Vec<f32>,
}

impl KernelTable {
    /// The rows `kept` of `values` `[.., width]`. The last tile is padded with zeros.
    pub(super) fn new(values: &[f32], width: usize, kept: &[usize]) -> Self {
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

    /// The number of rows including the padding of the last tile.
    pub(super) fn padded(&self) -> usize {
        self.tiles.len() / self.width
    }

    pub(super) fn row(&self, row: usize) -> Vec<f64> {
        let tile = &self.tiles[row / LANES * LANES * self.width..][..LANES * self.width];
        tile.iter().skip(row % LANES).step_by(LANES).copied().map(f64::from).collect()
    }

    /// The kernel between `point` and all rows, `[padded rows]`, computed in double precision and
    /// rounded once.
    pub(super) fn kernel_row(&self, point: &[f64], gamma: f64, out: &mut [f32]) {
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
            // A few large pieces, because each costs a hand-over between threads.
            let piece = PARALLEL / 2 / self.width / LANES * LANES + LANES;
            out.par_chunks_mut(piece).zip(self.tiles.par_chunks(piece * self.width)).for_each(fill);
        }
    }

    /// Σ coefficient · round(K(point, row)) over `points` `[coefficients, width]`, for each row,
    /// `[padded rows]`.
    pub(super) fn kernel_sums(
        &self,
        points: &[f64],
        coefficients: &[f64],
        gamma: f64,
        round: impl Fn(f64) -> f64 + Sync,
    ) -> Vec<f64> {
        let mut sums = vec![0.0; self.padded()];
        // A strip stays in the cache for all points.
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
/// from differences: with norms and products, rows that are close together and far from zero would
/// lose digits.
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
/// series of eʸ to the eleventh power. It has no branches and no calls, so that the compiler can
/// vectorise it.
#[inline(always)]
fn exp(x: f64) -> f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2⁵²: adding it rounds to a whole number
    // Below this, the result is 0 in single precision.
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
