//! Replaces missing inputs. A missing cell is NaN in rows as read; here it becomes a number or is
//! excluded.

use crate::statistics::percentile_of_sorted;
use crate::{
    config::data::Fill,
    data::Samples,
    error::{Error, Result},
};
use serde::{Deserialize, Serialize};

/// Replacements of missing inputs, fitted on the training rows; stored with the scaling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filling {
    /// The method.
    pub fill: Fill,
    /// The replacement of each input: before scaling, or with "mask" after scaling.
    pub values: Vec<f32>,
    /// Share of the training rows in which each input is missing.
    pub shares: Vec<f64>,
}

/// One column with missing cells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MissingCells {
    /// The feature or bin.
    pub name: String,
    /// Number of rows in which it is missing.
    pub rows: usize,
    /// Share of rows in which it is missing.
    pub share: f64,
    /// Share of training rows in which it is missing.
    pub training: f64,
}

impl MissingCells {
    /// "pt: missing in 40 % of rows, 0 % in training".
    pub fn beside_training(&self) -> String {
        format!(
            "{}: missing in {} of rows, {} in training",
            self.name,
            percent(self.share),
            percent(self.training)
        )
    }

    /// Whether it is missing notably more often than in training.
    pub fn is_new(&self) -> bool {
        /// A share that does not matter, and limits of its ratio to and difference from the share
        /// in training.
        const FEW: f64 = 0.01;
        const TIMES: f64 = 3.0;
        const MORE: f64 = 0.2;
        self.share > FEW
            && (self.share > TIMES * self.training || self.share > self.training + MORE)
    }
}

/// A share in per cent with significant digits only.
fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent == 0.0 || percent >= 10.0 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.2} %")
    }
}

/// Describes the columns with the most missing cells; `None` if there are none.
pub fn told(missing: &[MissingCells]) -> Option<String> {
    /// Number of columns named.
    const MOST: usize = 8;
    let mut worst: Vec<&MissingCells> = missing.iter().collect();
    worst.sort_by_key(|cells| std::cmp::Reverse(cells.rows));
    let named: Vec<String> = worst
        .iter()
        .take(MOST)
        .map(|cells| format!("{} in {} rows ({})", cells.name, cells.rows, percent(cells.share)))
        .collect();
    let more = if worst.len() > MOST {
        format!(", and {} more", worst.len() - MOST)
    } else {
        String::new()
    };
    (!named.is_empty()).then(|| named.join(", ") + &more)
}

impl Filling {
    /// Fits on the rows `train` of unscaled inputs `[rows, inputs]`. Fails if an input is missing
    /// in all training rows.
    pub fn learn(fill: Fill, inputs: &[f32], names: &[String], train: &[u32]) -> Result<Self> {
        let width = names.len();
        let rows = || train.iter().map(move |&row| &inputs[row as usize * width..][..width]);
        let mut missing = vec![0_usize; width];
        rows().for_each(|row| {
            missing
                .iter_mut()
                .zip(row)
                .for_each(|(missing, value)| *missing += usize::from(value.is_nan()))
        });
        if let Some(at) = missing.iter().position(|missing| *missing == train.len()) {
            return Err(Error::input(format!(
                "\"{}\" is missing in all {} training rows; exclude it with data.columns.ignore",
                names[at],
                train.len()
            )));
        }
        let median = |at: usize| {
            let mut present: Vec<f32> =
                rows().map(|row| row[at]).filter(|value| !value.is_nan()).collect();
            present.sort_unstable_by(f32::total_cmp);
            percentile_of_sorted(&present, 50.0) as f32
        };
        let values =
            if fill == Fill::Median { (0..width).map(median).collect() } else { vec![0.0; width] };
        let shares =
            missing.into_iter().map(|missing| missing as f64 / train.len() as f64).collect();
        Ok(Self { fill, values, shares })
    }

    /// With "mask", sets the replacements to the means of the scaled inputs of the training rows.
    pub fn learn_means(&mut self, scaled: &[f32], train: &[u32]) {
        if self.fill != Fill::Mask {
            return;
        }
        let width = self.values.len();
        let mut sums = vec![(0.0, 0_usize); width];
        for row in train.iter().map(|&row| &scaled[row as usize * width..][..width]) {
            for ((sum, count), value) in
                sums.iter_mut().zip(row).filter(|(_, value)| !value.is_nan())
            {
                (*sum, *count) = (*sum + f64::from(*value), *count + 1);
            }
        }
        self.values =
            sums.into_iter().map(|(sum, count)| (sum / count.max(1) as f64) as f32).collect();
    }

    /// Replaces missing inputs of one unscaled row, unless they are excluded.
    pub fn apply(&self, row: &mut [f32]) {
        if self.fill != Fill::Mask {
            row.iter_mut()
                .zip(&self.values)
                .filter(|(value, _)| value.is_nan())
                .for_each(|(value, fill)| *value = *fill);
        }
    }
}

/// The columns of rows as read that have missing cells.
pub fn count(samples: &Samples, filling: Option<&Filling>) -> Vec<MissingCells> {
    let rows = samples.rows.len();
    let mut missing = vec![0_usize; samples.width()];
    for row in 0..rows {
        missing
            .iter_mut()
            .zip(samples.row(row))
            .for_each(|(missing, value)| *missing += usize::from(value.is_nan()));
    }
    if missing.iter().all(|missing| *missing == 0) {
        return vec![];
    }
    let training =
        |at: usize| filling.and_then(|filling| filling.shares.get(at)).copied().unwrap_or_default();
    let names = samples
        .feature_names()
        .into_iter()
        .enumerate()
        .zip(missing)
        .filter(|(_, missing)| *missing > 0);
    names
        .map(|((at, name), missing)| MissingCells {
            name,
            rows: missing,
            share: missing as f64 / rows as f64,
            training: training(at),
        })
        .collect()
}

/// The reason to reject a row with too few of its inputs.
pub fn too_few(row: &[f32], least: f64) -> Option<String> {
    let present = row.iter().filter(|value| !value.is_nan()).count();
    let few = present == 0 || (present as f64) < least * row.len() as f64;
    (few && present < row.len())
        .then(|| format!("only {present} of {} inputs are present", row.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f32 = f32::NAN;

    fn names(width: usize) -> Vec<String> {
        (0..width).map(|at| format!("f{at}")).collect()
    }

    #[test]
    fn what_stands_for_missing_inputs_is_learned_from_training_rows_alone() {
        let inputs = [1.0, NAN, 3.0, 8.0, NAN, 2.0, 5.0, 4.0, 99.0, 99.0];
        let train = [0, 1, 2, 3];
        let median = Filling::learn(Fill::Median, &inputs, &names(2), &train).unwrap();
        assert_eq!(
            (median.values.as_slice(), median.shares.as_slice()),
            ([3.0, 4.0].as_slice(), [0.25, 0.25].as_slice())
        );
        let mut row = [NAN, 7.0];
        median.apply(&mut row);
        assert_eq!(row, [3.0, 7.0]);
        let mut mask = Filling::learn(Fill::Mask, &inputs, &names(2), &train).unwrap();
        mask.learn_means(&inputs, &train);
        assert_eq!(mask.values, [3.0, 14.0 / 3.0]);
        let mut row = [NAN, 7.0];
        mask.apply(&mut row);
        assert!(row[0].is_nan(), "a masked cell is excluded");
        let message = Filling::learn(Fill::Zero, &inputs, &names(2), &[0]).unwrap_err().to_string();
        assert!(message.starts_with("\"f1\" is missing in all 1 training rows"), "{message}");
    }

    #[test]
    fn rows_with_too_few_inputs_are_told() {
        assert_eq!(
            too_few(&[1.0, NAN, NAN], 0.5).as_deref(),
            Some("only 1 of 3 inputs are present")
        );
        assert_eq!(too_few(&[1.0, NAN, 2.0], 0.5), None);
        assert_eq!(too_few(&[1.0, NAN], 0.5), None);
        assert_eq!(too_few(&[NAN, NAN], 0.0).as_deref(), Some("only 0 of 2 inputs are present"));
    }

    #[test]
    fn missing_cells_are_counted_by_column() {
        let samples = Samples::made(&[vec![1.0, NAN, 3.0, NAN]]);
        let filling = Filling { fill: Fill::Zero, values: vec![0.0], shares: vec![0.125] };
        assert_eq!(
            count(&samples, Some(&filling)),
            [MissingCells { name: "bin_0".into(), rows: 2, share: 0.5, training: 0.125 }]
        );
        assert_eq!(count(&Samples::made(&[vec![1.0]]), None), []);
    }
}
