//! Experiments as a whole: from rows to a complete folder ([`run`], followed by an [`observer`]),
//! what is checked before ([`checks`]), whether one may go on (`directory`, [`identity`]), what it
//! trained ([`trained`]), the new rows that a trained one scores ([`rows`]), and the experiments that
//! judge lumisections ([`judging`]).

pub mod channel_entry;
pub mod checks;
mod consistent;
mod directory;
pub mod identity;
pub mod judging;
pub mod observer;
pub mod rows;
pub mod run;
pub mod trained;
