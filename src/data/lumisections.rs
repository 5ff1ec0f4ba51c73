//! Identities of lumisections and ranges of them.

use std::fmt;

/// A lumisection: about 23 s of data taking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lumisection {
    /// The detector's run, if known.
    pub run: Option<u32>,
    /// Number within the run, from 1.
    pub ls: u32,
}

impl fmt::Display for Lumisection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.run {
            Some(run) => write!(f, "run {run} LS {}", self.ls),
            None => write!(f, "LS {}", self.ls),
        }
    }
}

/// Inclusive ranges of consecutive numbers: `[1, 2, 3, 7]` gives `[(1, 3), (7, 7)]`. Accepts any
/// order, returns ascending ranges.
pub fn ranges(numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let mut ranges: Vec<(u32, u32)> = vec![];
    for number in sorted {
        match ranges.last_mut() {
            Some((_, last)) if number <= last.saturating_add(1) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// Formats ranges as `1–3, 7`.
pub fn show_ranges(numbers: &[u32]) -> String {
    let parts: Vec<String> = ranges(numbers)
        .into_iter()
        .map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}–{last}") }
            },
        )
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_are_joined() {
        assert_eq!(ranges(&[7, 1, 3, 2, 2]), [(1, 3), (7, 7)]);
        assert_eq!(show_ranges(&[7, 1, 3, 2]), "1–3, 7");
        assert_eq!(show_ranges(&[]), "");
    }

    proptest! {
        #[test]
        fn ranges_hold_exactly_the_numbers(numbers in prop::collection::btree_set(0_u32..500, 0..80)) {
            let list: Vec<u32> = numbers.iter().copied().collect();
            let back: std::collections::BTreeSet<u32> = ranges(&list).into_iter().flat_map(|(a, b)| a..=b).collect();
            prop_assert_eq!(back, numbers);
        }
    }
}
