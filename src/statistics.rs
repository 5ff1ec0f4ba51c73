//! Statistics of plain numbers.

/// The percentile with linear interpolation between neighbours (NumPy's default); `None` without
/// values.
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| percentile_of_sorted(&sorted, percent))
}

/// The linearly interpolated percentile of sorted numbers; 0 without numbers.
pub fn percentile_of_sorted<T: Copy + Into<f64>>(sorted: &[T], percent: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = percent / 100.0 * last as f64;
    let (low, part) = (place.floor() as usize, place.fract());
    let (a, b): (f64, f64) = (sorted[low].into(), sorted[(low + 1).min(last)].into());
    a + (b - a) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_interpolated_as_in_numpy() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&values, 50.0), Some(2.5));
        assert!((percentile(&values, 99.5).unwrap() - 3.985).abs() < 1e-12);
        assert_eq!(percentile(&values, 100.0), Some(4.0));
        assert_eq!(percentile(&[], 50.0), None);
    }
}
