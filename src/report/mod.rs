//! What a training leaves behind and shows: the experiment folder ([`folder`]), the scores ([`scores`]), figures as numbers
//! ([`figures`]) and the terminal's tables ([`terminal`]).

pub mod figures;
pub mod folder;
pub mod scores;
pub mod terminal;
