//! Which points of a space are tried.

use crate::{
    config::{
        raw::{Goal, Strategy, Sweep},
        sweep::{Domain, Parameter, Point, Space},
    },
    random,
};
use optimizer::{
    distribution::{CategoricalDistribution, Distribution, FloatDistribution, IntDistribution},
    param::ParamValue,
    parameter::ParamId,
    sampler::{CompletedTrial, Sampler, tpe::TpeSampler},
};
use std::collections::HashMap;
use toml::Value;

/// Points of a search with `strategy = "random"` or `"tpe"` that says no number.
const TRIALS: usize = 20;
/// Points that "tpe" draws at random before it learns.
const STARTUP: usize = 10;

/// A point that is done, with its figure; nothing where it failed or was pruned.
pub type Tried = (Point, Option<f64>);

/// The points of a search.
#[derive(Clone, Debug)]
pub struct Points<'a> {
    section: &'a Sweep,
    space: &'a Space,
    seed: u64,
    /// All of them, of a grid.
    grid: Vec<Point>,
}

impl<'a> Points<'a> {
    /// Those of a checked section.
    pub fn new(section: &'a Sweep, space: &'a Space, seed: u64) -> Self {
        let grid = if section.strategy == Strategy::Grid { space.grid().unwrap_or_default() } else { vec![] };
        Self { section, space, seed, grid }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let asked = self.section.trials.map(|trials| trials as usize);
        match self.section.strategy {
            Strategy::Grid => self.grid.len().min(asked.unwrap_or(usize::MAX)),
            Strategy::Random | Strategy::Tpe => asked.unwrap_or(TRIALS),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many points before this one must be done before it can be told: those of the rounds before, with "tpe".
    pub fn needs(&self, number: usize) -> usize {
        let round = self.section.round as usize;
        if self.section.strategy == Strategy::Tpe && number >= STARTUP { number / round * round } else { 0 }
    }

    /// A point by its number, from 0. It depends on nothing but the config, the seed and the points that it [needs](Self::needs).
    pub fn point(&self, number: usize, tried: &[Tried]) -> Point {
        if self.section.strategy == Strategy::Grid {
            return self.grid[number].clone();
        }
        let learns = self.section.strategy == Strategy::Tpe && number >= STARTUP && tried.iter().any(|(_, figure)| figure.is_some());
        let mut generator = random::generator(self.seed, "sweep", number as u64);
        self.space.point(|parameter| if learns { self.learnt(parameter, number, tried) } else { parameter.domain.draw(&mut generator) })
    }

    /// Drawn by the estimator from what was tried of this parameter. Others are left out of its sight, since it tells parameters by
    /// their ranges, which need not differ.
    fn learnt(&self, parameter: &Parameter, number: usize, tried: &[Tried]) -> Value {
        let sign = if self.section.goal == Some(Goal::Max) { -1.0 } else { 1.0 };
        let worst = tried.iter().filter_map(|(_, figure)| figure.map(|figure| sign * figure)).fold(f64::MIN, f64::max);
        let distribution = distribution(&parameter.domain);
        let id = ParamId::new();
        let history: Vec<CompletedTrial> = tried
            .iter()
            .enumerate()
            .filter_map(|(i, (point, figure))| {
                let value = to_number(&parameter.domain, point.get(&parameter.name)?)?;
                // What failed or was pruned was no good.
                let figure = figure.map_or(worst, |figure| sign * figure);
                let (values, distributions) = (HashMap::from([(id, value)]), HashMap::from([(id, distribution.clone())]));
                Some(CompletedTrial::new(i as u64, values, distributions, HashMap::new(), figure))
            })
            .collect();
        let seed = random::derived(self.seed, &format!("sweep {}", parameter.name));
        let sampler = TpeSampler::builder().seed(seed).n_startup_trials(2).build();
        let Ok(sampler) = sampler else { return parameter.domain.draw(&mut random::generator(self.seed, "sweep", number as u64)) };
        from_number(&parameter.domain, &sampler.sample(&distribution, number as u64, &history))
    }
}

fn distribution(domain: &Domain) -> Distribution {
    match *domain {
        Domain::Choice(ref values) => Distribution::Categorical(CategoricalDistribution { n_choices: values.len() }),
        Domain::Together(ref tables) => Distribution::Categorical(CategoricalDistribution { n_choices: tables.len() }),
        Domain::Int { low, high, log, .. } => Distribution::Int(IntDistribution { low, high, log_scale: log, step: None }),
        Domain::Real { low, high, log, .. } => Distribution::Float(FloatDistribution { low, high, log_scale: log, step: None }),
    }
}

/// A value as a number.
pub fn number(value: &Value) -> Option<f64> {
    value.as_float().or(value.as_integer().map(|number| number as f64))
}

/// A value where it stands in its domain, for what looks at differences: of a choice its number; ratios as differences of logarithms.
/// Where a parameter does not apply it is below all others.
pub(super) fn points_value(domain: &Domain, value: Option<&Value>) -> ParamValue {
    let log = matches!(domain, Domain::Int { log: true, .. } | Domain::Real { log: true, .. });
    let at = value.and_then(|value| to_number(domain, value)).map(|value| match value {
        ParamValue::Categorical(at) => at as f64,
        ParamValue::Int(number) => number as f64,
        ParamValue::Float(number) => number,
    });
    let lowest = match *domain {
        Domain::Int { low, .. } => low as f64 / 2.0 - 1.0,
        Domain::Real { low, .. } => low / 2.0 - if log { 0.0 } else { 1.0 },
        Domain::Choice(_) | Domain::Together(_) => -1.0,
    };
    let at = at.unwrap_or(lowest);
    ParamValue::Float(if log { at.max(f64::MIN_POSITIVE).ln() } else { at })
}

fn to_number(domain: &Domain, value: &Value) -> Option<ParamValue> {
    Some(match domain {
        Domain::Choice(values) => ParamValue::Categorical(values.iter().position(|other| other == value)?),
        Domain::Together(tables) => ParamValue::Categorical(tables.iter().position(|other| Some(other) == value.as_table())?),
        Domain::Int { .. } => ParamValue::Int(value.as_integer()?),
        Domain::Real { .. } => ParamValue::Float(value.as_float()?),
    })
}

fn from_number(domain: &Domain, value: &ParamValue) -> Value {
    match (domain, value) {
        (Domain::Choice(values), ParamValue::Categorical(at)) => values[*at].clone(),
        (Domain::Together(tables), ParamValue::Categorical(at)) => Value::Table(tables[*at].clone()),
        (Domain::Int { low, high, .. }, ParamValue::Int(number)) => Value::Integer((*number).clamp(*low, *high)),
        (Domain::Real { low, high, .. }, ParamValue::Float(number)) => Value::Float(crate::config::sweep::rounded(*number, *low, *high)),
        // The estimator answers in the kind that it was asked in.
        _ => Value::Boolean(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, Experiment};

    /// A search with a known best: valleys in the rate (on a log scale) and the width, and a choice that costs.
    fn search(strategy: &str, seed: u64) -> Experiment {
        let text = format!(
            "seed = {seed}\ndata.train = [\"a.csv\"]\n[split]\nby = \"block\"\n[sweep]\nobjective = \"x\"\ngoal = \"min\"\nstrategy = \"{strategy}\"\ntrials = 60\n\
             [sweep.space]\ntrain.optimizer.learning_rate = {{ log_uniform = [1e-5, 1e-1] }}\nmodel.latent = {{ int = [1, 64] }}\n\
             loss.l2 = {{ log_uniform = [1e-8, 1e-2] }}\nmodel.activation = {{ choice = [\"relu\", \"tanh\", \"sigmoid\"] }}"
        );
        Experiment::check(&Document::parse(&text, "a.toml".as_ref()).unwrap(), "a").unwrap()
    }

    fn figure(point: &Point) -> f64 {
        let log = |name: &str| point[name].as_float().unwrap().log10();
        let width = point["model.latent"].as_integer().unwrap() as f64;
        let activation = match point["model.activation"].as_str().unwrap() {
            "tanh" => 0.0,
            "relu" => 0.4,
            _ => 1.0,
        };
        (log("train.optimizer.learning_rate") + 3.0).powi(2) + ((width - 20.0) / 16.0).powi(2) + 0.2 * (log("loss.l2") + 5.0).powi(2) + activation
    }

    fn best_of(strategy: &str, seed: u64) -> f64 {
        let experiment = search(strategy, seed);
        let (section, space) = (experiment.config.sweep.as_ref().unwrap(), experiment.space.as_ref().unwrap());
        let points = Points::new(section, space, seed);
        let mut tried: Vec<Tried> = vec![];
        for number in 0..points.len() {
            let point = points.point(number, &tried[..points.needs(number)]);
            let figure = figure(&point);
            tried.push((point, Some(figure)));
        }
        tried.iter().filter_map(|(_, figure)| *figure).fold(f64::MAX, f64::min)
    }

    #[test]
    fn the_estimator_finds_more_than_chance_does() {
        let wins = (1..=10).filter(|&seed| best_of("tpe", seed) < best_of("random", seed)).count();
        assert!(wins >= 8, "the estimator won {wins} of 10");
    }

    #[test]
    fn the_same_seed_gives_the_same_points_and_another_gives_others() {
        let points = |seed: u64| {
            let experiment = search("random", seed);
            let points = Points::new(experiment.config.sweep.as_ref().unwrap(), experiment.space.as_ref().unwrap(), seed);
            (0..points.len()).map(|number| points.point(number, &[])).collect::<Vec<_>>()
        };
        assert_eq!(points(1), points(1));
        assert_ne!(points(1), points(2));
        assert_eq!(best_of("tpe", 3), best_of("tpe", 3));
    }

    #[test]
    fn parameters_with_the_same_range_are_told_apart() {
        let text = "data.train = [\"a.csv\"]\n[split]\nby = \"block\"\n[sweep]\nobjective = \"x\"\ngoal = \"max\"\nstrategy = \"tpe\"\ntrials = 80\n\
                    [sweep.space]\nloss.l2 = { uniform = [0, 1] }\nloss.activity_l2 = { uniform = [0, 1] }";
        let experiment = Experiment::check(&Document::parse(text, "a.toml".as_ref()).unwrap(), "a").unwrap();
        let points = Points::new(experiment.config.sweep.as_ref().unwrap(), experiment.space.as_ref().unwrap(), 1);
        let mut tried: Vec<Tried> = vec![];
        for number in 0..points.len() {
            let point = points.point(number, &tried[..points.needs(number)]);
            let at = |name: &str| point[name].as_float().unwrap();
            let figure = -(at("loss.l2") - 0.1).abs() - (at("loss.activity_l2") - 0.9).abs();
            tried.push((point, Some(figure)));
        }
        let mean = |name: &str| tried[40..].iter().map(|(point, _)| point[name].as_float().unwrap()).sum::<f64>() / 40.0;
        assert!(mean("loss.l2") < 0.4 && mean("loss.activity_l2") > 0.6, "{} {}", mean("loss.l2"), mean("loss.activity_l2"));
    }
}
