//! Rectangles of a map's bins, and their counterparts after cutting and rebinning.

use super::shape::Shape;
use serde::{Deserialize, Serialize};

/// A rectangle of a map's bins: inclusive ranges, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Area {
    /// First and last bin in x.
    pub x: (usize, usize),
    /// First and last bin in y.
    pub y: (usize, usize),
}

impl Area {
    /// Number of bins.
    pub fn bins(self) -> usize {
        (self.x.1 - self.x.0 + 1).saturating_mul(self.y.1 - self.y.0 + 1)
    }

    /// Whether it contains a bin.
    pub fn contains(self, x: usize, y: usize) -> bool {
        (self.x.0..=self.x.1).contains(&x) && (self.y.0..=self.y.1).contains(&y)
    }

    /// The bins in both.
    pub fn common(self, other: Self) -> Option<Self> {
        let both = |a: (usize, usize), b: (usize, usize)| {
            Some((a.0.max(b.0), a.1.min(b.1))).filter(|(first, last)| first <= last)
        };
        Some(Self { x: both(self.x, other.x)?, y: both(self.y, other.y)? })
    }

    /// The smallest area that contains both.
    pub fn hull(self, other: Self) -> Self {
        let hull = |a: (usize, usize), b: (usize, usize)| (a.0.min(b.0), a.1.max(b.1));
        Self { x: hull(self.x, other.x), y: hull(self.y, other.y) }
    }

    /// Intersection over union: the number of bins in both over the number in either. 1 for equal
    /// areas, 0 for disjoint ones.
    pub fn iou(self, other: Self) -> f64 {
        let common = self.common(other).map_or(0, Self::bins);
        common as f64 / (self.bins() + other.bins() - common) as f64
    }
}

/// Formatted as `x 3–18, y 0–1`.
impl std::fmt::Display for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let range = |(first, last): (usize, usize)| {
            if first == last { first.to_string() } else { format!("{first}–{last}") }
        };
        write!(f, "x {}, y {}", range(self.x), range(self.y))
    }
}

/// The transform from the bins of a layer's map in the file to those of the scored map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The layer.
    pub layer: String,
    /// The shape in the file (without underflow and overflow if those are stripped).
    pub filed: Shape,
    /// Number of columns (in x) and rows (in y) cut out of the middle.
    pub cut: (usize, usize),
    /// Number of neighbours then added up in x and y.
    pub rebin: (usize, usize),
}

impl Frame {
    /// Transforms an area of the file. An area across the cut closes up; `None` if it is entirely
    /// inside the cut. A bin that is a sum of several belongs to the area if any of them does.
    pub fn area(&self, filed: Area) -> Option<Area> {
        let axis = |(first, last): (usize, usize), bins: usize, cut: usize, rebin: usize| {
            let start = bins.saturating_sub(cut) / 2;
            let left = |before: usize| before.min(start) + before.saturating_sub(start + cut);
            let (first, end) = (left(first), left(last + 1));
            (first < end).then(|| (first / rebin.max(1), (end - 1) / rebin.max(1)))
        };
        Some(Area {
            x: axis(filed.x, self.filed.x, self.cut.0, self.rebin.0)?,
            y: axis(filed.y, self.filed.y, self.cut.1, self.rebin.1)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn area(x: (usize, usize), y: (usize, usize)) -> Area {
        Area { x, y }
    }

    fn some_area() -> impl Strategy<Value = Area> {
        (0_usize..9, 0_usize..5, 0_usize..9, 0_usize..5)
            .prop_map(|(x, w, y, h)| area((x, x + w), (y, y + h)))
    }

    fn bins(area: Area) -> Vec<(usize, usize)> {
        (area.y.0..=area.y.1).flat_map(|y| (area.x.0..=area.x.1).map(move |x| (x, y))).collect()
    }

    #[test]
    fn an_area_inside_the_cross_vanishes_and_one_across_it_closes_up() {
        let frame = Frame {
            layer: "PXLayer_1".into(),
            filed: Shape { y: 26, x: 72 },
            cut: (8, 2),
            rebin: (1, 1),
        };
        assert_eq!(frame.area(area((32, 39), (0, 25))), None);
        assert_eq!(frame.area(area((0, 71), (12, 13))), None);
        assert_eq!(frame.area(area((30, 41), (11, 14))), Some(area((30, 33), (11, 12))));
        assert_eq!(frame.area(area((39, 40), (0, 0))), Some(area((32, 32), (0, 0))));
        assert_eq!(frame.area(area((71, 71), (25, 25))), Some(area((63, 63), (23, 23))));
        let rebinned = Frame { rebin: (8, 3), ..frame };
        assert_eq!(rebinned.area(area((7, 8), (0, 2))), Some(area((0, 1), (0, 0))));
    }

    proptest! {
        #[test]
        fn areas_are_sets_of_bins(a in some_area(), b in some_area()) {
            let (in_a, in_b) = (bins(a), bins(b));
            let both = in_a.iter().filter(|bin| in_b.contains(bin)).count();
            prop_assert_eq!(a.bins(), in_a.len());
            prop_assert_eq!(a.common(b).map_or(0, Area::bins), both);
            prop_assert_eq!(a.iou(b), both as f64 / (in_a.len() + in_b.len() - both) as f64);
            prop_assert!(in_a.iter().chain(&in_b).all(|&(x, y)| a.hull(b).contains(x, y)));
            let hull = a.hull(b);
            for x in [hull.x.0, hull.x.1] {
                prop_assert!(in_a.iter().chain(&in_b).any(|bin| bin.0 == x));
            }
        }

        #[test]
        fn a_frame_takes_areas_where_it_takes_their_bins(
            a in some_area(), x in 14_usize..17, y in 14_usize..17, cx in 0_usize..7, cy in 0_usize..7, rx in 1_usize..4, ry in 1_usize..4,
        ) {
            let frame = Frame { layer: String::new(), filed: Shape { y, x }, cut: (cx, cy), rebin: (rx, ry) };
            // Each bin of an axis in the file and the resulting bin, by cutting the list of bins.
            let axis = |bins: usize, cut: usize, rebin: usize| {
                let mut kept: Vec<usize> = (0..bins).collect();
                kept.drain((bins - cut) / 2..(bins - cut) / 2 + cut);
                move |at: usize| kept.iter().position(|bin| *bin == at).map(|at| at / rebin)
            };
            let (to_x, to_y) = (axis(x, cx, rx), axis(y, cy, ry));
            let mut expected: Vec<(usize, usize)> = bins(a).into_iter().filter_map(|(x, y)| Some((to_x(x)?, to_y(y)?))).collect();
            expected.sort_by_key(|&(x, y)| (y, x));
            expected.dedup();
            prop_assert_eq!(frame.area(a).map(bins).unwrap_or_default(), expected);
        }
    }
}
