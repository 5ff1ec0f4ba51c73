//! `[report]`: the rows and contents of reports.

use super::{
    check::Checker,
    expression::Expression,
    keys::{Key, choice, section},
};

/// Keys that do not affect results.
pub(super) const CIRCUMSTANCES: &[&str] = &["report.tensorboard"];

section! {
    /// What the figures are taken on.
    Report {
        on: ReportOn = ReportOn::Test,
        /// ROC areas by weighted rows.
        weighted: bool = false,
        /// Shares of good rows above a threshold. For each, the report gives the share of bad rows
        /// above it.
        #[schemars(inner(range(min = 0.0, max = 1.0)))]
        background_rates: Vec<f64> = vec![0.001, 0.01, 0.05, 0.1],
        /// Quantities to draw beside the scores, as conditions name them: ["pileup"]. Weights and
        /// recorded luminosities are drawn wherever they are known.
        #[serde(skip_serializing_if = "Key::is_unset")]
        beside: Key<Vec<String>, Vec<Expression>> = Key::default(),
        /// Write event files for TensorBoard while training.
        tensorboard: bool = true,
        /// How latents are laid out in two dimensions.
        projections: Vec<Projection> = vec![Projection::Pca],
    }
}

choice! {
    /// Latents in two dimensions.
    Projection {
        /// The first two principal components of the training rows' latents.
        Pca = "pca",
        /// t-SNE: neighbours stay neighbours, other distances mean nothing. It takes longer, up to
        /// a minute or so a channel.
        TSne = "t-sne",
    }
}

choice! {
    /// Which rows the figures that judge the result are taken on.
    ReportOn {
        /// The test split.
        Test = "test",
        /// All rows that are evaluated, those trained on included (as the 2010B notebook does):
        /// that flatters.
        All = "all",
    }
}

impl Report {
    pub(super) fn check(&mut self, checker: &mut Checker) {
        checker.expressions("report.beside", &mut self.beside);
    }
}
