//! `lumisift completions`: completions for shells.

use super::{Cli, ui::Ui};
use crate::error::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print completions for a shell
#[derive(Debug, Args)]
pub struct Arguments {
    shell: Shell,
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let mut text = vec![];
    clap_complete::generate(arguments.shell, &mut Cli::command(), "lumisift", &mut text);
    ui.print(&String::from_utf8_lossy(&text))
}
