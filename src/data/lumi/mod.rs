//! Further information on lumisections: OMS quantities, trigger rates, luminosities, masks and run
//! lists, joined by (run, LS).

pub mod automasks;
mod brilcalc;
mod files;
pub mod golden_json;
mod hlt;
mod info;
mod oms;
mod recognise;

pub use info::{LUMINOSITIES, LumiInfo, Origin, START_TIME};
pub use recognise::{LumiFile, recognise};
