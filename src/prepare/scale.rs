//! How bins become inputs, and what that was learned from.

use crate::{
    config::raw::{FitOn, ScaleKind},
    error::{Error, Result},
};
use serde::{Deserialize, Serialize};

/// A fitted chain of scaling steps: `scaler.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    /// What the parameters were learned from. With "each-file" they are those of the training rows, and a scored file's own
    /// take their place.
    pub fit_on: FitOn,
    /// Number of rows they were learned from.
    pub rows: usize,
    /// Number of bins.
    pub width: usize,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One step: per bin `(x - shift) / divisor` where a step has parameters. A divisor of 0 makes the bin 0.
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
}

impl Scaler {
    /// Learns the steps from `values`, `[rows, width]`; each step is learned from what the ones before it make of them.
    pub fn fit(kinds: &[ScaleKind], fit_on: FitOn, values: &[f32], width: usize) -> Self {
        let mut scaled = values.to_vec();
        let mut steps = vec![];
        for &kind in kinds {
            let step = Step::fit(kind, &scaled, width);
            step.apply(&mut scaled, width);
            steps.push(step);
        }
        Self { fit_on, rows: values.len().checked_div(width).unwrap_or(0), width, steps }
    }

    /// The same steps learned from other rows.
    pub fn refit(&self, values: &[f32]) -> Self {
        let kinds: Vec<ScaleKind> = self.steps.iter().map(|step| step.kind).collect();
        Self::fit(&kinds, self.fit_on, values, self.width)
    }

    /// Scales `values`, `[rows, width]`.
    pub fn apply(&self, values: &[f32]) -> Vec<f32> {
        let mut scaled = values.to_vec();
        self.steps.iter().for_each(|step| step.apply(&mut scaled, self.width));
        scaled
    }

    /// Bins that the scaling turns into a constant, because all rows it was learned from agree.
    pub fn constant_bins(&self) -> Vec<usize> {
        let constant = |bin: &usize| {
            self.steps.iter().any(|step| match step.kind {
                ScaleKind::Range | ScaleKind::MinMax => step.divisor[*bin] == 0.0,
                ScaleKind::Standard => step.divisor[*bin] == 1.0 && step.shift[*bin] == 0.0,
                ScaleKind::None | ScaleKind::UnitArea | ScaleKind::Sqrt => false,
            })
        };
        (0..self.width).filter(constant).collect()
    }

    /// Checks that a scaler read from a file is whole.
    pub fn check(&self) -> Result<()> {
        for step in &self.steps {
            let expected = if step.kind.learns() { self.width } else { 0 };
            if step.shift.len() != expected || step.divisor.len() != expected {
                return Err(Error::input(format!("scaler.json: step \"{}\" has {} numbers; expected {expected}", step.kind, step.shift.len())));
            }
        }
        Ok(())
    }
}

impl ScaleKind {
    /// Whether the step has parameters per bin.
    pub fn learns(self) -> bool {
        matches!(self, Self::Range | Self::MinMax | Self::Standard)
    }
}

impl Step {
    fn fit(kind: ScaleKind, values: &[f32], width: usize) -> Self {
        let (mut shift, mut divisor) = (vec![], vec![]);
        if kind.learns() {
            for bin in 0..width {
                let column = || values.iter().skip(bin).step_by(width).map(|&value| f64::from(value));
                let (low, high) = column().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
                let range = if high > low { high - low } else { 0.0 };
                let (s, d) = match kind {
                    ScaleKind::Range => (0.0, range),
                    ScaleKind::MinMax => (if low.is_finite() { low } else { 0.0 }, range),
                    _ => standard(column),
                };
                shift.push(s);
                divisor.push(d);
            }
        }
        Self { kind, shift, divisor }
    }

    fn apply(&self, values: &mut [f32], width: usize) {
        match self.kind {
            ScaleKind::None => {}
            ScaleKind::Sqrt => values.iter_mut().for_each(|value| *value = value.max(0.0).sqrt()),
            ScaleKind::UnitArea => {
                for row in values.chunks_exact_mut(width.max(1)) {
                    let sum: f64 = row.iter().map(|&value| f64::from(value)).sum();
                    row.iter_mut().for_each(|value| *value = if sum > 0.0 { (f64::from(*value) / sum) as f32 } else { 0.0 });
                }
            }
            ScaleKind::Range | ScaleKind::MinMax | ScaleKind::Standard => {
                for row in values.chunks_exact_mut(width.max(1)) {
                    for ((value, shift), divisor) in row.iter_mut().zip(&self.shift).zip(&self.divisor) {
                        *value = if *divisor == 0.0 { 0.0 } else { ((f64::from(*value) - shift) / divisor) as f32 };
                    }
                }
            }
        }
    }
}

/// Mean and standard deviation (ddof 0); (0, 1) where the column is constant, which leaves it as it is.
fn standard<I: Iterator<Item = f64>>(column: impl Fn() -> I) -> (f64, f64) {
    let n = column().count() as f64;
    let mean = column().sum::<f64>() / n;
    let std = (column().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
    if std > 0.0 && std.is_finite() { (mean, std) } else { (0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scaled(kinds: &[ScaleKind], values: &[f32], width: usize) -> Vec<f32> {
        Scaler::fit(kinds, FitOn::Train, values, width).apply(values)
    }

    #[test]
    fn range_divides_without_subtracting() {
        assert_eq!(scaled(&[ScaleKind::Range], &[2.0, 5.0, 6.0, 5.0], 2), [0.5, 0.0, 1.5, 0.0]);
    }

    #[test]
    fn standard_leaves_constant_bins_alone() {
        let scaler = Scaler::fit(&[ScaleKind::Standard], FitOn::Train, &[1.0, 7.0, 3.0, 7.0], 2);
        assert_eq!(scaler.apply(&[1.0, 7.0, 3.0, 7.0]), [-1.0, 7.0, 1.0, 7.0]);
        assert_eq!(scaler.constant_bins(), [1]);
    }

    #[test]
    fn steps_are_learned_one_after_the_other() {
        assert_eq!(scaled(&[ScaleKind::UnitArea, ScaleKind::MinMax], &[1.0, 3.0, 6.0, 2.0], 2), [0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn an_empty_row_has_no_area_and_stays_empty() {
        assert_eq!(scaled(&[ScaleKind::UnitArea], &[0.0, 0.0, 1.0, 1.0], 2), [0.0, 0.0, 0.5, 0.5]);
    }

    proptest! {
        #[test]
        fn scaled_values_are_finite_and_min_max_stays_within_0_and_1(values in prop::collection::vec(0.0_f32..1e6, 12), kinds in prop::collection::vec(prop::sample::select(vec![ScaleKind::None, ScaleKind::Range, ScaleKind::MinMax, ScaleKind::Standard, ScaleKind::UnitArea, ScaleKind::Sqrt]), 1..4)) {
            let out = scaled(&kinds, &values, 3);
            prop_assert!(out.iter().all(|value| value.is_finite()));
            let out = scaled(&[ScaleKind::MinMax], &values, 3);
            prop_assert!(out.iter().all(|value| (0.0..=1.0).contains(value)));
        }

        #[test]
        fn a_scaler_survives_its_file(values in prop::collection::vec(0.0_f32..1e6, 12)) {
            let scaler = Scaler::fit(&[ScaleKind::UnitArea, ScaleKind::Standard], FitOn::Train, &values, 4);
            let text = serde_json::to_string(&scaler).unwrap();
            prop_assert_eq!(serde_json::from_str::<Scaler>(&text).unwrap(), scaler);
        }
    }
}
