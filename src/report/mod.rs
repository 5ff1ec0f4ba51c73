//! What a training leaves behind and shows: the experiment folder ([`folder`]), the scores
//! ([`scores`]), figures as numbers ([`figures`], by channel in [`channels`] and class in
//! [`classes`]), what makes them worthless ([`findings`]), warnings in their order ([`warnings`]),
//! the answer in words ([`answer`]), why samples score high ([`explain`]), latents ([`latents`], in
//! two dimensions [`projections`]), where bins lie ([`axes`]), what bins are on average
//! ([`normalisation`]), tables as files ([`batch`]), the page ([`page`]), pictures ([`pictures`],
//! drawn by [`canvas`]) in the same colours ([`palette`]), event files ([`tensorboard`]), one
//! training a folder ([`lock`]), times as text ([`clock`]) and the terminal's tables
//! ([`terminal`]).

pub mod answer;
pub mod axes;
pub mod channels;
pub mod classes;
pub mod explain;
pub mod figures;
pub mod findings;
pub mod maps;
pub mod page;
pub mod plots;
pub mod tensorboard;
pub mod terminal;
