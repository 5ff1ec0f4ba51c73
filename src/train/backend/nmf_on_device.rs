//! Training of non-negative matrix factorisations on any device; a pack is one computation.
//! [`super::nmf`] describes a step.

use super::autodiff::{Feed, OnDevice, scoring_rows};
use crate::{
    config::{
        Distance,
        model::{Nmf, NmfStart},
    },
    device::read,
    error::Result,
    model::{
        Architecture,
        nmf::{Filled, Numbers, nndsvd, tensors},
    },
    prepare::Rows,
    train::trainer::{Batch, Job, OptimizerState, Sums, Trainer, retain},
};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// A pack in training.
pub struct Factorisers<'a> {
    architecture: &'a Architecture,
    nmf: &'a Nmf,
    loss: Distance,
    seeds: Vec<u64>,
    /// Whether components are initialised from the rows before the first step.
    starts: bool,
    device: Device,
    train: Filled<'a>,
    /// Replacement of zeros in each bin, `[1, 1, bins]`.
    zeros: Option<Tensor<3>>,
    feed: Feed<'a>,
    valid: Option<Rows<'a>>,
    /// `[members, components, bins]`
    components: Tensor<3>,
    /// Sums over the rows so far of coefficients times rows and times coefficients, `[members,
    /// components, bins or components]`.
    products: Tensor<3>,
    gram: Tensor<3>,
    /// The weight of the rows so far, `[members, 1, 1]`.
    weight: Tensor<3>,
    steps: i32,
    /// `[members, 1, 1]`, kept on the device and read once per epoch.
    loss_sum: Tensor<3>,
}

impl<'a> Factorisers<'a> {
    /// A pack in training on `device`; it has at least one member.
    pub fn new(pack: &[Job<'a>], device: &Device) -> Self {
        let Job { experiment, architecture, train, valid, .. } = pack[0];
        let (members, count, bins) = (pack.len(), architecture.latent(), train.width());
        let filled = Filled::new(train, experiment.model.nmf.fill_zeros);
        let zeros = filled
            .zeros
            .as_ref()
            .map(|zeros| Tensor::from_data(TensorData::new(zeros.clone(), [1, 1, bins]), device));
        let start: Vec<f32> = pack.iter().flat_map(|job| job.start).copied().collect();
        Self {
            architecture,
            nmf: &experiment.model.nmf,
            loss: experiment.loss.distance(),
            seeds: pack.iter().map(|job| job.seed).collect(),
            starts: experiment.model.nmf.start == NmfStart::Nndsvd
                && experiment.train.init.is_none(),
            device: device.clone(),
            train: filled,
            zeros,
            feed: Feed::new(train, device),
            valid,
            components: Tensor::from_data(TensorData::new(start, [members, count, bins]), device),
            products: Tensor::zeros([members, count, bins], device),
            gram: Tensor::zeros([members, count, count], device),
            weight: Tensor::zeros([members, 1, 1], device),
            steps: 0,
            loss_sum: Tensor::zeros([members, 1, 1], device),
        }
    }

    fn tensor(&self, values: Vec<f32>, height: usize, width: usize) -> Tensor<3> {
        let members = values.len() / (height * width);
        Tensor::from_data(TensorData::new(values, [members, height, width]), &self.device)
    }

    /// One number per member, `[members, 1, 1]`.
    fn numbers(&self, number: impl Fn(usize) -> f64) -> Tensor<3> {
        self.tensor((0..self.seeds.len()).map(|at| number(at) as f32).collect(), 1, 1)
    }

    /// Coefficients of rows, the same times the weight of the row, both `[members, components,
    /// rows]`, and the sum over rows of weight times squared error, `[members, 1, 1]`.
    fn learn(&self, rows: &OnDevice) -> (Tensor<3>, Tensor<3>, Tensor<3>) {
        let coefficients = tensors::coefficients(
            &self.components,
            &rows.values,
            Numbers::new(self.nmf),
            self.nmf.solver,
        );
        let error = coefficients.clone().swap_dims(1, 2).matmul(self.components.clone())
            - rows.values.clone();
        let errors = (error.clone() * error).sum_dim(2);
        let (weighted, errors) = match &rows.weights {
            Some(weights) => {
                (coefficients.clone() * weights.clone().swap_dims(1, 2), errors * weights.clone())
            }
            None => (coefficients.clone(), errors),
        };
        (coefficients, weighted, errors.sum_dim(1))
    }

    fn read_all(&self) -> Result<[Vec<f32>; 4]> {
        Ok([
            read(self.components.clone())?,
            read(self.products.clone())?,
            read(self.gram.clone())?,
            read(self.weight.clone())?,
        ])
    }
}

impl Trainer for Factorisers<'_> {
    fn start_epoch(&mut self) {
        self.loss_sum = self.loss_sum.zeros_like();
        self.feed.forget();
    }

    fn step(&mut self, batch: Batch<'_>) -> Result<()> {
        let rows = batch.rows.len();
        if batch.members.iter().all(|share| share.total <= 0.0) {
            return Ok(());
        }
        let mut part = self.feed.batch(&batch);
        if let Some(zeros) = &self.zeros {
            part.values = part.values.clone() + part.values.equal_elem(0.0).float() * zeros.clone();
        }
        let (coefficients, weighted, errors) = self.learn(&part);
        let divisor = self.loss.divisor(self.train.rows.width());
        let share = |at: usize| {
            if batch.members[at].total > 0.0 {
                rows as f64 / batch.members[at].total / divisor
            } else {
                0.0
            }
        };
        self.loss_sum = self.loss_sum.clone() + errors * self.numbers(share);
        let kept = if rows == self.train.rows.len() {
            0.0
        } else {
            self.nmf.forget.powf(rows as f64 / self.train.rows.len() as f64)
        };
        let [members, _, bins] = self.components.dims();
        self.products = self.products.clone() * kept
            + weighted.clone().matmul(part.values.expand([members, rows, bins]));
        self.gram = self.gram.clone() * kept + weighted.matmul(coefficients.swap_dims(1, 2));
        self.weight = self.weight.clone() * kept + self.numbers(|at| batch.members[at].total);
        let penalties = [self.nmf.l1_components, self.nmf.l2_components]
            .map(|penalty| self.weight.clone() * penalty);
        self.components = tensors::components(
            &self.gram,
            &self.products,
            &penalties,
            self.nmf.solver,
            self.components.clone(),
        );
        self.steps += 1;
        Ok(())
    }

    fn sums(&mut self) -> Result<Vec<Sums>> {
        Ok(read(self.loss_sum.clone())?
            .into_iter()
            .map(|loss| Sums { loss: f64::from(loss), penalty: 0.0 })
            .collect())
    }

    fn valid_loss_sums(&mut self) -> Result<Vec<f64>> {
        let mut sums = vec![0.0; self.seeds.len()];
        let Some(valid) = self.valid else { return Ok(sums) };
        let step = scoring_rows(valid.width());
        for start in (0..valid.len()).step_by(step) {
            let part = OnDevice::new(valid, start..(start + step).min(valid.len()), &self.device);
            let (_, _, errors) = self.learn(&part);
            sums.iter_mut().zip(read(errors)?).for_each(|(sum, error)| {
                *sum += f64::from(error) / self.loss.divisor(valid.width())
            });
        }
        Ok(sums)
    }

    fn optimizer_states(&mut self) -> Result<Vec<OptimizerState>> {
        let [components, products, gram, weight] = self.read_all()?;
        let length = |values: &[f32]| values.len() / self.seeds.len();
        let of = |values: &[f32], at: usize| {
            values[at * length(values)..(at + 1) * length(values)].to_vec()
        };
        let moments = |at: usize| OptimizerState {
            steps: self.steps,
            parameters: of(&components, at),
            statistics: vec![],
            first: of(&products, at),
            second: [of(&gram, at), of(&weight, at)].concat(),
        };
        Ok((0..self.seeds.len()).map(moments).collect())
    }

    fn restore(&mut self, moments: &[&OptimizerState], sums: &[Sums]) {
        let (count, bins) = (self.architecture.latent(), self.train.rows.width());
        self.steps = moments.first().map_or(0, |moments| moments.steps);
        self.loss_sum = self.numbers(|at| sums[at].loss);
        let all = |part: &dyn Fn(&OptimizerState) -> Vec<f32>| -> Vec<f32> {
            moments.iter().flat_map(|moments| part(moments)).collect()
        };
        self.components = self.tensor(all(&|moments| moments.parameters.clone()), count, bins);
        if self.steps > 0 {
            self.products = self.tensor(all(&|moments| moments.first.clone()), count, bins);
            self.gram =
                self.tensor(all(&|moments| moments.second[..count * count].to_vec()), count, count);
            self.weight =
                self.tensor(all(&|moments| moments.second[count * count..].to_vec()), 1, 1);
        } else if self.starts {
            let made =
                self.seeds.iter().flat_map(|&seed| nndsvd(&self.train, count, seed)).collect();
            self.components = self.tensor(made, count, bins);
        }
    }

    fn weights(&mut self) -> Result<Vec<Vec<f32>>> {
        Ok(read(self.components.clone())?
            .chunks(self.architecture.parameters())
            .map(<[f32]>::to_vec)
            .collect())
    }

    fn retain_members(&mut self, members: &[usize]) -> Result<()> {
        retain(&mut self.seeds, members);
        if members.is_empty() {
            return Ok(());
        }
        let indices: Vec<i64> = members.iter().map(|&at| at as i64).collect();
        let indices =
            Tensor::<1, Int>::from_data(TensorData::new(indices, [members.len()]), &self.device);
        for tensor in [
            &mut self.components,
            &mut self.products,
            &mut self.gram,
            &mut self.weight,
            &mut self.loss_sum,
        ] {
            *tensor = tensor.clone().select(0, indices.clone());
        }
        self.feed.forget();
        Ok(())
    }
}
