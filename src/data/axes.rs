//! Positions of bins. Bins count from 0, as in their names: without axis ranges in the files,
//! `bin_10` is centred at 10; with them it is between two edges.

use crate::data::shape::Shape;

/// The ends of the axes of a histogram or a map (first and last of x, then of y) such that all bins
/// divide them evenly. The ends in files exclude underflow and overflow, which are one more bin at
/// each end.
pub fn ends(edges: [Option<f64>; 4], shape: Shape, flow_bins: bool) -> [Option<f64>; 4] {
    let [x_low, x_high, y_low, y_high] = edges;
    let axis = |low: Option<f64>, high: Option<f64>, bins: usize| {
        let (Some(low), Some(high)) = (low, high) else { return (None, None) };
        if high.partial_cmp(&low) != Some(std::cmp::Ordering::Greater) {
            return (None, None);
        }
        let flow = if flow_bins && bins > 2 { (high - low) / (bins - 2) as f64 } else { 0.0 };
        (Some(low - flow), Some(high + flow))
    };
    let (x_low, x_high) = axis(x_low, x_high, shape.x);
    let (y_low, y_high) = if shape.y > 1 { axis(y_low, y_high, shape.y) } else { (None, None) };
    [x_low, x_high, y_low, y_high]
}

/// The position of a bin in units of its axes, such as `3.5 to 4`; `None` if the ends are unknown.
pub fn place(ends: [Option<f64>; 4], shape: Shape, bin: usize) -> Option<String> {
    let [x_low, x_high, y_low, y_high] = ends;
    let axis = |low: Option<f64>, high: Option<f64>, at: usize, bins: usize| {
        let (low, high) = low.zip(high)?;
        let edge = |at: usize| number(low + (high - low) * at as f64 / bins as f64);
        Some(format!("{} to {}", edge(at), edge(at + 1)))
    };
    let x = axis(x_low, x_high, bin % shape.x, shape.x)?;
    if shape.y == 1 {
        return Some(x);
    }
    Some(format!("x {x}, y {}", axis(y_low, y_high, bin / shape.x, shape.y)?))
}

/// Formats with five digits, without trailing zeros.
fn number(value: f64) -> String {
    let rounded: f64 = format!("{value:.4e}").parse().unwrap_or(value);
    if rounded == 0.0 { "0".into() } else { rounded.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_lie_between_the_ends_of_their_axes() {
        let line = Shape::line(10);
        let known = ends([Some(0.0), Some(5.0), None, None], line, false);
        assert_eq!(place(known, line, 7).unwrap(), "3.5 to 4");
        assert_eq!(place(ends([Some(0.0), None, None, None], line, false), line, 7), None);
        assert_eq!(
            ends([Some(5.0), Some(5.0), None, None], line, false),
            [None; 4],
            "an axis of length 0 has no positions"
        );
        // Eight bins from 0 to 4, one below and one above.
        let flow = ends([Some(0.0), Some(4.0), None, None], line, true);
        assert_eq!((flow[0], flow[1]), (Some(-0.5), Some(4.5)));
        assert_eq!(
            (place(flow, line, 0).unwrap(), place(flow, line, 1).unwrap()),
            ("-0.5 to 0".into(), "0 to 0.5".into())
        );
        let map = Shape { y: 2, x: 4 };
        assert_eq!(
            place(ends([Some(-1.0), Some(1.0), Some(0.0), Some(0.3)], map, false), map, 5).unwrap(),
            "x -0.5 to 0, y 0.15 to 0.3"
        );
    }
}
