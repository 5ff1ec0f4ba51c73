//! `lumisift compare`: compares experiments.

use super::{outputs::Outputs, ui::Ui};
use crate::{
    error::Result,
    files::{atomic::write_atomically, folder::Folder},
    report::{
        channels::ChannelFigures,
        figures::Report,
        page::{
            self,
            comparison::{self, Compared, Rank, Ranks},
        },
        terminal,
    },
};
use clap::Args;
use std::{collections::BTreeSet, path::PathBuf};

/// Compare experiments in the terminal and on a page
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiments' folders
    #[arg(required = true, num_args = 2.., value_name = "DIR")]
    experiments: Vec<PathBuf>,
    /// The page to write
    #[arg(long, value_name = "FILE", default_value = "comparison.html")]
    out: PathBuf,
    /// Replace an output file that another command wrote or that was changed since; inputs are
    /// never replaced
    #[arg(long)]
    force: bool,
}

/// The number of the only channel; with several channels the lowest and the highest.
fn range(report: &Report, get: impl Fn(&ChannelFigures) -> Option<f64>, digits: usize) -> String {
    let mut numbers: Vec<f64> = report.channels.iter().filter_map(get).collect();
    numbers.sort_by(f64::total_cmp);
    match (numbers.first(), numbers.last()) {
        (Some(low), Some(high)) if low < high => format!("{low:.digits$} to {high:.digits$}"),
        (Some(number), _) => format!("{number:.digits$}"),
        _ => "–".into(),
    }
}

/// Maximum number of label sets whose areas are shown.
const MOST_AREAS: usize = 4;

/// The ranking of experiments by area, the largest first.
fn ranking(ranks: &Ranks, order: &[usize], reports: &[(String, &Report)]) -> String {
    let Ranks { labels, good, bad, note, .. } = ranks;
    let mut text = format!(
        "ranked     by ROC area for \"{labels}\" on the {bad} bad and {good} good test rows that all scored; {note}\n"
    );
    let interval = |interval: Option<(f64, f64)>| {
        interval.map_or_else(String::new, |(low, high)| format!(" ({low:.3} to {high:.3})"))
    };
    for &at in order {
        let Rank { place, area, interval: of_area, behind } = ranks.ranks[at];
        let behind = behind.map_or_else(String::new, |(lead, of_lead)| {
            format!(", behind the first by {lead:.3}{}", interval(of_lead))
        });
        text.push_str(&format!(
            "{place:>10} {area:.3}{}{behind}: {}\n",
            interval(of_area),
            reports[at].1.name
        ));
    }
    text.trim_end().to_owned()
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    let compared = arguments
        .experiments
        .iter()
        .map(|path| Compared::read(Folder::open(path)?))
        .collect::<Result<Vec<_>>>()?;
    let reads = |outputs: Outputs, compared: &Compared| {
        outputs.reads_experiment(compared.folder.path(), &compared.experiment)
    };
    let outputs = compared
        .iter()
        .fold(Outputs::new("compare", arguments.force).file("--out", &arguments.out, &[]), reads);
    outputs.check()?;
    let reports: Vec<(String, &Report)> =
        compared.iter().map(|compared| (compared.place(), &compared.report)).collect();
    let mut warnings = vec![];
    let scores: BTreeSet<&str> = reports.iter().map(|(_, report)| report.score.as_str()).collect();
    if scores.len() > 1 {
        warnings.push(
            "these experiments score differently; their losses and thresholds are not comparable"
                .to_owned(),
        );
    }
    let ranks = comparison::ranks(&compared);
    let rank = |at: usize| ranks.as_ref().map(|ranks| ranks.ranks[at]);
    let page = page::html("comparison", &comparison::data(&compared, ranks.as_ref(), &warnings)?)?;
    outputs.open()?;
    write_atomically(&arguments.out, page.as_bytes())?;
    outputs.close(ui);
    if ui.json {
        let row = |(at, (folder, report)): (usize, &(String, &Report))| serde_json::json!({"folder": folder, "rank": rank(at), "report": report});
        return ui.print_json(&reports.iter().enumerate().map(row).collect::<Vec<_>>());
    }
    let mut order: Vec<usize> = (0..reports.len()).collect();
    order.sort_by_key(|&at| rank(at).map(|rank| rank.place));
    let header = [
        "experiment",
        "network",
        "epochs",
        "loss",
        "validation",
        "flagged",
        "false alarms",
        "ROC AUC",
    ];
    let mut table = terminal::table(&header, ui.width());
    for (folder, report) in order.iter().map(|&at| &reports[at]) {
        let evaluated: usize = report.runs.iter().map(|run| run.evaluated).sum();
        let flagged: usize = report.runs.iter().map(|run| run.flags()).sum();
        // With several channels, the combined scores.
        let mut areas: Vec<String> = report
            .auc
            .iter()
            .filter(|auc| auc.channel == report.main())
            .map(|auc| match (auc.auc, auc.interval) {
                (Some(area), Some((low, high))) => {
                    format!("{}: {area:.3} ({low:.3}–{high:.3})", auc.labels)
                }
                _ => format!("{}: {}", auc.labels, auc.note),
            })
            .collect();
        if areas.len() > MOST_AREAS {
            let more = areas.len() - MOST_AREAS;
            areas.truncate(MOST_AREAS);
            areas.push(format!("{more} more in report.json"));
        }
        table.add_row([
            format!("{}\n{folder}", report.name),
            match &report.channels[..] {
                [channel] => channel.shape.clone(),
                channels => format!("{} channels", channels.len()),
            },
            range(report, |channel| Some(channel.training.epochs as f64), 0),
            range(report, |channel| channel.training.train_loss, 6),
            range(report, |channel| channel.training.valid_loss, 6),
            format!("{flagged} of {evaluated}"),
            report
                .false_alarms
                .as_ref()
                .map_or_else(|| "–".into(), |rate| format!("{:.2} %", 100.0 * rate.rate)),
            areas.join("\n"),
        ]);
    }
    ui.print(&table.to_string())?;
    if let Some(ranks) = &ranks {
        ui.print(&ranking(ranks, &order, &reports))?;
    }
    warnings.iter().for_each(|warning| ui.warn(warning));
    ui.print(&format!("wrote      {}", arguments.out.display()))
}
