//! `[patterns]`: the definition of patterns of badly reconstructed bins.

use super::{
    check::Checker,
    keys::{Key, choice, section},
};
use std::path::PathBuf;

section! {
    /// What makes a pattern of badly reconstructed bins. The score of a channel is then the number
    /// of its bins in patterns, and that of all together the number of bins at which several of
    /// them coincide; the threshold is 0 unless its section says otherwise.
    Patterns {
        /// A bin is bad where its squared error is above this.
        #[schemars(range(min = 0.0))]
        bin_error: f64 = 0.04,
        /// A bad bin counts where it lies in a window of one of these sizes, anywhere in the map,
        /// that is full of bins that are bad on the same side. Without any every bad bin counts.
        windows: Vec<Window> = vec![Window { x: 16, y: 2 }, Window { x: 20, y: 1 }, Window { x: 8, y: 2 }],
        /// The share of a window's bins that makes it full.
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        fill: f64 = 1.0,
        sides: Sides = Sides::Both,
        /// Bins that are 0 in so large a share of the training rows are never bad.
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        static_mask: f64 = 0.9,
        /// Nor are bins that were 0 in each of so many rows of the run before. 0 for no such mask.
        #[schemars(range(max = 1_000_000))]
        dynamic_mask: u32 = 0,
        /// In how many channels a bin must be bad, at the same place and on the same side, to flag
        /// a lumisection. Default: 2, or 1 where there is one channel.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        layers: Option<u32> = None,
        /// A region that is gone for no more LSs than this is the same when it is back.
        gap: u32 = 2,
        /// Tables of what was masked when: run, ls (or time), layer, then x_first, x_last, y_first
        /// and y_last in bins as filed, or chip. A region that is masked there is known, and does
        /// not flag.
        #[serde(skip_serializing_if = "Key::is_unset")]
        automasks: Key<Vec<String>, Vec<PathBuf>> = Key::default(),
        /// Where chips are: chip, layer, x_first, x_last, y_first, y_last.
        #[serde(skip_serializing_if = "Key::is_unset")]
        chips: Key<Option<String>, Option<PathBuf>> = Key::default(),
    }
}

choice! {
    /// On which side a bin must be off to be bad.
    Sides {
        /// Both, each for itself.
        Both = "both",
        /// It holds less than its reconstruction.
        Dead = "dead",
        /// It holds more.
        Hot = "hot",
    }
}

section! {
    /// A size in bins of the map as it is scored.
    Window {
        #[schemars(range(min = 1, max = 65536))]
        x: u32 = 1,
        #[schemars(range(min = 1, max = 65536))]
        y: u32 = 1,
    }
}

impl Patterns {
    pub(super) fn check(&mut self, checker: &mut Checker) {
        checker.paths("patterns.automasks", &mut self.automasks);
        checker.path("patterns.chips", &mut self.chips);
    }
}
