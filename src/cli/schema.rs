//! `lumisift schema`: the keys of experiment files.

use super::ui::Ui;
use crate::{
    config::{reference, schema},
    error::Result,
};
use clap::Args;

/// Print the JSON schema of experiment files, for editors
#[derive(Debug, Args)]
pub struct Arguments {
    /// Print the reference of all keys as Markdown instead
    #[arg(long)]
    markdown: bool,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    if arguments.markdown {
        return ui.print(&reference::markdown());
    }
    ui.print_json(&schema::schema())
}
