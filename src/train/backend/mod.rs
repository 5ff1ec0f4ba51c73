//! Backends that compute the steps of a training. For networks: [`autodiff`] on any device, [`cpu`]
//! hand-written, `gpu` as kernels. For a factorisation: [`nmf`] on the CPU, [`nmf_on_device`]
//! elsewhere.

pub mod autodiff;
pub mod cpu;
mod elementwise;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
mod members;
pub mod nmf;
pub mod nmf_on_device;
mod penalty;
#[cfg(test)]
mod tests;

use super::trainer::{Job, Trainer};
use crate::{
    config::{Experiment, model::Activation, train::Kernels},
    device::Device,
    error::{Error, Result},
};
use autodiff::Reference;
use cpu::Fused;
use nmf::Factoriser;
use nmf_on_device::Factorisers;

/// Whether a network of this config is trained and scored by hand-written kernels on any device,
/// not by Burn's operations.
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

/// The backend of a pack: hand-written if the device has one, else autodiff.
pub(super) fn trainer<'a>(
    jobs: &[Job<'a>],
    wanted: Kernels,
    device: &Device,
) -> Result<Box<dyn Trainer + 'a>> {
    let by_hand = wanted != Kernels::Reference;
    if jobs.iter().any(|job| job.architecture.nmf.is_some()) {
        if wanted == Kernels::Fused && !device.is_cpu() {
            let told = "train.kernels: \"fused\" supports model.kind = \"nmf\" on the CPU only; expected \"auto\" or \"reference\"";
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
        if gpu::can(job, &gpu) {
            if !gpu::fits(job, jobs.len(), &gpu) {
                return Err(Error::Memory(format!(
                    "a pack of {} models is larger than what can be allocated at once",
                    jobs.len()
                )));
            }
            return Ok(Box::new(gpu::Kernel::new(jobs, gpu)));
        }
        if wanted == Kernels::Fused {
            return Err(Error::input(format!(
                "train.kernels: \"fused\" on {} does not support GELU, PReLU, dropout, batch norm, noise or masking of inputs, model.variational, loss.sparsity, loss.contractive, train.gradient_clip, missing inputs (data.fill = \"mask\") or tables larger than one allocation; expected \"auto\" or \"reference\"",
                device.name
            )));
        }
    }
    Ok(Box::new(Reference::new(jobs, &device.device)))
}
