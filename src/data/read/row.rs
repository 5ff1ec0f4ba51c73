//! A row on reading: its identity, declared bins and axis, and checks of them.

use crate::data::shape::Shape;

/// Advice in the error of a row with a missing value.
pub const FILL_ADVICE: &str = "a data.fill for missing ones";

/// A row without its values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Incoming {
    /// Run, if known.
    pub run: Option<u32>,
    /// Lumisection; `None` makes the row an event.
    pub ls: Option<u32>,
    /// Line, from 1; 0 in files without lines.
    pub line: u32,
    /// Declared number of bins in x, without underflow and overflow.
    pub x_bins: Option<usize>,
    /// Declared number of bins in y.
    pub y_bins: Option<usize>,
    /// The shape, if the values have one.
    pub shape: Option<Shape>,
    /// Edges of the axes, if the file has them: x from, x to, y from, y to.
    pub edges: [Option<f64>; 4],
}

/// The two ends of the axis in x, for the seven numbers of a histogram.
pub fn axis([low, high, ..]: [Option<f64>; 4]) -> std::result::Result<[f64; 2], String> {
    let (Some(low), Some(high)) = (low, high) else {
        return Err("an edge of the axis is missing; data.summary needs both".into());
    };
    match low < high && (high - low).is_finite() {
        true => Ok([low, high]),
        false => Err(format!(
            "the axis goes from {low} to {high}; data.summary needs two finite edges, the lower first"
        )),
    }
}

/// The run or LS number of row `i`, if there is such a column.
pub fn identity(
    column: Option<&[f64]>,
    i: usize,
    what: &str,
) -> std::result::Result<Option<u32>, String> {
    let Some(number) = column.map(|column| column[i]) else { return Ok(None) };
    whole(number).map(Some).ok_or_else(|| {
        if number.is_nan() {
            format!("the {what} is missing")
        } else {
            format!("the {what} is {number}, not a whole number")
        }
    })
}

/// Converts a whole number in range to `u32`.
pub fn whole(number: f64) -> Option<u32> {
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number))
        .then_some(number as u32)
}

/// Whether values are finite, and counts not negative.
pub fn is_sound(values: &[f32], counts: bool) -> bool {
    // Without early exit, so that the loop is vectorised.
    if counts {
        values.iter().fold(true, |all, value| all & (*value >= 0.0) & (*value < f32::INFINITY))
    } else {
        values.iter().fold(true, |all, value| all & value.is_finite())
    }
}

/// The shape of `count` values, and whether they include underflow and overflow bins, from the
/// declared numbers of bins.
pub fn place(count: usize, incoming: Incoming) -> std::result::Result<(Shape, bool), String> {
    let x = incoming.x_bins;
    let y = incoming.y_bins.filter(|y| *y > 1);
    match (incoming.shape, x, y) {
        (Some(shape), ..) if shape.y > 1 => {
            Ok((shape, x.is_some_and(|x| x.checked_add(2) == Some(shape.x))))
        }
        (_, Some(x), None) if count == x => Ok((Shape::line(x), false)),
        (_, Some(x), None) if x.checked_add(2) == Some(count) => Ok((Shape::line(count), true)),
        (_, Some(x), Some(y)) if x.checked_mul(y) == Some(count) => Ok((Shape { y, x }, false)),
        (_, Some(x), Some(y))
            if x.checked_add(2).zip(y.checked_add(2)).and_then(|(x, y)| x.checked_mul(y))
                == Some(count) =>
        {
            Ok((Shape { y: y + 2, x: x + 2 }, true))
        }
        (_, Some(x), None) => {
            Err(format!("{count} bins in the histogram, but the declared number of bins is {x}"))
        }
        (_, Some(x), Some(y)) => {
            Err(format!("{count} bins in the map, but the declared numbers of bins are {x} × {y}"))
        }
        (_, None, _) => Ok((Shape::line(count), false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_follow_the_declared_bins() {
        let place = |count, x_bins, y_bins| {
            place(count, Incoming { x_bins, y_bins, ..Incoming::default() })
        };
        assert_eq!(place(7, None, None), Ok((Shape::line(7), false)));
        assert_eq!(place(100, Some(100), Some(1)), Ok((Shape::line(100), false)));
        assert_eq!(place(102, Some(100), Some(0)), Ok((Shape::line(102), true)));
        assert_eq!(place(6, Some(3), Some(2)), Ok((Shape { y: 2, x: 3 }, false)));
        assert_eq!(place(20, Some(3), Some(2)), Ok((Shape { y: 4, x: 5 }, true)));
        assert!(place(7, Some(3), Some(2)).unwrap_err().contains("3 × 2"));
        assert!(place(7, Some(usize::MAX), Some(usize::MAX)).is_err());
    }
}
