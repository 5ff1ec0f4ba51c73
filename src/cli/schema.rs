//! `lumisift schema`: the JSON schema of experiment files.

use super::ui::Ui;
use crate::{config::schema, error::Result};
use clap::Args;

/// Print the JSON schema of experiment files, for editors
#[derive(Debug, Args)]
pub struct Arguments {}

pub fn run(_: &Arguments, ui: &Ui) -> Result<()> {
    ui.print_json(&schema::schema())
}
