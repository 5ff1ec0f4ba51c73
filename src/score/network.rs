//! A channel's trained autoencoder with everything needed for scoring.

use super::{
    error::mean_field,
    error_baseline::ErrorBaseline,
    inference::{Inference, divergences},
    one_class_svm::{OneClassSvm, SvmSettings},
    patterns::DetectorLayer,
    ranges::Counts,
};
use crate::{
    config::score::{OneClassSvm as SvmConfig, Score, ScoreKind},
    data::channels::Channel,
    device::Device,
    error::{Error, Result},
    model::Architecture,
    prepare::{Rows, retain},
};
use std::ops::Range;

/// A trained channel.
#[derive(Clone, Debug)]
pub struct Network {
    /// The channel's name and features.
    pub channel: Channel,
    /// The shape of the network.
    pub architecture: Architecture,
    /// Flat weights of each member of the ensemble, as in files; often a single one.
    pub members: Vec<Vec<f32>>,
    /// The baseline of its errors.
    pub baseline: ErrorBaseline,
    /// The support of its latents, if configured.
    pub svm: Option<OneClassSvm>,
    /// Bins that patterns ignore because they are mostly 0 in the training rows.
    pub masked: Vec<u32>,
}

/// Scores of rows by a network, one entry for each row.
#[derive(Clone, Debug, Default)]
pub struct NetworkScores {
    /// The reconstruction errors plus the `score.kl` term; the mean over the members.
    pub scores: Vec<f64>,
    /// The scores of each member; empty for a single member.
    pub members: Vec<Vec<f64>>,
    /// ln(score / mean-field error).
    pub log_ratios: Vec<f64>,
    /// Decision values of the one-class SVM, negative outside; empty without one.
    pub inside: Vec<f64>,
}

impl NetworkScores {
    /// Whether all scores of a row are finite.
    pub fn is_finite(&self, row: usize) -> bool {
        let all = [&self.scores, &self.log_ratios, &self.inside].into_iter().chain(&self.members);
        all.filter_map(|numbers| numbers.get(row)).all(|number| number.is_finite())
    }

    /// Keeps the rows that have no reason for rejection.
    pub fn retain(&mut self, reasons: &[Option<String>]) {
        let Self { scores, members, log_ratios, inside } = self;
        [scores, log_ratios, inside]
            .into_iter()
            .chain(members)
            .for_each(|numbers| retain(numbers, 1, reasons));
    }
}

impl Network {
    /// Fits the error baseline: reconstruction errors on the `train` rows, the spread of the
    /// scores' logarithms on the `calibrate` rows. Where the config asks for a one-class SVM, it is
    /// fitted to the latents of the `train` rows. Also returns a warning about the SVM.
    pub fn fit_baseline(
        (channel, architecture, members): (Channel, Architecture, Vec<Vec<f32>>),
        score: &Score,
        train: Rows<'_>,
        calibrate: Rows<'_>,
        device: &Device,
    ) -> Result<(Self, Option<String>)> {
        let kind = score.kind;
        let runner = Inference::new(&architecture, &members, device);
        let total = train.total_weight(0..train.len());
        let mut feature_errors = vec![0.0; train.width()];
        let (mut error, mut present) = (0.0, vec![0.0; train.width()]);
        let mut spread = Spread::new(train.width());
        runner.reconstruct(train, &mut |i, member, input, output| {
            if member == 0 {
                spread.add(input, output);
            }
            let weight = train.weight(i).map_or(1.0, f64::from) / total / members.len() as f64;
            if train.is_masked() {
                error += weight * kind.of_row(input, output);
                for ((sum, present), (input, output)) in
                    feature_errors.iter_mut().zip(&mut present).zip(input.iter().zip(output))
                {
                    if !input.is_nan() {
                        (*sum, *present) =
                            (*sum + weight * kind.of_feature(*input, *output), *present + weight);
                    }
                }
                return;
            }
            for (sum, (input, output)) in feature_errors.iter_mut().zip(input.iter().zip(output)) {
                *sum += weight * kind.of_feature(*input, *output);
            }
        })?;
        if train.is_masked() {
            feature_errors
                .iter_mut()
                .zip(present)
                .filter(|(_, present)| *present > 0.0)
                .for_each(|(error, present)| *error /= present);
        } else {
            error = feature_errors.iter().sum::<f64>() / kind.divisor(train.width());
        }
        let mean_field_error = mean_field(kind, train);
        let mut baseline = ErrorBaseline {
            error,
            mean_field_error,
            log_mean: 0.0,
            log_std: 0.0,
            feature_errors,
            varies: spread.share(),
            unscaled: vec![],
            outside: 0.0,
        };
        if !baseline.error.is_finite() {
            return Err(Error::failed(format!(
                "channel {}: the reconstruction of the training rows is not finite",
                channel.name
            )));
        }
        baseline.calibrate(
            mean(&scores(&architecture, &members, score, calibrate, device)?).into_iter(),
        );
        let (svm, note) = match &score.one_class_svm {
            Some(config) => fit_svm(&channel, &runner, &architecture, train, config)?,
            None => (None, None),
        };
        Ok((Self { channel, architecture, members, baseline, svm, masked: vec![] }, note))
    }

    /// The channel as a layer of the detector.
    pub fn layer(&self) -> DetectorLayer {
        let shape = self.channel.map();
        let mut masked = vec![false; shape.width()];
        self.masked.iter().for_each(|&bin| masked[bin as usize] = true);
        let empty = self
            .baseline
            .unscaled
            .iter()
            .take(shape.width())
            .map(|range| *range == (0.0, 0.0))
            .collect();
        DetectorLayer { name: self.channel.name.clone(), shape, masked, empty }
    }

    /// One of the members, counted from 1.
    pub fn member(&self, number: usize) -> Result<&[Vec<f32>]> {
        let wrong = || {
            Error::input(format!(
                "--member {number}: there are {} members, counted from 1",
                self.members.len()
            ))
        };
        number.checked_sub(1).and_then(|at| self.members.get(at..=at)).ok_or_else(wrong)
    }

    /// Stores the ranges of the inputs of the training rows, and the share of the inputs of the
    /// calibration rows outside of them. `ranges` and `calibration` are of all inputs of the
    /// samples; `columns` are those of the channel.
    pub fn set_input_ranges(
        &mut self,
        columns: &[Range<usize>],
        ranges: &[(f32, f32)],
        calibration: &Counts,
    ) {
        let own = || columns.iter().cloned().flatten();
        self.baseline.unscaled = own().map(|at| ranges[at]).collect();
        let sum = |counts: &[usize]| own().map(|at| counts[at]).sum::<usize>();
        self.baseline.outside =
            sum(&calibration.outside) as f64 / sum(&calibration.present).max(1) as f64;
    }

    /// Scores rows.
    pub fn score(&self, score: &Score, rows: Rows<'_>, device: &Device) -> Result<NetworkScores> {
        let members = scores(&self.architecture, &self.members, score, rows, device)?;
        let mut scored = NetworkScores { scores: mean(&members), ..NetworkScores::default() };
        if members.len() > 1 {
            scored.members = members;
        }
        scored.log_ratios =
            scored.scores.iter().map(|score| self.baseline.log_ratio(*score)).collect();
        if let Some(svm) = &self.svm {
            scored.inside = svm
                .decision(&Inference::new(&self.architecture, &self.members, device).encode(rows)?);
        }
        Ok(scored)
    }

    /// The error of each feature of rows, `[rows, features]`; the mean over the members. NaN where
    /// a feature is missing.
    pub fn feature_errors(
        &self,
        kind: ScoreKind,
        rows: Rows<'_>,
        device: &Device,
    ) -> Result<Vec<Vec<f64>>> {
        let mut errors = vec![vec![0.0; rows.width()]; rows.len()];
        Inference::new(&self.architecture, &self.members, device).reconstruct(
            rows,
            &mut |i, _, input, output| {
                for (sum, (input, output)) in errors[i].iter_mut().zip(input.iter().zip(output)) {
                    *sum += kind.of_feature(*input, *output) / self.members.len() as f64;
                }
            },
        )?;
        Ok(errors)
    }
}

/// Variances of reconstructions and inputs over rows, without missing inputs.
struct Spread {
    rows: Vec<f64>,
    means: Vec<[f64; 2]>,
    squares: [f64; 2],
}

impl Spread {
    fn new(width: usize) -> Self {
        Self { rows: vec![0.0; width], means: vec![[0.0; 2]; width], squares: [0.0; 2] }
    }

    /// Welford's update, which is accurate for small variances with large means.
    fn add(&mut self, input: &[f32], output: &[f32]) {
        let columns = self.rows.iter_mut().zip(&mut self.means).zip(input.iter().zip(output));
        for ((rows, means), (input, output)) in columns.filter(|(_, (input, _))| !input.is_nan()) {
            *rows += 1.0;
            for ((mean, squares), value) in
                means.iter_mut().zip(&mut self.squares).zip([*input, *output].map(f64::from))
            {
                let before = value - *mean;
                *mean += before / *rows;
                *squares += before * (value - *mean);
            }
        }
    }

    /// The variance of the reconstructions as a share of that of the inputs; `None` if inputs are
    /// constant.
    fn share(&self) -> Option<f64> {
        let [inputs, outputs] = self.squares;
        Some(outputs / inputs).filter(|share| share.is_finite())
    }
}

/// The score of each row by each member, `[members][rows]`.
fn scores(
    architecture: &Architecture,
    members: &[Vec<f32>],
    score: &Score,
    rows: Rows<'_>,
    device: &Device,
) -> Result<Vec<Vec<f64>>> {
    let mut scores = vec![Vec::with_capacity(rows.len()); members.len()];
    let visit = &mut |_, member: usize, input: &[f32], output: &[f32]| {
        scores[member].push(score.kind.of_row(input, output))
    };
    Inference::new(architecture, members, device).reconstruct(rows, visit)?;
    if score.kl > 0.0 {
        for (weights, scores) in members.iter().zip(&mut scores) {
            let divergences = divergences(architecture, weights, rows, device)?;
            scores
                .iter_mut()
                .zip(divergences)
                .for_each(|(score_of_row, divergence)| *score_of_row += score.kl * divergence);
        }
    }
    Ok(scores)
}

/// The mean over members, row by row.
fn mean(members: &[Vec<f64>]) -> Vec<f64> {
    match members {
        [only] => only.clone(),
        _ => (0..members.first().map_or(0, Vec::len))
            .map(|row| members.iter().map(|errors| errors[row]).sum::<f64>() / members.len() as f64)
            .collect(),
    }
}

fn fit_svm(
    channel: &Channel,
    runner: &Inference<'_>,
    architecture: &Architecture,
    train: Rows<'_>,
    config: &SvmConfig,
) -> Result<(Option<OneClassSvm>, Option<String>)> {
    let latents = runner.encode(train)?;
    let weights: Option<Vec<f32>> = (0..train.len()).map(|i| train.weight(i)).collect();
    let gamma = config.gamma.unwrap_or(2.0 / train.width() as f64);
    // The tolerance is on the scale of the weights: it follows their mean if that is very small or
    // large.
    let mean = train.total_weight(0..train.len()) / train.len().max(1) as f64;
    let settings = SvmSettings {
        nu: config.nu,
        gamma,
        tolerance: config.tolerance * mean.min(1.0).max(mean / 1e4),
    };
    let fitted = OneClassSvm::fit(
        &latents,
        architecture.latent(),
        weights.as_deref().filter(|weights| !weights.is_empty()),
        settings,
    );
    let (svm, fit) = fitted.map_err(|error| {
        Error::failed(format!("the one-class SVM of channel {}: {error}", channel.name))
    })?;
    let note = (!fit.converged).then(|| {
        format!("the one-class SVM did not reach score.one_class_svm.tolerance after {} steps; allow a larger tolerance", fit.iterations)
    });
    Ok((Some(svm), note))
}
