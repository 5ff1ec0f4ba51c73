//! Trains many models at once: in parallel on the CPU, in lock step on other devices.

use super::init::{ModelInit, model_name, seed};
use crate::{
    config::{
        Experiment,
        optimizer::Optimizer,
        train::{Order, ValidateOn},
    },
    data::channels::Channel,
    device::{Device, side_by_side},
    error::Result,
    model::Architecture,
    prepare::{Prepared, split::Split},
    train::{
        fit,
        observer::TrainObserver,
        state::{Fitted, State},
        trainer::Job,
    },
};
use std::collections::BTreeMap;

/// Trains models of one or several experiments. On the CPU each model is trained by itself; on
/// other devices models that differ only in numbers are trained in lock step as one computation.
/// Channels run in parallel. Several devices share the models. `watch` makes the observer of each
/// model. Results are in the order of `begins`; `None` for a paused model.
pub fn train<W: TrainObserver>(
    begins: &[ModelInit<'_>],
    prepared: &Prepared,
    devices: &[Device],
    watch: &(impl Fn(usize) -> W + Sync + Send),
) -> Result<Vec<Option<Result<Fitted>>>> {
    let valid = prepared.of_split(Split::Valid, Order::Ls);
    let names = prepared.input_names();
    // All models are of one channel and after the same batch.
    let pack = |device: &Device, places: &[usize]| -> Result<Option<Vec<Result<Fitted>>>> {
        let ModelInit { experiment, channel, .. } = begins[places[0]];
        let channel = &prepared.channels[channel];
        let columns = channel.columns(&names);
        let train =
            prepared.with_inputs(&columns, prepared.of_split(Split::Train, experiment.train.order));
        let valid = prepared.with_inputs(&columns, valid.clone());
        let rows = prepared.rows(&columns);
        let (train, valid) =
            (rows.at(&train).whole_where_possible(), rows.at(&valid).whole_where_possible());
        let watched = match experiment.train.validate_on {
            ValidateOn::Train => Some(train),
            ValidateOn::Valid => Some(valid).filter(|rows| !rows.is_empty()),
        };
        let architecture = Architecture::new(channel.features.len(), &experiment.model);
        let mut jobs = vec![];
        for ModelInit { experiment, weights, member, .. } in places.iter().map(|&at| &begins[at]) {
            let seed = seed(experiment, channel, *member);
            jobs.push(Job {
                experiment,
                architecture: &architecture,
                start: weights,
                seed,
                train,
                valid: watched,
            });
        }
        fit_in_parts(&jobs, device, &|at| begins[places[at]].state.clone(), &|at| watch(places[at]))
    };
    let on_device = |device: usize| -> Result<Vec<(usize, Option<Result<Fitted>>)>> {
        let own: Vec<usize> = (0..begins.len()).filter(|at| at % devices.len() == device).collect();
        let packs = packs(&devices[device], begins, &own);
        let train = |places: Vec<usize>| {
            let fitted = pack(&devices[device], &places);
            // A failed model does not stop the others.
            let fitted = match fitted {
                Ok(Some(fitted)) => fitted.into_iter().map(Some).collect(),
                Ok(None) => places.iter().map(|_| None).collect::<Vec<_>>(),
                Err(error) => places.iter().map(|_| Some(Err(error.clone()))).collect(),
            };
            Ok(places.into_iter().zip(fitted).collect::<Vec<_>>())
        };
        Ok(side_by_side(&devices[device], packs, train)?.into_iter().flatten().collect())
    };
    let mut all = match devices.len() {
        1 => on_device(0)?,
        _ => std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..devices.len()).map(|device| scope.spawn(move || on_device(device))).collect();
            let joined = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))
            });
            joined
                .collect::<Result<Vec<_>>>()
                .map(|all| all.into_iter().flatten().collect::<Vec<_>>())
        })?,
    };
    all.sort_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, fitted)| fitted).collect())
}

/// The models of one experiment; `None` if one of them paused, the first error if one failed.
pub fn collect_models(
    begins: &[ModelInit<'_>],
    channels: &[Channel],
    fitted: Vec<Option<Result<Fitted>>>,
) -> Result<Option<Vec<Fitted>>> {
    let failed = |fitted: &Option<Result<Fitted>>| matches!(fitted, Some(Err(_)));
    let fine = fitted.iter().filter(|fitted| !failed(fitted)).count();
    if let Some((begin, Some(Err(error)))) =
        begins.iter().zip(&fitted).find(|(_, fitted)| failed(fitted))
    {
        let name = model_name(begin.experiment, &channels[begin.channel], begin.member);
        let others = if fine == 0 {
            String::new()
        } else {
            format!(" (the other models, {fine}, continued)")
        };
        return Err(error.clone().map(|message| {
            if name.is_empty() { message } else { format!("{name}: {message}{others}") }
        }));
    }
    Ok(fitted.into_iter().map(|fitted| fitted.and_then(Result::ok)).collect())
}

/// Models with the same text can be trained in lock step: they differ only in numbers that each
/// member has for itself.
fn shape(experiment: &Experiment) -> String {
    let (model, mut loss, mut train) =
        (experiment.model.clone(), experiment.loss.clone(), experiment.train.clone());
    (loss.l2, loss.activity_l2, train.epochs, train.schedule, train.stop, train.ensemble) =
        Default::default();
    train.optimizer = Optimizer { kind: train.optimizer.kind, ..Optimizer::default() };
    serde_json::to_string(&(model, loss, train)).unwrap_or_default()
}

/// The packs of models trained in lock step on a device. On the CPU every model is its own pack;
/// elsewhere a pack has the models of a channel that are after the same batch and differ only in
/// numbers.
fn packs(device: &Device, begins: &[ModelInit<'_>], own: &[usize]) -> Vec<Vec<usize>> {
    if device.is_cpu() {
        return own.iter().map(|&at| vec![at]).collect();
    }
    let mut packs: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for &at in own {
        let far = begins[at].state.as_ref().map_or((0, 0), |state| (state.epoch(), state.batch));
        packs.entry((begins[at].channel, far, shape(begins[at].experiment))).or_default().push(at);
    }
    packs.into_values().collect()
}

/// Trains a pack. If the device is out of memory, the halves of the pack are trained one after the
/// other.
fn fit_in_parts<W: TrainObserver>(
    jobs: &[Job<'_>],
    device: &Device,
    state: &dyn Fn(usize) -> Option<State>,
    watch: &dyn Fn(usize) -> W,
) -> Result<Option<Vec<Result<Fitted>>>> {
    let all = || {
        let from = jobs
            .iter()
            .enumerate()
            .map(|(at, job)| state(at).unwrap_or_else(|| State::start(job)))
            .collect();
        fit(jobs, device, from, (0..jobs.len()).map(watch).collect())
    };
    match device.guard(all) {
        Err(error) if error.is_memory() && jobs.len() > 1 => {
            let (first, second) = jobs.split_at(jobs.len() / 2);
            let Some(mut fitted) = fit_in_parts(first, device, state, watch)? else {
                return Ok(None);
            };
            let Some(rest) = fit_in_parts(second, device, &|at| state(at + first.len()), &|at| {
                watch(at + first.len())
            })?
            else {
                return Ok(None);
            };
            fitted.extend(rest);
            Ok(Some(fitted))
        }
        fitted => fitted,
    }
}
