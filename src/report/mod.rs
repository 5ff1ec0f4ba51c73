//! What a training leaves behind and shows: the experiment folder ([`folder`]), the scores ([`scores`]), figures as numbers
//! ([`figures`], by channel in [`channels`] and class in [`classes`]), why samples score high ([`explain`]), latents ([`latents`], in two
//! dimensions [`projections`]), what bins are on average ([`normalisation`]), tables as files ([`batch`]), the page ([`page`]), pictures ([`pictures`], drawn by [`canvas`]), event
//! files ([`tensorboard`]), one training a folder ([`lock`]), times as text ([`clock`]) and the terminal's tables ([`terminal`]).

pub mod batch;
pub mod canvas;
pub mod channels;
pub mod classes;
pub mod clock;
mod consistent;
pub mod explain;
pub mod figures;
pub mod folder;
pub mod latents;
pub mod lock;
pub mod maps;
pub mod normalisation;
pub mod page;
pub mod patterns;
pub mod pictures;
pub mod projections;
pub mod scores;
pub mod tensorboard;
pub mod terminal;
