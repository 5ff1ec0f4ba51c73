//! The training loop.

use super::{loss, optimizer, optimizer::Optimizer, schedule::Schedule, stopping::Stopping};
use crate::{
    config::{Experiment, raw::LastBatch},
    error::{Error, Result},
    model::{Architecture, Autoencoder},
    random,
};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{RngExt, seq::SliceRandom};
use std::time::Instant;

/// Rows that are ready for a model.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Scaled inputs, `[rows, width]`.
    pub values: &'a [f32],
    /// Number of features.
    pub width: usize,
    /// How much each row counts; all the same where absent.
    pub weights: Option<&'a [f32]>,
}

impl Rows<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn total_weight(&self, rows: impl Iterator<Item = usize>) -> f64 {
        match self.weights {
            Some(weights) => rows.map(|row| f64::from(weights[row])).sum(),
            None => rows.count() as f64,
        }
    }
}

/// One line of `history.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// From 1.
    pub epoch: u32,
    /// Mean loss over the epoch's batches while they were trained on, weighted by their rows; without L2 terms.
    pub train_loss: f64,
    /// Mean loss of the validation rows after the epoch; without L2 terms.
    pub valid_loss: Option<f64>,
    /// The rate of this epoch.
    pub learning_rate: f64,
    /// Time the epoch took.
    pub seconds: f64,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// All epochs are done.
    AllEpochs,
    /// The validation loss no longer fell.
    Early,
}

/// A trained model.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// Flat weights, `[parameters]`.
    pub weights: Vec<f32>,
    /// All epochs.
    pub history: Vec<Epoch>,
    /// Why training ended.
    pub stopped: Stopped,
    /// The epoch (from 1) whose weights these are: the best or the last; 0 where none was trained.
    pub kept_epoch: u32,
    /// Batches that were left out because their rows weigh nothing, over all epochs.
    pub weightless_batches: usize,
}

/// Trains one model from `start`, flat weights `[parameters]`. `on_epoch` is told of each epoch as it ends.
pub fn fit(
    experiment: &Experiment,
    architecture: &Architecture,
    start: &[f32],
    train: Rows<'_>,
    valid: Option<Rows<'_>>,
    device: &Device,
    on_epoch: &mut dyn FnMut(&Epoch) -> Result<()>,
) -> Result<Fitted> {
    let config = &experiment.config;
    let epochs = config.train.epochs;
    let batch_rows = config.train.batch_size as usize;
    let batches = match config.train.last_batch {
        LastBatch::Keep => train.len().div_ceil(batch_rows),
        LastBatch::Drop => train.len() / batch_rows,
    };
    if batches == 0 && epochs > 0 {
        return Err(Error::input(format!("{} training rows do not fill a batch of {batch_rows}, and train.last_batch = \"drop\"", train.len())));
    }

    let host_weights = |flat: &Tensor<2>| -> Result<Vec<f32>> { read(flat.clone()) };
    let (inputs, input_weights) = to_device(train, device);
    let valid_on_device = valid.map(|valid| (valid, to_device(valid, device)));
    let mut parameters = Tensor::<2>::from_data(TensorData::new(start.to_vec(), [1, start.len()]), device);
    let weight_mask = (config.loss.l2 > 0.0).then(|| Tensor::<2>::from_data(TensorData::new(architecture.weight_mask(), [1, start.len()]), device));
    let mut optimizer = Optimizer::new(experiment.optimizer);
    let mut schedule = Schedule::new(experiment.schedule, config.train.optimizer.learning_rate, config.train.schedule.warmup, epochs);
    let mut stopping = Stopping::new(config.train.stop.patience, config.train.stop.min_delta);
    let restore_best = config.train.stop.restore_best == Some(true);
    let mut best = None;
    let mut fitted = Fitted { weights: vec![], history: vec![], stopped: Stopped::AllEpochs, kept_epoch: 0, weightless_batches: 0 };

    for epoch in 0..epochs {
        let clock = Instant::now();
        let rate = schedule.rate(epoch);
        let order = order(config.train.shuffle, train.len(), config.seed, epoch);
        let (shuffled, shuffled_weights) = match &order {
            Some(order) => {
                let indices: Vec<i64> = order.iter().map(|&row| row as i64).collect();
                let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [train.len()]), device);
                (inputs.clone().select(1, indices.clone()), input_weights.clone().map(|weights| weights.select(1, indices)))
            }
            None => (inputs.clone(), input_weights.clone()),
        };
        let mut chance = random::generator(config.seed, "dropout", u64::from(epoch));
        // The loss is added up on the device and read once an epoch: reading makes the host wait for the device.
        let mut loss_sum: Option<Tensor<3>> = None;
        let mut weight_sum = 0.0;

        for batch in 0..batches {
            let rows = batch * batch_rows..((batch + 1) * batch_rows).min(train.len());
            let total = train.total_weight(rows.clone().map(|i| order.as_ref().map_or(i, |order| order[i])));
            if total <= 0.0 {
                fitted.weightless_batches += 1;
                continue;
            }
            let part = |tensor: &Tensor<3>, width: usize| tensor.clone().slice([0..1, rows.clone(), 0..width]).autodiff();
            let target = part(&shuffled, train.width);
            let masks = (architecture.dropout > 0.0).then(|| dropout_masks(architecture, rows.len(), &mut chance, device));

            let model = Autoencoder::from_flat(architecture, &parameters).tracked();
            let forward = model.forward(architecture, target.clone(), masks.as_deref());
            let distance = loss::per_row(experiment.loss, forward.output, target);
            let data_loss = loss::mean(distance, shuffled_weights.as_ref().map(|weights| part(weights, 1)), total);
            let weighted = data_loss.clone().inner().mul_scalar(total);
            loss_sum = Some(loss_sum.map_or(weighted.clone(), |sum| sum + weighted));
            weight_sum += total;
            let objective = match config.loss.activity_l2 {
                0.0 => data_loss,
                factor => data_loss + loss::activity(forward.first_hidden, factor),
            };

            let mut gradients = objective.backward();
            let flat: Vec<Tensor<2>> = model.tensors().iter().filter_map(|tensor| Some(tensor.grad_remove(&mut gradients)?.flatten(1, 2))).collect();
            let mut gradient = Tensor::cat(flat, 1);
            if let Some(mask) = &weight_mask {
                gradient = gradient + parameters.clone().mul_scalar(2.0 * config.loss.l2) * mask.clone();
            }
            if let Some(limit) = config.train.gradient_clip {
                gradient = optimizer::clip(gradient, limit);
            }
            parameters = optimizer.step(parameters, gradient, rate);
        }

        let train_loss = match loss_sum {
            Some(sum) => f64::from(read(sum)?[0]) / weight_sum,
            None => return Err(Error::input("the training rows weigh nothing: all their weights are 0")),
        };
        let valid_loss = match &valid_on_device {
            Some((rows, (values, weights))) => {
                let model = Autoencoder::from_flat(architecture, &parameters);
                Some(mean_loss(experiment, architecture, &model, *rows, values, weights.as_ref())?)
            }
            None => None,
        };
        if !train_loss.is_finite() || valid_loss.is_some_and(|loss| !loss.is_finite()) {
            return Err(Error::failed(format!(
                "training diverged: the loss of epoch {} is not finite (learning rate {rate}); lower train.optimizer.learning_rate, or set train.gradient_clip",
                epoch + 1
            )));
        }
        let record = Epoch { epoch: epoch + 1, train_loss, valid_loss, learning_rate: rate, seconds: clock.elapsed().as_secs_f64() };
        on_epoch(&record)?;
        fitted.history.push(record);
        fitted.kept_epoch = epoch + 1;
        schedule.observe(valid_loss);
        if let Some(loss) = valid_loss {
            if stopping.observe(epoch, loss) && restore_best {
                best = Some(parameters.clone());
            }
            if stopping.stops(epoch) {
                fitted.stopped = Stopped::Early;
                break;
            }
        }
    }

    if let (Some(best), Some((epoch, _))) = (best, stopping.best()) {
        parameters = best;
        fitted.kept_epoch = epoch + 1;
    }
    fitted.weights = host_weights(&parameters)?;
    Ok(fitted)
}

/// The order of rows in an epoch, drawn on the host; `None` is the table's own.
fn order(shuffle: bool, rows: usize, seed: u64, epoch: u32) -> Option<Vec<usize>> {
    shuffle.then(|| {
        let mut order: Vec<usize> = (0..rows).collect();
        order.shuffle(&mut random::generator(seed, "batch order", u64::from(epoch)));
        order
    })
}

/// Inputs `[1, rows, width]` and weights `[1, rows, 1]` on the device.
fn to_device(rows: Rows<'_>, device: &Device) -> (Tensor<3>, Option<Tensor<3>>) {
    let tensor = |values: &[f32], width: usize| Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len() / width.max(1), width]), device);
    (tensor(rows.values, rows.width), rows.weights.map(|weights| tensor(weights, 1)))
}

/// One mask per hidden layer, `[1, rows, width]`: 0 where a value is dropped, else 1 / (1 − dropout).
fn dropout_masks(architecture: &Architecture, rows: usize, chance: &mut impl rand::Rng, device: &Device) -> Vec<Tensor<3>> {
    let kept = (1.0 / (1.0 - architecture.dropout)) as f32;
    let hidden = &architecture.widths[1..architecture.widths.len() - 1];
    let mask = |&width: &usize| {
        let values: Vec<f32> = (0..rows * width).map(|_| if chance.random_bool(architecture.dropout) { 0.0 } else { kept }).collect();
        Tensor::<3>::from_data(TensorData::new(values, [1, rows, width]), device).autodiff()
    };
    hidden.iter().map(mask).collect()
}

/// Rows that go through a model at once when nothing is trained.
pub const SCORING_ROWS: usize = 4096;

/// The weighted mean loss over all rows, without L2 terms.
fn mean_loss(
    experiment: &Experiment,
    architecture: &Architecture,
    model: &Autoencoder,
    rows: Rows<'_>,
    values: &Tensor<3>,
    weights: Option<&Tensor<3>>,
) -> Result<f64> {
    let mut sum = 0.0;
    for start in (0..rows.len()).step_by(SCORING_ROWS) {
        let range = start..(start + SCORING_ROWS).min(rows.len());
        let part = |tensor: &Tensor<3>, width: usize| tensor.clone().slice([0..1, range.clone(), 0..width]);
        let target = part(values, rows.width);
        let output = model.forward(architecture, target.clone(), None).output;
        let distance = loss::per_row(experiment.loss, output, target);
        sum += f64::from(read(loss::mean(distance, weights.map(|weights| part(weights, 1)), 1.0))?[0]);
    }
    Ok(sum / rows.total_weight(0..rows.len()))
}

/// A tensor's numbers on the host.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor.try_into_data().map_err(|error| Error::failed(format!("the device failed: {error:?}")))?;
    data.try_to_vec::<f32>().map_err(|error| Error::failed(format!("the device gave other numbers than f32: {error:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, raw::Init};

    fn experiment(text: &str) -> Experiment {
        let text = format!("data.train = [\"a\"]\nthreshold.on = \"train\"\n{text}");
        Experiment::check(&Document::parse(&text, std::path::Path::new("x.toml")).unwrap(), "x").unwrap()
    }

    fn data(rows: usize, width: usize) -> Vec<f32> {
        let mut chance = random::generator(5, "test data", 0);
        (0..rows).flat_map(|_| { let a: f32 = chance.random(); (0..width).map(move |i| (a * (i + 1) as f32).sin().abs()).collect::<Vec<_>>() }).collect()
    }

    fn train(text: &str) -> Result<Fitted> {
        let experiment = experiment(text);
        let architecture = Architecture::new(6, &experiment.config.model);
        let start = architecture.draw(Init::GlorotUniform, experiment.config.seed, 0);
        let (values, held_out) = (data(200, 6), data(50, 6));
        let rows = |values| Rows { values, width: 6, weights: None };
        fit(&experiment, &architecture, &start, rows(&values), Some(rows(&held_out)), &Device::flex(), &mut |_| Ok(()))
    }

    const SMALL: &str = "model = {hidden = [8], latent = 3}\n";

    #[test]
    fn the_loss_falls_with_every_rule_and_loss() {
        for optimizer in ["{kind = \"adam\", learning_rate = 0.01}", "{kind = \"adamw\", learning_rate = 0.01}", "{kind = \"sgd\", momentum = 0.9, learning_rate = 0.1}", "{kind = \"rmsprop\", learning_rate = 0.01}"] {
            for loss in ["mse", "mae", "smooth_l1"] {
                let fitted = train(&format!("{SMALL}loss = {{kind = \"{loss}\", l2 = 1e-5, activity_l2 = 1e-5}}\ntrain = {{epochs = 20, batch_size = 32, optimizer = {optimizer}}}")).unwrap();
                let (first, last) = (&fitted.history[0], &fitted.history[19]);
                assert!(last.train_loss < 0.7 * first.train_loss, "{optimizer} {loss}: {} to {}", first.train_loss, last.train_loss);
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_dropout_is_drawn_from_it() {
        let text = |seed: u32| format!("seed = {seed}\n{SMALL}model.dropout = 0.2\ntrain.epochs = 3").replace("model = {hidden = [8], latent = 3}\n", "model.hidden = [8]\nmodel.latent = 3\n");
        assert_eq!(train(&text(1)).unwrap().weights, train(&text(1)).unwrap().weights);
        assert_ne!(train(&text(1)).unwrap().weights, train(&text(2)).unwrap().weights);
    }

    #[test]
    fn the_best_epoch_is_restored() {
        let fitted = train(&format!("{SMALL}train = {{epochs = 60, optimizer = {{learning_rate = 0.05}}, stop = {{patience = 4}}}}")).unwrap();
        let losses: Vec<f64> = fitted.history.iter().filter_map(|epoch| epoch.valid_loss).collect();
        let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(losses[fitted.kept_epoch as usize - 1], best);
    }

    #[test]
    fn a_diverging_training_says_so() {
        let error = train(&format!("{SMALL}train = {{epochs = 50, optimizer = {{kind = \"sgd\", learning_rate = 1e6}}}}")).unwrap_err();
        assert!(error.to_string().contains("training diverged: the loss of epoch") && error.exit_code() == 1, "{error}");
    }

    #[test]
    fn no_epochs_leave_the_weights_alone() {
        let fitted = train(&format!("{SMALL}train.epochs = 0")).unwrap();
        let architecture = Architecture::new(6, &experiment(SMALL).config.model);
        assert_eq!((fitted.weights, fitted.kept_epoch), (architecture.draw(Init::GlorotUniform, 1, 0), 0));
    }

    #[test]
    fn a_weight_counts_like_so_many_rows() {
        let experiment = experiment(&format!("{SMALL}train = {{epochs = 3, batch_size = 400, shuffle = false, optimizer = {{kind = \"sgd\"}}}}"));
        let architecture = Architecture::new(6, &experiment.config.model);
        let start = architecture.draw(Init::GlorotUniform, 1, 0);
        let values = data(20, 6);
        let weights: Vec<f32> = (0..20).map(|i| (i % 3) as f32).collect();
        let repeated: Vec<f32> = (0..20).flat_map(|i| values[i * 6..(i + 1) * 6].repeat(i % 3)).collect();
        let run = |rows| fit(&experiment, &architecture, &start, rows, None, &Device::flex(), &mut |_| Ok(())).unwrap();
        let weighted = run(Rows { values: &values, width: 6, weights: Some(&weights) });
        let plain = run(Rows { values: &repeated, width: 6, weights: None });
        for (a, b) in weighted.weights.iter().zip(&plain.weights) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}
