//! The training loop.

use super::{
    backend::trainer,
    draws::{corruption, dropout_masks, normal_numbers, order},
    early_stopping::Stopping,
    observer::TrainObserver,
    schedule::Schedule,
    state::{Epoch, Fitted, State, Stopped},
    trainer::{Batch, Job, MemberBatch, OptimizerState, Sums, Trainer, retain},
};
use crate::{
    device::Device,
    error::{Error, Result},
};
use std::{ops::Range, time::Instant};

/// A member of a pack in training.
struct Member<'j, 'a, W> {
    /// Its index in the pack as given.
    place: usize,
    job: &'j Job<'a>,
    schedule: Schedule,
    stopping: Stopping,
    state: State,
    observer: W,
}

impl<W: TrainObserver> Member<'_, '_, W> {
    /// Records a completed epoch. Returns whether its weights are the best so far and to be kept.
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
        self.observer.epoch_ended(&record)?;
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

    /// The member's part of a batch; its state counts the batch.
    fn take_batch<'o>(
        &mut self,
        (epoch, batch): (u32, usize),
        rows: &Range<usize>,
        order: Option<&'o [usize]>,
        rate: f64,
    ) -> MemberBatch<'o> {
        let &Job { experiment, architecture, seed, train, .. } = self.job;
        let total = train.total_weight(rows.clone().map(|i| order.map_or(i, |order| order[i])));
        if total > 0.0 {
            self.state.rows += rows.len();
        } else {
            self.state.weightless_batches += 1;
        }
        self.state.batch += 1;
        let masks = (architecture.dropout > 0.0)
            .then(|| dropout_masks(architecture, rows.len(), seed, epoch, batch));
        let values = rows.len() * train.width();
        let corruption = corruption(&experiment.model, values, seed, epoch, batch);
        let latents = architecture
            .variational
            .then(|| normal_numbers(rows.len() * architecture.latent(), seed, epoch, batch));
        let kl = experiment.loss.penalties().kl.map_or(0.0, |divergence| divergence.factor(epoch));
        MemberBatch { order, total, rate, masks, corruption, latents, kl }
    }

    fn save_checkpoint(&mut self, state: &OptimizerState) -> Result<()> {
        self.state.optimizer_state = state.clone();
        self.observer.save_checkpoint(&self.state)
    }
}

/// A pack in training.
struct Pack<'j, 'a, W> {
    /// Its first job: rows, architecture and batch size are the same for all members.
    common: Job<'a>,
    trainer: Box<dyn Trainer + 'a>,
    /// The members still in training.
    members: Vec<Member<'j, 'a, W>>,
    /// Results of the others, at their indices.
    done: Vec<Option<Result<Fitted>>>,
}

/// An epoch of a pack, with the rates and orders of its members.
struct RunningEpoch {
    /// From 0.
    number: u32,
    clock: Instant,
    /// Seconds spent on it before a pause.
    seconds_before: f64,
    rates: Vec<f64>,
    orders: Vec<Option<Vec<usize>>>,
}

impl RunningEpoch {
    fn seconds(&self) -> f64 {
        self.seconds_before + self.clock.elapsed().as_secs_f64()
    }
}

/// Whether training continues.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Continues,
    Paused,
}

/// Trains a pack in lock step, from the start or from saved states, which must all be after the
/// same batch. A member that stops early or diverges leaves the pack; the others continue. Returns
/// one entry per member, or `None` if the training was paused.
pub fn fit<W: TrainObserver>(
    pack: &[Job<'_>],
    device: &Device,
    from: Vec<State>,
    observers: Vec<W>,
) -> Result<Option<Vec<Result<Fitted>>>> {
    let Some(&common) = pack.first() else { return Ok(Some(vec![])) };
    let config = &common.experiment.train;
    if config.epochs > 0 {
        config.check_batches(common.train.len())?;
    }
    let (members, done) = members(pack, from, observers);
    if members.is_empty() {
        return Ok(Some(done.into_iter().flatten().collect()));
    }
    let jobs: Vec<Job<'_>> = members.iter().map(|member| *member.job).collect();
    let trainer = trainer(&jobs, config.kernels, device)?;
    let mut pack = Pack { common, trainer, members, done };
    let mut restores = true;
    while !pack.members.is_empty() {
        let mut epoch = pack.start_epoch(std::mem::take(&mut restores));
        if pack.run_batches(&mut epoch)? == Progress::Paused {
            return Ok(None);
        }
        if !pack.members.is_empty() && pack.end_epoch(&epoch)? == Progress::Paused {
            return Ok(None);
        }
    }
    Ok(Some(pack.done.into_iter().flatten().collect()))
}

/// The members to train, and the results of those already done.
fn members<'j, 'a, W: TrainObserver>(
    pack: &'j [Job<'a>],
    from: Vec<State>,
    observers: Vec<W>,
) -> (Vec<Member<'j, 'a, W>>, Vec<Option<Result<Fitted>>>) {
    let mut done: Vec<Option<Result<Fitted>>> = pack.iter().map(|_| None).collect();
    let mut members = vec![];
    for (place, ((job, state), observer)) in pack.iter().zip(from).zip(observers).enumerate() {
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
        members.push(Member { place, job, schedule, stopping, state, observer });
    }
    (members, done)
}

impl<W: TrainObserver> Pack<'_, '_, W> {
    /// Begins an epoch, or continues one if the members' states are to be restored.
    fn start_epoch(&mut self, restores: bool) -> RunningEpoch {
        let Job { experiment, train, .. } = self.common;
        let (clock, number) = (Instant::now(), self.members[0].state.epoch());
        let shuffle = experiment.train.shuffle;
        let epoch = RunningEpoch {
            number,
            clock,
            seconds_before: self.members[0].state.seconds,
            rates: self.members.iter().map(|member| member.schedule.rate(number)).collect(),
            orders: self
                .members
                .iter()
                .map(|member| order(shuffle, train.len(), member.job.seed, number))
                .collect(),
        };
        self.trainer.start_epoch();
        if restores {
            let (states, sums): (Vec<&OptimizerState>, Vec<Sums>) = self
                .members
                .iter()
                .map(|Member { state, .. }| {
                    let sums = Sums { loss: state.loss_sum, penalty: state.penalty_sum };
                    (&state.optimizer_state, sums)
                })
                .unzip();
            self.trainer.restore(&states, &sums);
        }
        epoch
    }

    /// Trains on the remaining batches of an epoch; members that diverge leave the pack.
    fn run_batches(&mut self, epoch: &mut RunningEpoch) -> Result<Progress> {
        let Job { experiment, train, .. } = self.common;
        let batch_rows = experiment.train.batch_size as usize;
        let batches = experiment.train.batches(train.len());
        while let Some(batch) =
            self.members.first().map(|member| member.state.batch).filter(|batch| *batch < batches)
        {
            let rows = batch * batch_rows..((batch + 1) * batch_rows).min(train.len());
            let shares: Vec<MemberBatch<'_>> = self
                .members
                .iter_mut()
                .zip(&epoch.orders)
                .zip(&epoch.rates)
                .map(|((member, order), &rate)| {
                    member.take_batch((epoch.number, batch), &rows, order.as_deref(), rate)
                })
                .collect();
            self.trainer.step(Batch { rows, members: &shares })?;
            self.drop_diverged(epoch, batch)?;
            if batch + 1 < batches
                && self.members.iter_mut().any(|member| member.observer.wants_pause())
            {
                self.save_within_epoch(epoch)?;
                return Ok(Progress::Paused);
            }
        }
        Ok(Progress::Continues)
    }

    /// Removes the members whose loss is known to be non-finite.
    fn drop_diverged(&mut self, epoch: &mut RunningEpoch, batch: usize) -> Result<()> {
        let diverged = self.trainer.diverged();
        if diverged.is_empty() {
            return Ok(());
        }
        for &at in &diverged {
            let error = diverged_error(&self.members[at].state, Some(batch + 1), epoch.rates[at]);
            self.done[self.members[at].place] = Some(Err(error));
        }
        let staying: Vec<usize> =
            (0..self.members.len()).filter(|at| !diverged.contains(at)).collect();
        self.trainer.retain_members(&staying)?;
        retain(&mut self.members, &staying);
        retain(&mut epoch.orders, &staying);
        retain(&mut epoch.rates, &staying);
        Ok(())
    }

    /// Writes checkpoints between two batches.
    fn save_within_epoch(&mut self, epoch: &RunningEpoch) -> Result<()> {
        let (sums, states) = (self.trainer.sums()?, self.trainer.optimizer_states()?);
        for (member, (sums, state)) in self.members.iter_mut().zip(sums.into_iter().zip(&states)) {
            member.state.seconds = epoch.seconds();
            (member.state.loss_sum, member.state.penalty_sum) = (sums.loss, sums.penalty);
            member.save_checkpoint(state)?;
        }
        Ok(())
    }

    /// Reads losses, records the epoch and writes checkpoints; members that are done or diverged
    /// leave the pack.
    fn end_epoch(&mut self, epoch: &RunningEpoch) -> Result<Progress> {
        let (mut staying, best) = self.note_losses(epoch)?;
        let Self { trainer, members, done, .. } = self;
        if !best.is_empty() {
            let mut weights = trainer.weights()?;
            best.iter().for_each(|&at| {
                members[at].state.best_weights = Some(std::mem::take(&mut weights[at]))
            });
        }
        let pauses = staying.iter().any(|&at| members[at].observer.wants_pause());
        let saved: Vec<usize> = staying
            .iter()
            .copied()
            .filter(|&at| {
                pauses
                    || members[at].state.stopped.is_some()
                    || members[at].observer.wants_checkpoint()
            })
            .collect();
        if !saved.is_empty() {
            let states = trainer.optimizer_states()?;
            saved.iter().try_for_each(|&at| members[at].save_checkpoint(&states[at]))?;
        }
        staying.retain(|&at| {
            let stopped = members[at].state.stopped.is_some();
            if stopped {
                done[members[at].place] = Some(Ok(members[at].state.clone().into()));
            }
            !stopped
        });
        if staying.len() < members.len() {
            trainer.retain_members(&staying)?;
            retain(members, &staying);
        }
        Ok(if pauses && !members.is_empty() { Progress::Paused } else { Progress::Continues })
    }

    /// Records the losses of an epoch. Returns the members that continue, and those whose weights
    /// are the best so far and to be kept.
    fn note_losses(&mut self, epoch: &RunningEpoch) -> Result<(Vec<usize>, Vec<usize>)> {
        // The only time in an epoch that the host waits for the device.
        let train_sums = self.trainer.sums()?;
        let valid = self.common.valid;
        let valid_sums = valid.map(|_| self.trainer.valid_loss_sums()).transpose()?;
        let valid_weight = valid.map_or(1.0, |valid| valid.total_weight(0..valid.len()));
        let seconds = epoch.seconds();
        let (mut staying, mut best) = (vec![], vec![]);
        for (at, member) in self.members.iter_mut().enumerate() {
            let rows = member.state.rows as f64;
            let losses = (
                train_sums[at].loss / rows,
                valid_sums.as_ref().map(|sums| sums[at] / valid_weight),
                train_sums[at].penalty / rows,
            );
            if member.state.rows == 0 {
                self.done[member.place] =
                    Some(Err(Error::input("all weights of the training rows are 0")));
            } else if !losses.0.is_finite() || losses.1.is_some_and(|loss| !loss.is_finite()) {
                self.done[member.place] =
                    Some(Err(diverged_error(&member.state, None, epoch.rates[at])));
            } else {
                staying.push(at);
                if member.epoch_done(losses, epoch.rates[at], seconds)? {
                    best.push(at);
                }
            }
        }
        Ok((staying, best))
    }
}

/// The error for a non-finite loss: epoch and batch, and the last good epoch.
fn diverged_error(state: &State, batch: Option<usize>, rate: f64) -> Error {
    let place = batch.map_or_else(String::new, |batch| format!(" in batch {batch}"));
    let good = match state.history.last() {
        None => "no epoch was completed".into(),
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

#[cfg(test)]
mod tests;
