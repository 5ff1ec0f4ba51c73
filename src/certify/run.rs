//! Runs a certification: judges, combines, applies people's decisions, writes.

use super::{
    against::Against,
    cuts::Cuts,
    decisions::Decisions,
    experiments::{Judgement, JudgingExperiment},
    explanations::explain,
    join::{self, Calibration, Rule, Standard},
    notes::Notes,
    observer::CertifyObserver,
    outputs::{self, Names},
    rate_not_met::RateNotMet,
    review::{self, Explanations, ReviewList, ReviewRow},
    review_page,
    run_flags::{Runs, Spoken},
    stretches::{Stretch, flagged},
    summary::{self, Decided, Expected, Judge, Luminosity, PerVerdict, RunFlags, Summary},
    verdicts::{Id, Opinions, Verdicts},
};
use crate::{
    data::{channels::COMBINED, lumi::golden_json::LumisectionSet},
    device::Device,
    error::{Error, Result, listed, suggestion},
    files::{atomic::write_json, folder::names},
    score::verdict::Verdict,
    text::count,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// Options of a certification.
pub struct CertifyOptions {
    /// The rule that combines the opinions of several experiments.
    pub rule: Rule,
    /// The rule as typed.
    pub rule_text: String,
    /// Run numbers of files without them, by file name.
    pub named: BTreeMap<String, u32>,
    /// Whether training rows are not evaluated.
    pub held_out: bool,
    /// A file of verdicts on whole runs.
    pub runs: Option<PathBuf>,
    /// A file of people's decisions, and the decisions.
    pub decisions: Option<(PathBuf, Decisions)>,
    /// A golden JSON to compare with: its file, and its lumisections.
    pub against: Option<(PathBuf, LumisectionSet)>,
    /// The earlier review list.
    pub list: Option<ReviewList>,
}

/// The outcome of a certification.
pub struct Certification {
    /// The outcome as numbers.
    pub summary: Summary,
    /// The verdicts on all lumisections.
    pub lumisections: Verdicts,
    /// The flagged lumisections as stretches.
    pub stretches: Vec<Stretch>,
    /// Explanations of the stretches to review.
    pub explanations: Explanations,
    /// The review list.
    pub rows: Vec<ReviewRow>,
    experiments: Vec<JudgingExperiment>,
}

/// The judgements of all experiments, by kind.
#[derive(Default)]
struct Judgements {
    judges: Vec<Judge>,
    opinions: Vec<Opinions>,
    calibrations: Vec<Vec<Calibration>>,
    /// Evaluated lumisections that an experiment was trained on.
    trained: BTreeSet<Id>,
    luminosities: Option<(&'static str, BTreeMap<Id, f64>)>,
    warnings: Vec<String>,
}

/// Certifies lumisections without writing files. `names` are the files to be written later.
pub fn certify(
    options: &CertifyOptions,
    names: &Names,
    experiments: Vec<JudgingExperiment>,
    device: &Device,
    observer: &dyn CertifyObserver,
) -> Result<Certification> {
    check_named(&options.named, &experiments)?;
    let run_scores = *experiments[0].experiment.certify.run_scores;
    let runs = options.runs.as_deref().map(|path| Runs::read(path, run_scores)).transpose()?;
    observer.stage("read");
    let mut judgements = judge_all(&experiments, options)?;
    let (joint, mut lumisections) = judgements.join(options.rule, &experiments)?;
    let mut warnings = std::mem::take(&mut judgements.warnings);
    warnings.extend(joint.as_ref().and_then(Cuts::warning));
    let deciding = joint.as_ref().or(judgements.only_cuts());
    let false_discoveries = deciding.and_then(|cuts| Expected::new(cuts, &lumisections));
    let run_flags = runs.zip(options.runs.as_ref()).map(|(runs, path)| {
        apply_runs(&runs, path.display().to_string(), &mut lumisections, &mut warnings)
    });

    // The review list is built before decisions are applied, so that decided lumisections stay in
    // it.
    let notes = notes(options, &lumisections);
    let reviewed = flagged(&lumisections, &notes);
    let (explanations, doubts) = explain(&experiments, &lumisections, &reviewed, device, observer);
    warnings.extend(doubts);
    observer.stage("explained");
    let named: Vec<String> = experiments.iter().map(|one| one.name.clone()).collect();
    let mut rows = review::rows(&lumisections, &reviewed, &notes, &named, &explanations);
    let to_review = rows.iter().filter(|row| row[review::DECISION].is_empty()).count();
    warnings.extend(list_warning(options));
    let decisions = options.decisions.as_ref().map(|(path, decisions)| {
        apply_decisions(decisions, path.display().to_string(), &mut lumisections, &mut warnings)
    });
    warnings.extend(trained_warning(judgements.trained.len(), lumisections.len()));
    let counts = PerVerdict::count(&lumisections);
    if counts.good == 0 {
        warnings.push("no lumisection is good: the golden JSON is empty; check the cuts, and the reasons in the table".into());
    }
    observer.stage("judged");

    rows.extend(review::kept_rows(&notes, &lumisections, &reviewed));
    let rates_not_met = rates_not_met(joint.as_ref(), &judgements.judges, &lumisections);
    let quantity = judgements.quantity();
    let summary = Summary {
        nothing_to_review: summary::nothing_to_review(&lumisections, &rates_not_met),
        rates_not_met,
        golden: names.golden().display().to_string(),
        lumisections: counts,
        runs: lumisections.keys().map(|(run, _)| run).collect::<BTreeSet<_>>().len(),
        luminosity: quantity.clone().map(|quantity| Luminosity::new(quantity, &lumisections)),
        sources: summary::by_source(&lumisections),
        not_evaluated: summary::reasons(&lumisections),
        rule: (experiments.len() > 1).then(|| options.rule_text.clone()),
        experiments: judgements.judges,
        joint,
        trained_on: judgements.trained.len(),
        false_discoveries,
        above_threshold: PerVerdict::count_flagged(&lumisections),
        to_review,
        run_flags,
        decisions,
        against: options.against.as_ref().map(|(path, golden)| {
            Against::new(path.display().to_string(), golden, &lumisections, quantity)
        }),
        warnings,
    };
    let stretches = flagged(&lumisections, &Notes::default());
    Ok(Certification { summary, lumisections, stretches, explanations, rows, experiments })
}

/// Fails if a name in `--run` is not a file of an experiment.
fn check_named(named: &BTreeMap<String, u32>, experiments: &[JudgingExperiment]) -> Result<()> {
    let files: BTreeSet<&str> = experiments
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

/// The judgements of all experiments.
fn judge_all(experiments: &[JudgingExperiment], options: &CertifyOptions) -> Result<Judgements> {
    let mut all = Judgements::default();
    for one in experiments {
        let of = |message: String| {
            if experiments.len() > 1 { format!("{}: {message}", one.name) } else { message }
        };
        let judgement =
            one.judge(&options.named, options.held_out).map_err(|error| error.map(of))?;
        let Judgement { judge, opinions, calibration, trained, luminosities, warnings } = judgement;
        all.warnings.extend(warnings.into_iter().map(of));
        let evaluated = |id: &Id| {
            opinions.get(id).is_some_and(|opinion| opinion.verdict != Verdict::NotEvaluated)
        };
        all.trained.extend(trained.iter().filter(|id| evaluated(id)));
        if let Some((quantity, more)) = luminosities {
            let (known, luminosities) = all.luminosities.get_or_insert((quantity, BTreeMap::new()));
            // Quantities of different kinds are not added up.
            luminosities.extend(more.into_iter().filter(|_| *known == quantity));
        }
        all.judges.push(judge);
        all.opinions.push(opinions);
        all.calibrations.push(calibration);
    }
    Ok(all)
}

impl Judgements {
    /// Combines the verdicts of all experiments; also returns the cuts on the largest score if that
    /// is the rule. The opinions move into the verdicts.
    fn join(
        &mut self,
        rule: Rule,
        experiments: &[JudgingExperiment],
    ) -> Result<(Option<Cuts>, Verdicts)> {
        let opinions = std::mem::take(&mut self.opinions);
        if opinions.iter().all(BTreeMap::is_empty) {
            return Err(Error::input("there is no lumisection to judge"));
        }
        let names: Vec<String> = experiments.iter().map(|one| one.name.clone()).collect();
        let (joint, mut lumisections) = match rule {
            Rule::Votes(needed) => (None, join::votes(needed, &names, opinions)),
            Rule::MaxScore => {
                let standards = standards(experiments, &self.calibrations)?;
                let first = &experiments[0].experiment;
                let (cuts, lumisections) = join::max_score(
                    (&first.certify, first.certify.block),
                    &names,
                    &standards,
                    &self.calibrations,
                    opinions,
                )?;
                (Some(cuts), lumisections)
            }
        };
        for judge in &mut self.judges {
            judge.missing = lumisections.len() - judge.lumisections;
        }
        for (id, said) in &mut lumisections {
            said.luminosity =
                self.luminosities.as_ref().and_then(|(_, known)| known.get(id).copied());
        }
        Ok((joint, lumisections))
    }

    /// The cuts that decide, if there is a single experiment.
    fn only_cuts(&self) -> Option<&Cuts> {
        self.judges.first().filter(|_| self.judges.len() == 1).and_then(|judge| judge.cuts.last())
    }

    /// The quantity of the luminosities, if any is known.
    fn quantity(&self) -> Option<String> {
        let (quantity, known) = self.luminosities.as_ref()?;
        (!known.is_empty()).then(|| (*quantity).to_owned())
    }
}

/// The standardisations that make the scores of different experiments comparable.
fn standards(
    experiments: &[JudgingExperiment],
    calibrations: &[Vec<Calibration>],
) -> Result<Vec<Standard>> {
    let one = |(one, rows): (&JudgingExperiment, &Vec<Calibration>)| {
        let good: Vec<f64> =
            rows.iter().filter(|(_, _, good)| *good).map(|(_, score, _)| *score).collect();
        let logarithms = one.judged().main().is_some_and(|channel| channel.name == COMBINED);
        Standard::new(!logarithms, &good)
            .map_err(|error| error.map(|message| format!("{}: {message}", one.name)))
    };
    experiments.iter().zip(calibrations).map(one).collect()
}

/// Applies verdicts on whole runs.
fn apply_runs(
    runs: &Runs,
    file: String,
    lumisections: &mut Verdicts,
    warnings: &mut Vec<String>,
) -> RunFlags {
    let Spoken { settled, overruled, grey, unnamed } = runs.apply(lumisections);
    if overruled > 0 {
        let overruled = count(overruled, "lumisection");
        warnings.push(format!("{file}: calls runs good in which scores call {overruled} grey or bad; look at their reasons in the table"));
    }
    if unnamed > 0 {
        warnings.push(format!(
            "{file}: does not name the runs of {}, so their scores decide; add the runs to override them",
            count(unnamed, "lumisection")
        ));
    }
    RunFlags { file, settled, overruled, grey, unnamed }
}

/// Applies decisions of people.
fn apply_decisions(
    decisions: &Decisions,
    file: String,
    lumisections: &mut Verdicts,
    warnings: &mut Vec<String>,
) -> Decided {
    let (settled, changed, unknown) = decisions.apply(lumisections);
    if let Some((run, ls)) = unknown.first() {
        let unknown = count(unknown.len(), "lumisection");
        warnings.push(format!("{file}: decides on {unknown} that are not judged here, the first of them run {run} LS {ls}"));
    }
    Decided { file, settled, changed }
}

/// Notes on flagged lumisections from the decisions, merged over those of the earlier review list.
fn notes(options: &CertifyOptions, lumisections: &Verdicts) -> Notes {
    let mut notes = options.list.as_ref().map(|list| list.notes.clone()).unwrap_or_default();
    let is_flagged = |id: &Id| {
        lumisections
            .get(id)
            .is_some_and(|said| matches!(said.verdict, Verdict::Grey | Verdict::Bad))
    };
    if let Some((_, decisions)) = &options.decisions {
        notes.lay(&decisions.notes, is_flagged);
    }
    notes
}

/// A warning about decisions in the earlier review list that are not applied.
fn list_warning(options: &CertifyOptions) -> Option<String> {
    let ReviewList { path, notes, .. } = options.list.as_ref()?;
    let decided =
        notes.decided_beyond(options.decisions.as_ref().map(|(_, decisions)| &decisions.notes));
    (decided > 0).then(|| {
        let (path, decided) = (path.display(), count(decided, "lumisection"));
        format!(
            "{path}: decides on {decided}, which is not applied here; --decisions {path} applies it"
        )
    })
}

/// A warning about evaluated training lumisections.
fn trained_warning(trained: usize, lumisections: usize) -> Option<String> {
    (trained > 0).then(|| {
        format!("{trained} of {lumisections} lumisections were trained on, so anomalies among them may score low and pass as good; --held-out makes them not evaluated")
    })
}

/// The unmet rates of the joint cuts, or of each experiment with its own cuts.
fn rates_not_met(
    joint: Option<&Cuts>,
    judges: &[Judge],
    lumisections: &Verdicts,
) -> Vec<RateNotMet> {
    if let Some(cuts) = joint {
        return RateNotMet::new(cuts, None, lumisections).into_iter().collect();
    }
    let of = |(at, judge): (usize, &Judge)| {
        let name = (judges.len() > 1).then_some((at, judge.name.as_str()));
        RateNotMet::new(judge.cuts.last()?, name, lumisections)
    };
    judges.iter().enumerate().filter_map(of).collect()
}

impl Certification {
    /// Writes all files, the golden JSON last.
    pub fn write(&self, names: &Names) -> Result<()> {
        let Self { summary, lumisections, stretches, rows, experiments, .. } = self;
        let named: Vec<String> = experiments.iter().map(|one| one.name.clone()).collect();
        let files: Vec<_> = experiments
            .iter()
            .map(|one| one.judged().rows.iter().map(|row| row.file.clone()).collect())
            .collect();
        let elements: Vec<Option<String>> =
            experiments.iter().map(|one| one.element.clone()).collect();
        outputs::write_table(names, lumisections, &named, &files)?;
        outputs::write_dials(&names.beside("dials.csv"), lumisections, &elements)?;
        let empty = summary.nothing_to_review.as_deref();
        review::write_list(&names.beside("review.csv"), rows, empty)?;
        let title = format!("Review: {}", listed(named.iter().map(String::as_str)));
        let lines: Vec<String> = summary
            .rates_not_met
            .iter()
            .map(|rate| rate.text.clone())
            .chain([summary.verdicts()])
            .chain(summary.nothing_to_review.clone())
            .collect();
        review_page::write_page(&names.beside("review.html"), &title, &lines, rows)?;
        let flagged = outputs::flagged_json(lumisections, stretches, &named);
        write_json(&names.beside("flagged.json"), &flagged)?;
        write_json(&names.beside("summary.json"), summary)?;
        outputs::write_partition(names, lumisections)
    }

    /// Writes the cuts into the experiments' folders, which may belong to another user. Returns
    /// warnings about those that could not be written.
    pub fn keep_cuts(&self) -> Vec<String> {
        let keep = |(one, judge): (&JudgingExperiment, &Judge)| {
            let error = one.folder.write_json(names::CUTS, &judge.cuts).err()?;
            Some(format!("the cuts are not kept with the model: {error}"))
        };
        self.experiments.iter().zip(&self.summary.experiments).filter_map(keep).collect()
    }
}
