//! Transforms of the bins of a row on reading: transpose, strip underflow and overflow, cut, rebin.

use super::{areas::Frame, shape::Shape, table::Table};
use crate::{
    config::data::{Data, FlowBins},
    error::{Error, Result},
};

/// The transform from the bins of a file to those of the samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Binning {
    from: Shape,
    /// Whether the file is transposed: y is the fastest axis.
    turn: bool,
    strip: bool,
    /// Whether underflow and overflow bins are kept.
    flow_bins: bool,
    /// Number of columns and rows cut out of the middle.
    cut: (usize, usize),
    /// Number of neighbours added up in x and y.
    rebin: (usize, usize),
}

impl Binning {
    /// The transform for a table. Only neighbouring bins can be added up, and only the middle of a
    /// map can be cut out.
    pub fn new(table: &Table, data: &Data) -> Result<Self> {
        let Shape { y, x } = table.shape;
        let (rebin, cut) = (data.bins_together(), data.cross());
        let wrong = |key: &str, what: String| {
            Err(Error::input(format!("data.{key}: {} holds {what}", table.path.display())))
        };
        match rebin {
            (1, None | Some(1)) => {}
            _ if table.features.is_some() => {
                return wrong("rebin", "features, which have no neighbours".into());
            }
            (_, Some(2..)) if y == 1 => {
                return wrong("rebin", "histograms in one dimension; expected one number".into());
            }
            _ => {}
        }
        let rebin = (rebin.0, if y == 1 { 1 } else { rebin.1.unwrap_or(rebin.0) });
        let enough = x > 2 && (y == 1 || y > 2);
        let strip = data.flow_bins == FlowBins::Strip && table.flow_bins && enough;
        let flow_bins = table.flow_bins && !strip;
        let binning =
            Self { from: table.shape, turn: table.y_fastest, strip, flow_bins, cut, rebin };
        if cut != (0, 0) && !table.rows.is_empty() {
            let inside = binning.stripped();
            let fits = |bins: usize, cut: usize| cut < bins && (bins - cut).is_multiple_of(2);
            match inside {
                _ if table.features.is_some() => {
                    return wrong(
                        "cut_cross",
                        "features; only the middle of a map can be cut out".into(),
                    );
                }
                Shape { y: 1, .. } => {
                    return wrong(
                        "cut_cross",
                        "histograms in one dimension; only the middle of a map can be cut out"
                            .into(),
                    );
                }
                Shape { x, .. } if cut.0 >= x => {
                    return wrong(
                        "cut_cross",
                        format!("maps of {x} columns; [{}, {}] would leave none", cut.0, cut.1),
                    );
                }
                Shape { y, .. } if cut.1 >= y => {
                    return wrong(
                        "cut_cross",
                        format!("maps of {y} rows; [{}, {}] would leave none", cut.0, cut.1),
                    );
                }
                Shape { x, .. } if !fits(x, cut.0) => {
                    return wrong(
                        "cut_cross",
                        format!(
                            "maps of {x} columns; cutting {} out of the middle needs both numbers even, or both odd",
                            cut.0
                        ),
                    );
                }
                Shape { y, .. } if !fits(y, cut.1) => {
                    return wrong(
                        "cut_cross",
                        format!(
                            "maps of {y} rows; cutting {} out of the middle needs both numbers even, or both odd",
                            cut.1
                        ),
                    );
                }
                _ => {}
            }
        }
        Ok(binning)
    }

    /// The resulting shape.
    pub fn shape(&self) -> Shape {
        let Shape { y, x } = self.inside();
        Shape { y: y.div_ceil(self.rebin.1), x: x.div_ceil(self.rebin.0) }
    }

    /// The shape without underflow, overflow and the middle.
    fn inside(&self) -> Shape {
        let Shape { y, x } = self.stripped();
        Shape { y: y - self.cut.1, x: x - self.cut.0 }
    }

    /// The same transform for rectangles of bins of a layer with this name.
    pub fn frame(&self, layer: &str) -> Frame {
        Frame { layer: layer.to_owned(), filed: self.stripped(), cut: self.cut, rebin: self.rebin }
    }

    /// Whether bins still divide their axes evenly.
    pub fn keeps_axes(&self) -> bool {
        let Shape { y, x } = self.inside();
        let added_up = self.rebin == (1, 1)
            || !self.flow_bins && x.is_multiple_of(self.rebin.0) && y.is_multiple_of(self.rebin.1);
        self.cut == (0, 0) && added_up
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
        !self.strip && self.cut == (0, 0) && self.rebin == (1, 1)
    }

    /// Whether the transform changes nothing.
    pub fn is_identity(&self) -> bool {
        !self.turn && self.keeps_flow_bins()
    }

    /// Appends a row's bins.
    pub fn apply(&self, row: &[f32], into: &mut Vec<f32>) {
        if self.is_identity() {
            return into.extend_from_slice(row);
        }
        let (from, inside, to) = (self.from, self.inside(), self.shape());
        // Bins after the cut are shifted by it.
        let beyond =
            |at: usize, bins: usize, cut: usize| if at >= bins / 2 { at + cut } else { at };
        let (left, below) = if self.strip { (1, usize::from(from.y > 1)) } else { (0, 0) };
        let start = into.len();
        into.resize(start + to.width(), 0.0);
        for y in 0..inside.y {
            for x in 0..inside.x {
                let (fx, fy) = (
                    beyond(x, inside.x, self.cut.0) + left,
                    beyond(y, inside.y, self.cut.1) + below,
                );
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
        let binning = Binning {
            from: Shape { y: 3, x: 4 },
            turn: false,
            strip: true,
            flow_bins: false,
            cut: (0, 0),
            rebin: (1, 1),
        };
        assert_eq!(apply(binning, &[9., 9., 9., 9., 9., 1., 2., 9., 9., 9., 9., 9.]), [1.0, 2.0]);
        assert_eq!(binning.shape(), Shape { y: 1, x: 2 });
        let line = Binning {
            from: Shape::line(4),
            turn: false,
            strip: true,
            flow_bins: false,
            cut: (0, 0),
            rebin: (1, 1),
        };
        assert_eq!(apply(line, &[9., 1., 2., 9.]), [1.0, 2.0]);
    }

    #[test]
    fn axes_stay_where_bins_stay_equally_wide() {
        let keeps = |x, flow_bins, rebin| {
            let binning = Binning {
                from: Shape::line(x),
                turn: false,
                strip: false,
                flow_bins,
                cut: (0, 0),
                rebin: (rebin, 1),
            };
            binning.keeps_axes()
        };
        assert!(
            keeps(6, true, 1) && keeps(6, false, 2) && !keeps(6, true, 2) && !keeps(6, false, 4)
        );
    }

    #[test]
    fn a_map_with_y_fastest_is_turned() {
        let binning = Binning {
            from: Shape { y: 2, x: 3 },
            turn: true,
            strip: false,
            flow_bins: false,
            cut: (0, 0),
            rebin: (1, 1),
        };
        assert_eq!(apply(binning, &[1., 4., 2., 5., 3., 6.]), [1., 2., 3., 4., 5., 6.]);
    }

    #[test]
    fn left_over_bins_make_a_smaller_last_one() {
        let binning = Binning {
            from: Shape { y: 2, x: 5 },
            turn: false,
            strip: false,
            flow_bins: false,
            cut: (0, 0),
            rebin: (2, 2),
        };
        assert_eq!(apply(binning, &[1., 2., 3., 4., 5., 10., 20., 30., 40., 50.]), [33., 77., 55.]);
        assert_eq!(binning.shape(), Shape { y: 1, x: 3 });
    }

    proptest! {
        #[test]
        fn cutting_the_middle_leaves_its_frame_as_it_is(x in 1_usize..5, y in 1_usize..5, cx in 0_usize..4, cy in 0_usize..4, turn: bool) {
            let from = Shape { y: 2 * y + cy, x: 2 * x + cx };
            let binning = Binning { from, turn, strip: false, flow_bins: false, cut: (cx, cy), rebin: (1, 1) };
            let row: Vec<f32> = (0..from.width()).map(|i| i as f32).collect();
            let kept = |at: usize, half: usize, cut: usize| at < half || at >= half + cut;
            let expected: Vec<f32> = (0..from.width())
                .map(|i| (i % from.x, i / from.x))
                .filter(|(ax, ay)| kept(*ax, x, cx) && kept(*ay, y, cy))
                .map(|(ax, ay)| if turn { row[ax * from.y + ay] } else { row[ay * from.x + ax] })
                .collect();
            prop_assert_eq!(apply(binning, &row), expected);
            prop_assert_eq!(binning.shape(), Shape { y: 2 * y, x: 2 * x });
        }

        #[test]
        fn rebinning_loses_no_entry(x in 1_usize..9, y in 1_usize..9, rx in 1_usize..4, ry in 1_usize..4, turn: bool) {
            let binning = Binning { from: Shape { y, x }, turn, strip: false, flow_bins: false, cut: (0, 0), rebin: (rx, ry) };
            let row: Vec<f32> = (0..x * y).map(|i| i as f32).collect();
            let out = apply(binning, &row);
            prop_assert_eq!(out.len(), binning.shape().width());
            prop_assert_eq!(out.iter().sum::<f32>(), row.iter().sum::<f32>());
        }
    }
}
