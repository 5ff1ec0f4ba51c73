//! `[split]`: training, validation and test rows.

use super::{
    check::Checker,
    keys::{choice, section},
};

section! {
    /// Which rows are for training, which for validation, which for testing.
    Split {
        by: SplitBy = SplitBy::Run,
        /// Fraction of the rows of `data.train` that are held out for validation.
        #[schemars(range(min = 0.0, max = 0.95))]
        valid: f64 = 0.2,
        /// Fraction of the rows of `data.train` that are held out for testing; files of `data.test`
        /// come on top.
        #[schemars(range(min = 0.0, max = 0.95))]
        test: f64 = 0.0,
        /// With `by = "block"`: how many neighbouring LSs stay together.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        block: Option<u32> = None => ["block"],
        /// With `by = "column"`: the column that says train, valid or test.
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<String> = None => ["column"],
        /// With `by = "random"`: as many good and bad rows on each side as their shares, by
        /// labels.good.
        stratify: bool = false,
        /// With `by = "run"`: these runs for validation, instead of a fraction.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        valid_runs: Vec<u32> = vec![] => ["run"],
        /// With `by = "run"`: these runs for testing, instead of a fraction.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        test_runs: Vec<u32> = vec![] => ["run"],
        /// With `by = "file"`: the files for validation, by name or pattern, instead of a fraction.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        valid_files: Vec<String> = vec![] => ["file"],
        /// With `by = "file"`: the files for testing, by name or pattern, instead of a fraction.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        test_files: Vec<String> = vec![] => ["file"],
    }
}

choice! {
    /// What stays together when rows are split. Neighbouring LSs are nearly equal: whole runs or
    /// blocks keep the test honest.
    SplitBy {
        /// Whole runs.
        Run = "run",
        /// Blocks of neighbouring LSs.
        Block = "block",
        /// Whole files.
        File = "file",
        /// As a column says.
        Column = "column",
        /// Row by row, at random. Neighbours end up on both sides.
        Random = "random",
        /// The first rows train, the next validate, the last test.
        Order = "order",
    }
}

impl Split {
    pub(super) fn check(&mut self, checker: &mut Checker) {
        if self.valid + self.test >= 1.0 {
            checker.fault(
                "split.valid",
                format!(
                    "valid {} and test {} leave no rows for training; expected a sum below 1",
                    self.valid, self.test
                ),
            );
        }
        match self.by {
            SplitBy::Block => {
                self.block.get_or_insert(50);
            }
            SplitBy::Column if self.column.is_none() => checker.fault(
                "split.column",
                "missing; by = \"column\" needs the column that says train, valid or test",
            ),
            _ => {}
        }
    }

    /// Whether rows are held out for validation.
    pub(super) fn validates(&self) -> bool {
        self.valid > 0.0
            || self.by == SplitBy::Column
            || !self.valid_runs.is_empty()
            || !self.valid_files.is_empty()
    }
}
