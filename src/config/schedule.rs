//! `[train.schedule]`: the schedule of the learning rate.

use super::{
    check::Checker,
    keys::{choice, section},
};

section! {
    /// How the learning rate changes from epoch to epoch. Keys that the chosen kind does not have
    /// are refused.
    Schedule {
        kind: ScheduleKind = ScheduleKind::Constant,
        /// Epochs over which the rate rises linearly to its full value.
        #[schemars(range(max = 1_000_000))]
        warmup: u32 = 0,
        /// step: every so many epochs the rate is multiplied by factor.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        every: Option<u32> = None => ["step"],
        /// step (default 0.1), exponential (each epoch, default 0.95), plateau (default 0.1).
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
        factor: Option<f64> = None => ["step", "exponential", "plateau"],
        /// plateau: epochs without a better validation loss before the rate falls. Default 10.
        #[serde(skip_serializing_if = "Option::is_none")]
        patience: Option<u32> = None => ["plateau"],
        /// cosine, plateau: the rate never falls below this. Default 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 0.0))]
        min_rate: Option<f64> = None => ["cosine", "plateau"],
    }
}

choice! {
    /// The course of the learning rate.
    ScheduleKind {
        /// The same all the time.
        Constant = "constant",
        /// Multiplied by factor every so many epochs.
        Step = "step",
        /// Multiplied by factor each epoch.
        Exponential = "exponential",
        /// Half a cosine from the full rate to min_rate over all epochs.
        Cosine = "cosine",
        /// Multiplied by factor when the validation loss no longer falls.
        Plateau = "plateau",
    }
}

/// A learning rate schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Course {
    /// A constant rate.
    Constant,
    /// The rate is multiplied by `factor` every `every` epochs.
    Step {
        /// Epochs between reductions.
        every: u32,
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// The rate is multiplied by `factor` each epoch.
    Exponential {
        /// What the rate is multiplied by.
        factor: f64,
    },
    /// Half a cosine from the full rate to `min_rate`.
    Cosine {
        /// The final rate.
        min_rate: f64,
    },
    /// The rate is multiplied by `factor` after `patience` epochs without a better validation loss.
    Plateau {
        /// Epochs to wait.
        patience: u32,
        /// What the rate is multiplied by.
        factor: f64,
        /// The lowest rate.
        min_rate: f64,
    },
}

impl Schedule {
    pub(super) fn check(&mut self, checker: &mut Checker) {
        if self.kind == ScheduleKind::Step && self.every.is_none() {
            checker.fault(
                "train.schedule.every",
                "missing; kind = \"step\" needs the number of epochs between reductions",
            );
        }
        self.fill();
    }

    /// Fills in the defaults of the chosen kind.
    fn fill(&mut self) {
        match self.kind {
            ScheduleKind::Constant => {}
            ScheduleKind::Step => {
                self.factor.get_or_insert(0.1);
            }
            ScheduleKind::Exponential => {
                self.factor.get_or_insert(0.95);
            }
            ScheduleKind::Cosine => {
                self.min_rate.get_or_insert(0.0);
            }
            ScheduleKind::Plateau => {
                self.patience.get_or_insert(10);
                self.factor.get_or_insert(0.1);
                self.min_rate.get_or_insert(0.0);
            }
        }
    }

    /// The chosen schedule with its numbers.
    pub fn course(&self) -> Course {
        let mut own = self.clone();
        own.fill();
        let [factor, min_rate] = [own.factor, own.min_rate].map(Option::unwrap_or_default);
        match own.kind {
            ScheduleKind::Constant => Course::Constant,
            ScheduleKind::Step => Course::Step { every: own.every.unwrap_or(1), factor },
            ScheduleKind::Exponential => Course::Exponential { factor },
            ScheduleKind::Cosine => Course::Cosine { min_rate },
            ScheduleKind::Plateau => {
                Course::Plateau { patience: own.patience.unwrap_or_default(), factor, min_rate }
            }
        }
    }
}
