//! Chooses the points of a space to try.

use crate::{
    config::{
        sweep::{Domain, Parameter, Point, Space, rounded},
        sweep::{Goal, Strategy, Sweep},
    },
    random,
};
use rand::Rng;
use toml::Value;

/// Default number of points for `strategy = "random"` or `"tpe"`.
const TRIALS: usize = 20;
/// Number of random points before "tpe" uses results.
const STARTUP: usize = 10;

/// A completed point with its figure; `None` if it failed or was pruned.
pub type Tried = (Point, Option<f64>);

/// The points of a search.
#[derive(Clone, Debug)]
pub struct Points {
    section: Sweep,
    seed: u64,
    /// All points of a grid; empty for other strategies.
    grid: Vec<Point>,
}

impl Points {
    /// The points of a checked section.
    pub fn new(section: &Sweep, seed: u64) -> Self {
        let grid = if section.strategy == Strategy::Grid {
            section.space.grid().unwrap_or_default()
        } else {
            vec![]
        };
        Self { section: section.clone(), seed, grid }
    }

    /// The section.
    pub fn section(&self) -> &Sweep {
        &self.section
    }

    /// The space of the points.
    pub fn space(&self) -> &Space {
        &self.section.space
    }

    /// Number of points.
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

    /// Number of points that must be completed before this one can be determined: with "tpe" those
    /// of earlier rounds.
    pub fn needs(&self, number: usize) -> usize {
        let round = self.section.round as usize;
        if self.section.strategy == Strategy::Tpe && number >= STARTUP {
            number / round * round
        } else {
            0
        }
    }

    /// A point by its number, from 0. It depends only on the config, the seed and the points that
    /// it [needs](Self::needs).
    pub fn point(&self, number: usize, tried: &[Tried]) -> Point {
        if self.section.strategy == Strategy::Grid {
            return self.grid[number].clone();
        }
        let learns = self.section.strategy == Strategy::Tpe
            && number >= STARTUP
            && tried.iter().any(|(_, figure)| figure.is_some());
        if !learns {
            let mut generator = random::generator(self.seed, "sweep", number as u64);
            return self.section.space.point(|parameter| parameter.domain.draw(&mut generator));
        }
        // The earlier points of the same round, whose results are unknown.
        let mut pending: Vec<Point> =
            (tried.len()..number.min(STARTUP)).map(|earlier| self.point(earlier, &[])).collect();
        for at in tried.len().max(STARTUP)..=number {
            let mut generator = random::generator(self.seed, "sweep", at as u64);
            let point = self
                .section
                .space
                .point(|parameter| self.learnt(parameter, tried, &pending, &mut generator));
            pending.push(point);
        }
        pending.pop().unwrap_or_default()
    }

    /// Draws a value with the estimator from the tried values of this parameter. A pending point
    /// counts with the worst figure, so that the points of a round spread; the estimator does not
    /// use how bad a bad figure is.
    fn learnt(
        &self,
        parameter: &Parameter,
        tried: &[Tried],
        pending: &[Point],
        generator: &mut impl Rng,
    ) -> Value {
        let sign = if self.section.goal == Some(Goal::Max) { -1.0 } else { 1.0 };
        let figures = || tried.iter().filter_map(|(_, figure)| figure.map(|figure| sign * figure));
        let worst = figures().fold(f64::MIN, f64::max);
        let (estimator, low, high) = match parameter.domain {
            Domain::Choice(ref values) => (tpe::histogram_estimator(), 0.0, values.len() as f64),
            Domain::Together(ref tables) => (tpe::histogram_estimator(), 0.0, tables.len() as f64),
            // Each integer covers half a unit on both sides.
            Domain::Int { low, high, log, .. } => {
                (tpe::parzen_estimator(), at(log, low as f64 - 0.5), at(log, high as f64 + 0.5))
            }
            Domain::Real { low, high, log, .. } => {
                (tpe::parzen_estimator(), at(log, low), at(log, high))
            }
        };
        let known = tried
            .iter()
            .map(|(point, figure)| (point, figure.map_or(worst, |figure| sign * figure)));
        let learn = || -> Option<f64> {
            let mut optimizer = tpe::TpeOptimizer::new(estimator, tpe::range(low, high).ok()?);
            for (point, figure) in pending.iter().map(|point| (point, worst)).chain(known) {
                if let Some(place) =
                    point.get(&parameter.name).and_then(|value| place(&parameter.domain, value))
                {
                    optimizer.tell(place, figure).ok()?;
                }
            }
            optimizer.ask(generator).ok()
        };
        match learn() {
            Some(place) => value_at(&parameter.domain, place),
            None => parameter.domain.draw(generator),
        }
    }
}

/// A number on its linear or logarithmic scale.
fn at(log: bool, number: f64) -> f64 {
    if log { number.ln() } else { number }
}

/// The position of a value in its domain, logarithmic if the domain is; for a choice its index.
fn place(domain: &Domain, value: &Value) -> Option<f64> {
    match *domain {
        Domain::Choice(_) | Domain::Together(_) => domain.index(value).map(|at| at as f64),
        Domain::Int { log, .. } | Domain::Real { log, .. } => {
            number(value).map(|number| at(log, number))
        }
    }
}

/// The value at a position of a domain.
fn value_at(domain: &Domain, place: f64) -> Value {
    let index = |values: usize| (place.max(0.0) as usize).min(values - 1);
    let number = |log: bool| if log { place.exp() } else { place };
    match *domain {
        Domain::Choice(ref values) => values[index(values.len())].clone(),
        Domain::Together(ref tables) => Value::Table(tables[index(tables.len())].clone()),
        Domain::Int { low, high, log, .. } => {
            Value::Integer((number(log).round() as i64).clamp(low, high))
        }
        Domain::Real { low, high, log, .. } => Value::Float(rounded(number(log), low, high)),
    }
}

/// The position of a value for comparisons; below all others if the parameter does not apply.
pub(super) fn place_among(domain: &Domain, value: Option<&Value>) -> f64 {
    let below = match *domain {
        Domain::Choice(_) | Domain::Together(_) => -1.0,
        Domain::Int { low, log, .. } => at(log, low as f64) - 1.0,
        Domain::Real { low, log, .. } => at(log, low) - 1.0,
    };
    value.and_then(|value| place(domain, value)).unwrap_or(below)
}

/// A value as a number.
pub fn number(value: &Value) -> Option<f64> {
    value.as_float().or(value.as_integer().map(|number| number as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, Experiment};

    /// A search with a known optimum: valleys in the rate (on a log scale) and the width, and a
    /// choice with a penalty.
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
        (log("train.optimizer.learning_rate") + 3.0).powi(2)
            + ((width - 20.0) / 16.0).powi(2)
            + 0.2 * (log("loss.l2") + 5.0).powi(2)
            + activation
    }

    fn best_of(strategy: &str, seed: u64) -> f64 {
        let experiment = search(strategy, seed);
        let points = Points::new(experiment.sweep.as_ref().unwrap(), seed);
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
            let points = Points::new(experiment.sweep.as_ref().unwrap(), seed);
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
        let experiment =
            Experiment::check(&Document::parse(text, "a.toml".as_ref()).unwrap(), "a").unwrap();
        let points = Points::new(experiment.sweep.as_ref().unwrap(), 1);
        let mut tried: Vec<Tried> = vec![];
        for number in 0..points.len() {
            let point = points.point(number, &tried[..points.needs(number)]);
            let at = |name: &str| point[name].as_float().unwrap();
            let figure = -(at("loss.l2") - 0.1).abs() - (at("loss.activity_l2") - 0.9).abs();
            tried.push((point, Some(figure)));
        }
        let mean = |name: &str| {
            tried[40..].iter().map(|(point, _)| point[name].as_float().unwrap()).sum::<f64>() / 40.0
        };
        assert!(
            mean("loss.l2") < 0.4 && mean("loss.activity_l2") > 0.6,
            "{} {}",
            mean("loss.l2"),
            mean("loss.activity_l2")
        );
    }
}
