//! Learning rate schedules.

use crate::config::Course;
use serde::{Deserialize, Serialize};

/// A learning rate schedule and its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    course: Course,
    full: f64,
    warmup: u32,
    epochs: u32,
    seen: Seen,
}

/// State of the plateau schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Number of reductions of the rate.
    falls: i32,
    /// The best validation loss.
    best: Option<f64>,
    /// Epochs since the best.
    waited: u32,
}

impl Schedule {
    /// A schedule from the rate `full` over `epochs` epochs; the rate rises linearly in the first
    /// `warmup`.
    pub fn new(course: Course, full: f64, warmup: u32, epochs: u32) -> Self {
        Self { course, full, warmup, epochs, seen: Seen::default() }
    }

    /// The state, for [`go_on`](Self::go_on).
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// Restores the state.
    pub fn go_on(&mut self, seen: Seen) {
        self.seen = seen;
    }

    /// The rate of an epoch, counted from 0.
    pub fn rate(&self, epoch: u32) -> f64 {
        if epoch < self.warmup {
            return self.full * f64::from(epoch + 1) / f64::from(self.warmup + 1);
        }
        let after = f64::from(epoch - self.warmup);
        match self.course {
            Course::Constant => self.full,
            Course::Step { every, factor } => {
                self.full * factor.powf((after / f64::from(every.max(1))).floor())
            }
            Course::Exponential { factor } => self.full * factor.powf(after),
            Course::Cosine { min_rate } => {
                let length = f64::from(self.epochs.saturating_sub(self.warmup + 1).max(1));
                let low = min_rate.min(self.full);
                low + 0.5
                    * (self.full - low)
                    * (1.0 + (std::f64::consts::PI * (after / length).min(1.0)).cos())
            }
            Course::Plateau { factor, min_rate, .. } => {
                (self.full * factor.powi(self.seen.falls)).max(min_rate.min(self.full))
            }
        }
    }

    /// Records the validation loss at the end of an epoch.
    pub fn observe(&mut self, valid_loss: Option<f64>) {
        let (Course::Plateau { patience, .. }, Some(loss)) = (self.course, valid_loss) else {
            return;
        };
        let seen = &mut self.seen;
        if seen.best.is_none_or(|best| loss < best) {
            (seen.best, seen.waited) = (Some(loss), 0);
        } else {
            seen.waited += 1;
            if seen.waited > patience {
                (seen.falls, seen.waited) = (seen.falls + 1, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(course: Course, warmup: u32, epochs: u32) -> Vec<f64> {
        let schedule = Schedule::new(course, 1.0, warmup, epochs);
        (0..epochs).map(|epoch| (schedule.rate(epoch) * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn courses() {
        assert_eq!(rates(Course::Constant, 0, 3), [1.0, 1.0, 1.0]);
        assert_eq!(rates(Course::Step { every: 2, factor: 0.5 }, 0, 5), [1.0, 1.0, 0.5, 0.5, 0.25]);
        assert_eq!(rates(Course::Exponential { factor: 0.5 }, 0, 3), [1.0, 0.5, 0.25]);
        assert_eq!(rates(Course::Cosine { min_rate: 0.2 }, 0, 3), [1.0, 0.6, 0.2]);
        assert_eq!(rates(Course::Constant, 3, 5), [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert_eq!(rates(Course::Cosine { min_rate: 0.0 }, 0, 1), [1.0]);
    }

    #[test]
    fn a_plateau_lowers_the_rate() {
        let mut schedule =
            Schedule::new(Course::Plateau { patience: 1, factor: 0.1, min_rate: 0.05 }, 1.0, 0, 10);
        let mut seen = vec![];
        for loss in [3.0, 2.0, 2.0, 2.0, 2.0, 2.0] {
            seen.push((schedule.rate(0) * 1e6).round() / 1e6);
            schedule.observe(Some(loss));
        }
        assert_eq!(seen, [1.0, 1.0, 1.0, 1.0, 0.1, 0.1]);
        assert_eq!(schedule.rate(0), 0.05);
    }
}
