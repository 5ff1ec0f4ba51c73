//! Patterns in space in the errors of maps: bins that are reconstructed badly side by side in a
//! layer, in several layers at once, and over neighbouring lumisections.
//!
//! A bin is bad where its squared error is above a limit, on one side: *dead* where the map holds
//! less than its reconstruction, *hot* where it holds more. Bins that are masked are never bad. Bad
//! bins stay that lie together in a window; those of several layers at the same place coincide;
//! those that touch are a [`Region`], and regions that overlap from lumisection to lumisection a
//! [`Track`].

mod find;
mod grid;
mod mask;
mod region;
pub mod scored;
mod settings;
mod track;
mod windows;

pub use crate::data::areas::Area;
pub use find::{Finder, Found, Map};
pub use mask::Zeros;
pub use region::{KNOWN, Region, Span};
pub use settings::{DetectorLayer, PatternSettings, Side, Sides, Window};
pub use track::{GAP, Track, track};
