//! Pruning: ends trials before their last epoch.

use crate::{
    config::sweep::{PrunerKind, Sweep},
    train::Epoch,
};
use optimizer::{
    Direction, TrialState,
    pruner::{MedianPruner, Pruner, SuccessiveHalvingPruner},
    sampler::CompletedTrial,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The lowest validation loss (mean over a trial's models) up to each epoch, from 1.
pub type Curve = Vec<(u64, f64)>;

/// The pruning rule.
pub struct Rule {
    pruner: Box<dyn Pruner>,
    /// Epochs at which trials are compared.
    rungs: Vec<u64>,
}

impl Rule {
    /// The rule of a section for trainings of `epochs` epochs; `None` without pruning.
    pub fn new(section: &Sweep, epochs: u32) -> Option<Self> {
        let epochs = u64::from(epochs);
        let first = u64::from(section.warm_up.unwrap_or(1).max(1));
        match section.pruner {
            PrunerKind::None => None,
            PrunerKind::Median => {
                let pruner = Box::new(
                    MedianPruner::new(Direction::Minimize).n_warmup_steps(first).n_min_trials(4),
                );
                // Comparing at every epoch would improve little over twenty times.
                Some(Self {
                    pruner,
                    rungs: (first..epochs).step_by((epochs / 20).max(1) as usize).collect(),
                })
            }
            PrunerKind::Asha => {
                let factor = u64::from(section.reduction);
                let pruner = SuccessiveHalvingPruner::new()
                    .min_resource(first)
                    .max_resource(epochs.max(1))
                    .reduction_factor(factor);
                let rungs = std::iter::successors(Some(first), |rung| rung.checked_mul(factor))
                    .take_while(|rung| *rung < epochs)
                    .collect();
                Some(Self { pruner: Box::new(pruner), rungs })
            }
        }
    }

    /// Whether trials are compared after this epoch.
    pub fn asks(&self, epoch: u64) -> bool {
        self.rungs.contains(&epoch)
    }

    /// Whether a trial with this curve is pruned, given the curves of others and whether they are
    /// complete.
    pub fn ends(&self, curve: &[(u64, f64)], others: &[(Curve, bool)]) -> bool {
        let Some(&(epoch, _)) = curve.last() else { return false };
        let other = |(i, (curve, done)): (usize, &(Curve, bool))| {
            let mut trial = CompletedTrial::with_intermediate_values(
                i as u64,
                HashMap::new(),
                HashMap::new(),
                HashMap::new(),
                0.0,
                curve.clone(),
                HashMap::new(),
            );
            trial.state = if *done { TrialState::Complete } else { TrialState::Pruned };
            trial
        };
        let others: Vec<CompletedTrial> = others.iter().enumerate().map(other).collect();
        self.pruner.should_prune(u64::MAX, epoch, curve, &others)
    }
}

/// The curve from the models' validation losses by epoch, up to the last epoch of all models.
fn curve(models: &[BTreeMap<u32, f64>]) -> Curve {
    let mut lowest = f64::MAX;
    (1..)
        .map_while(|epoch| {
            let losses: Option<Vec<f64>> =
                models.iter().map(|losses| losses.get(&epoch).copied()).collect();
            let losses = losses.filter(|losses| !losses.is_empty())?;
            lowest = lowest.min(losses.iter().sum::<f64>() / losses.len() as f64);
            Some((u64::from(epoch), lowest))
        })
        .collect()
}

/// The curve in a `history.csv`, which may be incomplete.
pub fn read_curve(history: &str) -> Curve {
    let whole = history.rfind('\n').map_or("", |end| &history[..end]);
    let mut lines = whole.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let at = |name: &str| names.iter().position(|other| *other == name);
    let (Some(epoch), Some(loss), Some(channel), member) =
        (at("epoch"), at("valid_loss"), at("channel"), at("member"))
    else {
        return vec![];
    };
    let mut models: BTreeMap<(String, String), BTreeMap<u32, f64>> = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        let model = (field(channel).to_owned(), member.map(field).unwrap_or_default().to_owned());
        if let (Ok(epoch), Ok(loss)) = (field(epoch).parse(), field(loss).parse()) {
            models.entry(model).or_default().insert(epoch, loss);
        }
    }
    curve(&models.into_values().collect::<Vec<_>>())
}

/// The pruning of a trial in training.
pub struct Pruning {
    rule: Rule,
    others: Box<dyn Fn() -> Vec<(Curve, bool)> + Send + Sync>,
    models: Mutex<Vec<BTreeMap<u32, f64>>>,
    pruned: AtomicBool,
}

impl Pruning {
    /// For a trial with `models` models; `others` returns the curves of the others, and whether
    /// they are complete.
    pub fn new(
        rule: Rule,
        models: usize,
        others: Box<dyn Fn() -> Vec<(Curve, bool)> + Send + Sync>,
    ) -> Self {
        Self {
            rule,
            others,
            models: Mutex::new(vec![BTreeMap::new(); models]),
            pruned: AtomicBool::new(false),
        }
    }

    /// Records an epoch of a model, and prunes the trial according to the rule.
    pub fn epoch(&self, model: usize, epoch: &Epoch) {
        let curve = {
            let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(losses), Some(loss)) = (models.get_mut(model), epoch.valid_loss) {
                losses.insert(epoch.epoch, loss);
            }
            if !self.rule.asks(u64::from(epoch.epoch)) {
                return;
            }
            curve(&models)
        };
        // The last model to reach the epoch triggers the comparison.
        if curve.last().is_some_and(|(reached, _)| *reached == u64::from(epoch.epoch))
            && self.rule.ends(&curve, &(self.others)())
        {
            self.pruned.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the trial was pruned.
    pub fn is_pruned(&self) -> bool {
        self.pruned.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Document, Experiment, sweep::Point},
        sweep::strategy::Points,
    };

    fn section(pruner: &str, epochs: u32) -> Experiment {
        let text = format!(
            "data.train = [\"a.csv\"]\n[split]\nby = \"block\"\nvalid = 0.1\n[train]\nepochs = {epochs}\n[sweep]\nobjective = \"x\"\ngoal = \"min\"\n\
             strategy = \"grid\"\npruner = \"{pruner}\"\nwarm_up = 3\n[sweep.space]\ntrain.optimizer.learning_rate = {{ log_uniform = [1e-5, 1e-1], steps = 9 }}\n\
             loss.l2 = {{ log_uniform = [1e-8, 1e-2], steps = 9 }}"
        );
        Experiment::check(&Document::parse(&text, "a.toml".as_ref()).unwrap(), "a").unwrap()
    }

    /// Decreases towards a level that depends on the point, faster or slower; curves cross early.
    fn loss(point: &Point, epoch: u32) -> f64 {
        let log = |name: &str| point[name].as_float().unwrap().log10();
        let (rate, l2) = (log("train.optimizer.learning_rate"), log("loss.l2"));
        let level = 1.0 + 0.3 * (rate + 3.0).powi(2) + 0.1 * (l2 + 5.0).powi(2);
        level + 4.0 * (-(0.08 + 0.02 * (rate + 5.0)) * f64::from(epoch)).exp()
    }

    /// Best last loss and total number of epochs of sequential trials.
    fn search(pruner: &str) -> (f64, u32) {
        const EPOCHS: u32 = 81;
        let experiment = section(pruner, EPOCHS);
        let section = experiment.sweep.as_ref().unwrap();
        let points = Points::new(section, 1);
        let (mut others, mut best, mut epochs): (Vec<(Curve, bool)>, f64, u32) =
            (vec![], f64::MAX, 0);
        // A grid is ordered along its axes; workers do not process it in that order.
        let order: Vec<usize> = (0..points.len()).map(|i| i * 32 % points.len()).collect();
        assert_eq!(order.iter().collect::<std::collections::BTreeSet<_>>().len(), 81);
        for number in order {
            let point = points.point(number, &[]);
            let rule = Rule::new(section, EPOCHS);
            let mut curve: Curve = vec![];
            let mut ended = false;
            for epoch in 1..=EPOCHS {
                epochs += 1;
                curve.push((u64::from(epoch), loss(&point, epoch)));
                if rule
                    .as_ref()
                    .is_some_and(|rule| rule.asks(u64::from(epoch)) && rule.ends(&curve, &others))
                {
                    ended = true;
                    break;
                }
            }
            if !ended {
                best = best.min(loss(&point, EPOCHS));
            }
            others.push((curve, !ended));
        }
        (best, epochs)
    }

    #[test]
    fn successive_halving_finds_the_best_of_a_grid_with_far_fewer_epochs() {
        let (all, every) = search("none");
        let (best, epochs) = search("asha");
        assert!(best <= 1.02 * all, "{best} beside {all}");
        assert!(f64::from(epochs) <= 0.4 * f64::from(every), "{epochs} of {every} epochs");
    }

    #[test]
    fn the_median_ends_trials_and_keeps_the_best() {
        let (all, every) = search("none");
        let (best, epochs) = search("median");
        assert!(best <= 1.02 * all && epochs < every, "{best} beside {all}, {epochs} of {every}");
    }

    #[test]
    fn a_history_that_is_written_to_is_read_as_far_as_it_is_whole() {
        let history = "epoch,channel,train_loss,valid_loss,learning_rate,seconds\n1,a,9,3,1,1\n1,b,9,5,1,1\n2,a,9,9,1,1\n2,b,9,1,1,1\n3,a,9,1,1,1\n3,b,9,0.";
        assert_eq!(read_curve(history), [(1, 4.0), (2, 4.0)]);
        assert_eq!(read_curve(""), []);
        assert_eq!(
            read_curve(
                "epoch,channel,member,train_loss,valid_loss,learning_rate,seconds\n1,a,1,9,,1,1\n"
            ),
            []
        );
    }

    #[test]
    fn the_last_model_to_reach_a_rung_asks() {
        let experiment = section("asha", 81);
        let others =
            || vec![(vec![(3, 1.0)], true), (vec![(3, 1.1)], false), (vec![(3, 1.2)], false)];
        let rule = Rule::new(experiment.sweep.as_ref().unwrap(), 81).unwrap();
        let pruning = Pruning::new(rule, 2, Box::new(others));
        let epoch = |epoch, loss| Epoch {
            epoch,
            train_loss: 0.0,
            valid_loss: Some(loss),
            learning_rate: 0.0,
            seconds: 0.0,
            penalty: None,
        };
        for n in 1..=3 {
            pruning.epoch(0, &epoch(n, 9.0));
            assert!(!pruning.is_pruned());
        }
        (1..=3).for_each(|n| pruning.epoch(1, &epoch(n, 9.0)));
        assert!(pruning.is_pruned());
    }
}
