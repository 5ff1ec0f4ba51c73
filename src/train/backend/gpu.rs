//! Training on a GPU with the kernels in [`crate::model::gpu::kernels`]: a few launches per epoch
//! and pack.

use crate::{
    config::{Distance as Loss, Experiment, UpdateRule as Optimizer},
    device::Gpu,
    error::Result,
    model::{
        Architecture,
        gpu::forward::{ROWS, argument, download, plan, run, upload},
        gpu::kernels::{self, KernelPlan, NUMBERS, UpdateRule},
    },
    prepare::Rows,
    train::{
        optimizer::{self, Numbers},
        trainer::{Batch, Job, OptimizerState, Sums, Trainer, retain},
    },
};
use cubecl::{client::Client, prelude::*, server::Handle};

/// Batches per launch; a smaller number is launched only at the end of the epoch.
const AT_ONCE: usize = 256;

/// A pack in training.
pub struct Kernel<'a> {
    experiments: Vec<&'a Experiment>,
    architecture: &'a Architecture,
    client: Client,
    plan: KernelPlan,
    /// Maximum number of batches per launch.
    at_once: usize,
    most_loops: Option<usize>,
    train: Table,
    valid: Option<(Rows<'a>, Table)>,
    /// `[members, 3 · parameters]`
    state: Handle,
    scratch: Handle,
    /// Losses of the current epoch, `[members]`.
    losses: Handle,
    steps: Vec<i32>,
    /// The epoch's order of each member, and their stride.
    order: Option<(Handle, usize, usize)>,
    /// Position of the first pending batch, and the numbers of each pending step per member.
    waiting: (usize, Vec<Vec<[f32; NUMBERS]>>),
}

/// Rows on the device.
struct Table {
    values: Handle,
    weights: Handle,
    rows: usize,
    width: usize,
}

impl Table {
    fn new(rows: Rows<'_>, client: &Client) -> Self {
        let weights: Option<Vec<f32>> = (0..rows.len()).map(|i| rows.weight(i)).collect();
        let weights = weights.filter(|weights| !weights.is_empty()).unwrap_or_else(|| vec![1.0]);
        Self {
            values: upload(client, &rows.copy(0..rows.len())),
            weights: upload(client, &weights),
            rows: rows.len(),
            width: rows.width(),
        }
    }
}

fn rule(optimizer: Optimizer) -> UpdateRule {
    match optimizer {
        Optimizer::Adam { .. } => UpdateRule::Adam,
        Optimizer::Sgd { .. } => UpdateRule::Sgd,
        Optimizer::Adadelta { .. } => UpdateRule::Adadelta,
        Optimizer::RmsProp { .. } => UpdateRule::RmsProp,
    }
}

/// Whether the kernels can train a model; other models use [`super::autodiff`].
pub fn can(job: &Job<'_>, gpu: &Gpu) -> bool {
    let plan = plan_of(job, gpu.threads);
    let rows = job.train.len().max(job.valid.map_or(0, |valid| valid.len()));
    KernelPlan::knows(job.architecture)
        && !job.train.is_masked()
        && !job.valid.is_some_and(|valid| valid.is_masked())
        && !job.experiment.model.is_regularised()
        && job.experiment.loss.penalties().is_empty()
        && job.experiment.train.gradient_clip.is_none()
        && gpu.most_loops.is_none_or(|most| plan.loops().1 + plan.units < most)
        && rows * job.train.width() < u32::MAX as usize
        && bytes(rows * job.train.width()).max(largest(job, 1, &plan))
            <= gpu.client.properties().memory.max_page_size
}

/// Whether each buffer of a pack of `members` fits into the device's largest allocation.
pub fn fits(job: &Job<'_>, members: usize, gpu: &Gpu) -> bool {
    largest(job, members, &plan_of(job, gpu.threads))
        <= gpu.client.properties().memory.max_page_size
}

fn bytes(values: usize) -> u64 {
    (values * size_of::<f32>()) as u64
}

/// The largest buffer of a pack: states, values between layers, or orders of rows.
fn largest(job: &Job<'_>, members: usize, plan: &KernelPlan) -> u64 {
    let values = (3 * job.architecture.parameters())
        .max(2 * plan.value_at(plan.widths.len()))
        .max(job.train.len());
    bytes(members * values)
}

/// Compilation parameters of the kernels of a training.
fn plan_of(job: &Job<'_>, threads: usize) -> KernelPlan {
    let (experiment, train) = (job.experiment, job.train);
    let batch = (experiment.train.batch_size as usize).min(train.len().max(1));
    let weighted = !train.is_empty() && train.weight(0).is_some();
    plan(
        job.architecture,
        batch,
        experiment.loss.distance(),
        rule(experiment.update_rule()),
        weighted,
        threads,
    )
}

impl<'a> Kernel<'a> {
    /// A pack in training on `gpu`; it has at least one member.
    pub fn new(pack: &[Job<'a>], gpu: Gpu) -> Self {
        let Job { architecture, train, valid, .. } = pack[0];
        let Gpu { client, threads, most_loops } = gpu;
        let plan = plan_of(&pack[0], threads);
        let zeros = vec![0.0; 2 * architecture.parameters()];
        let state: Vec<f32> =
            pack.iter().flat_map(|job| job.start.iter().chain(&zeros)).copied().collect();
        Self {
            experiments: pack.iter().map(|job| job.experiment).collect(),
            architecture,
            train: Table::new(train, &client),
            valid: valid.map(|valid| (valid, Table::new(valid, &client))),
            state: upload(&client, &state),
            scratch: client
                .empty(pack.len() * 2 * plan.value_at(plan.widths.len()) * size_of::<f32>()),
            losses: upload(&client, &vec![0.0; pack.len()]),
            steps: vec![0; pack.len()],
            order: None,
            waiting: (0, vec![]),
            at_once: most_loops
                .map_or(AT_ONCE, |most| ((most - plan.units) / plan.loops().1).clamp(1, AT_ONCE)),
            most_loops,
            plan,
            client,
        }
    }

    fn members(&self) -> usize {
        self.experiments.len()
    }

    fn beta(&self) -> f32 {
        if let Loss::SmoothL1 { beta } = self.experiments[0].loss.distance() {
            beta as f32
        } else {
            1.0
        }
    }

    /// Launches the pending batches.
    fn flush(&mut self) {
        let (first, waiting) = std::mem::take(&mut self.waiting);
        let (Some((order, length, stride)), batches @ 1..) = (&self.order, waiting.len()) else {
            return;
        };
        let members = self.members();
        let numbers: Vec<f32> = (0..members)
            .flat_map(|member| waiting.iter().flat_map(move |batch| batch[member]))
            .collect();
        let KernelPlan { widths, .. } = &self.plan;
        let values = 2 * self.plan.value_at(widths.len());
        kernels::train::launch(
            &self.client,
            CubeCount::Static(members as u32, 1, 1),
            CubeDim::new_1d(self.plan.units as u32),
            argument(&self.train.values, self.train.rows * self.train.width),
            argument(&self.train.weights, if self.plan.weighted { self.train.rows } else { 1 }),
            argument(order, *length),
            argument(&upload(&self.client, &numbers), numbers.len()),
            argument(&self.state, members * 3 * self.architecture.parameters()),
            argument(&self.scratch, members * values),
            argument(&self.losses, members),
            *stride as u32,
            first as u32,
            self.train.rows as u32,
            batches as u32,
            self.beta(),
            self.plan.clone(),
        );
    }

    /// Parameters, first and second moment of each member.
    fn read_state(&mut self) -> Result<Vec<Vec<f32>>> {
        self.flush();
        Ok(download(&self.client, &self.state)?
            .chunks(3 * self.architecture.parameters())
            .map(<[f32]>::to_vec)
            .collect())
    }
}

impl Trainer for Kernel<'_> {
    fn start_epoch(&mut self) {
        self.order = None;
        self.losses = upload(&self.client, &vec![0.0; self.members()]);
    }

    fn step(&mut self, batch: Batch<'_>) -> Result<()> {
        if self.order.is_none() {
            let rows = 0..self.train.rows;
            let all_alike = batch.members.iter().all(|share| share.order.is_none());
            let shares = if all_alike { &batch.members[..1] } else { batch.members };
            let order: Vec<u32> = shares
                .iter()
                .flat_map(|share| rows.clone().map(|at| share.row(at) as u32))
                .collect();
            let stride = if all_alike { 0 } else { rows.len() };
            self.order =
                Some((self.client.create_from_slice(u32::as_bytes(&order)), order.len(), stride));
        }
        if self.waiting.1.is_empty() {
            self.waiting.0 = batch.rows.start;
        }
        let mut numbers = vec![];
        for (at, share) in batch.members.iter().enumerate() {
            let experiment = self.experiments[at];
            let taken = share.total > 0.0;
            self.steps[at] += i32::from(taken);
            let rule: Numbers =
                optimizer::numbers(experiment.update_rule(), self.steps[at].max(1), share.rate);
            let mut own = [0.0; NUMBERS];
            own.iter_mut().zip(rule).for_each(|(own, number)| *own = number as f32);
            own[6] = if taken { (1.0 / share.total) as f32 } else { 0.0 };
            own[7] = (2.0 * experiment.loss.activity_l2 / batch.rows.len() as f64) as f32;
            own[8] = (2.0 * experiment.loss.l2) as f32;
            numbers.push(own);
        }
        self.waiting.1.push(numbers);
        if self.waiting.1.len() >= self.at_once {
            self.flush();
        }
        Ok(())
    }

    fn sums(&mut self) -> Result<Vec<Sums>> {
        self.flush();
        Ok(download(&self.client, &self.losses)?
            .into_iter()
            .map(|loss| Sums { loss: f64::from(loss), penalty: 0.0 })
            .collect())
    }

    fn valid_loss_sums(&mut self) -> Result<Vec<f64>> {
        self.flush();
        let members = self.members();
        let Some((rows, table)) = &self.valid else { return Ok(vec![0.0; members]) };
        let plan = KernelPlan { batch: ROWS, ..self.plan.clone() };
        let states = (&self.state, 3 * self.architecture.parameters(), members);
        let distances = run(
            &self.client,
            self.most_loops,
            plan,
            self.beta(),
            (&table.values, table.rows),
            states,
            true,
        )?;
        let sum = |distances: &[f32]| {
            distances
                .iter()
                .enumerate()
                .map(|(i, distance)| f64::from(*distance) * rows.weight(i).map_or(1.0, f64::from))
                .sum()
        };
        Ok(distances.chunks(table.rows.max(1)).map(sum).collect())
    }

    fn optimizer_states(&mut self) -> Result<Vec<OptimizerState>> {
        let length = self.architecture.parameters();
        let part =
            |state: &[f32], which: usize| state[which * length..(which + 1) * length].to_vec();
        let states = self.read_state()?;
        let moments = |(state, steps): (Vec<f32>, &i32)| OptimizerState {
            steps: *steps,
            parameters: part(&state, 0),
            statistics: vec![],
            first: part(&state, 1),
            second: part(&state, 2),
        };
        Ok(states.into_iter().zip(&self.steps).map(moments).collect())
    }

    fn restore(&mut self, moments: &[&OptimizerState], sums: &[Sums]) {
        self.steps = moments.iter().map(|moments| moments.steps).collect();
        let states =
            moments.iter().flat_map(|OptimizerState { parameters, first, second, .. }| {
                [parameters, first, second]
            });
        self.state = upload(&self.client, &states.flatten().copied().collect::<Vec<f32>>());
        self.losses =
            upload(&self.client, &sums.iter().map(|sums| sums.loss as f32).collect::<Vec<f32>>());
    }

    fn weights(&mut self) -> Result<Vec<Vec<f32>>> {
        let length = self.architecture.parameters();
        Ok(self
            .read_state()?
            .into_iter()
            .map(|mut state| {
                state.truncate(length);
                state
            })
            .collect())
    }

    fn retain_members(&mut self, members: &[usize]) -> Result<()> {
        if !members.is_empty() {
            let (states, losses) = (self.read_state()?, self.sums()?);
            self.state = upload(
                &self.client,
                &members.iter().flat_map(|&at| &states[at]).copied().collect::<Vec<f32>>(),
            );
            self.losses = upload(
                &self.client,
                &members.iter().map(|&at| losses[at].loss as f32).collect::<Vec<f32>>(),
            );
        }
        retain(&mut self.experiments, members);
        retain(&mut self.steps, members);
        self.order = None;
        Ok(())
    }
}
