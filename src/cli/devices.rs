//! `lumisift devices`: lists devices.

use super::ui::Ui;
use crate::{device, error::Result, report::terminal};
use clap::Args;

/// List devices, and why others are not available
#[derive(Debug, Args)]
pub struct Arguments {}

pub fn run(_: &Arguments, ui: &Ui) -> Result<()> {
    let devices = device::list();
    if ui.json {
        return ui.print_json(&devices);
    }
    let mut table = terminal::table(&["device", "", ""], ui.width());
    for device in devices {
        table.add_row([
            device.name,
            if device.available { "available" } else { "missing" }.into(),
            device.detail,
        ]);
    }
    ui.print(&table.to_string())
}
