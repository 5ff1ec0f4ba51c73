//! Whole experiments: from rows to a complete folder ([`run`], with callbacks in [`observer`]),
//! checks before training ([`checks`]), resuming (`directory`, [`identity`]), trained models
//! ([`trained`]), scoring of new rows ([`rows`]), and the experiments that judge lumisections
//! ([`judging`]).

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
