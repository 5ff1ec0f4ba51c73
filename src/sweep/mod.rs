//! Searches over keys of a config. Points of a space ([`strategy`]) become trials: folders that
//! workers claim ([`trials`]). Some trials are ended early ([`pruner`]). The results are a table
//! ([`results`]) and a page ([`page`]). Workers run locally or on a batch system ([`engine`]).
//!
//! There is no database and no server. The plan follows from the config and the seed; the worker of
//! a trial holds the lock of its folder. Any number of workers on any machines with access to the
//! folder share the work.

pub mod engine;
pub mod join;
pub mod objective;
pub mod page;
pub mod pruner;
pub mod results;
pub mod state;
pub mod strategy;
pub mod trials;
