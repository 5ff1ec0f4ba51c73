//! `[weights]`: the weights of rows.

use super::{
    check::Checker,
    expression::Expression,
    keys::{Key, section},
};

section! {
    /// How much each row counts.
    Weights {
        /// A column of weights (luminosity, entries): not negative. Default: every row counts the
        /// same.
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<String> = None,
        /// The weight as a quantity: "recorded_lumi_per_lumisection" from OMS, "max(lumi_a,
        /// lumi_b)" of columns.
        #[serde(skip_serializing_if = "Key::is_unset")]
        from: Key<Option<String>, Option<Expression>> = Key::default(),
    }
}

impl Weights {
    pub(super) fn check(&mut self, checker: &mut Checker) {
        if self.column.is_some() && !self.from.is_unset() {
            checker.fault("weights.from", "weights.column is set as well; expected one of them");
        } else {
            checker.expression("weights.from", &mut self.from);
        }
    }

    /// The weight of a row; `None` if all rows have equal weights.
    pub fn quantity(&self) -> Option<Expression> {
        self.column.as_deref().map(Expression::name).or_else(|| self.from.meaning.clone())
    }
}
