//! Divides runs into parts of about equal numbers of rows.

use super::{join::runs::run_key, samples::Role, table::Table};
use crate::{
    config::Part,
    error::{Error, Result},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

/// The runs of a part.
pub struct Dealt {
    /// Run numbers of training files and of test files.
    numbers: [Arc<BTreeSet<u32>>; 2],
    /// Positions of files without run numbers that belong to the part.
    files: BTreeSet<usize>,
    /// A note with the number of runs in the part and in total.
    pub note: String,
}

impl Dealt {
    /// The runs to read from the files of a role.
    pub fn runs(&self, role: Role) -> Arc<BTreeSet<u32>> {
        self.numbers[role as usize].clone()
    }

    /// Whether a file has rows of the part.
    pub fn has(&self, at: usize, role: Role, table: &Table) -> bool {
        self.files.contains(&at)
            || table
                .rows
                .iter()
                .any(|row| row.run.is_some_and(|run| self.numbers[role as usize].contains(&run)))
    }
}

/// The runs of a part of the files; `tables` has the identities of their rows. Runs are taken in
/// order; a run belongs to the part that contains the middle of its rows. Runs of training files
/// and of test files are divided separately.
pub fn deal(part: Part, files: &[(Role, PathBuf)], tables: &[Table]) -> Result<Dealt> {
    let (mut numbers, mut own, mut notes) =
        ([BTreeSet::new(), BTreeSet::new()], BTreeSet::new(), vec![]);
    for role in [Role::Train, Role::Test] {
        let mut rows: BTreeMap<(bool, Option<u32>, u32), usize> = BTreeMap::new();
        for (at, (_, table)) in
            files.iter().zip(tables).enumerate().filter(|(_, ((of, _), _))| *of == role)
        {
            for row in &table.rows {
                let (number, source) = run_key(row.run, at);
                *rows.entry((number.is_none(), number, source)).or_default() += 1;
            }
        }
        if rows.is_empty() {
            continue;
        }
        let parts = of_runs(rows.values().copied(), part.of);
        let taken: Vec<_> = rows
            .keys()
            .zip(&parts)
            .filter(|(_, of)| **of == part.number)
            .map(|(run, _)| run)
            .collect();
        if taken.is_empty() {
            return Err(Error::input(format!(
                "part {part}: no run falls into it; there are {}, use fewer parts",
                rows.len()
            )));
        }
        let of_role = if files.iter().any(|(of, _)| *of != role) {
            format!(" of the {role} files")
        } else {
            String::new()
        };
        notes.push(format!("{} of {} runs{of_role}", taken.len(), rows.len()));
        for (_, number, source) in taken {
            match number {
                Some(number) => numbers[role as usize].insert(*number),
                None => own.insert(*source as usize),
            };
        }
    }
    Ok(Dealt {
        numbers: numbers.map(Arc::new),
        files: own,
        note: format!("part {part}: {}", notes.join(", ")),
    })
}

/// The part of each run, from 1, from the number of rows of each run.
fn of_runs(rows: impl Iterator<Item = usize> + Clone, of: u32) -> Vec<u32> {
    let all = rows.clone().sum::<usize>().max(1) as u128;
    let mut before = 0_u128;
    let part = |rows: usize| {
        let middle = 2 * before + rows as u128;
        before += rows as u128;
        (middle * u128::from(of) / (2 * all)).min(u128::from(of) - 1) as u32 + 1
    };
    rows.map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn runs_are_dealt_in_order() {
        assert_eq!(of_runs([10, 10, 10, 10].into_iter(), 2), [1, 1, 2, 2]);
        assert_eq!(of_runs([1, 30, 1, 1].into_iter(), 2), [1, 1, 2, 2]);
        assert_eq!(of_runs([5].into_iter(), 3), [2]);
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_complete_and_about_equal(rows in prop::collection::vec(1_usize..500, 1..60), of in 1_u32..9) {
            let parts = of_runs(rows.iter().copied(), of);
            prop_assert_eq!(parts.len(), rows.len());
            prop_assert!(parts.is_sorted() && parts.iter().all(|part| (1..=of).contains(part)));
            let (all, largest) = (rows.iter().sum::<usize>() as f64, *rows.iter().max().unwrap() as f64);
            for part in 1..=of {
                let own: usize = rows.iter().zip(&parts).filter(|(_, of)| **of == part).map(|(rows, _)| rows).sum();
                prop_assert!((own as f64 - all / f64::from(of)).abs() <= largest, "part {} has {} of {}", part, own, all);
            }
        }
    }
}
