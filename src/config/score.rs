//! `[score]`: the definition of the score.

use super::keys::{choice, section};

section! {
    /// What the score of a lumisection is. Higher is worse.
    Score {
        kind: ScoreKind = ScoreKind::Mse,
        /// With model.variational: add so many times the Kullback-Leibler divergence of a row's
        /// latents from the standard normal distribution (summed over latents) to its score, which
        /// is then the negative evidence lower bound, estimated with the means for latents. 0 is
        /// the reconstruction alone.
        #[schemars(range(min = 0.0))]
        kl: f64 = 0.0,
        combine: Combine = Combine::Standardised,
        #[serde(skip_serializing_if = "Option::is_none")]
        one_class_svm: Option<OneClassSvm> = None,
        /// For so many of the worst flagged rows of each channel: which features made them so, in
        /// report.json.
        #[schemars(range(max = 1000))]
        explain: u32 = 10,
    }
}

choice! {
    /// How the scores of several channels make one, channel "combined". Each score is first taken
    /// as ln(score / mean-field error), the mean-field error being that of always answering with
    /// the mean of the training rows.
    Combine {
        /// The largest, each channel's less its mean and over its standard deviation in the
        /// calibration rows.
        Standardised = "standardised",
        /// The largest.
        Max = "max",
        /// The mean.
        Mean = "mean",
        /// The sum.
        Sum = "sum",
    }
}

section! {
    /// A one-class SVM on the latents of each channel's training rows: how far inside the usual
    /// codes a row's code lies.
    OneClassSvm {
        /// At most this share of the training rows' weight lies outside.
        #[schemars(extend("exclusiveMinimum" = 0.0), range(max = 1.0))]
        nu: f64 = 0.1,
        /// Of the kernel exp(−gamma · distance²). Default: 2 / number of the channel's inputs.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        gamma: Option<f64> = None,
        /// How exactly it is solved: the largest violation of optimality that remains.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        tolerance: f64 = 1e-3,
    }
}

choice! {
    /// The reconstruction error of one row: a mean over its bins, or a sum.
    ScoreKind {
        /// Mean squared error.
        Mse = "mse",
        /// Sum of squared errors.
        Sse = "sse",
        /// Mean absolute error.
        Mae = "mae",
    }
}
