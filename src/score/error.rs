//! Reconstruction errors, and what is usual for them.

use crate::{
    config::raw::ScoreKind,
    error::Result,
    model::{Architecture, Autoencoder},
    prepare::Rows,
    train::reference::{read, scoring_rows},
};
use burn::tensor::{Device, Tensor, TensorData};
use std::ops::Range;

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

    /// The error of one row.
    pub fn of_row(self, input: &[f32], output: &[f32]) -> f64 {
        let sum: f64 = input.iter().zip(output).map(|(input, output)| self.of_feature(*input, *output)).sum();
        sum / self.divisor(input.len())
    }
}

/// Told of each row: its position, what goes in and what comes out.
pub type Visit<'a> = dyn FnMut(usize, &[f32], &[f32]) + 'a;

/// An autoencoder on a device, which rows go through in pieces. A piece's size is the width's alone, so that results do not
/// depend on threads.
pub struct Runner<'a> {
    architecture: &'a Architecture,
    model: Autoencoder,
    device: &'a Device,
}

impl<'a> Runner<'a> {
    /// From flat weights, `[parameters]`.
    pub fn new(architecture: &'a Architecture, weights: &[f32], device: &'a Device) -> Self {
        Self { architecture, model: Autoencoder::from_host(architecture, weights, device), device }
    }

    /// Tells `visit` of each row: its position, what goes in and what the layers make of it.
    fn each(&self, layers: Range<usize>, rows: Rows<'_>, visit: &mut Visit<'_>) -> Result<()> {
        let (width, out) = (self.architecture.widths[layers.start], self.architecture.widths[layers.end]);
        let step = scoring_rows(width.max(out));
        for start in (0..rows.len()).step_by(step) {
            let piece = start..(start + step).min(rows.len());
            let input = rows.copy(piece.clone());
            let tensor = Tensor::<3>::from_data(TensorData::new(input.clone(), [1, piece.len(), width]), self.device);
            let output = read(self.model.run(self.architecture, layers.clone(), tensor))?;
            for (i, (input, output)) in piece.zip(input.chunks_exact(width).zip(output.chunks_exact(out))) {
                visit(i, input, output);
            }
        }
        Ok(())
    }

    /// Tells `visit` of each row: its position, the row, its reconstruction.
    pub fn reconstruct(&self, rows: Rows<'_>, visit: &mut Visit<'_>) -> Result<()> {
        self.each(0..self.architecture.layers(), rows, visit)
    }

    /// The latents of rows, `[rows, latent]`.
    pub fn encode(&self, rows: Rows<'_>) -> Result<Vec<f32>> {
        let mut latents = Vec::with_capacity(rows.len() * self.architecture.latent());
        self.each(0..self.architecture.encoder_layers, rows, &mut |_, _, latent| latents.extend_from_slice(latent))?;
        Ok(latents)
    }

    /// Rows from latents `[rows, latent]`: `[rows, features]`, scaled as the inputs are.
    pub fn decode(&self, latents: &[f32]) -> Result<Vec<f32>> {
        let mut out = vec![];
        let layers = self.architecture.encoder_layers..self.architecture.layers();
        self.each(layers, Rows::new(latents, self.architecture.latent()), &mut |_, _, row| out.extend_from_slice(row))?;
        Ok(out)
    }
}

/// The error of always answering with the weighted mean of the rows, a weighted mean over them.
pub fn mean_field(kind: ScoreKind, rows: Rows<'_>) -> f64 {
    let total = rows.total_weight(0..rows.len());
    let weight = |i: usize| rows.weight(i).map_or(1.0, f64::from);
    let mut mean = vec![0.0; rows.width()];
    let mut row = vec![];
    for i in 0..rows.len() {
        row.clear();
        rows.extend(i, &mut row);
        mean.iter_mut().zip(&row).for_each(|(mean, value)| *mean += weight(i) * f64::from(*value) / total);
    }
    let mean: Vec<f32> = mean.into_iter().map(|mean| mean as f32).collect();
    let mut error = 0.0;
    for i in 0..rows.len() {
        row.clear();
        rows.extend(i, &mut row);
        error += weight(i) * kind.of_row(&row, &mean);
    }
    error / total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::raw::{Init, Model},
        device::tests::cpu,
    };

    #[test]
    fn errors_of_rows() {
        let (input, output) = ([1.0, 2.0, 3.0], [1.0, 4.0, 2.0]);
        assert_eq!(ScoreKind::Mse.of_row(&input, &output), 5.0 / 3.0);
        assert_eq!(ScoreKind::Sse.of_row(&input, &output), 5.0);
        assert_eq!(ScoreKind::Mae.of_row(&input, &output), 1.0);
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
        let architecture = Architecture::new(5, &Model { hidden: vec![4], latent: 2, ..Model::default() });
        let (weights, device) = (architecture.draw(Init::GlorotUniform, 1, 0), cpu());
        let values: Vec<f32> = (0..35).map(|i| (i * i % 7) as f32 / 7.0).collect();
        let runner = Runner::new(&architecture, &weights, &device);
        let mut outputs = vec![];
        runner.reconstruct(Rows::new(&values, 5), &mut |_, _, output| outputs.extend_from_slice(output)).unwrap();
        let latents = runner.encode(Rows::new(&values, 5)).unwrap();
        assert_eq!((latents.len(), outputs.len()), (14, 35));
        assert_eq!(runner.decode(&latents).unwrap(), outputs);
    }
}
