//! Searches over keys of a config: points of a space ([`strategy`]) become trials, folders that
//! workers claim ([`trials`]), some of which are ended early ([`pruner`]); what came out is one
//! table ([`results`]) and one page ([`page`]). Where workers run is a matter of the [`engine`].
//!
//! There is no database and no server. What is planned follows from the config and the seed; who
//! works on a trial holds the lock of its folder. Any number of workers on any machines that see
//! the folder share the work.

pub mod engine;
pub mod join;
pub mod objective;
pub mod page;
pub mod pruner;
pub mod results;
pub mod state;
pub mod strategy;
pub mod trials;
