//! What users see of a training: figures as numbers ([`figures`], by channel in [`channels`] and
//! class in [`classes`]), what makes them worthless ([`findings`]), the answer in words
//! ([`answer`]), maps ([`maps`]), the page ([`page`]), pictures ([`plots`]), event files
//! ([`tensorboard`]) and the terminal's tables ([`terminal`]).

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
