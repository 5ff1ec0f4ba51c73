//! Entries of `channels.json`.

use crate::{data::channels::Channel, score::error_baseline::ErrorBaseline};
use serde::Serialize;

/// One entry of `channels.json`.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct ChannelEntry {
    /// Name and features.
    #[serde(flatten)]
    pub channel: Channel,
    /// What is usual for its errors.
    #[serde(flatten)]
    pub usual: ErrorBaseline,
    /// Bins that patterns leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<u32>,
}
