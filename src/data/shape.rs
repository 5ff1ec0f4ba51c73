//! The shape of a row's values.

/// The shape of a row's values: a map is `[y, x]`, a histogram or a set of features `[1, x]`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Shape {
    /// Rows of a map; 1 for a histogram.
    pub y: usize,
    /// Bins in x.
    pub x: usize,
}

impl Shape {
    /// A histogram of `x` bins.
    pub fn line(x: usize) -> Self {
        Self { y: 1, x }
    }

    /// Number of values.
    pub fn width(self) -> usize {
        self.y * self.x
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.y == 1 { write!(f, "{}", self.x) } else { write!(f, "{} × {}", self.x, self.y) }
    }
}
