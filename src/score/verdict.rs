//! The verdict on a lumisection.

use serde::{Deserialize, Serialize};

/// The verdict on a lumisection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The score is not above the threshold, or the lower of two cuts.
    #[serde(rename = "good")]
    Good,
    /// The score is between two cuts (`lumisift certify`); a person should decide.
    #[serde(rename = "grey")]
    Grey,
    /// The score is above the threshold, or the upper of two cuts.
    #[serde(rename = "bad")]
    Bad,
    /// There is no score; this never counts as good.
    #[serde(rename = "not evaluated")]
    NotEvaluated,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Self; 4] = [Self::Good, Self::Grey, Self::Bad, Self::NotEvaluated];

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Grey => "grey",
            Self::Bad => "bad",
            Self::NotEvaluated => "not evaluated",
        }
    }
}
