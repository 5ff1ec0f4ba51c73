//! Reports of a training: figures ([`figures`], by channel in [`channels`] and by class in
//! [`classes`]), findings that invalidate them ([`findings`]), the summary sentence ([`answer`]),
//! maps ([`maps`]), the page ([`page`]), pictures ([`plots`]), event files ([`tensorboard`]) and
//! the terminal's tables ([`terminal`]).

pub mod answer;
pub mod channels;
pub mod classes;
pub mod figures;
pub mod findings;
pub mod maps;
pub mod page;
pub mod plots;
pub mod runs;
pub mod tensorboard;
pub mod terminal;
