//! The training loop.

use super::{
    backend::trainer,
    draws::{corruption, dropout_masks, normal_numbers, order},
    early_stopping::Stopping,
    observer::TrainObserver,
    schedule::Schedule,
    state::{Epoch, Fitted, State, Stopped},
    trainer::{Batch, Job, MemberBatch, OptimizerState, Sums, retain},
};
use crate::{
    device::Device,
    error::{Error, Result},
};
use std::time::Instant;

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

impl<W: TrainObserver> Member<'_, '_, W> {
    /// Notes an epoch that is done; true where its weights are the best so far and wanted.
    fn epoch_done(
        &mut self,
        losses: (f64, Option<f64>, f64),
        rate: f64,
        seconds: f64,
    ) -> Result<bool> {
        let config = &self.job.experiment.config.train;
        let (train_loss, valid_loss, penalty) = losses;
        let epoch = self.state.epoch();
        let penalty = (!self.job.experiment.penalties.is_empty()).then_some(penalty);
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

    fn keep(&mut self, moments: &OptimizerState) -> Result<()> {
        self.state.moments = moments.clone();
        self.watch.keep(&self.state)
    }
}

/// Trains a pack in lock step, from the start or from where its members stood before, all of them
/// after the same batch. A member that stops early or diverges leaves the pack; the others go on.
/// One entry for each member, or nothing where it was paused.
pub fn fit<W: TrainObserver>(
    pack: &[Job<'_>],
    device: &Device,
    from: Vec<State>,
    watches: Vec<W>,
) -> Result<Option<Vec<Result<Fitted>>>> {
    let Some(&Job { experiment, architecture, train, valid, .. }) = pack.first() else {
        return Ok(Some(vec![]));
    };
    let config = &experiment.config.train;
    let batch_rows = config.batch_size as usize;
    let batches = config.batches(train.len());
    if config.epochs > 0 {
        config.check_batches(train.len())?;
    }
    let mut done: Vec<Option<Result<Fitted>>> = pack.iter().map(|_| None).collect();
    let mut members: Vec<Member<'_, '_, W>> = vec![];
    for (place, ((job, state), watch)) in pack.iter().zip(from).zip(watches).enumerate() {
        let config = &job.experiment.config.train;
        if state.stopped.is_some() || state.epoch() >= config.epochs {
            done[place] = Some(Ok(state.into()));
            continue;
        }
        let mut schedule = Schedule::new(
            job.experiment.schedule,
            job.experiment.learning_rate,
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
            let moments: Vec<&OptimizerState> =
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
                let model = &member.job.experiment.config.model;
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
                    .penalties
                    .kl
                    .map_or(0.0, |divergence| divergence.factor(epoch));
                shares.push(MemberBatch {
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

#[cfg(test)]
mod tests;
