//! What a search varies: the checked `[sweep.space]`, and its points.

use super::{
    document::join,
    raw::{Strategy, Sweep},
};
use crate::error::suggestion;
use rand::{Rng, RngExt};
use std::collections::BTreeMap;
use toml::{Table, Value};

/// What is varied, in an order in which conditions come after what they ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Space {
    /// The parameters.
    pub parameters: Vec<Parameter>,
}

/// One thing that is varied.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The key of the config, or for keys that are tied together any name.
    pub name: String,
    /// Its values.
    pub domain: Domain,
    /// It is varied only where these parameters have one of these values.
    pub when: Vec<(String, Vec<Value>)>,
}

/// The values of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Domain {
    /// One of a list.
    Choice(Vec<Value>),
    /// One of a list of tables, each of which sets several keys.
    Together(Vec<Table>),
    /// A whole number from `low` to `high`, both of which occur.
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

/// Values by the names of parameters; those that do not apply have none.
pub type Point = BTreeMap<String, Value>;

/// Points of a grid at most.
const MOST: usize = 1_000_000;

/// Words of a domain, one of which every parameter has.
const DOMAINS: [&str; 6] = ["choice", "together", "int", "log_int", "uniform", "log_uniform"];

/// Four digits are enough for a number that was drawn, and people read them.
pub(crate) fn rounded(number: f64, low: f64, high: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number).clamp(low, high)
}

impl Domain {
    /// A value drawn at random.
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
                // Every whole number owns the half unit on either side of it.
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

    /// The place of a value in the list of a choice; nothing where it is none, or numbers are
    /// chosen.
    pub fn index(&self, value: &Value) -> Option<usize> {
        match self {
            Self::Choice(values) => values.iter().position(|other| other == value),
            Self::Together(tables) => {
                tables.iter().position(|other| Some(other) == value.as_table())
            }
            Self::Int { .. } | Self::Real { .. } => None,
        }
    }

    /// The values that a grid takes.
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

    /// The values that must all be good for a config that takes any of them.
    fn extremes(&self) -> Vec<Value> {
        match self {
            Self::Choice(_) | Self::Together(_) => self.steps(),
            Self::Int { low, high, .. } => vec![Value::Integer(*low), Value::Integer(*high)],
            Self::Real { low, high, .. } => vec![Value::Float(*low), Value::Float(*high)],
        }
    }
}

/// `{ model = { latent = 3 } }` as `model.latent = 3`.
fn leaves(prefix: &str, table: &Table, found: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        match value {
            Value::Table(inner) => leaves(&join(prefix, name), inner, found),
            value => found.push((join(prefix, name), value.clone())),
        }
    }
}

impl Space {
    /// Whether a parameter is varied at a point that has values for all parameters before it.
    fn applies(parameter: &Parameter, point: &Point) -> bool {
        parameter
            .when
            .iter()
            .all(|(name, values)| point.get(name).is_some_and(|value| values.contains(value)))
    }

    /// Goes through the parameters that apply, each with the value that `choose` gives it.
    pub fn point(&self, mut choose: impl FnMut(&Parameter) -> Value) -> Point {
        let mut point = Point::new();
        for parameter in &self.parameters {
            if Self::applies(parameter, &point) {
                point.insert(parameter.name.clone(), choose(parameter));
            }
        }
        point
    }

    /// All points of the grid; nothing where there are more than a million.
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

    /// Points between which every value of a choice and both ends of every range occur.
    pub fn probes(&self) -> Vec<Point> {
        let first = self.point(|parameter| parameter.domain.extremes()[0].clone());
        let mut probes = vec![first];
        for parameter in &self.parameters {
            for value in parameter.domain.extremes().into_iter().skip(1) {
                // Where it depends on others, they are as it needs them.
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

/// Reads the section; what is wrong is told by key within `[sweep]`.
pub(super) fn check(section: &Sweep) -> (Space, Vec<(String, String)>) {
    let mut reader =
        Reader { grid: section.strategy == Strategy::Grid, faults: vec![], parameters: vec![] };
    if section.objective.is_empty() {
        reader.fault(
            "objective",
            "missing; expected a figure of report.json, such as \"auc.good.auc\"",
        );
    }
    if section.goal.is_none() {
        reader.fault("goal", "missing; expected \"min\" or \"max\"");
    }
    reader.walk("", &section.space);
    if reader.parameters.is_empty() && reader.faults.is_empty() {
        reader.fault(
            "space",
            "missing; expected what is varied, such as \"model.latent\" = { choice = [2, 4, 8] }",
        );
    }
    let space = reader.ordered();
    if section.strategy == Strategy::Grid && reader.faults.is_empty() && space.grid().is_none() {
        reader.fault(
            "space",
            &format!(
                "a grid of more than {MOST} points; expected fewer values, or strategy = \"random\""
            ),
        );
    }
    (space, reader.faults)
}

struct Reader {
    grid: bool,
    faults: Vec<(String, String)>,
    parameters: Vec<Parameter>,
}

impl Reader {
    fn fault(&mut self, key: &str, message: &str) {
        self.faults.push((key.to_owned(), message.to_owned()));
    }

    /// Down to the tables that have a domain: keys may be written `"model.latent"` or model.latent.
    fn walk(&mut self, prefix: &str, table: &Table) {
        for (name, value) in table {
            let key = join(prefix, name);
            let shown = format!("space.{key}");
            let expected = format!("expected a table with one of {}", DOMAINS.join(", "));
            match value {
                Value::Table(inner)
                    if inner.keys().any(|word| DOMAINS.contains(&word.as_str())) =>
                {
                    if let Some(parameter) = self.parameter(&key, &shown, inner) {
                        self.parameters.push(parameter);
                    }
                }
                Value::Table(inner) if !inner.is_empty() && inner.values().all(Value::is_table) => {
                    self.walk(&key, inner)
                }
                Value::Table(inner) => {
                    let near = inner
                        .keys()
                        .map(|word| suggestion(word, DOMAINS))
                        .find(|near| !near.is_empty())
                        .unwrap_or_default();
                    let found = inner.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    self.fault(
                        &shown,
                        &format!(
                            "found {}{near}; {expected}",
                            if found.is_empty() { "an empty table" } else { &found }
                        ),
                    );
                }
                other => self.fault(&shown, &format!("found {other}; {expected}")),
            }
        }
    }

    fn parameter(&mut self, name: &str, shown: &str, table: &Table) -> Option<Parameter> {
        let before = self.faults.len();
        let words: Vec<&str> =
            table.keys().map(String::as_str).filter(|word| DOMAINS.contains(word)).collect();
        if words.len() > 1 {
            self.fault(shown, &format!("found {}; expected one of them", words.join(" and ")));
        }
        let word = words[0];
        let takes_steps = !matches!(word, "choice" | "together");
        for other in table.keys().filter(|other| !DOMAINS.contains(&other.as_str())) {
            let known: &[&str] = if takes_steps { &["steps", "when"] } else { &["when"] };
            if !known.contains(&other.as_str()) {
                let near = suggestion(other, known.iter().copied());
                self.fault(
                    &format!("{shown}.{other}"),
                    &format!("unknown{near}; beside {word} are known {}", known.join(", ")),
                );
            }
        }
        let steps = self.steps(shown, table, word, takes_steps);
        let domain = self.domain(&format!("{shown}.{word}"), word, &table[word], steps);
        let when = self.when(&format!("{shown}.when"), table.get("when"));
        (self.faults.len() == before).then_some(Parameter {
            name: name.to_owned(),
            domain: domain?,
            when,
        })
    }

    fn steps(
        &mut self,
        shown: &str,
        table: &Table,
        word: &str,
        takes_steps: bool,
    ) -> Option<usize> {
        let key = format!("{shown}.steps");
        match table.get("steps") {
            Some(Value::Integer(steps)) if *steps > 0 => Some(*steps as usize),
            Some(found) => {
                self.fault(
                    &key,
                    &format!("found {found}; expected a number of values of 1 or more"),
                );
                None
            }
            None if self.grid && takes_steps && word != "int" => {
                self.fault(&key, "missing: a grid must know how many values to take");
                None
            }
            None => None,
        }
    }

    fn domain(
        &mut self,
        key: &str,
        word: &str,
        value: &Value,
        steps: Option<usize>,
    ) -> Option<Domain> {
        let log = word.starts_with("log");
        match word {
            "choice" | "together" => {
                let values = value.as_array().cloned().unwrap_or_default();
                if values.is_empty() {
                    self.fault(
                        key,
                        &format!("found {value}; expected a list of one or more values"),
                    );
                    return None;
                }
                if let Some(twice) =
                    values.iter().enumerate().find(|(i, value)| values[..*i].contains(value))
                {
                    self.fault(
                        &format!("{key}[{}]", twice.0),
                        &format!("{} stands twice", twice.1),
                    );
                }
                if word == "choice" {
                    return Some(Domain::Choice(values));
                }
                let tables: Option<Vec<Table>> = values
                    .iter()
                    .map(|value| value.as_table().cloned().filter(|table| !table.is_empty()))
                    .collect();
                if tables.is_none() {
                    self.fault(key, "expected a list of tables, such as { model.latent = 8, train.epochs = 50 }");
                }
                tables.map(Domain::Together)
            }
            "int" | "log_int" => {
                let ends: Option<Vec<i64>> =
                    value.as_array().and_then(|ends| ends.iter().map(Value::as_integer).collect());
                match ends.as_deref() {
                    Some(&[low, high]) if low <= high && (!log || low >= 1) => {
                        Some(Domain::Int { low, high, log, steps })
                    }
                    _ => {
                        let least = if log { " of 1 or more" } else { "" };
                        self.fault(
                            key,
                            &format!(
                                "found {value}; expected [lowest, highest], whole numbers{least}"
                            ),
                        );
                        None
                    }
                }
            }
            _ => {
                let number = |value: &Value| {
                    value
                        .as_float()
                        .or(value.as_integer().map(|number| number as f64))
                        .filter(|number| number.is_finite())
                };
                let ends: Option<Vec<f64>> =
                    value.as_array().and_then(|ends| ends.iter().map(number).collect());
                match ends.as_deref() {
                    Some(&[low, high]) if low < high && (!log || low > 0.0) => {
                        Some(Domain::Real { low, high, log, steps })
                    }
                    _ => {
                        let least = if log { " above 0" } else { "" };
                        self.fault(
                            key,
                            &format!("found {value}; expected [lowest, highest], numbers{least}"),
                        );
                        None
                    }
                }
            }
        }
    }

    fn when(&mut self, key: &str, value: Option<&Value>) -> Vec<(String, Vec<Value>)> {
        let Some(value) = value else { return vec![] };
        let Some(table) = value.as_table() else {
            self.fault(
                key,
                &format!(
                    "found {value}; expected a table such as {{ \"model.batch_norm\" = true }}"
                ),
            );
            return vec![];
        };
        let mut when = vec![];
        leaves("", table, &mut when);
        let list = |value: Value| match value {
            Value::Array(values) if !values.is_empty() => values,
            value => vec![value],
        };
        when.into_iter().map(|(name, value)| (name, list(value))).collect()
    }

    /// Conditions after what they ask for; those on nothing that is varied, and circles, are
    /// faults.
    fn ordered(&mut self) -> Space {
        let mut waiting = std::mem::take(&mut self.parameters);
        let names: Vec<String> = waiting.iter().map(|parameter| parameter.name.clone()).collect();
        let mut parameters: Vec<Parameter> = vec![];
        for parameter in &waiting {
            for (name, _) in parameter.when.iter().filter(|(name, _)| !names.contains(name)) {
                let near = suggestion(name, names.iter().map(String::as_str));
                self.fault(
                    &format!("space.{}.when", parameter.name),
                    &format!("\"{name}\" is not varied{near}; varied are {}", names.join(", ")),
                );
            }
        }
        while let Some(next) = waiting.iter().position(|parameter| {
            parameter.when.iter().all(|(name, _)| {
                !names.contains(name) || parameters.iter().any(|before| before.name == *name)
            })
        }) {
            parameters.push(waiting.remove(next));
        }
        for parameter in waiting {
            self.fault(
                &format!("space.{}.when", parameter.name),
                "asks for itself by way of others",
            );
        }
        Space { parameters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    fn read(text: &str) -> (Space, Vec<(String, String)>) {
        check(&toml::from_str(&format!("objective = \"a\"\ngoal = \"min\"\n{text}")).unwrap())
    }

    #[test]
    fn keys_are_written_with_or_without_quotes() {
        let (quoted, faults) = read("[space]\n\"model.latent\" = { choice = [2, 4] }");
        assert_eq!(faults, vec![]);
        assert_eq!(quoted, read("[space]\nmodel.latent = { choice = [2, 4] }").0);
        assert_eq!(quoted, read("[space.model.latent]\nchoice = [2, 4]").0);
    }

    #[test]
    fn a_grid_has_each_combination_once_and_conditions_hold() {
        let (space, faults) = read(
            "strategy = \"grid\"\n[space]\na = { choice = [1, 2] }\nb = { int = [3, 5], when = { a = 2 } }\nc = { uniform = [0, 1], steps = 3, when = { b = [3, 4] } }",
        );
        assert_eq!(faults, vec![]);
        let points = space.grid().unwrap();
        let shown: Vec<String> = points
            .iter()
            .map(|point| point.iter().map(|(k, v)| format!("{k}{v}")).collect::<String>())
            .collect();
        assert_eq!(
            shown,
            ["a1", "a2b3c0.0", "a2b3c0.5", "a2b3c1.0", "a2b4c0.0", "a2b4c0.5", "a2b4c1.0", "a2b5"]
        );
    }

    #[test]
    fn keys_that_are_tied_are_set_together() {
        let (space, _) = read(
            "[space]\nsize = { together = [{ model.hidden = [9], model.latent = 3 }, { model.hidden = [5] }] }",
        );
        let keys = |i: usize| {
            space
                .keys(&space.grid().unwrap()[i])
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (keys(0), keys(1)),
            (
                vec!["model.hidden=[9]".into(), "model.latent=3".into()],
                vec!["model.hidden=[5]".into()]
            )
        );
    }

    #[test]
    fn draws_stay_inside_and_reach_the_ends() {
        let (space, _) = read(
            "[space]\na = { log_int = [1, 8] }\nb = { log_uniform = [1e-4, 1e-2] }\nc = { int = [-1, 1] }",
        );
        let mut generator = random::generator(1, "test", 0);
        let points: Vec<Point> = (0..2000)
            .map(|_| space.point(|parameter| parameter.domain.draw(&mut generator)))
            .collect();
        let ints = |name: &str| {
            points.iter().map(|point| point[name].as_integer().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((ints("a").iter().min(), ints("a").iter().max()), (Some(&1), Some(&8)));
        assert_eq!((ints("c").iter().min(), ints("c").iter().max()), (Some(&-1), Some(&1)));
        let below = points.iter().filter(|point| point["b"].as_float().unwrap() < 1e-3).count();
        assert!(points.iter().all(|point| (1e-4..=1e-2).contains(&point["b"].as_float().unwrap())));
        assert!(
            (900..1100).contains(&below),
            "half of the draws are below the geometric middle: {below}"
        );
    }

    #[test]
    fn every_fault_names_its_place() {
        let faults = |text: &str| {
            read(text)
                .1
                .into_iter()
                .map(|(key, message)| format!("{key}: {message}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            faults("[space]\na = { choice = [] }"),
            ["space.a.choice: found []; expected a list of one or more values"]
        );
        assert!(faults("[space]\na = { chioce = [1] }")[0].contains("did you mean \"choice\"?"));
        assert!(
            faults("[space]\na = 3")[0]
                .starts_with("space.a: found 3; expected a table with one of choice")
        );
        assert!(faults("[space]\na = { log_uniform = [0, 1] }")[0].contains("numbers above 0"));
        assert!(faults("[space]\na = { int = [3, 1] }")[0].contains("expected [lowest, highest]"));
        assert!(
            faults("strategy = \"grid\"\n[space]\na = { uniform = [0, 1] }")[0]
                .starts_with("space.a.steps: missing")
        );
        assert!(faults("[space]\na = { choice = [1, 1] }")[0].contains("stands twice"));
        assert!(
            faults("[space]\na = { choice = [1] }\nb = { choice = [1], when = { c = 1 } }")[0]
                .contains("\"c\" is not varied")
        );
        assert_eq!(faults("[space]\na = { choice = [1], when = { b = 1 } }\nb = { choice = [1], when = { a = 1 } }").len(), 2);
        assert_eq!(faults("[space]").len(), 1);
        assert_eq!(
            faults(
                "strategy = \"grid\"\n[space]\na = { int = [1, 2000] }\nb = { int = [1, 2000] }"
            )
            .len(),
            1
        );
    }

    #[test]
    fn probes_reach_every_value() {
        let (space, _) =
            read("[space]\na = { choice = [1, 2] }\nb = { int = [3, 9], when = { a = 2 } }");
        let probes = space.probes();
        for (name, value) in [("a", 1), ("a", 2), ("b", 3), ("b", 9)] {
            assert!(
                probes.iter().any(|probe| probe.get(name) == Some(&Value::Integer(value))),
                "{name} = {value}"
            );
        }
    }
}
