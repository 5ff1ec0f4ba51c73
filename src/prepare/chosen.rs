//! Selected rows with their labels, weights and other quantities, and their inputs before scaling.

use crate::{
    config::{Experiment, Expression, data::Fill, report::Report},
    data::{
        self, LoadOptions, Role, Samples,
        channels::Channel,
        lumi::{LUMINOSITIES, LumiInfo, START_TIME, automasks::Automasks},
    },
    error::{ColumnProblem, Error, Result, listed, suggestion},
    prepare::{
        Prepared,
        classes::Classes,
        divide, finite,
        labels::{self, LabelSet},
        masked,
        quantities::{self, Quantity},
        reject, retain,
        scale::Scaler,
        select,
        split::Split,
    },
};
use std::path::{Path, PathBuf};

/// The config key of the divisor of rows.
const DIVIDE_BY: &str = "scale.divide_by";

/// Rows with their labels, weights and other quantities.
pub(crate) struct Chosen {
    pub(crate) samples: Samples,
    pub(crate) labels: Vec<LabelSet>,
    pub(crate) classes: Option<Classes>,
    pub(crate) weights: Option<Vec<f32>>,
    pub(crate) facts: LumiInfo,
    pub(crate) automasks: Automasks,
    pub(crate) notes: Vec<String>,
}

/// Reads files and the quantities of their rows.
pub(crate) fn load(
    experiment: &Experiment,
    files: &[(Role, &[PathBuf])],
    mut further: LoadOptions,
    read: &(dyn Fn(&Path) + Sync),
) -> Result<Chosen> {
    let names = quantities::names(experiment);
    let layered = !experiment.data.layers.is_empty();
    let facts = LumiInfo::read(
        &experiment.data,
        &names
            .iter()
            .cloned()
            .chain(LUMINOSITIES.iter().chain([&START_TIME]).map(|name| (*name).to_owned()))
            .collect(),
    )?;
    let columns = quantities::columns(&names, &facts, layered);
    further.required.extend(columns.iter().cloned());
    // Each layer has its own column of entries.
    further.welcome.extend(names.get("entries").filter(|_| !layered).cloned());
    let trained = files.iter().all(|(role, _)| *role == Role::Test);
    let load = data::load(&experiment.data, &experiment.channels, files, further, read);
    let samples = load.map_err(|error| with_lumi_names(error, &columns, &facts))?;
    let (labels, label_notes) = labels::read(&samples, &experiment.labels, trained)?;
    let classes = experiment
        .labels
        .classes
        .as_ref()
        .map(|config| Classes::read(&samples, config))
        .transpose()?
        .flatten();
    let weights = match &experiment.weights.quantity() {
        Some(expression) => Some(
            Quantity::new("weights", expression, &samples, &facts)?.numbers("weights", &samples)?,
        ),
        None => None,
    };
    let weights = weights
        .map(|weights| weights.into_iter().map(|weight| weight as f32).collect::<Vec<f32>>());
    let (automasks, mask_notes) = masked::read(experiment.patterns.as_ref(), &samples, &facts)?;
    let notes = samples.notes.iter().cloned().chain(label_notes).chain(mask_notes).collect();
    Ok(Chosen { samples, labels, classes, weights, facts, automasks, notes })
}

/// Scaled inputs of rows and their scaler.
pub(crate) struct ScaledInputs {
    pub(crate) scaler: Scaler,
    /// `[rows, inputs]`
    pub(crate) inputs: Vec<f32>,
    /// The divisor of the bins of each row, if configured.
    pub(crate) divisors: Option<Vec<f64>>,
    pub(crate) splits: Vec<Split>,
}

/// Whether some scaled inputs are missing and excluded.
fn is_masked(scaler: &Scaler, inputs: &[f32]) -> bool {
    scaler.filling.as_ref().is_some_and(|filling| filling.fill == Fill::Mask)
        && inputs.iter().any(|value| value.is_nan())
}

impl Chosen {
    /// The rows with their scaled inputs, ready for the models of `channels`.
    pub(crate) fn into_prepared(
        self,
        report: &Report,
        scaled: ScaledInputs,
        channels: Vec<Channel>,
    ) -> Result<Prepared> {
        let beside = self.beside(report)?;
        let Self { samples, labels, classes, weights, automasks, notes, .. } = self;
        let ScaledInputs { scaler, inputs, divisors, splits } = scaled;
        let masked = is_masked(&scaler, &inputs);
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

    /// Rows with values only.
    pub(crate) fn of_samples(samples: Samples) -> Self {
        Self {
            samples,
            labels: vec![],
            classes: None,
            weights: None,
            facts: LumiInfo::default(),
            automasks: Automasks::default(),
            notes: vec![],
        }
    }
}

/// Describes why rows are not evaluated, with counts.
pub(crate) fn told_counts(samples: &Samples) -> String {
    select::counts(samples)
        .into_iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl Chosen {
    /// Selects rows; returns their unscaled inputs and the divisors of their bins.
    pub(crate) fn select(
        &mut self,
        experiment: &Experiment,
    ) -> Result<(Vec<f32>, Option<Vec<f64>>)> {
        let rows = self.samples.rows.len();
        let (reasons, notes) = select::reasons(
            &self.samples,
            (&experiment.select, experiment.data.min_present, experiment.seed),
            &self.facts,
            self.weights.as_deref(),
        )?;
        self.notes.extend(notes);
        self.reject(reasons);
        let given = self.give(experiment)?;
        self.refuse_none(rows)?;
        let mut inputs = join_inputs(experiment, &self.samples, &given);
        let mut divisors =
            experiment.scale.divide_by.as_ref().and_then(|_| given.into_iter().next_back());
        self.reject_overflow(
            experiment,
            (&mut inputs, &mut divisors, &mut vec![]),
            finite::LARGEST_CONTENT,
        )?;
        Ok((inputs, divisors))
    }

    /// Fails if no rows are left.
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

    /// Rejects rows with inputs that are not finite or too large to compute with, and removes their
    /// entries from the other columns.
    pub(crate) fn reject_overflow(
        &mut self,
        experiment: &Experiment,
        (inputs, divisors, splits): (&mut Vec<f32>, &mut Option<Vec<f64>>, &mut Vec<Split>),
        largest: f32,
    ) -> Result<()> {
        let names: Vec<String> = self
            .samples
            .feature_names()
            .into_iter()
            .chain(experiment.data.add_inputs.iter().map(Expression::to_string))
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

    /// Quantities plotted with the scores: known luminosities, weights, and configured quantities.
    pub(crate) fn beside(&self, report: &Report) -> Result<Vec<(String, Vec<f32>)>> {
        let known = LUMINOSITIES
            .into_iter()
            .filter(|name| self.facts.has(name))
            .filter_map(|name| Expression::parse(name).ok());
        let mut beside: Vec<(String, Vec<f32>)> = vec![];
        for expression in known.chain(report.beside.iter().cloned()) {
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

    /// The quantities of rows for `data.add_inputs`, then `scale.divide_by`. Rows with an unknown
    /// quantity or a divisor of 0 are rejected.
    fn give(&mut self, experiment: &Experiment) -> Result<Vec<Vec<f64>>> {
        let added =
            experiment.data.add_inputs.iter().map(|expression| ("data.add_inputs", expression));
        let divide_by = experiment.scale.divide_by.iter().map(|expression| (DIVIDE_BY, expression));
        let mut given = vec![];
        if experiment.data.add_inputs.is_empty() && experiment.scale.divide_by.is_none() {
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

/// A name that is not a column may be a misspelt quantity of OMS or HLT.
fn with_lumi_names(error: Error, columns: &[String], info: &LumiInfo) -> Error {
    let Error::Column { name, problem, .. } = error.innermost() else { return error };
    if !columns.contains(name) {
        return error;
    }
    let names = || info.names.iter().map(String::as_str);
    let near = suggestion(name, names());
    let hint = match problem {
        _ if !near.is_empty() => {
            format!("among the quantities of OMS, HLT and brilcalc files{near}")
        }
        ColumnProblem::NoColumn if info.names.is_empty() => {
            "quantities of OMS need data.oms, rates of triggers data.hlt".into()
        }
        ColumnProblem::NoColumn => {
            format!("the quantities of OMS, HLT and brilcalc files are {}", listed(names()))
        }
        ColumnProblem::NoKey | ColumnProblem::Unreadable => return error,
    };
    error.map(|message| format!("{message}; {hint}"))
}

/// Unscaled inputs, `[rows, width + added]`.
fn join_inputs(experiment: &Experiment, samples: &Samples, given: &[Vec<f64>]) -> Vec<f32> {
    if given.is_empty() {
        return samples.values.clone();
    }
    let added = &given[..experiment.data.add_inputs.len()];
    let divisor = experiment.scale.divide_by.as_ref().and(given.last());
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
