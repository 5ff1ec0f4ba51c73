//! Reconstruction errors.

use crate::{
    config::{Loss, raw::ScoreKind},
    error::Result,
    model::{Architecture, Autoencoder},
    train::{
        loss,
        reference::{read, scoring_rows},
    },
};
use burn::tensor::{Device, Tensor, TensorData};

/// The reconstruction error of each row, a mean over its features. `values` are scaled inputs `[rows, width]`, `weights` flat
/// `[parameters]`. Rows go through in pieces whose size is the width's alone, so the result does not depend on threads.
pub fn errors(kind: ScoreKind, architecture: &Architecture, weights: &[f32], values: &[f32], device: &Device) -> Result<Vec<f64>> {
    let width = architecture.widths[0];
    let model = Autoencoder::from_host(architecture, weights, device);
    let distance = match kind {
        ScoreKind::Mse => Loss::Mse,
        ScoreKind::Mae => Loss::Mae,
    };
    let mut errors = Vec::with_capacity(values.len() / width.max(1));
    for piece in values.chunks(scoring_rows(width) * width.max(1)) {
        let input = Tensor::<3>::from_data(TensorData::new(piece.to_vec(), [1, piece.len() / width, width]), device);
        let output = model.forward(architecture, input.clone(), None).output;
        errors.extend(read(loss::per_row(distance, output, input))?.into_iter().map(f64::from));
    }
    Ok(errors)
}
