//! Spatial patterns in the errors of maps: neighbouring bins of a layer with large errors, in
//! several layers at once and over neighbouring lumisections.
//!
//! A bin is bad if its squared error is above a limit. It is *dead* if the map is below its
//! reconstruction, *hot* if it is above. Masked bins are never bad. Bad bins are kept if enough of
//! them are in a window. Bad bins of several layers at the same position coincide. Bad bins that
//! touch form a [`Region`]; regions that overlap from lumisection to lumisection form a [`Track`].

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
