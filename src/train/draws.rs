//! Random numbers of an epoch and of a batch, drawn on the host, identical for every device.

use super::trainer::Corruption;
use crate::{config::model::Model, model::Architecture, random};
use rand::{RngExt, seq::SliceRandom};
use rand_distr::{Distribution, StandardNormal};

/// The order of rows in an epoch, drawn on the host; `None` is the order of the table.
pub(super) fn order(shuffle: bool, rows: usize, seed: u64, epoch: u32) -> Option<Vec<usize>> {
    shuffle.then(|| {
        let mut order: Vec<usize> = (0..rows).collect();
        order.shuffle(&mut random::generator(seed, "batch order", u64::from(epoch)));
        order
    })
}

/// One mask per hidden layer for a batch, `[rows, width]`: 0 where a value is dropped, else 1 / (1
/// − dropout).
pub(super) fn dropout_masks(
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

/// Noise and masks of a batch with `values` inputs; `None` if the config has neither.
pub(super) fn corruption(
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

/// Standard normal noise for sampling the latents of a batch, `count` values.
pub(super) fn normal_numbers(count: usize, seed: u64, epoch: u32, batch: usize) -> Vec<f32> {
    let chance = random::generator(seed, "latents", u64::from(epoch) << 32 | batch as u64);
    Distribution::<f32>::sample_iter(StandardNormal, chance).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // Noise and masking are independent, and differ for every batch.
        assert_eq!((draw(0.2, 0.0, 0, 0).added, draw(0.0, 0.3, 0, 0).kept), (added.clone(), kept));
        assert!(draw(0.2, 0.0, 1, 0).added != added && draw(0.2, 0.0, 0, 1).added != added);
        assert!(draw(0.2, 0.0, 0, 0).kept.iter().all(|kept| *kept == 1.0));
    }
}
