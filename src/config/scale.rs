//! `[scale]`: the scaling of bins to inputs.

use super::{
    check::Checker,
    expression::Expression,
    keys::{Key, OneOrMany, choice, section},
};
use std::path::PathBuf;

section! {
    /// How bins become inputs.
    Scale {
        /// One step, or several in order: `["unit-area", "standard"]`.
        kind: OneOrMany<ScaleKind> = OneOrMany::One(ScaleKind::Range),
        fit_on: FitOn = FitOn::Train,
        constant: Constant = Constant::Floor,
        /// A quantity that every bin of a row is divided by, before any other step: "pileup *
        /// HLT_ZeroBias_v*". A row whose quantity is 0 is not evaluated.
        #[serde(skip_serializing_if = "Key::is_unset")]
        divide_by: Key<Option<String>, Option<Expression>> = Key::default(),
        /// With a step "reference": the file of the numbers that it divides by, the
        /// normalisation.parquet of another experiment.
        #[serde(skip_serializing_if = "Key::is_unset")]
        reference: Key<Option<String>, Option<PathBuf>> = Key::default(),
        /// Scaled bins above this number become it: the last step of all.
        #[serde(skip_serializing_if = "Option::is_none")]
        clip: Option<f64> = None,
        /// How the inputs of data.add_inputs are scaled.
        added: ScaleKind = ScaleKind::Standard,
    }
}

choice! {
    /// One step of scaling.
    ScaleKind {
        /// Bins as they are.
        None = "none",
        /// Per bin x / (max − min); the minimum is not subtracted. Bins of range 0: see
        /// scale.constant.
        Range = "range",
        /// Per bin (x − min) / (max − min). Bins of range 0: see scale.constant.
        MinMax = "min-max",
        /// Per bin (x − mean) / std (ddof 0). Bins of std 0: see scale.constant.
        Standard = "standard",
        /// Per row x / sum; a row of sum 0 becomes 0. Of several layers (data.layers) each by
        /// itself.
        UnitArea = "unit-area",
        /// Per row x / mean of its bins; a row of mean 0 becomes 0. Of several layers (data.layers)
        /// each by itself.
        MeanOne = "mean-one",
        /// Per bin x / mean. Bins of mean 0: see scale.constant. Kept as normalisation.parquet.
        BinMean = "bin-mean",
        /// Per bin x / the mean that scale.reference has for it. Bins of mean 0: see
        /// scale.constant.
        Reference = "reference",
        /// Per bin (x − median) / (75th − 25th percentile). Bins where those are equal: see
        /// scale.constant.
        Robust = "robust",
        /// Per value √x, which makes the noise of counts even.
        Sqrt = "sqrt",
        /// Per value ln(1 + x).
        Log1p = "log1p",
    }
}

choice! {
    /// How a step scales bins (or features) that do not vary in the rows it is fitted on, so that
    /// it has nothing to divide by.
    #[derive(Default)]
    Constant {
        /// (x − constant) / floor: training rows become 0, and a change counts. For counts the
        /// floor is the Poisson error of the constant content, of at least one count, scaled as
        /// typical standard deviations of the other bins are; for features a tenth of the constant,
        /// or 1 where it is 0. Of a bin that varies too little for "robust" it is its standard
        /// deviation.
        Floor = "floor",
        /// "range", "min-max", "bin-mean" and "reference" make such a bin 0 whatever it holds, so
        /// that scores are blind there (as the METSig notebook does); "standard" and "robust" leave
        /// it as it is (as scikit-learn does). New values there raise a warning.
        #[default]
        Zero = "zero",
    }
}

choice! {
    /// What the scaling is learned from.
    FitOn {
        /// The training rows.
        Train = "train",
        /// Each file by its own rows (as the METSig notebook does): scores of two files are then
        /// not comparable.
        EachFile = "each-file",
        /// All rows that are evaluated, test included.
        All = "all",
        /// All rows that were read, those that are not evaluated included (as the 2010B notebook
        /// does).
        Read = "read",
    }
}

impl Scale {
    pub(super) fn check(&mut self, checker: &mut Checker) {
        checker.expression("scale.divide_by", &mut self.divide_by);
        checker.path("scale.reference", &mut self.reference);
        if self.steps().is_empty() {
            checker.fault(
                "scale.kind",
                "found an empty list; expected a step such as \"range\", or \"none\"",
            );
        }
        self.check_normalisation(checker);
        if matches!(self.added, ScaleKind::BinMean | ScaleKind::Reference | ScaleKind::MeanOne) {
            checker.fault(
                "scale.added",
                format!(
                    "\"{}\" is for bins; expected another step such as \"standard\"",
                    self.added
                ),
            );
        }
        if let Some(clip) = self.clip.filter(|clip| !(*clip > 0.0 && clip.is_finite())) {
            checker.fault("scale.clip", format!("found {clip}; expected a number above 0"));
        }
    }

    /// The steps, in order.
    pub fn steps(&self) -> Vec<ScaleKind> {
        self.kind.to_vec()
    }

    /// Checks the steps that divide bins by averages.
    fn check_normalisation(&self, checker: &mut Checker) {
        let steps = self.steps();
        let normalises =
            |step: &ScaleKind| matches!(step, ScaleKind::BinMean | ScaleKind::Reference);
        if steps.iter().filter(|step| normalises(step)).count() > 1 {
            checker.fault("scale.kind", "\"bin-mean\" and \"reference\" each divide by averages; expected one of them, once");
        }
        if let Some(at) = steps.iter().position(normalises)
            && let Some(before) = steps[..at]
                .iter()
                .find(|step| matches!(step, ScaleKind::Standard | ScaleKind::Robust))
        {
            checker.fault(
                "scale.kind",
                format!(
                    "\"{}\" divides by a mean, which after \"{before}\" can be 0 or negative",
                    steps[at]
                ),
            );
        }
        match (steps.contains(&ScaleKind::Reference), self.reference.is_unset()) {
            (true, true) => checker.fault(
                "scale.reference",
                "missing; the step \"reference\" needs the normalisation.parquet of an experiment",
            ),
            (false, false) => checker.fault(
                "scale.reference",
                "has no meaning without a step \"reference\" in scale.kind",
            ),
            _ => {}
        }
    }
}
