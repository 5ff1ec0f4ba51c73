//! An experiment on disk: whether it may go on ([`directory`], [`identity`]), and what it trained
//! ([`trained`]).

pub mod checks;
mod consistent;
mod directory;
pub mod identity;
pub mod rows;
pub mod trained;
