//! `lumisift certify`: from scores to good, grey, bad and not evaluated.

mod text;

use super::{Sets, device_argument, only_keys, outputs::Outputs, part_argument, score, ui::Ui};
use crate::{
    certify::{
        decisions::Decisions,
        join::Rule,
        observer::{CertifyObserver, OnRead},
        outputs::Names,
        review::ReviewList,
        run::{self, Certification, CertifyOptions},
        summary::Summary,
    },
    data::{Samples, lumi::golden_json::LumisectionSet},
    device,
    error::{Error, Result},
    experiment::{
        judging::{self, JudgedFiles},
        trained::TrainedModel,
    },
    files::folder::Folder,
    text::count,
};
use clap::Args;
use std::path::{Path, PathBuf};

/// Give every lumisection a verdict (good, grey, bad, not evaluated); write a golden JSON and a
/// review list
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiments' folders: one per primary dataset, object or monitoring element
    #[arg(required = true, value_name = "DIR")]
    experiments: Vec<PathBuf>,
    /// The golden JSON to write; the JSONs of the other verdicts, tables and the review list are
    /// written next to it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Judge these files instead of the experiment's own (every experiment reads them)
    #[arg(long, num_args = 1.., value_name = "FILE", conflicts_with = "scores")]
    data: Vec<PathBuf>,
    /// Judge only a part of the runs of --data, such as "2 of 8": the parts share no run and cover
    /// all
    #[arg(long, value_name = "PART", requires = "data")]
    part: Option<String>,
    /// Judge these scores, written by `lumisift score` (.parquet): one file per experiment, in the
    /// same order
    #[arg(long, num_args = 1.., value_name = "FILE")]
    scores: Vec<PathBuf>,
    /// Calibrate the cuts on these files of good data instead of held-out rows of the experiment
    /// (every experiment reads them)
    #[arg(long, num_args = 1.., value_name = "FILE")]
    good: Vec<PathBuf>,
    /// How the verdicts of several experiments are combined: any, all, K-of-N (K must say bad), or
    /// max-score
    #[arg(long, value_name = "RULE", default_value = "any")]
    rule: String,
    /// Do not evaluate rows that the models were trained on
    #[arg(long)]
    held_out: bool,
    /// The run number of a file without one: --run good.csv=297219 (repeatable)
    #[arg(long, value_name = "FILE=NUMBER")]
    run: Vec<String>,
    /// Verdicts on whole runs (CSV or JSON: good, grey, bad or a score); lumisection scores decide
    /// in grey runs only
    #[arg(long, value_name = "FILE")]
    runs: Option<PathBuf>,
    /// Decisions of people (the review list, filled in); they override every other verdict
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
    /// Compare the verdicts with this golden JSON
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
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

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    only_keys(&arguments.sets.sets, &[score::SETTABLE, &["certify"]].concat(), "certify")?;
    let names = Names::new(&arguments.out)?;
    let rule = Rule::parse(&arguments.rule, arguments.experiments.len())?;
    check_scores(arguments)?;
    let named = arguments.run.iter().map(|text| run_of_file(text)).collect::<Result<_>>()?;
    let opened = open(arguments)?;
    let list = ReviewList::read(&names.beside("review.csv"))?;
    let outputs = written(arguments, &names, list.as_ref(), &opened);
    outputs.check()?;
    let against = read_named(arguments.against.as_deref(), LumisectionSet::read)?;
    let decisions = read_named(arguments.decisions.as_deref(), Decisions::read)?;
    let options = CertifyOptions {
        rule,
        rule_text: arguments.rule.clone(),
        named,
        held_out: arguments.held_out,
        runs: arguments.runs.clone(),
        decisions,
        against,
        list,
    };
    let device = device::open(device_argument(&arguments.device)?)?;
    let files = JudgedFiles {
        data: &arguments.data,
        part: part_argument(arguments.part.as_deref())?,
        scores: &arguments.scores,
        good: &arguments.good,
    };
    let experiments = judging::load(opened, &files, &device, ui)?;
    let certification = run::certify(&options, &names, experiments, &device, ui)?;
    options.list.iter().try_for_each(ReviewList::check)?;
    outputs.open()?;
    certification.write(&names)?;
    outputs.close(ui);
    certification.keep_cuts().iter().for_each(|warning| ui.warn(warning));
    show(arguments, &certification, &names, ui)
}

/// Shows the files being read, and the completed stages.
impl CertifyObserver for Ui {
    fn reads<'a>(&'a self, files: &[&[PathBuf]]) -> OnRead<'a> {
        let reading = self.reading(files);
        Box::new(move |path| reading.read(path))
    }

    fn scored(&self, samples: &Samples) {
        self.warn_unreadable(samples);
    }

    fn stage(&self, name: &str) {
        self.detail(name);
    }
}

/// Fails unless there is one file of scores per experiment.
fn check_scores(arguments: &Arguments) -> Result<()> {
    if arguments.scores.is_empty() || arguments.scores.len() == arguments.experiments.len() {
        return Ok(());
    }
    let (files, experiments) =
        (count(arguments.scores.len(), "file"), count(arguments.experiments.len(), "experiment"));
    Err(Error::input(format!("--scores: {files} for {experiments}; expected one each")))
}

/// Parses `good.csv=297219`.
fn run_of_file(text: &str) -> Result<(String, u32)> {
    let parts = text
        .rsplit_once('=')
        .and_then(|(file, run)| Some((file.to_owned(), run.trim().parse().ok()?)));
    parts.ok_or_else(|| {
        Error::input(format!(
            "--run {text}: expected a file's name and a run number, such as good.csv=297219"
        ))
    })
}

/// Opens experiments.
fn open(arguments: &Arguments) -> Result<Vec<(Folder, TrainedModel)>> {
    let one = |path: &PathBuf| {
        let folder = Folder::open(path)?;
        let model = folder.read_model(&arguments.sets.sets)?;
        Ok((folder, model))
    };
    arguments.experiments.iter().map(one).collect()
}

/// The outputs, compared with the inputs. The review list may be an input, because it is merged.
fn written(
    arguments: &Arguments,
    names: &Names,
    list: Option<&ReviewList>,
    opened: &[(Folder, TrainedModel)],
) -> Outputs {
    let outputs = Outputs::new("certify", arguments.force)
        .file("--out", names.golden(), &names.all()[1..])
        .reads("--data", &arguments.data)
        .reads("--scores", &arguments.scores)
        .reads("--good", &arguments.good)
        .reads("--runs", arguments.runs.as_slice())
        .reads("--decisions", arguments.decisions.as_slice())
        .reads("--against", arguments.against.as_slice());
    let outputs = opened.iter().fold(outputs, |outputs, (folder, model)| {
        outputs.reads_experiment(folder.path(), &model.experiment)
    });
    if list.is_some() { outputs.merged(&names.beside("review.csv")) } else { outputs }
}

/// Reads the file of an option; also returns its path.
fn read_named<T>(
    path: Option<&Path>,
    read: impl Fn(&Path) -> Result<T>,
) -> Result<Option<(PathBuf, T)>> {
    path.map(|path| Ok((path.to_path_buf(), read(path)?))).transpose()
}

/// Prints a certification, and what to do next.
fn show(
    arguments: &Arguments,
    certification: &Certification,
    names: &Names,
    ui: &Ui,
) -> Result<()> {
    let summary = &certification.summary;
    if ui.json {
        return ui.print_json(summary);
    }
    ui.print(&text::text(certification, ui.width()))?;
    summary.warnings.iter().for_each(|warning| ui.warn(warning));
    let files: Vec<String> = names.all().iter().map(|file| file.display().to_string()).collect();
    ui.print(&format!("wrote      {}", files.join(", ")))?;
    ui.next(&next(arguments, summary, names))
}

fn next(arguments: &Arguments, summary: &Summary, names: &Names) -> Vec<String> {
    let mut next = vec![];
    if summary.to_review > 0 {
        let (page, list) = (names.beside("review.html"), names.beside("review.csv"));
        next.push(format!(
            "open {} in a browser, decide and save decisions.csv, or fill in {} where it is",
            page.display(),
            list.display()
        ));
        next.push(format!(
            "the same command with --decisions decisions.csv, or --decisions {}",
            list.display()
        ));
    }
    if arguments.against.is_none() {
        next.push("the same command with --against GOLDEN.json, to compare the verdicts with a golden JSON".into());
    }
    next
}
