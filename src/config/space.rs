//! The checked `[sweep.space]` and its points.

use super::document::join;
use rand::{Rng, RngExt};
use std::collections::BTreeMap;
use toml::{Table, Value};

/// The parameters of a search, ordered such that conditions come after their parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Space {
    /// The parameters.
    pub parameters: Vec<Parameter>,
}

/// A parameter of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The key of the config, or any name for keys that vary together.
    pub name: String,
    /// Its values.
    pub domain: Domain,
    /// Conditions: it varies only if these parameters have one of these values.
    pub when: Vec<(String, Vec<Value>)>,
}

/// The values of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// One of a list.
    Choice(Vec<Value>),
    /// One of a list of tables, each of which sets several keys.
    Together(Vec<Table>),
    /// An integer from `low` to `high`, both inclusive.
    Int {
        /// The lowest.
        low: i64,
        /// The highest.
        high: i64,
        /// Whether ratios rather than differences are drawn evenly.
        log: bool,
        /// How many values a grid takes; all where not given.
        steps: Option<usize>,
    },
    /// A number from `low` to `high`.
    Real {
        /// The lowest.
        low: f64,
        /// The highest.
        high: f64,
        /// Whether ratios rather than differences are drawn evenly.
        log: bool,
        /// How many values a grid takes.
        steps: Option<usize>,
    },
}

/// Values by names of parameters; parameters that do not apply are absent.
pub type Point = BTreeMap<String, Value>;

/// Maximum number of points of a grid.
pub(super) const MOST: usize = 1_000_000;

/// Rounds a drawn number to four digits, which are enough and readable.
pub(crate) fn rounded(number: f64, low: f64, high: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number).clamp(low, high)
}

impl Domain {
    /// Draws a random value.
    pub fn draw(&self, generator: &mut impl Rng) -> Value {
        match self {
            Self::Choice(values) => values[generator.random_range(0..values.len())].clone(),
            Self::Together(tables) => {
                Value::Table(tables[generator.random_range(0..tables.len())].clone())
            }
            Self::Int { low, high, log: false, .. } => {
                Value::Integer(generator.random_range(*low..=*high))
            }
            Self::Int { low, high, log: true, .. } => {
                // Each integer covers half a unit on both sides.
                let (from, to) = ((*low as f64 - 0.5).ln(), (*high as f64 + 0.5).ln());
                Value::Integer(
                    (generator.random_range(from..to).exp().round() as i64).clamp(*low, *high),
                )
            }
            Self::Real { low, high, log: false, .. } => {
                Value::Float(rounded(generator.random_range(*low..=*high), *low, *high))
            }
            Self::Real { low, high, log: true, .. } => Value::Float(rounded(
                generator.random_range(low.ln()..=high.ln()).exp(),
                *low,
                *high,
            )),
        }
    }

    /// The index of a value in the list of a choice; `None` if it is absent or the domain is
    /// numeric.
    pub fn index(&self, value: &Value) -> Option<usize> {
        match self {
            Self::Choice(values) => values.iter().position(|other| other == value),
            Self::Together(tables) => {
                tables.iter().position(|other| Some(other) == value.as_table())
            }
            Self::Int { .. } | Self::Real { .. } => None,
        }
    }

    /// The values in a grid.
    fn steps(&self) -> Vec<Value> {
        let between = |low: f64, high: f64, log: bool, steps: usize| -> Vec<f64> {
            let at = |i: usize| if steps == 1 { 0.0 } else { i as f64 / (steps - 1) as f64 };
            let number = |share: f64| {
                if log {
                    (low.ln() + share * (high.ln() - low.ln())).exp()
                } else {
                    low + share * (high - low)
                }
            };
            (0..steps).map(|i| rounded(number(at(i)), low, high)).collect()
        };
        match self {
            Self::Choice(values) => values.clone(),
            Self::Together(tables) => tables.iter().cloned().map(Value::Table).collect(),
            Self::Int { low, high, steps: None, .. } => {
                (*low..=*high).map(Value::Integer).collect()
            }
            Self::Int { low, high, log, steps: Some(steps) } => {
                let mut numbers: Vec<i64> = between(*low as f64, *high as f64, *log, *steps)
                    .into_iter()
                    .map(|number| number.round() as i64)
                    .collect();
                numbers.dedup();
                numbers.into_iter().map(Value::Integer).collect()
            }
            Self::Real { low, high, log, steps } => between(*low, *high, *log, steps.unwrap_or(1))
                .into_iter()
                .map(Value::Float)
                .collect(),
        }
    }

    /// The values to check, such that all values are valid if these are.
    fn extremes(&self) -> Vec<Value> {
        match self {
            Self::Choice(_) | Self::Together(_) => self.steps(),
            Self::Int { low, high, .. } => vec![Value::Integer(*low), Value::Integer(*high)],
            Self::Real { low, high, .. } => vec![Value::Float(*low), Value::Float(*high)],
        }
    }
}

/// `{ model = { latent = 3 } }` as `model.latent = 3`.
pub(super) fn leaves(prefix: &str, table: &Table, found: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        match value {
            Value::Table(inner) => leaves(&join(prefix, name), inner, found),
            value => found.push((join(prefix, name), value.clone())),
        }
    }
}

impl Space {
    /// Whether a parameter varies at a point with values for all parameters before it.
    fn applies(parameter: &Parameter, point: &Point) -> bool {
        parameter
            .when
            .iter()
            .all(|(name, values)| point.get(name).is_some_and(|value| values.contains(value)))
    }

    /// Builds a point from the parameters that apply, with values from `choose`.
    pub fn point(&self, mut choose: impl FnMut(&Parameter) -> Value) -> Point {
        let mut point = Point::new();
        for parameter in &self.parameters {
            if Self::applies(parameter, &point) {
                point.insert(parameter.name.clone(), choose(parameter));
            }
        }
        point
    }

    /// All points of the grid; `None` if there are more than a million.
    pub fn grid(&self) -> Option<Vec<Point>> {
        let mut points = vec![Point::new()];
        for parameter in &self.parameters {
            let values = parameter.domain.steps();
            let mut longer = vec![];
            for point in points {
                if !Self::applies(parameter, &point) {
                    longer.push(point);
                    continue;
                }
                if longer.len() + values.len() > MOST {
                    return None;
                }
                longer.extend(values.iter().map(|value| {
                    let mut point = point.clone();
                    point.insert(parameter.name.clone(), value.clone());
                    point
                }));
            }
            points = longer;
        }
        Some(points)
    }

    /// The keys of the config that a point sets, with their values.
    pub fn keys(&self, point: &Point) -> Vec<(String, Value)> {
        let mut keys = vec![];
        for (name, value) in point {
            let together = self.parameters.iter().any(|parameter| {
                parameter.name == *name && matches!(parameter.domain, Domain::Together(_))
            });
            match value {
                Value::Table(table) if together => leaves("", table, &mut keys),
                value => keys.push((name.clone(), value.clone())),
            }
        }
        keys
    }

    /// Points that together contain every value of a choice and both ends of every range.
    pub fn probes(&self) -> Vec<Point> {
        let first = self.point(|parameter| parameter.domain.extremes()[0].clone());
        let mut probes = vec![first];
        for parameter in &self.parameters {
            for value in parameter.domain.extremes().into_iter().skip(1) {
                // Parameters that it depends on get the required values.
                let wanted: BTreeMap<&str, &Value> = parameter
                    .when
                    .iter()
                    .map(|(name, values)| (name.as_str(), &values[0]))
                    .collect();
                probes.push(self.point(|other| match wanted.get(other.name.as_str()) {
                    _ if other.name == parameter.name => value.clone(),
                    Some(wanted) => (*wanted).clone(),
                    None => other.domain.extremes()[0].clone(),
                }));
            }
        }
        probes
    }
}
