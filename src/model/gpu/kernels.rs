//! GPU kernels for dense layers. One launch trains every member of a pack over many batches, one
//! block per member.
//!
//! For networks of this size, launch overhead dominates; here there is one launch per epoch. The
//! threads of a block share the work of a layer and synchronise between layers; the values between
//! layers stay in the cache. All numbers are single precision: tensor cores, which round to ten
//! bits, are not used.
#![allow(
    unsafe_code,
    reason = "buffers are handed to kernels with their lengths, which only the caller knows"
)]
#![allow(missing_docs, reason = "the launchers are written by a macro")]

use crate::{config::model::Activation, model::architecture::Architecture};
use cubecl::prelude::*;

/// Update rule of the optimizer; its numbers are passed with each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpdateRule {
    Adam,
    Sgd,
    Adadelta,
    RmsProp,
}

/// The distance of input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distance {
    Square,
    Absolute,
    Smooth,
}

/// Compilation parameters of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelPlan {
    /// Width of each layer, the inputs first.
    pub widths: Vec<usize>,
    /// The activation of each layer.
    pub kinds: Vec<Activation>,
    /// Rows computed at a time.
    pub batch: usize,
    /// Threads per block.
    pub units: usize,
    pub rule: UpdateRule,
    pub distance: Distance,
    /// Whether distances are sums over the features, not means.
    pub sum: bool,
    /// Whether rows have weights.
    pub weighted: bool,
}

/// Rows per thread at a time: each fetched weight is used for all of them.
const TILE: usize = 4;

impl KernelPlan {
    /// Whether the kernels support the activations of a network. The derivatives of GELU and PReLU
    /// need the inputs of the activation, which are not kept.
    pub fn knows(architecture: &Architecture) -> bool {
        !architecture
            .activations
            .iter()
            .any(|kind| [Activation::Gelu, Activation::Prelu].contains(kind))
    }

    pub fn layers(&self) -> usize {
        self.kinds.len()
    }

    /// Offset of a layer's weights in the flat parameters; for the index after the last layer, the
    /// total number.
    pub fn weight_at(&self, layer: usize) -> usize {
        self.widths.windows(2).take(layer).map(|pair| pair[0] * pair[1] + pair[1]).sum()
    }

    /// `batch` rounded up to full tiles.
    pub fn padded(&self) -> usize {
        self.batch.next_multiple_of(TILE)
    }

    /// Loop iterations of a thread for one batch: (forward, forward and backward).
    pub fn loops(&self) -> (usize, usize) {
        let tiles = self.padded() / TILE;
        let each = |items: usize, times: usize| items.div_ceil(self.units) * (times + 1);
        let (mut forward, mut backward) = (
            2 * each(self.padded() * self.widths[0], 0) + 1,
            each(self.batch * self.widths[0], 0) + 1,
        );
        for pair in self.widths.windows(2) {
            forward += each(tiles * pair[1], pair[0]);
            backward += each(tiles * pair[0], pair[1])
                + each(pair[0].div_ceil(TILE) * pair[1], self.batch)
                + each(pair[1], self.batch);
        }
        let out = self.widths[self.layers()];
        (forward + each(self.batch * out, 0) + each(self.batch, out), forward + backward)
    }

    /// Offset of the values of a layer (0: the inputs) in a block's buffer; for the index after the
    /// last layer, the length of the buffer.
    pub fn value_at(&self, layer: usize) -> usize {
        // Threads that compute several columns at a time read slightly beyond the last.
        self.padded() * self.widths[..layer].iter().sum::<usize>()
            + if layer == self.widths.len() { TILE } else { 0 }
    }
}

#[cube]
fn activate(x: f32, #[comptime] kind: Activation) -> f32 {
    if comptime!(kind == Activation::Relu) {
        // Not max(x, 0), which maps NaN to 0 and so hides a diverging training.
        select(x < 0.0, 0.0, x)
    } else if comptime!(kind == Activation::Sigmoid) {
        1.0 / (1.0 + (-x).exp())
    } else if comptime!(kind == Activation::Tanh) {
        x.tanh()
    } else if comptime!(kind == Activation::LeakyRelu) {
        select(x < 0.0, 0.01 * x, x)
    } else if comptime!(kind == Activation::Elu) {
        select(x < 0.0, x.exp() - 1.0, x)
    } else if comptime!(kind == Activation::Selu) {
        1.050_701 * select(x < 0.0, 1.673_263_2 * (x.exp() - 1.0), x)
    } else {
        x
    }
}

/// The derivative of an activation, computed from its output.
#[cube]
fn slope(y: f32, #[comptime] kind: Activation) -> f32 {
    if comptime!(kind == Activation::Relu) {
        select(y > 0.0, 1.0, 0.0)
    } else if comptime!(kind == Activation::Sigmoid) {
        y * (1.0 - y)
    } else if comptime!(kind == Activation::Tanh) {
        1.0 - y * y
    } else if comptime!(kind == Activation::LeakyRelu) {
        select(y < 0.0, 0.01, 1.0)
    } else if comptime!(kind == Activation::Elu) {
        select(y < 0.0, y + 1.0, 1.0)
    } else if comptime!(kind == Activation::Selu) {
        select(y < 0.0, y + 1.758_099_4, 1.050_701)
    } else {
        f32::new(1.0)
    }
}

/// Computes all layers for the inputs at `values`.
#[cube]
fn through(
    scratch: &mut [f32],
    state: &mut [f32],
    parameters: usize,
    values: usize,
    #[comptime] plan: KernelPlan,
) {
    #[unroll]
    for l in 0..comptime!(plan.layers()) {
        let (iw, ow) = comptime!((plan.widths[l], plan.widths[l + 1]));
        let kind = comptime!(plan.kinds[l]);
        let weight = parameters + comptime!(plan.weight_at(l));
        let bias = weight + comptime!(plan.widths[l] * plan.widths[l + 1]);
        let from = values + comptime!(plan.value_at(l));
        let to = values + comptime!(plan.value_at(l + 1));
        let mut j = UNIT_POS as usize;
        while j < comptime!(plan.padded() / TILE * plan.widths[l + 1]) {
            let row = j / ow * TILE;
            let o = j % ow;
            let mut sum0 = state[bias + o];
            let mut sum1 = sum0;
            let mut sum2 = sum0;
            let mut sum3 = sum0;
            let at = from + row * iw;
            for i in 0..iw {
                let w = state[weight + i * ow + o];
                sum0 += scratch[at + i] * w;
                sum1 += scratch[at + iw + i] * w;
                sum2 += scratch[at + 2 * iw + i] * w;
                sum3 += scratch[at + 3 * iw + i] * w;
            }
            let out = to + row * ow + o;
            scratch[out] = activate(sum0, kind);
            scratch[out + ow] = activate(sum1, kind);
            scratch[out + 2 * ow] = activate(sum2, kind);
            scratch[out + 3 * ow] = activate(sum3, kind);
            j += comptime!(plan.units);
        }
        sync_storage();
    }
}

/// The distance of one input and output.
#[cube]
fn distance(e: f32, beta: f32, #[comptime] kind: Distance) -> f32 {
    if comptime!(kind == Distance::Square) {
        e * e
    } else if comptime!(kind == Distance::Absolute) {
        e.abs()
    } else {
        let a = e.abs();
        select(a < beta, 0.5 * e * e / beta, a - 0.5 * beta)
    }
}

/// The derivative of the distance.
#[cube]
fn pull(e: f32, beta: f32, #[comptime] kind: Distance) -> f32 {
    if comptime!(kind == Distance::Square) {
        2.0 * e
    } else if comptime!(kind == Distance::Absolute) {
        let below = select(e < 0.0, f32::new(-1.0), f32::new(0.0));
        select(e > 0.0, 1.0, below)
    } else {
        let line = select(e > 0.0, f32::new(1.0), f32::new(-1.0));
        select(e.abs() < beta, e / beta, line)
    }
}

/// Numbers per step of a member: those of `train::optimizer`, one over the sum of row weights (0 if
/// the batch is skipped), and the factors of the activity and L2 terms.
pub const NUMBERS: usize = 9;

/// Updates one parameter.
#[cube]
fn update(
    state: &mut [f32],
    at: usize,
    gradient: f32,
    numbers: &[f32],
    from: usize,
    #[comptime] parameters: usize,
    #[comptime] rule: UpdateRule,
) {
    let first = at + parameters;
    let second = at + 2 * parameters;
    let rate = numbers[from];
    let epsilon = numbers[from + 4];
    let w = state[at];
    if comptime!(rule == UpdateRule::Adam) {
        let m = state[first] + numbers[from + 2] * (gradient - state[first]);
        let v = state[second] + numbers[from + 3] * (gradient * gradient - state[second]);
        state[first] = m;
        state[second] = v;
        state[at] = w * numbers[from + 5] - rate * (m / (v.sqrt() + epsilon));
    } else if comptime!(rule == UpdateRule::Sgd) {
        let m = numbers[from + 1] * state[first] + gradient;
        state[first] = m;
        state[at] = w - rate * m;
    } else if comptime!(rule == UpdateRule::Adadelta) {
        let v = state[second] + numbers[from + 3] * (gradient * gradient - state[second]);
        let m = state[first];
        let step = ((m + epsilon) / (v + epsilon)).sqrt() * gradient;
        state[first] = m + numbers[from + 3] * (step * step - m);
        state[second] = v;
        state[at] = w - rate * step;
    } else {
        let v = state[second] + numbers[from + 3] * (gradient * gradient - state[second]);
        state[second] = v;
        state[at] = w - rate * (gradient / (v.sqrt() + epsilon));
    }
}

/// Trains each member over some batches, one block per member.
///
/// `table` holds the rows `[samples, width]`, `weights` their weights, `order` each member's order
/// of rows (`stride` apart; 0 if all members share one). `numbers` is `[members, batches,
/// NUMBERS]`, `state` `[members, 3 · parameters]` (parameters, first and second moment), `scratch`
/// `[members, 2 · values]`. The loss is added to `loss`, `[members]`. The first batch begins at
/// position `first`.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub fn train(
    table: &[f32],
    weights: &[f32],
    order: &[u32],
    numbers: &[f32],
    state: &mut [f32],
    scratch: &mut [f32],
    loss: &mut [f32],
    stride: u32,
    first: u32,
    samples: u32,
    batches: u32,
    beta: f32,
    #[comptime] plan: KernelPlan,
) {
    let unit = UNIT_POS as usize;
    let member = CUBE_POS;
    let width = comptime!(plan.widths[0]);
    let units = comptime!(plan.units);
    let layers = comptime!(plan.layers());
    let p0 = member * comptime!(3 * plan.weight_at(plan.layers()));
    let v0 = member * comptime!(2 * plan.value_at(plan.widths.len()));
    let d0 = v0 + comptime!(plan.value_at(plan.widths.len()));
    let order0 = member * stride as usize;
    let mut partial = f32::new(0.0);
    for k in 0..batches as usize {
        let begin = order0 + first as usize + k * comptime!(plan.batch);
        let rows = min(
            comptime!(plan.batch),
            samples as usize - first as usize - k * comptime!(plan.batch),
        );
        let from = (member * batches as usize + k) * NUMBERS;
        let share = numbers[from + 6];
        let activity = numbers[from + 7];
        let l2 = numbers[from + 8];

        let mut j = unit;
        while j < comptime!(plan.padded() * plan.widths[0]) {
            let row = j / width;
            let mut value = f32::new(0.0);
            if row < rows {
                value = table[order[begin + row] as usize * width + j % width];
            }
            scratch[v0 + j] = value;
            j += units;
        }
        sync_storage();
        through(scratch, state, p0, v0, comptime!(plan.clone()));

        let out = comptime!(plan.value_at(plan.layers()));
        let last = comptime!(plan.kinds[plan.layers() - 1]);
        let divisor = comptime!(if plan.sum { 1.0_f32 } else { plan.widths[0] as f32 });
        let mut j = unit;
        while j < rows * width {
            let mut factor = share / divisor;
            if comptime!(plan.weighted) {
                factor *= weights[order[begin + j / width] as usize];
            }
            let y = scratch[v0 + out + j];
            let e = y - scratch[v0 + j];
            partial += factor * distance(e, beta, comptime!(plan.distance)) * f32::cast_from(rows);
            scratch[d0 + out + j] =
                factor * pull(e, beta, comptime!(plan.distance)) * slope(y, last);
            j += units;
        }
        sync_storage();

        #[unroll]
        for r in 0..layers {
            let l = comptime!(plan.layers() - 1 - r);
            let (iw, ow) = comptime!((plan.widths[l], plan.widths[l + 1]));
            let weight = p0 + comptime!(plan.weight_at(l));
            let below = comptime!(plan.value_at(l));
            let above = d0 + comptime!(plan.value_at(l + 1));
            if comptime!(l > 0) {
                let kind = comptime!(plan.kinds[if l > 0 { l - 1 } else { 0 }]);
                let mut j = unit;
                while j < comptime!(plan.padded() / TILE * plan.widths[l]) {
                    let row = j / iw * TILE;
                    let i = j % iw;
                    let mut sum0 = f32::new(0.0);
                    let mut sum1 = f32::new(0.0);
                    let mut sum2 = f32::new(0.0);
                    let mut sum3 = f32::new(0.0);
                    let at = above + row * ow;
                    for o in 0..ow {
                        let w = state[weight + i * ow + o];
                        sum0 += scratch[at + o] * w;
                        sum1 += scratch[at + ow + o] * w;
                        sum2 += scratch[at + 2 * ow + o] * w;
                        sum3 += scratch[at + 3 * ow + o] * w;
                    }
                    let to = below + row * iw + i;
                    let y0 = scratch[v0 + to];
                    let y1 = scratch[v0 + to + iw];
                    let y2 = scratch[v0 + to + 2 * iw];
                    let y3 = scratch[v0 + to + 3 * iw];
                    if comptime!(l == 1) {
                        sum0 += activity * y0;
                        sum1 += activity * y1;
                        sum2 += activity * y2;
                        sum3 += activity * y3;
                    }
                    scratch[d0 + to] = sum0 * slope(y0, kind);
                    scratch[d0 + to + iw] = sum1 * slope(y1, kind);
                    scratch[d0 + to + 2 * iw] = sum2 * slope(y2, kind);
                    scratch[d0 + to + 3 * iw] = sum3 * slope(y3, kind);
                    j += units;
                }
                // All reads of the layer's weights are done.
                sync_storage();
            }
            if share > 0.0 {
                let parameters = comptime!(plan.weight_at(plan.layers()));
                let rule = comptime!(plan.rule);
                let mut j = unit;
                while j < comptime!(plan.widths[l].div_ceil(TILE) * plan.widths[l + 1]) {
                    let i = j / ow * TILE;
                    let o = j % ow;
                    let mut g0 = f32::new(0.0);
                    let mut g1 = f32::new(0.0);
                    let mut g2 = f32::new(0.0);
                    let mut g3 = f32::new(0.0);
                    for b in 0..rows {
                        let d = scratch[above + b * ow + o];
                        let at = v0 + below + b * iw + i;
                        g0 += d * scratch[at];
                        g1 += d * scratch[at + 1];
                        g2 += d * scratch[at + 2];
                        g3 += d * scratch[at + 3];
                    }
                    let at = weight + i * ow + o;
                    let (at1, at2, at3) = (at + ow, at + 2 * ow, at + 3 * ow);
                    g0 += l2 * state[at];
                    update(state, at, g0, numbers, from, parameters, rule);
                    if i + 1 < iw {
                        g1 += l2 * state[at1];
                        update(state, at1, g1, numbers, from, parameters, rule);
                    }
                    if i + 2 < iw {
                        g2 += l2 * state[at2];
                        update(state, at2, g2, numbers, from, parameters, rule);
                    }
                    if i + 3 < iw {
                        g3 += l2 * state[at3];
                        update(state, at3, g3, numbers, from, parameters, rule);
                    }
                    j += units;
                }
                let mut o = unit;
                while o < ow {
                    let mut g = f32::new(0.0);
                    for b in 0..rows {
                        g += scratch[above + b * ow + o];
                    }
                    update(
                        state,
                        weight + comptime!(plan.widths[l] * plan.widths[l + 1]) + o,
                        g,
                        numbers,
                        from,
                        parameters,
                        rule,
                    );
                    o += units;
                }
            }
        }
        sync_storage();
    }
    let mut sums = Shared::<[f32]>::new_slice(units);
    sums[unit] = partial;
    sync_cube();
    if unit == 0 {
        let mut all = f32::new(0.0);
        for u in 0..units {
            all += sums[u];
        }
        loss[member] += all;
    }
}

/// Computes the layers of each member. `table` is `[samples, width]`, `state` `[members, stride]`,
/// `scratch` `[blocks, values]`, `out` `[members, samples, width of the last layer]`; with
/// `distances`, `out` is the distance of each row, `[members, samples]`.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
pub fn run(
    table: &[f32],
    state: &mut [f32],
    scratch: &mut [f32],
    out: &mut [f32],
    stride: u32,
    samples: u32,
    workers: u32,
    beta: f32,
    #[comptime] plan: KernelPlan,
    #[comptime] distances: bool,
) {
    let unit = UNIT_POS as usize;
    let member = CUBE_POS / workers as usize;
    let worker = CUBE_POS % workers as usize;
    let samples = samples as usize;
    let width = comptime!(plan.widths[0]);
    let out_width = comptime!(plan.widths[plan.layers()]);
    let units = comptime!(plan.units);
    let v0 = CUBE_POS * comptime!(plan.value_at(plan.widths.len()));
    let o0 = v0 + comptime!(plan.value_at(plan.layers()));
    let mut begin = worker * comptime!(plan.batch);
    while begin < samples {
        let rows = min(comptime!(plan.batch), samples - begin);
        let mut j = unit;
        while j < comptime!(plan.padded() * plan.widths[0]) {
            let mut value = f32::new(0.0);
            if j < rows * width {
                value = table[begin * width + j];
            }
            scratch[v0 + j] = value;
            j += units;
        }
        sync_storage();
        through(scratch, state, member * stride as usize, v0, comptime!(plan.clone()));
        if comptime!(distances) {
            let divisor = comptime!(if plan.sum { 1.0_f32 } else { plan.widths[0] as f32 });
            let mut row = unit;
            while row < rows {
                let mut sum = f32::new(0.0);
                for i in 0..width {
                    sum += distance(
                        scratch[o0 + row * width + i] - scratch[v0 + row * width + i],
                        beta,
                        comptime!(plan.distance),
                    );
                }
                out[member * samples + begin + row] = sum / divisor;
                row += units;
            }
        } else {
            let mut j = unit;
            while j < rows * out_width {
                out[(member * samples + begin) * out_width + j] = scratch[o0 + j];
                j += units;
            }
        }
        sync_storage();
        begin += workers as usize * comptime!(plan.batch);
    }
}
