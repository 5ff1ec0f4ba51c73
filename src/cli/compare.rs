//! `lumisift compare`: experiments side by side.

use super::ui::Ui;
use crate::{
    error::Result,
    report::{
        channels::ChannelFigures,
        figures::Report,
        folder::{Folder, names},
        terminal,
    },
};
use clap::Args;
use std::path::PathBuf;

/// Hold experiments side by side
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiments' folders
    #[arg(required = true, num_args = 2.., value_name = "DIR")]
    experiments: Vec<PathBuf>,
}

/// One line a channel.
fn each(report: &Report, show: impl Fn(&ChannelFigures) -> String) -> String {
    report.channels.iter().map(show).collect::<Vec<_>>().join("\n")
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let reports = arguments
        .experiments
        .iter()
        .map(|path| Ok((path.display().to_string(), Folder::open(path)?.read_json::<Report>(names::REPORT)?)))
        .collect::<Result<Vec<_>>>()?;
    if ui.json {
        let rows: Vec<_> = reports.iter().map(|(folder, report)| serde_json::json!({"folder": folder, "report": report})).collect();
        return ui.print_json(&rows);
    }
    let number = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.6}"));
    let header = ["experiment", "network", "epochs", "loss", "validation", "flagged", "false alarms", "ROC AUC"];
    let mut table = terminal::table(&header, ui.width());
    for (folder, report) in &reports {
        let evaluated: usize = report.runs.iter().map(|run| run.evaluated).sum();
        let flagged: usize = report.runs.iter().map(|run| run.flags()).sum();
        // Of several channels, what they say together.
        let areas: Vec<String> = report
            .auc
            .iter()
            .filter(|auc| auc.channel == report.main())
            .map(|auc| match (auc.auc, auc.interval) {
                (Some(area), Some((low, high))) => format!("{}: {area:.3} ({low:.3}–{high:.3})", auc.labels),
                _ => format!("{}: {}", auc.labels, auc.note),
            })
            .collect();
        table.add_row([
            format!("{}\n{folder}", report.name),
            each(report, |channel| channel.shape.clone()),
            each(report, |channel| channel.training.epochs.to_string()),
            each(report, |channel| number(channel.training.train_loss)),
            each(report, |channel| number(channel.training.valid_loss)),
            format!("{flagged} of {evaluated}"),
            report.false_alarms.as_ref().map_or_else(|| "–".into(), |rate| format!("{:.2} %", 100.0 * rate.rate)),
            areas.join("\n"),
        ]);
    }
    ui.print(&table.to_string())?;
    let scores: std::collections::BTreeSet<&str> = reports.iter().map(|(_, report)| report.score.as_str()).collect();
    if scores.len() > 1 {
        ui.warn("these experiments score differently; their losses and thresholds are not comparable");
    }
    Ok(())
}
