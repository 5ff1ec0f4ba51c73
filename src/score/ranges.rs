//! Compares new inputs with the ranges of the training rows. The comparison takes place before the
//! first scaling step with fitted parameters, so that it detects what scaling hides (a bin set to
//! 0, a clipped bin, a file scaled by its own rows). Scaling steps that use only the row itself are
//! applied before, so that the size of histograms does not matter if the scaling removes it.

use super::drift::is_outside;
use crate::prepare::Prepared;
use rayon::prelude::*;

/// Lowest and highest value of an input.
pub type Range = (f32, f32);

/// Rows that a thread computes at a time.
const AT_ONCE: usize = 1024;

/// Counts over some rows, input by input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of rows in which it is present.
    pub present: Vec<usize>,
    /// Number of rows in which it is outside the range of the training rows.
    pub outside: Vec<usize>,
    /// Number of rows in which it differs from its constant value in the training rows.
    pub moved: Vec<usize>,
}

/// Folds rows with `see`, starting from `empty`, and joins the partial results in order.
fn each<T: Clone + Send + Sync>(
    prepared: &Prepared,
    rows: &[u32],
    empty: T,
    see: impl Fn(&mut T, &[f32]) + Sync,
    join: impl Fn(&mut T, T),
) -> T {
    let part = |rows: &[u32]| {
        let (mut part, mut row) = (empty.clone(), vec![]);
        for &at in rows {
            row.clear();
            prepared.before_learned(at, &mut row);
            see(&mut part, &row);
        }
        part
    };
    let parts: Vec<T> = rows.par_chunks(AT_ONCE).map(part).collect();
    let mut all = empty;
    parts.into_iter().for_each(|part| join(&mut all, part));
    all
}

/// The range of each input over some rows.
pub fn learn(prepared: &Prepared, rows: &[u32]) -> Vec<Range> {
    let empty = vec![(f32::MAX, f32::MIN); prepared.scaler.inputs()];
    let see = |ranges: &mut Vec<Range>, row: &[f32]| {
        ranges
            .iter_mut()
            .zip(row)
            .for_each(|(range, value)| *range = (range.0.min(*value), range.1.max(*value)))
    };
    let join = |all: &mut Vec<Range>, part: Vec<Range>| {
        all.iter_mut()
            .zip(part)
            .for_each(|(all, part)| *all = (all.0.min(part.0), all.1.max(part.1)))
    };
    each(prepared, rows, empty, see, join)
}

/// Counts the rows that are outside the ranges.
pub fn compare(prepared: &Prepared, rows: &[u32], ranges: &[Range]) -> Counts {
    let empty = Counts {
        present: vec![0; ranges.len()],
        outside: vec![0; ranges.len()],
        moved: vec![0; ranges.len()],
    };
    let see = |counts: &mut Counts, row: &[f32]| {
        for (at, (value, range)) in
            row.iter().zip(ranges).enumerate().filter(|(_, (value, _))| !value.is_nan())
        {
            counts.present[at] += 1;
            counts.outside[at] += usize::from(is_outside(*value, *range));
            counts.moved[at] += usize::from(range.0 == range.1 && *value != range.0);
        }
    };
    let add = |all: &mut Vec<usize>, part: Vec<usize>| {
        all.iter_mut().zip(part).for_each(|(all, part)| *all += part)
    };
    let join = |all: &mut Counts, part: Counts| {
        add(&mut all.present, part.present);
        add(&mut all.outside, part.outside);
        add(&mut all.moved, part.moved);
    };
    each(prepared, rows, empty, see, join)
}
