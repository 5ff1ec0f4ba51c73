//! `[sweep]`: a search over keys of the file.

use super::{
    check::Checker,
    document::join,
    keys::{Key, choice, section},
    space::{MOST, leaves},
};
use crate::error::suggestion;
use toml::{Table, Value};

pub(crate) use super::space::rounded;
pub use super::space::{Domain, Parameter, Point, Space};

section! {
    /// A search over keys of this file: which of their values make a figure of the report best.
    Sweep {
        /// The figure of report.json that counts: its path with dots, such as "auc.good.auc" or
        /// "channels.all.training.best_valid_loss". An entry of a list is meant by its name, labels
        /// or number, and needs not be named where it is the only one.
        objective: String = String::new(),
        /// Whether the lowest or the highest figure is the best.
        #[serde(skip_serializing_if = "Option::is_none")]
        goal: Option<Goal> = None,
        strategy: Strategy = Strategy::Random,
        /// How many points of the space are tried. Default: 20; with strategy = "grid" all of them.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1, max = 1_000_000))]
        trials: Option<u32> = None,
        /// Trainings of each point, with seed, seed + 1, …: what counts is their mean.
        #[schemars(range(min = 1, max = 1_000))]
        repeats: u32 = 1,
        /// Strategy "tpe" learns after every so many points, all of which must be done: as many can
        /// be tried side by side.
        #[schemars(range(min = 1, max = 10_000))]
        round: u32 = 8,
        pruner: PrunerKind = PrunerKind::None,
        /// Epochs before a trial may be pruned: those of the first rung of "asha", the wait of
        /// "median". Default: a tenth of train.epochs.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        warm_up: Option<u32> = None,
        /// With pruner = "asha": of so many trials at a rung the best goes on, to a rung so many
        /// times as far.
        #[schemars(range(min = 2, max = 100))]
        reduction: u32 = 3,
        /// The sweep ends when more trials than this have failed.
        max_failures: u32 = 10,
        /// What is varied: `"train.optimizer.learning_rate" = { log_uniform = [1e-4, 1e-2] }`. See
        /// docs/sweeps.md.
        #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
        space: Key<toml::Table, Space> = Key::default(),
    }
}

choice! {
    /// Which end is good.
    Goal {
        /// The lowest.
        Min = "min",
        /// The highest.
        Max = "max",
    }
}

choice! {
    /// How the points of a search are chosen.
    Strategy {
        /// All combinations of the values.
        Grid = "grid",
        /// Drawn at random, each by itself.
        Random = "random",
        /// Tree-structured Parzen estimator: drawn where the trials before were good.
        Tpe = "tpe",
    }
}

choice! {
    /// Which trials are ended early, going by their validation losses.
    PrunerKind {
        /// None.
        None = "none",
        /// Those worse than half of the trials that are done were after as many epochs.
        Median = "median",
        /// Asynchronous successive halving: at each rung all but the best share.
        Asha = "asha",
    }
}

/// The keys of domains; every parameter has one of them.
const DOMAINS: [&str; 6] = ["choice", "together", "int", "log_int", "uniform", "log_uniform"];

impl Sweep {
    pub(super) fn check(&mut self, checker: &mut Checker) {
        let (space, faults) = check(self);
        self.space.meaning = space;
        for (key, message) in faults {
            checker.fault(&format!("sweep.{key}"), message);
        }
    }
}

/// Reads the space; also returns faults by key within `[sweep]`.
fn check(section: &Sweep) -> (Space, Vec<(String, String)>) {
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
    reader.walk("", &section.space.written);
    if reader.parameters.is_empty() && reader.faults.is_empty() {
        reader.fault(
            "space",
            "missing; expected parameters, such as \"model.latent\" = { choice = [2, 4, 8] }",
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

    /// Descends to the tables with a domain: keys may be written `"model.latent"` or model.latent.
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
                    &format!("unknown key{near}; with {word}, known are {}", known.join(", ")),
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
                self.fault(&key, "missing; a grid needs the number of values");
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
                        &format!("{} is there twice", twice.1),
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

    /// Orders conditions after their parameters. Conditions on unknown parameters, and cycles, are
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
                "depends on itself through other conditions",
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
        assert!(faults("[space]\na = { choice = [1, 1] }")[0].contains("is there twice"));
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
