pub mod config;
pub mod data;
pub mod device;
pub mod error;
pub mod model;
pub mod prepare;
pub mod random;
pub mod train;
