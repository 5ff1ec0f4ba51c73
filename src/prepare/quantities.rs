//! Evaluates conditions and quantities for each row. Names refer to the identity of the row, to
//! quantities of its lumisection in OMS and other files, or to columns of the data.

use crate::{
    config::{Experiment, Expression, Value},
    data::{
        Samples,
        layers::Layer,
        lumi::{LumiInfo, Origin},
        table::Column,
    },
    error::{Error, Result, listed, suggestion},
};
use std::collections::BTreeSet;

/// Names that every row has.
const OWN: &[&str] = &["run", "ls", "entries"];
/// Prefix of the names of the entries of one layer, and the name for the layer with the fewest.
const OF_LAYER: &str = "entries_";
const FEWEST: &str = "entries_min";

/// All names in the expressions of an experiment.
pub fn names(experiment: &Experiment) -> BTreeSet<String> {
    let weight = experiment.weights.quantity();
    let expressions = experiment
        .data
        .add_inputs
        .iter()
        .chain(experiment.report.beside.iter())
        .chain(&weight)
        .chain(experiment.select.conditions.iter())
        .chain(experiment.scale.divide_by.as_ref());
    expressions.flat_map(|expression| expression.names().iter().cloned()).collect()
}

/// The names that must be columns of the data because no other source has them. With several
/// layers, each has its own entries.
pub fn columns(names: &BTreeSet<String>, facts: &LumiInfo, layered: bool) -> Vec<String> {
    let is_own = |name: &str| OWN.contains(&name) || layered && name.starts_with(OF_LAYER);
    names.iter().filter(|name| !is_own(name) && !facts.has(name)).cloned().collect()
}

/// The layers whose entries a name means: one, or all for the minimum over layers; `None` if it is
/// another name.
fn layers_of<'s>(
    name: &str,
    samples: &'s Samples,
    facts: &LumiInfo,
) -> Result<Option<&'s [Layer]>> {
    let layers = &samples.layers;
    let Some(layer) =
        name.strip_prefix(OF_LAYER).filter(|_| !layers.is_empty() && !facts.has(name))
    else {
        return Ok(None);
    };
    if let Some(at) = layers.iter().position(|known| known.name == layer) {
        return Ok(Some(&layers[at..=at]));
    }
    if name == FEWEST {
        return Ok(Some(layers));
    }
    let known: Vec<String> = std::iter::once(FEWEST.to_owned())
        .chain(layers.iter().map(|layer| format!("{OF_LAYER}{}", layer.name)))
        .collect();
    let names = || known.iter().map(String::as_str);
    Err(Error::input(format!(
        "no quantity \"{name}\"{}; those of layers are {}",
        suggestion(name, names()),
        listed(names())
    )))
}

fn sum(values: &[f32]) -> f64 {
    values.iter().filter(|value| !value.is_nan()).map(|value| f64::from(*value)).sum()
}

/// A value of each row, or the reason why it is unknown.
pub struct Quantity {
    /// One value per row.
    pub values: Vec<Value>,
    /// The reason for each unknown value, such as "unknown in OMS".
    pub reasons: Vec<Option<String>>,
}

impl Quantity {
    /// Evaluates an expression for every row; `key` names it in errors.
    pub fn new(
        key: &str,
        expression: &Expression,
        samples: &Samples,
        facts: &LumiInfo,
    ) -> Result<Self> {
        let names = expression.names();
        let layers = names
            .iter()
            .map(|name| layers_of(name, samples, facts))
            .collect::<Result<Vec<_>>>()
            .map_err(|error| error.map(|message| format!("{key}: {message}")))?;
        let entries = |name: &str, row: usize| -> Option<f64> {
            let layers = layers[names.iter().position(|known| known == name)?]?;
            layers
                .iter()
                .map(|layer| sum(&samples.row(row)[layer.columns.clone()]))
                .min_by(f64::total_cmp)
        };
        let value = |name: &str, row: usize| -> (Value, Option<Origin>) {
            if let Some((value, origin)) = facts.get(name, samples.id(row)) {
                return (value, Some(origin));
            }
            if let Some(entries) = entries(name, row) {
                return (Value::Number(entries), None);
            }
            let value = match (samples.columns.get(name), name) {
                (Some(Column::Numbers(numbers)), _) if numbers[row].is_nan() => Value::Unknown,
                (Some(Column::Numbers(numbers)), _) => Value::Number(numbers[row]),
                (Some(Column::Texts(texts)), _) if texts[row].is_empty() => Value::Unknown,
                (Some(Column::Texts(texts)), _) => Value::Text(texts[row].as_str().into()),
                (None, "run") => {
                    samples.id(row).run.map_or(Value::Unknown, |run| Value::Number(f64::from(run)))
                }
                (None, "ls") => Value::Number(f64::from(samples.rows[row].ls)),
                (None, "entries") => Value::Number(sum(samples.row(row))),
                _ => Value::Unknown,
            };
            (value, None)
        };
        let (mut values, mut reasons) = (vec![], vec![]);
        for row in 0..samples.rows.len() {
            let result = expression.evaluate(&|i| value(&names[i], row).0).map_err(|reason| {
                Error::input(format!("{key}: \"{expression}\" at {}: {reason}", samples.place(row)))
            })?;
            reasons.push((result == Value::Unknown).then(|| {
                let unknown = names.iter().find_map(|name| match value(name, row) {
                    (Value::Unknown, origin) => Some((name, origin)),
                    _ => None,
                });
                match unknown {
                    Some((_, Some(origin))) => format!("unknown in {origin}"),
                    Some((name, None)) => format!("unknown {name}"),
                    None => format!("{expression} has no value"),
                }
            }));
            values.push(result);
        }
        Ok(Self { values, reasons })
    }

    /// The values as numbers; NaN if unknown. A text is an error.
    pub fn numbers(&self, key: &str, samples: &Samples) -> Result<Vec<f64>> {
        let number = |(row, value): (usize, &Value)| match value {
            Value::Number(number) => Ok(*number),
            Value::Unknown => Ok(f64::NAN),
            Value::Text(text) => Err(Error::input(format!(
                "{key}: \"{text}\" at {}; expected a number",
                samples.place(row)
            ))),
        };
        self.values.iter().enumerate().map(number).collect()
    }
}
