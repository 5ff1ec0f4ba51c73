//! Training: the loop ([`fit`](mod@fit)), the backends that compute a step ([`backend`]), parts.

pub mod backend;
pub mod checkpoint;
mod draws;
pub mod early_stopping;
pub mod fit;
pub mod history;
pub mod init;
pub mod loss;
pub mod observer;
pub mod optimizer;
pub mod packs;
pub mod schedule;
pub mod state;
#[cfg(test)]
mod test_support;
pub mod trainer;

pub use backend::by_hand;
pub use fit::fit;
pub use observer::TrainObserver;
pub use state::{Epoch, Fitted, State, Stopped};
pub use trainer::Job;
