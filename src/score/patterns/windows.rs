//! The window filter: keeps bad bins that are close together.

use super::{mask::ROUNDING, settings::Window};
use crate::data::shape::Shape;

/// The window filter, with buffers that are reused from map to map.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Bad and unmasked bins above and left of each corner, `[y + 1, x + 1]`.
    sums: Vec<(u32, u32)>,
    /// Number of windows that contain each bin, as differences in x and y, `[y + 1, x + 1]`.
    held: Vec<i32>,
}

impl Filter {
    /// Keeps the bad bins in windows with enough bad bins among the unmasked ones; returns their
    /// number. A window with more than half of its bins masked is ignored. Without windows every
    /// bad bin is kept.
    pub fn keep(
        &mut self,
        shape: Shape,
        windows: &[Window],
        fill: f64,
        masked: &[bool],
        bad: &[bool],
        kept: &mut [bool],
    ) -> usize {
        let Shape { y: rows, x: columns } = shape;
        let stride = columns + 1;
        let all = bad.iter().filter(|bad| **bad).count();
        if windows.is_empty() {
            kept.copy_from_slice(bad);
            return all;
        }
        // Most maps have too few bad bins to fill even a half-masked window.
        if windows
            .iter()
            .all(|window| (all as f64) + ROUNDING < fill * (window.x * window.y).div_ceil(2) as f64)
        {
            kept.fill(false);
            return 0;
        }
        self.sums.clear();
        self.sums.resize(stride * (rows + 1), (0, 0));
        self.held.clear();
        self.held.resize(stride * (rows + 1), 0);
        for y in 0..rows {
            let mut row = (0, 0);
            for x in 0..columns {
                let at = y * columns + x;
                row = (row.0 + u32::from(bad[at]), row.1 + u32::from(!masked[at]));
                let above = self.sums[y * stride + x + 1];
                self.sums[(y + 1) * stride + x + 1] = (above.0 + row.0, above.1 + row.1);
            }
        }
        for window in windows.iter().filter(|window| window.x <= columns && window.y <= rows) {
            let bins = (window.x * window.y) as u32;
            for y in 0..=rows - window.y {
                let (top, bottom) = (y * stride, (y + window.y) * stride);
                for x in 0..=columns - window.x {
                    let corners = [bottom + x + window.x, top + x, top + x + window.x, bottom + x];
                    let [a, b, c, d] = corners.map(|corner| self.sums[corner]);
                    let (bad, open) = (a.0 + b.0 - c.0 - d.0, a.1 + b.1 - c.1 - d.1);
                    if bad > 0
                        && 2 * open >= bins
                        && f64::from(bad) + ROUNDING >= fill * f64::from(open)
                    {
                        self.held[corners[0]] += 1;
                        self.held[corners[1]] += 1;
                        self.held[corners[2]] -= 1;
                        self.held[corners[3]] -= 1;
                    }
                }
            }
        }
        let mut count = 0;
        for y in 0..rows {
            let mut row = 0;
            for x in 0..columns {
                let at = y * stride + x;
                row += self.held[at];
                let above = if y > 0 { self.held[at - stride] } else { 0 };
                self.held[at] = row + above;
                kept[y * columns + x] = bad[y * columns + x] && self.held[at] > 0;
                count += usize::from(kept[y * columns + x]);
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by its definition: each window position in turn, bin by bin.
    fn slowly(
        shape: Shape,
        windows: &[Window],
        fill: f64,
        masked: &[bool],
        bad: &[bool],
    ) -> Vec<bool> {
        let mut kept = vec![false; shape.width()];
        for window in windows {
            for y in 0..(shape.y + 1).saturating_sub(window.y) {
                for x in 0..(shape.x + 1).saturating_sub(window.x) {
                    let inside = || {
                        (y..y + window.y)
                            .flat_map(|y| (x..x + window.x).map(move |x| y * shape.x + x))
                    };
                    let open: Vec<usize> = inside().filter(|&at| !masked[at]).collect();
                    let count = open.iter().filter(|&&at| bad[at]).count();
                    if open.len() as f64 >= 0.5 * inside().count() as f64
                        && count as f64 / open.len() as f64 >= fill - 1e-12
                    {
                        open.iter().filter(|&&at| bad[at]).for_each(|&at| kept[at] = true);
                    }
                }
            }
        }
        kept
    }

    fn keep(
        shape: Shape,
        windows: &[Window],
        fill: f64,
        masked: &[bool],
        bad: &[bool],
    ) -> Vec<bool> {
        let mut kept = vec![false; shape.width()];
        // Buffers used for a larger map before must not matter.
        let mut filter = Filter { sums: vec![(7, 7); 999], held: vec![7; 999] };
        let count = filter.keep(shape, windows, fill, masked, bad, &mut kept);
        assert_eq!(count, kept.iter().filter(|kept| **kept).count());
        kept
    }

    #[test]
    fn lone_bins_go_and_those_of_a_full_window_stay() {
        let shape = Shape { y: 4, x: 6 };
        let bad: Vec<bool> = "
            ##...#
            ##....
            ...###
            #....."
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| c == '#')
            .collect();
        let kept =
            keep(shape, &[Window { x: 2, y: 2 }, Window { x: 3, y: 1 }], 1.0, &[false; 24], &bad);
        let shown: String = kept.iter().map(|kept| if *kept { '#' } else { '.' }).collect();
        assert_eq!(shown, "##....##.......###......");
        assert_eq!(keep(shape, &[], 1.0, &[false; 24], &bad), bad);
    }

    #[test]
    fn masked_bins_count_as_neither_and_a_mostly_masked_window_says_nothing() {
        let shape = Shape { y: 1, x: 4 };
        let window = [Window { x: 4, y: 1 }];
        let bad = [true, true, false, false];
        assert_eq!(keep(shape, &window, 1.0, &[false, false, true, true], &bad), bad);
        assert_eq!(
            keep(shape, &window, 1.0, &[false, true, true, true], &[true, false, false, false]),
            [false; 4]
        );
    }

    proptest! {
        #[test]
        fn the_filter_does_what_its_definition_says(
            y in 1_usize..8, x in 1_usize..10, bits in prop::collection::vec(0_u8..10, 70), few in 1_u8..9,
            windows in prop::collection::vec((1_usize..6, 1_usize..5), 1..4), fill in prop::sample::select(vec![0.3, 0.5, 0.75, 0.8, 1.0]),
        ) {
            let shape = Shape { y, x };
            let masked: Vec<bool> = bits[..shape.width()].iter().map(|bit| *bit == 0).collect();
            let bad: Vec<bool> = bits[..shape.width()].iter().map(|bit| *bit > few).collect();
            let windows: Vec<Window> = windows.into_iter().map(|(x, y)| Window { x, y }).collect();
            prop_assert_eq!(keep(shape, &windows, fill, &masked, &bad), slowly(shape, &windows, fill, &masked, &bad));
        }
    }
}
