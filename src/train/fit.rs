//! The training loop.

use super::{
    backend::{autodiff::Reference, cpu::Fused, nmf::Factoriser, nmf_on_device::Factorisers},
    early_stopping::Stopping,
    schedule::{Schedule, Seen},
};
use crate::{
    config::{
        Experiment,
        model::{Activation, Model},
        train::Kernels,
    },
    device::Opened,
    error::{Error, Result},
    model::Architecture,
    prepare::Rows,
    random,
};
use rand::{RngExt, seq::SliceRandom};
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::{ops::Range, time::Instant};

/// One model to train: alone, or as a member of a pack that goes through the same batches in lock
/// step.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What the config says of losses, steps and epochs. Members of a pack may differ in numbers
    /// only.
    pub experiment: &'a Experiment,
    /// The network; the same for all members of a pack.
    pub architecture: &'a Architecture,
    /// Flat weights to start from: parameters and running statistics.
    pub start: &'a [f32],
    /// What batch order, dropout, noise and masking are drawn from.
    pub seed: u64,
    /// The rows to train on; the same for all members of a pack.
    pub train: Rows<'a>,
    /// The rows to watch; the same for all members of a pack.
    pub valid: Option<Rows<'a>>,
}

/// A batch of the epoch's order.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// Positions in the epoch's order.
    pub rows: Range<usize>,
    /// What is each member's own.
    pub members: &'a [Share<'a>],
}

/// A member's part in a batch.
#[derive(Clone, Debug)]
pub struct Share<'a> {
    /// The order of the training rows in this epoch; `None` is their own.
    pub order: Option<&'a [usize]>,
    /// Sum of its rows' weights; where it is 0 the member leaves the batch out.
    pub total: f64,
    /// The learning rate.
    pub rate: f64,
    /// Dropout: what each hidden layer's outputs are multiplied by, `[rows, width]` each.
    pub masks: Option<Vec<Vec<f32>>>,
    /// What becomes of the inputs before the model sees them; what comes out is held to them as
    /// they were.
    pub corruption: Option<Corruption>,
    /// What latents are drawn with, standard normal, `[rows, latent]`; absent where they are not
    /// drawn.
    pub latents: Option<Vec<f32>>,
    /// The factor of the divergence of drawn latents in this epoch.
    pub kl: f64,
}

/// Noise and masking of a batch's inputs, each `[rows, width]`: (input + added) · kept.
#[derive(Clone, Debug)]
pub struct Corruption {
    /// Gaussian noise.
    pub added: Vec<f32>,
    /// 0 where an input is masked, else 1.
    pub kept: Vec<f32>,
}

impl Share<'_> {
    /// The row at a position of the epoch's order.
    pub fn row(&self, position: usize) -> usize {
        self.order.map_or(position, |order| order[position])
    }
}

/// What the batches of an epoch came to so far: means over a batch times its number of rows, added
/// up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Of the loss, a mean over rows by their weights; without L2 terms and penalties.
    pub loss: f64,
    /// Of what `loss.sparsity`, `loss.contractive` and `loss.kl` added, with their factors.
    pub penalty: f64,
}

/// A pack in training, on some device. What is returned has an entry for each member.
pub trait Trainer {
    /// Begins an epoch.
    fn start_epoch(&mut self);
    /// Forward, backward and update for one batch.
    fn step(&mut self, batch: Batch<'_>) -> Result<()>;
    /// What the epoch's batches came to so far.
    fn sums(&mut self) -> Result<Vec<Sums>>;
    /// Members whose loss is known to be no number any more; devices that are not waited for tell
    /// at the end of the epoch.
    fn diverged(&self) -> Vec<usize> {
        vec![]
    }
    /// Sum over the validation rows of weight times loss, without L2 terms and penalties.
    fn valid_loss_sums(&mut self) -> Result<Vec<f64>>;
    /// What the next step depends on.
    fn moments(&mut self) -> Result<Vec<Moments>>;
    /// Goes on from there, with the sums of the epoch so far.
    fn restore(&mut self, moments: &[&Moments], sums: &[Sums]);
    /// Flat weights: parameters and running statistics.
    fn weights(&mut self) -> Result<Vec<Vec<f32>>>;
    /// Goes on with these members only.
    fn keep(&mut self, members: &[usize]) -> Result<()>;
}

/// What the next step of a model in training depends on, each `[parameters]` but for the
/// statistics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Steps taken.
    pub steps: i32,
    /// Weights and biases, scales and shifts.
    pub parameters: Vec<f32>,
    /// Running means and variances of batch norm; empty without.
    pub statistics: Vec<f32>,
    /// What the optimiser keeps of gradients or steps.
    pub first: Vec<f32>,
    /// What it keeps of their squares.
    pub second: Vec<f32>,
}

impl Moments {
    /// Flat weights: parameters and running statistics.
    pub fn weights(&self) -> Vec<f32> {
        [self.parameters.as_slice(), &self.statistics].concat()
    }
}

/// Where a training stands, between two batches. Going on from it gives the same bytes as never
/// having stopped (on the CPU): chance has no state, since every use of it is drawn anew from the
/// seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Why training ended, where it has.
    pub stopped: Option<Stopped>,
    /// Batches of the epoch at hand that are done.
    pub batch: usize,
    /// Rows trained on in them.
    pub rows: usize,
    /// Sum of their losses, each times its rows.
    pub loss_sum: f64,
    /// The same of their penalties.
    #[serde(default)]
    pub penalty_sum: f64,
    /// Time spent on them.
    pub seconds: f64,
    /// The epochs that are done.
    pub history: Vec<Epoch>,
    /// Batches that were left out because their rows weigh nothing.
    pub weightless_batches: usize,
    /// What the schedule has seen.
    pub schedule: Seen,
    /// The best epoch (from 0) and its validation loss.
    pub best: Option<(u32, f64)>,
    /// Weights, and what the optimiser keeps.
    #[serde(skip)]
    pub moments: Moments,
    /// The weights of the best epoch, where they are to be restored.
    #[serde(skip)]
    pub best_weights: Option<Vec<f32>>,
}

/// Who looks on while a model is trained.
pub trait Watch {
    /// Told of each epoch as it ends.
    fn epoch(&mut self, epoch: &Epoch) -> Result<()>;
    /// Asked between batches whether to stop here for now; the state is then kept.
    fn pauses(&mut self) -> bool {
        false
    }
    /// Asked after each epoch whether the state is to be kept.
    fn keeps(&mut self) -> bool {
        false
    }
    /// Keeps a state to go on from.
    fn keep(&mut self, _state: &State) -> Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&Epoch) -> Result<()>> Watch for F {
    fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        self(epoch)
    }
}

/// One line of `history.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: u32,
    /// Mean over the epoch's batches, as long as they are, of their losses while they were trained
    /// on; without L2 terms and penalties. Within a batch rows count by their weight.
    pub train_loss: f64,
    /// Mean loss of the validation rows after the epoch; without L2 terms and penalties, and with
    /// means for drawn latents.
    pub valid_loss: Option<f64>,
    /// The rate of this epoch.
    pub learning_rate: f64,
    /// Time the epoch took.
    pub seconds: f64,
    /// What `loss.sparsity`, `loss.contractive` and `loss.kl` added to what was made small, with
    /// their factors: a mean as `train_loss` is. Absent without any of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<f64>,
}

/// Why training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// All epochs are done.
    AllEpochs,
    /// The validation loss no longer fell.
    Early,
    /// The training loss hardly fell any more.
    Converged,
}

/// A trained model.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// Flat weights: parameters and running statistics.
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

/// A member of a pack in training.
struct Member<'j, 'a, W> {
    /// Its place in the pack as it was given.
    place: usize,
    job: &'j Job<'a>,
    schedule: Schedule,
    stopping: Stopping,
    state: State,
    watch: W,
}

impl<W: Watch> Member<'_, '_, W> {
    /// Notes an epoch that is done; true where its weights are the best so far and wanted.
    fn epoch_done(
        &mut self,
        losses: (f64, Option<f64>, f64),
        rate: f64,
        seconds: f64,
    ) -> Result<bool> {
        let config = &self.job.experiment.train;
        let (train_loss, valid_loss, penalty) = losses;
        let epoch = self.state.epoch();
        let penalty = (!self.job.experiment.loss.penalties().is_empty()).then_some(penalty);
        let record = Epoch {
            epoch: epoch + 1,
            train_loss,
            valid_loss,
            learning_rate: rate,
            seconds,
            penalty,
        };
        self.watch.epoch(&record)?;
        self.schedule.observe(valid_loss);
        let mut best = false;
        if let Some(loss) = valid_loss {
            best = self.stopping.observe(epoch, loss) && config.stop.restore_best == Some(true);
            if self.stopping.stops(epoch) {
                self.state.stopped = Some(Stopped::Early);
            }
        }
        let state = &mut self.state;
        if let (Some(first), Some(last), Some(tolerance)) =
            (state.history.first(), state.history.last(), config.stop.tolerance)
            && last.train_loss - train_loss < tolerance * first.train_loss
        {
            state.stopped.get_or_insert(Stopped::Converged);
        }
        state.history.push(record);
        (state.batch, state.rows, state.loss_sum, state.penalty_sum, state.seconds) =
            (0, 0, 0.0, 0.0, 0.0);
        (state.schedule, state.best) = (self.schedule.seen(), self.stopping.best());
        if state.stopped.is_none() && state.epoch() == config.epochs {
            state.stopped = Some(Stopped::AllEpochs);
        }
        Ok(best)
    }

    fn keep(&mut self, moments: &Moments) -> Result<()> {
        self.state.moments = moments.clone();
        self.watch.keep(&self.state)
    }
}

/// Trains a pack in lock step, from the start or from where its members stood before, all of them
/// after the same batch. A member that stops early or diverges leaves the pack; the others go on.
/// One entry for each member, or nothing where it was paused.
pub fn fit<W: Watch>(
    pack: &[Job<'_>],
    device: &Opened,
    from: Vec<State>,
    watches: Vec<W>,
) -> Result<Option<Vec<Result<Fitted>>>> {
    let Some(&Job { experiment, architecture, train, valid, .. }) = pack.first() else {
        return Ok(Some(vec![]));
    };
    let config = &experiment.train;
    let batch_rows = config.batch_size as usize;
    let batches = config.batches(train.len());
    if config.epochs > 0 {
        config.check_batches(train.len())?;
    }
    let mut done: Vec<Option<Result<Fitted>>> = pack.iter().map(|_| None).collect();
    let mut members: Vec<Member<'_, '_, W>> = vec![];
    for (place, ((job, state), watch)) in pack.iter().zip(from).zip(watches).enumerate() {
        let config = &job.experiment.train;
        if state.stopped.is_some() || state.epoch() >= config.epochs {
            done[place] = Some(Ok(state.into()));
            continue;
        }
        let mut schedule = Schedule::new(
            job.experiment.train.schedule.course(),
            job.experiment.train.learning_rate(),
            config.schedule.warmup,
            config.epochs,
        );
        let mut stopping = Stopping::new(config.stop.patience, config.stop.min_delta);
        schedule.go_on(state.schedule);
        stopping.go_on(state.best);
        members.push(Member { place, job, schedule, stopping, state, watch });
    }
    if members.is_empty() {
        return Ok(Some(done.into_iter().flatten().collect()));
    }
    let jobs: Vec<Job<'_>> = members.iter().map(|member| *member.job).collect();
    let mut trainer = trainer(&jobs, config.kernels, device)?;
    let mut from_moments = true;

    while !members.is_empty() {
        let (clock, epoch) = (Instant::now(), members[0].state.epoch());
        let before = members[0].state.seconds;
        let mut rates: Vec<f64> =
            members.iter().map(|member| member.schedule.rate(epoch)).collect();
        let mut orders: Vec<_> = members
            .iter()
            .map(|member| order(config.shuffle, train.len(), member.job.seed, epoch))
            .collect();
        trainer.start_epoch();
        if std::mem::take(&mut from_moments) {
            let moments: Vec<&Moments> =
                members.iter().map(|member| &member.state.moments).collect();
            let sums = |member: &Member<'_, '_, W>| Sums {
                loss: member.state.loss_sum,
                penalty: member.state.penalty_sum,
            };
            trainer.restore(&moments, &members.iter().map(sums).collect::<Vec<_>>());
        }
        while members.first().is_some_and(|member| member.state.batch < batches) {
            let batch = members[0].state.batch;
            let rows = batch * batch_rows..((batch + 1) * batch_rows).min(train.len());
            let mut shares = vec![];
            for ((member, order), &rate) in members.iter_mut().zip(&orders).zip(&rates) {
                let total = train
                    .total_weight(rows.clone().map(|i| order.as_ref().map_or(i, |order| order[i])));
                let state = &mut member.state;
                if total > 0.0 {
                    state.rows += rows.len();
                } else {
                    state.weightless_batches += 1;
                }
                state.batch += 1;
                let masks = (architecture.dropout > 0.0).then(|| {
                    dropout_masks(architecture, rows.len(), member.job.seed, epoch, batch)
                });
                let model = &member.job.experiment.model;
                let corruption =
                    corruption(model, rows.len() * train.width(), member.job.seed, epoch, batch);
                let latents = architecture.variational.then(|| {
                    normal_numbers(
                        rows.len() * architecture.latent(),
                        member.job.seed,
                        epoch,
                        batch,
                    )
                });
                let kl = member
                    .job
                    .experiment
                    .loss
                    .penalties()
                    .kl
                    .map_or(0.0, |divergence| divergence.factor(epoch));
                shares.push(Share {
                    order: order.as_deref(),
                    total,
                    rate,
                    masks,
                    corruption,
                    latents,
                    kl,
                });
            }
            trainer.step(Batch { rows, members: &shares })?;
            let diverged = trainer.diverged();
            if !diverged.is_empty() {
                for &at in &diverged {
                    done[members[at].place] =
                        Some(Err(diverged_error(&members[at].state, Some(batch + 1), rates[at])));
                }
                let staying: Vec<usize> =
                    (0..members.len()).filter(|at| !diverged.contains(at)).collect();
                trainer.keep(&staying)?;
                retain(&mut members, &staying);
                retain(&mut orders, &staying);
                retain(&mut rates, &staying);
            }
            if batch + 1 < batches && members.iter_mut().any(|member| member.watch.pauses()) {
                let (sums, moments) = (trainer.sums()?, trainer.moments()?);
                for (member, (sums, moments)) in
                    members.iter_mut().zip(sums.into_iter().zip(&moments))
                {
                    member.state.seconds = before + clock.elapsed().as_secs_f64();
                    (member.state.loss_sum, member.state.penalty_sum) = (sums.loss, sums.penalty);
                    member.keep(moments)?;
                }
                return Ok(None);
            }
        }
        if members.is_empty() {
            break;
        }

        // The only time in an epoch that the host waits for the device.
        let train_sums = trainer.sums()?;
        let valid_sums = valid.map(|_| trainer.valid_loss_sums()).transpose()?;
        let valid_weight = valid.map_or(1.0, |valid| valid.total_weight(0..valid.len()));
        let seconds = before + clock.elapsed().as_secs_f64();
        let mut staying = vec![];
        let mut best = vec![];
        for (at, member) in members.iter_mut().enumerate() {
            let rows = member.state.rows as f64;
            let losses = (
                train_sums[at].loss / rows,
                valid_sums.as_ref().map(|sums| sums[at] / valid_weight),
                train_sums[at].penalty / rows,
            );
            if member.state.rows == 0 {
                done[member.place] = Some(Err(Error::input(
                    "the training rows weigh nothing: all their weights are 0",
                )));
            } else if !losses.0.is_finite() || losses.1.is_some_and(|loss| !loss.is_finite()) {
                done[member.place] = Some(Err(diverged_error(&member.state, None, rates[at])));
            } else {
                staying.push(at);
                if member.epoch_done(losses, rates[at], seconds)? {
                    best.push(at);
                }
            }
        }
        if !best.is_empty() {
            let mut weights = trainer.weights()?;
            best.iter().for_each(|&at| {
                members[at].state.best_weights = Some(std::mem::take(&mut weights[at]))
            });
        }
        let pauses = staying.iter().any(|&at| members[at].watch.pauses());
        let keeps: Vec<usize> = staying
            .iter()
            .copied()
            .filter(|&at| {
                pauses || members[at].state.stopped.is_some() || members[at].watch.keeps()
            })
            .collect();
        if !keeps.is_empty() {
            let moments = trainer.moments()?;
            keeps.iter().try_for_each(|&at| members[at].keep(&moments[at]))?;
        }
        staying.retain(|&at| {
            let stopped = members[at].state.stopped.is_some();
            if stopped {
                done[members[at].place] = Some(Ok(members[at].state.clone().into()));
            }
            !stopped
        });
        if staying.len() < members.len() {
            trainer.keep(&staying)?;
            retain(&mut members, &staying);
        }
        if pauses && !members.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(done.into_iter().flatten().collect()))
}

/// Keeps the entries at these places, which are in order.
pub(super) fn retain<T>(values: &mut Vec<T>, staying: &[usize]) {
    let mut at = 0;
    values.retain(|_| {
        at += 1;
        staying.binary_search(&(at - 1)).is_ok()
    });
}

/// What to say of a loss that is no number: where it came up, and the last epoch before it.
fn diverged_error(state: &State, batch: Option<usize>, rate: f64) -> Error {
    let place = batch.map_or_else(String::new, |batch| format!(" in batch {batch}"));
    let good = match state.history.last() {
        None => "no epoch before it was whole".into(),
        Some(Epoch { epoch, train_loss, valid_loss, .. }) => {
            let valid =
                valid_loss.map_or_else(String::new, |loss| format!(", validation loss {loss:.6}"));
            format!("the last good epoch was {epoch}: loss {train_loss:.6}{valid}")
        }
    };
    Error::failed(format!(
        "training diverged: the loss of epoch {} is not finite{place} (learning rate {rate}; {good}); lower train.optimizer.learning_rate, or set train.gradient_clip",
        state.epoch() + 1
    ))
}

impl State {
    /// Before the first batch.
    pub fn start(job: &Job<'_>) -> Self {
        let (parameters, statistics) = job.start.split_at(job.architecture.parameters());
        let zeros = vec![0.0; parameters.len()];
        let moments = Moments {
            steps: 0,
            parameters: parameters.to_vec(),
            statistics: statistics.to_vec(),
            first: zeros.clone(),
            second: zeros,
        };
        Self {
            stopped: None,
            batch: 0,
            rows: 0,
            loss_sum: 0.0,
            penalty_sum: 0.0,
            seconds: 0.0,
            history: vec![],
            weightless_batches: 0,
            schedule: Seen::default(),
            best: None,
            moments,
            best_weights: None,
        }
    }

    /// Epochs that are done.
    pub fn epoch(&self) -> u32 {
        self.history.len() as u32
    }
}

impl From<State> for Fitted {
    /// The weights of the best epoch where they were kept, else of the last.
    fn from(state: State) -> Self {
        let last = state.epoch();
        let (weights, kept_epoch) = match (state.best_weights, state.best) {
            (Some(best), Some((epoch, _))) => (best, epoch + 1),
            _ => (state.moments.weights(), last),
        };
        let stopped = state.stopped.unwrap_or(Stopped::AllEpochs);
        Self {
            weights,
            history: state.history,
            stopped,
            kept_epoch,
            weightless_batches: state.weightless_batches,
        }
    }
}

/// Whether a network of this config is trained and scored by hand on any device: by our own
/// kernels, not by Burn's operations.
pub fn by_hand(experiment: &Experiment) -> bool {
    let activations = [
        experiment.model.activation,
        experiment.model.output_activation,
        experiment.model.latent_activation.unwrap_or(experiment.model.activation),
    ];
    let known =
        !activations.iter().any(|kind| [Activation::Gelu, Activation::Prelu].contains(kind))
            && !experiment.model.is_regularised()
            && experiment.loss.penalties().is_empty()
            && experiment.train.gradient_clip.is_none();
    experiment.train.kernels != Kernels::Reference && known
}

/// Who computes: by hand where the device has a way to, else by autodiff.
fn trainer<'a>(
    jobs: &[Job<'a>],
    wanted: Kernels,
    device: &Opened,
) -> Result<Box<dyn Trainer + 'a>> {
    let by_hand = wanted != Kernels::Reference;
    if jobs.iter().any(|job| job.architecture.nmf.is_some()) {
        if wanted == Kernels::Fused && !device.is_cpu() {
            let told = "train.kernels: \"fused\" knows model.kind = \"nmf\" on the CPU only; expected \"auto\" or \"reference\"";
            return Err(Error::input(told));
        }
        return match by_hand && device.is_cpu() {
            true => Ok(Box::new(jobs.iter().map(Factoriser::new).collect::<Vec<_>>())),
            false => Ok(Box::new(Factorisers::new(jobs, &device.device))),
        };
    }
    if by_hand && device.is_cpu() {
        return Ok(Box::new(jobs.iter().map(Fused::new).collect::<Vec<_>>()));
    }
    #[cfg(feature = "gpu")]
    if by_hand && let (Some(job), Some(gpu)) = (jobs.first(), device.gpu()) {
        if super::backend::gpu::can(job, &gpu) {
            if !super::backend::gpu::fits(job, jobs.len(), &gpu) {
                return Err(Error::Memory(format!(
                    "a pack of {} models is larger than what can be allocated at once",
                    jobs.len()
                )));
            }
            return Ok(Box::new(super::backend::gpu::Kernel::new(jobs, gpu)));
        }
        if wanted == Kernels::Fused {
            return Err(Error::input(format!(
                "train.kernels: \"fused\" on {} knows no GELU or PReLU, no dropout, no batch norm, no noise or masking of inputs, no model.variational, no loss.sparsity, no loss.contractive, no train.gradient_clip, no missing inputs (data.fill = \"mask\") and no table larger than one allocation; expected \"auto\" or \"reference\"",
                device.name
            )));
        }
    }
    Ok(Box::new(Reference::new(jobs, &device.device)))
}

/// The order of rows in an epoch, drawn on the host; `None` is the table's own.
fn order(shuffle: bool, rows: usize, seed: u64, epoch: u32) -> Option<Vec<usize>> {
    shuffle.then(|| {
        let mut order: Vec<usize> = (0..rows).collect();
        order.shuffle(&mut random::generator(seed, "batch order", u64::from(epoch)));
        order
    })
}

/// One mask per hidden layer for a batch, `[rows, width]`: 0 where a value is dropped, else 1 / (1
/// − dropout).
fn dropout_masks(
    architecture: &Architecture,
    rows: usize,
    seed: u64,
    epoch: u32,
    batch: usize,
) -> Vec<Vec<f32>> {
    let mut chance = random::generator(seed, "dropout", u64::from(epoch) << 32 | batch as u64);
    let kept = (1.0 / (1.0 - architecture.dropout)) as f32;
    let hidden = &architecture.widths[1..architecture.widths.len() - 1];
    let mut mask = |width: &usize| {
        (0..rows * width)
            .map(|_| if chance.random_bool(architecture.dropout) { 0.0 } else { kept })
            .collect()
    };
    hidden.iter().map(&mut mask).collect()
}

/// Noise and masks of the inputs of a batch, so many values in all; nothing where the config asks
/// for neither.
fn corruption(
    model: &Model,
    values: usize,
    seed: u64,
    epoch: u32,
    batch: usize,
) -> Option<Corruption> {
    if model.noise == 0.0 && model.masking == 0.0 {
        return None;
    }
    let chance = |name| random::generator(seed, name, u64::from(epoch) << 32 | batch as u64);
    let (mut noise, mut masking) = (chance("input noise"), chance("input masking"));
    let mut draw = || model.noise * Distribution::<f64>::sample(&StandardNormal, &mut noise);
    let added = (0..values).map(|_| if model.noise > 0.0 { draw() as f32 } else { 0.0 }).collect();
    let kept = (0..values)
        .map(|_| if model.masking > 0.0 && masking.random_bool(model.masking) { 0.0 } else { 1.0 })
        .collect();
    Some(Corruption { added, kept })
}

/// Standard normal numbers, so many, that the latents of a batch are drawn with.
pub(super) fn normal_numbers(count: usize, seed: u64, epoch: u32, batch: usize) -> Vec<f32> {
    let chance = random::generator(seed, "latents", u64::from(epoch) << 32 | batch as u64);
    Distribution::<f32>::sample_iter(StandardNormal, chance).take(count).collect()
}

/// Pauses after so many batches, and keeps the state.
#[cfg(test)]
pub(super) struct Pausing {
    pub(super) left: usize,
    pub(super) kept: Option<State>,
}

#[cfg(test)]
impl Watch for &mut Pausing {
    fn epoch(&mut self, _: &Epoch) -> Result<()> {
        Ok(())
    }
    fn pauses(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }
    fn keep(&mut self, state: &State) -> Result<()> {
        self.kept = Some(state.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Document, model::Init};

    fn cpu() -> Opened {
        crate::device::open(crate::config::DeviceChoice::Cpu).unwrap()
    }

    fn experiment(text: &str) -> Experiment {
        let text = format!("data.train = [\"a\"]\nthreshold.on = \"train\"\n{text}");
        Experiment::check(&Document::parse(&text, std::path::Path::new("x.toml")).unwrap(), "x")
            .unwrap()
    }

    fn data(rows: usize, width: usize) -> Vec<f32> {
        let mut chance = random::generator(5, "test data", 0);
        (0..rows)
            .flat_map(|_| {
                let a: f32 = chance.random();
                (0..width).map(move |i| (a * (i + 1) as f32).sin().abs()).collect::<Vec<_>>()
            })
            .collect()
    }

    fn run(job: &Job<'_>) -> Result<Fitted> {
        run_pack(std::slice::from_ref(job)).remove(0)
    }

    fn run_pack(jobs: &[Job<'_>]) -> Vec<Result<Fitted>> {
        let watches = jobs.iter().map(|_| |_: &Epoch| Ok(())).collect();
        fit(jobs, &cpu(), jobs.iter().map(State::start).collect(), watches).unwrap().unwrap()
    }

    fn train(text: &str) -> Result<Fitted> {
        let experiment = experiment(text);
        let architecture = Architecture::new(6, &experiment.model);
        let start = architecture.draw(Init::GlorotUniform, experiment.seed, 0);
        let (values, held_out) = (data(200, 6), data(50, 6));
        let (train, valid) = (Rows::new(&values, 6), Some(Rows::new(&held_out, 6)));
        run(&Job {
            experiment: &experiment,
            architecture: &architecture,
            start: &start,
            seed: experiment.seed,
            train,
            valid,
        })
    }

    const SMALL: &str = "model = {hidden = [8], latent = 3}\n";

    #[test]
    fn the_loss_falls_with_every_rule_and_loss() {
        for optimizer in [
            "{kind = \"adam\", learning_rate = 0.01}",
            "{kind = \"adamw\", learning_rate = 0.01}",
            "{kind = \"sgd\", momentum = 0.9, learning_rate = 0.1}",
            "{kind = \"rmsprop\", learning_rate = 0.01}",
            "{kind = \"adadelta\", epsilon = 1e-4}",
        ] {
            for loss in ["mse", "sse", "mae", "smooth_l1"] {
                let fitted = train(&format!("{SMALL}loss = {{kind = \"{loss}\", l2 = 1e-5, activity_l2 = 1e-5}}\ntrain = {{epochs = 20, batch_size = 32, optimizer = {optimizer}}}")).unwrap();
                let (first, last) = (&fitted.history[0], &fitted.history[19]);
                assert!(
                    last.train_loss < 0.7 * first.train_loss,
                    "{optimizer} {loss}: {} to {}",
                    first.train_loss,
                    last.train_loss
                );
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_dropout_is_drawn_from_it() {
        let text = |seed: u32| {
            format!("seed = {seed}\n{SMALL}model.dropout = 0.2\ntrain.epochs = 3").replace(
                "model = {hidden = [8], latent = 3}\n",
                "model.hidden = [8]\nmodel.latent = 3\n",
            )
        };
        assert_eq!(train(&text(1)).unwrap().weights, train(&text(1)).unwrap().weights);
        assert_ne!(train(&text(1)).unwrap().weights, train(&text(2)).unwrap().weights);
    }

    #[test]
    fn inputs_are_masked_and_shaken_as_often_and_as_far_as_asked() {
        let model = |noise: f64, masking: f64| Model { noise, masking, ..Model::default() };
        let draw = |noise, masking, epoch, batch| {
            corruption(&model(noise, masking), 20_000, 1, epoch, batch).unwrap()
        };
        assert!(corruption(&model(0.0, 0.0), 20_000, 1, 0, 0).is_none());
        let Corruption { added, kept } = draw(0.2, 0.3, 0, 0);
        let mean = |values: &[f32], of: fn(f32) -> f32| {
            values.iter().map(|value| of(*value)).sum::<f32>() / values.len() as f32
        };
        assert!(
            mean(&added, |value| value).abs() < 0.005
                && (mean(&added, |value| value * value).sqrt() - 0.2).abs() < 0.005
        );
        assert!(
            kept.iter().all(|kept| [0.0, 1.0].contains(kept))
                && (mean(&kept, |value| value) - 0.7).abs() < 0.01
        );
        // The one does not disturb the other, and every batch has its own.
        assert_eq!((draw(0.2, 0.0, 0, 0).added, draw(0.0, 0.3, 0, 0).kept), (added.clone(), kept));
        assert!(draw(0.2, 0.0, 1, 0).added != added && draw(0.2, 0.0, 0, 1).added != added);
        assert!(draw(0.2, 0.0, 0, 0).kept.iter().all(|kept| *kept == 1.0));
    }

    #[test]
    fn the_output_is_held_to_clean_inputs() {
        let values = data(40, 6);
        let rows = Rows::new(&values, 6);
        // A network of zeros makes 0 of everything: its loss is the mean square of what it is held
        // to.
        let square =
            values.iter().map(|value| f64::from(value * value)).sum::<f64>() / values.len() as f64;
        for kernels in ["fused", "reference"] {
            let experiment = experiment(&format!(
                "train = {{epochs = 1, batch_size = 40, kernels = \"{kernels}\"}}\nmodel = {{hidden = [3], latent = 2, noise = 5.0, masking = 0.5}}"
            ));
            let architecture = Architecture::new(6, &experiment.model);
            let start = vec![0.0; architecture.parameters()];
            let job = Job {
                experiment: &experiment,
                architecture: &architecture,
                start: &start,
                seed: 1,
                train: rows,
                valid: None,
            };
            let loss = run(&job).unwrap().history[0].train_loss;
            assert!((loss / square - 1.0).abs() < 1e-6, "{kernels}: {loss} {square}");
        }
    }

    /// Held to the numbers that `scripts/reference/batch_norm.py` prints.
    #[test]
    fn batch_norm_is_that_of_torch() {
        let rows: Vec<f32> = (0..64)
            .map(|at| (0.7 * f64::from(at / 4) + 1.3 * f64::from(at % 4)).sin() as f32)
            .collect();
        let (train, valid) = (Rows::new(&rows[..40], 4), Some(Rows::new(&rows[40..], 4)));
        for kernels in ["fused", "reference"] {
            let experiment = experiment(&format!(
                "train = {{epochs = 3, batch_size = 4, shuffle = false, kernels = \"{kernels}\", \
                 optimizer = {{kind = \"sgd\", momentum = 0.9, learning_rate = 0.1}}, stop = {{restore_best = false}}}}\n\
                 model = {{hidden = [3], latent = 2, activation = \"tanh\", latent_activation = \"linear\", batch_norm = true}}"
            ));
            let architecture = Architecture::new(4, &experiment.model);
            let sines = (0..architecture.parameters()).map(|at| 0.5 * (1.0 + at as f64).sin());
            let mut start: Vec<f32> = sines.map(|sine| sine as f32).collect();
            // The scales of the two layers lie around 1.
            [15..18, 38..41]
                .into_iter()
                .for_each(|scales| start[scales].iter_mut().for_each(|scale| *scale += 1.0));
            start.extend([0.0, 0.0, 0.0, 1.0, 1.0, 1.0].repeat(2));
            let job = Job {
                experiment: &experiment,
                architecture: &architecture,
                start: &start,
                seed: 1,
                train,
                valid,
            };
            let fitted = run(&job).unwrap();
            let near = |a: f64, b: f64| assert!((a - b).abs() < 2e-6, "{kernels}: {a} {b}");
            for (epoch, (train_loss, valid_loss)) in fitted.history.iter().zip([
                (0.478_813_6, 0.496_454_1),
                (0.403_020_6, 0.467_745_2),
                (0.318_165_4, 0.377_527_3),
            ]) {
                near(epoch.train_loss, train_loss);
                near(epoch.valid_loss.unwrap(), valid_loss);
            }
            let statistics = [
                [0.117_296_2, 0.366_607_6, 0.233_833_6],
                [0.403_153_6, 0.410_450_5, 0.397_804_6],
                [-0.387_782_2, -0.253_731_9, 0.146_732_1],
                [0.406_775_6, 0.416_850_5, 0.400_626_8],
            ];
            let found = &fitted.weights[architecture.parameters()..];
            found
                .iter()
                .zip(statistics.iter().flatten())
                .for_each(|(a, b)| near(f64::from(*a), *b));
            assert_eq!(found.len(), 12);
        }
    }

    #[test]
    fn a_batch_of_one_row_leaves_running_statistics_alone() {
        let values = data(1, 6);
        for kernels in ["fused", "reference"] {
            let experiment = experiment(&format!(
                "train = {{epochs = 3, kernels = \"{kernels}\"}}\nmodel = {{hidden = [4], latent = 2, batch_norm = true}}"
            ));
            let architecture = Architecture::new(6, &experiment.model);
            let start = architecture.draw(Init::GlorotUniform, 1, 0);
            let train = Rows::new(&values, 6);
            let fitted = run(&Job {
                experiment: &experiment,
                architecture: &architecture,
                start: &start,
                seed: 1,
                train,
                valid: None,
            })
            .unwrap();
            let (parameters, statistics) = fitted.weights.split_at(architecture.parameters());
            assert_eq!(statistics, &start[architecture.parameters()..], "{kernels}");
            // Nothing of the row goes through: only what comes after the first normalised layer is
            // trained.
            assert_eq!(parameters[..6 * 4], start[..6 * 4], "{kernels}");
            assert!(
                parameters.iter().all(|parameter| parameter.is_finite())
                    && parameters[..] != start[..parameters.len()]
            );
        }
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
        let error = train(&format!(
            "{SMALL}train = {{epochs = 50, optimizer = {{kind = \"sgd\", learning_rate = 1e6}}}}"
        ))
        .unwrap_err();
        assert!(
            error.to_string().contains("training diverged: the loss of epoch")
                && error.to_string().contains("is not finite in batch")
                && error.exit_code() == 1,
            "{error}"
        );
    }

    #[test]
    fn no_epochs_leave_the_weights_alone() {
        let fitted = train(&format!("{SMALL}train.epochs = 0")).unwrap();
        let architecture = Architecture::new(6, &experiment(SMALL).model);
        assert_eq!(
            (fitted.weights, fitted.kept_epoch),
            (architecture.draw(Init::GlorotUniform, 1, 0), 0)
        );
    }

    #[test]
    fn a_weight_counts_like_so_many_rows() {
        let experiment = experiment(&format!(
            "{SMALL}train = {{epochs = 3, batch_size = 400, shuffle = false, optimizer = {{kind = \"sgd\"}}}}"
        ));
        let architecture = Architecture::new(6, &experiment.model);
        let start = architecture.draw(Init::GlorotUniform, 1, 0);
        let values = data(20, 6);
        let weights: Vec<f32> = (0..20).map(|i| (i % 3) as f32).collect();
        let repeated: Vec<f32> =
            (0..20).flat_map(|i| values[i * 6..(i + 1) * 6].repeat(i % 3)).collect();
        let job = |train| Job {
            experiment: &experiment,
            architecture: &architecture,
            start: &start,
            seed: 1,
            train,
            valid: None,
        };
        let weighted = run(&job(Rows::new(&values, 6).weighted(Some(&weights)))).unwrap();
        let plain = run(&job(Rows::new(&repeated, 6))).unwrap();
        for (a, b) in weighted.weights.iter().zip(&plain.weights) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn going_on_gives_the_same_numbers_wherever_it_stopped() {
        let variants = [
            "train.optimizer.kind = \"adam\"\nmodel.dropout = 0.2\ntrain.stop = {patience = 2}",
            "train.optimizer = {kind = \"adadelta\"}\nloss = {kind = \"sse\", l2 = 1e-3}",
            "train.optimizer = {kind = \"sgd\", momentum = 0.9, learning_rate = 0.05}\ntrain.schedule = {kind = \"plateau\", patience = 0}",
            "train.optimizer.kind = \"adamw\"\nmodel.batch_norm = true\nmodel.noise = 0.1\nmodel.masking = 0.2\ntrain.stop = {patience = 2}",
            "loss.sparsity = {kind = \"kl\", weight = 0.1}\nmodel.latent_activation = \"sigmoid\"\nmodel.activation = \"prelu\"",
            "loss.contractive = 0.1\nmodel.activation = \"prelu\"",
            "model.variational = true\nmodel.batch_norm = true\nloss = {kl = 0.1, kl_warmup = 3}",
        ];
        let (values, held_out) = (data(100, 6), data(40, 6));
        for (variant, kernels) in
            variants.iter().flat_map(|variant| [(variant, "fused"), (variant, "reference")])
        {
            let experiment = experiment(&format!(
                "train.kernels = \"{kernels}\"\nmodel.hidden = [8]\nmodel.latent = 3\ntrain.epochs = 6\ntrain.batch_size = 32\n{variant}"
            ));
            let architecture = Architecture::new(6, &experiment.model);
            let start = architecture.draw(Init::GlorotUniform, 1, 0);
            let (train, valid) = (Rows::new(&values, 6), Some(Rows::new(&held_out, 6)));
            let job = Job {
                experiment: &experiment,
                architecture: &architecture,
                start: &start,
                seed: 1,
                train,
                valid,
            };
            let through = run(&job).unwrap();
            for left in 1..24 {
                let mut state = State::start(&job);
                let fitted = loop {
                    let mut pausing = Pausing { left, kept: None };
                    match fit(&[job], &cpu(), vec![state], vec![&mut pausing]).unwrap() {
                        Some(mut fitted) => break fitted.remove(0).unwrap(),
                        None => state = pausing.kept.unwrap(),
                    }
                };
                assert_eq!(fitted.weights, through.weights, "{variant} {kernels} every {left}");
                let losses = |fitted: &Fitted| {
                    fitted
                        .history
                        .iter()
                        .map(|epoch| (epoch.train_loss, epoch.valid_loss, epoch.penalty))
                        .collect::<Vec<_>>()
                };
                assert_eq!(
                    (losses(&fitted), fitted.kept_epoch, fitted.stopped),
                    (losses(&through), through.kept_epoch, through.stopped)
                );
            }
        }
    }

    #[test]
    fn chosen_rows_and_columns_are_the_same_as_copied_ones() {
        let experiment = experiment(&format!("{SMALL}train = {{epochs = 2, batch_size = 16}}"));
        let architecture = Architecture::new(6, &experiment.model);
        let start = architecture.draw(Init::GlorotUniform, 1, 0);
        let values = data(60, 9);
        let weights: Vec<f32> = (0..60).map(|i| 1.0 + (i % 3) as f32).collect();
        let index: Vec<u32> = (0..60).filter(|i| i % 3 != 1).collect();
        let columns = [5..9, 1..3];
        let of_row = |&i: &u32| {
            columns
                .iter()
                .flat_map(move |range| range.clone().map(move |column| i as usize * 9 + column))
        };
        let copied: Vec<f32> = index.iter().flat_map(of_row).map(|at| values[at]).collect();
        let copied_weights: Vec<f32> = index.iter().map(|&i| weights[i as usize]).collect();
        for kernels in [Kernels::Fused, Kernels::Reference] {
            let mut experiment = experiment.clone();
            experiment.train.kernels = kernels;
            let job = |train| Job {
                experiment: &experiment,
                architecture: &architecture,
                start: &start,
                seed: 1,
                train,
                valid: Some(train),
            };
            let chosen = run(&job(Rows::new(&values, 9)
                .columns(&columns)
                .weighted(Some(&weights))
                .at(&index)))
            .unwrap();
            let plain = run(&job(Rows::new(&copied, 6).weighted(Some(&copied_weights)))).unwrap();
            assert_eq!(chosen.weights, plain.weights);
            assert_eq!(chosen.history[1].valid_loss, plain.history[1].valid_loss);
        }
    }

    #[test]
    fn the_loss_of_an_epoch_is_the_mean_over_its_batches() {
        let experiment = experiment(&format!(
            "{SMALL}train = {{epochs = 1, batch_size = 2, shuffle = false, optimizer = {{kind = \"sgd\", learning_rate = 1e-30}}}}"
        ));
        let architecture = Architecture::new(6, &experiment.model);
        let start = architecture.draw(Init::GlorotUniform, 1, 0);
        let (values, weights) = (data(4, 6), [1.0, 3.0, 10.0, 0.0]);
        let loss = |range: std::ops::Range<usize>| {
            let train = Rows::new(&values[range.start * 6..range.end * 6], 6)
                .weighted(Some(&weights[range]));
            let job = Job {
                experiment: &experiment,
                architecture: &architecture,
                start: &start,
                seed: 1,
                train,
                valid: None,
            };
            run(&job).unwrap().history[0].train_loss
        };
        assert!((loss(0..4) - (loss(0..2) + loss(2..4)) / 2.0).abs() < 1e-7);
    }

    /// Members that differ in numbers, one of which stops early, one diverges, and one leaves
    /// batches out.
    #[test]
    fn members_of_a_pack_train_as_alone() {
        let (values, held_out) = (data(90, 6), data(30, 6));
        let weights: Vec<f32> =
            (0..90).map(|i| if i % 10 == 0 { 0.5 + (i % 3) as f32 } else { 0.0 }).collect();
        let common = "model.hidden = [7]\nmodel.latent = 2\ntrain.epochs = 8\ntrain.batch_size = 8\ntrain.stop.patience = 2";
        let normalised = "model.batch_norm = true\nmodel.noise = 0.01";
        let drawn = "model.variational = true\nmodel.activation = \"prelu\"\nloss.kl = 0.01";
        let silent =
            "model.latent_activation = \"sigmoid\"\nloss.sparsity = {kind = \"kl\", weight = 0.01}";
        let contracted = "loss.contractive = 0.01\nloss.sparsity = {weight = 0.01}";
        for (optimizer, more) in [
            ("adam", ""),
            ("adadelta", ""),
            ("sgd", ""),
            ("rmsprop", ""),
            ("adam", normalised),
            ("adam", drawn),
            ("adam", silent),
            ("adam", contracted),
        ] {
            let member = |rate: f64, l2: f64, kernels: &str| {
                experiment(&format!(
                    "train.kernels = \"{kernels}\"\ntrain.optimizer.kind = \"{optimizer}\"\ntrain.optimizer.learning_rate = {rate}\nloss.l2 = {l2}\n{common}\n{more}"
                ))
            };
            for kernels in ["reference", "fused"] {
                let mut experiments = vec![
                    member(0.01, 0.0, kernels),
                    member(0.03, 1e-3, kernels),
                    member(1e-9, 0.0, kernels),
                ];
                if optimizer == "sgd" {
                    experiments.push(member(1e12, 0.0, kernels));
                }
                let architecture = Architecture::new(6, &experiments[0].model);
                let starts: Vec<Vec<f32>> =
                    (0..4).map(|at| architecture.draw(Init::GlorotUniform, at, 0)).collect();
                let (train, valid) =
                    (Rows::new(&values, 6).weighted(Some(&weights)), Some(Rows::new(&held_out, 6)));
                let jobs: Vec<Job<'_>> = (0_u64..)
                    .zip(experiments.iter().zip(&starts))
                    .map(|(seed, (experiment, start))| Job {
                        experiment,
                        architecture: &architecture,
                        start,
                        seed,
                        train,
                        valid,
                    })
                    .collect();
                let mut unlike = false;
                for (together, alone) in run_pack(&jobs).iter().zip(jobs.iter().map(run)) {
                    match (together, &alone) {
                        (Ok(together), Ok(alone)) => {
                            let far = together
                                .weights
                                .iter()
                                .zip(&alone.weights)
                                .map(|(a, b)| (a - b).abs())
                                .fold(0.0, f32::max);
                            assert!(far < 1e-5, "{optimizer} {kernels}: weights differ by {far}");
                            let told = |fitted: &Fitted| {
                                (
                                    fitted.history.len(),
                                    fitted.kept_epoch,
                                    fitted.stopped,
                                    fitted.weightless_batches,
                                )
                            };
                            assert_eq!(told(together), told(alone), "{optimizer} {kernels}");
                            unlike |= together.weightless_batches > 0;
                        }
                        (Err(together), Err(alone)) => {
                            assert_eq!(together.to_string(), alone.to_string())
                        }
                        _ => panic!("{optimizer} {kernels}: {together:?} {alone:?}"),
                    }
                }
                assert!(unlike, "no batch was left out, so the test says less than it seems to");
            }
        }
    }

    /// With missing cells; what a model sees of them differs by column.
    #[test]
    fn the_fused_step_leaves_out_what_the_reference_step_does() {
        let holes = |mut values: Vec<f32>| {
            values
                .iter_mut()
                .enumerate()
                .filter(|(i, _)| i * 7919 % 11 < 3 || (i % 6 == 2 && i / 6 < 40))
                .for_each(|(_, value)| *value = f32::NAN);
            values
        };
        let (values, held_out) = (holes(data(150, 6)), holes(data(40, 6)));
        let weights: Vec<f32> = (0..150).map(|i| 0.5 + (i % 4) as f32).collect();
        let fill = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
        for variant in [
            "",
            "loss = {kind = \"mae\"}",
            "loss = {kind = \"sse\", l2 = 1e-2}",
            "loss = {kind = \"smooth_l1\", beta = 0.3, activity_l2 = 1e-2}",
            "model.batch_norm = true\nmodel.dropout = 0.2\nmodel.masking = 0.1\nmodel.noise = 0.1",
            "model.latent_activation = \"sigmoid\"\nloss = {sparsity = {kind = \"kl\"}, contractive = 0.1}",
            "model.variational = true\nloss = {kind = \"sse\", kl = 0.2}",
        ] {
            for weights in [None, Some(weights.as_slice())] {
                let run = |kernels: &str| {
                    let experiment = experiment(&format!(
                        "train.kernels = \"{kernels}\"\nmodel.hidden = [9, 7]\nmodel.latent = 3\ntrain.epochs = 3\ntrain.batch_size = 32\n{variant}"
                    ));
                    let architecture = Architecture::new(6, &experiment.model);
                    let start = architecture.draw(experiment.model.init, 1, 0);
                    let train = Rows::new(&values, 6).weighted(weights).filled(Some(&fill));
                    let valid = Some(Rows::new(&held_out, 6).filled(Some(&fill)));
                    run(&Job {
                        experiment: &experiment,
                        architecture: &architecture,
                        start: &start,
                        seed: 1,
                        train,
                        valid,
                    })
                    .unwrap()
                };
                let (fused, reference) = (run("fused"), run("reference"));
                for (a, b) in fused.history.iter().zip(&reference.history) {
                    let near = |a: f64, b: f64| (a / b - 1.0).abs() < 2e-5;
                    assert!(
                        near(a.train_loss, b.train_loss)
                            && near(a.valid_loss.unwrap(), b.valid_loss.unwrap()),
                        "{variant}: {a:?} {b:?}"
                    );
                }
                let far = fused
                    .weights
                    .iter()
                    .zip(&reference.weights)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                assert!(far < 1e-4, "{variant}: weights differ by {far}");
            }
        }
    }

    #[test]
    fn what_may_be_missing_but_is_not_changes_nothing() {
        let (values, fill) = (data(60, 6), [0.5; 6]);
        let experiment = experiment(&format!("{SMALL}train = {{epochs = 2, batch_size = 16}}"));
        let architecture = Architecture::new(6, &experiment.model);
        let start = architecture.draw(Init::GlorotUniform, 1, 0);
        let train = |rows: Rows<'_>| {
            let job = Job {
                experiment: &experiment,
                architecture: &architecture,
                start: &start,
                seed: 1,
                train: rows,
                valid: Some(rows),
            };
            run(&job).unwrap().weights
        };
        let (plain, filled) = (Rows::new(&values, 6), Rows::new(&values, 6).filled(Some(&fill)));
        assert_eq!(train(plain), train(filled));
        assert!(!filled.whole_where_possible().is_masked());
    }

    /// Both ways to compute, from the same start, on weighted rows; they may differ by rounding
    /// only.
    #[test]
    fn the_fused_step_is_the_reference_step() {
        same_as_the_fused_step(&cpu(), "reference", |_| true);
    }

    #[cfg(feature = "wgpu")]
    #[test]
    fn the_kernels_step_is_the_fused_step() {
        let Some(device) = crate::device::tests::software() else { return };
        same_as_the_fused_step(&device, "fused", |variant| {
            ![
                "gelu",
                "prelu",
                "dropout",
                "gradient_clip",
                "batch_norm",
                "noise",
                "masking",
                "sparsity",
                "contractive",
                "variational",
            ]
            .iter()
            .any(|unknown| variant.contains(unknown))
        });
    }

    #[cfg(feature = "wgpu")]
    #[test]
    fn kernels_share_the_work_of_wide_layers() {
        let Some(device) = crate::device::tests::software() else { return };
        let values = data(900, 53);
        let weights: Vec<f32> = (0..900).map(|i| 1.0 + (i % 3) as f32).collect();
        for weighted in [false, true] {
            let experiment = experiment(
                "model = {hidden = [103], latent = 82}\ntrain = {epochs = 1, batch_size = 42}",
            );
            let architecture = Architecture::new(53, &experiment.model);
            let start = architecture.draw(Init::GlorotUniform, 1, 0);
            let rows = Rows::new(&values, 53).weighted(weighted.then_some(&weights));
            let job = Job {
                experiment: &experiment,
                architecture: &architecture,
                start: &start,
                seed: 1,
                train: rows,
                valid: Some(rows),
            };
            let history = |device: &Opened| -> Vec<(f64, f64)> {
                let fitted =
                    fit(&[job], device, vec![State::start(&job)], vec![|_: &Epoch| Ok(())])
                        .unwrap()
                        .unwrap()
                        .remove(0)
                        .unwrap();
                fitted
                    .history
                    .iter()
                    .map(|epoch| (epoch.train_loss, epoch.valid_loss.unwrap()))
                    .collect()
            };
            for (a, b) in history(&cpu()).iter().zip(history(&device)) {
                assert!(
                    (a.0 / b.0 - 1.0).abs() < 1e-5 && (a.1 / b.1 - 1.0).abs() < 1e-5,
                    "weighted {weighted}: {a:?} {b:?}"
                );
            }
        }
    }

    fn same_as_the_fused_step(device: &Opened, kernels: &str, can: impl Fn(&str) -> bool) {
        let variants = [
            "",
            "loss = {kind = \"mae\"}",
            "loss = {kind = \"sse\", l2 = 1e-2}",
            "train.optimizer = {kind = \"adadelta\"}",
            "train.optimizer = {kind = \"adadelta\", rho = 0.8, epsilon = 1e-3, learning_rate = 0.5}",
            "loss = {kind = \"smooth_l1\", beta = 0.3, l2 = 1e-3, activity_l2 = 1e-2}",
            "train.optimizer = {kind = \"adam\", epsilon_placement = \"keras\", epsilon = 1e-3}",
            "train.optimizer = {kind = \"adamw\", weight_decay = 0.1}",
            "train.optimizer = {kind = \"sgd\", momentum = 0.9, learning_rate = 0.05}",
            "train.optimizer = {kind = \"rmsprop\", rho = 0.8, epsilon = 1e-3}",
            "train.gradient_clip = 0.01",
            "model.dropout = 0.3",
            "model.noise = 0.2",
            "model.masking = 0.3\nmodel.noise = 0.1\nmodel.dropout = 0.1",
            "model.batch_norm = true",
            "model.batch_norm = true\nmodel.dropout = 0.2\nmodel.masking = 0.1\nloss.l2 = 1e-2\ntrain.gradient_clip = 0.1",
            "model.batch_norm = true\nmodel.activation = \"gelu\"\ntrain.optimizer = {kind = \"adamw\", weight_decay = 0.1}\nloss.activity_l2 = 1e-2",
            "model.batch_norm = true\nmodel.activation = \"tanh\"\nmodel.init = \"torch\"\ntrain.batch_size = 149",
            "model.activation = \"sigmoid\"\nmodel.output_activation = \"tanh\"",
            "model.activation = \"gelu\"\nmodel.output_activation = \"sigmoid\"",
            "model.activation = \"selu\"\nmodel.latent_activation = \"linear\"",
            "model.activation = \"elu\"\nmodel.latent_activation = \"leaky_relu\"\nmodel.dropout = 0.1\nloss.activity_l2 = 1e-2",
            "model.activation = \"prelu\"\nmodel.output_activation = \"prelu\"",
            "model.activation = \"prelu\"\nmodel.batch_norm = true\nmodel.dropout = 0.2\nloss.sparsity = {weight = 0.1}\nloss.l2 = 1e-2",
            "model.latent_activation = \"sigmoid\"\nloss.sparsity = {kind = \"kl\", weight = 0.3, target = 0.1}",
            "model.latent_activation = \"linear\"\nloss.sparsity = {weight = 0.2}\nloss.activity_l2 = 1e-2",
            "model.activation = \"prelu\"\nloss.contractive = 0.3\nmodel.noise = 0.1\nloss.l2 = 1e-2",
            "model.activation = \"gelu\"\nmodel.latent_activation = \"sigmoid\"\nloss = {contractive = 0.3, sparsity = {kind = \"kl\"}}",
            "model.activation = \"prelu\"\nmodel.variational = true\nloss = {kind = \"sse\", kl = 0.2, kl_warmup = 2, l2 = 1e-2}",
            "model.variational = true\nmodel.batch_norm = true\nmodel.dropout = 0.1\nmodel.masking = 0.1\ntrain.gradient_clip = 0.1",
        ];
        let (values, held_out) = (data(150, 6), data(40, 6));
        let weights: Vec<f32> = (0..150).map(|i| 0.5 + (i % 4) as f32).collect();
        let held_out_weights: Vec<f32> = (0..40).map(|i| 1.0 + (i % 2) as f32).collect();
        for variant in variants.into_iter().filter(|variant| can(variant)) {
            let run = |device: &Opened, kernels: &str| {
                // Of 150 rows, 22 are left for the last batch, or with 149 a single one.
                let batch_size =
                    if variant.contains("batch_size") { "" } else { "train.batch_size = 32" };
                let experiment = experiment(&format!(
                    "train.kernels = \"{kernels}\"\nmodel.hidden = [9, 7]\nmodel.latent = 3\ntrain.epochs = 3\n{batch_size}\n{variant}"
                ));
                let architecture = Architecture::new(6, &experiment.model);
                let start = architecture.draw(experiment.model.init, 1, 0);
                let train = Rows::new(&values, 6).weighted(Some(&weights));
                let valid = Some(Rows::new(&held_out, 6).weighted(Some(&held_out_weights)));
                let job = Job {
                    experiment: &experiment,
                    architecture: &architecture,
                    start: &start,
                    seed: 1,
                    train,
                    valid,
                };
                let fitted =
                    fit(&[job], device, vec![State::start(&job)], vec![|_: &Epoch| Ok(())]);
                fitted.unwrap().unwrap().remove(0).unwrap()
            };
            let (fused, reference) = (run(&cpu(), "fused"), run(device, kernels));
            for (a, b) in fused.history.iter().zip(&reference.history) {
                let near = |a: f64, b: f64| (a / b - 1.0).abs() < 2e-5;
                assert!(
                    near(a.train_loss, b.train_loss)
                        && near(a.valid_loss.unwrap(), b.valid_loss.unwrap()),
                    "{variant}: {a:?} {b:?}"
                );
                assert!(
                    a.penalty.zip(b.penalty).is_none_or(|(a, b)| a > 0.0 && near(a, b)),
                    "{variant}: {a:?} {b:?}"
                );
                assert_eq!(
                    (a.penalty.is_some(), b.penalty.is_some()),
                    [["sparsity", "contractive", "variational"]
                        .iter()
                        .any(|penalty| variant.contains(penalty)); 2]
                        .into(),
                    "{variant}"
                );
            }
            let far = fused
                .weights
                .iter()
                .zip(&reference.weights)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(far < 1e-4, "{variant}: weights differ by {far}");
        }
    }
}
