//! Settings of the pattern search, and the layers that are searched.

use crate::{
    config::patterns as section,
    data::shape::Shape,
    error::{Error, Result},
};
use serde::{Deserialize, Serialize};

/// Settings of the pattern search.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternSettings {
    /// A bin is bad if its squared error is above this.
    pub bin_error: f64,
    /// A bad bin counts if some window of one of these sizes, anywhere in the map, contains it and
    /// enough bad bins of the same side. Without windows every bad bin counts.
    pub windows: Vec<Window>,
    /// The required share of bad bins among the unmasked bins of a window.
    pub fill: f64,
    /// Which sides count.
    pub sides: Sides,
    /// Bins that were 0 in each of this number of preceding rows of the run are masked; 0 for no
    /// such mask.
    pub dynamic_mask: usize,
    /// Number of layers in which a cell must be bad on the same side to coincide.
    pub layers: usize,
}

/// The size of a window in bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Bins in x.
    pub x: usize,
    /// Bins in y.
    pub y: usize,
}

/// Which sides count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sides {
    /// Both, each separately.
    #[default]
    Both,
    /// Dead bins only.
    Dead,
    /// Hot bins only.
    Hot,
}

/// The sign of the deviation of a bad bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The bin is below its reconstruction.
    Dead,
    /// The bin is above its reconstruction.
    Hot,
}

/// A layer of the detector.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorLayer {
    /// Its name.
    pub name: String,
    /// The shape of its maps.
    pub shape: Shape,
    /// The static mask, `[y, x]` (see [`Zeros::mask`](super::Zeros::mask)).
    pub masked: Vec<bool>,
    /// Bins that were 0 in all training rows, `[y, x]`: they can be hot even if masked. Empty if
    /// unknown.
    pub empty: Vec<bool>,
}

impl PatternSettings {
    /// The settings of a config for `layers` layers.
    pub fn new(config: &section::Patterns, layers: usize) -> Self {
        let sides = match config.sides {
            section::Sides::Both => Sides::Both,
            section::Sides::Dead => Sides::Dead,
            section::Sides::Hot => Sides::Hot,
        };
        Self {
            bin_error: config.bin_error,
            windows: config
                .windows
                .iter()
                .map(|window| Window { x: window.x as usize, y: window.y as usize })
                .collect(),
            fill: config.fill,
            sides,
            dynamic_mask: config.dynamic_mask as usize,
            layers: config.layers.map_or(layers.min(2), |layers| layers as usize),
        }
    }

    /// Refuses settings that do not fit layers of these names and shapes.
    pub fn check<'a>(&self, layers: impl IntoIterator<Item = (&'a str, Shape)>) -> Result<()> {
        let Self { bin_error, fill, .. } = *self;
        let wrong =
            |key: &str, reason: String| Err(Error::input(format!("patterns.{key}: {reason}")));
        if !(bin_error.is_finite() && bin_error >= 0.0) {
            return wrong(
                "bin_error",
                format!("found {bin_error}; expected a squared error of at least 0"),
            );
        }
        if !(fill > 0.0 && fill <= 1.0) {
            return wrong("fill", format!("found {fill}; expected a share above 0 and at most 1"));
        }
        let mut count = 0;
        for (name, shape) in layers {
            count += 1;
            for (at, Window { x, y }) in self.windows.iter().enumerate() {
                let key = format!("windows[{at}]");
                if *x == 0 || *y == 0 {
                    return wrong(
                        &key,
                        format!(
                            "found {{ x = {x}, y = {y} }}; expected at least one bin in x and in y"
                        ),
                    );
                }
                if *x > shape.x || *y > shape.y {
                    let found = format!(
                        "a window of {x} × {y} bins (x × y) is larger than the maps of {name}"
                    );
                    return wrong(&key, format!("{found}, which have {} × {}", shape.x, shape.y));
                }
            }
        }
        if self.layers == 0 || self.layers > count {
            return wrong(
                "layers",
                format!(
                    "found {}; expected at least 1 and at most {count}, as many as there are layers",
                    self.layers
                ),
            );
        }
        Ok(())
    }
}

impl Sides {
    /// Whether a side counts.
    pub fn have(self, side: Side) -> bool {
        matches!((self, side), (Self::Both, _) | (Self::Dead, Side::Dead) | (Self::Hot, Side::Hot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_found_is_refused_by_its_key() {
        let fine = PatternSettings {
            bin_error: 0.04,
            windows: vec![Window { x: 16, y: 2 }, Window { x: 20, y: 1 }],
            fill: 1.0,
            sides: Sides::Both,
            dynamic_mask: 100,
            layers: 2,
        };
        let check = |settings: &PatternSettings| {
            settings.check([
                ("PXLayer_1", Shape { y: 24, x: 64 }),
                ("PXLayer_2", Shape { y: 24, x: 18 }),
            ])
        };
        let narrow = PatternSettings { windows: vec![Window { x: 16, y: 2 }], ..fine.clone() };
        check(&narrow).unwrap();
        for (settings, parts) in [
            (
                fine.clone(),
                [
                    "patterns.windows[1]: a window of 20 × 1",
                    "larger than the maps of PXLayer_2, which have 18 × 24",
                ],
            ),
            (
                PatternSettings { windows: vec![Window { x: 2, y: 0 }], ..fine.clone() },
                ["patterns.windows[0]", "found { x = 2, y = 0 }"],
            ),
            (PatternSettings { fill: 0.0, ..narrow.clone() }, ["patterns.fill", "found 0;"]),
            (
                PatternSettings { bin_error: f64::NAN, ..narrow.clone() },
                ["patterns.bin_error", "found NaN"],
            ),
            (PatternSettings { layers: 3, ..narrow.clone() }, ["patterns.layers", "at most 2"]),
            (PatternSettings { layers: 0, ..narrow.clone() }, ["patterns.layers", "found 0"]),
        ] {
            let message = check(&settings).unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }
}
