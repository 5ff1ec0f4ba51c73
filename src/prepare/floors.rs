//! Divisors for bins that do not vary in the rows that a scaling is fitted on (`scale.constant =
//! "floor"`).
//!
//! Such a bin has no spread to divide by. Its floor is how far its content can be expected to
//! stray: for counts the Poisson error of the constant content, at least one count, as the steps
//! before make it of a typical row. The divisor is such that this error becomes as large as the
//! standard deviations of the other bins typically are after the step. So one stray count is no
//! alarm by itself, and a bin that comes alive is one.

use super::step::{Seen, Step};
use crate::config::scale::ScaleKind;

/// What bins hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Contents {
    /// Counts; each is this much of the rows that are fitted on (less than 1 where they were
    /// divided by something).
    Counts(f64),
    /// Numbers in a unit that all bins have, but no counts.
    Alike,
    /// Features, each in a unit of its own.
    Features,
}

/// How far a number in an unknown unit can be expected to stray: a tenth of it, or 1 where it is 0.
fn alone(value: f64) -> f64 {
    if value == 0.0 { 1.0 } else { 0.1 * value.abs() }
}

/// Replaces the divisors of a step that are 0, and the shifts there, so that rows like those seen
/// become 0.
pub(super) fn set(step: &mut Step, seen: &Seen<'_>, contents: Contents) {
    let lacking: Vec<usize> =
        (0..step.divisor.len()).filter(|&bin| step.divisor[bin] == 0.0).collect();
    if lacking.is_empty() {
        return;
    }
    let spreads = Spread::of(seen);
    let varying = || {
        (0..spreads.len()).filter(|&bin| step.divisor[bin] != 0.0 && spreads[bin].deviation() > 0.0)
    };
    let typical =
        median(varying().map(|bin| spreads[bin].deviation() / step.divisor[bin].abs()).collect())
            .unwrap_or(1.0);
    let errors = match contents {
        Contents::Counts(count) => count_errors(seen, count),
        Contents::Alike => vec![
            median(varying().map(|bin| spreads[bin].deviation()).collect())
                .unwrap_or(0.0);
            spreads.len()
        ],
        Contents::Features => vec![0.0; spreads.len()],
    };
    for &bin in &lacking {
        let spread = &spreads[bin];
        let error = Some(errors[bin])
            .filter(|error| *error > 0.0 && error.is_finite())
            .unwrap_or_else(|| alone(spread.first));
        // Divisors become single precision in some steps.
        step.divisor[bin] =
            (error.max(spread.deviation()) / typical).max(f64::from(f32::MIN_POSITIVE));
        step.shift[bin] = match step.kind {
            _ if spread.low == spread.high => spread.first,
            ScaleKind::Robust => step.shift[bin],
            _ => 0.0,
        };
    }
    step.floored = lacking.into_iter().map(|bin| bin as u32).collect();
}

/// How the contents of a bin are distributed.
#[derive(Clone, Debug)]
struct Spread {
    rows: f64,
    first: f64,
    low: f32,
    high: f32,
    /// Sums of differences from the first, and of their squares.
    sum: f64,
    squares: f64,
}

impl Spread {
    fn of(seen: &Seen<'_>) -> Vec<Self> {
        let empty = Self {
            rows: 0.0,
            first: 0.0,
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
            sum: 0.0,
            squares: 0.0,
        };
        let mut spreads = vec![empty; seen.columns.len()];
        seen.each(&mut |row| {
            spreads.iter_mut().zip(row).for_each(|(spread, value)| spread.add(*value))
        });
        spreads
    }

    fn add(&mut self, value: f32) {
        if value.is_nan() {
            return;
        }
        if self.rows == 0.0 {
            self.first = f64::from(value);
        }
        let difference = f64::from(value) - self.first;
        (self.low, self.high) = (self.low.min(value), self.high.max(value));
        (self.rows, self.sum, self.squares) =
            (self.rows + 1.0, self.sum + difference, self.squares + difference * difference);
    }

    /// The standard deviation (ddof 0).
    fn deviation(&self) -> f64 {
        let mean = self.sum / self.rows;
        (self.squares / self.rows - mean * mean).max(0.0).sqrt()
    }
}

/// What the Poisson error of each bin's mean content, of at least one count, is after the steps
/// before. Steps that go by the row divide by the area of the mean row.
fn count_errors(seen: &Seen<'_>, count: f64) -> Vec<f64> {
    let mut sums = vec![(0.0, 0_usize); seen.columns.len()];
    for row in seen.rows {
        let present =
            sums.iter_mut().zip(&row[seen.columns.clone()]).filter(|(_, value)| !value.is_nan());
        present.for_each(|(sum, value)| *sum = (sum.0 + f64::from(*value), sum.1 + 1));
    }
    let mut typical: Vec<f64> =
        sums.into_iter().map(|(sum, rows)| sum / rows.max(1) as f64).collect();
    let mut more: Vec<f64> =
        typical.iter().map(|content| content + count * (content / count).max(1.0).sqrt()).collect();
    for step in seen.before {
        if step.kind.by_row() {
            let all = [typical.len()];
            let mut first = 0;
            for &bins in if seen.layers.is_empty() { &all[..] } else { seen.layers } {
                let layer = first..first + bins;
                let sum: f64 = typical[layer.clone()].iter().sum();
                let whole = if step.kind == ScaleKind::MeanOne { sum / bins as f64 } else { sum };
                let share = |value: &mut f64| *value = if sum > 0.0 { *value / whole } else { 0.0 };
                typical[layer.clone()].iter_mut().for_each(share);
                more[layer].iter_mut().for_each(share);
                first += bins;
            }
        } else {
            for values in [&mut typical, &mut more] {
                values
                    .iter_mut()
                    .enumerate()
                    .for_each(|(bin, value)| *value = step.of_bin(bin, *value));
            }
        }
    }
    more.iter().zip(&typical).map(|(more, typical)| more - typical).collect()
}

/// The median of some numbers; nothing of nothing.
fn median(mut numbers: Vec<f64>) -> Option<f64> {
    let middle = numbers.len() / 2;
    (!numbers.is_empty()).then(|| *numbers.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{
            data::Fill,
            scale::{Constant, FitOn},
        },
        prepare::scale::{Plan, Scaler},
    };
    use proptest::prelude::*;

    fn plan(kinds: &[ScaleKind], contents: Contents, width: usize) -> Plan {
        Plan {
            kinds: kinds.to_vec(),
            fit_on: FitOn::Train,
            constant: Constant::Floor,
            contents,
            width,
            layers: vec![],
            reference: vec![2.0, 0.0, 0.0],
            clip: None,
            added: None,
            fill: Fill::Reject,
        }
    }

    /// Three bins: one varies by 2 around 100, one is always 0, one always 9.
    const ROWS: [[f32; 3]; 4] =
        [[98.0, 0.0, 9.0], [102.0, 0.0, 9.0], [98.0, 0.0, 9.0], [102.0, 0.0, 9.0]];

    fn rows() -> Vec<&'static [f32]> {
        ROWS.iter().map(<[f32; 3]>::as_slice).collect()
    }

    fn scaled(scaler: &Scaler, row: [f32; 3]) -> [f32; 3] {
        let mut row = row;
        scaler.apply(&mut row);
        row
    }

    #[test]
    fn one_poisson_error_becomes_as_large_as_a_usual_deviation() {
        for (kind, deviation) in [
            (ScaleKind::Range, 0.5),
            (ScaleKind::MinMax, 0.5),
            (ScaleKind::Standard, 1.0),
            (ScaleKind::Robust, 0.5),
            (ScaleKind::Reference, 1.0),
        ] {
            let scaler = Scaler::fit(plan(&[kind], Contents::Counts(1.0), 3), &rows());
            assert_eq!(scaled(&scaler, ROWS[0])[1..], [0.0, 0.0], "{kind}: rows of training are 0");
            // One count where there was none, three where there were nine.
            let other = scaled(&scaler, [98.0, 1.0, 12.0]);
            assert!(
                (other[1] - deviation).abs() < 1e-6 && (other[2] - deviation).abs() < 1e-6,
                "{kind}: {other:?}"
            );
            assert_eq!(
                (scaler.constant_inputs(), scaler.blind_inputs()),
                (vec![1, 2], vec![]),
                "{kind}"
            );
        }
    }

    #[test]
    fn a_mean_is_its_own_floor_but_where_it_is_0() {
        let scaler = Scaler::fit(plan(&[ScaleKind::BinMean], Contents::Counts(1.0), 3), &rows());
        assert_eq!(scaler.steps[0].divisor[0], 100.0);
        let row = scaled(&scaler, [100.0, 1.0, 18.0]);
        assert!((row[1] - 0.02).abs() < 1e-6 && row[0] == 1.0 && row[2] == 2.0, "{row:?}");
        assert_eq!(
            (scaler.steps[0].floored.as_slice(), scaler.bin_means()),
            ([1].as_slice(), Some(vec![100.0, 0.0, 9.0]))
        );
    }

    #[test]
    fn errors_go_through_the_steps_before() {
        let rows: Vec<Vec<f32>> = (0..8)
            .map(|i| vec![90.0 + 4.0 * (i % 2) as f32, 0.0, 110.0 - 4.0 * (i % 2) as f32])
            .collect();
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        for (first, one) in [
            (ScaleKind::UnitArea, 1.0 / 200.0),
            (ScaleKind::MeanOne, 3.0 / 200.0),
            (ScaleKind::Sqrt, 1.0),
            (ScaleKind::Log1p, std::f64::consts::LN_2),
        ] {
            let scaler =
                Scaler::fit(plan(&[first, ScaleKind::Standard], Contents::Counts(1.0), 3), &rows);
            assert!(
                (scaler.steps[1].divisor[1] - one).abs() < 1e-9,
                "{first}: {:?}",
                scaler.steps[1]
            );
        }
        // Counts that were divided by 4 are steps of a quarter.
        let scaler = Scaler::fit(plan(&[ScaleKind::Standard], Contents::Counts(0.25), 3), &rows);
        assert!((scaler.steps[0].divisor[1] - 0.25).abs() < 1e-12);
        // A second step sees what the first makes of one count.
        let twice = Scaler::fit(
            plan(&[ScaleKind::Range, ScaleKind::Standard], Contents::Counts(1.0), 3),
            &rows,
        );
        assert!((scaled(&twice, [90.0, 1.0, 110.0])[1] - 1.0).abs() < 1e-6, "{twice:?}");
    }

    #[test]
    fn features_and_fractions_have_floors_without_counts() {
        let scaler = Scaler::fit(plan(&[ScaleKind::Standard], Contents::Features, 3), &rows());
        assert_eq!(scaler.steps[0].divisor[1..], [1.0, 0.9]);
        let scaler = Scaler::fit(plan(&[ScaleKind::Standard], Contents::Alike, 3), &rows());
        assert_eq!(scaler.steps[0].divisor[1..], [2.0, 2.0]);
        // Where nothing varies.
        let same = [ROWS[0].as_slice(); 3];
        let scaler = Scaler::fit(plan(&[ScaleKind::Range], Contents::Counts(1.0), 3), &same);
        assert_eq!(scaled(&scaler, ROWS[0]), [0.0; 3]);
        assert!(scaled(&scaler, [980.0, 50.0, 9.0])[..2].iter().all(|value| *value > 40.0));
    }

    #[test]
    fn a_bin_that_hardly_varies_is_robust_by_its_deviation() {
        let values =
            [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [3.0, 0.0, 0.0], [4.0, 0.0, 0.0], [5.0, 60.0, 0.0]];
        let rows: Vec<&[f32]> = values.iter().map(<[f32; 3]>::as_slice).collect();
        let Step { shift, divisor, .. } =
            &Scaler::fit(plan(&[ScaleKind::Robust], Contents::Counts(1.0), 3), &rows).steps[0];
        // The first has a standard deviation of √2 and quartiles 2 apart; the second has one of 24.
        let typical = 0.5_f64.sqrt();
        assert!(
            (divisor[1] - 24.0 / typical).abs() < 1e-9 && (divisor[2] - 1.0 / typical).abs() < 1e-9,
            "{divisor:?}"
        );
        assert_eq!((shift[1], divisor[0]), (0.0, 2.0));
    }

    #[test]
    fn a_file_that_is_scaled_by_its_own_rows_keeps_the_floors_of_the_training() {
        let scaler = Scaler::fit(
            Plan { fit_on: FitOn::EachFile, ..plan(&[ScaleKind::Range], Contents::Counts(1.0), 3) },
            &rows(),
        );
        // All of a file: a bin that varied is dead, one that was empty holds the same everywhere,
        // one that was constant varies.
        let file = [[0.0, 5000.0, 9.0], [0.0, 5000.0, 900.0]];
        let own = scaler.refit(&[&file[0], &file[1]]);
        assert_eq!(own.steps, scaler.steps);
        assert!(scaled(&own, file[1])[1..].iter().all(|value| *value > 100.0));
        let zero = Scaler::fit(
            Plan {
                constant: Constant::Zero,
                ..plan(&[ScaleKind::Range], Contents::Counts(1.0), 3)
            },
            &rows(),
        );
        assert_eq!(
            scaled(&zero.refit(&[&file[0], &file[1]]), file[1])[1],
            0.0,
            "\"zero\" is blind there"
        );
    }

    proptest! {
        #[test]
        fn rows_seen_stay_as_without_floors_and_constant_bins_are_0(
            varying in prop::collection::vec(0_u16..500, 12),
            constants in prop::collection::vec(0_u16..40, 3),
            kinds in prop::collection::vec(prop::sample::select(vec![ScaleKind::UnitArea, ScaleKind::Sqrt, ScaleKind::Log1p, ScaleKind::MeanOne]), 0..2),
            last in prop::sample::select(vec![ScaleKind::Range, ScaleKind::MinMax, ScaleKind::BinMean]),
        ) {
            let rows: Vec<Vec<f32>> = varying.chunks(3).map(|row| row.iter().chain(&constants).map(|value| f32::from(*value)).collect()).collect();
            let seen: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let kinds: Vec<ScaleKind> = kinds.into_iter().chain([last]).collect();
            let floor = Scaler::fit(plan(&kinds, Contents::Counts(1.0), 6), &seen);
            let zero = Scaler::fit(Plan { constant: Constant::Zero, ..plan(&kinds, Contents::Counts(1.0), 6) }, &seen);
            for row in &rows {
                let (mut a, mut b) = (row.clone(), row.clone());
                floor.apply(&mut a);
                zero.apply(&mut b);
                prop_assert_eq!(a, b);
            }
            prop_assert!(floor.steps.iter().flat_map(|step| &step.divisor).all(|divisor| *divisor > 0.0 && divisor.is_finite()));
        }
    }
}
