//! What else is known of lumisections: OMS quantities, trigger rates, luminosities. Joined by (run,
//! LS); what is missing is unknown, never 0.

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
