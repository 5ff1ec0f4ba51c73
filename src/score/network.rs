//! A channel's trained autoencoder with everything that scoring needs.

use super::{
    error::{Runner, mean_field},
    one_class_svm::{OneClassSvm, Settings},
    usual::Usual,
};
use crate::{
    config::raw::{OneClassSvm as SvmConfig, ScoreKind},
    data::channels::Channel,
    error::{Error, Result},
    model::Architecture,
    prepare::Rows,
};
use burn::tensor::Device;

/// A trained channel.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its name and features.
    pub channel: Channel,
    /// The network's shape.
    pub architecture: Architecture,
    /// Flat weights, `[parameters]`.
    pub weights: Vec<f32>,
    /// What is usual for its errors.
    pub usual: Usual,
    /// What is usual for its latents, where the config asks for it.
    pub svm: Option<OneClassSvm>,
}

/// What a network says of rows, one entry each.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The reconstruction errors.
    pub scores: Vec<f64>,
    /// ln(score / mean-field error).
    pub log_ratios: Vec<f64>,
    /// Decision values of the one-class SVM, negative outside; empty without one.
    pub inside: Vec<f64>,
}

impl Network {
    /// Learns what is usual: errors from the `train` rows, the spread of their logarithms from the `calibrate` rows, latents (where
    /// `svm` asks for it) from the `train` rows. The text says what is doubtful about the SVM.
    pub fn learn(
        (channel, architecture, weights): (Channel, Architecture, Vec<f32>),
        kind: ScoreKind,
        train: Rows<'_>,
        calibrate: Rows<'_>,
        svm: Option<&SvmConfig>,
        device: &Device,
    ) -> Result<(Self, Option<String>)> {
        let runner = Runner::new(&architecture, &weights, device);
        let total = train.total_weight(0..train.len());
        let mut feature_errors = vec![0.0; train.width()];
        runner.reconstruct(train, &mut |i, input, output| {
            let weight = train.weight(i).map_or(1.0, f64::from) / total;
            for (sum, (input, output)) in feature_errors.iter_mut().zip(input.iter().zip(output)) {
                *sum += weight * kind.of_feature(*input, *output);
            }
        })?;
        let mut usual = Usual {
            error: feature_errors.iter().sum::<f64>() / kind.divisor(train.width()),
            mean_field_error: mean_field(kind, train),
            log_mean: 0.0,
            log_std: 0.0,
            feature_errors,
        };
        let mut scores = Vec::with_capacity(calibrate.len());
        runner.reconstruct(calibrate, &mut |_, input, output| scores.push(kind.of_row(input, output)))?;
        usual.calibrate(scores.into_iter());
        let (svm, note) = match svm {
            Some(config) => fit_svm(&channel, &runner, &architecture, train, config)?,
            None => (None, None),
        };
        Ok((Self { channel, architecture, weights, usual, svm }, note))
    }

    /// Scores rows.
    pub fn score(&self, kind: ScoreKind, rows: Rows<'_>, device: &Device) -> Result<Said> {
        let runner = Runner::new(&self.architecture, &self.weights, device);
        let mut said = Said::default();
        runner.reconstruct(rows, &mut |_, input, output| said.scores.push(kind.of_row(input, output)))?;
        said.log_ratios = said.scores.iter().map(|score| self.usual.log_ratio(*score)).collect();
        if let Some(svm) = &self.svm {
            said.inside = svm.decision(&runner.encode(rows)?);
        }
        Ok(said)
    }

    /// The error of each feature of rows, `[rows, features]`.
    pub fn feature_errors(&self, kind: ScoreKind, rows: Rows<'_>, device: &Device) -> Result<Vec<Vec<f64>>> {
        let mut errors = vec![];
        Runner::new(&self.architecture, &self.weights, device).reconstruct(rows, &mut |_, input, output| {
            errors.push(input.iter().zip(output).map(|(input, output)| kind.of_feature(*input, *output)).collect());
        })?;
        Ok(errors)
    }
}

fn fit_svm(
    channel: &Channel,
    runner: &Runner<'_>,
    architecture: &Architecture,
    train: Rows<'_>,
    config: &SvmConfig,
) -> Result<(Option<OneClassSvm>, Option<String>)> {
    let latents = runner.encode(train)?;
    let weights: Option<Vec<f32>> = (0..train.len()).map(|i| train.weight(i)).collect();
    let gamma = config.gamma.unwrap_or(2.0 / train.width() as f64);
    // The tolerance is on the scale of the weights: it follows them where their unit makes them very small or large.
    let mean = train.total_weight(0..train.len()) / train.len().max(1) as f64;
    let settings = Settings { nu: config.nu, gamma, tolerance: config.tolerance * mean.min(1.0).max(mean / 1e4) };
    let fitted = OneClassSvm::fit(&latents, architecture.latent(), weights.as_deref().filter(|weights| !weights.is_empty()), settings);
    let (svm, fit) = fitted.map_err(|error| Error::failed(format!("the one-class SVM of channel {}: {error}", channel.name)))?;
    let note = (!fit.converged).then(|| {
        format!("the one-class SVM of channel {} is not solved to score.one_class_svm.tolerance after {} steps", channel.name, fit.iterations)
    });
    Ok((Some(svm), note))
}
