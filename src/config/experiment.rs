//! The checked experiment: from a merged document to its sections.

use super::{
    certify,
    certify::Cut,
    check::{self, Checker},
    cross,
    data::{Data, Part},
    device::DeviceChoice,
    document::Document,
    file::Config,
    labels::LabelOrigin,
    loss::{Distance, Loss, Penalties, Sparsity},
    model::ModelKind,
    optimizer::{Optimizer, UpdateRule},
    schedule::{Course, Schedule},
    schema,
    split::Split,
    threshold::{Threshold, ThresholdRule},
};
use crate::error::{Error, Result};
use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// A config that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// The config with every default filled in and every path absolute, as `experiment.toml` keeps
    /// it.
    pub config: Config,
    /// Paths or globs to train on.
    pub train_files: Vec<PathBuf>,
    /// Paths or globs that are only scored.
    pub test_files: Vec<PathBuf>,
    /// Where more is known about lumisections than the data files say.
    pub facts: FactFiles,
    /// How many neighbouring bins are added up: in x, and in y where that differs.
    pub rebin: (usize, Option<usize>),
    /// Which monitoring elements are layers; none where there is one element.
    pub layers: Vec<glob::Pattern>,
    /// How many columns and rows are cut out of the middle of a map: in x, in y.
    pub cut: (usize, usize),
    /// Which part of the runs is read.
    pub part: Option<Part>,
    /// Weights to start from.
    pub init: Option<PathBuf>,
    /// What training makes small.
    pub loss: Distance,
    /// What training makes small beside it.
    pub penalties: Penalties,
    /// How gradients become steps.
    pub optimizer: UpdateRule,
    /// The full learning rate.
    pub learning_rate: f64,
    /// How the learning rate changes.
    pub schedule: Course,
    /// The thresholds to report, the one that flags first.
    pub thresholds: Vec<ThresholdRule>,
    /// How scores become verdicts.
    pub certify: Certify,
}

/// The cuts between good, grey and bad; none where the default is to be taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certify {
    /// Above it a lumisection is at least grey.
    pub grey: Option<Cut>,
    /// Above it a lumisection is bad.
    pub bad: Option<Cut>,
    /// Up to which score a run is good, and above which it is bad.
    pub run_scores: Option<(f64, f64)>,
}

/// Files that are joined to the data by (run, LS). Paths or globs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FactFiles {
    /// OMS quantities per lumisection.
    pub oms: Vec<PathBuf>,
    /// Rates of trigger paths.
    pub hlt: Vec<PathBuf>,
    /// Luminosities as brilcalc writes them.
    pub brilcalc: Vec<PathBuf>,
    /// DIALS pages of lumisections.
    pub lumisections: Vec<PathBuf>,
}

impl Deref for Experiment {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.config
    }
}

impl DerefMut for Experiment {
    fn deref_mut(&mut self) -> &mut Config {
        &mut self.config
    }
}

impl Experiment {
    /// Reads and checks an experiment file with `--set` arguments over it; tells every fault at
    /// once.
    pub fn load(path: &Path, sets: &[String]) -> Result<Self> {
        Self::load_with(path, sets, &[])
    }

    /// The same with other options of the command line laid over both: each with the key that it
    /// stands for, and its text.
    pub fn load_with(path: &Path, sets: &[String], options: &[(&str, &str, &str)]) -> Result<Self> {
        let stem =
            path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut document = Document::load(path, sets)?;
        options.iter().for_each(|(option, key, text)| document.add_option(option, key, text));
        Self::check(&document, &stem)
    }

    /// Checks a merged document; `name` is used where the config has none.
    pub fn check(document: &Document, name: &str) -> Result<Self> {
        let faults = schema::faults(&document.table);
        let mut table = document.table.clone();
        faults.iter().for_each(|fault| check::remove(&mut table, &fault.key));
        let mut checker = Checker { document, faults };
        kinds(&mut checker, &mut table);
        let config: Config = Value::Table(table)
            .try_into()
            .map_err(|error| Error::input(format!("config: {error}")))?;
        let experiment = sections(config, name, &mut checker);
        if checker.faults.is_empty() {
            Ok(experiment)
        } else {
            Err(Error::input(check::message(document, &checker.faults)))
        }
    }

    /// The files, folders and patterns that it names.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let Config { data, labels, select, scale, train, patterns, .. } = &self.config;
        let facts = [&data.oms, &data.hlt, &data.brilcalc, &data.lumisections];
        let automasks = patterns.iter().flat_map(|own| own.automasks.iter());
        let many = [&data.train, &data.test].into_iter().chain(facts);
        let of_labels = labels.sets.iter().filter_map(|spec| match &spec.origin {
            LabelOrigin::File { path, .. } => Some(path),
            LabelOrigin::Column { .. } => None,
        });
        let chips = patterns.iter().filter_map(|own| own.chips.as_ref());
        let single = [&scale.reference, &train.init].into_iter().filter_map(|path| path.as_ref());
        let folder = labels.subsystems.iter().map(|own| &*own.folder);
        many.flat_map(|paths| paths.iter())
            .chain(automasks)
            .chain(of_labels)
            .chain(single)
            .chain(chips)
            .chain(select.golden.as_ref())
            .chain(folder)
            .cloned()
            .collect()
    }

    /// The resolved config as TOML: training on it repeats the experiment.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(&self.config)
            .map_err(|error| Error::failed(format!("experiment.toml: {error}")))
    }
}

/// Refuses keys that the chosen kinds do not have.
fn kinds(checker: &mut Checker, table: &mut Table) {
    cross::model_kind(checker, table);
    cross::threshold_kind(checker, table);
    checker.kinds::<Data>(table, "data", "fill", Data::default().fill.name());
    checker.kinds::<Split>(table, "split", "by", Split::default().by.name());
    checker.kinds::<Loss>(table, "loss", "kind", Loss::default().kind.name());
    checker.kinds::<Sparsity>(table, "loss.sparsity", "kind", Sparsity::default().kind.name());
    checker.kinds::<Optimizer>(table, "train.optimizer", "kind", Optimizer::default().kind.name());
    checker.kinds::<Schedule>(table, "train.schedule", "kind", Schedule::default().kind.name());
    checker.kinds::<Threshold>(table, "threshold", "kind", Threshold::default().kind.name());
    certify::Certify::overridden(checker, table);
}

/// Checks the sections, each by itself, then what they mean together.
fn sections(mut config: Config, name: &str, checker: &mut Checker) -> Experiment {
    if config.name.is_empty() {
        config.name = name.to_owned();
    }
    config.extends = None;
    config.device.meaning =
        DeviceChoice::parse_all(&config.device.written).unwrap_or_else(|message| {
            checker.fault("device", message);
            vec![]
        });
    config.data.check(checker);
    config.labels.check(checker);
    config.weights.check(checker);
    config.select.check(checker);
    config.split.check(checker);
    config.scale.check(checker);
    config.model.check();
    config.loss.fill();
    config.train.check(checker);
    if let Some(patterns) = &mut config.patterns {
        patterns.check(checker);
    }
    config.threshold.check(checker);
    config.certify.check(checker);
    config.report.check(checker);
    config.sensitivity.check(checker);
    if let Some(sweep) = &mut config.sweep {
        sweep.check(checker);
    }
    config.batch.check(checker);
    cross::check(&mut config, checker);
    // After `cross`, which may refuse the whole section.
    config.channels.check(checker);
    assemble(config)
}

fn assemble(config: Config) -> Experiment {
    let Config { data, train, certify, .. } = &config;
    Experiment {
        train_files: data.train.to_vec(),
        test_files: data.test.to_vec(),
        facts: FactFiles {
            oms: data.oms.to_vec(),
            hlt: data.hlt.to_vec(),
            brilcalc: data.brilcalc.to_vec(),
            lumisections: data.lumisections.to_vec(),
        },
        rebin: data.bins_together(),
        layers: data.layer_patterns(),
        cut: data.cross(),
        part: *data.part,
        init: (*train.init).clone(),
        loss: config.loss.distance(),
        penalties: config.loss.penalties(),
        optimizer: match config.model.kind {
            ModelKind::Nmf => UpdateRule::Sgd { momentum: 0.0 },
            ModelKind::Dense => train.optimizer.rule(),
        },
        learning_rate: train.optimizer.learning_rate.unwrap_or(0.0),
        schedule: train.schedule.course(),
        thresholds: config.threshold.rules(),
        certify: Certify {
            grey: *certify.grey,
            bad: *certify.bad,
            run_scores: *certify.run_scores,
        },
        config,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{DATA, check};

    #[test]
    fn a_short_config_is_enough() {
        let experiment = check(DATA).unwrap();
        assert_eq!(experiment.config.name, "a");
        assert_eq!(experiment.train_files, [Path::new("/folder/good.csv")]);
        assert_eq!(
            experiment.thresholds,
            [ThresholdRule::Percentile { percentile: 99.5, smooth: 1 }]
        );
    }

    #[test]
    fn the_resolved_config_means_the_same() {
        let text = format!(
            "{DATA}[train]\noptimizer = {{kind = \"adamw\"}}\nschedule = {{kind = \"plateau\"}}\n[threshold]\nalso = [{{percentile = 99.9, smooth = 3}}]"
        );
        let experiment = check(&text).unwrap();
        let again = check(&experiment.to_toml().unwrap()).unwrap();
        assert_eq!(again, experiment);
    }

    #[test]
    fn faults_of_schema_and_meaning_come_together() {
        let error = check("[train]\nepoch = 3\noptimizer = {kind = \"sgd\", beta1 = 0.5}\n[threshold]\nkind = \"fixed\"").unwrap_err();
        let text = error.to_string();
        for part in [
            "4 faults",
            "/folder/a.toml:2: train.epoch",
            "/folder/a.toml:3: train.optimizer.beta1",
            "threshold.value: missing",
            "data.train: no files",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn what_a_file_extends_holds_where_it_is_silent() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("base")).unwrap();
        std::fs::write(
            folder.path().join("base/base.toml"),
            "seed = 5\ndata.train = [\"good.csv\"]\n[train]\nepochs = 7\nbatch_size = 9\n",
        )
        .unwrap();
        let path = folder.path().join("own.toml");
        std::fs::write(&path, "extends = \"base/base.toml\"\n[train]\nepochs = 8\n").unwrap();
        let experiment = Experiment::load(&path, &["train.batch_size=10".into()]).unwrap();
        let train = &experiment.config.train;
        assert_eq!(
            (
                experiment.config.seed,
                train.epochs,
                train.batch_size,
                experiment.config.name.as_str()
            ),
            (5, 8, 10, "own")
        );
        assert_eq!(
            experiment.train_files,
            [folder.path().join("base/good.csv")],
            "paths are relative to the file they stand in"
        );
    }
}
