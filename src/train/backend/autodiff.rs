//! Training by autodiff on any device; a pack is one computation. This is the reference that faster
//! backends are compared with.

use crate::{
    config::{Distance, Experiment, Penalties, SparsityPenalty},
    device::read,
    error::Result,
    model::{
        Architecture, Autoencoder,
        architecture::MOMENTUM,
        autoencoder::{Drawn, Forward},
    },
    prepare::Rows,
    train::{
        loss,
        optimizer::{self, Optimizer},
        trainer::{Batch, Corruption, Job, MemberBatch, OptimizerState, Sums, Trainer, retain},
    },
};
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::ops::Range;

/// Rows that a model scores at a time: fewer for wide rows, so that memory stays bounded.
pub fn scoring_rows(width: usize) -> usize {
    ((1 << 22) / width.max(1)).clamp(1, 4096)
}

/// A pack in training.
pub struct Reference<'a> {
    /// The config of each member; only numbers may differ.
    experiments: Vec<&'a Experiment>,
    architecture: &'a Architecture,
    device: Device,
    feed: Feed<'a>,
    valid: Option<Rows<'a>>,
    /// `[members, parameters]`
    parameters: Tensor<2>,
    /// Running means and variances, `[members, statistics]`; `None` without normalised layers.
    statistics: Option<Tensor<2>>,
    /// The gradient of the L2 term divided by the parameter, `[members, parameters]`; `None`
    /// without an L2 term.
    decay: Option<Tensor<2>>,
    optimizer: Optimizer,
    /// `[members, 1, 1]`, kept on the device and read once per epoch: reading makes the host wait.
    loss_sum: Option<Tensor<3>>,
    /// The same for penalties; `None` without any.
    penalty_sum: Option<Tensor<3>>,
}

/// Rows on the device.
#[derive(Clone)]
pub(super) struct OnDevice {
    /// `[1 or members, rows, width]`
    pub(super) values: Tensor<3>,
    /// `[1 or members, rows, 1]`
    pub(super) weights: Option<Tensor<3>>,
    /// 1 for each present value, 0 for each missing one, `[1 or members, rows, width]`; `None` if
    /// none is missing.
    pub(super) present: Option<Tensor<3>>,
}

/// 1 for each number, 0 for each missing one (NaN).
fn presence(known: &[f32]) -> Vec<f32> {
    known.iter().map(|value| if value.is_nan() { 0.0 } else { 1.0 }).collect()
}

impl OnDevice {
    /// Copies rows from the host, the same rows for all members.
    pub(super) fn new(rows: Rows<'_>, range: Range<usize>, device: &Device) -> Self {
        let tensor = |values: Vec<f32>, width: usize| {
            Tensor::from_data(TensorData::new(values, [1, range.len(), width]), device)
        };
        let weights: Option<Vec<f32>> = range.clone().map(|i| rows.weight(i)).collect();
        Self {
            values: tensor(rows.copy(range.clone()), rows.width()),
            weights: weights.filter(|_| !range.is_empty()).map(|weights| tensor(weights, 1)),
            present: rows
                .is_masked()
                .then(|| tensor(presence(&rows.copy_known(range.clone())), rows.width())),
        }
    }

    fn map(&self, change: impl Fn(&Tensor<3>) -> Tensor<3>) -> Self {
        Self {
            values: change(&self.values),
            weights: self.weights.as_ref().map(&change),
            present: self.present.as_ref().map(&change),
        }
    }

    /// The distance of each row and its reconstruction `output`.
    fn distance(&self, loss: Distance, output: Tensor<3>) -> Tensor<3> {
        match &self.present {
            None => loss::per_row(loss, output, self.values.clone()),
            Some(present) => {
                loss::per_row_present(loss, output, self.values.clone(), present.clone())
            }
        }
    }
}

/// Tables up to this size are kept on the device.
const TABLE: usize = 4 << 30;
/// Ordered rows are put on the device in pieces of about this size.
const PIECE: usize = 256 << 20;

/// Copies the training rows to the device in the order of each member, in pieces of several
/// batches. Rows are gathered on the device if the table fits there, else on the host.
pub(super) struct Feed<'a> {
    rows: Rows<'a>,
    table: Option<OnDevice>,
    device: Device,
    /// The positions of the epoch's order that are on the device, and their rows `[batches ·
    /// members, rows of a batch, width]`.
    piece: Option<(Range<usize>, OnDevice)>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(rows: Rows<'a>, device: &Device) -> Self {
        let table = (rows.len() * rows.width() * size_of::<f32>() <= TABLE)
            .then(|| OnDevice::new(rows, 0..rows.len(), device));
        Self { rows, table, device: device.clone(), piece: None }
    }

    /// Discards the current piece because the order of rows changes.
    pub(super) fn forget(&mut self) {
        self.piece = None;
    }

    /// The rows of a batch, `[1 or members, rows, width]`; 1 if no member shuffles its rows.
    pub(super) fn batch(&mut self, batch: &Batch<'_>) -> OnDevice {
        let shares = if batch.members.iter().all(|share| share.order.is_none()) {
            &batch.members[..1]
        } else {
            batch.members
        };
        let (length, members) = (batch.rows.len(), shares.len());
        let fits = |(range, _): &&(Range<usize>, OnDevice)| {
            range.start <= batch.rows.start && batch.rows.end <= range.end
        };
        if self.piece.as_ref().filter(fits).is_none() {
            let bytes = members * length * self.rows.width() * size_of::<f32>();
            let batches =
                (PIECE / bytes.max(1)).min((self.rows.len() - batch.rows.start) / length).max(1);
            let range = batch.rows.start..batch.rows.start + batches * length;
            let starts = range.clone().step_by(length);
            let order: Vec<usize> = starts
                .flat_map(|start| {
                    shares
                        .iter()
                        .flat_map(move |share| (start..start + length).map(|at| share.row(at)))
                })
                .collect();
            self.piece = Some((range, self.gather(&order, batches * members, length)));
        }
        let Some((range, piece)) = &self.piece else { unreachable!("it was just filled") };
        let at = (batch.rows.start - range.start) / length * members;
        piece.map(|tensor| tensor.clone().narrow(0, at, members))
    }

    /// Rows by their number, `[count, length, width]`.
    fn gather(&self, order: &[usize], count: usize, length: usize) -> OnDevice {
        let shaped = |tensor: Tensor<3>, width: usize| tensor.reshape([count, length, width]);
        match &self.table {
            Some(table) => {
                let indices: Vec<i64> = order.iter().map(|&row| row as i64).collect();
                let indices = Tensor::<1, Int>::from_data(
                    TensorData::new(indices, [order.len()]),
                    &self.device,
                );
                table.map(|tensor| {
                    shaped(tensor.clone().select(1, indices.clone()), tensor.dims()[2])
                })
            }
            None => {
                let mut values = Vec::with_capacity(order.len() * self.rows.width());
                order.iter().for_each(|&row| self.rows.extend(row, &mut values));
                let weights: Option<Vec<f32>> =
                    order.iter().map(|&row| self.rows.weight(row)).collect();
                let tensor = |values: Vec<f32>, width: usize| {
                    Tensor::from_data(TensorData::new(values, [count, length, width]), &self.device)
                };
                let present = self.rows.is_masked().then(|| {
                    let mut known = Vec::with_capacity(values.len());
                    order.iter().for_each(|&row| self.rows.extend_known(row, &mut known));
                    tensor(presence(&known), self.rows.width())
                });
                OnDevice {
                    values: tensor(values, self.rows.width()),
                    weights: weights.map(|weights| tensor(weights, 1)),
                    present,
                }
            }
        }
    }
}

impl<'a> Reference<'a> {
    /// A pack in training on `device`; it has at least one member.
    pub fn new(pack: &[Job<'a>], device: &Device) -> Self {
        let Job { architecture, train, valid, .. } = pack[0];
        let flat = |values: Vec<f32>| {
            let width = values.len() / pack.len();
            Tensor::<2>::from_data(TensorData::new(values, [pack.len(), width]), device)
        };
        let split = |job: &Job<'a>| job.start.split_at(architecture.parameters());
        let l2 = |job: &Job<'_>| {
            architecture
                .weight_mask()
                .into_iter()
                .map(|mask| (2.0 * job.experiment.loss.l2) as f32 * mask)
                .collect::<Vec<_>>()
        };
        Self {
            experiments: pack.iter().map(|job| job.experiment).collect(),
            architecture,
            device: device.clone(),
            feed: Feed::new(train, device),
            valid,
            parameters: flat(pack.iter().flat_map(|job| split(job).0).copied().collect()),
            statistics: (architecture.statistics() > 0)
                .then(|| flat(pack.iter().flat_map(|job| split(job).1).copied().collect())),
            decay: pack
                .iter()
                .any(|job| job.experiment.loss.l2 > 0.0)
                .then(|| flat(pack.iter().flat_map(l2).collect())),
            optimizer: Optimizer::new(
                pack.iter().map(|job| job.experiment.update_rule()).collect(),
            ),
            loss_sum: None,
            penalty_sum: None,
        }
    }

    /// One number per member, `[members, 1]`.
    fn numbers(&self, number: impl Fn(usize) -> f64) -> Tensor<2> {
        let numbers: Vec<f32> = (0..self.experiments.len()).map(|at| number(at) as f32).collect();
        Tensor::from_data(TensorData::new(numbers, [self.experiments.len(), 1]), &self.device)
    }

    /// The inputs of a batch with noise and masking, `[1 or members, rows, width]`.
    fn corrupted(&self, values: Tensor<3>, batch: &Batch<'_>) -> Tensor<3> {
        if batch.members.iter().all(|share| share.corruption.is_none()) {
            return values;
        }
        let shape = [batch.members.len(), batch.rows.len(), self.architecture.widths[0]];
        let tensor = |of: fn(&Corruption) -> &Vec<f32>, without: f32| {
            let own = |share: &MemberBatch<'_>| {
                share
                    .corruption
                    .as_ref()
                    .map_or_else(|| vec![without; shape[1] * shape[2]], |own| of(own).clone())
            };
            Tensor::<3>::from_data(
                TensorData::new(batch.members.iter().flat_map(own).collect::<Vec<f32>>(), shape),
                &self.device,
            )
            .autodiff()
        };
        (values + tensor(|own| &own.added, 0.0)) * tensor(|own| &own.kept, 1.0)
    }

    /// The penalties of a batch with their factors, `[members, 1, 1]`; `None` if the config has
    /// none. `share` is one over the total weight of a member's rows.
    fn penalties(
        &self,
        model: &Autoencoder,
        forward: &Forward,
        weights: Option<&Tensor<3>>,
        share: &Tensor<3>,
        batch: &Batch<'_>,
    ) -> Option<Tensor<3>> {
        let of = |number: &dyn Fn(usize, &Penalties) -> f64| {
            // A batch of weight 0 for a member has no penalty.
            let own = |at: usize| {
                if batch.members[at].total > 0.0 {
                    number(at, &self.experiments[at].loss.penalties())
                } else {
                    0.0
                }
            };
            let numbers: Vec<f64> = (0..self.experiments.len()).map(own).collect();
            numbers
                .iter()
                .any(|number| *number > 0.0)
                .then(|| self.numbers(|at| numbers[at]).reshape([numbers.len(), 1, 1]).autodiff())
        };
        let mean = |per_row: Tensor<3>| loss::sum(per_row, weights.cloned()) * share.clone();
        let l1 = of(&|_, penalties| {
            if let Some(SparsityPenalty::L1 { weight }) = penalties.sparsity { weight } else { 0.0 }
        });
        let kl = of(&|_, penalties| {
            if let Some(SparsityPenalty::Kl { weight, .. }) = penalties.sparsity {
                weight
            } else {
                0.0
            }
        });
        let contractive = of(&|_, penalties| penalties.contractive);
        let divergence = of(&|at, _| batch.members[at].kl);
        let mut parts = vec![];
        parts.extend(l1.map(|factor| mean(forward.latent.clone().abs().sum_dim(2)) * factor));
        parts.extend(kl.map(|factor| {
            let target = |at: usize| {
                if let Some(SparsityPenalty::Kl { target, .. }) =
                    self.experiments[at].loss.penalties().sparsity
                {
                    target
                } else {
                    0.5
                }
            };
            let target = self.numbers(target).reshape([self.experiments.len(), 1, 1]).autodiff();
            loss::silence(mean(forward.latent.clone()), target) * factor
        }));
        parts
            .extend(contractive.map(|factor| {
                mean(model.contraction(self.architecture, &forward.linear)) * factor
            }));
        let latents = forward.log_variance.clone().zip(divergence);
        parts.extend(latents.map(|(log_variance, factor)| {
            mean(loss::divergence(forward.latent.clone(), log_variance)) * factor
        }));
        parts.into_iter().reduce(|sum, part| sum + part)
    }

    /// Updates the running statistics with those of a batch, layer by layer.
    fn update_running_stats(&mut self, of_batch: Vec<Tensor<3>>, batch: &Batch<'_>) {
        if of_batch.is_empty() || batch.rows.len() < 2 {
            return;
        }
        let of_batch = Tensor::cat(
            of_batch
                .into_iter()
                .map(|tensor| tensor.inner().flatten(1, 2))
                .collect::<Vec<Tensor<2>>>(),
            1,
        );
        let fresh = self.numbers(|at| if batch.members[at].total > 0.0 { MOMENTUM } else { 0.0 });
        let kept = fresh.ones_like() - fresh.clone();
        self.statistics =
            self.statistics.take().map(|statistics| statistics * kept + of_batch * fresh);
    }

    /// The running statistics of each member.
    fn read_statistics(&self) -> Result<Vec<Vec<f32>>> {
        match self.statistics.clone() {
            Some(statistics) => Ok(read(statistics)?
                .chunks(self.architecture.statistics())
                .map(<[f32]>::to_vec)
                .collect()),
            None => Ok(vec![vec![]; self.experiments.len()]),
        }
    }

    /// The parameters of the plain networks, `[members, parameters]`.
    fn folded(&mut self) -> Result<Tensor<2>> {
        if self.statistics.is_none() {
            return Ok(self.parameters.clone());
        }
        let folded: Vec<f32> =
            self.weights()?.iter().flat_map(|weights| self.architecture.fold(weights)).collect();
        let shape = [self.experiments.len(), self.architecture.plain().parameters()];
        Ok(Tensor::from_data(TensorData::new(folded, shape), &self.device))
    }
}

impl Trainer for Reference<'_> {
    fn start_epoch(&mut self) {
        (self.loss_sum, self.penalty_sum) = (None, None);
        self.feed.forget();
    }

    fn step(&mut self, batch: Batch<'_>) -> Result<()> {
        let (rows, members) = (batch.rows.len(), self.experiments.len());
        if batch.members.iter().all(|share| share.total <= 0.0) {
            return Ok(());
        }
        let part = self.feed.batch(&batch).map(|tensor| tensor.clone().autodiff());
        let mask = |layer: usize, width: usize| {
            let masks = batch
                .members
                .iter()
                .filter_map(|share| share.masks.as_ref())
                .flat_map(|masks| &masks[layer])
                .copied()
                .collect::<Vec<f32>>();
            Tensor::<3>::from_data(TensorData::new(masks, [members, rows, width]), &self.device)
                .autodiff()
        };
        let hidden = &self.architecture.widths[1..self.architecture.layers()];
        let masks: Option<Vec<Tensor<3>>> = (self.architecture.dropout > 0.0)
            .then(|| hidden.iter().enumerate().map(|(layer, width)| mask(layer, *width)).collect());

        let latents = self.architecture.variational.then(|| {
            let numbers: Vec<f32> = batch
                .members
                .iter()
                .filter_map(|share| share.latents.as_ref())
                .flatten()
                .copied()
                .collect();
            Tensor::<3>::from_data(
                TensorData::new(numbers, [members, rows, self.architecture.latent()]),
                &self.device,
            )
            .autodiff()
        });

        let model = Autoencoder::from_flat(self.architecture, &self.parameters).tracked();
        let drawn = Drawn { dropout: masks.as_deref(), latents: latents.as_ref() };
        let mut forward =
            model.forward(self.architecture, self.corrupted(part.values.clone(), &batch), drawn);
        self.update_running_stats(std::mem::take(&mut forward.statistics), &batch);
        let distance = part.distance(self.experiments[0].loss.distance(), forward.output.clone());
        // A batch of weight 0 for a member adds nothing to its loss and changes no parameter.
        let share = self.numbers(|at| {
            if batch.members[at].total > 0.0 { 1.0 / batch.members[at].total } else { 0.0 }
        });
        let share = share.reshape([members, 1, 1]).autodiff();
        let penalty = self.penalties(&model, &forward, part.weights.as_ref(), &share, &batch);
        let data_loss = loss::sum(distance, part.weights) * share;
        let add = |sum: &mut Option<Tensor<3>>, value: &Tensor<3>| {
            let of_batch = value.clone().inner().mul_scalar(rows as f64);
            *sum = Some(sum.take().map_or(of_batch.clone(), |sum| sum + of_batch));
        };
        add(&mut self.loss_sum, &data_loss);
        let mut objective = data_loss;
        if let Some(penalty) = penalty {
            add(&mut self.penalty_sum, &penalty);
            objective = objective + penalty;
        }
        let activity = |at: usize| self.experiments[at].loss.activity_l2;
        if (0..members).any(|at| activity(at) > 0.0) {
            let factor = self.numbers(activity).reshape([members, 1, 1]).autodiff();
            objective = objective + loss::activity(forward.first_hidden) * factor;
        }

        let mut gradients = objective.sum_dim(0).backward();
        let flat = |tensor: &Tensor<3>| {
            tensor
                .grad_remove(&mut gradients)
                .unwrap_or_else(|| tensor.clone().inner().zeros_like())
                .flatten(1, 2)
        };
        let mut gradient =
            Tensor::cat(model.tensors().iter().map(flat).collect::<Vec<Tensor<2>>>(), 1);
        if let Some(decay) = &self.decay {
            gradient = gradient + self.parameters.clone() * decay.clone();
        }
        let limit =
            |at: usize| self.experiments[at].train.gradient_clip.unwrap_or(f64::from(f32::MAX));
        if (0..members).any(|at| self.experiments[at].train.gradient_clip.is_some()) {
            gradient = optimizer::clip(gradient, self.numbers(limit));
        }
        let taken: Vec<Option<f64>> =
            batch.members.iter().map(|share| (share.total > 0.0).then_some(share.rate)).collect();
        self.parameters = self.optimizer.step(self.parameters.clone(), gradient, &taken);
        Ok(())
    }

    fn sums(&mut self) -> Result<Vec<Sums>> {
        let of = |sum: &Option<Tensor<3>>| {
            sum.as_ref()
                .map_or_else(|| Ok(vec![0.0; self.experiments.len()]), |sum| read(sum.clone()))
        };
        let (losses, penalties) = (of(&self.loss_sum)?, of(&self.penalty_sum)?);
        Ok(losses
            .iter()
            .zip(penalties)
            .map(|(loss, penalty)| Sums { loss: f64::from(*loss), penalty: f64::from(penalty) })
            .collect())
    }

    fn valid_loss_sums(&mut self) -> Result<Vec<f64>> {
        let mut sums = vec![0.0; self.experiments.len()];
        let Some(valid) = self.valid else { return Ok(sums) };
        let plain = self.architecture.plain();
        let model = Autoencoder::from_flat(&plain, &self.folded()?);
        let step = scoring_rows(self.architecture.widths[0]);
        for start in (0..valid.len()).step_by(step) {
            let part = OnDevice::new(valid, start..(start + step).min(valid.len()), &self.device);
            let output = model.forward(&plain, part.values.clone(), Drawn::default()).output;
            let distance = part.distance(self.experiments[0].loss.distance(), output);
            sums.iter_mut()
                .zip(read(loss::sum(distance, part.weights))?)
                .for_each(|(sum, part)| *sum += f64::from(part));
        }
        Ok(sums)
    }

    fn optimizer_states(&mut self) -> Result<Vec<OptimizerState>> {
        let (steps, first, second) = self.optimizer.moments();
        let length = self.architecture.parameters();
        // Moments are 0 before the first step.
        let read_or_zeros = |tensor: Option<Tensor<2>>| {
            tensor.map_or_else(|| Ok(vec![0.0; steps.len() * length]), read)
        };
        let (parameters, first, second) =
            (read(self.parameters.clone())?, read_or_zeros(first)?, read_or_zeros(second)?);
        let of = |values: &[f32], at: usize| values[at * length..(at + 1) * length].to_vec();
        let statistics = self.read_statistics()?;
        let moments = |((at, steps), statistics): ((usize, &i32), Vec<f32>)| OptimizerState {
            steps: *steps,
            parameters: of(&parameters, at),
            statistics,
            first: of(&first, at),
            second: of(&second, at),
        };
        Ok(steps.iter().enumerate().zip(statistics).map(moments).collect())
    }

    fn restore(&mut self, moments: &[&OptimizerState], sums: &[Sums]) {
        let flat = |part: fn(&OptimizerState) -> &Vec<f32>| {
            let values: Vec<f32> =
                moments.iter().flat_map(|moments| part(moments)).copied().collect();
            let width = values.len() / moments.len();
            Tensor::<2>::from_data(TensorData::new(values, [moments.len(), width]), &self.device)
        };
        self.optimizer.restore(
            moments.iter().map(|moments| moments.steps).collect(),
            flat(|moments| &moments.first),
            flat(|moments| &moments.second),
        );
        self.parameters = flat(|moments| &moments.parameters);
        self.statistics =
            (self.architecture.statistics() > 0).then(|| flat(|moments| &moments.statistics));
        let tensor = |of: fn(&Sums) -> f64| {
            sums.iter()
                .any(|sums| of(sums) != 0.0)
                .then(|| self.numbers(|at| of(&sums[at])).reshape([moments.len(), 1, 1]))
        };
        (self.loss_sum, self.penalty_sum) = (tensor(|sums| sums.loss), tensor(|sums| sums.penalty));
    }

    fn weights(&mut self) -> Result<Vec<Vec<f32>>> {
        let (parameters, statistics) = (read(self.parameters.clone())?, self.read_statistics()?);
        Ok(parameters
            .chunks(self.architecture.parameters())
            .zip(statistics)
            .map(|(own, statistics)| [own, &statistics].concat())
            .collect())
    }

    fn retain_members(&mut self, members: &[usize]) -> Result<()> {
        let indices: Vec<i64> = members.iter().map(|&at| at as i64).collect();
        let indices =
            Tensor::<1, Int>::from_data(TensorData::new(indices, [members.len()]), &self.device);
        retain(&mut self.experiments, members);
        if members.is_empty() {
            return Ok(());
        }
        self.parameters = self.parameters.clone().select(0, indices.clone());
        self.statistics =
            self.statistics.take().map(|statistics| statistics.select(0, indices.clone()));
        self.decay = self.decay.take().map(|decay| decay.select(0, indices.clone()));
        for sum in [&mut self.loss_sum, &mut self.penalty_sum] {
            *sum = sum.take().map(|sum| sum.select(0, indices.clone()));
        }
        self.optimizer.keep(members, &indices);
        self.feed.forget();
        Ok(())
    }
}
