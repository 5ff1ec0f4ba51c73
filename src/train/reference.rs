//! Training by autodiff over the module, on any device: the reference that faster ways are held to.

use super::{Batch, Job, Moments, Trainer, loss, optimizer, optimizer::Optimizer};
use crate::{
    config::Experiment,
    error::{Error, Result},
    model::{Architecture, Autoencoder},
    prepare::Rows,
};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Rows that go through a model at once when nothing is trained: fewer where they are wide, so that memory stays bounded.
pub fn scoring_rows(width: usize) -> usize {
    ((1 << 22) / width.max(1)).clamp(1, 4096)
}

/// One model in training.
pub struct Reference<'a> {
    experiment: &'a Experiment,
    architecture: &'a Architecture,
    device: Device,
    train: OnDevice,
    /// The training rows in the epoch's order.
    ordered: OnDevice,
    valid: Option<OnDevice>,
    /// `[1, parameters]`
    parameters: Tensor<2>,
    /// 1 where a parameter is a weight, `[1, parameters]`; absent without an L2 term.
    weight_mask: Option<Tensor<2>>,
    optimizer: Optimizer,
    /// Stays on the device and is read once an epoch: reading makes the host wait.
    loss_sum: Option<Tensor<3>>,
}

/// Rows on the device.
#[derive(Clone)]
struct OnDevice {
    /// `[1, rows, width]`
    values: Tensor<3>,
    /// `[1, rows, 1]`
    weights: Option<Tensor<3>>,
}

impl OnDevice {
    fn new(rows: Rows<'_>, device: &Device) -> Self {
        let all = 0..rows.len();
        let tensor = |values: Vec<f32>, width: usize| Tensor::from_data(TensorData::new(values, [1, rows.len(), width]), device);
        let weights: Option<Vec<f32>> = all.clone().map(|i| rows.weight(i)).collect();
        Self { values: tensor(rows.copy(all), rows.width()), weights: weights.filter(|_| !rows.is_empty()).map(|weights| tensor(weights, 1)) }
    }

    fn rows(&self) -> usize {
        self.values.dims()[1]
    }

    fn part(&self, rows: std::ops::Range<usize>) -> Self {
        let part = |tensor: &Tensor<3>| tensor.clone().slice([0..1, rows.clone(), 0..tensor.dims()[2]]);
        Self { values: part(&self.values), weights: self.weights.as_ref().map(part) }
    }

    fn map(self, change: impl Fn(Tensor<3>) -> Tensor<3>) -> Self {
        Self { values: change(self.values), weights: self.weights.map(change) }
    }
}

impl<'a> Reference<'a> {
    /// A model in training on that device.
    pub fn new(job: &Job<'a>, device: &Device) -> Self {
        let Job { experiment, architecture, start, train, valid, .. } = *job;
        let flat = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [1, start.len()]), device);
        let train = OnDevice::new(train, device);
        Self {
            experiment,
            architecture,
            device: device.clone(),
            ordered: train.clone(),
            train,
            valid: valid.map(|valid| OnDevice::new(valid, device)),
            parameters: flat(start.to_vec()),
            weight_mask: (experiment.config.loss.l2 > 0.0).then(|| flat(architecture.weight_mask())),
            optimizer: Optimizer::new(experiment.optimizer),
            loss_sum: None,
        }
    }
}

impl Trainer for Reference<'_> {
    fn start_epoch(&mut self, order: Option<&[usize]>) {
        self.loss_sum = None;
        if let Some(order) = order {
            let indices: Vec<i64> = order.iter().map(|&row| row as i64).collect();
            let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [order.len()]), &self.device);
            self.ordered = self.train.clone().map(|tensor| tensor.select(1, indices.clone()));
        }
    }

    fn step(&mut self, batch: Batch<'_>, rate: f64) {
        let rows = batch.rows.len();
        let part = self.ordered.part(batch.rows).map(Tensor::autodiff);
        let mask =
            |(mask, width): (&Vec<f32>, &usize)| Tensor::<3>::from_data(TensorData::new(mask.clone(), [1, rows, *width]), &self.device).autodiff();
        let masks: Option<Vec<Tensor<3>>> = batch.masks.map(|masks| masks.iter().zip(&self.architecture.widths[1..]).map(mask).collect());

        let model = Autoencoder::from_flat(self.architecture, &self.parameters).tracked();
        let forward = model.forward(self.architecture, part.values.clone(), masks.as_deref());
        let distance = loss::per_row(self.experiment.loss, forward.output, part.values);
        let data_loss = loss::mean(distance, part.weights, batch.total);
        let of_batch = data_loss.clone().inner().mul_scalar(rows as f64);
        self.loss_sum = Some(self.loss_sum.take().map_or(of_batch.clone(), |sum| sum + of_batch));
        let config = &self.experiment.config;
        let objective = match config.loss.activity_l2 {
            0.0 => data_loss,
            factor => data_loss + loss::activity(forward.first_hidden, factor),
        };

        let mut gradients = objective.backward();
        let flat: Vec<Tensor<2>> = model.tensors().iter().filter_map(|tensor| Some(tensor.grad_remove(&mut gradients)?.flatten(1, 2))).collect();
        let mut gradient = Tensor::cat(flat, 1);
        if let Some(mask) = &self.weight_mask {
            gradient = gradient + self.parameters.clone().mul_scalar(2.0 * config.loss.l2) * mask.clone();
        }
        if let Some(limit) = config.train.gradient_clip {
            gradient = optimizer::clip(gradient, limit);
        }
        self.parameters = self.optimizer.step(self.parameters.clone(), gradient, rate);
    }

    fn loss_sum(&self) -> Result<f64> {
        self.loss_sum.clone().map_or(Ok(0.0), |sum| Ok(f64::from(read(sum)?[0])))
    }

    fn valid_loss_sum(&self) -> Result<f64> {
        let Some(valid) = &self.valid else { return Ok(0.0) };
        let model = Autoencoder::from_flat(self.architecture, &self.parameters);
        let mut sum = 0.0;
        let step = scoring_rows(self.architecture.widths[0]);
        for start in (0..valid.rows()).step_by(step) {
            let part = valid.part(start..(start + step).min(valid.rows()));
            let output = model.forward(self.architecture, part.values.clone(), None).output;
            let distance = loss::per_row(self.experiment.loss, output, part.values);
            sum += f64::from(read(loss::mean(distance, part.weights, 1.0))?[0]);
        }
        Ok(sum)
    }

    fn moments(&self) -> Result<Moments> {
        let (steps, first, second) = self.optimizer.moments();
        // A moment that is not there yet is 0.
        let read_or_zeros = |tensor: Option<Tensor<2>>| tensor.map_or_else(|| Ok(vec![0.0; self.architecture.parameters()]), read);
        Ok(Moments { steps, parameters: read(self.parameters.clone())?, first: read_or_zeros(first)?, second: read_or_zeros(second)? })
    }

    fn restore(&mut self, moments: &Moments, loss_sum: f64) {
        let flat = |values: &[f32]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [1, values.len()]), &self.device);
        self.optimizer.restore(moments.steps, flat(&moments.first), flat(&moments.second));
        self.loss_sum = (loss_sum != 0.0).then(|| Tensor::from_data(TensorData::new(vec![loss_sum as f32], [1, 1, 1]), &self.device));
        self.parameters = flat(&moments.parameters);
    }

    fn weights(&self) -> Result<Vec<f32>> {
        read(self.parameters.clone())
    }
}

/// A tensor's numbers on the host.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor.try_into_data().map_err(|error| Error::failed(format!("the device failed: {error:?}")))?;
    data.try_to_vec::<f32>().map_err(|error| Error::failed(format!("the device gave other numbers than f32: {error:?}")))
}
