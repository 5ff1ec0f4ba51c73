//! `lumisift score`: scores new data with a trained experiment.

use super::{Sets, device_argument, only_keys, outputs::Outputs, part_argument, ui::Ui};
use crate::{
    device,
    error::{Error, Result},
    experiment::rows,
    files::{
        folder::{Folder, names},
        tables,
    },
    report::{
        figures::{Context, Report},
        runs::{Flagged, RunFigures},
        terminal,
    },
    score::{explain, new_rows},
    synth,
    warnings::Warnings,
};
use clap::Args;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

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
    /// Score only a part of the runs, such as "2 of 8": the parts share no run and cover all
    #[arg(long, value_name = "PART")]
    part: Option<String>,
    /// With [patterns]: where to write the regions (.parquet or .csv)
    #[arg(long, value_name = "FILE")]
    regions: Option<PathBuf>,
    /// Compare the flags with known anomalies: a CSV of file,first_ls,last_ls,anomaly
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Explain the score of this lumisection: the inputs with the largest share of its error,
    /// channel by channel (repeatable)
    #[arg(long, value_name = "RUN:LS")]
    why: Vec<String>,
    /// Replace output files that another command wrote or that were changed since; inputs are never
    /// replaced
    #[arg(long)]
    force: bool,
    /// Where to compute: auto, cpu, cuda[:N], wgpu[:N]
    #[arg(long, default_value = "cpu")]
    device: String,
    #[command(flatten)]
    sets: Sets,
}

/// Keys that may still be set for a trained model.
pub const SETTABLE: &[&str] = &[
    "data.format",
    "data.me",
    "data.columns",
    "data.bad_rows",
    "data.keep_duplicates",
    "data.missing",
    "data.min_present",
    "data.oms",
    "data.hlt",
    "data.brilcalc",
    "data.lumisections",
    "labels",
    "patterns.automasks",
    "patterns.chips",
    "select",
];

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    only_keys(&arguments.sets.sets, SETTABLE, "score")?;
    tables::check_name("--out", &arguments.out)?;
    arguments.regions.iter().try_for_each(|path| tables::check_name("--regions", path))?;
    let mut texts = arguments.why.clone();
    texts.dedup();
    let why = texts.iter().map(|text| lumisection(text)).collect::<Result<Vec<_>>>()?;
    let part = part_argument(arguments.part.as_deref())?;
    let folder = Folder::open(&arguments.experiment)?;
    let model = folder.read_model(&arguments.sets.sets)?;
    if arguments.regions.is_some() && model.experiment.patterns.is_none() {
        return Err(Error::input(
            "--regions: the experiment has no [patterns], which define regions",
        ));
    }
    let regions =
        arguments.regions.iter().fold(Outputs::new("score", arguments.force), |outputs, path| {
            outputs.file("--regions", path, &[])
        });
    let outputs = regions
        .file("--out", &arguments.out, &[])
        .reads("--data", &arguments.data)
        .reads("--truth", arguments.truth.as_slice())
        .reads_experiment(&arguments.experiment, &model.experiment);
    outputs.check()?;
    let device = device::open(device_argument(&arguments.device)?)?;
    let truth = arguments.truth.as_deref().map(synth::read_truth).transpose()?;
    let (prepared, mut scores, patterns) = {
        let reading = ui.reading(&[&arguments.data]);
        rows::score_files(&model, &arguments.data, part, &device, &|path| reading.read(path))?
    };
    ui.warn_unreadable(&prepared.samples);
    ui.detail("scored");
    scores.flag(&model.thresholds)?;
    ui.detail("flagged");
    let mut asked = vec![];
    for (text, &lumisection) in texts.iter().zip(&why) {
        let told = explain::lumisection(
            &model.experiment,
            &model.networks,
            &prepared,
            &scores,
            lumisection,
            &device,
        )?;
        if told.is_empty() {
            let runs =
                if lumisection.0.is_none() { "; rows have runs, so expected RUN:LS" } else { "" };
            return Err(Error::input(format!(
                "--why {text}: there is no such {} among those that are evaluated{runs}",
                prepared.samples.what()
            )));
        }
        asked.extend(told);
    }
    let worst = if asked.is_empty() {
        explain::worst(&model.experiment, &model.networks, &prepared, &scores, &device)?
    } else {
        asked.clone()
    };
    let report = Report::new(
        &scores,
        Context {
            experiment: &model.experiment,
            networks: &model.networks,
            device: &device.name,
            thresholds: &model.thresholds,
            training: folder
                .read_json::<Report>(names::REPORT)?
                .channels
                .into_iter()
                .map(|channel| channel.training)
                .collect(),
            worst,
            projections: &[],
            samples: &prepared.samples,
            missing: prepared.missing_cells(),
            labels: &prepared.labels,
            classes: prepared.classes.as_ref(),
            beside: &prepared.beside,
            drift: Some(new_rows::drift(&model.networks, &model.thresholds, &prepared, &scores)),
            patterns: patterns.as_ref(),
            warnings: Warnings::notes(&prepared.notes),
        },
    )?;
    ui.detail("figures");
    outputs.open()?;
    if let (Some(path), Some(patterns)) = (&arguments.regions, &patterns) {
        patterns.write(path, &prepared.samples, &prepared.splits)?;
    }
    scores.write(&arguments.out)?;
    outputs.close(ui);
    ui.detail(&format!("wrote {}", arguments.out.display()));
    if ui.json {
        return ui.print_json(&report);
    }
    if !asked.is_empty() {
        ui.print(&terminal::explanations(
            &asked.iter().collect::<Vec<_>>(),
            prepared.samples.events,
        ))?;
        return ui.print(&format!("wrote      {}", arguments.out.display()));
    }
    ui.print(&terminal::render(&report, Some(&scores), ui.width()))?;
    if let Some(truth) = truth {
        ui.print(&beside_truth(&report, &truth, ui.width()))?;
    }
    ui.print(&format!("wrote      {}", arguments.out.display()))
}

/// Parses `RUN:LS`, or only the number of an LS or event without runs.
fn lumisection(text: &str) -> Result<(Option<u32>, u32)> {
    let wrong = || {
        Error::input(format!(
            "--why {text}: expected RUN:LS, or only a number if the data have no runs"
        ))
    };
    let number = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong());
    match text.split_once(':') {
        Some((run, ls)) => Ok((Some(number(run)?), number(ls)?)),
        None => Ok((None, number(text)?)),
    }
}

type Truth = (String, u32, u32, String);

/// Maximum number of anomalies listed one by one; more are counted by kind.
const MOST_ANOMALIES: usize = 30;

/// The known anomalies found by each threshold.
fn beside_truth(report: &Report, truth: &[Truth], width: u16) -> String {
    let thresholds =
        report.thresholds.iter().filter(|threshold| threshold.channel == report.main());
    let names: Vec<String> =
        thresholds.map(|threshold| format!("found by {}", threshold.describe())).collect();
    let within = |flagged: &Flagged, first: u32, last: u32| {
        flagged.ls.iter().filter(|ls| (first..=last).contains(*ls)).count()
    };
    // An anomaly listed for several channels counts once.
    let mut seen = BTreeSet::new();
    let truth: Vec<&Truth> = truth.iter().filter(|known| seen.insert(*known)).collect();
    let run = |known: &Truth| report.runs.iter().find(|run| run.name == known.0);
    let by_kind = truth.iter().filter(|known| run(known).is_some()).count() > MOST_ANOMALIES;
    let mut header =
        if by_kind { vec!["ranges", "LSs", "anomaly"] } else { vec!["run", "LSs", "anomaly"] };
    header.extend(names.iter().map(String::as_str));
    let mut table = terminal::table(&header, width);
    let mut kinds: BTreeMap<&str, Vec<(&&Truth, &RunFigures)>> = BTreeMap::new();
    for known in &truth {
        let (file, first, last, kind) = known;
        let Some(run) = run(known) else { continue };
        kinds.entry(kind).or_default().push((known, run));
        if by_kind {
            continue;
        }
        let ls = if first == last { first.to_string() } else { format!("{first}–{last}") };
        let mut row = vec![file.clone(), ls, kind.clone()];
        row.extend(run.flagged.iter().map(|flagged| match within(flagged, *first, *last) {
            0 => "missed".to_owned(),
            found => format!("{found} of {}", u64::from(last - first) + 1),
        }));
        table.add_row(row);
    }
    for (kind, known) in kinds.iter().filter(|_| by_kind) {
        let length: u64 =
            known.iter().map(|((_, first, last, _), _)| u64::from(last - first) + 1).sum();
        let mut row = vec![known.len().to_string(), length.to_string(), (*kind).to_owned()];
        row.extend((0..names.len()).map(|i| {
            let found: Vec<usize> = known
                .iter()
                .map(|((_, first, last, _), run)| within(&run.flagged[i], *first, *last))
                .collect();
            format!(
                "{} ranges, {} LSs",
                found.iter().filter(|found| **found > 0).count(),
                found.iter().sum::<usize>()
            )
        }));
        table.add_row(row);
    }
    let mut others = vec![String::new(), String::new(), "flags elsewhere".to_owned()];
    for i in 0..names.len() {
        let known = |run: &str, ls: u32| {
            truth.iter().any(|(file, first, last, _)| file == run && (*first..=*last).contains(&ls))
        };
        let elsewhere: usize = report
            .runs
            .iter()
            .map(|run| run.flagged[i].ls.iter().filter(|ls| !known(&run.name, **ls)).count())
            .sum();
        let evaluated: usize = report.runs.iter().map(|run| run.evaluated).sum();
        others.push(format!("{elsewhere} of {evaluated} LSs"));
    }
    table.add_row(others);
    let elsewhere = truth.iter().filter(|known| run(known).is_none()).count();
    let not_scored = if elsewhere > 0 {
        format!("{elsewhere} known anomalies are of runs that are not scored here\n")
    } else {
        String::new()
    };
    format!("known anomalies\n{table}\n{not_scored}")
}
