//! Early stopping and the best epoch.

/// Early stopping on the validation loss.
#[derive(Clone, Debug, PartialEq)]
pub struct Stopping {
    patience: Option<u32>,
    min_delta: f64,
    /// The best epoch so far (from 0) and its loss.
    best: Option<(u32, f64)>,
}

impl Stopping {
    /// Stops after `patience` epochs without a loss at least `min_delta` below the best.
    pub fn new(patience: Option<u32>, min_delta: f64) -> Self {
        Self { patience, min_delta, best: None }
    }

    /// Records the validation loss of an epoch (from 0). Returns whether it is the best so far.
    pub fn observe(&mut self, epoch: u32, loss: f64) -> bool {
        let better = self.best.is_none_or(|(_, best)| loss < best - self.min_delta);
        if better {
            self.best = Some((epoch, loss));
        }
        better
    }

    /// Whether to stop after this epoch.
    pub fn stops(&self, epoch: u32) -> bool {
        matches!((self.patience, self.best), (Some(patience), Some((best, _))) if epoch - best >= patience)
    }

    /// Restores the best epoch (from 0) and its loss.
    pub fn go_on(&mut self, best: Option<(u32, f64)>) {
        self.best = best;
    }

    /// The best epoch (from 0) and its loss.
    pub fn best(&self) -> Option<(u32, f64)> {
        self.best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_when_nothing_gets_better() {
        let mut stopping = Stopping::new(Some(2), 0.1);
        let mut stopped = None;
        for (epoch, loss) in [1.0, 0.5, 0.45, 0.44, 0.1].into_iter().enumerate() {
            stopping.observe(epoch as u32, loss);
            if stopping.stops(epoch as u32) {
                stopped = Some(epoch);
                break;
            }
        }
        assert_eq!((stopped, stopping.best()), (Some(3), Some((1, 0.5))));
    }
}
