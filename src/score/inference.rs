//! Inference: applies trained models to rows on a device.

#[cfg(feature = "gpu")]
use crate::model::gpu::forward::Forward;
use crate::{
    config::model::NmfSolver,
    device::{Device, read},
    error::Result,
    model::{Architecture, Autoencoder, host, nmf},
    prepare::Rows,
};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use std::{borrow::Cow, ops::Range};

/// Called for each row and member with their positions, the input (NaN for a missing cell) and the
/// output. Rows come in order.
pub type Visit<'a> = dyn FnMut(usize, usize, &[f32], &[f32]) + 'a;

/// Rows that a CPU thread computes at a time: fewer for wide rows, so that pieces of many channels
/// stay small.
fn host_rows(width: usize) -> usize {
    ((1 << 21) / width).clamp(256, 8192)
}

/// Maximum number of values of a layer on a device.
const DEVICE_VALUES: usize = 1 << 24;

/// Computes outputs from inputs.
type Compute<'a> = Box<dyn Fn(&[f32]) -> Result<Vec<f32>> + Sync + 'a>;

/// The autoencoders of an ensemble on a device. Rows are computed in pieces whose size does not
/// depend on the number of threads, so results do not depend on it either.
pub struct Inference<'a> {
    architecture: Cow<'a, Architecture>,
    members: Cow<'a, [Vec<f32>]>,
    device: &'a Device,
}

impl<'a> Inference<'a> {
    /// From the flat weights of each member. Batch norm is folded into the preceding layers, and
    /// latents are their means.
    pub fn new(
        architecture: &'a Architecture,
        members: &'a [Vec<f32>],
        device: &'a Device,
    ) -> Self {
        if architecture.is_plain() {
            return Self {
                architecture: Cow::Borrowed(architecture),
                members: Cow::Borrowed(members),
                device,
            };
        }
        Self::folded(
            architecture,
            members.iter().map(|weights| architecture.fold(weights)).collect(),
            device,
        )
    }

    fn folded(architecture: &Architecture, members: Vec<Vec<f32>>, device: &'a Device) -> Self {
        Self {
            architecture: Cow::Owned(architecture.plain()),
            members: Cow::Owned(members),
            device,
        }
    }

    /// A function that computes some layers of each member, `[rows, in]` to `[members, rows, out]`.
    fn layers(&self, layers: Range<usize>) -> Compute<'_> {
        if let Some(numbers) = self.architecture.nmf {
            return self.factors(numbers, layers);
        }
        if self.device.is_cpu() {
            let (width, out) =
                (self.architecture.widths[layers.start], self.architecture.widths[layers.end]);
            return Box::new(move |input| {
                let mut outputs =
                    Vec::with_capacity(input.len() / width * out * self.members.len());
                self.members.iter().for_each(|weights| {
                    host::run(&self.architecture, weights, layers.clone(), input, &mut outputs)
                });
                Ok(outputs)
            });
        }
        #[cfg(feature = "gpu")]
        if let Some(kernels) = self
            .device
            .gpu()
            .and_then(|gpu| Forward::new(&self.architecture, &self.members, layers.clone(), gpu))
        {
            return Box::new(move |input| kernels.run(input));
        }
        let (width, device) = (self.architecture.widths[layers.start], &self.device.device);
        let flat = Tensor::from_data(
            TensorData::new(
                self.members.concat(),
                [self.members.len(), self.architecture.parameters()],
            ),
            device,
        );
        let pack = Autoencoder::from_flat(&self.architecture, &flat);
        Box::new(move |input| {
            let tensor = Tensor::<3>::from_data(
                TensorData::new(input.to_vec(), [1, input.len() / width, width]),
                device,
            );
            read(pack.run(&self.architecture, layers.clone(), tensor))
        })
    }

    /// The same for a non-negative matrix factorisation: its first layer computes coefficients, its
    /// second rows from coefficients.
    fn factors(&self, numbers: nmf::Numbers, layers: Range<usize>) -> Compute<'_> {
        let (count, bins) = (self.architecture.latent(), self.architecture.widths[0]);
        let (encodes, decodes) = (layers.start == 0, layers.end == 2);
        if self.device.is_cpu() {
            let encoders: Vec<_> = self
                .members
                .iter()
                .map(|own| nmf::Encoder::new(own, count, numbers, nmf::Solver::Descent))
                .collect();
            return Box::new(move |input| {
                let mut outputs = vec![];
                for (encoder, components) in encoders.iter().zip(self.members.iter()) {
                    let mut coefficients = vec![];
                    if encodes {
                        encoder.encode(input, numbers.clip, &mut coefficients);
                    }
                    match (encodes, decodes) {
                        (true, false) => outputs.append(&mut coefficients),
                        (true, true) => nmf::decode(components, count, &coefficients, &mut outputs),
                        _ => nmf::decode(components, count, input, &mut outputs),
                    }
                }
                Ok(outputs)
            });
        }
        let device = &self.device.device;
        let components = Tensor::<3>::from_data(
            TensorData::new(self.members.concat(), [self.members.len(), count, bins]),
            device,
        );
        Box::new(move |input| {
            let width = if encodes { bins } else { count };
            let mut values = Tensor::<3>::from_data(
                TensorData::new(input.to_vec(), [1, input.len() / width, width]),
                device,
            );
            if encodes {
                let clipped = numbers.clip.map_or(values.clone(), |clip| values.clamp_max(clip));
                values =
                    nmf::tensors::coefficients(&components, &clipped, numbers, NmfSolver::Descent)
                        .swap_dims(1, 2);
            }
            read(if decodes { values.matmul(components.clone()) } else { values })
        })
    }

    /// Number of members.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Calls `visit` for each row and member with their positions, the input and the output of the
    /// layers.
    fn each(&self, layers: Range<usize>, rows: Rows<'_>, visit: &mut Visit<'_>) -> Result<()> {
        let (width, out) =
            (self.architecture.widths[layers.start], self.architecture.widths[layers.end]);
        let widest = self.architecture.widths.iter().max().map_or(1, |widest| *widest.max(&1));
        let (step, at_once) = match self.device.is_cpu() {
            true => (host_rows(widest), 4 * rayon::current_num_threads()),
            false => ((DEVICE_VALUES / (widest * self.members.len())).clamp(1, 1 << 16), 1),
        };
        let run = self.layers(layers);
        let pieces: Vec<Range<usize>> = (0..rows.len())
            .step_by(step)
            .map(|start| start..(start + step).min(rows.len()))
            .collect();
        let compute = |piece: &Range<usize>| -> Result<(Vec<f32>, Vec<f32>)> {
            let input = rows.copy(piece.clone());
            let outputs = run(&input)?;
            Ok((if rows.is_masked() { rows.copy_known(piece.clone()) } else { input }, outputs))
        };
        for pieces in pieces.chunks(at_once) {
            let computed = match pieces {
                [piece] => vec![compute(piece)?],
                _ => pieces.par_iter().map(compute).collect::<Result<Vec<_>>>()?,
            };
            for (piece, (input, outputs)) in pieces.iter().zip(computed) {
                for (at, (i, input)) in piece.clone().zip(input.chunks_exact(width)).enumerate() {
                    let of_member = |member: usize| (member * piece.len() + at) * out;
                    (0..self.members.len()).for_each(|member| {
                        visit(
                            i,
                            member,
                            input,
                            &outputs[of_member(member)..of_member(member) + out],
                        )
                    });
                }
            }
        }
        Ok(())
    }

    /// Calls `visit` for each row and member with their positions, the row and its reconstruction.
    pub fn reconstruct(&self, rows: Rows<'_>, visit: &mut Visit<'_>) -> Result<()> {
        self.each(0..self.architecture.layers(), rows, visit)
    }

    /// The latents of rows, `[rows, latent]`, for a single member.
    pub fn encode(&self, rows: Rows<'_>) -> Result<Vec<f32>> {
        let mut latents = Vec::with_capacity(rows.len() * self.architecture.latent());
        self.each(0..self.architecture.encoder_layers, rows, &mut |_, _, _, latent| {
            latents.extend_from_slice(latent)
        })?;
        Ok(latents)
    }

    /// Decodes latents `[rows, latent]` to `[rows, features]` for a single member, scaled like the
    /// inputs.
    pub fn decode(&self, latents: &[f32]) -> Result<Vec<f32>> {
        let mut out = vec![];
        let layers = self.architecture.encoder_layers..self.architecture.layers();
        self.each(layers, Rows::new(latents, self.architecture.latent()), &mut |_, _, _, row| {
            out.extend_from_slice(row)
        })?;
        Ok(out)
    }
}

/// Upper limit of log variances, so that the score of a far outlier is high but does not overflow.
pub const LARGEST_LOG_VARIANCE: f64 = 80.0;

/// The Kullback-Leibler divergence of each row's latents from the standard normal distribution for
/// one member of a variational network, summed over latents. 0 if the network is not variational.
pub fn divergences(
    architecture: &Architecture,
    weights: &[f32],
    rows: Rows<'_>,
    device: &Device,
) -> Result<Vec<f64>> {
    let Some(of_spread) = architecture.fold_log_variance(weights) else {
        return Ok(vec![0.0; rows.len()]);
    };
    let means =
        Inference::folded(architecture, vec![architecture.fold(weights)], device).encode(rows)?;
    let log_variances = Inference::folded(architecture, vec![of_spread], device).encode(rows)?;
    let one = |(mean, log_variance): (&f32, &f32)| {
        let (mean, log_variance) = (f64::from(*mean), f64::from(*log_variance));
        let limited =
            if log_variance > LARGEST_LOG_VARIANCE { LARGEST_LOG_VARIANCE } else { log_variance };
        0.5 * (mean * mean + limited.exp() - 1.0 - log_variance)
    };
    let width = architecture.latent();
    Ok(means
        .chunks_exact(width)
        .zip(log_variances.chunks_exact(width))
        .map(|(means, spreads)| means.iter().zip(spreads).map(one).sum())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{
            DeviceChoice,
            model::{Init, Model},
        },
        device,
        train::backend::nmf::tests::{BINS, ROWS, cpu, experiment, made, train},
    };

    #[test]
    fn decoding_the_latents_is_reconstructing() {
        let architecture =
            Architecture::new(5, &Model { hidden: vec![4], latent: 2, ..Model::default() });
        let (members, device) = (
            [architecture.draw(Init::GlorotUniform, 1, 0)],
            device::open(DeviceChoice::Cpu).unwrap(),
        );
        let values: Vec<f32> = (0..35).map(|i| (i * i % 7) as f32 / 7.0).collect();
        let runner = Inference::new(&architecture, &members, &device);
        let mut outputs = vec![];
        runner
            .reconstruct(Rows::new(&values, 5), &mut |_, _, _, output| {
                outputs.extend_from_slice(output)
            })
            .unwrap();
        let latents = runner.encode(Rows::new(&values, 5)).unwrap();
        assert_eq!((latents.len(), outputs.len()), (14, 35));
        assert_eq!(runner.decode(&latents).unwrap(), outputs);
    }

    #[test]
    fn a_bin_that_was_dead_for_a_while_is_not_learned_as_such() {
        let mut values = made(ROWS, 0.0);
        values.iter_mut().for_each(|value| *value = 1.0 + 0.1 * *value);
        for row in values.chunks_exact_mut(BINS).take(30) {
            row[..10].fill(0.0);
        }
        let reconstructed = |text: &str| {
            let fitted = train(&format!("train.epochs = 50\n{text}"), &values);
            let experiment = experiment(text);
            let architecture = Architecture::new(BINS, &experiment.model);
            let (members, device) = ([fitted.weights], cpu());
            let runner = Inference::new(&architecture, &members, &device);
            let mut first = vec![];
            runner
                .reconstruct(Rows::new(&values[..BINS], BINS), &mut |_, _, _, output| {
                    first = output[..10].to_vec()
                })
                .unwrap();
            first.iter().sum::<f32>() / 10.0
        };
        assert!(reconstructed("") < 0.3);
        assert!(reconstructed("model.nmf.fill_zeros = 1.0") > 0.5);
    }

    #[test]
    fn coefficients_of_scored_rows_do_not_follow_what_is_cut_off() {
        let values = made(ROWS, 0.0);
        let fitted = train("train.epochs = 100", &values);
        let mut hot = values[..BINS].to_vec();
        hot[0] = 1000.0;
        let errors = |text: &str, row: &[f32]| {
            let architecture = Architecture::new(BINS, &experiment(text).model);
            let (members, device) = ([fitted.weights.clone()], cpu());
            let mut errors = vec![];
            let runner = Inference::new(&architecture, &members, &device);
            runner
                .reconstruct(Rows::new(row, BINS), &mut |_, _, input, output| {
                    errors = input.iter().zip(output).map(|(a, b)| (a - b).abs()).collect()
                })
                .unwrap();
            errors
        };
        let (clipped, followed) = (errors("model.nmf.clip = 5.0", &hot), errors("", &hot));
        assert!(clipped[0] > 990.0, "the error is that of the unclipped row: {}", clipped[0]);
        let others = |errors: &[f32]| errors[1..].iter().sum::<f32>();
        assert!(
            others(&clipped) < 0.1 * others(&followed),
            "{} {}",
            others(&clipped),
            others(&followed)
        );
    }
}
