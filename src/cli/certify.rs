//! `lumisift certify`: from scores to good, grey, bad and not evaluated.

use super::{Sets, device_argument, only_keys, outputs::Outputs, part_argument, score, ui::Ui};
use crate::{
    certify::{
        Id, Lumisections,
        against::{Against, RunDifference},
        cuts::{self, Cuts, Sample},
        decisions::{Decisions, Runs, Spoken},
        join::{self, Calibration, Rule, Standard},
        judge::{self, Opinions},
        notes::{List, Notes},
        outputs::{self, Names, Stretch},
        review::{self, Explanations},
        summary::{self, Decided, Expected, Judge, Luminosity, PerVerdict, RunFlags, Summary},
        unmet::RateNotMet,
    },
    config::{Part, Value, certify::CertifyOn},
    data::{
        channels::COMBINED,
        lumi::{Facts, LUMINOSITIES, golden_json::LumisectionSet},
        lumisections::Lumisection,
    },
    device::{self, Opened},
    error::{Error, Result, listed, suggestion},
    experiment::{rows, trained::TrainedModel},
    files::{
        atomic::write_json,
        folder::{Folder, names},
    },
    prepare::{Prepared, split::Split},
    report::{explain, figures::Report, terminal},
    score::{
        drift::Moved,
        new_rows,
        scores::{ChannelScores, Row, Scores, Verdict},
    },
};
use clap::Args;
use console::style;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// Give every lumisection a verdict (good, grey, bad, not evaluated); write a golden JSON and a
/// review list
#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiments' folders: one per primary dataset, object or monitoring element
    #[arg(required = true, value_name = "DIR")]
    experiments: Vec<PathBuf>,
    /// The golden JSON to write; the JSONs of the other verdicts, tables and the review list are
    /// written beside it
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
    /// Make rows that the models were trained on not evaluated
    #[arg(long)]
    held_out: bool,
    /// The run number of a file that has none: --run good.csv=297219 (repeatable)
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

/// An experiment, and the rows that it judges.
struct Loaded {
    name: String,
    folder: Folder,
    model: TrainedModel,
    /// Its own rows.
    own: Scores,
    /// Those that are judged, where they are others.
    judged: Option<(Option<Prepared>, Scores)>,
    /// Inputs of the judged rows that never changed in training and do now, as far as that is
    /// known.
    moved: Vec<Moved>,
    /// Those that cuts are calibrated on, where they are others, and their files.
    good: Option<(Vec<String>, Scores)>,
    /// What reading the data to judge and to calibrate on made doubtful.
    notes: Vec<String>,
}

impl Loaded {
    fn judged(&self) -> &Scores {
        self.judged.as_ref().map_or(&self.own, |(_, scores)| scores)
    }

    /// The rows that cuts are calibrated on, good (`Some(true)`) or bad, and what they are called.
    fn calibration(&self) -> (&Scores, Vec<Option<bool>>, String) {
        let on = self.model.experiment.certify.on;
        let (scores, what) = match (&self.good, on) {
            (Some((_, scores)), _) => (scores, "rows of --good"),
            (None, CertifyOn::Valid) => (&self.own, "validation rows"),
            (None, CertifyOn::Test) => (&self.own, "labelled test rows"),
        };
        let label = scores.labels.iter().position(|name| name == "good");
        let of_row = |row: &Row| {
            let known = label.and_then(|label| row.labels[label]);
            match (&row.rejected, &self.good) {
                (Some(_), _) => None,
                (None, Some(_)) => Some(known != Some(false)),
                (None, None) => cuts::calibrates(on, row, known),
            }
        };
        (scores, scores.rows.iter().map(of_row).collect(), what.into())
    }
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

/// What is written, compared with what is read. The review list may be read, since it is merged.
fn written(
    arguments: &Arguments,
    names: &Names,
    list: Option<&List>,
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

/// Scores what experiments are to judge and to calibrate on.
fn load(
    arguments: &Arguments,
    opened: Vec<(Folder, TrainedModel)>,
    device: &Opened,
    ui: &Ui,
) -> Result<Vec<Loaded>> {
    let mut loaded: Vec<Loaded> = vec![];
    let part = part_argument(arguments.part.as_deref())?;
    for (at, (folder, model)) in opened.into_iter().enumerate() {
        let own = Scores::read(&folder.file(names::SCORES))?;
        let score = |files: &[PathBuf], part: Option<Part>| {
            let reading = ui.reading(&[files]);
            rows::score_files(&model, files, part, device, &|path| reading.read(path))
        };
        let (mut moved, mut notes) = (vec![], vec![]);
        let judged = match arguments.scores.get(at) {
            Some(path) => {
                let scores = Scores::read(path)?;
                let channels = |scores: &Scores| {
                    listed(scores.channels.iter().map(|channel| channel.name.as_str()))
                };
                if channels(&scores) != channels(&own) {
                    let (found, expected) = (channels(&scores), channels(&own));
                    return Err(Error::input(format!(
                        "{}: scores of the channels {found}; the experiment has {expected}",
                        path.display()
                    )));
                }
                Some((None, scores))
            }
            None if arguments.data.is_empty() => {
                moved = folder
                    .read_json::<Report>(names::REPORT)?
                    .drift
                    .map_or(vec![], |drift| drift.moved);
                None
            }
            None => {
                let (mut prepared, mut scores, _) = score(&arguments.data, part)?;
                scores.flag(&model.thresholds)?;
                ui.warn_unreadable(&prepared.samples);
                moved = new_rows::moved(&model.networks, &prepared);
                notes.append(&mut prepared.notes);
                Some((Some(prepared), scores))
            }
        };
        let good =
            if arguments.good.is_empty() { None } else { Some(score(&arguments.good, None)?) };
        let good = good.map(|(mut prepared, scores, _)| {
            notes.extend(prepared.notes.drain(..).map(|note| format!("--good: {note}")));
            (
                prepared
                    .samples
                    .sources
                    .iter()
                    .map(|source| source.path.display().to_string())
                    .collect(),
                scores,
            )
        });
        let name = model.experiment.name.clone();
        loaded.push(Loaded { name, folder, model, own, judged, moved, good, notes });
    }
    // Names that are not one experiment's alone give way to folders.
    let names: Vec<String> = loaded.iter().map(|one| one.name.clone()).collect();
    for one in
        loaded.iter_mut().filter(|one| names.iter().filter(|name| **name == one.name).count() > 1)
    {
        one.name = one.folder.path().display().to_string();
    }
    if let Some(twice) = loaded
        .iter()
        .enumerate()
        .find_map(|(at, one)| loaded[..at].iter().find(|other| other.name == one.name))
    {
        return Err(Error::input(format!("{}: named twice", twice.name)));
    }
    Ok(loaded)
}

/// What people decided, and as it stands in the file.
fn decisions(path: &Path) -> Result<(Decisions, Notes)> {
    Ok((Decisions::read(path)?, Notes::read(path)?))
}

/// What is written down about flagged lumisections and in the review list of before.
fn notes(lumisections: &Lumisections, list: Option<&List>, decided: Option<&Notes>) -> Notes {
    let mut notes = list.map(|list| list.notes.clone()).unwrap_or_default();
    let is_flagged = |id: &Id| {
        lumisections
            .get(id)
            .is_some_and(|said| matches!(said.verdict, Verdict::Grey | Verdict::Bad))
    };
    decided.iter().for_each(|decided| notes.lay(decided, is_flagged));
    notes
}

/// The run of `good.csv=297219`.
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

/// Refuses names of files that no experiment has.
fn check_named(named: &BTreeMap<String, u32>, loaded: &[Loaded]) -> Result<()> {
    let files: BTreeSet<&str> = loaded
        .iter()
        .flat_map(|one| one.judged().rows.iter().chain(&one.own.rows))
        .map(|row| &*row.file)
        .collect();
    match named.keys().find(|name| !files.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let near = suggestion(name, files.iter().copied());
            Err(Error::input(format!(
                "--run {name}=…: no file has that name{near}; there are {}",
                listed(files.iter().copied())
            )))
        }
    }
}

/// What one experiment says.
struct Said {
    judge: Judge,
    opinions: Opinions,
    calibration: Vec<Calibration>,
    /// Lumisections that it was trained on.
    trained: BTreeSet<Id>,
    /// Recorded luminosities and what they are, where they are known.
    luminosities: Option<(&'static str, BTreeMap<Id, f64>)>,
    warnings: Vec<String>,
}

fn judge_one(one: &Loaded, named: &BTreeMap<String, u32>, held_out: bool) -> Result<Said> {
    let (scores, experiment) = (one.judged(), &one.model.experiment);
    let (ids, own_ids) = (judge::identities(scores, named), judge::identities(&one.own, named));
    judge::check_runs(scores, &ids)?;
    let mut warnings: Vec<String> =
        one.notes.iter().cloned().chain(one.moved.iter().map(Moved::warning)).collect();
    let within = &experiment.certify.within;
    let wanted: BTreeSet<String> =
        within.iter().cloned().chain(LUMINOSITIES.map(str::to_owned)).collect();
    let facts = match Facts::read(&experiment.data, &wanted) {
        Ok(facts) => facts,
        Err(error) if !within.is_empty() => return Err(error),
        Err(error) => {
            warnings.push(format!("luminosities are not known: {error}"));
            Facts::default()
        }
    };
    let mut unfit = judge::outside(within, &facts, (&one.own, &own_ids), (scores, &ids))?;
    let is_trained = |row: &usize| {
        one.own.rows[*row].split == Split::Train && one.own.rows[*row].rejected.is_none()
    };
    let trained: BTreeSet<Id> =
        (0..own_ids.len()).filter(is_trained).filter_map(|row| own_ids[row]).collect();
    if held_out {
        if let Some(row) = (0..own_ids.len()).filter(is_trained).find(|row| own_ids[*row].is_none())
        {
            let file = &one.own.rows[row].file;
            return Err(Error::input(format!(
                "--held-out: {file} holds rows that were trained on, and no run number of theirs is known, so they cannot be told from those to judge; say it with --run {file}=NUMBER"
            )));
        }
        let known = |id: &Option<Id>| id.is_some_and(|id| trained.contains(&id));
        unfit
            .iter_mut()
            .zip(&ids)
            .filter(|(_, id)| known(id))
            .for_each(|(reason, _)| *reason = Some("trained on (--held-out)".into()));
    }

    let (calibrating, calibrates, what) = one.calibration();
    let files = one.good.as_ref().map(|(files, _)| files.clone()).unwrap_or_default();
    let fit = |row: &usize| {
        scores.rows[*row].rejected.is_none() && unfit[*row].is_none() && ids[*row].is_some()
    };
    let cuts = |channel: &ChannelScores| {
        let judged: Vec<f64> = scores
            .channels
            .iter()
            .filter(|other| other.name == channel.name)
            .flat_map(|channel| {
                (0..ids.len()).filter(fit).filter_map(move |row| channel.scores[row])
            })
            .collect();
        let of = |wanted: bool| {
            cuts::by_run(calibrating, channel, |row| calibrates[row] == Some(wanted))
        };
        let sample =
            Sample { what: what.clone(), files: files.clone(), good: of(true), bad: of(false) };
        Cuts::new(&experiment.certify, experiment.certify.block, &channel.name, &sample, &judged)
    };
    let cuts = calibrating.channels.iter().map(cuts).collect::<Result<Vec<Cuts>>>()?;
    warnings.extend(cuts.last().and_then(Cuts::warning));
    let (opinions, duplicates) = judge::opinions(&cuts, scores, &ids, &unfit);
    if duplicates > 0 {
        warnings.push(format!(
            "{} of a lumisection that has another row, and the worse verdict counts; look for duplicates in the data",
            crate::text::count(duplicates, "row")
        ));
    }
    let unreadable = ids.iter().filter(|id| id.is_none()).count();
    if unreadable > 0 {
        warnings.push(format!(
            "{} without run and LS could not be read and are in none of the files; repair or remove them",
            crate::text::count(unreadable, "row")
        ));
    }
    let label =
        calibrating.labels.iter().position(|name| name == "good").filter(|_| one.good.is_none());
    let unlabelled = |row: &usize| {
        calibrates[*row] == Some(true)
            && label.is_some_and(|label| calibrating.rows[*row].labels[label].is_none())
    };
    let unlabelled = (0..calibrates.len()).filter(unlabelled).count();
    if unlabelled > 0 {
        warnings.push(format!("{unlabelled} of the {what} have no label and count as good for the cuts; label them, or calibrate with --good"));
    }
    let calibrating_ids = judge::identities(calibrating, named);
    let calibration = (0..calibrates.len()).filter_map(|row| {
        Some((calibrating_ids[row]?, calibrating.main()?.scores[row]?, calibrates[row]?))
    });
    let recorded = LUMINOSITIES.into_iter().find(|name| facts.has(name)).map(|name| {
        let of = |id: &Id| match facts.get(name, Lumisection { run: Some(id.0), ls: id.1 })?.0 {
            Value::Number(number) => Some((*id, number)),
            _ => None,
        };
        (name, opinions.keys().filter_map(of).collect())
    });
    let judge = Judge {
        name: one.name.clone(),
        folder: one.folder.path().display().to_string(),
        cuts,
        lumisections: opinions.len(),
        missing: 0,
        unreadable,
        duplicates,
    };
    Ok(Said {
        judge,
        calibration: calibration.collect(),
        opinions,
        trained,
        luminosities: recorded,
        warnings,
    })
}

/// What makes the scores of each experiment comparable with those of the others.
fn standards(loaded: &[Loaded], calibrations: &[Vec<Calibration>]) -> Result<Vec<Standard>> {
    let one = |(one, rows): (&Loaded, &Vec<Calibration>)| {
        let good: Vec<f64> =
            rows.iter().filter(|(_, _, good)| *good).map(|(_, score, _)| *score).collect();
        let logarithms = one.judged().main().is_some_and(|channel| channel.name == COMBINED);
        Standard::new(!logarithms, &good)
            .map_err(|error| error.map(|message| format!("{}: {message}", one.name)))
    };
    loaded.iter().zip(calibrations).map(one).collect()
}

/// A review list explains no more stretches than this.
const MOST_EXPLAINED: usize = 200;

/// Explains the worst lumisection of each stretch, the worst stretches first; those whose data
/// cannot be read stay unexplained.
fn explain(
    loaded: &[Loaded],
    lumisections: &Lumisections,
    stretches: &[Stretch],
    device: &Opened,
    ui: &Ui,
) -> (Explanations, Vec<String>) {
    let (mut explanations, mut warnings) = (Explanations::new(), vec![]);
    for (at, one) in loaded.iter().enumerate() {
        let worst = |stretch: &Stretch| {
            let said = &lumisections[&(stretch.run, stretch.worst)];
            let row = said.opinions[at].as_ref()?.row;
            (said.experiment == Some(at)).then_some((
                said.p_value,
                (stretch.run, stretch.worst),
                row,
            ))
        };
        let mut wanted: Vec<_> = stretches.iter().filter_map(worst).collect();
        wanted.sort_by(|a, b| a.0.unwrap_or(1.0).total_cmp(&b.0.unwrap_or(1.0)));
        wanted.truncate(MOST_EXPLAINED);
        let rows: Vec<usize> = wanted.iter().map(|(_, _, row)| *row).collect();
        if rows.is_empty() {
            continue;
        }
        let TrainedModel { experiment, networks, .. } = &one.model;
        let told = match &one.judged {
            Some((None, _)) => continue,
            Some((Some(prepared), scores)) => {
                explain::rows(experiment, networks, prepared, scores, &rows, device)
            }
            None => {
                let reading = ui.reading(&[&experiment.data.train, &experiment.data.test]);
                let prepared = rows::prepare_scored(experiment, networks, &one.own, &|path| {
                    reading.read(path)
                });
                prepared.and_then(|prepared| {
                    explain::rows(experiment, networks, &prepared, &one.own, &rows, device)
                })
            }
        };
        match told {
            Ok(told) => explanations.extend(wanted.iter().map(|(_, id, _)| *id).zip(told)),
            Err(error) => warnings.push(format!("{}: the data can no longer be read, so the review list has no contributions: {error}", one.name)),
        }
    }
    (explanations, warnings)
}

pub fn run(arguments: &Arguments, ui: &Ui) -> Result<()> {
    only_keys(&arguments.sets.sets, &[score::SETTABLE, &["certify"]].concat(), "certify")?;
    let names = Names::new(&arguments.out)?;
    let rule = Rule::parse(&arguments.rule, arguments.experiments.len())?;
    if !arguments.scores.is_empty() && arguments.scores.len() != arguments.experiments.len() {
        let (files, experiments) = (
            crate::text::count(arguments.scores.len(), "file"),
            crate::text::count(arguments.experiments.len(), "experiment"),
        );
        return Err(Error::input(format!(
            "--scores: {files} for {experiments}; expected one each"
        )));
    }
    let named = arguments
        .run
        .iter()
        .map(|text| run_of_file(text))
        .collect::<Result<BTreeMap<String, u32>>>()?;
    let opened = open(arguments)?;
    let list = List::read(&names.beside("review.csv"))?;
    let outputs = written(arguments, &names, list.as_ref(), &opened);
    outputs.check()?;
    let golden = arguments.against.as_deref().map(LumisectionSet::read).transpose()?;
    let decided = arguments.decisions.as_deref().map(decisions).transpose()?;
    let device = device::open(device_argument(&arguments.device)?)?;
    let loaded = load(arguments, opened, &device, ui)?;
    check_named(&named, &loaded)?;
    let runs = arguments
        .runs
        .as_deref()
        .map(|path| Runs::read(path, *loaded[0].model.experiment.certify.run_scores))
        .transpose()?;
    let experiments: Vec<String> = loaded.iter().map(|one| one.name.clone()).collect();
    ui.detail("read");

    // What each says.
    let (mut warnings, mut judges, mut opinions, mut calibrations) =
        (vec![], vec![], vec![], vec![]);
    let mut trained: BTreeSet<Id> = BTreeSet::new();
    let mut luminosities: Option<(&str, BTreeMap<Id, f64>)> = None;
    for one in &loaded {
        let of = |message: String| {
            if loaded.len() > 1 { format!("{}: {message}", one.name) } else { message }
        };
        let said = judge_one(one, &named, arguments.held_out).map_err(|error| error.map(of))?;
        warnings.extend(said.warnings.into_iter().map(of));
        let evaluated = |id: &Id| {
            said.opinions.get(id).is_some_and(|opinion| opinion.verdict != Verdict::NotEvaluated)
        };
        trained.extend(said.trained.iter().filter(|id| evaluated(id)));
        if let Some((quantity, more)) = said.luminosities {
            let (known, all) = luminosities.get_or_insert((quantity, BTreeMap::new()));
            // Quantities of different kinds are not added up.
            all.extend(more.into_iter().filter(|_| *known == quantity));
        }
        judges.push(said.judge);
        opinions.push(said.opinions);
        calibrations.push(said.calibration);
    }

    // What they say together, and what people say.
    let all: BTreeSet<Id> = opinions.iter().flat_map(|opinions| opinions.keys().copied()).collect();
    judges.iter_mut().for_each(|judge| judge.missing = all.len() - judge.lumisections);
    if all.is_empty() {
        return Err(Error::input("there is no lumisection to judge"));
    }
    let (joint, mut lumisections) = match rule {
        Rule::Votes(needed) => (None, join::votes(needed, &experiments, opinions)),
        Rule::MaxScore => {
            let standards = standards(&loaded, &calibrations)?;
            let first = &loaded[0].model.experiment;
            let (cuts, lumisections) = join::max_score(
                (&first.certify, first.certify.block),
                &experiments,
                &standards,
                &calibrations,
                opinions,
            )?;
            warnings.extend(cuts.warning());
            (Some(cuts), lumisections)
        }
    };
    for (id, said) in &mut lumisections {
        said.luminosity =
            luminosities.as_ref().and_then(|(_, luminosities)| luminosities.get(id).copied());
    }
    let deciding = joint
        .as_ref()
        .or(judges.first().filter(|_| judges.len() == 1).and_then(|judge| judge.cuts.last()));
    let false_discoveries = deciding.and_then(|cuts| Expected::new(cuts, &lumisections));
    let shown =
        |path: &Option<PathBuf>| path.as_deref().unwrap_or(Path::new("")).display().to_string();
    let run_flags = runs.map(|runs| {
        let spoken = runs.apply(&mut lumisections);
        let Spoken { settled, overruled, grey, unnamed } = spoken;
        RunFlags { file: shown(&arguments.runs), settled, overruled, grey, unnamed }
    });
    if let Some(RunFlags { file, overruled, .. }) =
        run_flags.as_ref().filter(|flags| flags.overruled > 0)
    {
        let count = crate::text::count(*overruled, "lumisection");
        warnings.push(format!("{file}: calls runs good in which scores call {count} grey or bad; look at their reasons in the table"));
    }
    if let Some(RunFlags { file, unnamed, .. }) =
        run_flags.as_ref().filter(|flags| flags.unnamed > 0)
    {
        warnings.push(format!(
            "{file}: does not name the runs of {}; their scores decide: add them if they should not",
            crate::text::count(*unnamed, "lumisection")
        ));
    }
    // The review list is made before people's decisions are applied, so that what was decided stays
    // in it.
    let notes = notes(&lumisections, list.as_ref(), decided.as_ref().map(|(_, notes)| notes));
    let reviewed = outputs::flagged(&lumisections, &notes);
    let (explanations, doubts) = explain(&loaded, &lumisections, &reviewed, &device, ui);
    warnings.extend(doubts);
    ui.detail("explained");
    let mut rows = review::rows(&lumisections, &reviewed, &notes, &experiments, &explanations);
    let to_review = rows.iter().filter(|row| row[review::DECISION].is_empty()).count();
    if let Some(List { path, notes, .. }) = &list {
        let count = notes.decided_beyond(decided.as_ref().map(|(_, notes)| notes));
        if count > 0 {
            let (path, count) = (path.display(), crate::text::count(count, "lumisection"));
            warnings.push(format!("{path}: decides on {count}, which is not applied here; --decisions {path} applies it"));
        }
    }
    let decided = decided.map(|(decisions, _)| {
        let (settled, changed, unknown) = decisions.apply(&mut lumisections);
        if let Some((run, ls)) = unknown.first() {
            let count = crate::text::count(unknown.len(), "lumisection");
            warnings
                .push(format!("{}: decides on {count} that are not judged here, the first of them run {run} LS {ls}", shown(&arguments.decisions)));
        }
        Decided { file: shown(&arguments.decisions), settled, changed }
    });
    if !trained.is_empty() {
        warnings.push(format!(
            "{} of {} lumisections were trained on, so anomalies among them may score low and pass as good; --held-out makes them not evaluated",
            trained.len(),
            lumisections.len()
        ));
    }
    let counts = PerVerdict::count(&lumisections);
    if counts.good == 0 {
        warnings.push("no lumisection is good: the golden JSON is empty; check the cuts, and the reasons in the table".into());
    }
    ui.detail("judged");

    rows.extend(notes.kept(&lumisections, &reviewed));
    let stretches = outputs::flagged(&lumisections, &Notes::default());
    let quantity = luminosities
        .as_ref()
        .filter(|(_, luminosities)| !luminosities.is_empty())
        .map(|(quantity, _)| (*quantity).to_owned());
    let rates_not_met = match &joint {
        Some(cuts) => RateNotMet::new(cuts, None, &lumisections).into_iter().collect(),
        None => rates_not_met(&judges, &lumisections),
    };
    let summary = Summary {
        nothing_to_review: summary::nothing_to_review(&lumisections, &rates_not_met),
        rates_not_met,
        golden: names.golden().display().to_string(),
        lumisections: counts,
        runs: all.iter().map(|(run, _)| run).collect::<BTreeSet<_>>().len(),
        luminosity: quantity.clone().map(|quantity| Luminosity::new(quantity, &lumisections)),
        sources: summary::by_source(&lumisections),
        not_evaluated: summary::reasons(&lumisections),
        rule: (loaded.len() > 1).then(|| arguments.rule.clone()),
        experiments: judges,
        joint,
        trained_on: trained.len(),
        false_discoveries,
        above_threshold: PerVerdict::count_flagged(&lumisections),
        to_review,
        run_flags,
        decisions: decided,
        against: golden.map(|golden| {
            Against::new(shown(&arguments.against), &golden, &lumisections, quantity)
        }),
        warnings,
    };
    list.iter().try_for_each(List::check)?;
    outputs.open()?;
    write(&names, &summary, &loaded, &lumisections, &stretches, &rows)?;
    outputs.close(ui);
    for (one, judge) in loaded.iter().zip(&summary.experiments) {
        // The folder may be another's.
        if let Err(error) = one.folder.write_json(names::CUTS, &judge.cuts) {
            ui.warn(&format!("the cuts are not kept with the model: {error}"));
        }
    }
    if ui.json {
        return ui.print_json(&summary);
    }
    ui.print(&text(&summary, &stretches, &lumisections, &explanations, ui.width()))?;
    summary.warnings.iter().for_each(|warning| ui.warn(warning));
    let files: Vec<String> = names.all().iter().map(|file| file.display().to_string()).collect();
    ui.print(&format!("wrote      {}", files.join(", ")))?;
    ui.next(&next(arguments, &summary, &names))
}

/// The rates that experiments cannot tell, each with its own cuts.
fn rates_not_met(judges: &[Judge], lumisections: &Lumisections) -> Vec<RateNotMet> {
    let of = |(at, judge): (usize, &Judge)| {
        let name = (judges.len() > 1).then_some((at, judge.name.as_str()));
        RateNotMet::new(judge.cuts.last()?, name, lumisections)
    };
    judges.iter().enumerate().filter_map(of).collect()
}

/// Writes everything, the golden JSON last.
fn write(
    names: &Names,
    summary: &Summary,
    loaded: &[Loaded],
    lumisections: &Lumisections,
    stretches: &[Stretch],
    rows: &[review::Row],
) -> Result<()> {
    let experiments: Vec<String> = loaded.iter().map(|one| one.name.clone()).collect();
    let files: Vec<_> = loaded
        .iter()
        .map(|one| one.judged().rows.iter().map(|row| row.file.clone()).collect())
        .collect();
    let elements: Vec<Option<String>> =
        loaded.iter().map(|one| one.model.element().cloned()).collect();
    let title = format!("Review: {}", listed(experiments.iter().map(String::as_str)));
    outputs::write_table(names, lumisections, &experiments, &files)?;
    outputs::write_dials(&names.beside("dials.csv"), lumisections, &elements)?;
    review::write_list(&names.beside("review.csv"), rows, summary.nothing_to_review.as_deref())?;
    let lines = summary
        .rates_not_met
        .iter()
        .map(|rate| rate.text.clone())
        .chain([verdicts(summary)])
        .chain(summary.nothing_to_review.clone());
    review::write_page(&names.beside("review.html"), &title, &lines.collect::<Vec<_>>(), rows)?;
    write_json(
        &names.beside("flagged.json"),
        &outputs::flagged_json(lumisections, stretches, &experiments),
    )?;
    write_json(&names.beside("summary.json"), summary)?;
    outputs::write_partition(names, lumisections)
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
        next.push("the same command with --against GOLDEN.json: where the verdicts differ from those of others".into());
    }
    next
}

/// "12 good, 3 grey, …" of how many.
fn verdicts(summary: &Summary) -> String {
    let PerVerdict { good, grey, bad, not_evaluated } = summary.lumisections;
    let all = crate::text::count(good + grey + bad + not_evaluated, "lumisection");
    format!(
        "{good} good, {grey} grey, {bad} bad, {not_evaluated} not evaluated of {all} in {}",
        crate::text::count(summary.runs, "run")
    )
}

/// A cut as people read it.
fn cut(cut: &cuts::Calibrated) -> String {
    let Some(score) = cut.score else {
        return format!("nothing is {}: no cut has {}", cut.above.name(), cut.rule);
    };
    let share = |share: &cuts::Share, what: &str| {
        let percent = |share: f64| format!("{:.2}", 100.0 * share);
        format!(
            "{} of {} {what}: {} % ({} to {} %)",
            share.rows,
            share.of,
            percent(share.share),
            percent(share.interval.0),
            percent(share.interval.1)
        )
    };
    let parts = [
        cut.false_alarms.map(|s| share(&s, "good above")),
        cut.efficiency.map(|s| share(&s, "bad above")),
        cut.purity.map(|s| share(&s, "above are bad")),
    ];
    let parts: String =
        parts.into_iter().flatten().map(|part| format!("\n             {part}")).collect();
    format!("{} above {score:.6} ({}){parts}", cut.above.name(), cut.rule)
}

fn cuts_text(cuts: &Cuts) -> String {
    let rows = format!("{} {} of {}", cuts.rows, cuts.sample, crate::text::count(cuts.runs, "run"));
    let counted = if cuts.block == 1 {
        String::new()
    } else {
        format!(", {} blocks of {} LSs", cuts.blocks, cuts.block)
    };
    let bad =
        if cuts.bad_rows > 0 { format!(", {} bad ones", cuts.bad_rows) } else { String::new() };
    format!(
        "{}\n           {}\n           calibrated on {rows}{counted}{bad}",
        cut(&cuts.grey),
        cut(&cuts.bad)
    )
}

/// Stretches that are shown, and runs that differ.
const MOST_SHOWN: usize = 20;
const MOST_RUNS: usize = 10;

fn text(
    summary: &Summary,
    stretches: &[Stretch],
    lumisections: &Lumisections,
    explanations: &Explanations,
    width: u16,
) -> String {
    let names: Vec<String> = summary.experiments.iter().map(|judge| judge.name.clone()).collect();
    let mut text = String::new();
    for rate in &summary.rates_not_met {
        let _ = writeln!(
            text,
            "{}     {}",
            style("notice").yellow().bold(),
            terminal::printable(&rate.text)
        );
    }
    let _ = writeln!(text, "verdicts   {}", style(verdicts(summary)).bold());
    if !summary.not_evaluated.is_empty() {
        let reasons: Vec<String> = summary
            .not_evaluated
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        let _ = writeln!(
            text,
            "           not evaluated: {}",
            listed(reasons.iter().map(String::as_str))
        );
    }
    if let Some(Luminosity { quantity, sum, unknown }) = &summary.luminosity {
        let total = sum.good + sum.grey + sum.bad + sum.not_evaluated;
        // The sum of nothing is −0.
        let part = |part: f64| format!("{:.2} %", 0.0 + 100.0 * part / total);
        let unknown = if *unknown > 0 {
            format!("; not known for {}", crate::text::count(*unknown, "lumisection"))
        } else {
            String::new()
        };
        let (good, grey, bad, not) =
            (part(sum.good), part(sum.grey), part(sum.bad), part(sum.not_evaluated));
        let _ = writeln!(
            text,
            "luminosity {good} good, {grey} grey, {bad} bad, {not} not evaluated of {total:.6} ({quantity}){unknown}"
        );
    }
    for judge in &summary.experiments {
        let of = if names.len() > 1 {
            format!(
                "{}: {} lumisections, {} missing\n           ",
                judge.name, judge.lumisections, judge.missing
            )
        } else {
            String::new()
        };
        if let Some(cuts) = judge.cuts.last().filter(|_| summary.joint.is_none()) {
            let _ = writeln!(text, "cuts       {of}{}", cuts_text(cuts));
        }
    }
    if let Some(cuts) = &summary.joint {
        let _ = writeln!(text, "cuts       {}", cuts_text(cuts));
    }
    let PerVerdict { good, grey, bad, not_evaluated } = summary.above_threshold;
    let flagged_by_threshold = summary.above_threshold.sum();
    if flagged_by_threshold > 0 {
        let (of, not) = (
            if names.len() == 1 { "the" } else { "an" },
            if not_evaluated > 0 {
                format!(", {not_evaluated} not evaluated")
            } else {
                String::new()
            },
        );
        let count = crate::text::count(flagged_by_threshold, "lumisection");
        let _ = writeln!(
            text,
            "threshold  {count} above {of} experiment's own threshold: {good} good, {grey} grey, {bad} bad{not}"
        );
    }
    if let Some(expected) = &summary.false_discoveries {
        let _ = writeln!(
            text,
            "expected   of these {} flagged, at most {} expected to be good ({:.2} % false discoveries)",
            expected.flagged,
            expected.good.floor(),
            100.0 * expected.rate
        );
    }
    if let Some(flags) = &summary.run_flags {
        let _ = writeln!(
            text,
            "runs       {}: {} lumisections of good and bad runs, scores decide on {}",
            flags.file,
            flags.settled,
            flags.grey + flags.unnamed
        );
    }
    if let Some(decided) = &summary.decisions {
        let _ = writeln!(
            text,
            "decisions  {}: on {}, {} of them changed",
            decided.file,
            crate::text::count(decided.settled, "lumisection"),
            decided.changed
        );
    }
    if let Some(why) = &summary.nothing_to_review {
        let _ = writeln!(text, "review     {}", terminal::printable(why));
    }
    if !stretches.is_empty() {
        text.push_str(&flagged(stretches, lumisections, &names, explanations, width));
    }
    if let Some(against) = &summary.against {
        text.push_str(&beside(against, width));
    }
    text
}

/// The worst stretches.
fn flagged(
    stretches: &[Stretch],
    lumisections: &Lumisections,
    names: &[String],
    explanations: &Explanations,
    width: u16,
) -> String {
    let mut table = terminal::table(&["run", "LSs", "verdict", "score", "p-value", "why"], width);
    let worst =
        |stretch: &Stretch| lumisections[&(stretch.run, stretch.worst)].p_value.unwrap_or(0.0);
    let score = |stretch: &Stretch| {
        lumisections[&(stretch.run, stretch.worst)].score.unwrap_or(f64::INFINITY)
    };
    let mut shown: Vec<&Stretch> = stretches.iter().collect();
    shown.sort_by(|a, b| {
        (b.verdict == Verdict::Bad)
            .cmp(&(a.verdict == Verdict::Bad))
            .then(worst(a).total_cmp(&worst(b)))
            .then(score(b).total_cmp(&score(a)))
    });
    shown.truncate(MOST_SHOWN);
    let shown: Vec<Stretch> = shown.into_iter().cloned().collect();
    for row in review::rows(lumisections, &shown, &Notes::default(), names, explanations) {
        let at = |name: &str| {
            review::HEADER
                .iter()
                .position(|other| *other == name)
                .map(|at| row[at].clone())
                .unwrap_or_default()
        };
        let range = if at("first_ls") == at("last_ls") {
            at("first_ls")
        } else {
            format!("{}–{}", at("first_ls"), at("last_ls"))
        };
        let experiment = if names.len() > 1 { at("experiment") } else { String::new() };
        let told =
            if at("contributions").is_empty() { at("channels") } else { at("contributions") };
        let why = [experiment, told]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        let why = if at("source") == "autoencoder" && !why.is_empty() { why } else { at("reason") };
        table.add_row([at("run"), range, at("verdict"), at("score"), at("p_value"), why]);
    }
    let more = if stretches.len() > MOST_SHOWN {
        format!("{MOST_SHOWN} of {} stretches; all are in the review list\n", stretches.len())
    } else {
        String::new()
    };
    format!("{table}\n{more}")
}

/// Verdicts beside a golden JSON.
fn beside(against: &Against, width: u16) -> String {
    let known = against.luminosity.is_some();
    let mut header = vec!["verdict", "golden LSs", "other LSs"];
    header.extend(if known { vec!["golden luminosity", "other luminosity"] } else { vec![] });
    let mut table = terminal::table(&header, width);
    for line in &against.verdicts {
        let mut row =
            vec![line.verdict.name().to_owned(), line.golden.to_string(), line.other.to_string()];
        row.extend(
            [line.golden_luminosity, line.other_luminosity]
                .into_iter()
                .filter(|_| known)
                .map(|sum| format!("{sum:.6}")),
        );
        table.add_row(row);
    }
    let not_judged = match against.not_judged {
        Some(0) => String::new(),
        Some(count) => format!("{count} lumisections that it names are not judged here\n"),
        None => {
            "it names whole runs, so its lumisections that are not judged here cannot be counted\n"
                .into()
        }
    };
    let mut text = format!("against    {}\n{table}\n{not_judged}", against.file);
    if against.runs.is_empty() {
        return text + "no lumisection is good in one and not in the other\n";
    }
    let show = |ranges: &[(u32, u32)]| {
        let one = |(first, last): &(u32, u32)| {
            if first == last { first.to_string() } else { format!("{first}–{last}") }
        };
        listed(ranges.iter().map(one).collect::<Vec<_>>().iter().map(String::as_str))
    };
    let mut table = terminal::table(
        &[
            "run",
            "good here only",
            "golden, grey here",
            "golden, bad here",
            "golden, not evaluated",
        ],
        width,
    );
    for RunDifference { run, good_here, grey_here, bad_here, not_evaluated_here } in
        against.runs.iter().take(MOST_RUNS)
    {
        table.add_row([
            run.to_string(),
            show(good_here),
            show(grey_here),
            show(bad_here),
            show(not_evaluated_here),
        ]);
    }
    let more = if against.runs.len() > MOST_RUNS {
        format!("{MOST_RUNS} of {} runs; all are in the summary\n", against.runs.len())
    } else {
        String::new()
    };
    let _ = write!(text, "{table}\n{more}");
    text
}
