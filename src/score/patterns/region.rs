//! Connected bins of a map.

use super::settings::Side;
use crate::data::{areas::Area, shape::Shape};
use serde::{Deserialize, Serialize};

/// Adjacent bins in one row of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// The row of the map.
    pub y: usize,
    /// The first bin in x.
    pub first: usize,
    /// The last bin in x, inclusive.
    pub last: usize,
}

/// Bad bins of one side in a layer that touch each other, including at corners.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Position of the layer.
    pub layer: usize,
    /// Whether the bins are too low or too high.
    pub side: Side,
    /// The smallest rectangle around them.
    pub area: Area,
    /// Number of bins.
    pub bins: usize,
    /// The sum of their squared errors.
    pub error: f64,
    /// Whether one of the bins coincides with enough other bad layers.
    pub coincident: bool,
    /// The bins, row by row.
    pub spans: Vec<Span>,
}

/// A region is known if at least this share of its bins is in areas known to be masked.
pub const KNOWN: f64 = 0.5;

impl Region {
    /// Whether the share of its bins in masked areas is at least [`KNOWN`].
    pub fn is_known(&self, masked: &[Area]) -> bool {
        self.share_in(masked) >= KNOWN
    }

    /// The share of its bins that are in any of `areas`.
    pub fn share_in(&self, areas: &[Area]) -> f64 {
        let inside = |span: &Span| {
            (span.first..=span.last)
                .filter(|&x| areas.iter().any(|area| area.contains(x, span.y)))
                .count()
        };
        self.spans.iter().map(inside).sum::<usize>() as f64 / self.bins as f64
    }
}

/// Groups of marked bins that touch each other, including at corners, in the order of their first
/// bins; the spans of each group are in the order of rows.
pub(super) fn components(marked: &[bool], shape: Shape) -> Vec<Vec<Span>> {
    let mut spans: Vec<Span> = vec![];
    // A disjoint-set forest: each span points to a span of its group that is not after it.
    let mut parent: Vec<usize> = vec![];
    let mut above = 0..0;
    for (y, row) in marked.chunks_exact(shape.x.max(1)).enumerate() {
        let start = spans.len();
        let mut x = 0;
        while let Some(first) = row[x..].iter().position(|marked| *marked).map(|ahead| x + ahead) {
            x = row[first..]
                .iter()
                .position(|marked| !marked)
                .map_or(shape.x, |ahead| first + ahead);
            parent.push(spans.len());
            spans.push(Span { y, first, last: x - 1 });
        }
        let (mut up, mut here) = (above.start, start);
        while up < above.end && here < spans.len() {
            let (a, b) = (spans[up], spans[here]);
            if a.first <= b.last + 1 && b.first <= a.last + 1 {
                join(&mut parent, up, here);
            }
            if a.last < b.last { up += 1 } else { here += 1 }
        }
        above = start..spans.len();
    }
    let mut groups: Vec<Vec<Span>> = vec![];
    let mut group_of = vec![0; spans.len()];
    for (at, span) in spans.into_iter().enumerate() {
        let root = root(&mut parent, at);
        if root == at {
            group_of[at] = groups.len();
            groups.push(vec![]);
        }
        groups[group_of[root]].push(span);
    }
    groups
}

/// The first member of the group of `at`, with path compression.
pub(super) fn root(parent: &mut [usize], at: usize) -> usize {
    let mut root = at;
    while parent[root] != root {
        root = parent[root];
    }
    let mut next = at;
    while next != root {
        next = std::mem::replace(&mut parent[next], root);
    }
    root
}

/// Merges the groups of two members.
pub(super) fn join(parent: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(parent, a), root(parent, b));
    parent[a.max(b)] = a.min(b);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Groups found by flood fill from each bin.
    fn flooded(marked: &[bool], shape: Shape) -> BTreeSet<BTreeSet<(usize, usize)>> {
        let mut left: BTreeSet<(usize, usize)> = (0..marked.len())
            .filter(|&at| marked[at])
            .map(|at| (at / shape.x, at % shape.x))
            .collect();
        let mut groups = BTreeSet::new();
        while let Some(start) = left.pop_first() {
            let (mut group, mut border) = (BTreeSet::from([start]), vec![start]);
            while let Some((y, x)) = border.pop() {
                let near: Vec<_> = left
                    .iter()
                    .copied()
                    .filter(|&(ny, nx)| ny.abs_diff(y) <= 1 && nx.abs_diff(x) <= 1)
                    .collect();
                near.iter().for_each(|bin| _ = left.remove(bin));
                group.extend(&near);
                border.extend(near);
            }
            groups.insert(group);
        }
        groups
    }

    #[test]
    fn corners_touch() {
        let shape = Shape { y: 2, x: 5 };
        let marked =
            [true, false, false, true, false, false, true, false, false, true].map(|marked| marked);
        let groups = components(&marked, shape);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0], [Span { y: 0, first: 0, last: 0 }, Span { y: 1, first: 1, last: 1 }]);
    }

    #[test]
    fn the_share_of_a_region_in_areas_counts_each_bin_once() {
        let spans = vec![Span { y: 0, first: 0, last: 3 }, Span { y: 1, first: 2, last: 3 }];
        let area = Area { x: (0, 3), y: (0, 1) };
        let region = Region {
            layer: 0,
            side: Side::Dead,
            area,
            bins: 6,
            error: 1.0,
            coincident: false,
            spans,
        };
        assert_eq!(region.share_in(&[]), 0.0);
        assert_eq!(
            region.share_in(&[Area { x: (2, 9), y: (0, 0) }, Area { x: (3, 3), y: (0, 9) }]),
            0.5
        );
        assert!(region.is_known(&[Area { x: (2, 9), y: (0, 0) }, Area { x: (3, 3), y: (0, 9) }]));
        assert!(!region.is_known(&[Area { x: (2, 9), y: (0, 0) }]));
    }

    proptest! {
        #[test]
        fn components_are_those_that_flooding_finds(y in 1_usize..9, x in 1_usize..12, bits in prop::collection::vec(any::<u8>(), 96), few in 60_u8..230) {
            let shape = Shape { y, x };
            let marked: Vec<bool> = bits[..shape.width()].iter().map(|bit| *bit > few).collect();
            let groups = components(&marked, shape);
            let bins = |group: &Vec<Span>| group.iter().flat_map(|span| (span.first..=span.last).map(|x| (span.y, x))).collect::<Vec<_>>();
            prop_assert_eq!(groups.iter().map(|group| bins(group).into_iter().collect()).collect::<BTreeSet<_>>(), flooded(&marked, shape));
            prop_assert_eq!(groups.iter().map(|group| bins(group).len()).sum::<usize>(), marked.iter().filter(|marked| **marked).count());
            prop_assert!(groups.windows(2).all(|pair| pair[0][0] < pair[1][0]) && groups.iter().all(|group| group.is_sorted()));
        }
    }
}
