//! How bins become inputs, and what that was learned from.

use super::{
    floors::{self, Contents},
    missing::Filling,
};
use crate::{
    config::{
        data::Fill,
        scale::{Constant, FitOn, ScaleKind},
    },
    error::{Error, Result},
    prepare::step::{Seen, Step, apply_all},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A fitted chain of scaling steps: `scaler.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    /// What the parameters were learned from. With "each-file" they are those of the training rows,
    /// and a scored file's own take their place.
    pub fit_on: FitOn,
    /// How bins that do not vary are scaled; folders of earlier versions do not say, and have
    /// "zero".
    #[serde(default, skip_serializing_if = "is_zero")]
    pub constant: Constant,
    /// Number of rows they were learned from.
    pub rows: usize,
    /// Number of bins.
    pub width: usize,
    /// How many of them each layer has, where there are several; steps that go by the row go by the
    /// layer then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<usize>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What larger bins become once they are scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Inputs beside the bins, which have a step of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<Added>,
    /// What stands for missing inputs, where rows with such are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filling: Option<Filling>,
}

fn is_zero(constant: &Constant) -> bool {
    *constant == Constant::Zero
}

/// Inputs beside the bins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// The quantities.
    pub names: Vec<String>,
    /// How they are scaled.
    pub step: Step,
}

/// What is to be learned.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The steps, in order.
    pub kinds: Vec<ScaleKind>,
    /// What the parameters are learned from.
    pub fit_on: FitOn,
    /// How bins that do not vary are scaled.
    pub constant: Constant,
    /// What the bins hold.
    pub contents: Contents,
    /// Number of bins.
    pub width: usize,
    /// How many of them each layer has, where there are several.
    pub layers: Vec<usize>,
    /// What the step "reference" divides by, one number a bin.
    pub reference: Vec<f64>,
    /// What larger bins become.
    pub clip: Option<f64>,
    /// Inputs behind the bins, and how they are scaled.
    pub added: Option<(ScaleKind, Vec<String>)>,
    /// What becomes of missing bins: with "zero" they are learned from as zeros, otherwise not at
    /// all.
    pub fill: Fill,
}

impl Scaler {
    /// Learns the steps from rows of bins and the added inputs behind them; each step is learned
    /// from what the ones before it make of the rows, which are not copied.
    pub fn fit(plan: Plan, rows: &[&[f32]]) -> Self {
        let Plan { kinds, fit_on, constant, contents, width, layers, reference, clip, added, fill } =
            plan;
        let settle = |step: &mut Step, seen: &Seen<'_>, contents: Contents| match constant {
            Constant::Floor if !rows.is_empty() => floors::set(step, seen, contents),
            _ => step.leave_constant(),
        };
        let mut steps: Vec<Step> = vec![];
        for kind in kinds {
            let seen = Seen { rows, columns: 0..width, before: &steps, layers: &layers, fill };
            let mut step = match kind {
                ScaleKind::Reference => {
                    Step { shift: vec![0.0; width], divisor: reference.clone(), ..Step::new(kind) }
                }
                _ => Step::fit(kind, &seen),
            };
            settle(&mut step, &seen, contents);
            steps.push(step);
        }
        let added = added.map(|(kind, names)| {
            let seen =
                Seen { rows, columns: width..width + names.len(), before: &[], layers: &[], fill };
            let mut step = Step::fit(kind, &seen);
            settle(&mut step, &seen, Contents::Features);
            Added { names, step }
        });
        Self {
            fit_on,
            constant,
            rows: rows.len(),
            width,
            layers,
            steps,
            clip,
            added,
            filling: None,
        }
    }

    /// The same steps learned from other rows. What a reference says is not learned; bins that do
    /// not vary in these rows, or did not in those of the training, keep their floors or the
    /// scaling of the training.
    pub fn refit(&self, rows: &[&[f32]]) -> Self {
        let fill = self.filling.as_ref().map_or(Fill::Reject, |filling| filling.fill);
        let again = |trained: &Step, seen: &Seen<'_>| {
            let mut step = if trained.kind == ScaleKind::Reference {
                trained.clone()
            } else {
                Step::fit(trained.kind, seen)
            };
            match self.constant {
                Constant::Floor => step.take_constant(trained),
                Constant::Zero => step.leave_constant(),
            }
            step
        };
        let mut steps: Vec<Step> = vec![];
        for trained in &self.steps {
            let step = again(
                trained,
                &Seen { rows, columns: 0..self.width, before: &steps, layers: &self.layers, fill },
            );
            steps.push(step);
        }
        let added = self.added.as_ref().map(|added| {
            let columns = self.width..self.inputs();
            Added {
                names: added.names.clone(),
                step: again(&added.step, &Seen { rows, columns, before: &[], layers: &[], fill }),
            }
        });
        Self {
            rows: rows.len(),
            steps,
            added,
            layers: self.layers.clone(),
            filling: self.filling.clone(),
            ..*self
        }
    }

    /// What each bin is divided by to become 1 where it is as usual, where that was learned here.
    pub fn bin_means(&self) -> Option<Vec<f64>> {
        self.steps.iter().find(|step| step.kind == ScaleKind::BinMean).map(|step| {
            let mut means = step.divisor.clone();
            step.floored.iter().for_each(|&bin| means[bin as usize] = 0.0);
            means
        })
    }

    /// Number of inputs: bins and what is added to them.
    pub fn inputs(&self) -> usize {
        self.width + self.added.as_ref().map_or(0, |added| added.names.len())
    }

    /// Scales rows in place, `[rows, inputs]`. Missing inputs are filled first, or stay NaN where
    /// they are left out.
    pub fn apply(&self, values: &mut [f32]) {
        values.par_chunks_exact_mut(self.inputs().max(1)).for_each(|row| {
            self.filling.iter().for_each(|filling| filling.apply(row));
            let (bins, rest) = row.split_at_mut(self.width);
            apply_all(&self.steps, bins, &self.layers);
            // Comparisons here and in the steps leave NaN as it is, so that no overflow passes for
            // a number.
            if let Some(clip) = self.clip.map(|clip| clip as f32) {
                bins.iter_mut()
                    .for_each(|value| *value = if *value > clip { clip } else { *value });
            }
            if let Some(added) = &self.added {
                added.step.apply(rest, &[]);
            }
        });
    }

    /// A scaled number of one input in the units of the data. Steps that go by the row
    /// ([`Scaler::forgets`]) stay, and what was clipped.
    pub fn undo(&self, input: usize, value: f32) -> f32 {
        match (&self.added, input.checked_sub(self.width)) {
            (Some(added), Some(at)) => added.step.undo(at, f64::from(value)) as f32,
            _ => self
                .steps
                .iter()
                .rev()
                .fold(f64::from(value), |value, step| step.undo(input, value))
                as f32,
        }
    }

    /// The step that takes away what cannot be told from its result, the area of a row.
    pub fn forgets(&self) -> Option<ScaleKind> {
        self.steps.iter().map(|step| step.kind).find(|kind| kind.by_row())
    }

    /// The bins of a row before the first step that is learned, in place.
    pub fn before_learned(&self, bins: &mut [f32]) {
        let first =
            self.steps.iter().position(|step| step.kind.learns()).unwrap_or(self.steps.len());
        apply_all(&self.steps[..first], bins, &self.layers);
    }

    /// Inputs that do not vary in the rows that the scaling was learned from.
    pub fn constant_inputs(&self) -> Vec<usize> {
        let left = |step: &Step, bin: usize| match step.kind {
            ScaleKind::Range | ScaleKind::MinMax | ScaleKind::BinMean | ScaleKind::Reference => {
                step.divisor[bin] == 0.0
            }
            ScaleKind::Standard | ScaleKind::Robust => {
                self.constant == Constant::Zero
                    && step.divisor[bin] == 1.0
                    && step.shift[bin] == 0.0
            }
            ScaleKind::None
            | ScaleKind::UnitArea
            | ScaleKind::MeanOne
            | ScaleKind::Sqrt
            | ScaleKind::Log1p => false,
        };
        self.inputs_where(|step, bin| {
            left(step, bin) || step.floored.binary_search(&(bin as u32)).is_ok()
        })
    }

    /// Inputs that the scaling makes 0 whatever they hold.
    pub fn blind_inputs(&self) -> Vec<usize> {
        self.inputs_where(|step, bin| step.kind.learns() && step.divisor[bin] == 0.0)
    }

    fn inputs_where(&self, holds: impl Fn(&Step, usize) -> bool) -> Vec<usize> {
        let bins = (0..self.width).filter(|&bin| self.steps.iter().any(|step| holds(step, bin)));
        let added = self
            .added
            .iter()
            .flat_map(|added| (0..added.names.len()).map(move |at| (&added.step, at)));
        bins.chain(added.filter(|(step, at)| holds(step, *at)).map(|(_, at)| self.width + at))
            .collect()
    }

    /// Checks that a scaler read from a file is whole.
    pub fn check(&self) -> Result<()> {
        let added = self.added.as_ref().map(|added| (&added.step, added.names.len()));
        for (step, width) in self.steps.iter().map(|step| (step, self.width)).chain(added) {
            let expected = if step.kind.learns() { width } else { 0 };
            if step.shift.len() != expected || step.divisor.len() != expected {
                return Err(Error::input(format!(
                    "scaler.json: step \"{}\" has {} numbers; expected {expected}",
                    step.kind,
                    step.shift.len()
                )));
            }
            if !step.floored.is_sorted()
                || step.floored.last().is_some_and(|bin| *bin as usize >= expected)
            {
                return Err(Error::input(format!(
                    "scaler.json: step \"{}\" has floors that are not in order or beyond its {expected} bins",
                    step.kind
                )));
            }
        }
        let inputs = self.inputs();
        if let Some(filling) = self
            .filling
            .as_ref()
            .filter(|filling| filling.values.len() != inputs || filling.shares.len() != inputs)
        {
            return Err(Error::input(format!(
                "scaler.json: \"filling\" has {} numbers; expected {inputs}",
                filling.values.len()
            )));
        }
        let bins = self.layers.iter().fold(0_usize, |sum, bins| sum.saturating_add(*bins));
        if !self.layers.is_empty() && bins != self.width {
            return Err(Error::input(format!(
                "scaler.json: layers of {bins} bins; expected {}",
                self.width
            )));
        }
        Ok(())
    }
}

impl ScaleKind {
    /// Whether the step has parameters per bin.
    pub fn learns(self) -> bool {
        matches!(
            self,
            Self::Range
                | Self::MinMax
                | Self::Standard
                | Self::Robust
                | Self::BinMean
                | Self::Reference
        )
    }

    /// Whether the step goes by the whole row, or layer.
    pub fn by_row(self) -> bool {
        matches!(self, Self::UnitArea | Self::MeanOne)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(kinds: &[ScaleKind], width: usize) -> Plan {
        Plan {
            kinds: kinds.to_vec(),
            fit_on: FitOn::Train,
            constant: Constant::Zero,
            contents: Contents::Counts(1.0),
            width,
            layers: vec![],
            reference: vec![],
            clip: None,
            added: None,
            fill: Fill::Reject,
        }
    }

    fn fit(kinds: &[ScaleKind], values: &[f32], width: usize) -> Scaler {
        Scaler::fit(plan(kinds, width), &values.chunks_exact(width).collect::<Vec<_>>())
    }

    fn scaled(kinds: &[ScaleKind], values: &[f32], width: usize) -> Vec<f32> {
        let mut out = values.to_vec();
        fit(kinds, values, width).apply(&mut out);
        out
    }

    #[test]
    fn range_divides_without_subtracting() {
        assert_eq!(scaled(&[ScaleKind::Range], &[2.0, 5.0, 6.0, 5.0], 2), [0.5, 0.0, 1.5, 0.0]);
    }

    #[test]
    fn standard_leaves_constant_bins_alone() {
        let values = [1.0, 7.1, 3.0, 7.1, 2.0, 7.1];
        assert_eq!(scaled(&[ScaleKind::Standard], &values, 2)[1], 7.1);
        assert_eq!(fit(&[ScaleKind::Standard], &values, 2).constant_inputs(), [1]);
    }

    #[test]
    fn robust_is_by_median_and_quartiles() {
        assert_eq!(
            scaled(&[ScaleKind::Robust], &[1.0, 2.0, 3.0, 4.0, 100.0], 1),
            [-1.0, -0.5, 0.0, 0.5, 48.5]
        );
        assert_eq!(
            scaled(&[ScaleKind::Robust], &[7.0, 7.0, 9.0, 7.0, 7.0], 1),
            [7.0, 7.0, 9.0, 7.0, 7.0]
        );
    }

    #[test]
    fn added_inputs_have_a_step_of_their_own() {
        let rows: [&[f32]; 2] = [&[1.0, 3.0, 10.0], &[2.0, 2.0, 30.0]];
        let added = Some((ScaleKind::MinMax, vec!["lumi".into()]));
        let scaler = Scaler::fit(Plan { added, ..plan(&[ScaleKind::UnitArea], 2) }, &rows);
        let mut out = rows.concat();
        scaler.apply(&mut out);
        assert_eq!(
            (out.as_slice(), scaler.inputs()),
            ([0.25, 0.75, 0.0, 0.5, 0.5, 1.0].as_slice(), 3)
        );
    }

    #[test]
    fn steps_are_learned_one_after_the_other() {
        assert_eq!(
            scaled(&[ScaleKind::UnitArea, ScaleKind::MinMax], &[1.0, 3.0, 6.0, 2.0], 2),
            [0.0, 1.0, 1.0, 0.0]
        );
    }

    #[test]
    fn an_empty_row_has_no_area_and_stays_empty() {
        assert_eq!(scaled(&[ScaleKind::UnitArea], &[0.0, 0.0, 1.0, 1.0], 2), [0.0, 0.0, 0.5, 0.5]);
    }

    #[test]
    fn a_map_becomes_1_on_average_and_so_does_each_of_its_bins() {
        assert_eq!(scaled(&[ScaleKind::MeanOne], &[1.0, 3.0, 0.0, 0.0], 2), [0.5, 1.5, 0.0, 0.0]);
        assert_eq!(scaled(&[ScaleKind::BinMean], &[1.0, 0.0, 3.0, 0.0], 2), [0.5, 0.0, 1.5, 0.0]);
        assert_eq!(
            fit(&[ScaleKind::MeanOne, ScaleKind::BinMean], &[1.0, 3.0, 3.0, 1.0], 2).bin_means(),
            Some(vec![1.0, 1.0])
        );
        let scaler = Scaler::fit(
            Plan { reference: vec![2.0, 0.0], clip: Some(5.0), ..plan(&[ScaleKind::Reference], 2) },
            &[],
        );
        let mut out = [8.0, 3.0, 30.0, 4.0];
        scaler.apply(&mut out);
        assert_eq!(
            (out, scaler.constant_inputs(), scaler.undo(0, 4.0)),
            ([4.0, 0.0, 5.0, 0.0], vec![1], 8.0)
        );
        assert_eq!(
            scaler.refit(&[&[1.0, 1.0]]).steps,
            scaler.steps,
            "what a reference says is not learned anew"
        );
    }

    #[test]
    fn missing_bins_are_left_out_of_what_is_learned_and_stay_missing() {
        const NAN: f32 = f32::NAN;
        let fit = |kind, fill| {
            Scaler::fit(
                Plan { fill, ..plan(&[kind], 1) },
                &[&[1.0], &[NAN], &[3.0], &[NAN], &[5.0]],
            )
        };
        for (kind, expected) in [
            (ScaleKind::Range, (0.0, 4.0)),
            (ScaleKind::MinMax, (1.0, 4.0)),
            (ScaleKind::BinMean, (0.0, 3.0)),
            (ScaleKind::Standard, (3.0, (8.0_f64 / 3.0).sqrt())),
            (ScaleKind::Robust, (3.0, 2.0)),
        ] {
            let step = &fit(kind, Fill::Mask).steps[0];
            assert_eq!((step.shift[0], step.divisor[0]), expected, "{kind}");
        }
        let step = &fit(ScaleKind::MinMax, Fill::Zero).steps[0];
        assert_eq!((step.shift[0], step.divisor[0]), (0.0, 5.0), "zeros are values");
        let kinds = [
            ScaleKind::Sqrt,
            ScaleKind::Log1p,
            ScaleKind::UnitArea,
            ScaleKind::MeanOne,
            ScaleKind::Range,
        ];
        for kind in kinds {
            let scaler = Scaler {
                clip: Some(1e3),
                ..Scaler::fit(
                    Plan { fill: Fill::Mask, ..plan(&[kind], 3) },
                    &[&[1.0, 2.0, 3.0], &[2.0, NAN, 4.0]],
                )
            };
            let mut row = [1.0, NAN, 3.0];
            scaler.apply(&mut row);
            assert!(row[1].is_nan() && row[0].is_finite() && row[2].is_finite(), "{kind}: {row:?}");
        }
        let mut row = [1.0, NAN, 3.0];
        apply_all(&[Step::new(ScaleKind::MeanOne)], &mut row, &[]);
        assert_eq!((row[0], row[2]), (0.5, 1.5), "the mean is over the bins that are present");
        apply_all(&[Step::new(ScaleKind::UnitArea)], &mut row, &[]);
        assert_eq!((row[0], row[2]), (0.25, 0.75));
    }

    proptest! {
        #[test]
        fn layers_are_scaled_as_each_alone(
            values in prop::collection::vec(0.0_f32..1e4, 15),
            kinds in prop::collection::vec(prop::sample::select(vec![ScaleKind::UnitArea, ScaleKind::MeanOne, ScaleKind::BinMean, ScaleKind::Sqrt, ScaleKind::MinMax, ScaleKind::Standard]), 1..4),
        ) {
            let together = Scaler::fit(Plan { layers: vec![2, 3], clip: Some(2.0), ..plan(&kinds, 5) }, &values.chunks_exact(5).collect::<Vec<_>>());
            let mut all = values.clone();
            together.apply(&mut all);
            for columns in [0..2, 2..5] {
                let of = |values: &[f32]| values.chunks_exact(5).flat_map(|row| row[columns.clone()].to_vec()).collect::<Vec<f32>>();
                let mut own = of(&values);
                let alone = Scaler::fit(Plan { clip: Some(2.0), ..plan(&kinds, columns.len()) }, &own.clone().chunks_exact(columns.len()).collect::<Vec<_>>());
                alone.apply(&mut own);
                prop_assert_eq!(own, of(&all));
            }
        }

        #[test]
        fn scaled_values_are_finite_and_min_max_stays_within_0_and_1(values in prop::collection::vec(0.0_f32..1e6, 12), kinds in prop::collection::vec(prop::sample::select(vec![ScaleKind::None, ScaleKind::Range, ScaleKind::MinMax, ScaleKind::Standard, ScaleKind::UnitArea, ScaleKind::Sqrt, ScaleKind::Robust, ScaleKind::Log1p]), 1..4)) {
            let out = scaled(&kinds, &values, 3);
            prop_assert!(out.iter().all(|value| value.is_finite()));
            let out = scaled(&[ScaleKind::MinMax], &values, 3);
            prop_assert!(out.iter().all(|value| (0.0..=1.0).contains(value)));
        }

        #[test]
        fn scaling_can_be_undone(values in prop::collection::vec(0.5_f32..1e4, 12), kinds in prop::collection::vec(prop::sample::select(vec![ScaleKind::None, ScaleKind::MinMax, ScaleKind::Standard, ScaleKind::Sqrt, ScaleKind::Robust, ScaleKind::Log1p]), 1..3)) {
            let scaler = fit(&kinds, &values, 3);
            let mut out = values.clone();
            scaler.apply(&mut out);
            // A negative number has no square root or logarithm here: it became 0.
            let signed = kinds.len() > 1 && kinds[1..].iter().any(|kind| matches!(kind, ScaleKind::Sqrt | ScaleKind::Log1p));
            for (i, (value, scaled)) in values.iter().zip(&out).enumerate().filter(|_| !signed) {
                let back = scaler.undo(i % 3, *scaled);
                prop_assert!((back - value).abs() <= 1e-3 * value.abs() + 2e-3, "{value} {scaled} {back}");
            }
        }

        #[test]
        fn a_scaler_survives_its_file(values in prop::collection::vec(0.0_f32..1e6, 12)) {
            let scaler = fit(&[ScaleKind::UnitArea, ScaleKind::Standard], &values, 4);
            let text = serde_json::to_string(&scaler).unwrap();
            prop_assert_eq!(serde_json::from_str::<Scaler>(&text).unwrap(), scaler);
        }
    }
}
