//! The experiment: its sections and top-level keys.

use super::{
    batch::{self, Batch},
    certify::Certify,
    channels::Channels,
    data::Data,
    device::{self, DeviceChoice},
    keys::{Key, section},
    labels::{LabelOrigin, Labels},
    loss::Loss,
    model::{Model, ModelKind},
    optimizer::UpdateRule,
    patterns::Patterns,
    report::{self, Report},
    scale::Scale,
    score::Score,
    select::Select,
    sensitivity::Sensitivity,
    split::Split,
    sweep::Sweep,
    threshold::Threshold,
    train::{self, Train},
    weights::Weights,
};
use crate::error::{Error, Result};
use std::path::PathBuf;

section! {
    /// A Lumisift experiment.
    Experiment {
        /// What the experiment is called in reports. Default: the file's name.
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String = String::new(),
        /// The one source of all chance: initial weights, batch order, splits, dropout, noise,
        /// bootstrap.
        #[schemars(range(max = 9_223_372_036_854_775_807_u64))]
        seed: u64 = 1,
        /// Where to compute: "cpu", "cuda", "cuda:1", "wgpu", "wgpu:1", or "auto" for the best
        /// there is. Several, with commas between them, share the models of a training.
        device: Key<String, Vec<DeviceChoice>> = Key::of("cpu".into(), vec![DeviceChoice::Cpu]),
        /// Another experiment file whose keys hold wherever this one is silent.
        #[serde(skip_serializing_if = "Option::is_none")]
        extends: Option<String> = None,
        data: Data = Data::default(),
        labels: Labels = Labels::default(),
        weights: Weights = Weights::default(),
        select: Select = Select::default(),
        split: Split = Split::default(),
        #[serde(skip_serializing_if = "Channels::is_empty")]
        channels: Channels = Channels::default(),
        scale: Scale = Scale::default(),
        model: Model = Model::default(),
        loss: Loss = Loss::default(),
        train: Train = Train::default(),
        score: Score = Score::default(),
        /// Patterns in space in the errors of maps: with this section (an empty one will do) they
        /// are what flags.
        #[serde(skip_serializing_if = "Option::is_none")]
        patterns: Option<Patterns> = None,
        threshold: Threshold = Threshold::default(),
        #[serde(skip_serializing_if = "Certify::is_empty")]
        certify: Certify = Certify::default(),
        report: Report = Report::default(),
        #[serde(skip_serializing_if = "Sensitivity::is_usual")]
        sensitivity: Sensitivity = Sensitivity::default(),
        /// A hyperparameter search, for `lumisift sweep`; other verbs pass over it.
        #[serde(skip_serializing_if = "Option::is_none")]
        sweep: Option<Sweep> = None,
        #[serde(skip_serializing_if = "Batch::is_empty")]
        batch: Batch = Batch::default(),
    }
}

impl Experiment {
    /// The update rule of the optimizer; not used by a factorisation.
    pub fn update_rule(&self) -> UpdateRule {
        match self.model.kind {
            ModelKind::Nmf => UpdateRule::Sgd { momentum: 0.0 },
            ModelKind::Dense => self.train.optimizer.rule(),
        }
    }

    /// All input files, folders and glob patterns.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let Self { data, labels, select, scale, train, patterns, .. } = self;
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
        toml::to_string(self).map_err(|error| Error::failed(format!("experiment.toml: {error}")))
    }
}

/// Whether a key affects results. Other keys are about devices, checkpoints and logs.
pub fn affects_results(key: &str) -> bool {
    let circumstances =
        [device::CIRCUMSTANCES, train::CIRCUMSTANCES, report::CIRCUMSTANCES, batch::CIRCUMSTANCES];
    !circumstances
        .into_iter()
        .flatten()
        .any(|own| if own.ends_with('.') { key.starts_with(own) } else { key == *own })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::schema;

    #[test]
    fn keys_that_do_not_affect_results_exist() {
        let root = schema();
        let all = [device::CIRCUMSTANCES, train::CIRCUMSTANCES, report::CIRCUMSTANCES];
        for key in all.into_iter().chain([batch::CIRCUMSTANCES]).flatten() {
            let mut schema = &root;
            for part in key.trim_end_matches('.').split('.') {
                schema = &schema["properties"][part];
                assert!(schema.is_object(), "{key}: no such key");
                if let Some(pointer) = schema["$ref"].as_str() {
                    schema = root.pointer(&pointer[1..]).unwrap();
                }
            }
            assert_eq!(schema["properties"].is_object(), key.ends_with('.'), "{key}");
        }
        for key in ["device", "train.checkpoint.keep", "batch.slurm.qos", "report.tensorboard"] {
            assert!(!affects_results(key), "{key}");
        }
        for key in ["train.epochs", "devices", "report.on", "seed"] {
            assert!(affects_results(key), "{key}");
        }
    }
}
