//! Rates that too few calibration rows cannot tell.

use super::conformal::Reference;
use serde::Serialize;

/// A rate that a cut was to have, and that the calibration rows cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Unmet {
    /// The rate: of false alarms, or of false discoveries.
    pub rate: f64,
    /// Whether it is of false discoveries.
    pub discoveries: bool,
    /// Independent blocks that would do; none where that cannot be said.
    pub needed: Option<usize>,
    /// About so many good lumisections more would do.
    pub more_lumisections: Option<usize>,
}

impl Unmet {
    /// Of a rate that needs so many blocks.
    pub fn new(rate: f64, discoveries: bool, needed: Option<usize>, reference: &Reference) -> Self {
        let more = |needed: usize| {
            (needed.saturating_sub(reference.blocks) * reference.rows())
                .div_ceil(reference.blocks.max(1))
        };
        Self { rate, discoveries, needed, more_lumisections: needed.map(more) }
    }

    /// What cannot be told, in a few words.
    pub fn describe(&self) -> String {
        let percent = percent(self.rate);
        if self.discoveries {
            format!("no cut keeps false discoveries at {percent}")
        } else {
            format!("too few calibration blocks to tell a rate of {percent}")
        }
    }
}

/// "1 %", with as many digits as it needs.
pub(super) fn percent(rate: f64) -> String {
    format!("{} %", (rate * 1e6).round() / 1e4)
}
