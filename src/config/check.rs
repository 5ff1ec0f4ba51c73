//! Checks a config: what its keys mean together, and every fault of them.

use super::{
    Batch, Document, batch, channels,
    experiment::{
        Certify, Cut, DeviceChoice, Divergence, Experiment, FactFiles, LabelOrigin, LabelSpec,
        LabelValues, Loss, Optimizer, Part, Penalties, Schedule, Select, Sparsity, Threshold,
    },
    expression::Expression,
    raw::{
        self, Activation, BadValues, CalibrateOn, Config, CutRule, EpsilonPlacement, Fill, FitOn,
        LabelSource, Lists, LossKind, ModelKind, NmfStart, OneOrMany, OptimizerKind, Percentile,
        Scalar, ScaleKind, ScheduleKind, SparsityKind, SplitBy, ThresholdKind, ToldLabels,
        ValidateOn,
    },
    schema::{self, Fault},
    sweep::{self, Space},
};
use crate::error::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Checks a merged document; `name` is used where the config has none. Tells every fault at once.
pub(super) fn check(document: &Document, name: &str) -> Result<Experiment> {
    let mut faults = schema::faults(&document.table);
    let mut table = document.table.clone();
    faults.iter().for_each(|fault| remove(&mut table, &fault.key));
    let config: Config = toml::Value::Table(table)
        .try_into()
        .map_err(|error| Error::input(format!("config: {error}")))?;
    let experiment = Checker { document, faults: &mut faults }.check(config, name);
    if faults.is_empty() { Ok(experiment) } else { Err(Error::input(message(document, &faults))) }
}

/// One line a fault: where, which key, what was found, what is expected.
fn message(document: &Document, faults: &[Fault]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| match document.place(&fault.key) {
            Some(place) => format!("{place}: {}: {}", fault.key, fault.message),
            None => format!("config: {}: {}", fault.key, fault.message),
        })
        .collect();
    if lines.len() == 1 {
        lines.concat()
    } else {
        format!("the config has {} faults\n  {}", lines.len(), lines.join("\n  "))
    }
}

/// Takes a faulty key out, so that the rest can be read and checked too. Of a list, the whole list
/// goes.
fn remove(table: &mut toml::Table, key: &str) {
    let (name, rest) = match key.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (key, None),
    };
    match (table.get_mut(name), rest) {
        (Some(toml::Value::Table(inner)), Some(rest)) => remove(inner, rest),
        _ => {
            table.remove(name.split('[').next().unwrap_or(name));
        }
    }
}

/// Whether a label source names a file: it has the ending of one, or is a path.
fn is_file(text: &str) -> bool {
    text.contains(['/', '\\'])
        || [".json", ".txt", ".npy"].iter().any(|ending| text.to_lowercase().ends_with(ending))
}

/// Where a file or pattern is found that a batch system may have sent to this machine: the folder
/// `LUMISIFT_INPUTS` holds what was sent, by its name. The config keeps the path that it has at
/// home.
fn sent(path: PathBuf) -> PathBuf {
    let there = std::env::var_os("LUMISIFT_INPUTS")
        .zip(path.file_name())
        .map(|(folder, name)| Path::new(&folder).join(name));
    let holds = |path: &Path| {
        glob::glob(&path.to_string_lossy()).is_ok_and(|mut found| found.next().is_some())
    };
    there.filter(|there| there.exists() || holds(there)).unwrap_or(path)
}

/// The largest batch there is.
const MOST_ROWS: u32 = 1_000_000;

/// "7h 30m": hours, minutes and seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let part = |part: &str| {
        let unit = part.chars().last()?;
        let number: f64 = part[..part.len() - unit.len_utf8()].parse().ok()?;
        let seconds = number
            * match unit {
                's' => 1.0,
                'm' => 60.0,
                'h' => 3600.0,
                _ => return None,
            };
        Duration::try_from_secs_f64(seconds).ok()
    };
    let parts: Vec<Duration> = text.split_whitespace().map(part).collect::<Option<_>>()?;
    (!parts.is_empty()).then(|| parts.into_iter().sum())
}

fn run_range(runs: &Scalar) -> Option<(u32, u32)> {
    match runs {
        Scalar::Number(run) if run.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(run) => {
            Some((*run as u32, *run as u32))
        }
        Scalar::Number(_) => None,
        Scalar::Text(text) => {
            let (first, last) = text.split_once(['-', '–']).unwrap_or((text, text));
            let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first <= last).then_some((first, last))
        }
    }
}

/// A key that may be absent.
trait Setting {
    fn is_set(&self) -> bool;
    fn clear(&mut self);
}

impl<T> Setting for Option<T> {
    fn is_set(&self) -> bool {
        self.is_some()
    }
    fn clear(&mut self) {
        *self = None;
    }
}

impl<T> Setting for Vec<T> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
    fn clear(&mut self) {
        Vec::clear(self);
    }
}

struct Checker<'a> {
    document: &'a Document,
    faults: &'a mut Vec<Fault>,
}

impl Checker<'_> {
    /// Notes a fault, unless the key already has one.
    fn fault(&mut self, key: &str, message: impl Into<String>) {
        if !self.faults.iter().any(|fault| fault.key.starts_with(key)) {
            self.faults.push(Fault { key: key.into(), message: message.into() });
        }
    }

    /// Refuses keys that the chosen kind does not have. Those of a layer below the one that chose
    /// the kind are just dropped: who overrides the kind need not know what the file below had set
    /// for another.
    fn refuse(
        &mut self,
        section: &str,
        kind_key: &str,
        kind: &str,
        keys: &mut [(&str, &mut dyn Setting)],
    ) {
        let chosen = format!("{section}.{kind_key}");
        for (name, setting) in keys {
            let key = format!("{section}.{name}");
            if setting.is_set() && !self.document.overrides(&chosen, &key) {
                self.fault(&key, format!("has no meaning with {kind_key} = \"{kind}\""));
            }
            setting.clear();
        }
    }

    fn check(&mut self, mut config: Config, name: &str) -> Experiment {
        if config.name.is_empty() {
            config.name = name.to_owned();
        }
        config.extends = None;
        let devices = DeviceChoice::parse_all(&config.device).unwrap_or_else(|message| {
            self.fault("device", message);
            vec![]
        });
        let train_files = self.paths("data.train", &mut config.data.train);
        let test_files = self.paths("data.test", &mut config.data.test);
        if config.data.train.is_empty() {
            self.fault(
                "data.train",
                "no files; expected a list of paths or globs, such as [\"good.csv\"]",
            );
        }
        let data = &mut config.data;
        let facts = FactFiles {
            oms: self.paths("data.oms", &mut data.oms),
            hlt: self.paths("data.hlt", &mut data.hlt),
            brilcalc: self.paths("data.brilcalc", &mut data.brilcalc),
            lumisections: self.paths("data.lumisections", &mut data.lumisections),
        };
        let rebin = match data.rebin.as_ref().map(OneOrMany::to_vec).as_deref() {
            None => (1, None),
            Some(&[x]) if x > 0 => (x as usize, None),
            Some(&[x, y]) if x > 0 && y > 0 => (x as usize, Some(y as usize)),
            Some(found) => {
                self.fault(
                    "data.rebin",
                    format!(
                        "found {found:?}; expected a number of bins, or two of them for x and y"
                    ),
                );
                (1, None)
            }
        };
        let cut = match data.cut_cross[..] {
            [] => (0, 0),
            [x, y] => (x as usize, y as usize),
            _ => {
                self.fault(
                    "data.cut_cross",
                    format!(
                        "found {:?}; expected two numbers, of columns and of rows: [8, 2]",
                        data.cut_cross
                    ),
                );
                (0, 0)
            }
        };
        let part = data.part.as_deref().and_then(|text| {
            Part::parse(text).map_err(|message| self.fault("data.part", message)).ok()
        });
        let added = self.expressions("data.add_inputs", &data.add_inputs);
        let beside = self.expressions("report.beside", &config.report.beside);
        let labels = self.labels(&mut config);
        let subsystems = self.subsystems(&mut config);
        let weight = self.weight(&config);
        let select = self.select(&mut config);
        let divide_by = config
            .scale
            .divide_by
            .as_ref()
            .and_then(|text| self.expression("scale.divide_by", text));
        let reference = config
            .scale
            .reference
            .as_mut()
            .map(|reference| self.path("scale.reference", reference));
        let init = config.train.init.as_mut().map(|init| self.path("train.init", init));
        if config.train.ensemble > 1 && config.score.one_class_svm.is_some() {
            self.fault("train.ensemble", "models of an ensemble have latents of their own, which score.one_class_svm cannot judge together");
        }
        let scale = config.scale.kind.to_vec();
        if config.scale.fit_on == FitOn::Read && (!added.is_empty() || divide_by.is_some()) {
            self.fault("scale.fit_on", "\"read\" takes rows before data.add_inputs and scale.divide_by are known; expected \"train\" or \"all\"");
        }
        if scale.is_empty() {
            self.fault(
                "scale.kind",
                "found an empty list; expected a step such as \"range\", or \"none\"",
            );
        }
        if let Some(step) =
            scale.iter().find(|step| step.by_row()).filter(|_| !config.channels.is_empty())
        {
            self.fault("scale.kind", format!("\"{step}\" goes by the whole row, so that with [channels] features of other channels would count"));
        }
        let layers = self.layers(&config);
        self.normalisation(&config, &scale);
        if !config.channels.is_empty() {
            channels::faults(&config.channels)
                .into_iter()
                .for_each(|(key, message)| self.fault(&format!("channels.{key}"), message));
        }
        if config.model.batch_norm && config.train.batch_size == 1 {
            self.fault("model.batch_norm", "a batch of one row is all 0 once normalised; expected train.batch_size of 2 or more");
        }
        let usual =
            if config.model.variational { Activation::Linear } else { config.model.activation };
        config.model.latent_activation.get_or_insert(usual);
        self.nmf(&mut config);
        self.missing(&mut config);
        self.split(&mut config);
        let loss = self.loss(&mut config);
        let penalties = self.penalties(&mut config);
        let optimizer = self.optimizer(&mut config);
        let time_limit = config.train.time_limit.as_ref().and_then(|text| {
            let limit = duration(text);
            if limit.is_none() {
                self.fault(
                    "train.time_limit",
                    format!(
                        "found \"{text}\"; expected a time such as \"90s\", \"30m\" or \"7h 30m\""
                    ),
                );
            }
            limit
        });
        let usual_rate =
            if config.train.optimizer.kind == OptimizerKind::Adadelta { 1.0 } else { 1e-3 };
        let learning_rate = match config.model.kind {
            ModelKind::Nmf => 0.0,
            ModelKind::Dense => *config.train.optimizer.learning_rate.get_or_insert(usual_rate),
        };
        let (automasks, chips) = self.patterns(&mut config);
        let schedule = self.schedule(&mut config);
        let thresholds = self.thresholds(&mut config);
        let certify = self.certify(&mut config);
        self.validation(&mut config);
        self.sensitivity(&config);
        let space = self.sweep(&mut config);
        let batch = self.batch(&mut config, &devices);
        Experiment {
            config,
            devices,
            train_files,
            test_files,
            facts,
            rebin,
            layers,
            cut,
            part,
            added,
            beside,
            labels,
            subsystems,
            weight,
            select,
            divide_by,
            reference,
            init,
            scale,
            loss,
            penalties,
            automasks,
            chips,
            optimizer,
            learning_rate,
            time_limit,
            schedule,
            thresholds,
            space,
            batch,
            certify,
        }
    }

    /// What is injected must change something.
    fn sensitivity(&mut self, config: &Config) {
        let strengths = &config.sensitivity.strengths;
        if strengths.is_empty() {
            self.fault(
                "sensitivity.strengths",
                "found none; expected factors such as [0.0, 0.5, 2.0]",
            );
        }
        for (at, strength) in strengths.iter().enumerate() {
            let wrong = match () {
                () if !strength.is_finite() || *strength < 0.0 => "expected a factor of at least 0",
                () if *strength == 1.0 => "contents stay as they are; expected another factor",
                () if strengths[..at].contains(strength) => "is there twice",
                () => continue,
            };
            self.fault(
                &format!("sensitivity.strengths[{at}]"),
                format!("found {strength}; {wrong}"),
            );
        }
        let sizes = &config.sensitivity.sizes;
        for (at, size) in sizes.iter().enumerate().filter(|(at, size)| sizes[..*at].contains(size))
        {
            self.fault(
                &format!("sensitivity.sizes[{at}]"),
                format!("found {} × {}, which is there twice", size.x, size.y),
            );
        }
    }

    /// Tables of what was masked when, and where chips are.
    fn patterns(&mut self, config: &mut Config) -> (Vec<PathBuf>, Option<PathBuf>) {
        let added = !config.data.add_inputs.is_empty();
        let Some(patterns) = &mut config.patterns else { return (vec![], None) };
        let automasks = self.paths("patterns.automasks", &mut patterns.automasks);
        let chips = patterns.chips.as_mut().map(|chips| self.path("patterns.chips", chips));
        let what = match () {
            () if !config.channels.is_empty() => {
                "[channels] are made of features, which have no place in a map"
            }
            () if config.data.summary => "data.summary leaves nothing of a histogram's bins",
            () if added => "data.add_inputs have no place in a map",
            () if config.score.kl != 0.0 => "score.kl is not of bins",
            () => "",
        };
        if !what.is_empty() {
            self.fault("patterns", what);
        }
        (automasks, chips)
    }

    /// Refuses keys of a section that a kind of model does not have, but those of a layer below the
    /// one that chose the kind: they are dropped.
    fn only<T: Clone + Default + Serialize + DeserializeOwned>(
        &mut self,
        (section, kind): (&str, &str),
        value: &mut T,
        has: &[&str],
    ) {
        let (Ok(mut own), Ok(usual)) =
            (toml::Table::try_from(&*value), toml::Table::try_from(T::default()))
        else {
            return;
        };
        let other: Vec<String> = own
            .iter()
            .filter(|(key, value)| !has.contains(&key.as_str()) && usual.get(*key) != Some(value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in other {
            let name = format!("{section}.{key}");
            if !self.document.overrides("model.kind", &name) {
                self.fault(&name, format!("has no meaning with model.kind = \"{kind}\""));
            }
            match usual.get(&key) {
                Some(usual) => own.insert(key, usual.clone()),
                None => own.remove(&key),
            };
        }
        if let Ok(dropped) = own.try_into() {
            *value = dropped;
        }
    }

    /// A factorisation has neither layers nor gradients.
    fn nmf(&mut self, config: &mut Config) {
        if config.model.kind != ModelKind::Nmf {
            self.only(("model.nmf", "dense"), &mut config.model.nmf, &[]);
            return;
        }
        self.only(
            ("model", "nmf"),
            &mut config.model,
            &["kind", "latent", "latent_activation", "nmf"],
        );
        self.only(("loss", "nmf"), &mut config.loss, &["kind"]);
        self.only(("train.optimizer", "nmf"), &mut config.train.optimizer, &[]);
        self.only(("train.schedule", "nmf"), &mut config.train.schedule, &[]);
        for (key, set) in [
            ("train.gradient_clip", config.train.gradient_clip.is_some()),
            ("score.kl", config.score.kl != 0.0),
        ] {
            if set {
                self.fault(key, "has no meaning with model.kind = \"nmf\"");
            }
        }
        if !matches!(config.loss.kind, LossKind::Mse | LossKind::Sse) {
            self.fault(
                "loss.kind",
                format!("found \"{}\"; model.kind = \"nmf\" makes squared errors small: expected \"mse\" or \"sse\"", config.loss.kind),
            );
        }
        if config.train.ensemble > 1
            && config.model.nmf.start == NmfStart::Nndsvd
            && config.train.init.is_none()
        {
            self.fault("train.ensemble", "members that start from singular vectors are all the same; expected model.nmf.start = \"random\"");
        }
        if !self.document.says("train.batch_size") {
            // All rows at once.
            config.train.batch_size = MOST_ROWS;
        }
        config.train.shuffle &= self.document.says("train.shuffle");
        config.train.stop.tolerance.get_or_insert(1e-5);
    }

    /// What several layers leave no choice about.
    fn layers(&mut self, config: &Config) -> Vec<glob::Pattern> {
        let Config { data, channels, .. } = config;
        if data.layers.is_empty() {
            return vec![];
        }
        let beside = [
            ("data.me", data.me.is_some(), "data.layers says which monitoring elements are taken"),
            (
                "data.summary",
                data.summary,
                "seven numbers are taken of one histogram, not of layers (data.layers)",
            ),
            (
                "data.keep_duplicates",
                data.keep_duplicates,
                "layers (data.layers) are joined by lumisection, of which each has one row",
            ),
            (
                "channels",
                !channels.is_empty(),
                "channels are made of features by their names; data.layers makes its own",
            ),
        ];
        for (key, _, message) in beside.into_iter().filter(|(_, is_set, _)| *is_set) {
            self.fault(key, message);
        }
        let mut patterns = vec![];
        for (i, text) in data.layers.iter().enumerate() {
            // Only * and ? stand for others.
            match glob::Pattern::new(&text.replace('[', "[[]")) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    self.fault(&format!("data.layers[{i}]"), format!("\"{text}\": {error}"))
                }
            }
        }
        patterns
    }

    /// What bins are divided by must be known, and is learned once.
    fn normalisation(&mut self, config: &Config, scale: &[ScaleKind]) {
        let normalises =
            |step: &&ScaleKind| matches!(step, ScaleKind::BinMean | ScaleKind::Reference);
        if scale.iter().filter(normalises).count() > 1 {
            self.fault("scale.kind", "\"bin-mean\" and \"reference\" each divide by what is usual; expected one of them, once");
        }
        if let Some(at) = scale.iter().position(|step| normalises(&step))
            && let Some(before) = scale[..at]
                .iter()
                .find(|step| matches!(step, ScaleKind::Standard | ScaleKind::Robust))
        {
            self.fault(
                "scale.kind",
                format!(
                    "\"{}\" divides by a mean, which after \"{before}\" is 0 or any sign",
                    scale[at]
                ),
            );
        }
        match (scale.contains(&ScaleKind::Reference), &config.scale.reference) {
            (true, None) => self.fault(
                "scale.reference",
                "missing; the step \"reference\" needs the normalisation.parquet of an experiment",
            ),
            (false, Some(_)) => self.fault(
                "scale.reference",
                "has no meaning without a step \"reference\" in scale.kind",
            ),
            _ => {}
        }
        if matches!(
            config.scale.added,
            ScaleKind::BinMean | ScaleKind::Reference | ScaleKind::MeanOne
        ) {
            self.fault(
                "scale.added",
                format!(
                    "\"{}\" is for bins; expected another step such as \"standard\"",
                    config.scale.added
                ),
            );
        }
        if config.scale.clip.is_some_and(|clip| !(clip > 0.0 && clip.is_finite())) {
            self.fault(
                "scale.clip",
                format!(
                    "found {}; expected a number above 0",
                    config.scale.clip.unwrap_or_default()
                ),
            );
        }
    }

    fn sweep(&mut self, config: &mut Config) -> Option<Space> {
        let validated = config.split.valid > 0.0
            || config.train.validate_on == ValidateOn::Train
            || config.split.column.is_some();
        let epochs = config.train.epochs;
        let section = config.sweep.as_mut()?;
        if section.warm_up.is_none() && section.pruner != raw::PrunerKind::None {
            section.warm_up = Some((epochs / 10).max(1));
        }
        let (space, mut faults) = sweep::check(section);
        if section.pruner != raw::PrunerKind::None && !validated {
            faults.push((
                "pruner".into(),
                "goes by the validation loss, but no rows are held out for it (split.valid)".into(),
            ));
        }
        faults.into_iter().for_each(|(key, message)| self.fault(&format!("sweep.{key}"), message));
        Some(space)
    }

    fn batch(&mut self, config: &mut Config, devices: &[DeviceChoice]) -> Batch {
        let batch = &mut config.batch;
        // A bare name is looked up where the task runs.
        if let Some(program) = batch.program.as_mut().filter(|program| program.contains('/')) {
            self.path("batch.program", program);
        }
        if let Some(image) = batch.image.as_mut().filter(|image| !image.contains("://")) {
            self.path("batch.image", image);
        }
        self.paths("batch.htcondor.inputs", &mut batch.htcondor.inputs);
        let (checked, faults) = batch::check(batch, devices);
        faults.into_iter().for_each(|(key, message)| self.fault(&format!("batch.{key}"), message));
        checked
    }

    fn expression(&mut self, key: &str, text: &str) -> Option<Expression> {
        Expression::parse(text)
            .map_err(|message| self.fault(key, format!("\"{text}\": {message}")))
            .ok()
    }

    fn expressions(&mut self, key: &str, texts: &[String]) -> Vec<Expression> {
        texts
            .iter()
            .enumerate()
            .filter_map(|(i, text)| self.expression(&format!("{key}[{i}]"), text))
            .collect()
    }

    /// One path, made absolute in the config too.
    fn path(&mut self, key: &str, text: &mut String) -> PathBuf {
        let path = self.document.resolve(key, text);
        *text = path.to_string_lossy().into_owned();
        sent(path)
    }

    fn labels(&mut self, config: &mut Config) -> Vec<LabelSpec> {
        let labels = &mut config.labels;
        if labels.sets.contains_key("good") {
            self.fault(
                "labels.sets.good",
                "the name \"good\" is that of labels.good; take another",
            );
        }
        let complete = labels.complete;
        let mut specs = vec![];
        if let Some(source) = &mut labels.good {
            specs.extend(self.label("good", "labels.good", source, complete));
        }
        for (name, source) in &mut labels.sets {
            specs.extend(self.label(name, &format!("labels.sets.{name}"), source, complete));
        }
        if let Some(classes) = &labels.classes {
            if classes.column.is_empty() {
                self.fault(
                    "labels.classes.column",
                    "missing; expected the column that tells the classes",
                );
            }
            let all: Vec<(&String, &Scalar)> = classes
                .names
                .iter()
                .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
                .collect();
            if let Some((name, value, other)) =
                all.iter().enumerate().find_map(|(at, (name, value))| {
                    Some((name, value, all[..at].iter().find(|(_, before)| before == value)?.0))
                })
            {
                self.fault(
                    "labels.classes.names",
                    format!("{value} is of both {other} and {name}"),
                );
            }
        }
        specs
    }

    fn label(
        &mut self,
        name: &str,
        key: &str,
        source: &mut LabelSource,
        complete: bool,
    ) -> Option<LabelSpec> {
        let mut told = match source {
            LabelSource::Name(text) if is_file(text) => {
                ToldLabels { file: Some(text.clone()), ..ToldLabels::default() }
            }
            LabelSource::Name(text) => {
                ToldLabels { column: Some(text.clone()), ..ToldLabels::default() }
            }
            LabelSource::Told(told) => told.clone(),
        };
        let is_array = told.file.as_ref().is_some_and(|file| file.to_lowercase().ends_with(".npy"));
        if told.column.is_some() || is_array {
            if told.lists == Lists::Bad || told.complete.is_some() {
                self.fault(key, "lists and complete go with a JSON or list of lumisections; values = [...] says which values are good");
            }
        } else if !told.values.is_empty() || told.bad_values.is_some() {
            let set = if told.values.is_empty() { "bad_values" } else { "values" };
            self.fault(key, format!("{set} goes with a column or a .npy; lists = \"bad\" says that the lumisections of a file are bad"));
        }
        if let Some(BadValues::These(bad)) =
            told.bad_values.as_ref().filter(|_| told.column.is_some() || is_array)
        {
            let place = format!("{key}.bad_values");
            if let Some(value) = bad.iter().find(|value| told.values.contains(value)) {
                self.fault(
                    &place,
                    format!("{value} is in values as well; expected each value in one of them"),
                );
            }
            let usual = |value: &&Scalar| {
                matches!(value, Scalar::Number(1.0))
                    || matches!(value, Scalar::Text(text) if text.eq_ignore_ascii_case("true"))
            };
            if let Some(value) = bad.iter().find(usual).filter(|_| told.values.is_empty()) {
                self.fault(&place, format!("{value} means good where there is no values; expected values = [...] with those that mean good"));
            }
        }
        let path = told.file.as_mut().map(|file| self.path(&format!("{key}.file"), file));
        let values = LabelValues { good: told.values.clone(), bad: told.bad_values.clone() };
        let (lists, complete) = (told.lists, told.complete.unwrap_or(complete));
        let origin = match (&told.column, path) {
            (Some(column), None) => LabelOrigin::Column { name: column.clone(), values },
            (None, Some(path)) => LabelOrigin::File { path, values, lists, complete },
            _ => {
                self.fault(key, "expected either column or file");
                return None;
            }
        };
        *source = match source {
            LabelSource::Name(_) => {
                LabelSource::Name(told.file.or(told.column).unwrap_or_default())
            }
            LabelSource::Told(_) => LabelSource::Told(told),
        };
        Some(LabelSpec { name: name.to_owned(), origin })
    }

    fn subsystems(&mut self, config: &mut Config) -> Option<(PathBuf, String)> {
        let subsystems = config.labels.subsystems.as_mut()?;
        if subsystems.folder.is_empty() {
            self.fault(
                "labels.subsystems.folder",
                "missing; expected the folder of the label files",
            );
        }
        if subsystems.pattern.matches('*').count() != 1 {
            self.fault(
                "labels.subsystems.pattern",
                format!(
                    "found \"{}\"; expected one *, which stands for the subsystem",
                    subsystems.pattern
                ),
            );
        }
        Some((
            self.path("labels.subsystems.folder", &mut subsystems.folder),
            subsystems.pattern.clone(),
        ))
    }

    fn weight(&mut self, config: &Config) -> Option<Expression> {
        match (&config.weights.column, &config.weights.from) {
            (Some(_), Some(_)) => {
                self.fault("weights.from", "weights.column is set as well; expected one of them");
                None
            }
            (Some(column), None) => Some(Expression::name(column)),
            (None, Some(text)) => self.expression("weights.from", text),
            (None, None) => None,
        }
    }

    fn select(&mut self, config: &mut Config) -> Select {
        let select = &mut config.select;
        let mut checked = Select::default();
        for (i, runs) in select.runs.iter().enumerate() {
            match run_range(runs) {
                Some(range) => checked.runs.push(range),
                None => self.fault(
                    &format!("select.runs[{i}]"),
                    "expected a run number, or a range such as \"297050-297180\"",
                ),
            }
        }
        for (run, ranges) in &select.lumisections {
            let range = |range: &Vec<i64>| match range[..] {
                [first, last] if first >= 0 && last >= first && last <= i64::from(u32::MAX) => {
                    Some((first as u32, last as u32))
                }
                _ => None,
            };
            match (run.parse(), ranges.iter().map(range).collect::<Option<Vec<_>>>()) {
                (Ok(number), Some(ranges)) => {
                    if checked.lumisections.insert(number, ranges).is_some() {
                        self.fault(
                            &format!("select.lumisections.{run}"),
                            format!("run {number} is there twice"),
                        );
                    }
                }
                _ => self.fault(
                    &format!("select.lumisections.{run}"),
                    "expected a run number and ranges [first, last], first not above last",
                ),
            }
        }
        checked.golden = select.golden.as_mut().map(|golden| self.path("select.golden", golden));
        checked.conditions = self.expressions("select.where", &select.conditions);
        if select.nonzero_weight && config.weights.column.is_none() && config.weights.from.is_none()
        {
            self.fault(
                "select.nonzero_weight",
                "there are no weights; set weights.column or weights.from",
            );
        }
        checked
    }

    fn paths(&mut self, key: &str, texts: &mut [String]) -> Vec<PathBuf> {
        let mut paths = vec![];
        for (i, text) in texts.iter_mut().enumerate() {
            let path = self.document.resolve(&format!("{key}[{i}]"), text);
            *text = path.to_string_lossy().into_owned();
            paths.push(sent(path));
        }
        paths
    }

    fn split(&mut self, config: &mut Config) {
        let split = &mut config.split;
        if split.valid + split.test >= 1.0 {
            self.fault(
                "split.valid",
                format!(
                    "valid {} and test {} leave no rows for training; expected a sum below 1",
                    split.valid, split.test
                ),
            );
        }
        let by = split.by;
        if by == SplitBy::Block {
            split.block.get_or_insert(50);
        } else {
            self.refuse("split", "by", by.name(), &mut [("block", &mut split.block)]);
        }
        if by != SplitBy::Run {
            self.refuse(
                "split",
                "by",
                by.name(),
                &mut [("valid_runs", &mut split.valid_runs), ("test_runs", &mut split.test_runs)],
            );
        }
        if by != SplitBy::File {
            self.refuse(
                "split",
                "by",
                by.name(),
                &mut [
                    ("valid_files", &mut split.valid_files),
                    ("test_files", &mut split.test_files),
                ],
            );
        }
        if split.stratify && (by != SplitBy::Random || config.labels.good.is_none()) {
            self.fault("split.stratify", "goes with by = \"random\" and labels.good");
        }
        let split = &mut config.split;
        if by != SplitBy::Column {
            self.refuse("split", "by", by.name(), &mut [("column", &mut split.column)]);
        } else if split.column.is_none() {
            self.fault(
                "split.column",
                "missing; by = \"column\" needs the column that says train, valid or test",
            );
        }
    }

    fn missing(&mut self, config: &mut Config) {
        let data = &mut config.data;
        if let Some(number) =
            data.missing.iter().find(|number| !number.is_finite() || !(**number as f32).is_finite())
        {
            self.fault(
                "data.missing",
                format!(
                    "found {number}; expected finite numbers such as -999 (NaN is missing anyway)"
                ),
            );
        }
        let data = &mut config.data;
        match data.fill {
            Fill::Reject => self.refuse(
                "data",
                "fill",
                Fill::Reject.name(),
                &mut [("min_present", &mut data.min_present)],
            ),
            _ => {
                data.min_present.get_or_insert(0.5);
            }
        }
        if config.data.summary && !config.data.fill.is_reject() {
            self.fault("data.fill", "seven numbers of a histogram (data.summary) need all its bins; expected \"reject\"");
        }
        if config.data.fill == Fill::Mask && config.model.kind == ModelKind::Nmf {
            self.fault(
                "data.fill",
                "\"mask\" leaves cells out of a loss that model.kind = \"nmf\" solves for whole rows; expected \"zero\" or \"median\"",
            );
        }
    }

    fn loss(&mut self, config: &mut Config) -> Loss {
        let loss = &mut config.loss;
        match loss.kind {
            LossKind::SmoothL1 => Loss::SmoothL1 { beta: *loss.beta.get_or_insert(1.0) },
            kind => {
                self.refuse("loss", "kind", kind.name(), &mut [("beta", &mut loss.beta)]);
                match kind {
                    LossKind::Mae => Loss::Mae,
                    LossKind::Sse => Loss::Sse,
                    _ => Loss::Mse,
                }
            }
        }
    }

    fn penalties(&mut self, config: &mut Config) -> Penalties {
        let Config { model, loss, score, .. } = config;
        let latent = model.latent_activation.unwrap_or(model.activation);
        let sparsity = loss.sparsity.as_mut().map(|sparsity| match sparsity.kind {
            SparsityKind::L1 => {
                self.refuse("loss.sparsity", "kind", "l1", &mut [("target", &mut sparsity.target)]);
                Sparsity::L1 { weight: sparsity.weight }
            }
            SparsityKind::Kl => {
                if latent != Activation::Sigmoid {
                    self.fault("loss.sparsity.kind", format!("\"kl\" takes latents for probabilities, but they are those of {latent}; set model.latent_activation = \"sigmoid\", or take \"l1\""));
                }
                Sparsity::Kl { weight: sparsity.weight, target: *sparsity.target.get_or_insert(0.05) }
            }
        });
        let kl = if model.variational {
            if latent != Activation::Linear {
                self.fault(
                    "model.latent_activation",
                    format!("found \"{latent}\"; with model.variational the latent layer gives means, expected \"linear\""),
                );
            }
            if sparsity.is_some() {
                self.fault(
                    "loss.sparsity",
                    "with model.variational latents are drawn, not silent; take one of the two",
                );
            }
            if loss.contractive > 0.0 {
                self.fault("loss.contractive", "with model.variational latents are drawn, and have no derivative; take one of the two");
            }
            Some(Divergence {
                weight: *loss.kl.get_or_insert(1e-3),
                warmup: *loss.kl_warmup.get_or_insert(0),
            })
        } else {
            for (key, is_set) in [
                ("loss.kl", loss.kl.is_some()),
                ("loss.kl_warmup", loss.kl_warmup.is_some()),
                ("score.kl", score.kl > 0.0),
            ] {
                if is_set {
                    self.fault(key, "has no meaning without model.variational = true");
                }
            }
            None
        };
        if loss.contractive > 0.0 && model.batch_norm {
            self.fault(
                "loss.contractive",
                "with model.batch_norm a row's latents depend on the rows beside it, and have no derivative by its inputs alone",
            );
        }
        if loss.contractive > 0.0 && model.dropout > 0.0 {
            self.fault("loss.contractive", "is of the whole encoder, of which model.dropout leaves a part; take one of the two, or model.noise");
        }
        Penalties { sparsity, contractive: loss.contractive, kl }
    }

    fn optimizer(&mut self, config: &mut Config) -> Optimizer {
        if config.model.kind == ModelKind::Nmf {
            return Optimizer::Sgd { momentum: 0.0 };
        }
        let optimizer = &mut config.train.optimizer;
        let kind = optimizer.kind;
        let raw::Optimizer {
            beta1,
            beta2,
            epsilon,
            epsilon_placement,
            weight_decay,
            momentum,
            rho,
            ..
        } = optimizer;
        let mut refuse = |keys: &mut [(&str, &mut dyn Setting)]| {
            self.refuse("train.optimizer", "kind", kind.name(), keys)
        };
        match kind {
            OptimizerKind::Adam | OptimizerKind::AdamW => {
                refuse(&mut [("momentum", momentum), ("rho", rho)]);
                if kind == OptimizerKind::Adam {
                    refuse(&mut [("weight_decay", weight_decay)]);
                }
                let placement = *epsilon_placement.get_or_insert(EpsilonPlacement::Torch);
                let usual = if placement == EpsilonPlacement::Keras { 1e-7 } else { 1e-8 };
                Optimizer::Adam {
                    beta1: *beta1.get_or_insert(0.9),
                    beta2: *beta2.get_or_insert(0.999),
                    epsilon: *epsilon.get_or_insert(usual),
                    placement,
                    weight_decay: if kind == OptimizerKind::AdamW {
                        *weight_decay.get_or_insert(0.01)
                    } else {
                        0.0
                    },
                }
            }
            OptimizerKind::Sgd => {
                refuse(&mut [
                    ("beta1", beta1),
                    ("beta2", beta2),
                    ("epsilon", epsilon),
                    ("epsilon_placement", epsilon_placement),
                ]);
                refuse(&mut [("weight_decay", weight_decay), ("rho", rho)]);
                Optimizer::Sgd { momentum: *momentum.get_or_insert(0.0) }
            }
            OptimizerKind::Adadelta => {
                refuse(&mut [
                    ("beta1", beta1),
                    ("beta2", beta2),
                    ("epsilon_placement", epsilon_placement),
                ]);
                refuse(&mut [("weight_decay", weight_decay), ("momentum", momentum)]);
                Optimizer::Adadelta {
                    rho: *rho.get_or_insert(0.95),
                    epsilon: *epsilon.get_or_insert(1e-6),
                }
            }
            OptimizerKind::RmsProp => {
                refuse(&mut [
                    ("beta1", beta1),
                    ("beta2", beta2),
                    ("epsilon_placement", epsilon_placement),
                ]);
                refuse(&mut [("weight_decay", weight_decay), ("momentum", momentum)]);
                Optimizer::RmsProp {
                    rho: *rho.get_or_insert(0.9),
                    epsilon: *epsilon.get_or_insert(1e-8),
                }
            }
        }
    }

    fn schedule(&mut self, config: &mut Config) -> Schedule {
        let schedule = &mut config.train.schedule;
        let kind = schedule.kind;
        let raw::Schedule { every, factor, patience, min_rate, .. } = schedule;
        let mut refuse = |keys: &mut [(&str, &mut dyn Setting)]| {
            self.refuse("train.schedule", "kind", kind.name(), keys)
        };
        match kind {
            ScheduleKind::Constant => {
                refuse(&mut [
                    ("every", every),
                    ("factor", factor),
                    ("patience", patience),
                    ("min_rate", min_rate),
                ]);
                Schedule::Constant
            }
            ScheduleKind::Step => {
                refuse(&mut [("patience", patience), ("min_rate", min_rate)]);
                if every.is_none() {
                    self.fault(
                        "train.schedule.every",
                        "missing; kind = \"step\" needs the number of epochs between falls",
                    );
                }
                Schedule::Step { every: every.unwrap_or(1), factor: *factor.get_or_insert(0.1) }
            }
            ScheduleKind::Exponential => {
                refuse(&mut [("every", every), ("patience", patience), ("min_rate", min_rate)]);
                Schedule::Exponential { factor: *factor.get_or_insert(0.95) }
            }
            ScheduleKind::Cosine => {
                refuse(&mut [("every", every), ("factor", factor), ("patience", patience)]);
                Schedule::Cosine { min_rate: *min_rate.get_or_insert(0.0) }
            }
            ScheduleKind::Plateau => {
                refuse(&mut [("every", every)]);
                Schedule::Plateau {
                    patience: *patience.get_or_insert(10),
                    factor: *factor.get_or_insert(0.1),
                    min_rate: *min_rate.get_or_insert(0.0),
                }
            }
        }
    }

    fn thresholds(&mut self, config: &mut Config) -> Vec<Threshold> {
        if config.patterns.is_some() && !self.document.says("threshold.kind") {
            (config.threshold.kind, config.threshold.value) =
                (ThresholdKind::Fixed, config.threshold.value.or(Some(0.0)));
        }
        let threshold = &mut config.threshold;
        let kind = threshold.kind;
        let raw::Threshold { percentile, smooth, value, k, ddof, log, also, .. } = threshold;
        let mut refuse = |keys: &mut [(&str, &mut dyn Setting)]| {
            self.refuse("threshold", "kind", kind.name(), keys)
        };
        match kind {
            ThresholdKind::Percentile => {
                refuse(&mut [("value", value), ("k", k), ("ddof", ddof)]);
                let first = Percentile {
                    percentile: *percentile.get_or_insert(99.5),
                    smooth: *smooth.get_or_insert(1),
                };
                let all = std::iter::once(&first).chain(also.iter());
                all.map(|p| Threshold::Percentile { percentile: p.percentile, smooth: p.smooth })
                    .collect()
            }
            ThresholdKind::Fixed => {
                refuse(&mut [
                    ("percentile", percentile),
                    ("smooth", smooth),
                    ("also", also),
                    ("k", k),
                    ("ddof", ddof),
                ]);
                if *log {
                    self.fault("threshold.log", "has no meaning with kind = \"fixed\"");
                }
                if value.is_none() {
                    self.fault("threshold.value", "missing; kind = \"fixed\" needs the threshold");
                }
                vec![Threshold::Fixed { value: value.unwrap_or(0.0) }]
            }
            ThresholdKind::MeanStd => {
                refuse(&mut [
                    ("percentile", percentile),
                    ("smooth", smooth),
                    ("also", also),
                    ("value", value),
                ]);
                vec![Threshold::MeanStd { k: *k.get_or_insert(3.0), ddof: *ddof.get_or_insert(1) }]
            }
        }
    }

    fn certify(&mut self, config: &mut Config) -> Certify {
        let certify = &mut config.certify;
        let (grey, bad) = (
            self.cut("certify.grey", certify.grey.as_mut()),
            self.cut("certify.bad", certify.bad.as_mut()),
        );
        if let (Some(Cut::Score(grey)), Some(Cut::Score(bad))) = (grey, bad)
            && grey > bad
        {
            self.fault(
                "certify.grey.score",
                format!("{grey} is above certify.bad's {bad}; grey lies below bad"),
            );
        }
        let run_scores = match certify.run_scores[..] {
            [] => None,
            [good, bad] if good <= bad => Some((good, bad)),
            _ => {
                self.fault(
                    "certify.run_scores",
                    "expected two numbers, the first not above the second: [0.2, 0.8]",
                );
                None
            }
        };
        Certify { grey, bad, run_scores }
    }

    /// The one key that says where a cut lies. Those of layers below are dropped.
    fn cut(&mut self, key: &str, rule: Option<&mut CutRule>) -> Option<Cut> {
        const NAMES: [&str; 6] =
            ["false_alarm_rate", "false_discovery_rate", "efficiency", "purity", "best", "score"];
        let rule = rule?;
        let of_name = |name: &str| format!("{key}.{name}");
        let CutRule { false_alarm_rate, false_discovery_rate, efficiency, purity, best, score } =
            rule;
        let settings: [&mut dyn Setting; 6] =
            [false_alarm_rate, false_discovery_rate, efficiency, purity, best, score];
        for (name, setting) in NAMES.iter().zip(settings) {
            if NAMES.iter().any(|above| self.document.overrides(&of_name(above), &of_name(name))) {
                setting.clear();
            }
        }
        let cuts = [
            rule.false_alarm_rate.map(Cut::FalseAlarmRate),
            rule.false_discovery_rate.map(Cut::FalseDiscoveryRate),
            rule.efficiency.map(Cut::Efficiency),
            rule.purity.map(Cut::Purity),
            rule.best.map(Cut::Best),
            rule.score.map(Cut::Score),
        ];
        let mut cuts = cuts.into_iter().flatten();
        match (cuts.next(), cuts.next()) {
            (Some(cut), None) => Some(cut),
            (None, _) => {
                self.fault(
                    key,
                    format!("says not where the cut lies; expected one of {}", NAMES.join(", ")),
                );
                None
            }
            (Some(first), Some(second)) => {
                self.fault(
                    key,
                    format!(
                        "asks for {first} and for {second}; expected one of {}",
                        NAMES.join(", ")
                    ),
                );
                None
            }
        }
    }

    /// What watches the validation loss needs one.
    fn validation(&mut self, config: &mut Config) {
        let split = &config.split;
        let held_out = split.valid > 0.0
            || split.by == SplitBy::Column
            || !split.valid_runs.is_empty()
            || !split.valid_files.is_empty();
        let watched = held_out || config.train.validate_on == ValidateOn::Train;
        let advice = "needs validation rows; set split.valid above 0";
        if config.train.stop.patience.is_some() && !watched {
            self.fault("train.stop.patience", advice);
        }
        if config.train.stop.restore_best == Some(true) && !watched {
            self.fault("train.stop.restore_best", advice);
        }
        config.train.stop.restore_best.get_or_insert(config.train.stop.patience.is_some());
        if config.train.schedule.kind == ScheduleKind::Plateau && !watched {
            self.fault("train.schedule.kind", format!("\"plateau\" {advice}"));
        }
        if config.threshold.kind != ThresholdKind::Fixed
            && config.threshold.on == CalibrateOn::Valid
            && !held_out
        {
            self.fault("threshold.on", "\"valid\" needs validation rows; set split.valid above 0, or take \"train\" or \"scored\"");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::Best;

    fn check(text: &str) -> Result<Experiment> {
        Experiment::check(&Document::parse(text, Path::new("/folder/a.toml")).unwrap(), "a")
    }

    const DATA: &str = "[data]\ntrain = [\"good.csv\"]\n";

    #[test]
    fn a_short_config_is_enough() {
        let experiment = check(DATA).unwrap();
        assert_eq!(experiment.config.name, "a");
        assert_eq!(experiment.train_files, [Path::new("/folder/good.csv")]);
        assert_eq!(experiment.thresholds, [Threshold::Percentile { percentile: 99.5, smooth: 1 }]);
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
    fn batch_norm_wants_more_than_a_row_at_once() {
        let error = check("data.train = [\"a\"]\nmodel.batch_norm = true\ntrain.batch_size = 1")
            .unwrap_err()
            .to_string();
        assert!(error.contains("model.batch_norm: a batch of one row is all 0 once normalised; expected train.batch_size of 2 or more"), "{error}");
        let error = check("data.train = [\"a\"]\nmodel.masking = 1.0\nmodel.noise = -0.1")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("model.masking: found 1.0; expected")
                && error.contains("model.noise: found -0.1; expected"),
            "{error}"
        );
    }

    #[test]
    fn penalties_that_contradict_each_other_are_told() {
        let errors =
            |text: &str| check(&format!("data.train = [\"a\"]\n{text}")).unwrap_err().to_string();
        for (text, told) in [
            ("loss.kl = 0.1", "loss.kl: has no meaning without model.variational"),
            ("score.kl = 0.1", "score.kl: has no meaning without model.variational"),
            (
                "model = {variational = true, latent_activation = \"relu\"}",
                "model.latent_activation: found \"relu\"; with model.variational",
            ),
            (
                "model.variational = true\nloss.sparsity = {}",
                "loss.sparsity: with model.variational latents are drawn",
            ),
            (
                "model.variational = true\nloss.contractive = 0.1",
                "loss.contractive: with model.variational latents are drawn",
            ),
            (
                "model.batch_norm = true\nloss.contractive = 0.1",
                "loss.contractive: with model.batch_norm a row's latents depend",
            ),
            (
                "model.dropout = 0.1\nloss.contractive = 0.1",
                "loss.contractive: is of the whole encoder",
            ),
            (
                "loss.sparsity = {kind = \"kl\"}",
                "loss.sparsity.kind: \"kl\" takes latents for probabilities, but they are those of relu",
            ),
            (
                "loss.sparsity = {target = 0.1}",
                "loss.sparsity.target: has no meaning with kind = \"l1\"",
            ),
            ("loss.sparsity = {weight = 0.0}", "loss.sparsity.weight: found 0.0; expected"),
        ] {
            assert!(errors(text).contains(told), "{text}: {}", errors(text));
        }
        let variational =
            check(&format!("{DATA}[model]\nvariational = true\n[loss]\nkl_warmup = 3")).unwrap();
        assert_eq!(variational.penalties.kl, Some(Divergence { weight: 1e-3, warmup: 3 }));
        assert_eq!(variational.config.model.latent_activation, Some(Activation::Linear));
        assert_eq!(
            [0, 2, 3].map(|epoch| Divergence { weight: 1.0, warmup: 3 }.factor(epoch)),
            [0.25, 0.75, 1.0]
        );
        assert_eq!(check(&variational.to_toml().unwrap()).unwrap(), variational);
        let text = format!(
            "{DATA}[model]\nlatent_activation = \"sigmoid\"\n[loss]\nsparsity = {{kind = \"kl\"}}\ncontractive = 0.1"
        );
        let sparse = check(&text).unwrap();
        assert_eq!(
            sparse.penalties.to_string(),
            "0.001 × KL divergence of mean latents from 0.05 + 0.1 × squared norm of d latent / d input"
        );
        assert_eq!(check(&sparse.to_toml().unwrap()).unwrap(), sparse);
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
    fn who_overrides_a_kind_need_not_know_what_was_set_for_another() {
        let mut document = Document::parse(
            &format!("{DATA}[threshold]\nkind = \"percentile\"\npercentile = 99.0\nsmooth = 3"),
            Path::new("a.toml"),
        )
        .unwrap();
        document
            .add_arguments(&["threshold.kind=mean-std".into(), "threshold.k=2".into()])
            .unwrap();
        let experiment = Experiment::check(&document, "a").unwrap();
        assert_eq!(experiment.thresholds, [Threshold::MeanStd { k: 2.0, ddof: 1 }]);
        document.add_arguments(&["threshold.value=3".into()]).unwrap();
        assert!(
            Experiment::check(&document, "a")
                .unwrap_err()
                .to_string()
                .contains("threshold.value: has no meaning")
        );
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

    #[test]
    fn what_watches_validation_needs_it() {
        let text = format!(
            "{DATA}[split]\nvalid = 0.0\n[train.stop]\npatience = 3\n[train.schedule]\nkind = \"plateau\""
        );
        let error = check(&text).unwrap_err().to_string();
        for key in ["train.stop.patience", "train.schedule.kind", "threshold.on"] {
            assert!(error.contains(key), "{key} in\n{error}");
        }
    }

    #[test]
    fn a_cut_lies_where_one_key_says() {
        let experiment =
            check(&format!("{DATA}[certify]\ngrey = {{false_alarm_rate = 0.05}}\nbad = {{best = \"f1\"}}\nrun_scores = [0.2, 0.8]")).unwrap();
        assert_eq!(
            (experiment.certify.grey, experiment.certify.bad),
            (Some(Cut::FalseAlarmRate(0.05)), Some(Cut::Best(Best::F1)))
        );
        assert_eq!(check(&experiment.to_toml().unwrap()).unwrap(), experiment);
        let mut document = Document::parse(
            &format!("{DATA}[certify]\nbad = {{efficiency = 0.5}}"),
            Path::new("a.toml"),
        )
        .unwrap();
        document.add_arguments(&["certify.bad={score = 3}".into()]).unwrap();
        let experiment = Experiment::check(&document, "a").unwrap();
        assert_eq!(experiment.certify.bad, Some(Cut::Score(3.0)), "what is set later stands");
        assert_eq!(check(&experiment.to_toml().unwrap()).unwrap().certify, experiment.certify);
        for (text, part) in [
            ("bad = {}", "certify.bad: says not where the cut lies"),
            ("bad = {score = 1.0, purity = 0.5}", "asks for 50 % purity and for score 1"),
            (
                "bad = {score = 1.0}\ngrey = {score = 2.0}",
                "certify.grey.score: 2 is above certify.bad's 1",
            ),
            ("run_scores = [2.0, 1.0]", "certify.run_scores: expected two numbers"),
            ("bad = {false_alarm_rate = 1.0}", "less than 1"),
        ] {
            let error = check(&format!("{DATA}[certify]\n{text}")).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn times_are_read() {
        assert_eq!(duration("7h 30m"), Some(Duration::from_secs(27_000)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1500)));
        assert!(["", "7", "7d", "-3s", "h", "7h30m"].iter().all(|text| duration(text).is_none()));
    }

    #[test]
    fn devices_are_read() {
        assert_eq!(DeviceChoice::parse("cuda:2"), Ok(DeviceChoice::Cuda(2)));
        assert_eq!(DeviceChoice::parse("wgpu"), Ok(DeviceChoice::Wgpu(None)));
        assert!(DeviceChoice::parse("gpu").unwrap_err().contains("expected auto, cpu, cuda"));
        assert!(DeviceChoice::parse("cuda:x").is_err());
        assert!(DeviceChoice::parse("cpu:1").is_err());
    }
}
