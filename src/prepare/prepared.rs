//! The result of this stage: rows ready for a model.

use super::{
    classes::Classes,
    labels::LabelSet,
    missing::{self, MissingCells},
    rows::Rows,
    scale::Scaler,
    split::Split,
};
use crate::{
    config::train::Order,
    data::{Samples, channels::Channel, lumi::automasks::Automasks},
};
use std::ops::Range;

/// Divides the bins of a row.
pub fn divide(bins: &mut [f32], divisor: f64) {
    bins.iter_mut().for_each(|value| *value = (f64::from(*value) / divisor) as f32);
}

/// Keeps the entries of rows without a reason to reject, `width` per row.
pub fn retain<T>(values: &mut Vec<T>, width: usize, reasons: &[Option<String>]) {
    let mut at = 0;
    values.retain(|_| {
        at += 1;
        reasons[(at - 1) / width].is_none()
    });
}

/// Rejects samples with their labels and other entries.
pub fn reject(
    samples: &mut Samples,
    labels: &mut [LabelSet],
    classes: &mut Option<Classes>,
    weights: &mut Option<Vec<f32>>,
    reasons: Vec<Option<String>>,
) {
    let before = samples.rejected.len();
    let against: Vec<usize> = (0..reasons.len()).filter(|&row| reasons[row].is_some()).collect();
    let known: Vec<Vec<Option<bool>>> =
        against.iter().map(|&row| labels.iter().map(|set| set.good[row]).collect()).collect();
    labels.iter_mut().for_each(|set| retain(&mut set.good, 1, &reasons));
    classes.iter_mut().for_each(|classes| retain(&mut classes.of, 1, &reasons));
    weights.iter_mut().for_each(|weights| retain(weights, 1, &reasons));
    samples.reject(reasons);
    samples.rejected[before..]
        .iter_mut()
        .zip(known)
        .for_each(|(rejected, labels)| rejected.labels = labels);
}

/// Rows ready for a model.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Rows as read.
    pub samples: Samples,
    /// The label sets of the rows.
    pub labels: Vec<LabelSet>,
    /// The classes of the rows, if configured.
    pub classes: Option<Classes>,
    /// Quantities plotted with the scores: a name, and one number per row, NaN if unknown.
    pub beside: Vec<(String, Vec<f32>)>,
    /// The split of each row.
    pub splits: Vec<Split>,
    /// The weight of each row, if configured.
    pub weights: Option<Vec<f32>>,
    /// The scaling of bins to inputs.
    pub scaler: Scaler,
    /// The divisor of the bins of each row before scaling, if configured.
    pub divisors: Option<Vec<f64>>,
    /// Inputs, `[rows, inputs]`: the scaled bins and added inputs. NaN if missing and excluded.
    pub inputs: Vec<f32>,
    /// Whether any input is NaN.
    pub masked: bool,
    /// The channels, with the names of their inputs.
    pub channels: Vec<Channel>,
    /// Masked parts of the detector, if the config names tables of them.
    pub automasks: Automasks,
    /// Notes on files and labels.
    pub notes: Vec<String>,
}

impl Prepared {
    /// The columns with missing cells in evaluated rows.
    pub fn missing_cells(&self) -> Vec<MissingCells> {
        missing::count(&self.samples, self.scaler.filling.as_ref())
    }

    /// Names of the inputs.
    pub fn input_names(&self) -> Vec<String> {
        let added = self.scaler.added.as_ref().map_or(&[][..], |added| added.names.as_slice());
        self.samples.feature_names().into_iter().chain(added.iter().cloned()).collect()
    }

    /// All rows of a channel with their weights; `columns` are those of the channel.
    pub fn rows<'a>(&'a self, columns: &'a [Range<usize>]) -> Rows<'a> {
        let fill = self
            .scaler
            .filling
            .as_ref()
            .filter(|_| self.masked)
            .map(|filling| filling.values.as_slice());
        Rows::new(&self.inputs, self.scaler.inputs())
            .columns(columns)
            .weighted(self.weights.as_deref())
            .filled(fill)
    }

    /// Filters rows that have any input of a channel; the others are not evaluated in it.
    pub fn with_inputs(&self, columns: &[Range<usize>], rows: Vec<u32>) -> Vec<u32> {
        if !self.masked {
            return rows;
        }
        let all = self.rows(columns);
        rows.into_iter().filter(|row| all.has_any(*row as usize)).collect()
    }

    /// The inputs of a row.
    pub fn input(&self, row: u32) -> &[f32] {
        let width = self.scaler.inputs();
        &self.inputs[row as usize * width..][..width]
    }

    /// Appends to `out` the inputs of a row before the first scaling step with fitted parameters;
    /// added inputs are scaled.
    pub fn before_learned(&self, row: u32, out: &mut Vec<f32>) {
        let (width, start) = (self.samples.width(), out.len());
        out.extend_from_slice(self.samples.row(row as usize));
        if let Some(divisors) = &self.divisors {
            divide(&mut out[start..], divisors[row as usize]);
        }
        self.scaler.before_learned(&mut out[start..]);
        out.extend_from_slice(&self.input(row)[width..]);
    }

    /// The same without the rows that have a reason; these are rejected.
    pub fn without(&self, reasons: Vec<Option<String>>) -> Self {
        let mut kept = self.clone();
        let Self { samples, labels, classes, beside, splits, weights, divisors, inputs, .. } =
            &mut kept;
        retain(inputs, self.scaler.inputs(), &reasons);
        retain(splits, 1, &reasons);
        divisors.iter_mut().for_each(|divisors| retain(divisors, 1, &reasons));
        beside.iter_mut().for_each(|(_, numbers)| retain(numbers, 1, &reasons));
        reject(samples, labels, classes, weights, reasons);
        kept
    }

    /// Some rows with only what scoring needs, without labels and other quantities.
    pub fn pick(&self, rows: &[usize]) -> Self {
        let (samples, inputs) = (&self.samples, self.scaler.inputs());
        let picked = Samples {
            sources: samples.sources.clone(),
            runs: samples.runs.clone(),
            shape: samples.shape,
            layers: samples.layers.clone(),
            frames: samples.frames.clone(),
            flow_bins: samples.flow_bins,
            edges: samples.edges,
            features: samples.features.clone(),
            summarised: samples.summarised,
            hierarchy: samples.hierarchy.clone(),
            events: samples.events,
            element: samples.element.clone(),
            rows: rows.iter().map(|&row| samples.rows[row]).collect(),
            values: rows.iter().flat_map(|&row| samples.row(row)).copied().collect(),
            ..Samples::default()
        };
        Self {
            samples: picked,
            labels: vec![],
            classes: None,
            beside: vec![],
            splits: rows.iter().map(|&row| self.splits[row]).collect(),
            weights: None,
            scaler: self.scaler.clone(),
            divisors: self
                .divisors
                .as_ref()
                .map(|divisors| rows.iter().map(|&row| divisors[row]).collect()),
            inputs: rows
                .iter()
                .flat_map(|&row| &self.inputs[row * inputs..(row + 1) * inputs])
                .copied()
                .collect(),
            masked: self.masked,
            channels: self.channels.clone(),
            automasks: self.automasks.clone(),
            notes: vec![],
        }
    }

    /// Recomputes the inputs after contents have changed. Added inputs and divisors are kept. Rows
    /// are scaled one by one, so this does not support a scaler that is fitted on each file.
    pub fn rescale(&mut self) {
        let (width, inputs) = (self.samples.width(), self.scaler.inputs());
        let mut scaled = self.inputs.clone();
        for (row, scaled) in scaled.chunks_exact_mut(inputs.max(1)).enumerate() {
            scaled[..width].copy_from_slice(self.samples.row(row));
            match self.divisors.as_ref().map(|divisors| divisors[row]) {
                None => {}
                Some(divisor) => divide(&mut scaled[..width], divisor),
            }
        }
        self.scaler.apply(&mut scaled);
        for (before, scaled) in
            self.inputs.chunks_exact_mut(inputs.max(1)).zip(scaled.chunks_exact(inputs.max(1)))
        {
            before[..width].copy_from_slice(&scaled[..width]);
        }
    }

    /// Positions of the rows of a split, ordered by run and LS or as in their files.
    pub fn of_split(&self, wanted: Split, order: Order) -> Vec<u32> {
        let mut rows: Vec<u32> =
            (0..self.splits.len() as u32).filter(|&i| self.splits[i as usize] == wanted).collect();
        if order == Order::File {
            rows.sort_by_key(|&i| {
                (self.samples.rows[i as usize].source, self.samples.rows[i as usize].index)
            });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{
            data::Fill,
            scale::{Constant, FitOn, ScaleKind},
        },
        data::{self, shape::Shape},
        prepare::{floors::Contents, scale::Plan},
    };

    /// Three rows of two bins and an added input; each is divided by its divisor, then by the
    /// maximum of each bin.
    fn prepared() -> Prepared {
        let mut inputs = vec![1.0, 4.0, 7.0, 2.0, 3.0, 8.0, 1.0, 1.0, 9.0];
        let rows: Vec<&[f32]> = inputs.chunks_exact(3).collect();
        let plan = Plan {
            kinds: vec![ScaleKind::Range],
            fit_on: FitOn::Train,
            constant: Constant::Zero,
            contents: Contents::Features,
            width: 2,
            layers: vec![],
            reference: vec![],
            clip: None,
            added: Some((ScaleKind::Range, vec!["lumi".into()])),
            fill: Fill::Reject,
        };
        let scaler = Scaler::fit(plan, &rows);
        scaler.apply(&mut inputs);
        let row = |ls| data::SampleRow { source: 0, run: 0, ls, line: 0, index: ls };
        let samples = Samples {
            shape: Shape::line(2),
            runs: vec![data::Run { number: Some(1), name: "1".into() }],
            rows: (0..3).map(row).collect(),
            values: vec![2.0, 8.0, 6.0, 9.0, 5.0, 5.0],
            ..Samples::default()
        };
        Prepared {
            samples,
            labels: vec![],
            classes: None,
            beside: vec![],
            splits: vec![Split::Train, Split::Valid, Split::Test],
            weights: None,
            scaler,
            divisors: Some(vec![2.0, 3.0, 5.0]),
            inputs,
            masked: false,
            channels: vec![],
            automasks: Automasks::default(),
            notes: vec![],
        }
    }

    #[test]
    fn contents_that_have_changed_are_divided_and_scaled_and_what_is_added_stays() {
        let mut same = prepared();
        same.rescale();
        assert_eq!(same.inputs, prepared().inputs);
        let mut changed = prepared();
        changed.samples.values = vec![4.0, 16.0, 6.0, 9.0, 5.0, 5.0];
        changed.rescale();
        let before = same.inputs;
        assert_eq!(changed.inputs[..3], [2.0 * before[0], 2.0 * before[1], before[2]]);
        assert_eq!(changed.inputs[3..], before[3..]);
    }

    #[test]
    fn picked_rows_are_as_they_were() {
        let (all, picked) = (prepared(), prepared().pick(&[2, 0]));
        assert_eq!(
            (picked.samples.row(0), picked.samples.row(1)),
            (all.samples.row(2), all.samples.row(0))
        );
        assert_eq!(
            (&picked.inputs[..3], &picked.inputs[3..]),
            (&all.inputs[6..], &all.inputs[..3])
        );
        assert_eq!(
            (picked.splits, picked.divisors),
            (vec![Split::Test, Split::Train], Some(vec![5.0, 2.0]))
        );
        assert_eq!(picked.samples.rows[0].ls, 2);
    }
    #[test]
    fn rows_with_a_reason_are_rejected_and_the_others_stay_together() {
        let (all, kept) =
            (prepared(), prepared().without(vec![None, Some("score is not finite".into()), None]));
        assert_eq!((kept.samples.rows.len(), kept.samples.row(1)), (2, all.samples.row(2)));
        assert_eq!((&kept.inputs[..3], &kept.inputs[3..]), (&all.inputs[..3], &all.inputs[6..]));
        assert_eq!(
            (kept.splits, kept.divisors),
            (vec![Split::Train, Split::Test], Some(vec![2.0, 5.0]))
        );
        assert_eq!(
            (kept.samples.rejected[0].reason.as_str(), kept.samples.rejected[0].index),
            ("score is not finite", 1)
        );
    }

    #[test]
    fn inputs_before_anything_learned_are_contents_divided() {
        let mut out = vec![];
        prepared().before_learned(1, &mut out);
        assert_eq!(out, [2.0, 3.0, prepared().inputs[5]]);
    }
}
