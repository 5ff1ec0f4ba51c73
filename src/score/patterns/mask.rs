//! Masks of bins that are always empty: masked parts of the detector are not anomalies.

/// Tolerance for rounding when a share is compared.
pub(super) const ROUNDING: f64 = 1e-9;

/// Counts over some rows how often each bin is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zeros {
    rows: usize,
    zeros: Vec<usize>,
}

impl Zeros {
    /// Counts of zero rows for `bins` bins.
    pub fn new(bins: usize) -> Self {
        Self { rows: 0, zeros: vec![0; bins] }
    }

    /// Counts a row.
    pub fn add(&mut self, row: &[f32]) {
        self.rows += 1;
        self.zeros
            .iter_mut()
            .zip(row)
            .for_each(|(zeros, value)| *zeros += usize::from(*value == 0.0));
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.zeros.iter_mut().zip(&other.zeros).for_each(|(zeros, more)| *zeros += more);
    }

    /// The static mask: bins that are 0 in at least this share of the rows. Without rows no bin is
    /// masked.
    pub fn mask(&self, share: f64) -> Vec<bool> {
        self.zeros
            .iter()
            .map(|&zeros| self.rows > 0 && zeros as f64 + ROUNDING >= share * self.rows as f64)
            .collect()
    }
}

/// For each bin, the number of consecutive last rows of a run in which it was 0.
#[derive(Clone, Debug)]
pub(super) struct Memory(Vec<u32>);

impl Memory {
    pub fn new(bins: usize) -> Self {
        Self(vec![0; bins])
    }

    /// Resets the counts for a new run.
    pub fn forget(&mut self) {
        self.0.fill(0);
    }

    pub fn add(&mut self, row: &[f32]) {
        self.0.iter_mut().zip(row).for_each(|(zeros, value)| {
            *zeros = if *value == 0.0 { zeros.saturating_add(1) } else { 0 }
        });
    }

    /// Additionally masks the bins that were 0 in each of the last `rows` rows.
    pub fn mask(&self, rows: usize, masked: &mut [bool]) {
        masked
            .iter_mut()
            .zip(&self.0)
            .for_each(|(masked, zeros)| *masked |= *zeros as usize >= rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bin_is_masked_from_its_share_of_zeros_on() {
        let mut zeros = Zeros::new(3);
        assert_eq!(zeros.mask(0.9), [false; 3]);
        (0..10).for_each(|row| zeros.add(&[0.0, f32::from(row > 8), f32::from(row > 7)]));
        assert_eq!(zeros.mask(0.9), [true, true, false]);
        assert_eq!(zeros.mask(1.0), [true, false, false]);
    }

    proptest! {
        #[test]
        fn counting_in_parts_is_counting_all(rows in prop::collection::vec(prop::collection::vec(0_u8..2, 4), 0..12), at in 0_usize..12, share in 0.01_f64..=1.0) {
            let rows: Vec<Vec<f32>> = rows.into_iter().map(|row| row.into_iter().map(f32::from).collect()).collect();
            let count = |rows: &[Vec<f32>]| {
                let mut zeros = Zeros::new(4);
                rows.iter().for_each(|row| zeros.add(row));
                zeros
            };
            let (first, second) = rows.split_at(at.min(rows.len()));
            let mut parts = count(first);
            parts.merge(&count(second));
            prop_assert_eq!(&parts, &count(&rows));
            for (bin, masked) in parts.mask(share).into_iter().enumerate() {
                let zeros = rows.iter().filter(|row| row[bin] == 0.0).count();
                prop_assert_eq!(masked, !rows.is_empty() && zeros as f64 + 1e-9 >= share * rows.len() as f64);
            }
        }

        #[test]
        fn the_dynamic_mask_is_what_was_0_in_each_of_the_last_rows(rows in prop::collection::vec(prop::collection::vec(0_u8..4, 3), 0..20), last in 1_usize..5) {
            // Mostly zeros, so that masks occur.
            let rows: Vec<Vec<f32>> = rows.into_iter().map(|row| row.into_iter().map(|value| f32::from(value == 3)).collect()).collect();
            let mut memory = Memory::new(3);
            for (at, row) in rows.iter().enumerate() {
                let mut masked = vec![false; 3];
                memory.mask(last, &mut masked);
                for (bin, masked) in masked.into_iter().enumerate() {
                    prop_assert_eq!(masked, at >= last && rows[at - last..at].iter().all(|row| row[bin] == 0.0));
                }
                memory.add(row);
            }
        }
    }
}
