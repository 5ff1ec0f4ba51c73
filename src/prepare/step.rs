//! One step of the scaling: what it learns from rows, and what it does to them.

use crate::{
    config::{data::Fill, scale::ScaleKind},
    statistics::percentile_of_sorted,
};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// One step: per bin `(x - shift) / divisor` where a step has parameters. A divisor of 0 makes the
/// bin 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub kind: ScaleKind,
    /// What is subtracted, one number a bin; empty for steps that learn nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shift: Vec<f64>,
    /// What is divided by, one number a bin; empty for steps that learn nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub divisor: Vec<f64>,
    /// Bins in ascending order whose divisor is a floor, since the rows do not vary there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floored: Vec<u32>,
}

/// Scales one row by all steps, one after the other; what is missing stays missing.
pub(super) fn apply_all(steps: &[Step], row: &mut [f32], layers: &[usize]) {
    let whole = row.iter().fold(true, |whole, value| whole & !value.is_nan());
    let missing: Vec<usize> =
        if whole { vec![] } else { (0..row.len()).filter(|&at| row[at].is_nan()).collect() };
    for step in steps {
        step.apply(row, layers);
        missing.iter().for_each(|&at| row[at] = f32::NAN);
    }
}

/// Numbers that are sorted at once to find percentiles.
const SORTED_AT_ONCE: usize = 1 << 23;

/// What a step is learned from: some columns of rows, after the steps before it, which may go by
/// the layer.
pub(super) struct Seen<'a> {
    pub rows: &'a [&'a [f32]],
    pub columns: Range<usize>,
    pub before: &'a [Step],
    pub layers: &'a [usize],
    /// What is missing counts as 0 with "zero", and not at all otherwise.
    pub fill: Fill,
}

impl Seen<'_> {
    /// Shows each row as the steps before make it, one after the other; NaN is missing.
    pub fn each(&self, visit: &mut dyn FnMut(&[f32])) {
        let mut scaled = vec![];
        for row in self.rows {
            let row = &row[self.columns.clone()];
            if self.before.is_empty() && self.fill != Fill::Zero {
                visit(row);
            } else {
                scaled.clear();
                scaled.extend_from_slice(row);
                if self.fill == Fill::Zero {
                    scaled.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = 0.0);
                }
                apply_all(self.before, &mut scaled, self.layers);
                visit(&scaled);
            }
        }
    }
}

impl Step {
    pub(super) fn new(kind: ScaleKind) -> Self {
        Self { kind, shift: vec![], divisor: vec![], floored: vec![] }
    }

    /// Learns a step. The divisor is 0 where the rows do not vary.
    pub(super) fn fit(kind: ScaleKind, seen: &Seen<'_>) -> Self {
        let (width, rows) = (seen.columns.len(), seen.rows.len());
        let (mut shift, mut divisor) = (vec![], vec![]);
        // How many rows have each column, where they do not all have it.
        let mut present = vec![rows; width];
        if seen.fill != Fill::Reject {
            present.fill(0);
            seen.each(&mut |row| {
                present
                    .iter_mut()
                    .zip(row)
                    .for_each(|(present, value)| *present += usize::from(!value.is_nan()))
            });
        }
        let add = |sum: &mut f64, number: f64| {
            if !number.is_nan() {
                *sum += number;
            }
        };
        match kind {
            ScaleKind::Range | ScaleKind::MinMax => {
                let mut ranges = vec![(f32::INFINITY, f32::NEG_INFINITY); width];
                seen.each(&mut |row| {
                    ranges.iter_mut().zip(row).for_each(|(range, value)| {
                        *range = (range.0.min(*value), range.1.max(*value))
                    })
                });
                for (low, high) in
                    ranges.into_iter().map(|(low, high)| (f64::from(low), f64::from(high)))
                {
                    shift.push(if kind == ScaleKind::MinMax && low.is_finite() {
                        low
                    } else {
                        0.0
                    });
                    divisor.push(if high > low { high - low } else { 0.0 });
                }
            }
            ScaleKind::BinMean => {
                let mut sums = vec![0.0; width];
                seen.each(&mut |row| {
                    sums.iter_mut().zip(row).for_each(|(sum, value)| add(sum, f64::from(*value)))
                });
                shift = vec![0.0; width];
                divisor = sums
                    .into_iter()
                    .zip(present)
                    .map(|(sum, rows)| sum / rows.max(1) as f64)
                    .collect();
            }
            ScaleKind::Standard => {
                let mut means = vec![0.0; width];
                seen.each(&mut |row| {
                    means.iter_mut().zip(row).for_each(|(sum, value)| add(sum, f64::from(*value)))
                });
                means.iter_mut().zip(&present).for_each(|(mean, rows)| *mean /= *rows as f64);
                let mut squares = vec![0.0; width];
                seen.each(&mut |row| {
                    squares.iter_mut().zip(&means).zip(row).for_each(|((sum, mean), value)| {
                        add(sum, (f64::from(*value) - mean).powi(2))
                    });
                });
                for ((mean, squares), rows) in means.into_iter().zip(squares).zip(present) {
                    let std = (squares / rows as f64).sqrt();
                    // A constant column can have a mean that is off by rounding, and then a tiny
                    // deviation.
                    let varies = std > 1e-12 * mean.abs() && std.is_finite();
                    shift.push(mean);
                    divisor.push(if varies { std } else { 0.0 });
                }
            }
            ScaleKind::Robust => {
                let step = (SORTED_AT_ONCE / rows.max(1)).clamp(1, width.max(1));
                for start in (0..width).step_by(step) {
                    let some = start..(start + step).min(width);
                    let mut sorted: Vec<Vec<f32>> = vec![Vec::with_capacity(rows); some.len()];
                    seen.each(&mut |row| {
                        sorted
                            .iter_mut()
                            .zip(&row[some.clone()])
                            .for_each(|(column, value)| column.push(*value))
                    });
                    for mut column in sorted {
                        column.retain(|value| !value.is_nan());
                        column.sort_unstable_by(f32::total_cmp);
                        let (median, spread) = (
                            percentile_of_sorted(&column, 50.0),
                            percentile_of_sorted(&column, 75.0)
                                - percentile_of_sorted(&column, 25.0),
                        );
                        shift.push(median);
                        divisor.push(spread.max(0.0));
                    }
                }
            }
            // What a reference says is not learned.
            ScaleKind::None
            | ScaleKind::UnitArea
            | ScaleKind::MeanOne
            | ScaleKind::Sqrt
            | ScaleKind::Log1p
            | ScaleKind::Reference => {}
        }
        Self { shift, divisor, ..Self::new(kind) }
    }

    /// Bins that do not vary become 0, or stay as they are.
    pub(super) fn leave_constant(&mut self) {
        if matches!(self.kind, ScaleKind::Standard | ScaleKind::Robust) {
            for (shift, divisor) in
                self.shift.iter_mut().zip(&mut self.divisor).filter(|(_, divisor)| **divisor == 0.0)
            {
                (*shift, *divisor) = (0.0, 1.0);
            }
        }
    }

    /// Bins that do not vary, here or in the rows of another step, are scaled as there.
    pub(super) fn take_constant(&mut self, trained: &Self) {
        for bin in 0..self.divisor.len() {
            if self.divisor[bin] == 0.0 || trained.floored.binary_search(&(bin as u32)).is_ok() {
                (self.shift[bin], self.divisor[bin]) = (trained.shift[bin], trained.divisor[bin]);
            }
        }
        self.floored.clone_from(&trained.floored);
    }

    /// What a bin's content becomes in a step that does not go by the row.
    pub(super) fn of_bin(&self, bin: usize, value: f64) -> f64 {
        match self.kind {
            ScaleKind::None | ScaleKind::UnitArea | ScaleKind::MeanOne => value,
            ScaleKind::Sqrt => value.max(0.0).sqrt(),
            ScaleKind::Log1p => value.max(0.0).ln_1p(),
            _ if self.divisor[bin] == 0.0 => 0.0,
            _ => (value - self.shift[bin]) / self.divisor[bin],
        }
    }

    /// The number that a bin's scaled number came from.
    pub(super) fn undo(&self, bin: usize, value: f64) -> f64 {
        match self.kind {
            ScaleKind::None | ScaleKind::UnitArea | ScaleKind::MeanOne => value,
            ScaleKind::Sqrt => value.max(0.0).powi(2),
            ScaleKind::Log1p => value.max(0.0).exp_m1(),
            ScaleKind::Range
            | ScaleKind::MinMax
            | ScaleKind::Standard
            | ScaleKind::Robust
            | ScaleKind::BinMean
            | ScaleKind::Reference => value * self.divisor[bin] + self.shift[bin],
        }
    }

    /// Scales one row; a step that goes by the row each layer by itself, where there are several.
    pub(super) fn apply(&self, row: &mut [f32], layers: &[usize]) {
        if self.kind.by_row() && !layers.is_empty() {
            let mut rest = row;
            for &bins in layers {
                let (layer, behind) = rest.split_at_mut(bins);
                self.apply(layer, &[]);
                rest = behind;
            }
            return;
        }
        match self.kind {
            ScaleKind::None => {}
            ScaleKind::Sqrt => row
                .iter_mut()
                .for_each(|value| *value = if *value < 0.0 { 0.0 } else { value.sqrt() }),
            ScaleKind::Log1p => row.iter_mut().for_each(|value| {
                *value = if *value < 0.0 { 0.0 } else { f64::from(*value).ln_1p() as f32 }
            }),
            ScaleKind::UnitArea | ScaleKind::MeanOne => {
                let mut sum: f64 = row.iter().map(|&value| f64::from(value)).sum();
                let mut bins = row.len();
                // Of a row with missing bins those that are present count.
                if sum.is_nan() {
                    let present = || row.iter().filter(|value| !value.is_nan());
                    (sum, bins) =
                        (present().map(|&value| f64::from(value)).sum(), present().count());
                }
                let whole = if self.kind == ScaleKind::MeanOne { sum / bins as f64 } else { sum };
                row.iter_mut().for_each(|value| {
                    *value = if sum <= 0.0 { 0.0 } else { (f64::from(*value) / whole) as f32 }
                });
            }
            // As NumPy computes it on f32 data: inputs that differ in their last bit train to
            // another model.
            ScaleKind::MinMax => {
                for ((value, shift), divisor) in row.iter_mut().zip(&self.shift).zip(&self.divisor)
                {
                    *value = if *divisor == 0.0 {
                        0.0
                    } else {
                        (*value - *shift as f32) / *divisor as f32
                    };
                }
            }
            ScaleKind::Range
            | ScaleKind::Standard
            | ScaleKind::Robust
            | ScaleKind::BinMean
            | ScaleKind::Reference => {
                for ((value, shift), divisor) in row.iter_mut().zip(&self.shift).zip(&self.divisor)
                {
                    *value = if *divisor == 0.0 {
                        0.0
                    } else {
                        ((f64::from(*value) - shift) / divisor) as f32
                    };
                }
            }
        }
    }
}
