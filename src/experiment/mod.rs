//! An experiment on disk: whether it may go on ([`directory`], [`identity`]), and what it trained
//! ([`trained`]).

mod consistent;
mod directory;
pub mod identity;
pub mod trained;
