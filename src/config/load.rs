//! Loads and checks an experiment from a merged document.

use super::{
    certify::Certify,
    check::{self, Checker},
    cross,
    data::Data,
    device::DeviceChoice,
    document::Document,
    experiment::Experiment,
    loss::{Loss, Sparsity},
    optimizer::Optimizer,
    schedule::Schedule,
    schema,
    split::Split,
    threshold::Threshold,
};
use crate::error::{Error, Result};
use std::path::Path;
use toml::{Table, Value};

impl Experiment {
    /// Reads and checks an experiment file with `--set` arguments applied; reports all faults at
    /// once.
    pub fn load(path: &Path, sets: &[String]) -> Result<Self> {
        Self::load_with(path, sets, &[])
    }

    /// The same with further command-line options applied: each is an option, its key and its text.
    pub fn load_with(path: &Path, sets: &[String], options: &[(&str, &str, &str)]) -> Result<Self> {
        let stem =
            path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let mut document = Document::load(path, sets)?;
        options.iter().for_each(|(option, key, text)| document.add_option(option, key, text));
        Self::check(&document, &stem)
    }

    /// Checks a merged document; `name` is the default name of the experiment.
    pub fn check(document: &Document, name: &str) -> Result<Self> {
        let faults = schema::faults(&document.table);
        let mut table = document.table.clone();
        faults.iter().for_each(|fault| check::remove(&mut table, &fault.key));
        let mut checker = Checker { document, faults };
        kinds(&mut checker, &mut table);
        let read: Self = Value::Table(table)
            .try_into()
            .map_err(|error| Error::input(format!("config: {error}")))?;
        let experiment = sections(read, name, &mut checker);
        if checker.faults.is_empty() {
            Ok(experiment)
        } else {
            Err(Error::input(check::message(document, &checker.faults)))
        }
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
    Certify::overridden(checker, table);
}

/// Checks each section, then all together.
fn sections(mut experiment: Experiment, name: &str, checker: &mut Checker) -> Experiment {
    if experiment.name.is_empty() {
        experiment.name = name.to_owned();
    }
    experiment.extends = None;
    experiment.device.meaning =
        DeviceChoice::parse_all(&experiment.device.written).unwrap_or_else(|message| {
            checker.fault("device", message);
            vec![]
        });
    experiment.data.check(checker);
    experiment.labels.check(checker);
    experiment.weights.check(checker);
    experiment.select.check(checker);
    experiment.split.check(checker);
    experiment.scale.check(checker);
    experiment.model.check();
    experiment.loss.fill();
    experiment.train.check(checker);
    if let Some(patterns) = &mut experiment.patterns {
        patterns.check(checker);
    }
    experiment.threshold.check(checker);
    experiment.certify.check(checker);
    experiment.report.check(checker);
    experiment.sensitivity.check(checker);
    if let Some(sweep) = &mut experiment.sweep {
        sweep.check(checker);
    }
    experiment.batch.check(checker);
    cross::check(&mut experiment, checker);
    // After `cross`, which may refuse the whole section.
    experiment.channels.check(checker);
    experiment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{DATA, check};
    use crate::config::threshold::ThresholdRule;

    #[test]
    fn a_short_config_is_enough() {
        let experiment = check(DATA).unwrap();
        assert_eq!(experiment.name, "a");
        assert_eq!(*experiment.data.train, [Path::new("/folder/good.csv")]);
        assert_eq!(
            experiment.threshold.rules(),
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
        let train = &experiment.train;
        assert_eq!(
            (experiment.seed, train.epochs, train.batch_size, experiment.name.as_str()),
            (5, 8, 10, "own")
        );
        assert_eq!(
            *experiment.data.train,
            [folder.path().join("base/good.csv")],
            "paths are relative to their file"
        );
    }
}
