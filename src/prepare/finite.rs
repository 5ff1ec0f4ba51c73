//! Finds rows with numbers too large for computations in single precision; they are not evaluated.

/// Upper limit of contents. Larger ones are close to the limit of single precision (and mostly
/// mean "missing"): differences and sums overflow.
pub const LARGEST_CONTENT: f32 = f32::MAX / 100.0;
/// Upper limit of scaled inputs. Sums over inputs and rows of larger squares overflow.
pub const LARGEST_INPUT: f32 = 1e18;

/// Whether a number can be computed with; NaN cannot.
pub fn is_within(value: f32, largest: f32) -> bool {
    value.abs() <= largest
}

/// The reason to reject each row of `inputs`, `[rows, names]`, with an input beyond `largest`.
/// `missing` returns whether a (row, input) is missing.
pub fn reasons(
    inputs: &[f32],
    names: &[String],
    largest: f32,
    missing: impl Fn(usize, usize) -> bool,
) -> Vec<Option<String>> {
    let reason = |(at, row): (usize, &[f32])| {
        let beyond = (0..row.len()).find(|&input| {
            !(is_within(row[input], largest) || row[input].is_nan() && missing(at, input))
        })?;
        Some(format!("not finite after scaling ({})", names[beyond]))
    };
    inputs.chunks_exact(names.len().max(1)).enumerate().map(reason).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_beyond_the_largest_are_told_with_their_first_input() {
        let names = ["a".to_owned(), "b".to_owned()];
        let rows = [1.0, 2.0, 1.0, f32::INFINITY, f32::NAN, -3e38, -1e34, 5.0];
        let told = |missing: bool| reasons(&rows, &names, LARGEST_CONTENT, |_, _| missing);
        assert_eq!(
            told(false),
            [
                None,
                Some("not finite after scaling (b)".into()),
                Some("not finite after scaling (a)".into()),
                None
            ]
        );
        assert_eq!(told(true)[2], Some("not finite after scaling (b)".into()), "NaN is missing");
    }
}
