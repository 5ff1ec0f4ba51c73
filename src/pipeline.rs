//! The stages in a row: what `train`, `score`, `calibrate` and `check` share.

use crate::{
    config::{
        Experiment, Expression, Part, Threshold,
        raw::{
            self, CalibrateOn, Constant, Fill, FitOn, ModelKind, OneOrMany, Order, ReportOn,
            ScaleKind, SplitBy, TrainOn, ValidateOn,
        },
    },
    data::{
        self, Further, Role, Samples,
        cells::{self, Cells},
        channels::{ALL_FEATURES, COMBINED, Channel},
        histogram_quantiles::Unit,
        lumi::{Facts, LUMINOSITIES, START_TIME, automasks::Automasks},
    },
    device::Opened,
    error::{Error, Result, first_few, listed, suggestion},
    experiment::trained::TrainedModel,
    model::{Architecture, weights},
    prepare::{
        Prepared,
        classes::Classes,
        divide, finite,
        floors::Contents,
        labels::{self, LabelSet},
        masked,
        missing::{self, Filling, MissingCells},
        normalisation,
        quantities::{self, Quantity},
        reject, retain,
        scale::{Plan, Scaler},
        select,
        split::{self, Split},
    },
    random,
    score::{
        drift::{Drift, Moved, Outside, Sample},
        error::Runner,
        error_baseline::{self, Usual},
        network::{Network, Said},
        patterns::{Found, Layer, Region, Settings, Zeros, find_all, scored::Patterns},
        projections::{Projection, Shown},
        ranges,
        scores::{ChannelScores, Scores},
        threshold::{self, Calibrated},
    },
    train::{Fitted, Job, State, Watch, fit},
    warnings::{Severity, Warnings},
};
use rayon::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::Range,
    path::{Path, PathBuf},
};

/// The key of what rows are divided by.
const DIVIDE_BY: &str = "scale.divide_by";
/// What is said of a row whose reconstruction overflows.
const NOT_FINITE: &str = "score is not finite";

/// Rows with what is known about them.
struct Chosen {
    samples: Samples,
    labels: Vec<LabelSet>,
    classes: Option<Classes>,
    weights: Option<Vec<f32>>,
    facts: Facts,
    automasks: Automasks,
    notes: Vec<String>,
}

/// Reads, selects, splits and scales the files of an experiment. `read` is told of each file that
/// has been read.
pub fn prepare(experiment: &Experiment, read: &(dyn Fn(&Path) + Sync)) -> Result<Prepared> {
    let config = &experiment.config;
    let files = [
        (Role::Train, experiment.train_files.as_slice()),
        (Role::Test, experiment.test_files.as_slice()),
    ];
    let required: Vec<String> =
        labels::columns(experiment).into_iter().chain(config.split.column.clone()).collect();
    let mut chosen = load(
        experiment,
        &files,
        Further { required, part: experiment.part, ..Further::default() },
        read,
    )?;
    let reference = experiment
        .reference
        .as_ref()
        .map(|path| normalisation::read(path, &chosen.samples))
        .transpose()?
        .unwrap_or_default();
    let fit = |rows: &[&[f32]], samples: &Samples, contents: Contents| {
        let plan = Plan {
            kinds: experiment.scale.clone(),
            fit_on: config.scale.fit_on,
            constant: config.scale.constant,
            contents,
            width: samples.width(),
            layers: samples.layer_widths(),
            reference: reference.clone(),
            clip: config.scale.clip,
            added: (!experiment.added.is_empty()).then(|| {
                (config.scale.added, experiment.added.iter().map(Expression::to_string).collect())
            }),
            fill: config.data.fill,
        };
        Scaler::fit(plan, rows)
    };
    let of_all_read = (config.scale.fit_on == FitOn::Read).then(|| {
        let samples = &chosen.samples;
        let is_finite = |row: &u32| {
            samples
                .row(*row as usize)
                .iter()
                .all(|value| value.is_nan() || finite::is_within(*value, finite::LARGEST_CONTENT))
        };
        let rows: Vec<u32> = (0..samples.rows.len() as u32).filter(is_finite).collect();
        fit(
            &rows.iter().map(|&row| samples.row(row as usize)).collect::<Vec<_>>(),
            samples,
            contents(samples, None, &rows),
        )
    });
    let (mut inputs, mut divisors) = chosen.select(experiment)?;
    let told = |message: String, notes: &[String]| {
        notes.iter().fold(message, |message, note| format!("{message}\n  {note}"))
    };
    let split = split::split(&chosen.samples, &chosen.labels, experiment);
    let mut splits = split.map_err(|error| error.map(|message| told(message, &chosen.notes)))?;
    let width = chosen.samples.width() + experiment.added.len();
    let mut scaler = of_all_read.unwrap_or_else(|| {
        let wanted =
            |row: &u32| config.scale.fit_on == FitOn::All || splits[*row as usize] == Split::Train;
        let rows: Vec<u32> = (0..splits.len() as u32).filter(wanted).collect();
        let fitted_on: Vec<&[f32]> =
            rows.iter().map(|&row| &inputs[row as usize * width..][..width]).collect();
        fit(&fitted_on, &chosen.samples, contents(&chosen.samples, divisors.as_deref(), &rows))
    });
    let names: Vec<String> = chosen
        .samples
        .feature_names()
        .into_iter()
        .chain(experiment.added.iter().map(Expression::to_string))
        .collect();
    let train = |splits: &[Split]| {
        (0..splits.len() as u32)
            .filter(|&row| splits[row as usize] == Split::Train)
            .collect::<Vec<u32>>()
    };
    if !config.data.fill.is_reject() {
        scaler.filling = Some(Filling::learn(config.data.fill, &inputs, &names, &train(&splits))?);
    }
    scale(&scaler, &chosen.samples, &mut inputs);
    chosen.reject_overflow(
        experiment,
        (&mut inputs, &mut divisors, &mut splits),
        finite::LARGEST_INPUT,
    )?;
    scaler.filling.iter_mut().for_each(|filling| filling.learn_means(&inputs, &train(&splits)));
    let masked = is_masked(&scaler, &inputs);
    if !splits.contains(&Split::Train) {
        return Err(Error::input(format!(
            "no training rows left: {}",
            told_counts(&chosen.samples)
        )));
    }
    refuse_weightless(chosen.weights.as_deref(), &splits)?;
    let beside = chosen.beside(experiment)?;
    let Chosen { samples, labels, classes, weights, automasks, notes, .. } = chosen;
    let mut channels = samples.channels();
    for channel in &mut channels {
        channel.paths.extend(
            experiment
                .added
                .iter()
                .map(|added| vec![added.to_string()])
                .filter(|_| samples.hierarchy.is_some()),
        );
        channel.features.extend(experiment.added.iter().map(Expression::to_string));
    }
    Ok(Prepared {
        samples,
        labels,
        classes,
        beside,
        splits,
        weights,
        scaler,
        divisors,
        inputs,
        masked,
        channels,
        automasks,
        notes,
    })
}

/// Whether some of the scaled inputs are missing and left out.
fn is_masked(scaler: &Scaler, inputs: &[f32]) -> bool {
    scaler.filling.as_ref().is_some_and(|filling| filling.fill == Fill::Mask)
        && inputs.iter().any(|value| value.is_nan())
}

/// What the bins of rows hold, before they are scaled.
fn contents(samples: &Samples, divisors: Option<&[f64]>, rows: &[u32]) -> Contents {
    let is_whole = |row: &u32| {
        samples.row(*row as usize).iter().all(|value| value.is_nan() || value.fract() == 0.0)
    };
    match () {
        () if samples.features.is_some() => Contents::Features,
        () if rows.iter().all(is_whole) => {
            let divisors = divisors.map(|divisors| {
                rows.iter().map(|&row| divisors[row as usize].abs()).collect::<Vec<f64>>()
            });
            Contents::Counts(
                1.0 / divisors
                    .and_then(|divisors| threshold::percentile(&divisors, 50.0))
                    .unwrap_or(1.0),
            )
        }
        () => Contents::Alike,
    }
}

/// Prepares the rows of an experiment again; refuses others than those that were scored, and other
/// inputs than its networks have.
pub fn prepare_scored(
    experiment: &Experiment,
    networks: &[Network],
    scores: &Scores,
    read: &(dyn Fn(&Path) + Sync),
) -> Result<Prepared> {
    let prepared = prepare(experiment, read)?;
    let same = |network: &&Network| {
        prepared.channels.iter().any(|channel| {
            channel.name == network.channel.name && channel.features == network.channel.features
        })
    };
    if let Some(network) = networks.iter().find(|network| !same(network)) {
        return Err(Error::input(format!(
            "the channel \"{}\" of the trained model has other inputs than the data have now",
            network.channel.name
        )));
    }
    // Rows without a score were among the inputs, but not among those that are evaluated.
    let unscored: HashSet<(&str, Option<u32>, Option<u32>)> = scores
        .rows
        .iter()
        .filter(|row| row.rejected.as_deref().is_some_and(|reason| reason.starts_with(NOT_FINITE)))
        .map(|row| (&*row.file, row.run, row.ls))
        .collect();
    let prepared = if unscored.is_empty() {
        prepared
    } else {
        let samples = &prepared.samples;
        let reason = |row: usize| {
            let id = samples.id(row);
            unscored
                .contains(&(samples.source(row).name.as_str(), id.run, Some(id.ls)))
                .then(|| NOT_FINITE.to_owned())
        };
        prepared.without((0..samples.rows.len()).map(reason).collect())
    };
    match (prepared.samples.rows.len(), scores.evaluated().count()) {
        (rows, evaluated) if rows == evaluated => Ok(prepared),
        (rows, evaluated) => {
            Err(Error::input(format!("{rows} rows are evaluated, but {evaluated} were scored")))
        }
    }
}

/// Rows that a loss is taken on must weigh something.
fn refuse_weightless(weights: Option<&[f32]>, splits: &[Split]) -> Result<()> {
    let Some(weights) = weights else { return Ok(()) };
    for wanted in [Split::Train, Split::Valid] {
        let rows = splits.iter().filter(|split| **split == wanted).count();
        let weightless =
            splits.iter().zip(weights).all(|(split, weight)| *split != wanted || *weight == 0.0);
        if rows > 0 && weightless {
            return Err(Error::input(format!(
                "weights: all {rows} {} rows have weight 0",
                wanted.name()
            )));
        }
    }
    Ok(())
}

/// Reads files and what is known about their rows.
fn load(
    experiment: &Experiment,
    files: &[(Role, &[PathBuf])],
    mut further: Further,
    read: &(dyn Fn(&Path) + Sync),
) -> Result<Chosen> {
    let names = quantities::names(experiment);
    let layered = !experiment.layers.is_empty();
    let facts = Facts::read(
        &experiment.facts,
        &names
            .iter()
            .cloned()
            .chain(LUMINOSITIES.iter().chain([&START_TIME]).map(|name| (*name).to_owned()))
            .collect(),
    )?;
    let columns = quantities::columns(&names, &facts, layered);
    further.required.extend(columns.iter().cloned());
    // Each layer has a column of its own for its entries.
    further.welcome.extend(names.get("entries").filter(|_| !layered).cloned());
    let trained = files.iter().all(|(role, _)| *role == Role::Test);
    let load = data::load(experiment, files, further, read);
    let samples =
        load.map_err(|error| error.map(|message| with_fact_names(message, &columns, &facts)))?;
    let (labels, label_notes) = labels::read(&samples, experiment, trained)?;
    let classes = experiment
        .config
        .labels
        .classes
        .as_ref()
        .map(|config| Classes::read(&samples, config))
        .transpose()?
        .flatten();
    let weights = match &experiment.weight {
        Some(expression) => Some(
            Quantity::new("weights", expression, &samples, &facts)?.numbers("weights", &samples)?,
        ),
        None => None,
    };
    let weights = weights
        .map(|weights| weights.into_iter().map(|weight| weight as f32).collect::<Vec<f32>>());
    let (automasks, mask_notes) = masked::read(experiment, &samples, &facts)?;
    let notes = samples.notes.iter().cloned().chain(label_notes).chain(mask_notes).collect();
    Ok(Chosen { samples, labels, classes, weights, facts, automasks, notes })
}

/// Why rows are not evaluated, in words.
fn told_counts(samples: &Samples) -> String {
    select::counts(samples)
        .into_iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Chosen {
    /// Selects rows; returns their unscaled inputs, and what their bins were divided by.
    fn select(&mut self, experiment: &Experiment) -> Result<(Vec<f32>, Option<Vec<f64>>)> {
        let rows = self.samples.rows.len();
        let (reasons, notes) =
            select::reasons(&self.samples, experiment, &self.facts, self.weights.as_deref())?;
        self.notes.extend(notes);
        self.reject(reasons);
        let given = self.give(experiment)?;
        self.refuse_none(rows)?;
        let mut inputs = join_inputs(experiment, &self.samples, &given);
        let mut divisors =
            experiment.divide_by.as_ref().and_then(|_| given.into_iter().next_back());
        self.reject_overflow(
            experiment,
            (&mut inputs, &mut divisors, &mut vec![]),
            finite::LARGEST_CONTENT,
        )?;
        Ok((inputs, divisors))
    }

    /// Refuses to go on without rows.
    fn refuse_none(&self, of: usize) -> Result<()> {
        match self.samples.rows.len() {
            0 => Err(Error::input(format!("no rows left of {of}: {}", told_counts(&self.samples)))),
            _ => Ok(()),
        }
    }

    /// Rejects rows.
    fn reject(&mut self, reasons: Vec<Option<String>>) {
        reject(&mut self.samples, &mut self.labels, &mut self.classes, &mut self.weights, reasons);
    }

    /// Rejects rows with inputs that are not finite, or too large to compute with, and their
    /// entries in what stands beside them.
    fn reject_overflow(
        &mut self,
        experiment: &Experiment,
        (inputs, divisors, splits): (&mut Vec<f32>, &mut Option<Vec<f64>>, &mut Vec<Split>),
        largest: f32,
    ) -> Result<()> {
        let names: Vec<String> = self
            .samples
            .feature_names()
            .into_iter()
            .chain(experiment.added.iter().map(Expression::to_string))
            .collect();
        let missing = |row: usize, input: usize| {
            self.samples.row(row).get(input).is_some_and(|value| value.is_nan())
        };
        let (reasons, rows) =
            (finite::reasons(inputs, &names, largest, missing), self.samples.rows.len());
        if reasons.iter().any(Option::is_some) {
            retain(inputs, names.len(), &reasons);
            divisors.iter_mut().for_each(|divisors| retain(divisors, 1, &reasons));
            retain(splits, 1, &reasons);
            self.reject(reasons);
        }
        self.refuse_none(rows)
    }

    /// What is drawn beside the scores: luminosities where they are known, weights, and what the
    /// config asks for.
    fn beside(&self, experiment: &Experiment) -> Result<Vec<(String, Vec<f32>)>> {
        let known = LUMINOSITIES
            .into_iter()
            .filter(|name| self.facts.has(name))
            .filter_map(|name| Expression::parse(name).ok());
        let mut beside: Vec<(String, Vec<f32>)> = vec![];
        for expression in known.chain(experiment.beside.iter().cloned()) {
            let numbers = Quantity::new("report.beside", &expression, &self.samples, &self.facts)?
                .numbers("report.beside", &self.samples)?;
            beside.push((
                expression.to_string(),
                numbers.into_iter().map(|number| number as f32).collect(),
            ));
        }
        beside.extend(self.weights.clone().map(|weights| ("weight".into(), weights)));
        Ok(beside)
    }

    /// The quantities that rows are given: `data.add_inputs`, then `scale.divide_by`. Rows for
    /// which one is unknown, or which would be divided by 0, are rejected.
    fn give(&mut self, experiment: &Experiment) -> Result<Vec<Vec<f64>>> {
        let added = experiment.added.iter().map(|expression| ("data.add_inputs", expression));
        let divide_by = experiment.divide_by.iter().map(|expression| (DIVIDE_BY, expression));
        let mut given = vec![];
        if experiment.added.is_empty() && experiment.divide_by.is_none() {
            return Ok(given);
        }
        let mut reasons: Vec<Option<String>> = vec![None; self.samples.rows.len()];
        for (key, expression) in added.chain(divide_by) {
            let quantity = Quantity::new(key, expression, &self.samples, &self.facts)?;
            let numbers = quantity.numbers(key, &self.samples)?;
            reasons
                .iter_mut()
                .zip(quantity.reasons)
                .for_each(|(first, reason)| *first = first.take().or(reason));
            if key == DIVIDE_BY {
                let nothing = |number: &f64| (*number == 0.0).then(|| format!("{DIVIDE_BY} is 0"));
                reasons
                    .iter_mut()
                    .zip(&numbers)
                    .for_each(|(first, number)| *first = first.take().or_else(|| nothing(number)));
            }
            given.push(numbers);
        }
        given.iter_mut().for_each(|numbers| retain(numbers, 1, &reasons));
        self.reject(reasons);
        Ok(given)
    }
}

/// A name that is no column may be a misspelt quantity of OMS or HLT.
fn with_fact_names(message: String, columns: &[String], facts: &Facts) -> String {
    let mut near = columns
        .iter()
        .filter(|name| message.contains(&format!("\"{name}\"")))
        .map(|name| suggestion(name, facts.names.iter().map(String::as_str)));
    let missing = columns.iter().any(|name| message.contains(&format!("no column \"{name}\"")));
    match near.rfind(|near| !near.is_empty()) {
        Some(near) => {
            format!("{message}; among the quantities of OMS, HLT and brilcalc files{near}")
        }
        None if missing && facts.names.is_empty() => {
            format!("{message}; quantities of OMS need data.oms, rates of triggers data.hlt")
        }
        None if missing => {
            let names = listed(facts.names.iter().map(String::as_str));
            format!("{message}; the quantities of OMS, HLT and brilcalc files are {names}")
        }
        None => message,
    }
}

/// Unscaled inputs, `[rows, width + added]`.
fn join_inputs(experiment: &Experiment, samples: &Samples, given: &[Vec<f64>]) -> Vec<f32> {
    if given.is_empty() {
        return samples.values.clone();
    }
    let added = &given[..experiment.added.len()];
    let divisor = experiment.divide_by.as_ref().and(given.last());
    let mut inputs = Vec::with_capacity(samples.rows.len() * (samples.width() + added.len()));
    for row in 0..samples.rows.len() {
        let first = inputs.len();
        inputs.extend_from_slice(samples.row(row));
        if let Some(divisor) = divisor {
            divide(&mut inputs[first..], divisor[row]);
        }
        inputs.extend(added.iter().map(|numbers| numbers[row] as f32));
    }
    inputs
}

/// Scales inputs in place. With `fit_on = "each-file"` every file is scaled by its own rows.
fn scale(scaler: &Scaler, samples: &Samples, inputs: &mut [f32]) {
    if scaler.fit_on != FitOn::EachFile {
        return scaler.apply(inputs);
    }
    let width = scaler.inputs();
    for source in 0..samples.sources.len() as u32 {
        let rows: Vec<usize> =
            (0..samples.rows.len()).filter(|&i| samples.rows[i].source == source).collect();
        let own: Vec<&[f32]> = rows.iter().map(|&i| &inputs[i * width..(i + 1) * width]).collect();
        let own = scaler.refit(&own);
        rows.iter().for_each(|&i| own.apply(&mut inputs[i * width..(i + 1) * width]));
    }
}

/// The network of each channel.
pub fn architectures(experiment: &Experiment, channels: &[Channel]) -> Vec<Architecture> {
    channels
        .iter()
        .map(|channel| Architecture::new(channel.features.len(), &experiment.config.model))
        .collect()
}

/// The seed of a member of a channel's ensemble, which does not depend on what other channels and
/// members there are. The first member is the model that would be trained alone.
fn seed(experiment: &Experiment, channel: &Channel, member: usize) -> u64 {
    let seed = experiment.config.seed;
    let seed =
        if channel.name == ALL_FEATURES { seed } else { random::derived(seed, &channel.name) };
    if member == 0 { seed } else { random::derived(seed, &format!("member {member}")) }
}

/// Where one model begins.
#[derive(Clone, Debug)]
pub struct Begin<'e> {
    /// What it is trained as.
    pub experiment: &'e Experiment,
    /// Which of the channels it is for.
    pub channel: usize,
    /// Which member of the channel's ensemble it is, from 0.
    pub member: usize,
    /// Initial weights, flat.
    pub weights: Vec<f32>,
    /// Where its training stood, where it goes on.
    pub state: Option<State>,
}

/// Where each model begins, channel by channel and member by member: weights are drawn, or read
/// from `train.init`.
pub fn begin<'e>(experiment: &'e Experiment, channels: &[Channel]) -> Result<Vec<Begin<'e>>> {
    let mut begins = vec![];
    refuse_too_large(experiment, channels)?;
    for (at, (channel, architecture)) in
        channels.iter().zip(architectures(experiment, channels)).enumerate()
    {
        for member in 0..experiment.config.train.ensemble as usize {
            let weights = match &experiment.init {
                None => architecture.draw(
                    experiment.config.model.init,
                    seed(experiment, channel, member),
                    0,
                ),
                Some(path) if path.is_dir() => {
                    let own = path.join(weights::file_name(&channel.name, member));
                    weights::read(
                        &if own.exists() {
                            own
                        } else {
                            path.join(weights::file_name(&channel.name, 0))
                        },
                        &architecture,
                    )?
                }
                Some(path) if channels.len() > 1 => {
                    let files: Vec<String> = channels
                        .iter()
                        .map(|channel| weights::file_name(&channel.name, 0))
                        .collect();
                    return Err(Error::input(format!(
                        "train.init: {} is a file, but there are {} channels; expected a folder with {}",
                        path.display(),
                        channels.len(),
                        listed(files.iter().map(String::as_str))
                    )));
                }
                Some(path) => weights::read(path, &architecture)?,
            };
            begins.push(Begin { experiment, channel: at, member, weights, state: None });
        }
    }
    let train = &experiment.config.train;
    let alike = begins
        .windows(2)
        .any(|pair| pair[0].channel == pair[1].channel && pair[0].weights == pair[1].weights);
    let by_chance = train.shuffle || experiment.config.model.draws();
    if alike && !by_chance && train.epochs > 0 {
        return Err(Error::input(format!(
            "train.ensemble: the {} members would all be the same: they start from train.init, train.shuffle = false, and no dropout, noise, masking or latents are drawn",
            train.ensemble
        )));
    }
    Ok(begins)
}

/// Refuses models whose weights, and what training keeps beside those of one, do not fit into
/// memory.
fn refuse_too_large(experiment: &Experiment, channels: &[Channel]) -> Result<()> {
    /// Weights, their gradients, two moments and the best weights so far.
    const COPIES: u64 = 5;
    let sizes: Vec<u64> = architectures(experiment, channels)
        .iter()
        .map(|one| (one.parameters() + one.statistics()) as u64)
        .collect();
    let all = sizes
        .iter()
        .fold(0_u64, |sum, size| sum.saturating_add(*size))
        .saturating_mul(experiment.config.train.ensemble.into());
    let largest = sizes.into_iter().max().unwrap_or(0);
    let bytes = all.saturating_add(largest.saturating_mul(COPIES)).saturating_mul(4);
    if crate::guard::can_allocate(bytes) {
        return Ok(());
    }
    Err(Error::input(format!(
        "model.hidden: {all} parameters in all, {largest} in one model, do not fit into memory; lower model.hidden, model.latent or train.ensemble"
    )))
}

/// What to call a model in messages; nothing where there is only one.
fn model_name(experiment: &Experiment, channel: &Channel, member: usize) -> String {
    let channel = if channel.name == ALL_FEATURES {
        String::new()
    } else {
        format!("channel {}", channel.name)
    };
    let member = if experiment.config.train.ensemble == 1 {
        String::new()
    } else {
        format!("member {}", member + 1)
    };
    [channel, member].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Trains models, of one experiment or several, on the training rows, watching the validation rows:
/// on the CPU each by itself, on other devices those that differ in numbers only in lock step as
/// one computation; channels side by side. Several devices share the models. `watch` makes who
/// looks on for each. What comes out is in the order of `begins`; nothing where one paused.
pub fn train<W: Watch>(
    begins: &[Begin<'_>],
    prepared: &Prepared,
    devices: &[Opened],
    watch: &(impl Fn(usize) -> W + Sync + Send),
) -> Result<Vec<Option<Result<Fitted>>>> {
    let valid = prepared.of_split(Split::Valid, Order::Ls);
    let names = prepared.input_names();
    // Of one channel, and all equally far.
    let pack = |device: &Opened, places: &[usize]| -> Result<Option<Vec<Result<Fitted>>>> {
        let Begin { experiment, channel, .. } = begins[places[0]];
        let channel = &prepared.channels[channel];
        let columns = channel.columns(&names);
        let train = prepared
            .with_inputs(&columns, prepared.of_split(Split::Train, experiment.config.train.order));
        let valid = prepared.with_inputs(&columns, valid.clone());
        let rows = prepared.rows(&columns);
        let (train, valid) =
            (rows.at(&train).whole_where_possible(), rows.at(&valid).whole_where_possible());
        let watched = match experiment.config.train.validate_on {
            ValidateOn::Train => Some(train),
            ValidateOn::Valid => Some(valid).filter(|rows| !rows.is_empty()),
        };
        let architecture = Architecture::new(channel.features.len(), &experiment.config.model);
        let mut jobs = vec![];
        for Begin { experiment, weights, member, .. } in places.iter().map(|&at| &begins[at]) {
            let seed = seed(experiment, channel, *member);
            jobs.push(Job {
                experiment,
                architecture: &architecture,
                start: weights,
                seed,
                train,
                valid: watched,
            });
        }
        fit_in_parts(&jobs, device, &|at| begins[places[at]].state.clone(), &|at| watch(places[at]))
    };
    let on_device = |device: usize| -> Result<Vec<(usize, Option<Result<Fitted>>)>> {
        let own: Vec<usize> = (0..begins.len()).filter(|at| at % devices.len() == device).collect();
        let packs = packs(&devices[device], begins, &own);
        let train = |places: Vec<usize>| {
            let fitted = pack(&devices[device], &places);
            // One that fails does not stop the others: what they learn is kept.
            let fitted = match fitted {
                Ok(Some(fitted)) => fitted.into_iter().map(Some).collect(),
                Ok(None) => places.iter().map(|_| None).collect::<Vec<_>>(),
                Err(error) => places.iter().map(|_| Some(Err(error.clone()))).collect(),
            };
            Ok(places.into_iter().zip(fitted).collect::<Vec<_>>())
        };
        Ok(side_by_side(&devices[device], packs, train)?.into_iter().flatten().collect())
    };
    let mut all = match devices.len() {
        1 => on_device(0)?,
        _ => std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..devices.len()).map(|device| scope.spawn(move || on_device(device))).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))
            });
            joined
                .collect::<Result<Vec<_>>>()
                .map(|all| all.into_iter().flatten().collect::<Vec<_>>())
        })?,
    };
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, fitted)| fitted).collect())
}

/// The models of one experiment, nothing where one of them paused; the first failure where one
/// failed.
pub fn together(
    begins: &[Begin<'_>],
    channels: &[Channel],
    fitted: Vec<Option<Result<Fitted>>>,
) -> Result<Option<Vec<Fitted>>> {
    let failed = |fitted: &Option<Result<Fitted>>| matches!(fitted, Some(Err(_)));
    let fine = fitted.iter().filter(|fitted| !failed(fitted)).count();
    if let Some((begin, Some(Err(error)))) =
        begins.iter().zip(&fitted).find(|(_, fitted)| failed(fitted))
    {
        let name = model_name(begin.experiment, &channels[begin.channel], begin.member);
        let others =
            if fine == 0 { String::new() } else { format!(" (the other models, {fine}, went on)") };
        return Err(error.clone().map(|message| {
            if name.is_empty() { message } else { format!("{name}: {message}{others}") }
        }));
    }
    Ok(fitted.into_iter().map(|fitted| fitted.and_then(Result::ok)).collect())
}

/// What must be the same for models to be trained in lock step: all but the numbers that each has
/// for itself.
fn shape(experiment: &Experiment) -> String {
    let (model, mut loss, mut train) = (
        experiment.config.model.clone(),
        experiment.config.loss.clone(),
        experiment.config.train.clone(),
    );
    (loss.l2, loss.activity_l2, train.epochs, train.schedule, train.stop, train.ensemble) =
        Default::default();
    train.optimizer = raw::Optimizer { kind: train.optimizer.kind, ..raw::Optimizer::default() };
    serde_json::to_string(&(model, loss, train)).unwrap_or_default()
}

/// What is trained in lock step on a device: on the CPU every model by itself, elsewhere those of a
/// channel that are equally far and differ in numbers only.
fn packs(device: &Opened, begins: &[Begin<'_>], own: &[usize]) -> Vec<Vec<usize>> {
    if device.is_cpu() {
        return own.iter().map(|&at| vec![at]).collect();
    }
    let mut packs: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for &at in own {
        let far = begins[at].state.as_ref().map_or((0, 0), |state| (state.epoch(), state.batch));
        packs.entry((begins[at].channel, far, shape(begins[at].experiment))).or_default().push(at);
    }
    packs.into_values().collect()
}

/// Trains a pack; one that the device has not memory enough for is trained in halves, one after the
/// other.
fn fit_in_parts<W: Watch>(
    jobs: &[Job<'_>],
    device: &Opened,
    state: &dyn Fn(usize) -> Option<State>,
    watch: &dyn Fn(usize) -> W,
) -> Result<Option<Vec<Result<Fitted>>>> {
    let all = || {
        let from = jobs
            .iter()
            .enumerate()
            .map(|(at, job)| state(at).unwrap_or_else(|| State::start(job)))
            .collect();
        fit(jobs, device, from, (0..jobs.len()).map(watch).collect())
    };
    match device.guard(all) {
        Err(Error::Memory(_)) if jobs.len() > 1 => {
            let (first, second) = jobs.split_at(jobs.len() / 2);
            let Some(mut fitted) = fit_in_parts(first, device, state, watch)? else {
                return Ok(None);
            };
            let Some(rest) = fit_in_parts(second, device, &|at| state(at + first.len()), &|at| {
                watch(at + first.len())
            })?
            else {
                return Ok(None);
            };
            fitted.extend(rest);
            Ok(Some(fitted))
        }
        fitted => fitted,
    }
}

/// What each channel gives, side by side: on the CPU on its cores, on a GPU in streams of their
/// own, since one channel leaves most of a GPU's processors idle.
fn side_by_side<T: Send, R: Send>(
    device: &Opened,
    channels: Vec<T>,
    one: impl Fn(T) -> Result<R> + Sync + Send,
) -> Result<Vec<R>> {
    channels.into_par_iter().map(|channel| device.guard(|| one(channel))).collect()
}

/// Learns what is usual for the errors and latents of trained models, in the order of [`train`];
/// the texts say what is doubtful, channel by channel.
pub fn learn(
    experiment: &Experiment,
    fitted: &[Fitted],
    prepared: &Prepared,
    device: &Opened,
) -> Result<(Vec<Network>, Vec<Option<String>>)> {
    let config = &experiment.config;
    let train = prepared.of_split(Split::Train, config.train.order);
    let calibrate = match config.threshold.on {
        CalibrateOn::Valid => prepared.of_split(Split::Valid, Order::Ls),
        CalibrateOn::Train | CalibrateOn::Scored => train.clone(),
    };
    let names = prepared.input_names();
    let one = |(channel, fitted): (&Channel, &[Fitted])| {
        let columns = channel.columns(&names);
        let rows = prepared.rows(&columns);
        let (train, calibrate) = (
            prepared.with_inputs(&columns, train.clone()),
            prepared.with_inputs(&columns, calibrate.clone()),
        );
        let architecture = Architecture::new(channel.features.len(), &config.model);
        let trained = (
            channel.clone(),
            architecture,
            fitted.iter().map(|fitted| fitted.weights.clone()).collect(),
        );
        let (train, calibrate) =
            (rows.at(&train).whole_where_possible(), rows.at(&calibrate).whole_where_possible());
        Network::learn(trained, &config.score, train, calibrate, device)
    };
    let learned = side_by_side(
        device,
        prepared.channels.iter().zip(fitted.chunks(config.train.ensemble as usize)).collect(),
        one,
    )?;
    let (mut networks, notes): (Vec<Network>, Vec<Option<String>>) = learned.into_iter().unzip();
    let known = ranges::learn(prepared, &train);
    let calibration = ranges::compare(prepared, &calibrate, &known);
    networks.iter_mut().for_each(|network| {
        network.know_inputs(&network.channel.columns(&names), &known, &calibration)
    });
    if let Some(patterns) = &config.patterns {
        let bins = prepared.samples.width();
        let mut zeros = Zeros::new(bins);
        train.iter().for_each(|&row| zeros.add(prepared.samples.row(row as usize)));
        let masked = zeros.mask(patterns.static_mask);
        for network in &mut networks {
            let own = network.channel.columns(&names).into_iter().flatten();
            network.masked =
                own.zip(0..).filter(|(bin, _)| masked[*bin]).map(|(_, at)| at).collect();
        }
    }
    Ok((networks, notes))
}

/// Scored rows.
pub struct Scored {
    /// What every channel says of every row, and the rejected rows beside them; nothing is flagged
    /// yet.
    pub scores: Scores,
    /// What was found, with `[patterns]`.
    pub patterns: Option<Patterns>,
    /// The rows without those whose score is not finite, where there are any: they are rejected,
    /// and the others are what is scored.
    pub fewer: Option<Prepared>,
}

/// Scores every row by each channel and by all together. A row of which one channel says nothing
/// finite is not evaluated.
pub fn score(
    experiment: &Experiment,
    networks: &[Network],
    prepared: &Prepared,
    device: &Opened,
) -> Result<Scored> {
    let names = prepared.input_names();
    let one = |network: &Network| {
        let columns = network.channel.columns(&names);
        let said = network.score(&experiment.config.score, prepared.rows(&columns), device)?;
        // A row without any input of the channel has no score there.
        let present: Vec<bool> = match prepared.masked {
            false => vec![true; said.scores.len()],
            true => (0..said.scores.len()).map(|i| prepared.rows(&columns).has_any(i)).collect(),
        };
        Ok((said, present))
    };
    let mut said: Vec<(Said, Vec<bool>)> = side_by_side(device, networks.iter().collect(), one)?;
    let reason = |row: usize| {
        let at = said.iter().position(|(said, present)| present[row] && !said.is_finite(row))?;
        let channel = if networks.len() > 1 {
            format!(" ({})", networks[at].channel.name)
        } else {
            String::new()
        };
        Some(format!("{NOT_FINITE}{channel}"))
    };
    let reasons: Vec<Option<String>> = (0..prepared.samples.rows.len()).map(reason).collect();
    let fewer = reasons.iter().any(Option::is_some).then(|| {
        for (said, present) in &mut said {
            said.retain(&reasons);
            retain(present, 1, &reasons);
        }
        prepared.without(reasons)
    });
    let prepared = fewer.as_ref().unwrap_or(prepared);
    if prepared.samples.rows.is_empty() {
        return Err(Error::failed(format!(
            "no row has a score: {}",
            told_counts(&prepared.samples)
        )));
    }
    let of_channel = |(network, (said, present)): (&Network, (Said, Vec<bool>))| ChannelScores {
        name: network.channel.name.clone(),
        spread: known(spread(&said.members), &present),
        members: said
            .members
            .into_iter()
            .map(|scores| known(scores.into_iter().map(Some), &present))
            .collect(),
        scores: known(said.scores.into_iter().map(Some), &present),
        log_ratios: known(said.log_ratios.into_iter().map(Some), &present),
        inside: known(said.inside.into_iter().map(Some), &present),
        ..ChannelScores::default()
    };
    let mut channels: Vec<ChannelScores> = networks.iter().zip(said).map(of_channel).collect();
    let patterns = patterns(experiment, networks, prepared, device)?;
    if let Some(patterns) = &patterns {
        patterns.score(&mut channels);
    } else if networks.len() > 1 {
        let how = experiment.config.score.combine;
        let combine =
            |ratio: &dyn Fn(&Usual, &ChannelScores, usize) -> Option<f64>| -> Vec<Option<f64>> {
                let of_row = |i: usize| -> Vec<(&Usual, f64)> {
                    networks
                        .iter()
                        .zip(&channels)
                        .filter_map(|(network, channel)| {
                            Some((&network.usual, ratio(&network.usual, channel, i)?))
                        })
                        .collect()
                };
                (0..prepared.samples.rows.len())
                    .map(|i| error_baseline::combine(how, &of_row(i)))
                    .collect()
            };
        let scores = combine(&|_, channel, i| channel.log_ratios[i]);
        let member = |member: usize| {
            combine(&|usual, channel, i| {
                channel.members[member][i].map(|score| usual.log_ratio(score))
            })
        };
        let members: Vec<Vec<Option<f64>>> = (0..channels[0].members.len()).map(member).collect();
        let numbers: Vec<Vec<f64>> = members
            .iter()
            .map(|member| member.iter().map(|score| score.unwrap_or(f64::NAN)).collect())
            .collect();
        channels.push(ChannelScores {
            name: COMBINED.into(),
            scores,
            spread: spread(&numbers),
            members,
            ..ChannelScores::default()
        });
    }
    let mut scores = Scores::new(
        &prepared.samples,
        &prepared.splits,
        &prepared.labels,
        prepared.weights.as_deref(),
        channels,
    );
    prepared.classes.iter().for_each(|classes| scores.classify(classes));
    Ok(Scored { scores, patterns, fewer })
}

/// Numbers of rows, none where a row has none.
fn known(numbers: impl IntoIterator<Item = Option<f64>>, present: &[bool]) -> Vec<Option<f64>> {
    numbers.into_iter().zip(present).map(|(number, present)| number.filter(|_| *present)).collect()
}

/// Looks for patterns in the errors of every row, run by run, where the config says what they are.
pub fn patterns(
    experiment: &Experiment,
    networks: &[Network],
    prepared: &Prepared,
    device: &Opened,
) -> Result<Option<Patterns>> {
    let Some(config) = &experiment.config.patterns else { return Ok(None) };
    let layers: Vec<Layer> = networks.iter().map(Network::layer).collect();
    let settings = Settings::new(config, layers.len());
    settings.check(layers.iter().map(|layer| (layer.name.as_str(), layer.shape)))?;
    let names = prepared.input_names();
    let columns: Vec<Vec<Range<usize>>> =
        networks.iter().map(|network| network.channel.columns(&names)).collect();
    let of_run = |rows: Range<usize>| {
        find_all(&settings, &layers, networks, &columns, prepared, rows, device)
    };
    let found = side_by_side(device, prepared.samples.run_ranges(), of_run)?.concat();
    let known = |(row, found): (usize, &Found)| {
        let id = prepared.samples.id(row);
        let masked = |region: &Region| prepared.automasks.masked(id.run?, id.ls, region.layer);
        found
            .regions
            .iter()
            .map(|region| masked(region).is_some_and(|areas| region.is_known(areas)))
            .collect()
    };
    let known = found.iter().enumerate().map(known).collect();
    Ok(Some(Patterns::new(settings, layers, found, known, &prepared.samples, config.gap)))
}

/// Lays each channel's latents out in two dimensions as the config says, those of the rows that
/// figures are taken on; of an ensemble, by its first member. `scores` must be flagged.
pub fn project(
    experiment: &Experiment,
    networks: &[Network],
    prepared: &Prepared,
    scores: &Scores,
    device: &Opened,
) -> Result<Vec<Projection>> {
    let methods = &experiment.config.report.projections;
    if methods.is_empty() {
        return Ok(vec![]);
    }
    let train = prepared.of_split(Split::Train, Order::Ls);
    let names = prepared.input_names();
    let one = |network: &Network| {
        let Network { channel, architecture, .. } = network;
        let (columns, seed) = (channel.columns(&names), seed(experiment, channel, 0));
        let shown = Shown::new(experiment, &channel.name, prepared, scores, seed);
        let runner = Runner::new(architecture, network.member(1)?, device);
        let (rows, width) = (prepared.rows(&columns), architecture.latent());
        let (latents, train) =
            (runner.encode(rows.at(&shown.rows))?, runner.encode(rows.at(&train))?);
        let mut projections: Vec<Projection> = vec![];
        for &method in methods {
            if projections.iter().all(|projection| projection.method != method) {
                projections.push(shown.project(
                    experiment,
                    &channel.name,
                    method,
                    (&latents, &train, width),
                    seed,
                ));
            }
        }
        Ok(projections)
    };
    Ok(side_by_side(device, networks.iter().collect(), one)?.concat())
}

/// The standard deviation (ddof 1) of the members' scores, row by row; empty where there are not
/// several.
fn spread(members: &[Vec<f64>]) -> Vec<Option<f64>> {
    if members.len() < 2 {
        return vec![];
    }
    let n = members.len() as f64;
    let of_row = |i: usize| {
        let mean = members.iter().map(|scores| scores[i]).sum::<f64>() / n;
        (members.iter().map(|scores| (scores[i] - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
    };
    (0..members[0].len()).map(|i| Some(of_row(i)).filter(|spread| spread.is_finite())).collect()
}

/// Scores new files, or a part of their runs, with a trained model: same features, same scaler,
/// same networks. Rows have no split but test.
pub fn score_files(
    model: &TrainedModel,
    files: &[PathBuf],
    part: Option<Part>,
    device: &Opened,
    read: &(dyn Fn(&Path) + Sync),
) -> Result<(Prepared, Scores, Option<Patterns>)> {
    let prepared = prepare_files(model, files, part, read)?;
    let Scored { scores, patterns, fewer } =
        score(&model.experiment, &model.networks, &prepared, device)?;
    Ok((fewer.unwrap_or(prepared), scores, patterns))
}

/// Compares rows with the ranges of the inputs of each network; also returns where those inputs are
/// among all.
fn compare(
    networks: &[Network],
    prepared: &Prepared,
    rows: &[u32],
) -> (Vec<Vec<usize>>, ranges::Counts) {
    let names = prepared.input_names();
    let columns: Vec<Vec<usize>> = networks
        .iter()
        .map(|network| network.channel.columns(&names).into_iter().flatten().collect())
        .collect();
    // Nothing is outside where no range is known.
    let mut known = vec![(f32::NEG_INFINITY, f32::INFINITY); names.len()];
    for (network, columns) in networks.iter().zip(&columns) {
        columns.iter().zip(&network.usual.unscaled).for_each(|(&at, range)| known[at] = *range);
    }
    let compared = ranges::compare(prepared, rows, &known);
    (columns, compared)
}

/// Inputs that never changed in training and do now, where that could pass unseen: where scores are
/// blind for it, and features.
fn moved_of(
    networks: &[Network],
    prepared: &Prepared,
    columns: &[Vec<usize>],
    compared: &ranges::Counts,
) -> Vec<Moved> {
    let blind: BTreeSet<usize> = prepared.scaler.blind_inputs().into_iter().collect();
    let bins = if prepared.samples.features.is_none() { prepared.samples.width() } else { 0 };
    let mut seen = BTreeSet::new();
    let of = |blind_ones: bool| {
        let told = |(network, columns): (&Network, &Vec<usize>)| {
            let named = network.channel.features.iter().zip(columns);
            let own = named.filter(|(_, at)| {
                compared.moved[**at] > 0
                    && blind.contains(at) == blind_ones
                    && (blind_ones || **at >= bins)
            });
            own.map(|(name, at)| (*at, name.clone())).collect::<Vec<_>>()
        };
        // Channels can share inputs.
        let all = networks.iter().zip(columns).flat_map(told).filter(|(at, _)| seen.insert(*at));
        let mut inputs: Vec<(String, usize)> =
            all.map(|(at, name)| (name, compared.moved[at])).collect();
        inputs.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
        (!inputs.is_empty()).then_some(Moved { blind: blind_ones, inputs })
    };
    [true, false].into_iter().filter_map(of).collect()
}

/// The same for the test rows of a training.
pub fn moved(networks: &[Network], prepared: &Prepared) -> Vec<Moved> {
    let (columns, compared) =
        compare(networks, prepared, &prepared.of_split(Split::Test, Order::Ls));
    moved_of(networks, prepared, &columns, &compared)
}

/// How newly scored rows differ from those that a model was trained and calibrated on; rows that
/// are labelled bad are left out.
pub fn drift(model: &TrainedModel, prepared: &Prepared, scores: &Scores) -> Drift {
    /// Inputs that are named.
    const WORST: usize = 5;
    let good = scores.labels.iter().position(|name| name == "good");
    let is_bad =
        |row: usize| good.is_some_and(|label| scores.rows[row].labels[label] == Some(false));
    // Evaluated rows come in the order of the samples.
    let kept: Vec<u32> = scores
        .evaluated()
        .enumerate()
        .filter(|(_, row)| !is_bad(*row))
        .map(|(at, _)| at as u32)
        .collect();
    let (known, compared) = compare(&model.networks, prepared, &kept);
    let outside = |(network, columns): (&Network, &Vec<usize>)| {
        let shares = columns
            .iter()
            .map(|&at| compared.outside[at] as f64 / compared.present[at].max(1) as f64);
        let mut worst: Vec<(String, f64)> =
            network.channel.features.iter().cloned().zip(shares).collect();
        let share = worst.iter().map(|(_, share)| share).sum::<f64>() / worst.len().max(1) as f64;
        worst.retain(|(_, share)| *share > 0.0);
        worst.sort_by(|a, b| b.1.total_cmp(&a.1));
        worst.truncate(WORST);
        let usual = &network.usual;
        (!usual.unscaled.is_empty()).then(|| Outside {
            channel: network.channel.name.clone(),
            share,
            usual: usual.outside,
            worst,
        })
    };
    let main = scores.main();
    let sample = main.and_then(|main| {
        model.thresholds.iter().find(|threshold| threshold.channel == main.name)?.sample.as_ref()
    });
    let of_runs = |of: &ChannelScores| -> Vec<Vec<f64>> {
        let of_run = |run: &Vec<usize>| {
            run.iter().filter(|row| !is_bad(**row)).filter_map(|&row| of.scores[row]).collect()
        };
        scores.runs().iter().map(of_run).collect()
    };
    Drift {
        inputs: model.networks.iter().zip(&known).filter_map(outside).collect(),
        moved: moved_of(&model.networks, prepared, &known, &compared),
        scores: main.zip(sample).and_then(|(main, sample)| sample.held_against(&of_runs(main))),
        missing: missing(prepared).into_iter().filter(MissingCells::is_new).collect(),
    }
}

/// The columns of evaluated rows that have missing cells.
pub fn missing(prepared: &Prepared) -> Vec<MissingCells> {
    missing::count(&prepared.samples, prepared.scaler.filling.as_ref())
}

/// Reads, selects and scales new files, or a part of their runs, for a trained model.
pub fn prepare_files(
    model: &TrainedModel,
    files: &[PathBuf],
    part: Option<Part>,
    read: &(dyn Fn(&Path) + Sync),
) -> Result<Prepared> {
    let experiment = &model.experiment;
    // Nothing is trained: weights matter only where they say which rows are evaluated or how
    // figures are taken.
    let mut lenient = experiment.clone();
    if !experiment.config.select.nonzero_weight && !experiment.config.report.weighted {
        lenient.weight = None;
    }
    let further = Further {
        welcome: labels::columns(experiment),
        features: model.columns(),
        layers: model.layers(),
        part,
        ..Further::default()
    };
    let mut chosen = load(&lenient, &[(Role::Test, files)], further, read)?;
    let (mut inputs, mut divisors) = chosen.select(&lenient)?;
    let samples = &chosen.samples;
    let names = samples.feature_names();
    let (found, trained) = match (&samples.element, model.element()) {
        (Some(element), Some(trained)) if element != trained => {
            (format!("holds {element}"), trained.clone())
        }
        _ if samples
            .summarised
            .zip(model.unit())
            .is_some_and(|(found, trained)| found != trained) =>
        {
            let (says, unit) = (
                if model.unit() == Some(Unit::Bins) { "says" } else { "does not say" },
                model.unit().map_or_else(String::new, |unit| unit.to_string()),
            );
            (
                format!("{says} the axis of its histograms"),
                format!("seven numbers in {unit} (data.summary)"),
            )
        }
        _ if samples.width() != model.scaler.width => {
            (format!("{} bins", samples.width()), model.scaler.width.to_string())
        }
        _ => match model.read_names().iter().zip(&names).find(|(trained, name)| trained != name) {
            Some((trained, name)) => {
                (format!("has the feature \"{name}\""), format!("\"{trained}\""))
            }
            None => (String::new(), String::new()),
        },
    };
    if !found.is_empty() {
        let first = samples
            .sources
            .first()
            .map(|source| source.path.display().to_string())
            .unwrap_or_default();
        return Err(Error::input(format!(
            "{first}: {found}, but the model was trained on {trained}"
        )));
    }
    let mut splits = vec![Split::Test; samples.rows.len()];
    scale(&model.scaler, samples, &mut inputs);
    chosen.reject_overflow(
        &lenient,
        (&mut inputs, &mut divisors, &mut splits),
        finite::LARGEST_INPUT,
    )?;
    let beside = chosen.beside(&lenient)?;
    let Chosen { samples, labels, classes, weights, automasks, notes, .. } = chosen;
    let channels = model.networks.iter().map(|network| network.channel.clone()).collect();
    let (scaler, masked) = (model.scaler.clone(), is_masked(&model.scaler, &inputs));
    Ok(Prepared {
        samples,
        labels,
        classes,
        beside,
        splits,
        weights,
        scaler,
        divisors,
        inputs,
        masked,
        channels,
        automasks,
        notes,
    })
}

/// The split whose scores a config calibrates on.
pub fn calibration_split(on: CalibrateOn) -> Split {
    match on {
        CalibrateOn::Train => Split::Train,
        CalibrateOn::Valid => Split::Valid,
        CalibrateOn::Scored => Split::Test,
    }
}

/// What calibration rows are, in words. They are called good only where labels say so.
fn calibration_rows(what: &str, scores: &Scores, rows: &[usize]) -> String {
    let Some(set) = scores.labels.iter().position(|name| name == "good") else {
        return format!("{what} rows taken for good (no labels)");
    };
    match rows.iter().filter(|&&row| scores.rows[row].labels[set] == Some(true)).count() {
        good if good == rows.len() => format!("{what} rows labelled good"),
        good => format!("{what} rows, {good} of them labelled good"),
    }
}

/// Finds the thresholds of a config, for each channel, on the scores of one split.
pub fn calibrate(
    experiment: &Experiment,
    on: CalibrateOn,
    scores: &Scores,
    split: Split,
) -> Result<Vec<Calibrated>> {
    let of_split: Vec<usize> =
        scores.evaluated().filter(|&row| scores.rows[row].split == split).collect();
    // `lumisift calibrate` scores its files as test rows.
    let what = match on {
        CalibrateOn::Valid if split == Split::Test => "calibration",
        CalibrateOn::Valid => "validation",
        CalibrateOn::Train => "training",
        CalibrateOn::Scored => "scored",
    };
    let rows_are = calibration_rows(what, scores, &of_split);
    let files: Vec<String> = of_split
        .iter()
        .map(|&row| scores.rows[row].file.to_string())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut thresholds = vec![];
    for channel in &scores.channels {
        let runs = scores.of_split(&channel.scores, split);
        let slices: Vec<&[f64]> = runs.iter().map(Vec::as_slice).collect();
        let of_members: Vec<Vec<Vec<f64>>> =
            channel.members.iter().map(|member| scores.of_split(member, split)).collect();
        let rows = slices.iter().map(|run| run.len()).sum();
        // What is combined is made of logarithms already.
        let log = experiment.config.threshold.log && channel.name != COMBINED;
        let mut sample =
            if on == CalibrateOn::Scored { None } else { Sample::new(&runs, scores.events) };
        for threshold in &experiment.thresholds {
            let fixed = matches!(threshold, Threshold::Fixed { .. });
            let found = match on {
                CalibrateOn::Scored => vec![],
                _ if fixed => vec![],
                _ => {
                    let slices = |runs: &Vec<Vec<f64>>| {
                        threshold::value(
                            threshold,
                            log,
                            &runs.iter().map(Vec::as_slice).collect::<Vec<_>>(),
                        )
                    };
                    of_members.iter().map(slices).collect::<Result<Vec<_>>>()?
                }
            };
            let (value, rows, runs, rows_are, files) = match on {
                CalibrateOn::Scored if !fixed => (None, 0, 0, String::new(), vec![]),
                _ if fixed => {
                    (Some(threshold::value(threshold, log, &[])?), 0, 0, String::new(), vec![])
                }
                _ => (
                    Some(threshold::value(threshold, log, &slices)?),
                    rows,
                    slices.len(),
                    rows_are.clone(),
                    files.clone(),
                ),
            };
            let (channel, sample) = (channel.name.clone(), sample.take());
            thresholds.push(Calibrated {
                channel,
                threshold: *threshold,
                log,
                on,
                value,
                members: found,
                rows,
                runs,
                rows_are,
                files,
                sample,
            });
        }
    }
    Ok(thresholds)
}

/// Refuses what the rows cannot give, before anything is trained: batches, thresholds.
pub fn check_rows(experiment: &Experiment, prepared: &Prepared) -> Result<()> {
    let (train, rows) =
        (&experiment.config.train, prepared.of_split(Split::Train, Order::Ls).len());
    if train.epochs > 0 {
        train.check_batches(rows)?;
    }
    if let Some(patterns) = &experiment.config.patterns {
        let layers = prepared.channels.iter().map(|channel| (channel.name.as_str(), channel.map()));
        Settings::new(patterns, prepared.channels.len()).check(layers)?;
    }
    if experiment.config.model.kind == ModelKind::Nmf
        && let Some(row) = prepared
            .of_split(Split::Train, Order::Ls)
            .into_iter()
            .find(|row| prepared.input(*row).iter().any(|value| *value < 0.0))
    {
        let place = prepared.samples.place(row as usize);
        return Err(Error::input(format!(
            "scale.kind: {place} has negative inputs once it is scaled, of which model.kind = \"nmf\" can make no sum; expected steps that keep them positive, such as [\"mean-one\", \"bin-mean\"]"
        )));
    }
    let on = experiment.config.threshold.on;
    if prepared.channels.len() > 1
        && experiment.config.patterns.is_none()
        && matches!(experiment.thresholds[0], Threshold::Fixed { .. })
    {
        let channels = prepared.channels.len();
        return Err(Error::input(format!(
            "threshold.kind = \"fixed\" is one number, but the scores of {channels} channels differ in size; take \"percentile\" or \"mean-std\""
        )));
    }
    let wanted =
        |row: usize| on == CalibrateOn::Scored || prepared.splits[row] == calibration_split(on);
    let lengths = prepared
        .samples
        .run_ranges()
        .into_iter()
        .map(|range| range.filter(|&row| wanted(row)).count());
    let zeros: Vec<Vec<f64>> =
        lengths.filter(|&length| length > 0).map(|length| vec![0.0; length]).collect();
    for threshold in experiment
        .thresholds
        .iter()
        .filter(|threshold| !matches!(threshold, Threshold::Fixed { .. }))
    {
        if on == CalibrateOn::Scored {
            zeros
                .iter()
                .try_for_each(|run| threshold::value(threshold, false, &[run]).map(|_| ()))?;
        } else {
            threshold::value(
                threshold,
                false,
                &zeros.iter().map(Vec::as_slice).collect::<Vec<_>>(),
            )?;
        }
    }
    Ok(())
}

/// What a config and its data make doubtful, in plain words.
pub fn warnings(experiment: &Experiment, prepared: &Prepared) -> Warnings {
    let config = &experiment.config;
    let width = prepared.scaler.inputs();
    let count = |wanted: Split| prepared.splits.iter().filter(|split| **split == wanted).count();
    let mut warnings = Warnings::default();
    let mut warn = |warning: String| warnings.add(Severity::Misleading, warning);

    for channel in prepared
        .channels
        .iter()
        .filter(|channel| config.model.latent as usize >= channel.features.len())
    {
        let of = if channel.name == ALL_FEATURES {
            String::new()
        } else {
            format!(" of channel {}", channel.name)
        };
        warn(format!(
            "the latent layer ({}) is not narrower than the input{of} ({}): an overcomplete autoencoder can copy its input, anomalies included",
            config.model.latent,
            channel.features.len()
        ));
    }
    let (low, high) = config.model.output_activation.range();
    let outside = |wanted: Split| {
        let (mut out, mut all) = (0_usize, 0_usize);
        for (_, row) in prepared
            .splits
            .iter()
            .zip(prepared.inputs.chunks_exact(width))
            .filter(|(split, _)| **split == wanted)
        {
            all += row.len();
            out += row.iter().filter(|value| **value < low || **value > high).count();
        }
        (out > 0).then(|| format!("{:.2} %", 100.0 * out as f64 / all as f64))
    };
    for (what, split) in [("training", Split::Train), ("test", Split::Test)] {
        if let Some(share) = outside(split) {
            warn(format!(
                "{share} of the scaled {what} values lie outside what a {} output can reach ({low} to {high})",
                config.model.output_activation
            ));
        }
    }
    if config.split.by == SplitBy::Random
        && !prepared.samples.events
        && (config.split.valid > 0.0 || config.split.test > 0.0)
    {
        warn("rows are split one by one: neighbouring LSs are nearly equal and end up on both sides, so held-out figures are too good; split by run or block".into());
    }
    let runs_of = |wanted: &dyn Fn(usize) -> bool| -> BTreeSet<u32> {
        let samples = &prepared.samples;
        (0..samples.rows.len())
            .filter(|&i| samples.id(i).run.is_some() && wanted(i))
            .map(|i| samples.rows[i].run)
            .collect()
    };
    let trained = runs_of(&|i| prepared.splits[i] == Split::Train);
    let tested = runs_of(&|i| prepared.samples.source(i).role == Role::Test);
    if let Some(run) = trained.intersection(&tested).next() {
        let name = &prepared.samples.runs[*run as usize].name;
        warn(format!(
            "run {name} is in data.train and in data.test: its test rows are neighbours of training rows"
        ));
    }
    if config.train.validate_on == ValidateOn::Train {
        warn(
            "the validation loss is taken on the training rows: it says nothing about new data"
                .into(),
        );
    }
    if config.threshold.on == CalibrateOn::Scored
        && !matches!(experiment.thresholds[0], Threshold::Fixed { .. })
    {
        let test_labels =
            prepared.labels.iter().find(|set| set.name == "good").is_some_and(|set| {
                set.good
                    .iter()
                    .zip(&prepared.splits)
                    .any(|(good, split)| *good == Some(true) && *split == Split::Test)
            });
        let unknown =
            if test_labels { "" } else { ", and without labels the false-alarm rate is not known" };
        warn(format!(
            "each scored run has a threshold found on itself: some of its rows are flagged, however good they are{unknown}; threshold.on = \"valid\" finds it on other rows"
        ));
    }
    if config.scale.fit_on == FitOn::EachFile {
        warn(
            "each file is scaled by its own range: scores of different files are not comparable"
                .into(),
        );
    }
    if config.scale.fit_on == FitOn::All && config.scale.kind != OneOrMany::One(ScaleKind::None) {
        warn("the scaling is fitted on all rows, test rows included".into());
    }
    if config.scale.fit_on == FitOn::Read {
        warn("the scaling is fitted on all rows that were read, test rows and rows that are not evaluated included".into());
    }
    if config.report.on == ReportOn::All {
        warn("figures are taken on all rows, those trained on included (report.on = \"all\"): they flatter".into());
    }
    if prepared.labels.first().is_none_or(|set| set.name != "good") {
        warn("no labels (labels.good): every row of data.train is taken for good".into());
    } else if config.labels.train_on == TrainOn::All {
        warn("bad and unlabelled rows are trained on (labels.train_on = \"all\")".into());
    }
    let constant = prepared.scaler.constant_inputs();
    if !constant.is_empty() {
        let names = prepared.input_names();
        let what = if prepared.samples.features.is_some() { "features" } else { "bins" };
        let verb = if constant.len() == 1 { "is" } else { "are" };
        let outcome = match prepared.scaler.constant {
            Constant::Floor => "a change there counts, beside a floor (scale.constant = \"floor\")",
            Constant::Zero if prepared.scaler.blind_inputs().is_empty() => {
                "they stay as they are (scale.constant = \"zero\")"
            }
            Constant::Zero => {
                "scores do not see a change there; scale.constant = \"floor\" lets it count"
            }
        };
        let told = first_few(constant.iter().map(|&at| names[at].as_str()));
        warn(format!(
            "{} of {width} {what} {verb} constant in the training rows ({told}): {outcome}",
            constant.len()
        ));
    }
    for (input, row, value) in outliers(prepared) {
        let (name, place) = (&prepared.input_names()[input], prepared.samples.place(row));
        warn(format!(
            "{name} is {value:e} in the training row {place}, a million times as large as in all others, and decides how it is scaled: leave the row out (select), or take scale.kind = \"robust\""
        ));
    }
    if let Some(step) = prepared.scaler.forgets() {
        let area =
            |i: usize| prepared.samples.row(i).iter().filter(|value| !value.is_nan()).sum::<f32>();
        let zero = (0..prepared.samples.rows.len()).filter(|&i| area(i) <= 0.0).count();
        if zero > 0 {
            warn(format!("{zero} rows have no area: \"{step}\" makes them 0"));
        }
    }
    if let Some(names) = &prepared.samples.features {
        let cells = Cells::of_columns(&prepared.samples.values, prepared.samples.width());
        cells::suspicion(names.iter().map(String::as_str).zip(&cells))
            .into_iter()
            .for_each(&mut warn);
    }
    let flags = flag_like(&prepared.samples);
    if !flags.is_empty() {
        warn(format!(
            "{} only ever 0 or 1: if {} a label, data.columns.ignore leaves it out of the inputs",
            flags.join(", ") + if flags.len() == 1 { " is" } else { " are" },
            if flags.len() == 1 { "it is" } else { "one of them is" }
        ));
    }
    if config.split.valid > 0.0 && count(Split::Valid) == 0 {
        warn("no validation rows are left after selection".into());
    }
    warnings.extend(Severity::Note, prepared.notes.iter().cloned());
    warnings
}

/// Bins or features of which one training row holds far more than all others: the first few, with
/// that row and what it holds.
fn outliers(prepared: &Prepared) -> Vec<(usize, usize, f32)> {
    const TIMES: f32 = 1e6;
    const MOST: usize = 3;
    // The largest of each and its row, and the next.
    let mut largest = vec![(0.0_f32, 0_usize, 0.0_f32); prepared.samples.width()];
    for row in (0..prepared.samples.rows.len()).filter(|&row| prepared.splits[row] == Split::Train)
    {
        for (most, value) in largest.iter_mut().zip(prepared.samples.row(row)) {
            if value.abs() > most.0 {
                *most = (value.abs(), row, most.0);
            } else if value.abs() > most.2 {
                most.2 = value.abs();
            }
        }
    }
    let is_far = |(most, _, next): &(f32, usize, f32)| *most > TIMES && *most / TIMES > *next;
    let far = largest
        .into_iter()
        .enumerate()
        .filter(|(_, of)| is_far(of))
        .map(|(input, (_, row, _))| (input, row, prepared.samples.row(row)[input]));
    far.take(MOST).collect()
}

/// The first few features that only ever are 0 or 1, both of which occur.
fn flag_like(samples: &Samples) -> Vec<String> {
    const MOST: usize = 5;
    let Some(names) = &samples.features else { return vec![] };
    let mut seen = vec![(false, false); names.len()];
    let mut other = vec![false; names.len()];
    for row in samples.values.chunks_exact(samples.width().max(1)) {
        for ((seen, other), value) in seen.iter_mut().zip(&mut other).zip(row) {
            seen.0 |= *value == 0.0;
            seen.1 |= *value == 1.0;
            *other |= *value != 0.0 && *value != 1.0 && !value.is_nan();
        }
    }
    let flag = |at: &usize| seen[*at] == (true, true) && !other[*at];
    (0..names.len()).filter(flag).take(MOST).map(|at| names[at].clone()).collect()
}
