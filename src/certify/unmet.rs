//! Rates that cannot be resolved with too few calibration rows.

use super::conformal::Reference;
use serde::Serialize;

/// The rate of a cut that the calibration rows cannot resolve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Unmet {
    /// The rate of false alarms or of false discoveries.
    pub rate: f64,
    /// Whether it is a rate of false discoveries.
    pub discoveries: bool,
    /// Required number of independent blocks; `None` if unknown.
    pub needed: Option<usize>,
    /// Approximate number of additional good lumisections needed.
    pub more_lumisections: Option<usize>,
}

impl Unmet {
    /// A rate that requires `needed` blocks.
    pub fn new(rate: f64, discoveries: bool, needed: Option<usize>, reference: &Reference) -> Self {
        let more = |needed: usize| {
            (needed.saturating_sub(reference.blocks) * reference.rows())
                .div_ceil(reference.blocks.max(1))
        };
        Self { rate, discoveries, needed, more_lumisections: needed.map(more) }
    }

    /// A short description.
    pub fn describe(&self) -> String {
        let percent = percent(self.rate);
        if self.discoveries {
            format!("no cut keeps false discoveries at {percent}")
        } else {
            format!("too few calibration blocks to tell a rate of {percent}")
        }
    }
}

/// Formats as "1 %" with as many digits as needed.
pub(super) fn percent(rate: f64) -> String {
    format!("{} %", (rate * 1e6).round() / 1e4)
}
