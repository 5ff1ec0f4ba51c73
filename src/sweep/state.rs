//! How far a trial has come.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a trial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nobody works on it, or it was laid aside.
    Planned,
    /// Somebody has it.
    Claimed,
    /// It is being trained.
    Running,
    /// It has a figure.
    Done,
    /// It was ended early.
    Pruned,
    /// It came to an end without a figure.
    Failed,
}

impl Phase {
    /// Whether nothing is left to do.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Done | Self::Pruned | Self::Failed)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Claimed => "claimed",
            Self::Running => "running",
            Self::Done => "done",
            Self::Pruned => "pruned",
            Self::Failed => "failed",
        }
    }
}

/// What `state.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// How far it is.
    pub state: Phase,
    /// The figure, once there is one.
    #[serde(default)]
    pub objective: Option<f64>,
    /// Why it failed.
    #[serde(default)]
    pub message: Option<String>,
    /// Epochs of all its models when it was last claimed or settled.
    #[serde(default)]
    pub epochs: usize,
    /// Workers that have had it without an epoch more.
    #[serde(default)]
    pub claims: u32,
    /// The job of a batch system that has it.
    #[serde(default)]
    pub job: Option<String>,
    /// Time its epochs took.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// What its report says, in a few figures.
    #[serde(default)]
    pub figures: BTreeMap<String, f64>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            state: Phase::Planned,
            objective: None,
            message: None,
            epochs: 0,
            claims: 0,
            job: None,
            seconds: None,
            figures: BTreeMap::new(),
        }
    }
}
