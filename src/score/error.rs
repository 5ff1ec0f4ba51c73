//! Reconstruction errors, and what is usual for them.

#[cfg(feature = "gpu")]
use crate::{
    config::{model::NmfSolver, score::ScoreKind},
    device::Opened,
    error::Result,
    model::{Architecture, Autoencoder, host, nmf},
    prepare::Rows,
    train::backend::{autodiff::read, gpu::Forward},
};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use std::{borrow::Cow, ops::Range};

impl ScoreKind {
    /// The error of one feature.
    pub fn of_feature(self, input: f32, output: f32) -> f64 {
        let difference = f64::from(output) - f64::from(input);
        if self == Self::Mae { difference.abs() } else { difference * difference }
    }

    /// The error of a feature in words.
    pub fn per_feature(self) -> &'static str {
        if self == Self::Mae { "absolute error" } else { "squared error" }
    }

    /// What the errors of a row's features, added up, are divided by.
    pub fn divisor(self, features: usize) -> f64 {
        if self == Self::Sse { 1.0 } else { features as f64 }
    }

    /// The error of one row. Missing inputs (NaN) do not count, and a sum is scaled up to all
    /// features; NaN where all are missing.
    pub fn of_row(self, input: &[f32], output: &[f32]) -> f64 {
        let sum: f64 =
            input.iter().zip(output).map(|(input, output)| self.of_feature(*input, *output)).sum();
        if !sum.is_nan() {
            return sum / self.divisor(input.len());
        }
        let present = || input.iter().zip(output).filter(|(input, _)| !input.is_nan());
        let sum: f64 = present().map(|(input, output)| self.of_feature(*input, *output)).sum();
        sum * input.len() as f64 / present().count() as f64 / self.divisor(input.len())
    }
}

/// Told of each row and member: their positions, what goes in (NaN where a cell is missing) and
/// what comes out. Rows come in order.
pub type Visit<'a> = dyn FnMut(usize, usize, &[f32], &[f32]) + 'a;

/// Rows that a thread of the CPU takes at once: fewer where they are wide, so that pieces of many
/// channels stay small.
fn host_rows(width: usize) -> usize {
    ((1 << 21) / width).clamp(256, 8192)
}

/// Values of a layer that are at most kept on a device.
const DEVICE_VALUES: usize = 1 << 24;

/// Makes outputs of inputs.
type Compute<'a> = Box<dyn Fn(&[f32]) -> Result<Vec<f32>> + Sync + 'a>;

/// The autoencoders of an ensemble on a device, which rows go through in pieces. A piece's size
/// does not depend on threads, and so neither do results.
pub struct Runner<'a> {
    architecture: Cow<'a, Architecture>,
    members: Cow<'a, [Vec<f32>]>,
    device: &'a Opened,
}

impl<'a> Runner<'a> {
    /// From the flat weights of each member. Batch norm becomes part of the layers that it follows,
    /// and latents are their means.
    pub fn new(
        architecture: &'a Architecture,
        members: &'a [Vec<f32>],
        device: &'a Opened,
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

    fn folded(architecture: &Architecture, members: Vec<Vec<f32>>, device: &'a Opened) -> Self {
        Self {
            architecture: Cow::Owned(architecture.plain()),
            members: Cow::Owned(members),
            device,
        }
    }

    /// What makes of rows `[rows, in]` what some layers of each member make of them, `[members,
    /// rows, out]`.
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

    /// The same of a non-negative matrix factorisation, whose first layer finds coefficients and
    /// whose second makes rows of them.
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

    /// Tells `visit` of each row and member: their positions, what goes in and what the layers make
    /// of it.
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

    /// Tells `visit` of each row and member: their positions, the row, its reconstruction.
    pub fn reconstruct(&self, rows: Rows<'_>, visit: &mut Visit<'_>) -> Result<()> {
        self.each(0..self.architecture.layers(), rows, visit)
    }

    /// The latents of rows by the only member, `[rows, latent]`.
    pub fn encode(&self, rows: Rows<'_>) -> Result<Vec<f32>> {
        let mut latents = Vec::with_capacity(rows.len() * self.architecture.latent());
        self.each(0..self.architecture.encoder_layers, rows, &mut |_, _, _, latent| {
            latents.extend_from_slice(latent)
        })?;
        Ok(latents)
    }

    /// Rows from latents `[rows, latent]` of the only member: `[rows, features]`, scaled as the
    /// inputs are.
    pub fn decode(&self, latents: &[f32]) -> Result<Vec<f32>> {
        let mut out = vec![];
        let layers = self.architecture.encoder_layers..self.architecture.layers();
        self.each(layers, Rows::new(latents, self.architecture.latent()), &mut |_, _, _, row| {
            out.extend_from_slice(row)
        })?;
        Ok(out)
    }
}

/// Logarithms of larger variances count as this one: a row that is far off has a high score, which
/// overflows nowhere.
pub const LARGEST_LOG_VARIANCE: f64 = 80.0;

/// How far each row's latents are from standard normal ones by one member of a variational network:
/// the Kullback-Leibler divergence, summed over latents. 0 where the network is not variational.
pub fn divergences(
    architecture: &Architecture,
    weights: &[f32],
    rows: Rows<'_>,
    device: &Opened,
) -> Result<Vec<f64>> {
    let Some(of_spread) = architecture.fold_log_variance(weights) else {
        return Ok(vec![0.0; rows.len()]);
    };
    let means =
        Runner::folded(architecture, vec![architecture.fold(weights)], device).encode(rows)?;
    let log_variances = Runner::folded(architecture, vec![of_spread], device).encode(rows)?;
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

/// The error of always answering with the weighted mean of the rows, a weighted mean over them.
pub fn mean_field(kind: ScoreKind, rows: Rows<'_>) -> f64 {
    let total = rows.total_weight(0..rows.len());
    let weight = |i: usize| rows.weight(i).map_or(1.0, f64::from);
    let mut mean = vec![0.0; rows.width()];
    let mut row = vec![];
    let mut totals = vec![total; rows.width()];
    if rows.is_masked() {
        totals.fill(0.0);
        for i in 0..rows.len() {
            row.clear();
            rows.extend_known(i, &mut row);
            totals
                .iter_mut()
                .zip(&row)
                .filter(|(_, value)| !value.is_nan())
                .for_each(|(total, _)| *total += weight(i));
        }
    }
    for i in 0..rows.len() {
        row.clear();
        rows.extend_known(i, &mut row);
        for ((mean, total), value) in
            mean.iter_mut().zip(&totals).zip(&row).filter(|(_, value)| !value.is_nan())
        {
            *mean += weight(i) * f64::from(*value) / total;
        }
    }
    let mean: Vec<f32> = mean.into_iter().map(|mean| mean as f32).collect();
    let mut error = 0.0;
    for i in 0..rows.len() {
        row.clear();
        rows.extend_known(i, &mut row);
        error += weight(i) * kind.of_row(&row, &mean);
    }
    error / total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::DeviceChoice,
        config::model::{Init, Model},
        device,
    };

    #[test]
    fn errors_of_rows() {
        let (input, output) = ([1.0, 2.0, 3.0], [1.0, 4.0, 2.0]);
        assert_eq!(ScoreKind::Mse.of_row(&input, &output), 5.0 / 3.0);
        assert_eq!(ScoreKind::Sse.of_row(&input, &output), 5.0);
        assert_eq!(ScoreKind::Mae.of_row(&input, &output), 1.0);
    }

    #[test]
    fn missing_inputs_do_not_count() {
        let (input, output) = ([1.0, f32::NAN, 3.0, 0.0], [1.0, 4.0, 2.0, 2.0]);
        assert_eq!(ScoreKind::Mse.of_row(&input, &output), 5.0 / 3.0);
        assert_eq!(ScoreKind::Sse.of_row(&input, &output), 5.0 * 4.0 / 3.0);
        assert_eq!(ScoreKind::Mae.of_row(&input, &output), 1.0);
        assert!(ScoreKind::Mse.of_row(&[f32::NAN], &[1.0]).is_nan());
        let values = [0.0, 1.0, 4.0, f32::NAN, 4.0, 3.0];
        // Means 8/3 and 2 over what is present.
        let expected = ((64.0 + 9.0) / 9.0 + 2.0 * 16.0 / 9.0 + (16.0 + 9.0) / 9.0) / 3.0;
        assert!(
            (mean_field(ScoreKind::Sse, Rows::new(&values, 2).filled(Some(&[0.0, 0.0])))
                - expected)
                .abs()
                < 1e-6
        );
    }

    #[test]
    fn the_mean_field_error_is_the_weighted_variance() {
        let (values, weights) = ([0.0, 1.0, 4.0, 1.0], [3.0, 1.0]);
        let rows = Rows::new(&values, 2).weighted(Some(&weights));
        assert_eq!(mean_field(ScoreKind::Sse, rows), (3.0 * 1.0 + 9.0) / 4.0);
        assert_eq!(mean_field(ScoreKind::Mse, rows), (3.0 * 1.0 + 9.0) / 8.0);
    }

    #[test]
    fn decoding_the_latents_is_reconstructing() {
        let architecture =
            Architecture::new(5, &Model { hidden: vec![4], latent: 2, ..Model::default() });
        let (members, device) = (
            [architecture.draw(Init::GlorotUniform, 1, 0)],
            device::open(DeviceChoice::Cpu).unwrap(),
        );
        let values: Vec<f32> = (0..35).map(|i| (i * i % 7) as f32 / 7.0).collect();
        let runner = Runner::new(&architecture, &members, &device);
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
}
