//! `lumisift score`: new data with a trained experiment.

use super::{Sets, device_argument, only_keys, ui::Ui};
use crate::{
    data::synth,
    device,
    error::{Error, Result},
    pipeline,
    report::{
        figures::{Context, Flagged, Report},
        folder::Folder,
        terminal,
    },
};
use clap::Args;
use std::path::PathBuf;

/// Score new data with a trained experiment: same scaling, same network, same thresholds
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiment's folder
    experiment: PathBuf,
    /// The files to score
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Where to write the scores (.parquet or .csv)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Hold the flags against known anomalies: a CSV of file,first_ls,last_ls,anomaly
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Where to compute: auto, cpu, cuda[:N], wgpu[:N]
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    sets: Sets,
}

/// Keys that may still be set when the model is trained.
pub const SETTABLE: &[&str] =
    &["data.format", "data.me", "data.columns", "data.bad_rows", "data.oms", "data.hlt", "data.brilcalc", "data.lumisections", "labels", "select"];

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    only_keys(&arguments.sets.sets, SETTABLE, "score")?;
    if !arguments.out.extension().is_some_and(|extension| extension == "parquet" || extension == "csv") {
        return Err(Error::input(format!("--out {}: expected a name that ends in .parquet or .csv", arguments.out.display())));
    }
    let folder = Folder::open(&arguments.experiment)?;
    let model = folder.read_model(&arguments.sets.sets)?;
    let device = device::open(device_argument(&arguments.device)?)?;
    let truth = arguments.truth.as_deref().map(synth::read_truth).transpose()?;
    let (prepared, mut scores) = {
        let reading = ui.reading(&[&arguments.data]);
        pipeline::score_files(&model, &arguments.data, &device, &|path| reading.read(path))?
    };
    ui.warn_unreadable(&prepared.samples);
    scores.flag(&model.thresholds[0])?;
    scores.write(&arguments.out)?;
    let report = Report::new(
        &scores,
        Context {
            experiment: &model.experiment,
            architecture: &model.architecture,
            device: &device.name,
            thresholds: &model.thresholds,
            training: folder.read_training()?,
            samples: &prepared.samples,
            labels: &prepared.labels,
            warnings: vec![],
        },
    )?;
    if ui.json {
        return ui.print_json(&report);
    }
    ui.print(&terminal::render(&report, Some(&scores), ui.width()))?;
    if let Some(truth) = truth {
        ui.print(&beside_truth(&report, &truth, ui.width()))?;
    }
    ui.print(&format!("wrote      {}", arguments.out.display()))
}

type Truth = (String, u32, u32, String);

/// Which known anomalies each threshold finds.
fn beside_truth(report: &Report, truth: &[Truth], width: u16) -> String {
    let mut header = vec!["run", "LSs", "anomaly"];
    let names: Vec<String> = report.thresholds.iter().map(|threshold| format!("found by {}", threshold.threshold)).collect();
    header.extend(names.iter().map(String::as_str));
    let mut table = terminal::table(&header, width);
    let within = |flagged: &Flagged, first: u32, last: u32| flagged.ls.iter().filter(|ls| (first..=last).contains(*ls)).count();
    for (file, first, last, kind) in truth {
        let Some(run) = report.runs.iter().find(|run| run.name == *file) else { continue };
        let ls = if first == last { first.to_string() } else { format!("{first}–{last}") };
        let mut row = vec![file.clone(), ls, kind.clone()];
        row.extend(run.flagged.iter().map(|flagged| match within(flagged, *first, *last) {
            0 => "missed".to_owned(),
            found => format!("{found} of {}", u64::from(last - first) + 1),
        }));
        table.add_row(row);
    }
    let mut others = vec![String::new(), String::new(), "flags elsewhere".to_owned()];
    for i in 0..report.thresholds.len() {
        let known = |run: &str, ls: u32| truth.iter().any(|(file, first, last, _)| file == run && (*first..=*last).contains(&ls));
        let elsewhere: usize = report.runs.iter().map(|run| run.flagged[i].ls.iter().filter(|ls| !known(&run.name, **ls)).count()).sum();
        let evaluated: usize = report.runs.iter().map(|run| run.evaluated).sum();
        others.push(format!("{elsewhere} of {evaluated} LSs"));
    }
    table.add_row(others);
    format!("known anomalies\n{table}\n")
}
