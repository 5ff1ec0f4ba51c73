//! Seeds and initial weights of models.

use crate::{
    config::Experiment,
    data::channels::{ALL_FEATURES, Channel},
    error::{Error, Result, listed},
    model::{Architecture, weights},
    random,
    train::state::State,
};

/// The network of each channel.
pub fn architectures(experiment: &Experiment, channels: &[Channel]) -> Vec<Architecture> {
    channels
        .iter()
        .map(|channel| Architecture::new(channel.features.len(), &experiment.model))
        .collect()
}

/// The seed of a member of a channel's ensemble. It does not depend on other channels and members.
/// The first member equals the model trained without an ensemble.
pub(crate) fn seed(experiment: &Experiment, channel: &Channel, member: usize) -> u64 {
    let seed = experiment.seed;
    let seed =
        if channel.name == ALL_FEATURES { seed } else { random::derived(seed, &channel.name) };
    if member == 0 { seed } else { random::derived(seed, &format!("member {member}")) }
}

/// The start of one model's training.
#[derive(Clone, Debug)]
pub struct ModelInit<'e> {
    /// The config of its training.
    pub experiment: &'e Experiment,
    /// The index of its channel.
    pub channel: usize,
    /// The member of the channel's ensemble, from 0.
    pub member: usize,
    /// Initial weights, flat.
    pub weights: Vec<f32>,
    /// The saved state, if training continues.
    pub state: Option<State>,
}

/// The start of each model, channel by channel and member by member: weights are drawn, or read
/// from `train.init`.
pub fn model_inits<'e>(
    experiment: &'e Experiment,
    channels: &[Channel],
) -> Result<Vec<ModelInit<'e>>> {
    let mut begins = vec![];
    let architectures = architectures(experiment, channels);
    refuse_too_large(experiment, &architectures)?;
    refuse_wide_projections(experiment, &architectures)?;
    for (at, (channel, architecture)) in channels.iter().zip(architectures).enumerate() {
        for member in 0..experiment.train.ensemble as usize {
            let weights = match &*experiment.train.init {
                None => {
                    architecture.draw(experiment.model.init, seed(experiment, channel, member), 0)
                }
                Some(path) if path.is_dir() => {
                    let own = path.join(weights::file_name(&channel.name, member));
                    weights::read(
                        &if own.exists() {
                            own
                        } else {
                            path.join(weights::file_name(&channel.name, 0))
                        },
                        &architecture,
                    )?
                }
                Some(path) if channels.len() > 1 => {
                    let files: Vec<String> = channels
                        .iter()
                        .map(|channel| weights::file_name(&channel.name, 0))
                        .collect();
                    return Err(Error::input(format!(
                        "train.init: {} is a file, but there are {} channels; expected a folder with {}",
                        path.display(),
                        channels.len(),
                        listed(files.iter().map(String::as_str))
                    )));
                }
                Some(path) => weights::read(path, &architecture)?,
            };
            begins.push(ModelInit { experiment, channel: at, member, weights, state: None });
        }
    }
    let train = &experiment.train;
    let alike = begins
        .windows(2)
        .any(|pair| pair[0].channel == pair[1].channel && pair[0].weights == pair[1].weights);
    let by_chance = train.shuffle || experiment.model.draws();
    if alike && !by_chance && train.epochs > 0 {
        return Err(Error::input(format!(
            "train.ensemble: the {} members would all be the same: they start from train.init, train.shuffle = false, and no dropout, noise, masking or latents are drawn",
            train.ensemble
        )));
    }
    Ok(begins)
}

/// Refuses models whose weights and training state do not fit into memory.
fn refuse_too_large(experiment: &Experiment, architectures: &[Architecture]) -> Result<()> {
    /// Weights, their gradients, two moments and the best weights so far.
    const COPIES: u64 = 5;
    let sizes: Vec<u64> =
        architectures.iter().map(|one| (one.parameters() + one.statistics()) as u64).collect();
    let all = sizes
        .iter()
        .fold(0_u64, |sum, size| sum.saturating_add(*size))
        .saturating_mul(experiment.train.ensemble.into());
    let largest = sizes.into_iter().max().unwrap_or(0);
    let bytes = all.saturating_add(largest.saturating_mul(COPIES)).saturating_mul(4);
    if crate::guard::can_allocate(bytes) {
        return Ok(());
    }
    Err(Error::input(format!(
        "model.hidden: {all} parameters in all, {largest} in one model, do not fit into memory; lower model.hidden, model.latent or train.ensemble"
    )))
}

/// Refuses latents whose covariance (needed by projections) does not fit into memory.
fn refuse_wide_projections(experiment: &Experiment, architectures: &[Architecture]) -> Result<()> {
    /// Bytes per entry of the covariance and its eigenvectors.
    const BYTES: u64 = 3 * 8;
    let latents = architectures.iter().map(|one| one.latent() as u64).max().unwrap_or(0);
    let bytes = latents.saturating_mul(latents).saturating_mul(BYTES);
    if experiment.report.projections.is_empty() || crate::guard::can_allocate(bytes) {
        return Ok(());
    }
    Err(Error::input(format!(
        "model.latent: the projections of {latents} latents do not fit into memory; lower model.latent, or set report.projections = []"
    )))
}

/// The name of a model in messages; empty if there is only one.
pub(crate) fn model_name(experiment: &Experiment, channel: &Channel, member: usize) -> String {
    let channel = if channel.name == ALL_FEATURES {
        String::new()
    } else {
        format!("channel {}", channel.name)
    };
    let member = if experiment.train.ensemble == 1 {
        String::new()
    } else {
        format!("member {}", member + 1)
    };
    [channel, member].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}
