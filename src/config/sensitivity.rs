//! `[sensitivity]`: the defects that `lumisift sensitivity` injects.

use super::{check::Checker, keys::section, patterns::Window};

section! {
    /// What `lumisift sensitivity` tries: defects of each size and strength, injected into good
    /// rows that are held out. Other verbs pass over it.
    Sensitivity {
        /// Sizes of the defects, in bins of the map as it is scored; of histograms in one dimension
        /// x only. Default: of 2 × 2, 4 × 2, 8 × 3, 16 × 2 and 16 × 6 bins, or of 1, 2, 5 and 10 in
        /// one dimension, those that fit.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        sizes: Vec<Window> = vec![],
        /// What the contents of the bins are multiplied by: 0 is a dead region, 5 a hot one.
        strengths: Vec<f64> = vec![0.0, 0.25, 0.5, 0.75, 1.5, 2.0, 5.0],
        /// How many rows each size and strength is tried on; fewer where fewer are held out.
        #[schemars(range(min = 1, max = 1_000_000))]
        rows: u32 = 200,
        /// In how many channels, at the same place, a defect is. Default: patterns.layers, or 1
        /// without that section.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        channels: Option<u32> = None,
        /// Draw the contents anew from a Poisson distribution around what they are multiplied to,
        /// as counts are. With false they are multiplied.
        poisson: bool = true,
    }
}

impl Sensitivity {
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Sensitivity {
    /// Checks that defects change the contents.
    pub(super) fn check(&self, checker: &mut Checker) {
        let strengths = &self.strengths;
        if strengths.is_empty() {
            checker.fault(
                "sensitivity.strengths",
                "found none; expected factors such as [0.0, 0.5, 2.0]",
            );
        }
        for (at, strength) in strengths.iter().enumerate() {
            let wrong = match () {
                () if !strength.is_finite() || *strength < 0.0 => "expected a factor of at least 0",
                () if *strength == 1.0 => "does not change the contents; expected another factor",
                () if strengths[..at].contains(strength) => "is there twice",
                () => continue,
            };
            checker.fault(
                &format!("sensitivity.strengths[{at}]"),
                format!("found {strength}; {wrong}"),
            );
        }
        let sizes = &self.sizes;
        for (at, size) in sizes.iter().enumerate().filter(|(at, size)| sizes[..*at].contains(size))
        {
            checker.fault(
                &format!("sensitivity.sizes[{at}]"),
                format!("found {} × {}, which is there twice", size.x, size.y),
            );
        }
    }
}
