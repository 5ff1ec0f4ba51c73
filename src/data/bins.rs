//! What is done to the bins of a row as it is taken from its file: turned, stripped, added up.

use super::table::{Shape, Table};
use crate::config::raw::FlowBins;

/// The way from a file's bins to those of the samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Binning {
    from: Shape,
    /// Whether the file has y running fastest.
    turn: bool,
    strip: bool,
    /// So many neighbours are added up in x and y.
    rebin: (usize, usize),
}

impl Binning {
    /// The way for a table.
    pub fn new(table: &Table, flow_bins: FlowBins, rebin: (usize, Option<usize>)) -> Self {
        let Shape { y, x } = table.shape;
        let rebin = (rebin.0, if y == 1 { 1 } else { rebin.1.unwrap_or(rebin.0) });
        let enough = x > 2 && (y == 1 || y > 2);
        Self { from: table.shape, turn: table.y_fastest, strip: flow_bins == FlowBins::Strip && table.flow_bins && enough, rebin }
    }

    /// The shape that comes out.
    pub fn shape(&self) -> Shape {
        let Shape { y, x } = self.stripped();
        Shape { y: y.div_ceil(self.rebin.1), x: x.div_ceil(self.rebin.0) }
    }

    fn stripped(&self) -> Shape {
        let Shape { y, x } = self.from;
        match (self.strip, y) {
            (false, _) => self.from,
            (true, 1) => Shape::line(x - 2),
            (true, _) => Shape { y: y - 2, x: x - 2 },
        }
    }

    /// Whether the underflow and overflow bins, if there are any, are still the first and last.
    pub fn keeps_flow_bins(&self) -> bool {
        !self.strip && self.rebin == (1, 1)
    }

    /// Whether nothing is done.
    pub fn is_identity(&self) -> bool {
        !self.turn && !self.strip && self.rebin == (1, 1)
    }

    /// Appends a row's bins.
    pub fn apply(&self, row: &[f32], into: &mut Vec<f32>) {
        if self.is_identity() {
            return into.extend_from_slice(row);
        }
        let (from, inside, to) = (self.from, self.stripped(), self.shape());
        let (left, below) = if self.strip { (1, usize::from(from.y > 1)) } else { (0, 0) };
        let start = into.len();
        into.resize(start + to.width(), 0.0);
        for y in 0..inside.y {
            for x in 0..inside.x {
                let (fx, fy) = (x + left, y + below);
                let value = if self.turn { row[fx * from.y + fy] } else { row[fy * from.x + fx] };
                into[start + y / self.rebin.1 * to.x + x / self.rebin.0] += value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn apply(binning: Binning, row: &[f32]) -> Vec<f32> {
        let mut out = vec![];
        binning.apply(row, &mut out);
        out
    }

    #[test]
    fn flow_bins_of_a_map_are_its_frame() {
        let binning = Binning { from: Shape { y: 3, x: 4 }, turn: false, strip: true, rebin: (1, 1) };
        assert_eq!(apply(binning, &[9., 9., 9., 9., 9., 1., 2., 9., 9., 9., 9., 9.]), [1.0, 2.0]);
        assert_eq!(binning.shape(), Shape { y: 1, x: 2 });
        let line = Binning { from: Shape::line(4), turn: false, strip: true, rebin: (1, 1) };
        assert_eq!(apply(line, &[9., 1., 2., 9.]), [1.0, 2.0]);
    }

    #[test]
    fn a_map_with_y_fastest_is_turned() {
        let binning = Binning { from: Shape { y: 2, x: 3 }, turn: true, strip: false, rebin: (1, 1) };
        assert_eq!(apply(binning, &[1., 4., 2., 5., 3., 6.]), [1., 2., 3., 4., 5., 6.]);
    }

    #[test]
    fn left_over_bins_make_a_smaller_last_one() {
        let binning = Binning { from: Shape { y: 2, x: 5 }, turn: false, strip: false, rebin: (2, 2) };
        assert_eq!(apply(binning, &[1., 2., 3., 4., 5., 10., 20., 30., 40., 50.]), [33., 77., 55.]);
        assert_eq!(binning.shape(), Shape { y: 1, x: 3 });
    }

    proptest! {
        #[test]
        fn rebinning_loses_no_entry(x in 1_usize..9, y in 1_usize..9, rx in 1_usize..4, ry in 1_usize..4, turn: bool) {
            let binning = Binning { from: Shape { y, x }, turn, strip: false, rebin: (rx, ry) };
            let row: Vec<f32> = (0..x * y).map(|i| i as f32).collect();
            let out = apply(binning, &row);
            prop_assert_eq!(out.len(), binning.shape().width());
            prop_assert_eq!(out.iter().sum::<f32>(), row.iter().sum::<f32>());
        }
    }
}
